"""What every benchmark shares: options, versions, and the file that records a result."""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from pathlib import Path
from typing import Any

import pyro
import torch

import pyro_vae

RESULTS = Path(__file__).parent / "results"


def parser(description: str) -> argparse.ArgumentParser:
    """A parser with the options that all benchmarks take."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch")
    parser.add_argument("--out", type=Path, help="file to record the result in, in place of benchmarks/results/")
    return parser


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    return {
        "pyro_vae": pyro_vae.__version__,
        "pyro": pyro.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "cpu": torch.backends.cpu.get_cpu_capability(),  # the same seed gives other numbers with other instructions
    }


def record(name: str, arguments: argparse.Namespace, result: Any) -> None:
    """Write a result with all that is needed to repeat it."""
    path = arguments.out or RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "command": " ".join(["python", *sys.argv]),
        "seed": arguments.seed,
        "threads": arguments.threads,
        "date": time.strftime("%Y-%m-%d"),
        "versions": versions(),
        "result": result,
    }
    path.write_text(json.dumps(content, indent=1) + "\n")
    print(f"recorded in {path}")

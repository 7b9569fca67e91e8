"""Where the time of an eager training step goes, beside that of the same network by hand.

    python benchmarks/profile_step.py --threads 1

Every few milliseconds of processor time it is noted which function runs, and counted to what the function belongs to,
with the tensor operations that it asks for; what belongs to nobody, such as the standard library, is counted to its
caller.  (A profiler that follows each call takes longer than a small step itself, and most where functions are short.)
"""

from __future__ import annotations

import math
import signal
import time
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

import pyro
import torch
from common import parser, record
from speed import CASES, Step, hand_written, of_fit

import pyro_vae
from pyro_vae import guides, models

LINEAR = "matrix products, forward"
OWNERS = {
    "torch/nn/modules/linear.py": LINEAR,
    "pyro_vae/networks/base.py": LINEAR,
    "torch/nn/": "calls of modules, activations",
    "torch/autograd/": "backward pass",
    "torch/optim/": "optimiser",
    "pyro_vae/training/optimiser.py": "optimiser",
    "torch/distributions/": "distributions: objects, draws, densities, KL",
    "pyro/distributions/": "distributions: objects, draws, densities, KL",
    "pyro/nn/": "calls of modules, activations",
    "pyro/": "Pyro: handlers, messages, traces",
    "pyro_vae/objectives/": "the objective",
    "pyro_vae/": "programs and parts",
    "benchmarks/": "the step itself, the loss by hand",
}
"""Whose a file is, by how its path begins."""
ROOTS = {
    "torch": Path(torch.__file__).parent,
    "pyro": Path(pyro.__file__).parent,
    "pyro_vae/models": Path(models.__file__).parent,
    "pyro_vae/guides": Path(guides.__file__).parent,
    "pyro_vae": Path(pyro_vae.__file__).parent,
    "benchmarks": Path(__file__).parent,
}
INTERVAL = 0.005


class Samples:
    """What was running, by whom it belongs to, while the context was entered."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.known: dict[str, str | None] = {}

    def __enter__(self) -> Samples:
        signal.signal(signal.SIGPROF, self.note)
        signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)
        return self

    def __exit__(self, *error: object) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)

    def note(self, number: int, frame: FrameType | None) -> None:
        while frame is not None:
            file = frame.f_code.co_filename
            if file not in self.known:
                self.known[file] = owner(file)
            if (found := self.known[file]) is not None:
                self.counts[found] += 1
                return
            frame = frame.f_back


def owner(file: str) -> str | None:
    for package, root in ROOTS.items():
        if Path(file).is_relative_to(root):
            inside = f"{package}/{Path(file).relative_to(root).as_posix()}"
            return next((name for start, name in OWNERS.items() if inside.startswith(start)), None)
    return None


def profiled(step: Step, seconds: float) -> dict[str, Any]:
    """Milliseconds of a step, in all and by owner, with the standard error that comes of counting."""
    for _ in range(20):
        step()
    steps, start = 0, time.process_time()
    with Samples() as samples:
        while time.process_time() - start < seconds:
            for _ in range(10):
                step()
            steps += 10
    milliseconds = 1000 * (time.process_time() - start) / steps
    number = samples.counts.total()
    shares = {name: count / number for name, count in samples.counts.most_common()}
    return {
        "milliseconds": round(milliseconds, 3),
        "by_owner": {
            name: {
                "milliseconds": round(milliseconds * share, 3),
                "standard_error": round(milliseconds * math.sqrt(share * (1 - share) / number), 3),
            }
            for name, share in shares.items()
        },
    }


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--case", default="VAE 64-64-8, batch 128", help="one of: " + "; ".join(CASES))
    options.add_argument("--seconds", type=float, default=30.0, help="of processor time for each of the two")
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    case = CASES[arguments.case]
    result: dict[str, Any] = {"case": arguments.case}
    with pyro.get_param_store().scope(), pyro.validation_enabled(False):
        ways = {"eager": of_fit(case, None), "hand": hand_written(case, compiled=False)}
        for name, step in ways.items():
            result[name] = profiled(step, arguments.seconds)
            print(f"{name}: {result[name]['milliseconds']} ms")
            for what, spent in result[name]["by_owner"].items():
                print(f"  {spent['milliseconds']:.3f} ± {spent['standard_error']:.3f} ms  {what}")
    record("profile_step", arguments, result)


if __name__ == "__main__":
    main()

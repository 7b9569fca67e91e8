"""Memory and time of training on bytes on disk, read batch by batch, at 1, 10 and 100 times the size of MNIST.

    python benchmarks/memory.py --threads 1

A VAE 784-400-20 takes so many steps on each size, batch 128, in a process of its own; nothing of an epoch is left out
but its length.  Memory is what belongs to the process alone (RssAnon), which the system's cache of files does not; its
peak over the steps is given, and before data and variant were made.  For comparison the same data as one tensor.
"""

from __future__ import annotations

import contextlib
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from common import parser, record

import pyro_vae as pv
from pyro_vae import likelihoods, networks, priors
from pyro_vae.data import Streamed
from pyro_vae.training.sources import Read

MNIST, PIXELS, BATCH = 60_000, 784, 128


def scaled(x: torch.Tensor) -> torch.Tensor:
    return x / 255


class Enough(Exception):  # noqa: N818
    pass


def anonymous() -> float:
    """Memory of this process in MiB, without that of files."""
    found = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def make() -> pv.VAE:
    likelihood = likelihoods.ContinuousBernoulli(PIXELS)
    return pv.VAE(priors.StandardNormal(20), likelihood, encoder=networks.MLP([400]))


def child(path: str, n: int, form: str, steps: int) -> dict[str, float]:
    """A run on one file: memory in MiB, milliseconds a step."""
    pv.fit(make(), torch.zeros(BATCH, PIXELS), epochs=2, progress=False)  # what the first steps of any run take
    before, peaks, times = anonymous(), [], []

    def transform(x: torch.Tensor) -> torch.Tensor:
        peaks.append(anonymous())
        times.append(time.process_time())
        if len(times) > steps:
            raise Enough
        return scaled(x)

    x = np.memmap(path, dtype=np.uint8, mode="r", shape=(n, PIXELS))
    given = x if form == "streamed" else torch.from_numpy(np.array(x))
    with contextlib.suppress(Enough):
        pv.fit(make(), given, epochs=1000, compile=False, transform=transform, progress=False)
    found = {
        "before": before,
        "peak": max(peaks),
        "milliseconds_per_step": 1000 * statistics.median(np.diff(times[20:]).tolist()),
    }
    if form == "streamed":
        found |= costs(Streamed(x), steps)
    return found


def costs(stream: Streamed, steps: int) -> dict[str, float]:
    """Milliseconds of processor time to read a batch at random places, and to convert and check it."""
    source = Read("data", stream, make(), scaled)
    reading, checking = [], []
    for _ in range(steps):
        rows = torch.randint(len(stream), (BATCH,))
        times = [time.process_time()]
        batch = stream.read(rows)
        times.append(time.process_time())
        source.prepare(*batch)
        times.append(time.process_time())
        reading.append(times[1] - times[0])
        checking.append(times[2] - times[1])
    return {
        "milliseconds_to_read": 1000 * statistics.median(reading),
        "milliseconds_to_check": 1000 * statistics.median(checking),
    }


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--steps", type=int, default=200)
    options.add_argument("--child", nargs=3, metavar=("FILE", "N", "FORM"), help="one run, for the benchmark itself")
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    if arguments.child:
        path, n, form = arguments.child
        print(json.dumps(child(path, int(n), form, arguments.steps)))
        return
    result: dict[str, object] = {}
    block = np.random.default_rng(arguments.seed).integers(256, size=(MNIST, PIXELS), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        for times, forms in ((1, ("streamed", "tensor")), (10, ("streamed", "tensor")), (100, ("streamed",))):
            path = Path(folder, f"{times}.bytes")
            with path.open("wb") as file:
                for _ in range(times):
                    file.write(block)
            for form in forms:
                words = ["--threads", str(arguments.threads), "--steps", str(arguments.steps)]
                command = [sys.executable, __file__, *words, "--child", str(path), str(times * MNIST), form]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                result[f"{form}, {times} x MNIST"] = found = json.loads(done.stdout.splitlines()[-1])
                told = ", ".join(f"{name} {value:.2f}" for name, value in found.items())
                print(f"{form}, {times * 47} MB: {told}", flush=True)
            path.unlink()
    record("memory", arguments, result)


if __name__ == "__main__":
    main()

"""A training step in two processes of one thread each, against one process of one thread.

    python benchmarks/processes.py

A VAE 784-400-20 on random binary data.  The ways alternate, each round in processes of its own; the time is that of an
epoch by the wall clock, as ``fit`` reports it, over its steps: the median over the epochs of a round but the first,
then over rounds, with the smallest and largest.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys

import torch
from common import parser, record

import pyro_vae as pv
from pyro_vae import likelihoods, networks, priors

STEPS, EPOCHS = 20, 4
WAYS = {"one process": 1, "two processes": 2}


def child(batch: int) -> float:
    """Milliseconds of a step."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    vae = pv.VAE(priors.StandardNormal(20), likelihoods.Bernoulli(784), encoder=networks.MLP([400]))
    x = torch.bernoulli(torch.full((batch * STEPS, 784), 0.3))
    history = pv.fit(vae, x, epochs=EPOCHS, batch_size=batch, compile=False, device="cpu", progress=False)
    return 1000 * statistics.median(history["seconds"][1:]) / STEPS


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--batches", type=int, nargs="+", default=[128, 512])
    options.add_argument("--child", type=int, metavar="BATCH", help="for the benchmark itself")
    arguments = options.parse_args()
    if arguments.child:
        found = child(arguments.child)
        if os.environ.get("RANK", "0") == "0":
            print(json.dumps(found))
        return
    result: dict[str, object] = {}
    for batch in arguments.batches:
        times: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(arguments.rounds):
            for way, processes in WAYS.items():
                launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
                words = [*(launcher if processes > 1 else []), __file__, "--child", str(batch)]
                done = subprocess.run(
                    [sys.executable, *words],
                    stdout=subprocess.PIPE,
                    text=True,
                    check=True,
                    env=os.environ | {"OMP_NUM_THREADS": "1"},
                )
                times[way].append(json.loads(done.stdout.splitlines()[-1]))
        for way, found in times.items():
            entry = {"milliseconds_per_step": statistics.median(found), "range": [min(found), max(found)]}
            result[f"{way}, batch {batch}"] = entry
            print(f"{way}, batch {batch}: {statistics.median(found):.1f} ms ({min(found):.1f} to {max(found):.1f})")
    record("processes", arguments, result | {"cores": os.cpu_count(), "load": os.getloadavg()[0]})


if __name__ == "__main__":
    main()

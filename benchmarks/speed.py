"""What a training step costs: eagerly and compiled, beside the same network by hand and in plain Pyro.

    python benchmarks/speed.py --threads 1

On random binary data, one step each in turn, so that whatever else the machine does slows all alike: reported are
medians of the ratios of neighbouring steps, with their quartiles, and of times.  The floor is the matrix products of a
step, alone.  All times are those of the processor, not of the clock.  Compilers are timed in processes of their own,
with an empty cache and with a full one, each with all that it starts, one thing after the other.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import by_hand
import by_pyro
import floors
import pyro
import torch
from common import parser, record
from pyro.infer import SVI
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

import pyro_vae as pv
from pyro_vae import labels, likelihoods, networks, objectives, priors
from pyro_vae.training.optimiser import JointOptim, adam
from pyro_vae.training.registration import unregistered

Step = Callable[[], float]


@dataclass
class Case:
    """One network and one batch."""

    width: int
    hidden: int
    size: int
    batch: int
    classes: int = 0
    draws: int = 0
    channels: tuple[int, ...] = ()  # of convolutions on square images with that many pixels

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a datum, as our variants see it."""
        side = math.isqrt(self.width)
        return (1, side, side) if self.channels else (self.width,)

    def data(self) -> tuple[Tensor, Tensor | None]:
        """Half of the data have labels where there are classes."""
        x = torch.bernoulli(torch.full((self.batch, self.width), 0.3))
        return x, torch.randint(self.classes, (self.batch // 2,)) if self.classes else None

    def variant(self) -> pv.variants.Variant:
        prior, likelihood = priors.StandardNormal(self.size), likelihoods.Bernoulli(self.shape)
        encoder: networks.Network = networks.MLP([self.hidden])
        if self.channels:
            encoder = networks.Conv(self.channels, hidden=[self.hidden])
        if self.classes:
            variant: Any = pv.M2(labels.Categorical(self.classes), prior, likelihood, encoder=encoder)
        else:
            objective = objectives.IWAE(self.draws) if self.draws else None
            variant = pv.VAE(prior, likelihood, encoder=encoder, objective=objective)
        variant.anneal(0.5)
        return variant

    def written(self, module: Any) -> nn.Module:
        """The network of ``by_hand`` or of ``by_pyro``."""
        sizes = self.width, self.hidden, self.size
        if self.channels:
            return module.Convolutional(self.width, self.channels, self.hidden, self.size)
        if self.classes:
            return module.M2(*sizes, self.classes)
        return module.IWAE(*sizes, self.draws) if self.draws else module.VAE(*sizes)


CASES = {
    "VAE 784-400-20, batch 128": Case(784, 400, 20, 128),
    "VAE 64-64-8, batch 128": Case(64, 64, 8, 128),
    "VAE 28 x 28, convolutional, batch 128": Case(784, 128, 20, 128, channels=(32, 64)),
    "M2 784-500-50, batch 100": Case(784, 500, 50, 100, classes=10),
    "M2 64-64-8, batch 64": Case(64, 64, 8, 64, classes=10),
    "IWAE 784-400-20, K = 50, batch 128": Case(784, 400, 20, 128, draws=50),
}

RATIOS = [
    ("compiled", "hand"),
    ("compiled", "hand compiled"),
    ("eager", "hand"),
    ("graph", "hand"),
    ("hand compiled", "hand"),
    ("pyro", "hand"),
    ("compiled", "pyro"),
    ("compiled", "eager"),
    ("compiled", "floor"),
    ("hand", "floor"),
]


def of_fit(case: Case, backend: str | None) -> Step:
    """What ``pv.fit`` does with a batch, compiled by a backend or not at all."""
    variant = case.variant()
    x, y = case.data()
    arguments = [each for each in (x.unflatten(1, case.shape), y) if each is not None]
    objective = variant.objective
    if backend is not None:
        objective = objectives.Compiled(objective, backend)
        objective.announces = False
    optim = JointOptim(variant.parameters(), adam, lr=1e-3)
    svi = SVI(variant.model, variant.guide, optim, loss=objective)

    def step() -> float:
        variant.anneal(0.5)
        optim.set_lr(1e-3)
        optim.batch = case.batch
        return svi.step(*arguments)

    context = unregistered(variant, variant.objective)
    context.__enter__()
    vars(step)["context"] = context  # as long as there is the step

    return step


def hand_written(case: Case, compiled: bool) -> Step:
    model = case.written(by_hand)
    arguments = [each for each in case.data() if each is not None]
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    loss_of = torch.compile(model, dynamic=False) if compiled else model

    def step() -> float:
        loss = loss_of(*arguments) / case.batch
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        return loss.item()

    return step


def plain_pyro(case: Case) -> Step:
    module: Any = case.written(by_pyro)
    arguments = [each for each in case.data() if each is not None]
    svi = SVI(module.model, module.guide, pyro.optim.Adam({"lr": 1e-3}), loss=module.objective)
    return lambda: svi.step(*arguments)


WAYS: dict[str, Callable[[Case], Step]] = {
    "eager": lambda case: of_fit(case, None),
    "graph": lambda case: of_fit(case, "eager"),
    "compiled": lambda case: of_fit(case, "inductor"),
    "hand": lambda case: hand_written(case, compiled=False),
    "hand compiled": lambda case: hand_written(case, compiled=True),
    "pyro": plain_pyro,
    "floor": floors.products,
}


def measure(case: Case, rounds: int) -> dict[str, Any]:
    """Times, ratios and peak memory of a step of each kind."""
    with pyro.get_param_store().scope(), pyro.validation_enabled(False):
        steps = {name: way(case) for name, way in WAYS.items()}
        for step in steps.values():
            for _ in range(5):
                step()
        seconds: dict[str, list[float]] = {name: [] for name in steps}
        for round_ in range(rounds):
            for name in list(steps)[:: 1 if round_ % 2 else -1]:
                start = time.process_time()
                steps[name]()
                seconds[name].append(time.process_time() - start)
        memory = {name: peak_memory(step) for name, step in steps.items() if name != "floor"}
    result: dict[str, Any] = {"milliseconds": {n: round(1000 * statistics.median(s), 3) for n, s in seconds.items()}}
    result["ratios"] = {f"{a}/{b}": quartiles(seconds[a], seconds[b]) for a, b in RATIOS}
    result["mebibytes"] = {name: round(bytes_ / 2**20, 2) for name, bytes_ in memory.items()}
    return result


def quartiles(first: list[float], second: list[float]) -> dict[str, Any]:
    low, median, high = statistics.quantiles((a / b for a, b in zip(first, second, strict=True)), n=4)
    return {"median": round(median, 3), "quartiles": [round(low, 3), round(high, 3)]}


def peak_memory(step: Step) -> int:
    """The most bytes that a step holds beside what was there before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    now = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most


def compile_seconds(name: str, threads: int) -> dict[str, float]:
    """How long the step that compiles takes, with an empty cache and with a full one."""
    printed = with_empty_and_full_cache([__file__, "--threads", str(threads), "--compile-only", name])
    return dict(zip(("cold", "warm"), (round(float(line), 1) for line in printed), strict=True))


def with_empty_and_full_cache(words: list[str]) -> list[str]:
    """The last lines that a script prints, run twice with one cache of compiled code, which is empty at first."""
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": cache, "TORCHINDUCTOR_COMPILE_THREADS": "1"}
        command = [sys.executable, *words]
        runs = [subprocess.run(command, env=environment, check=True, capture_output=True, text=True) for _ in range(2)]
    return [run.stdout.splitlines()[-1] for run in runs]


def compile_only(name: str) -> float:
    with pyro.get_param_store().scope():
        step = of_fit(CASES[name], "inductor")
        step()
        start = processor_seconds()
        step()
        return processor_seconds() - start


def processor_seconds() -> float:
    """Of this process and of those that it waited for."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


def main() -> None:
    options: argparse.ArgumentParser = parser(__doc__ or "")
    options.add_argument("--rounds", type=int, default=200)
    options.add_argument("--cases", nargs="*", default=list(CASES), help="some of: " + "; ".join(CASES))
    options.add_argument("--compile-only", help=argparse.SUPPRESS)
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    if arguments.compile_only:
        print(compile_only(arguments.compile_only))
        return
    result = {}
    for name in arguments.cases:
        rounds = arguments.rounds // (4 if CASES[name].draws else 1)
        result[name] = measure(CASES[name], rounds)
        print(name, json.dumps(result[name], indent=1), flush=True)
        record("speed", arguments, result)
    for name in arguments.cases:
        result[name]["compile_seconds"] = compile_seconds(name, arguments.threads)
        print(name, result[name]["compile_seconds"], flush=True)
        record("speed", arguments, result)


if __name__ == "__main__":
    main()

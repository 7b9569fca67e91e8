"""What whole epochs of training cost: ``pv.fit`` beside the trainers of its peers and beside a loop by hand.

    python benchmarks/epochs.py --threads 1

MNIST, binarised once, for the small network in 8 x 8 pixels.  All train the same layers from the same weights, by Adam
at 1e-3, in batches of 128, without validation, checkpoints or progress bars.  Peers take their batches from torch's
DataLoader, as in their examples, and torch's Adam as it is, or the fused one, which ours and the loop by hand have.  In
a round each way trains a new network, and from round to round their order turns round: whatever else the machine does
slows all alike.  A way's first epoch, in which compilers work, is set apart.  Reported are medians over rounds of
the ratios within one round, with quartiles, of the processor's time and of the clock's, and the loss per datum in the
last epoch, beside that by hand from the same weights: all must learn the same.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import json
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import by_hand
import by_pyro
import pyro
import torch
from common import parser, record
from pyro.infer import SVI
from speed import processor_seconds, quartiles
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import pyro_vae as pv
from pyro_vae import data, likelihoods, networks, objectives, priors

BATCH = 128
NETWORKS = {"784-400-20": (784, 400, 20), "64-64-8": (64, 64, 8)}


@dataclass
class Task:
    """Train the network ``start`` on ``x`` for so many epochs."""

    start: by_hand.VAE
    sizes: tuple[int, int, int]
    x: Tensor
    epochs: int

    def give_weights(self, encoder: nn.Module, decoder: nn.Module) -> None:
        """Put the starting weights into networks of the same layers."""
        given = nn.ModuleList([encoder, decoder])
        for dimensions in (1, 2):  # biases, weights
            pairs = ([p for p in each.parameters() if p.dim() == dimensions] for each in (given, self.start))
            for parameter, value in zip(*pairs, strict=True):
                assert parameter.shape == value.shape
                parameter.data.copy_(value.data)


Way = Callable[[Task, Callable[[], None]], float]
"""Trains, with a call after each epoch; the loss in the last, in nats per datum."""


class _Watched(objectives.Schedule):
    """A constant learning rate, which is asked for in each step, and so knows when an epoch begins."""

    def __init__(self, begun: Callable[[], None]) -> None:
        self.begun = begun

    def __call__(self, epoch: float) -> float:
        if epoch > 0 and epoch % 1 == 0:
            self.begun()
        return 1e-3


def fit(task: Task, done: Callable[[], None], compiled: bool | str = False) -> float:
    """``pv.fit``, which also adds up reconstruction and KL, and checks the weights at the end of each epoch."""
    width, hidden, size = task.sizes
    vae = pv.VAE(priors.StandardNormal(size), likelihoods.Bernoulli(width), encoder=networks.MLP([hidden]))
    task.give_weights(vae.guide.posterior.network, vae.model.likelihood.network)
    vae.initialised.fill_(True)  # else the last bias would start at the data's mean
    options: Any = {"lr": _Watched(done), "seed": torch.initial_seed(), "compile": compiled, "progress": False}
    history = pv.fit(vae, task.x, epochs=task.epochs, batch_size=BATCH, **options)
    done()
    return history["loss"][-1]


def hand(task: Task, done: Callable[[], None], compiled: bool = False) -> float:
    """The loop that an expert writes: data in one tensor, rows of it in a random order."""
    model = by_hand.VAE(*task.sizes)
    task.give_weights(model.encoder, model.decoder)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    torch.compiler.reset()  # or it gives up on compiling one forward for ever more modules
    loss_of = torch.compile(model, dynamic=False) if compiled else model
    total = torch.zeros(())
    for _ in range(task.epochs):
        total = torch.zeros(())
        for rows in torch.randperm(len(task.x)).split(BATCH):
            loss = loss_of(task.x[rows])
            optimiser.zero_grad(set_to_none=True)
            (loss / len(rows)).backward()
            optimiser.step()
            total += loss.detach()
        done()
    return total.item() / len(task.x)


def plain_pyro(task: Task, done: Callable[[], None]) -> float:
    """The loop of Pyro's example of a VAE, without its checks."""
    with pyro.get_param_store().scope(), pyro.validation_enabled(False):
        module: Any = by_pyro.VAE(*task.sizes)
        task.give_weights(module.encoder, module.decoder)
        svi = SVI(module.model, module.guide, pyro.optim.Adam({"lr": 1e-3}), loss=module.objective)
        loader = DataLoader(TensorDataset(task.x), batch_size=BATCH, shuffle=True)
        loss = 0.0
        for _ in range(task.epochs):
            loss = sum(svi.step(x) for (x,) in loader)
            done()
    return loss / len(task.x)


def peer(task: Task, done: Callable[[], None], name: str, **adam: Any) -> float:
    """A peer with its own trainer or loop."""
    module = importlib.import_module(f"by_{name}")
    vae = module.VAE(*task.sizes)
    task.give_weights(vae.encoder, vae.decoder)
    return module.train(vae, task.x, task.epochs, BATCH, done, **adam)


WAYS: dict[str, Way] = {
    "fit": fit,
    "fit graph": functools.partial(fit, compiled="graph"),
    "fit compiled": functools.partial(fit, compiled=True),
    "hand": hand,
    "hand compiled": functools.partial(hand, compiled=True),
    "pyro": plain_pyro,
}
PEERS: dict[str, dict[str, Way]] = {
    name: {
        name: functools.partial(peer, name=name),
        f"{name}, fused Adam": functools.partial(peer, name=name, fused=True),
    }
    for name in ("pythae", "pixyz")
}
OURS = ("fit", "fit graph", "fit compiled")
CLOCKS: dict[str, Callable[[], float]] = {"processor": processor_seconds, "clock": time.perf_counter}


class Watch:
    """Reads the clocks when it is made and whenever it is called, at the end of each epoch."""

    def __init__(self) -> None:
        self.read: dict[str, list[float]] = {clock: [] for clock in CLOCKS}
        self()

    def __call__(self) -> None:
        for clock, now in CLOCKS.items():
            self.read[clock].append(now())

    def later(self, clock: str) -> float:
        """How long an epoch after the first took."""
        _, begun, *_, ended = self.read[clock]
        return (ended - begun) / (len(self.read[clock]) - 2)

    def more(self) -> float:
        """How much longer the first took, with all that came before it."""
        start, ended, *_ = self.read["processor"]
        return round(ended - start - self.later("processor"), 2)


def images(width: int, number: int) -> Tensor:
    """MNIST in so many pixels, each drawn once with its grey value as probability; (number, width)."""
    grey = nn.functional.adaptive_avg_pool2d(data.load("mnist").train.x[:number], math.isqrt(width))
    return torch.bernoulli(grey.flatten(1))


def measure(sizes: tuple[int, int, int], ways: dict[str, Way], x: Tensor, epochs: int, seeds: range) -> dict[str, Any]:
    """Times, ratios and losses of a round for each seed."""
    rounds: dict[str, list[Watch]] = {name: [] for name in ways}
    losses: dict[str, list[float]] = {name: [] for name in ways}
    for seed in seeds:
        torch.manual_seed(seed)
        task = Task(by_hand.VAE(*sizes), sizes, x, epochs)
        for name in list(ways)[:: 1 if seed % 2 else -1]:
            torch.manual_seed(seed)
            watch = Watch()
            losses[name].append(ways[name](task, watch))
            rounds[name].append(watch)
    seconds = {clock: {n: [w.later(clock) for w in watches] for n, watches in rounds.items()} for clock in CLOCKS}
    pairs = [(ours, other) for ours in OURS for other in ways if other not in OURS]
    return {
        "steps_per_epoch": len(x) // BATCH,
        "epochs": epochs,
        "seconds_per_epoch": {
            name: {clock: round(statistics.median(seconds[clock][name]), 3) for clock in CLOCKS} for name in ways
        },
        "ratios": {
            f"{a}/{b}": {clock: quartiles(seconds[clock][a], seconds[clock][b]) for clock in CLOCKS} for a, b in pairs
        },
        "seconds_more_in_the_first_epoch": {
            name: {"empty_cache": watches[0].more(), "later": statistics.median(watch.more() for watch in watches[1:])}
            for name, watches in rounds.items()
        },
        "loss_per_datum": {
            name: {"mean": round(statistics.mean(loss), 3), "more_than_by_hand": difference(loss, losses["hand"])}
            for name, loss in losses.items()
        },
    }


def difference(first: list[float], second: list[float]) -> dict[str, float]:
    each = [a - b for a, b in zip(first, second, strict=True)]
    error = statistics.stdev(each) / math.sqrt(len(each))
    return {"mean": round(statistics.mean(each), 3), "standard_error": round(error, 3)}


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--rounds", type=int, default=9, help="three at least")
    options.add_argument("--epochs", type=int, default=3, help="of each round, the first of which is set apart")
    options.add_argument("--steps", type=int, default=150, help="of an epoch")
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    ways = dict(WAYS)
    result: dict[str, Any] = {"peers": {}}
    for name, more in PEERS.items():
        try:
            print(importlib.import_module(f"by_{name}").__doc__)
        except ModuleNotFoundError as error:
            print(f"left out: {name} ({error}; pip install 'pyro-vae[peers]')")
            continue
        ways |= more
        result["peers"][name] = importlib.metadata.version(name)
    with tempfile.TemporaryDirectory() as cache:
        os.environ |= {"TORCHINDUCTOR_CACHE_DIR": cache, "TORCHINDUCTOR_COMPILE_THREADS": "1"}
        for name, sizes in NETWORKS.items():
            torch.manual_seed(arguments.seed)
            x = images(sizes[0], arguments.steps * BATCH)
            seeds = range(arguments.seed, arguments.seed + arguments.rounds)
            result[name] = measure(sizes, ways, x, arguments.epochs, seeds)
            print(name, json.dumps(result[name], indent=1), flush=True)
            record("epochs", arguments, result)


if __name__ == "__main__":
    main()

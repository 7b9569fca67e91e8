"""What ``pv.fit`` adds to a bare loop of ``svi.step``, and Pyro to plain PyTorch, as ratios in one run.

    python benchmarks/overhead.py

The network is 784-400-20, batch 128, on random binary data, five epochs of 100 steps.  The ways alternate, so that a
machine whose speed drifts slows them alike, and the median of the ratios of neighbouring rounds is reported with their
quartiles.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import pyro
import torch
from common import parser, record
from pyro.infer import SVI, TraceMeanField_ELBO
from torch import nn

import pyro_vae as pv
from pyro_vae import likelihoods, networks, priors
from pyro_vae.training.batches import Batches
from pyro_vae.training.optimiser import JointOptim, adam

BATCH = 128
EPOCHS = 5


def make() -> pv.VAE:
    encoder = networks.MLP([400])
    return pv.VAE(priors.StandardNormal(20), likelihoods.Bernoulli(784), encoder=encoder)


def with_fit(x: torch.Tensor) -> Callable[[], None]:
    vae = make()
    vae.initialise(x)
    return lambda: pv.fit(vae, x, epochs=EPOCHS, lr_schedule="constant", progress=False) and None


def _svi_loop(
    x: torch.Tensor, optim: Callable[[pv.VAE], pyro.optim.PyroOptim], objective: object
) -> Callable[[], None]:
    vae = make()
    svi = SVI(vae.model, vae.guide, optim(vae), loss=objective or vae.objective)
    batches = Batches(x, None, BATCH, seed=0)

    def epoch() -> None:
        with pyro.get_param_store().scope(), pyro.validation_enabled(False):
            for number in range(EPOCHS):
                for batch, _ in batches.epoch(number):
                    svi.step(batch)

    return epoch


def bare_loop(x: torch.Tensor) -> Callable[[], None]:
    """Bare ``svi.step`` with the same objective and optimiser: what fit adds is its own."""
    return _svi_loop(x, lambda vae: JointOptim(vae.parameters(), adam, lr=1e-3), None)


def plain_pyro(x: torch.Tensor) -> Callable[[], None]:
    """``svi.step`` with Pyro's own objective and optimiser."""
    return _svi_loop(x, lambda vae: pyro.optim.Adam({"lr": 1e-3}), TraceMeanField_ELBO())


def by_hand(x: torch.Tensor) -> Callable[[], None]:
    """The same network without Pyro."""
    encoder = nn.Sequential(nn.Linear(784, 400), nn.ReLU(), nn.Linear(400, 40))
    decoder = nn.Sequential(nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, 784))
    optimiser = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3, fused=True)
    batches = Batches(x, None, BATCH, seed=0)

    def epoch() -> None:
        for number in range(EPOCHS):
            for batch, _ in batches.epoch(number):
                loc, log_variance = encoder(batch).chunk(2, -1)
                z = loc + (0.5 * log_variance).exp() * torch.randn_like(loc)
                bce = nn.functional.binary_cross_entropy_with_logits(decoder(z), batch, reduction="sum")
                loss = (bce + 0.5 * (loc**2 + log_variance.exp() - 1 - log_variance).sum()) / len(batch)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                loss.item()

    return epoch


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--rounds", type=int, default=15)
    options.add_argument("--steps", type=int, default=100)
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    x = torch.bernoulli(torch.full((BATCH * arguments.steps, 784), 0.3))
    ways = {f.__name__: f(x) for f in (with_fit, bare_loop, plain_pyro, by_hand)}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(arguments.rounds + 1):
        for name in list(ways)[:: 1 if round_ % 2 else -1]:
            start = time.perf_counter()
            ways[name]()
            if round_:  # the first round warms up
                seconds[name].append(time.perf_counter() - start)
    result: dict[str, object] = {
        "milliseconds_per_step": {n: 1000 * statistics.median(s) / arguments.steps / EPOCHS for n, s in seconds.items()}
    }
    for first, second in [("with_fit", "bare_loop"), ("bare_loop", "by_hand"), ("plain_pyro", "by_hand")]:
        ratios = [a / b for a, b in zip(seconds[first], seconds[second], strict=True)]
        low, median, high = statistics.quantiles(ratios, n=4)
        result[f"{first}/{second}"] = {"median": median, "quartiles": [low, high]}
        print(f"{first} / {second}: {median:.3f} (quartiles {low:.3f} to {high:.3f})")
    record("overhead", arguments, result)


if __name__ == "__main__":
    main()

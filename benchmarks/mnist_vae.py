"""VAEs on MNIST with dynamic binarisation: against a published figure, the same network by hand, and each swap.

    python benchmarks/mnist_vae.py by_hand           # the network in plain PyTorch: the yardstick
    python benchmarks/mnist_vae.py same_settings     # ours with the yardstick's settings
    python benchmarks/mnist_vae.py defaults          # ours with the library's defaults
    python benchmarks/mnist_vae.py vamp              # and one swap each: see SETUPS

The network is the one-layer network of Burda, Grosse & Salakhutdinov, Importance Weighted Autoencoders, 2016
(784-200-200-50, tanh); training on the first 50,000 images, nothing tuned on the test set.
"""

from __future__ import annotations

import functools
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from common import RESULTS, parser, record
from torch import Tensor, nn

import pyro_vae as pv
from pyro_vae import data, evaluation, likelihoods, networks, posteriors, priors

SHAPE = (1, 28, 28)
LATENT = 50


@dataclass
class Setup:
    """One row of the table: what differs from the plain VAE."""

    words: str
    parts: Callable[[], dict[str, Any]] = dict
    training: dict[str, Any] = field(default_factory=dict)


def iwae_network() -> networks.MLP:
    return networks.MLP([200, 200], activation="tanh")


def conv_network() -> networks.Conv:
    return networks.Conv([32, 64, 64], hidden=[256], activation="silu")


YARDSTICK = {
    "batch_size": 100,
    "lr": 1e-3,
    "lr_schedule": "constant",
    "optimizer": functools.partial(torch.optim.Adam, eps=1e-4),
}
DEFAULTS: dict[str, Any] = {}
SETUPS = {
    "same_settings": Setup("plain VAE, the yardstick's settings", training=YARDSTICK),
    "defaults": Setup("plain VAE, the library's defaults", training=DEFAULTS),
    "vamp": Setup("VampPrior, 100 pseudo-inputs", lambda: {"prior": priors.Vamp(LATENT, 100)}, DEFAULTS),
    "flow_prior": Setup("flow prior (MAF)", lambda: {"prior": priors.Flow(LATENT, hidden=[128, 128])}, DEFAULTS),
    "flow_posterior": Setup(
        "flow posterior (IAF)", lambda: {"posterior": posteriors.Flow(hidden=[256], context=64)}, DEFAULTS
    ),
    "conv": Setup("convolutional networks", lambda: {"encoder": conv_network()}, DEFAULTS),
    "best": Setup(
        "convolutional networks, flow prior, flow posterior",
        lambda: {
            "prior": priors.Flow(LATENT, hidden=[128, 128]),
            "posterior": posteriors.Flow(hidden=[256], context=64),
            "encoder": conv_network(),
        },
        DEFAULTS,
    ),
}


class ByHand(nn.Module):
    """The same network in plain PyTorch, initialised as in the paper's code: Xavier, output bias at the data's mean."""

    def __init__(self, mean: Tensor) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(784, 200), nn.Tanh(), nn.Linear(200, 200), nn.Tanh())
        self.loc, self.log_variance = nn.Linear(200, LATENT), nn.Linear(200, LATENT)
        self.decoder = nn.Sequential(
            nn.Linear(LATENT, 200), nn.Tanh(), nn.Linear(200, 200), nn.Tanh(), nn.Linear(200, 784)
        )
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        with torch.no_grad():
            self.decoder[-1].bias.copy_(mean.clamp(1e-3, 1 - 1e-3).logit())

    def terms(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstruction and KL, (N,)."""
        hidden = self.encoder(x)
        loc, log_variance = self.loc(hidden), self.log_variance(hidden)
        z = loc + (0.5 * log_variance).exp() * torch.randn_like(loc)
        bce = nn.functional.binary_cross_entropy_with_logits(self.decoder(z), x, reduction="none")
        kl = 0.5 * (loc**2 + log_variance.exp() - 1 - log_variance).sum(-1)
        return -bce.sum(-1), kl

    def log_likelihood(self, x: Tensor, num_samples: int) -> Tensor:
        """Importance sampling, (N,)."""
        hidden = self.encoder(x)
        q = torch.distributions.Normal(self.loc(hidden), (0.5 * self.log_variance(hidden)).exp())
        z = q.sample((num_samples,))
        bce = nn.functional.binary_cross_entropy_with_logits(
            self.decoder(z), x.expand(num_samples, *x.shape), reduction="none"
        )
        prior = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)
        log_w = -bce.sum(-1) + prior - q.log_prob(z).sum(-1)
        return log_w.logsumexp(0) - math.log(num_samples)


def test_data(test: data.Split, seed: int) -> Tensor:
    """One fixed binarisation of the test images, the same for every setup."""
    generator = torch.Generator().manual_seed(12345 + seed)
    return torch.bernoulli(test.x, generator=generator)


def by_hand(images: data.Dataset, epochs: int, seed: int, x_test: Tensor, num_samples: int) -> dict[str, float]:
    torch.manual_seed(seed)
    x = images.train.x.flatten(1)
    model = ByHand(x.mean(0))
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-4)
    start = time.perf_counter()
    for _ in range(epochs):
        for chosen in torch.randperm(len(x)).split(100):
            reconstruction, kl = model.terms(torch.bernoulli(x[chosen]))
            optimiser.zero_grad(set_to_none=True)
            (kl - reconstruction).mean().backward()
            optimiser.step()
    seconds = time.perf_counter() - start
    x_test = x_test.flatten(1)
    with torch.no_grad():
        reconstruction, kl = model.terms(x_test)
        log_p = torch.cat([model.log_likelihood(batch, num_samples) for batch in x_test[:1000].split(20)])
    return summary(reconstruction, kl, log_p, seconds)


def ours(
    setup: Setup, images: data.Dataset, epochs: int, seed: int, x_test: Tensor, num_samples: int
) -> dict[str, float]:
    torch.manual_seed(seed)
    parts: dict[str, Any] = {
        "prior": priors.StandardNormal(LATENT),
        "likelihood": likelihoods.Bernoulli(SHAPE),
        "encoder": iwae_network(),
        **setup.parts(),
    }
    vae = pv.VAE(**parts)
    start = time.perf_counter()
    pv.fit(vae, images.train.x, epochs=epochs, transform=data.binarize, seed=seed, progress=True, **setup.training)
    seconds = time.perf_counter() - start
    terms = evaluation.elbo(vae, x_test)
    log_p = evaluation.log_likelihood(vae, x_test[:1000], num_samples=num_samples, chunk=20_000)
    return summary(terms.reconstruction, terms.kl, log_p, seconds)


def summary(reconstruction: Tensor, kl: Tensor, log_p: Tensor, seconds: float) -> dict[str, float]:
    elbo = reconstruction - kl
    return {
        "test_elbo": elbo.mean().item(),
        "test_elbo_standard_error": (elbo.std() / math.sqrt(len(elbo))).item(),
        "reconstruction": reconstruction.mean().item(),
        "kl": kl.mean().item(),
        "test_log_likelihood": log_p.mean().item(),
        "test_log_likelihood_standard_error": (log_p.std() / math.sqrt(len(log_p))).item(),
        "training_seconds": seconds,
    }


def main() -> None:
    options = parser("VAEs on MNIST with dynamic binarisation.")
    options.add_argument("setups", nargs="+", choices=["by_hand", *SETUPS], metavar="SETUP")
    options.add_argument("--epochs", type=int, default=30)
    options.add_argument("--num-samples", type=int, default=1000, help="importance samples per image")
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    images = data.load("mnist")
    x_test = test_data(images.test, arguments.seed)
    for name in arguments.setups:
        common = (images, arguments.epochs, arguments.seed, x_test, arguments.num_samples)
        result = by_hand(*common) if name == "by_hand" else ours(SETUPS[name], *common)
        words = "the same network by hand in PyTorch" if name == "by_hand" else SETUPS[name].words
        print(f"{name}: {json.dumps(result)}")
        arguments.out = RESULTS / f"mnist_vae_{name}_{arguments.epochs}.json"
        record(name, arguments, {"setup": words, "epochs": arguments.epochs, **result})


if __name__ == "__main__":
    main()

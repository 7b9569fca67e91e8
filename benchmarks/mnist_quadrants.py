"""Structured output on MNIST: the rest of an image from one, two or three quadrants.

    python benchmarks/mnist_quadrants.py 1 2 3 --threads 1

Pixels are binarised anew for each batch, and once for the test images.  The figure is the negative conditional
log-likelihood of all test images: exact for the baseline, a deterministic network; for the CVAE it is estimated by
importance sampling with the recognition network.
"""

from __future__ import annotations

import json
import time
from typing import Any

import torch
from common import RESULTS, parser, record
from torch import Tensor

import pyro_vae as pv
from pyro_vae import data, evaluation, likelihoods, networks, priors

SHAPE = (1, 28, 28)


def network(dropout: float = 0.0) -> networks.MLP:
    return networks.MLP([500, 500], dropout=dropout)


def baseline(given: int, missing: int) -> pv.Variant:
    return pv.Discriminative(likelihoods.Bernoulli(missing), given, network())


def cvae(given: int, missing: int, objective: Any = None) -> pv.Variant:
    return pv.StructuredOutputVAE(
        priors.ConditionalNormal(50),
        likelihoods.Bernoulli(missing),
        given,
        encoder=network(),
        objective=objective,
    )


def summary(nats: Tensor) -> dict[str, float]:
    return {"mean": nats.mean().item(), "standard_error": (nats.std() / len(nats) ** 0.5).item()}


def run(observed: int, images: data.Dataset, arguments: Any) -> dict[str, Any]:
    task = data.Quadrants(SHAPE, observed)
    train = task.split(images.train.x)
    generator = torch.Generator().manual_seed(12345 + arguments.seed)
    test = task.split(torch.bernoulli(images.test.x, generator=generator))
    sizes = train.x.shape[1], train.y.shape[1]  # type: ignore[union-attr]
    result: dict[str, Any] = {"observed": observed, "epochs": arguments.epochs, "num_samples": arguments.num_samples}
    for name, variant in {"baseline": baseline(*sizes), "cvae": cvae(*sizes)}.items():
        start = time.perf_counter()
        pv.fit(
            variant,
            train,
            epochs=arguments.epochs if name == "cvae" else max(1, arguments.epochs // 3),  # longer, it overfits
            transform=data.binarize,
            seed=arguments.seed,
            precision="bf16",
            progress=True,
        )
        result[f"{name}_seconds"] = time.perf_counter() - start
        if name == "baseline":
            result[name] = summary(-evaluation.elbo(variant, test.x, test.y).elbo)
        else:
            result["cvae_bound"] = summary(-evaluation.elbo(variant, test.x, test.y).elbo)
            log_p = evaluation.log_likelihood(variant, test.x, test.y, num_samples=arguments.num_samples, chunk=20_000)
            result[name] = summary(-log_p)
    return result


def main() -> None:
    options = parser("Structured output on MNIST.")
    options.add_argument("observed", nargs="+", type=int, choices=[1, 2, 3], help="quadrants that are given")
    options.add_argument("--epochs", type=int, default=30)
    options.add_argument("--num-samples", type=int, default=100, help="importance samples per image")
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    images = data.load("mnist")
    for observed in arguments.observed:
        torch.manual_seed(arguments.seed)
        result = run(observed, images, arguments)
        print(json.dumps(result))
        arguments.out = RESULTS / f"mnist_quadrants_{observed}.json"
        record("mnist_quadrants", arguments, result)


if __name__ == "__main__":
    main()

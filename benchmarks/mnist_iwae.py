"""Importance-weighted autoencoders on MNIST: the table of Burda, Grosse & Salakhutdinov (2016), at a stated budget.

    python benchmarks/mnist_iwae.py --objectives vae-1 vae-5 vae-50 iwae-5 iwae-50 --epochs 12
    python benchmarks/mnist_iwae.py --layers 2 --objectives vae-1 iwae-5 --epochs 12
    python benchmarks/mnist_iwae.py --continue-with iwae-5 --objectives vae-1 --epochs 12 --more 6
    python benchmarks/mnist_iwae.py --continue-with iwae-5 --objectives vae-1 --epochs 300 --more 70 --batch-size 50

The paper's networks (one layer 784-200-200-50, two layers 784-200-200-100-100-100-50, tanh), its data (60,000 images,
binarised anew for each batch) and its K; not its 3,280 epochs.  All rows have the same number of epochs, so that
larger K cost more time.  log p(x) by importance sampling with K = 5,000, by AIS on a few images on top; active units
as in the paper's section 5.2.  Trained weights are kept in ``runs/``: a run that was stopped goes on where it was.  log
p(x) of each image is kept there too: rows that were measured on the same images are compared image by image, far more
sharply than by their errors.
"""

from __future__ import annotations

import functools
import itertools
import json
import math
from pathlib import Path
from typing import Any

import torch
from common import RESULTS, parser, record

import pyro_vae as pv
from pyro_vae import data, evaluation, likelihoods, networks, objectives, posteriors, priors

RUNS = RESULTS.parent / "runs"
LOG_LIKELIHOODS = "log_likelihoods.pt"  # of the test images, in a run's folder
SHAPE = (1, 28, 28)
OBJECTIVES = {
    **{f"vae-{k}": functools.partial(objectives.ELBO, k) for k in (1, 5, 50)},
    **{f"iwae-{k}": functools.partial(objectives.IWAE, k) for k in (5, 50)},
    **{f"dreg-{k}": functools.partial(objectives.IWAE, k, "dreg") for k in (5, 50)},
}


def make(layers: int, objective: str) -> pv.Variant:
    outer = networks.MLP([200, 200], activation="tanh")
    if layers == 1:
        return pv.VAE(
            priors.StandardNormal(50), likelihoods.Bernoulli(SHAPE), encoder=outer, objective=OBJECTIVES[objective]()
        )
    return pv.HierarchicalVAE(
        priors=[priors.ConditionalNormal(100), priors.StandardNormal(50)],
        likelihood=likelihoods.Bernoulli(SHAPE),
        posteriors=[posteriors.Normal(), posteriors.Normal()],
        encoders=[outer, networks.MLP([100, 100], activation="tanh")],
        objective=OBJECTIVES[objective](),
    )


def trained(layers: int, objective: str, folder: Path, arguments: Any, x: torch.Tensor) -> tuple[pv.Variant, float]:
    """A variant at the end of its training, and the seconds that it took."""
    torch.manual_seed(arguments.seed)
    variant = make(layers, objective)
    return variant, _fit(variant, x, folder, arguments.epochs, arguments)


def continued(variant: pv.Variant, objective: str, folder: Path, arguments: Any, x: torch.Tensor) -> float:
    """Train on, with another objective and a fresh optimiser; returns the seconds."""
    variant.objective = OBJECTIVES[objective]()
    return _fit(variant, x, folder, arguments.more, arguments)


def _fit(variant: pv.Variant, x: torch.Tensor, folder: Path, epochs: int, arguments: Any) -> float:
    history = pv.fit(
        variant,
        x,
        epochs=epochs,
        batch_size=arguments.batch_size,
        transform=data.binarize,
        compile=True,
        seed=arguments.seed,
        precision=arguments.precision,
        folder=folder,
        resume=True,
        progress=True,
    )
    return sum(history["seconds"])


def measure(variant: pv.Variant, test: torch.Tensor, folder: Path, arguments: Any) -> dict[str, Any]:
    some = test[: arguments.images]
    torch.manual_seed(arguments.seed + 1)
    nll = -evaluation.log_likelihood(variant, some, num_samples=5000).as_subclass(torch.Tensor)
    torch.save(nll, folder / LOG_LIKELIHOODS)
    bound = evaluation.elbo(variant, test).elbo
    result = {
        "negative_log_likelihood": nll.mean().item(),
        "standard_error": (nll.std() / len(nll) ** 0.5).item(),
        "images": len(some),
        "negative_elbo": -bound.mean().item(),
    }
    method = evaluation.AIS(steps=1000, start="guide")
    if arguments.ais:
        ais = evaluation.log_likelihood(variant, test[: arguments.ais], method=method, num_samples=8)
        result["ais"] = {
            "images": arguments.ais,
            "negative_log_likelihood": -ais.mean().item(),
            "importance_on_the_same": nll[: arguments.ais].mean().item(),
        }
    if arguments.bidirectional:
        bounds = evaluation.bidirectional(
            variant, arguments.bidirectional, method=method, num_samples=8, seed=arguments.seed
        )
        result["bidirectional"] = {"images": len(bounds.x), "gap": bounds.gap, "standard_error": bounds.gap_error}
    counts = [evaluation.active_units(variant, test, site=site).count for site in variant.latents]
    result["active_units"] = counts[0] if len(counts) == 1 else counts
    return result


def pairs(layers: int, epochs: int) -> dict[str, Any]:
    """The rows' differences of -log p(x), image by image, where two were measured on the same images."""
    files = {objective: RUNS / row_name(layers, objective, epochs) / LOG_LIKELIHOODS for objective in OBJECTIVES}
    measured = {objective: torch.load(file) for objective, file in files.items() if file.exists()}
    return {
        f"{second} - {first}": {
            "images": len(measured[first]),
            "mean": (difference := measured[second] - measured[first]).mean().item(),
            "standard_error": difference.std().item() / math.sqrt(len(difference)),
        }
        for first, second in itertools.combinations(measured, 2)
        if len(measured[first]) == len(measured[second])
    }


def row_name(layers: int, objective: str, epochs: int) -> str:
    return f"mnist_iwae_{layers}_{objective}_{epochs}"


def main() -> None:
    options = parser("Importance-weighted autoencoders on MNIST.")
    options.add_argument("--objectives", nargs="+", choices=list(OBJECTIVES), default=list(OBJECTIVES)[:5])
    options.add_argument("--layers", type=int, choices=[1, 2], default=1)
    options.add_argument("--epochs", type=int, default=12)
    options.add_argument("--batch-size", type=int, default=100)
    options.add_argument("--precision", default="bf16", help="of the networks; densities stay in single precision")
    options.add_argument("--images", type=int, default=2000, help="test images whose log p(x) is estimated")
    options.add_argument("--ais", type=int, default=50, help="test images for AIS")
    options.add_argument("--bidirectional", type=int, default=0, help="simulated images for bidirectional Monte Carlo")
    options.add_argument("--continue-with", choices=list(OBJECTIVES))
    options.add_argument("--more", type=int, default=6, help="epochs of the continuation")
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    mnist = data.load("mnist")
    x = torch.cat([mnist.train.x, mnist.valid.x])
    generator = torch.Generator().manual_seed(0)
    test = torch.bernoulli(mnist.test.x, generator=generator)[torch.randperm(len(mnist.test), generator=generator)]
    for objective in arguments.objectives:
        name = row_name(arguments.layers, objective, arguments.epochs)
        variant, seconds = trained(arguments.layers, objective, RUNS / name, arguments, x)
        result = {"objective": objective, "layers": arguments.layers, "epochs": arguments.epochs}
        if arguments.continue_with:
            result |= {"continued_with": arguments.continue_with, "more": arguments.more}
            name += f"_then_{arguments.continue_with}_{arguments.more}"
            seconds += continued(variant, arguments.continue_with, RUNS / name, arguments, x)
        result |= measure(variant, test, RUNS / name, arguments) | {"training_seconds": seconds}
        print(f"{name}: {json.dumps(result)}", flush=True)
        arguments.out = RESULTS / f"{name}.json"
        record(name, arguments, result)
    if found := pairs(arguments.layers, arguments.epochs):
        name = f"mnist_iwae_{arguments.layers}_pairs_{arguments.epochs}"
        arguments.out = RESULTS / f"{name}.json"
        record(name, arguments, found)


if __name__ == "__main__":
    main()

"""Sigmoid belief networks on binarised MNIST: what trains a code that cannot be reparametrised.

    python benchmarks/mnist_sbn.py wake_sleep nvil vimco reweighted straight_through --epochs 20

One layer of 200 binary units, the networks of model and guide affine, the fixed binarisation of Larochelle & Murray
(50,000 images to train on), as in Bornschein & Bengio, Reweighted Wake-Sleep, 2015, table 1.  log p(x) by importance
sampling on the same thousand test images for all.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import torch
from common import RESULTS, parser, record

import pyro_vae as pv
from pyro_vae import data, evaluation, likelihoods, networks, objectives, posteriors, priors

SHAPE = (1, 28, 28)
UNITS = 200


def _nvil() -> Any:
    return objectives.ScoreFunction(1, objectives.LearnedBaseline(networks.MLP([100])), normalise=True)


SETUPS: dict[str, tuple[str, Callable[[], Any], Callable[[], posteriors.Posterior]]] = {
    "wake_sleep": ("wake-sleep", objectives.WakeSleep, posteriors.Bernoulli),
    "nvil": ("score function, learned and decaying baseline (NVIL)", _nvil, posteriors.Bernoulli),
    "vimco": ("VIMCO, K = 5", lambda: objectives.VIMCO(5), posteriors.Bernoulli),
    "reweighted": ("reweighted wake-sleep, K = 5", lambda: objectives.ReweightedWakeSleep(5), posteriors.Bernoulli),
    "straight_through": (
        "ELBO, straight-through gradient",
        objectives.ELBO,
        lambda: posteriors.Bernoulli(gradient="straight_through"),
    ),
}


def run(name: str, images: data.Dataset, arguments: Any) -> dict[str, Any]:
    words, objective, posterior = SETUPS[name]
    torch.manual_seed(arguments.seed)
    sbn = pv.VAE(
        priors.Bernoulli(UNITS),
        likelihoods.Bernoulli(SHAPE),
        posterior(),
        encoder=networks.MLP([]),
        objective=objective(),
    )
    history = pv.fit(
        sbn,
        images.train,
        epochs=arguments.epochs,
        batch_size=100,
        lr=arguments.lr,
        seed=arguments.seed,
        folder=RESULTS.parent / "runs" / f"sbn_{name}_{arguments.epochs}",
        resume=True,
        progress=True,
    )
    torch.manual_seed(arguments.seed + 1)
    # the test images come class by class: any thousand of them, but the same for every setup
    chosen = torch.randperm(len(images.test), generator=torch.Generator().manual_seed(0))
    x = images.test.x[chosen[: arguments.images]]
    nll = -evaluation.log_likelihood(sbn, x, num_samples=arguments.samples)
    return {
        "setup": words,
        "units": UNITS,
        "epochs": arguments.epochs,
        "negative_log_likelihood": nll.mean().item(),
        "standard_error": (nll.std() / len(nll) ** 0.5).item(),
        "images": len(x),
        "samples": arguments.samples,
        "negative_elbo": -evaluation.elbo(sbn, images.test).elbo.mean().item(),
        "training_seconds": sum(history["seconds"]),
    }


def main() -> None:
    options = parser("Sigmoid belief networks on binarised MNIST.")
    options.add_argument("setups", nargs="+", choices=list(SETUPS), metavar="SETUP")
    options.add_argument("--epochs", type=int, default=20)
    options.add_argument("--lr", type=float, default=3e-3)
    options.add_argument("--images", type=int, default=1000, help="test images whose log p(x) is estimated")
    options.add_argument("--samples", type=int, default=1000, help="of each")
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    images = data.load("binarized_mnist")
    for name in arguments.setups:
        result = run(name, images, arguments)
        print(f"{name}: {json.dumps(result)}", flush=True)
        arguments.out = RESULTS / f"mnist_sbn_{name}_{arguments.epochs}.json"
        record(name, arguments, result)


if __name__ == "__main__":
    main()

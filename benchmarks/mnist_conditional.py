"""Asking for what is generated: classes and continuous properties of MNIST digits.

    python benchmarks/mnist_conditional.py classes --threads 1
    python benchmarks/mnist_conditional.py properties --threads 1 --alpha 1e4 --seed 1
    python benchmarks/mnist_conditional.py properties --threads 1 --epochs 60 --lr 2e-3 --known 20 50 --suffix _long
    python benchmarks/mnist_conditional.py properties --threads 1 --alpha 1e4 --known 50 --start 60 --suffix _start60

classes: how many class-conditional samples of a conditional VAE an independent classifier reads as what was asked for.
properties: ink, thickness and slant of the first training images, 10,000 or --images, some of them known: mean
absolute error on the test images of the semi-supervised VAE and of the same network trained on the known ones alone,
in units of each property's standard deviation; and how the measured properties of generated images follow the ones
asked for.
"""

from __future__ import annotations

import json
from typing import Any

import torch
from common import RESULTS, parser, record
from torch import Tensor

import pyro_vae as pv
from pyro_vae import data, evaluation, labels, likelihoods, networks, objectives, priors

SHAPE = (1, 28, 28)


def classes(images: data.Dataset, arguments: Any) -> dict[str, Any]:
    torch.manual_seed(arguments.seed)
    cvae = pv.ConditionalVAE(
        labels.Categorical(10),
        priors.StandardNormal(20),
        likelihoods.Bernoulli(SHAPE),
        encoder=networks.MLP([400]),
        beta=objectives.Ramp(10.0, 1.0, share=0.8),  # y must explain what it can before z does
    )
    options: dict[str, Any] = {"seed": arguments.seed, "precision": arguments.precision}
    pv.fit(cvae, images.train, epochs=arguments.epochs, transform=data.binarize, **options)
    judge = pv.Discriminative(
        labels.Categorical(10), SHAPE, networks.Conv([16, 32, 64], hidden=[128], norm="batch", dropout=0.3)
    )
    pv.fit(judge, images.train, epochs=3, lr=1e-3, **options)
    asked = torch.arange(10).repeat_interleave(500)
    x_test = torch.bernoulli(images.test.x, generator=torch.Generator().manual_seed(12345 + arguments.seed))
    log_p = evaluation.log_likelihood(cvae, x_test[:1000], images.test.y[:1000], num_samples=1000)  # type: ignore[index]
    return {
        "epochs": arguments.epochs,
        "judge_on_test_images": judge.score(images.test)["accuracy"],
        "means_read_as_asked": judge.score(cvae.generate(5000, asked), asked)["accuracy"],
        "draws_read_as_asked": judge.score(cvae.generate(5000, asked, mean=False), asked)["accuracy"],
        "test_elbo": evaluation.elbo(cvae, x_test, images.test.y).elbo.mean().item(),
        "test_log_likelihood": log_p.mean().item(),
    }


def error(variant: pv.Variant, x: Tensor, y: Tensor, scale: Tensor) -> list[float]:
    """Mean absolute error of each property, in standard deviations of the property."""
    return ((variant.predict(x).mean - y).abs().mean(0) / scale).tolist()


def correlations(asked: Tensor, images: Tensor) -> list[float]:
    """Of each property with what is measured on images (N, *SHAPE), means that are grey."""
    measured = data.stroke_properties(images)
    return [torch.corrcoef(torch.stack([asked[:, i], measured[:, i]]))[0, 1].item() for i in range(3)]


def unlabelled_vae() -> pv.VAE:
    prior, likelihood = priors.StandardNormal(50), likelihoods.Normal(SHAPE, scale="shared")
    return pv.VAE(prior, likelihood, encoder=networks.MLP([500, 500]), decoder=networks.MLP([500]), beta=0.5)


def properties(images: data.Dataset, arguments: Any) -> dict[str, Any]:
    x, x_test = images.train.x[: arguments.images], images.test.x
    y_test = data.stroke_properties(x_test)
    train = data.Split(x, data.stroke_properties(x))
    assert train.y is not None
    scale = train.y.std(0)
    options: dict[str, Any] = {"seed": arguments.seed, "precision": arguments.precision, "progress": False}
    torch.manual_seed(arguments.seed)
    codes = unlabelled_vae()
    if arguments.start:
        pv.fit(codes, train.x, epochs=arguments.start, **options)  # no property is seen here
    rows = []
    for percent in arguments.known:
        known = data.labelled_subset(train, len(train) * percent // 100, seed=arguments.seed)
        torch.manual_seed(arguments.seed)
        vae = pv.SemiSupervisedVAE(
            labels.Normal(3),
            priors.StandardNormal(20),
            likelihoods.UnnormalisedBernoulli(SHAPE),  # the expected log-probability of pixels drawn from grey ones
            encoder=networks.MLP([500, 500]),
            classifier=networks.OnCodes(codes, networks.MLP([500, 500])),
            alpha=arguments.alpha,
            beta=objectives.Ramp(10.0, 2.0, share=0.8),
        )
        # both have as many steps, each with 128 images whose properties are known
        images_seen, number = arguments.epochs * len(train), int(known.labelled.sum())
        # log q(y | x) has no upper bound, and where it is sharp a single image has a large gradient
        alike: dict[str, Any] = {"lr": arguments.lr, "warmup": 100, "clip": 10.0, **options}
        pv.fit(vae, known, epochs=round(images_seen / (len(train) - number)), labelled_batch_size=128, **alike)
        torch.manual_seed(arguments.seed)
        network = networks.OnCodes(unlabelled_vae(), networks.MLP([500, 500]))  # the same, from random weights
        alone = pv.Discriminative(labels.Normal(3), SHAPE, network)
        pv.fit(alone, known[known.labelled], epochs=round(images_seen / number), **alike)
        asked = train.y[torch.randperm(len(train), generator=torch.Generator().manual_seed(1))[:1000]]
        rows.append(
            {
                "percent": percent,
                "properties": list(data.STROKE_PROPERTIES),
                "vae_error": error(vae, x_test, y_test, scale),
                "alone_error": error(alone, x_test, y_test, scale),
                "asked_and_measured": correlations(asked, vae.generate(1000, asked)),
                "reconstructed": correlations(y_test[:1000], vae.reconstruct(x_test[:1000], y_test[:1000])),
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    told = {name: getattr(arguments, name) for name in ("images", "start", "epochs", "alpha")}
    return {**told, "standard_deviations": scale.tolist(), "rows": rows}


def main() -> None:
    options = parser("Asking for what is generated.")
    options.add_argument("parts", nargs="+", choices=["classes", "properties"])
    options.add_argument("--images", type=int, default=10_000, help="with or without known properties")
    options.add_argument("--epochs", type=int, default=15)
    options.add_argument("--lr", type=float, default=1e-3, help="of what predicts properties")
    options.add_argument("--alpha", type=float, default=1e3, help="weight of predicting them")
    options.add_argument("--known", type=int, nargs="+", default=[5, 10, 20, 50], help="%% of properties known")
    options.add_argument("--start", type=int, default=20, help="epochs of the VAE that q(y | x) begins with; 0: random")
    options.add_argument("--suffix", default="", help="of the result's name")
    options.add_argument("--precision", default="bf16", help="of the networks; densities stay in single precision")
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    images = data.load("mnist")
    for part in arguments.parts:
        result = {"classes": classes, "properties": properties}[part](images, arguments)
        print(json.dumps(result))
        again = f"_seed{arguments.seed}" if arguments.seed else ""
        arguments.out = RESULTS / f"mnist_conditional_{part}{arguments.suffix}{again}.json"
        record("mnist_conditional", arguments, result)


if __name__ == "__main__":
    main()

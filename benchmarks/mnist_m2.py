"""M2 and its relatives on MNIST with few labels: test error, several draws of the labels.

    python benchmarks/mnist_m2.py recipe --labels 100 --draws 3
    python benchmarks/mnist_m2.py labels_alone plain recipe augmented conv --labels 100

The data are split as in the literature: 50,000 to train on, of which the labels of so many are shown (the same number
of each class), 10,000 for validation, 10,000 for the test.  Pixels are binarised anew for each batch.
What is done is kept in ``runs/``, so that a run that was stopped goes on where it was; delete it there to run it again.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from common import RESULTS, parser, record
from torch import Tensor

import pyro_vae as pv
from pyro_vae import data, evaluation, labels, likelihoods, networks, priors
from pyro_vae.files import make_folder, write_text

Transform = Callable[[Tensor], Tensor] | None

SHAPE = (1, 28, 28)
M1_EPOCHS = 6
MOVES = data.RandomAffine(degrees=10, translate=0.05, scale=0.08, shear=8)


def classifier(augmented: bool = False) -> networks.Network:
    network = networks.MLP([500, 500], norm="batch", dropout=0.5)
    return networks.Augmented(network, MOVES) if augmented else network


def conv_classifier() -> networks.Network:
    return networks.Augmented(networks.Conv([16, 32, 64], hidden=[256], norm="batch", dropout=0.3), MOVES)


def m2(**given: Any) -> pv.Variant:
    parts: dict[str, Any] = {
        "prior": priors.StandardNormal(50),
        "likelihood": likelihoods.Bernoulli(SHAPE),
        "encoder": networks.MLP([500]),
        "classifier": classifier(),
        **given,
    }
    return pv.M2(10, **parts)


def small_weights(variant: pv.Variant) -> pv.Variant:
    """Weights from N(0, 0.001²) and biases of zero, as in Pyro's example."""
    for module in variant.modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight, 0.0, 0.001)
            torch.nn.init.zeros_(module.bias)
    return variant


def random_start() -> pv.Variant:
    variant = m2()
    variant.guide.posterior.network.scale_output(10.0)  # type: ignore[union-attr, operator]
    return variant


def stacked(train: data.Split, transform: Transform, arguments: Any) -> pv.Variant:
    """M2 on the codes of a VAE of all images, which is trained first."""
    m1 = pv.VAE(
        priors.StandardNormal(50),
        likelihoods.Bernoulli(SHAPE),
        encoder=networks.MLP([500]),
        decoder=networks.MLP([500]),
    )
    options: dict[str, Any] = {"batch_size": 200, "lr": 3e-3, "precision": arguments.precision, "progress": False}
    pv.fit(m1, train.x, transform=transform, epochs=M1_EPOCHS, seed=arguments.seed, **options)
    return pv.M1M2(m1, labels.Categorical(10), priors.StandardNormal(25))


def moved(x: Tensor) -> Tensor:
    return data.binarize(MOVES(x))


@dataclasses.dataclass(frozen=True)
class Setup:
    """What is trained, and what is not as in the others: options of ``pv.fit``; grey pixels, where nothing is drawn."""

    says: str
    make: Callable[[], pv.Variant] | None  # M2 on the codes of a VAE, if None
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    transform: Transform = data.binarize


SETUPS = {
    "labels_alone": Setup(
        "the classifier, trained on the labelled images alone",
        lambda: pv.Discriminative(labels.Categorical(10), SHAPE, classifier()),
    ),
    "labels_alone_conv": Setup(
        "the convolutional classifier with data augmentation, on the labelled images alone",
        lambda: pv.Discriminative(labels.Categorical(10), SHAPE, conv_classifier()),
    ),
    "plain": Setup(
        "M2, every weight 1, a classifier like the encoder",
        lambda: m2(alpha=1.0, beta=1.0, classifier=networks.MLP([500])),
    ),
    "unweighted": Setup("M2, every weight 1", lambda: m2(alpha=1.0, beta=1.0)),
    "recipe": Setup("M2, the library's weights", m2),
    "augmented": Setup("M2, its classifier with data augmentation", lambda: m2(classifier=classifier(augmented=True))),
    "conv": Setup("M2, a convolutional classifier with data augmentation", lambda: m2(classifier=conv_classifier())),
    "m1m2": Setup("M2 on the codes of a VAE", None),
    "m1m2_augmented": Setup("M2 on the codes of a VAE, all with data augmentation", None, transform=moved),
    # the recipe, with one thing changed
    "constant_alpha": Setup("α = 1 throughout", lambda: m2(alpha=1.0)),
    "constant_beta": Setup("β = 1 throughout", lambda: m2(beta=1.0)),
    "labels_by_chance": Setup("labels seen as often as other images", m2, {"labelled_batch_size": None}),
    "simple_classifier": Setup(
        "q(y given x) like the encoder: one layer, no dropout, no batch norm",
        lambda: m2(classifier=networks.MLP([500])),
    ),
    "fixed_pixels": Setup("pixels thresholded once, not drawn anew", m2, transform=data.threshold),
    "grey_pixels": Setup(
        "grey pixels, not binarised",
        lambda: m2(likelihood=likelihoods.UnnormalisedBernoulli(SHAPE)),
        transform=None,
    ),
    "small_weights": Setup("initial weights from N(0, 0.001²)", lambda: small_weights(m2())),
    "random_start": Setup(
        "q(z given x, y) random at first, no warm-up of the learning rate", random_start, {"warmup": 0}
    ),
}


def run(name: str, images: data.Dataset, arguments: Any, draw: int) -> dict[str, float]:
    torch.manual_seed(arguments.seed + draw)
    train = data.labelled_subset(images.train, arguments.labels, seed=arguments.seed + draw)
    setup = SETUPS[name]
    start = time.perf_counter()
    variant = stacked(train, setup.transform, arguments) if setup.make is None else setup.make()
    options: dict[str, Any] = {
        "batch_size": 200,
        "labelled_batch_size": 100,
        "lr": 3e-3,
        "epochs": arguments.epochs,
        "precision": arguments.precision,
        "transform": setup.transform,
        "progress": False,
        **setup.options,
    }
    if variant.labels == "all":  # the labelled images alone: a fifth of the others' steps
        train = train[train.labelled]
        steps = arguments.epochs * len(images.train) / 200
        options |= {"batch_size": 100, "lr": 1e-3, "epochs": round(steps * 100 / max(100, len(train)) / 5)}
    pv.fit(variant, train, seed=draw, **options)
    seconds = time.perf_counter() - start
    x_valid, x_test = (
        split.x if setup.transform is None else data.threshold(split.x) for split in (images.valid, images.test)
    )
    result = {
        "valid_error": 100 * (1 - variant.score(x_valid, images.valid.y)["accuracy"]),
        "test_error": 100 * (1 - variant.score(x_test, images.test.y)["accuracy"]),
        "training_seconds": seconds,
    }
    if variant.labels == "some":
        result["test_elbo"] = evaluation.elbo(variant, x_test).elbo.mean().item()
    return result


def kept(name: str, images: data.Dataset, arguments: Any, draw: int) -> dict[str, float]:
    """The result of a run, from ``runs/`` where it is done."""
    told = (name, arguments.labels, arguments.epochs, arguments.precision, arguments.seed + draw)
    path = RESULTS.parent / "runs" / f"mnist_m2-{'-'.join(map(str, told))}.json"
    if not path.exists():
        make_folder(path.parent)
        write_text(path, json.dumps(run(name, images, arguments, draw)))
    return json.loads(path.read_text())


def main() -> None:
    options = parser("M2 and its relatives on MNIST with few labels.")
    options.add_argument("setups", nargs="+", choices=list(SETUPS), metavar="SETUP")
    options.add_argument("--labels", type=int, default=100)
    options.add_argument("--epochs", type=int, default=12)
    options.add_argument("--draws", type=int, default=1, help="draws of the labels, each with other weights")
    options.add_argument("--precision", default="bf16", help="of the networks; densities stay in single precision")
    options.add_argument("--suffix", default="", help="of the result's name")
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    images = data.load("mnist")
    for name in arguments.setups:
        runs = [kept(name, images, arguments, draw) for draw in range(arguments.draws)]
        errors = [each["test_error"] for each in runs]
        result = {
            "setup": SETUPS[name].says,
            "labels": arguments.labels,
            "epochs": arguments.epochs,
            "test_error": statistics.mean(errors),
            "test_error_standard_error": statistics.stdev(errors) / len(errors) ** 0.5 if errors[1:] else None,
            "runs": runs,
        }
        print(f"{name}: {json.dumps(result)}", flush=True)
        arguments.out = RESULTS / f"mnist_m2_{name}_{arguments.labels}{arguments.suffix}.json"
        record(name, arguments, result)


if __name__ == "__main__":
    main()

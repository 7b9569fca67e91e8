"""What M2 takes for a class on CIFAR-10 with a hundred labels: how many classes it names, and how much of an image's
mean colour they explain.

    python benchmarks/cifar_m2.py --threads 1 --precision bf16 --figure docs/images/m2_cifar10.png

The data are cut and M2 trained as by ``pyro-vae compare cifar10``.  The share of the variance of mean colours (three
numbers for each image) that lies between classes is measured for the classes that M2 predicts, those that the network
on the labels alone predicts, and the true ones; once more for an M2 whose likelihood is not sharp, sigma = 1.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from common import RESULTS, parser, record
from torch import Tensor

from pyro_vae import data, likelihoods
from pyro_vae.comparison import SYSTEMS, recipe_for
from pyro_vae.comparison.tasks import make_task, pooled

_COLUMNS = 16


def share_between(classes: Tensor, values: Tensor) -> float:
    """Of the variance of values (N, D), the part that lies between classes (N,)."""
    means = torch.stack([values[classes == k].mean(0) for k in classes.unique()])
    sizes = torch.stack([(classes == k).sum() for k in classes.unique()])
    between = (sizes[:, None] * (means - values.mean(0)).square()).sum()
    return (between / (values - values.mean(0)).square().sum()).item()


def draw(x: Tensor, classes: Tensor, where: str) -> None:
    """The first images (3, H, W) of each predicted class, a row for each."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = [x[classes == k][:_COLUMNS] for k in range(10)]
    figure, axes = plt.subplots(10, _COLUMNS, figsize=(0.5 * _COLUMNS, 5), gridspec_kw={"wspace": 0.05, "hspace": 0.05})
    for k, (row, cells) in enumerate(zip(rows, axes, strict=True)):
        for axis in cells:
            axis.axis("off")
        for image, axis in zip(row, cells, strict=False):
            axis.imshow(image.permute(1, 2, 0).numpy())
        cells[0].set_title(f"{k}  ", loc="left", x=-0.6, y=0.1, fontsize=9)
    figure.savefig(where, dpi=100, bbox_inches="tight")


def main() -> None:
    options = parser("What M2 takes for a class on CIFAR-10.")
    options.add_argument("--labels", type=int, default=100)
    options.add_argument("--precision", choices=["float32", "bf16"], default="float32")
    options.add_argument("--figure", help="where to draw images by predicted class")
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    dataset = data.load("cifar10")
    recipe = dataclasses.replace(recipe_for(dataset), precision=arguments.precision)
    task = make_task(pooled(dataset, recipe), 10, arguments.labels, arguments.seed, recipe)
    x, y = task.test.x, task.test.y
    assert y is not None
    colour = x.mean((2, 3))
    result: dict[str, Any] = {"labels": arguments.labels, "by_true_class": share_between(y, colour)}
    fixed = dataclasses.replace(recipe, likelihood=lambda shape: likelihoods.Normal(shape, scale=1.0))
    of_systems = {"M2": ("M2", task), "M2_fixed_scale": ("M2", dataclasses.replace(task, recipe=fixed))}
    for system, (name, given) in {**of_systems, "network": ("network", task)}.items():
        torch.manual_seed(arguments.seed)
        classes = SYSTEMS[name].learn(given)(x)
        result[f"by_{system}"] = share_between(classes, colour)
        result[f"accuracy_{system}"] = (classes == y).float().mean().item()
        result[f"counts_{system}"] = classes.bincount(minlength=10).tolist()
        if system == "M2" and arguments.figure:
            draw(x, classes, arguments.figure)
    print(result)
    arguments.out = RESULTS / f"cifar_m2_{arguments.labels}.json"
    record("cifar_m2", arguments, result)


if __name__ == "__main__":
    main()

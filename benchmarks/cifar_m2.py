"""What M2 takes for a class on CIFAR-10 with a hundred labels: which classes it names, and how much of an image's mean
colour they explain.

    python benchmarks/cifar_m2.py --seeds 3 --threads 1 --precision bf16 --figure docs/images/m2_cifar10.png

The data are cut and M2 trained as by ``pyro-vae compare cifar10``; once more with a likelihood that is less sharp,
sigma = 1 in place of a learned one; and the network on the labels alone.  Of the variance of mean colours (three
numbers for each image) the share that lies between classes is measured: those predicted, and the true ones.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from common import RESULTS, parser, record
from torch import Tensor

from pyro_vae import data, likelihoods
from pyro_vae.comparison import SYSTEMS, recipe_for
from pyro_vae.comparison.tasks import make_task, pooled

_COLUMNS = 9


def share_between(classes: Tensor, values: Tensor) -> float:
    """Of the variance of values (N, D), the part that lies between classes (N,)."""
    means = torch.stack([values[classes == k].mean(0) for k in classes.unique()])
    sizes = torch.stack([(classes == k).sum() for k in classes.unique()])
    between = (sizes[:, None] * (means - values.mean(0)).square()).sum()
    return (between / (values - values.mean(0)).square().sum()).item()


def draw(x: Tensor, found: Mapping[str, Tensor], names: tuple[str, ...], where: str) -> None:
    """The first images (3, H, W) of each predicted class, a row for each, for each system."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5.2))
    for part, (title, classes) in zip(figure.subfigures(1, len(found)), found.items(), strict=True):
        part.suptitle(title, fontsize=11)
        grid = {"wspace": 0.05, "hspace": 0.05, "left": 0.19, "right": 0.99, "bottom": 0.01, "top": 0.92}
        for k, cells in enumerate(part.subplots(len(names), _COLUMNS, gridspec_kw=grid)):
            for axis in cells:
                axis.axis("off")
            for image, axis in zip(x[classes == k][:_COLUMNS], cells, strict=False):
                axis.imshow(image.permute(1, 2, 0).numpy())
            cells[0].text(-0.15, 0.5, names[k], transform=cells[0].transAxes, ha="right", va="center", fontsize=9)
    figure.savefig(where, dpi=100)


def run(dataset: data.Dataset, arguments: Any, seed: int) -> tuple[dict[str, Any], Tensor, dict[str, Tensor]]:
    """What was measured, the test images, and the classes that each system names."""
    recipe = dataclasses.replace(recipe_for(dataset), precision=arguments.precision)
    unsharp = dataclasses.replace(recipe, likelihood=lambda shape: likelihoods.Normal(shape, scale=1.0))
    task = make_task(pooled(dataset, recipe), 10, arguments.labels, seed, recipe)
    x, y = task.test.x, task.test.y
    assert y is not None
    colour = x.mean((2, 3))
    result: dict[str, Any] = {"seed": seed, "true_classes": share_between(y, colour)}
    found = {}
    for name, system, chosen in (("M2", "M2", recipe), ("M2_unsharp", "M2", unsharp), ("network", "network", recipe)):
        torch.manual_seed(seed)
        classes = SYSTEMS[system].learn(dataclasses.replace(task, recipe=chosen))(x)
        counts = classes.bincount(minlength=10)
        result[name] = {
            "accuracy": (classes == y).float().mean().item(),
            "colour": share_between(classes, colour),
            "counts": counts.tolist(),
            "in_three_classes": (counts.topk(3).values.sum() / len(x)).item(),
        }
        found[name] = classes
    return result, x, found


def main() -> None:
    options = parser("What M2 takes for a class on CIFAR-10.")
    options.add_argument("--labels", type=int, default=100)
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--precision", choices=["float32", "bf16"], default="float32")
    options.add_argument("--figure", help="where to draw images by predicted class, of the first seed")
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    dataset = data.load("cifar10")
    runs = []
    for seed in range(arguments.seeds):
        result, x, found = run(dataset, arguments, seed)
        print(result, flush=True)
        runs.append(result)
        if arguments.figure and seed == 0:
            titles = {"M2": "M2, σ learned", "M2_unsharp": "M2, σ = 1"}
            draw(x, {title: found[name] for name, title in titles.items()}, dataset.class_names, arguments.figure)
    arguments.out = RESULTS / f"cifar_m2_{arguments.labels}.json"
    record("cifar_m2", arguments, {"labels": arguments.labels, "runs": runs})


if __name__ == "__main__":
    main()

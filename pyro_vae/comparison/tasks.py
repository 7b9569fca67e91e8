"""The task that systems are compared on, and the sizes that they all share."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from pyro_vae import likelihoods
from pyro_vae.data import Dataset, RandomAffine, Split, labelled_subset, threshold
from pyro_vae.errors import ConfigurationError
from pyro_vae.likelihoods import Likelihood
from pyro_vae.networks import MLP, Conv, Network

__all__ = ["RECIPES", "Recipe", "Task", "make_task", "pooled", "recipe_for"]


@dataclass(frozen=True)
class Recipe:
    """What all systems have in common on one data set, so that they differ in their story only.

    Attributes:
        network: of every classifier of data; each is made anew.
        encoder: of every generative model that has a classifier beside it.
        likelihood: from the shape of the data.
        size: number of latent dimensions.
        epochs: of each training.
        batch_size: of each training.
        lr: peak learning rate.
        moves: small changes that leave the class of an image as it is, for the systems that are told so; without
            them there are no such systems.
        decoder: of every generative model; each one's encoder mirrored if not given.
        prepare: applied once to all data, before any system sees them.
        precision: of each training, as of :func:`pyro_vae.fit`.
    """

    network: Callable[[], Network]
    encoder: Callable[[], Network]
    likelihood: Callable[[tuple[int, ...]], Likelihood]
    size: int
    epochs: int
    batch_size: int = 100
    lr: float = 3e-3
    moves: RandomAffine | None = None
    decoder: Callable[[], Network] | None = None
    prepare: Callable[[Tensor], Tensor] | None = None
    precision: str = "float32"

    def words(self, shape: tuple[int, ...]) -> str:
        """All of it for data of this shape, as text; of ``prepare`` only the name, since the data show what it does."""
        made: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        made |= {name: make() for name in ("network", "encoder", "decoder") if (make := made[name]) is not None}
        made["likelihood"] = self.likelihood(shape)
        made["prepare"] = getattr(self.prepare, "__qualname__", self.prepare)
        return ", ".join(f"{name}={value!r}" for name, value in made.items())


RECIPES = {
    "digits": Recipe(
        lambda: MLP([256, 256], norm="batch", dropout=0.3),
        lambda: MLP([256]),
        likelihoods.ContinuousBernoulli,
        size=8,
        epochs=60,
        batch_size=50,
        moves=RandomAffine(degrees=10, translate=0.08, scale=0.1, shear=10),
        decoder=lambda: MLP([256]),
    ),
    "mnist": Recipe(
        lambda: MLP([500, 500], norm="batch", dropout=0.5),
        lambda: MLP([500]),
        likelihoods.Bernoulli,
        size=50,
        epochs=6,
        batch_size=200,
        moves=RandomAffine(degrees=10, translate=0.05, scale=0.08, shear=8),
        decoder=lambda: MLP([500]),
        prepare=threshold,
    ),
    "cifar10": Recipe(
        lambda: Conv([32, 64, 128], hidden=[256], norm="batch", dropout=0.3),
        lambda: Conv([32, 64, 128], hidden=[256]),
        lambda shape: likelihoods.Normal(shape, scale="shared"),
        size=64,
        epochs=6,
        moves=RandomAffine(degrees=5, translate=0.1, scale=0.1),
        # a missing class costs ten passes through the decoder, which convolutions would make the whole of the price
        decoder=lambda: MLP([256]),
    ),
}
"""Those that were tried on their data."""

_LIKELIHOODS: dict[str, Callable[[tuple[int, ...]], Likelihood]] = {
    "binary": likelihoods.Bernoulli,
    "grey": likelihoods.ContinuousBernoulli,
    "real": lambda shape: likelihoods.Normal(shape, scale="shared"),
}
_STEPS = 1700  # as many as on digits and MNIST
_LONGEST = 300  # epochs


def recipe_for(dataset: Dataset) -> Recipe:
    """The recipe of a data set: one of :data:`RECIPES`, or one by the shape, the kind and the number of its data.

    Raises:
        ConfigurationError: for data without classes, or of a kind that no recipe has a likelihood for.

    Example:
        >>> from pyro_vae import data
        >>> recipe = recipe_for(data.load("wine"))
        >>> recipe.size, recipe.epochs, recipe.moves
        (4, 300, None)
    """
    if dataset.name in RECIPES:
        return RECIPES[dataset.name]
    _check_classes(dataset)
    if dataset.kind not in _LIKELIHOODS:
        raise ConfigurationError(
            f"data set {dataset.name!r} holds {dataset.kind}, and no recipe is known for those; in Python give "
            f"compare(..., recipe=Recipe(...))"
        )
    values, image = math.prod(dataset.shape), len(dataset.shape) == 3
    width, drop = (256, 0.3) if values <= 256 else (500, 0.5)
    n = 0.8 * sum(map(len, (dataset.train, dataset.valid, dataset.test)))
    batch_size = 50 if n < 5000 else 200
    return Recipe(
        lambda: MLP([width, width], norm="batch", dropout=drop),
        lambda: MLP([width]),
        _LIKELIHOODS[dataset.kind],
        size=min(max(values // 3, 2), 8 if values <= 256 else 50),
        epochs=min(max(math.ceil(_STEPS * batch_size / n), 6), _LONGEST),
        batch_size=batch_size,
        moves=RandomAffine(degrees=5, translate=0.05, scale=0.05) if image else None,
        decoder=lambda: MLP([width]),
    )


@dataclass(frozen=True)
class Task:
    """Training data with some of their labels, and a test set that nobody has seen.

    Attributes:
        train: with -1 where a label is hidden.
        hidden: the labels of ``train`` that are hidden, (N,), -1 where they are not.
        test: the data that are held out.
        classes: how many.
        recipe: of all systems.
        seed: of the cut, of the labels that are shown, and of training.
    """

    train: Split
    hidden: Any
    test: Split
    classes: int
    recipe: Recipe
    seed: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Event shape of a datum."""
        return self.train.shape

    @property
    def labelled(self) -> Split:
        """The training data whose labels are shown."""
        return self.train[self.train.labelled]


def pooled(dataset: Dataset, recipe: Recipe) -> Split:
    """The data of all splits together, prepared as the recipe says.

    Raises:
        ConfigurationError: for data without classes, or with only one, or with a class that no datum has.
    """
    _check_classes(dataset)
    splits = (dataset.train, dataset.valid, dataset.test)
    x, y = torch.cat([s.x for s in splits]), torch.cat([s.y for s in splits])  # type: ignore[misc]
    counts = torch.bincount(y[y >= 0], minlength=dataset.num_classes or 0)
    if len(counts) < 2 or not counts.all():
        named = ", ".join(map(str, counts.nonzero()[:, 0].tolist()[:10]))
        raise ConfigurationError(
            f"data set {dataset.name!r}: there are labels {named}; wanted are classes 0, 1, ... without a gap, two at "
            f"least, or names"
        )
    return Split(x if recipe.prepare is None else recipe.prepare(x), y)


def _check_classes(dataset: Dataset) -> None:
    if dataset.num_classes is None:
        raise ConfigurationError(f"data set {dataset.name!r} has no classes to predict")


def make_task(
    whole: Split, classes: int, num_labels: int | None, seed: int, recipe: Recipe, num_test: int | None = None
) -> Task:
    """Cut data into those to train on and those for the test, and hide labels.

    Data without a label can be no test of anything: where a fifth is drawn, they are for training.

    Args:
        whole: what :func:`pooled` gave.
        classes: how many.
        num_labels: how many labels to show, the same number of each class; ``None`` shows all.
        seed: of the cut and of the labels.
        recipe: of all systems.
        num_test: the last so many data are for the test; a fifth of them all, drawn, if not given.

    Raises:
        ConfigurationError: when there are fewer labels than are to be shown, or too few data of a class to be cut.
    """
    from sklearn.model_selection import train_test_split

    if num_labels is not None and num_labels < classes:
        raise ConfigurationError(f"{num_labels} labels: there are {classes} classes, and each needs one at least")
    assert whole.y is not None
    rows = whole.labelled.nonzero()[:, 0]
    try:
        if num_test is None:
            cut = train_test_split(rows.numpy(), test_size=0.2, random_state=seed, stratify=whole.y[rows].numpy())
            train, test = map(torch.from_numpy, cut)
            train = torch.cat([train, (~whole.labelled).nonzero()[:, 0]])
        else:
            first = len(whole) - num_test
            train = torch.randperm(first, generator=torch.Generator().manual_seed(seed))
            test = rows[rows >= first]
        known = whole[train]
        shown = known if num_labels is None else labelled_subset(known, num_labels, seed=seed)
    except ValueError as error:
        raise ConfigurationError(f"{'all' if num_labels is None else num_labels} labels: {error}") from None
    assert known.y is not None
    assert shown.y is not None
    hidden = torch.where(shown.y < 0, known.y, torch.full_like(known.y, -1))
    return Task(shown, hidden, whole[test], classes, recipe, seed)

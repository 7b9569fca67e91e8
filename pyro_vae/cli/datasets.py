"""Data sets by name, transformed by name."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

from torch import Tensor

from pyro_vae import data
from pyro_vae.data import Dataset, Split
from pyro_vae.data.own import is_file_name
from pyro_vae.errors import ConfigurationError, DataError, check_choice
from pyro_vae.randomness import seeded
from pyro_vae.variants import Variant

__all__ = ["TRANSFORMS", "evaluated", "load", "with_labels", "with_quadrants"]

TRANSFORMS: dict[str, Callable[[Tensor], Tensor]] = {"binarize": data.binarize, "threshold": data.threshold}


@functools.lru_cache(maxsize=2)
def load(name: str, root: str | None = None, transform: str | None = None, label: str | None = None) -> Dataset:
    """A data set, by name or from a file, as it is; its ``kind`` is what the variant will see after the transform.

    Raises:
        ConfigurationError: for unknown names, with the nearest right one, and files whose numbers make no data.
        DataNotFound: when its files are nowhere.
    """
    if not is_file_name(name):
        check_choice("data set", name, data.available())
    if transform is not None:
        check_choice("transform", transform, TRANSFORMS)
    try:
        dataset = data.load(name, root, label=label)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(str(error)) from error
    return dataset if transform is None else dataclasses.replace(dataset, kind="binary")


def with_quadrants(dataset: Dataset, observed: int | None) -> Dataset:
    """Images as pairs: x is one, two or three of their quadrants, y the others; as they are without a number.

    Raises:
        ConfigurationError: for another number, or data that are no images.
    """
    if observed is None:
        return dataset
    try:
        return data.Quadrants(dataset.shape, observed).of(dataset)
    except ValueError as error:
        raise ConfigurationError(f"--quadrants {observed}: {error}") from None


def with_labels(dataset: Dataset, cls: type[Variant], n: int | None, seed: int) -> Dataset:
    """The data set with only ``n`` of the training split's labels left.

    A variant that needs the label of every datum is left with those ``n`` data.

    Raises:
        ConfigurationError: when there are not so many labels, or the variant has none in its story.
    """
    if n is None:
        return dataset
    if cls.labels == "none":
        raise ConfigurationError(f"--labels {n}: {cls.__name__} has no labels in its story")
    try:
        train = data.labelled_subset(dataset.train, n, seed=seed)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"--labels {n}: {error}") from None
    return dataclasses.replace(dataset, train=train if cls.labels == "some" else train[train.labelled])


def evaluated(dataset: Dataset, transform: str | None, seed: int = 0) -> Dataset:
    """The data set with its values transformed once, as numbers and pictures should see it.

    Raises:
        DataError: for values that the transform does not take.
    """
    if transform is None:
        return dataset
    change = TRANSFORMS[transform]

    def changed(split: Split) -> Split:
        return Split(change(split.x), split.y)

    try:
        with seeded(seed):
            train, valid, test = changed(dataset.train), changed(dataset.valid), changed(dataset.test)
    except ValueError as error:
        raise DataError(f"{dataset.name}, which the run would see through its transform: {error}") from error
    return dataclasses.replace(dataset, train=train, valid=valid, test=test)

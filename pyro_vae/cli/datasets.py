"""Data sets by name, transformed by name."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import torch
from torch import Tensor

from pyro_vae import data
from pyro_vae.data import Dataset, Split
from pyro_vae.errors import check_choice

__all__ = ["TRANSFORMS", "evaluated", "load"]

TRANSFORMS: dict[str, Callable[[Tensor], Tensor]] = {"binarize": data.binarize, "threshold": data.threshold}


@functools.lru_cache(maxsize=2)
def load(name: str, root: str | None = None, transform: str | None = None) -> Dataset:
    """A data set as it is; its ``kind`` is what the variant will see after the transform.

    Raises:
        ConfigurationError: for unknown names, with the nearest right one.
        DataNotFound: when its files are nowhere.
    """
    check_choice("data set", name, data.available())
    if transform is not None:
        check_choice("transform", transform, TRANSFORMS)
    dataset = data.load(name, root)
    return dataset if transform is None else dataclasses.replace(dataset, kind="binary")


def evaluated(dataset: Dataset, transform: str | None, seed: int = 0) -> Dataset:
    """The data set with its values transformed once, as numbers and pictures should see it."""
    if transform is None:
        return dataset
    change = TRANSFORMS[transform]

    def changed(split: Split) -> Split:
        return Split(change(split.x), split.y)

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        train, valid, test = changed(dataset.train), changed(dataset.valid), changed(dataset.test)
    return dataclasses.replace(dataset, train=train, valid=valid, test=test)

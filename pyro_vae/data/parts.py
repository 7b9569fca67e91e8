"""How data are cut into train, valid and test."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pyro_vae.data.split import Split

__all__ = ["cut_by_fraction", "num_valid", "random_cut", "standardised", "tail_cut"]

_TEST_FRACTION = 0.15


def num_valid(valid: int | float | None, default: int, pool: int) -> int:
    """How many of the ``pool`` data that are not for the test go to validation."""
    if valid is None:
        n = default
    elif isinstance(valid, float) and 0 <= valid < 1:
        n = round(valid * pool)
    elif isinstance(valid, int) and not isinstance(valid, bool):
        n = valid
    else:
        raise ValueError(f"valid must be a number of data or a fraction within [0, 1), got {valid!r}")
    if not 0 <= n < pool:
        raise ValueError(f"valid must leave data to train on: of {pool} data, {n} were asked for validation")
    return n


def tail_cut(pool: Split, valid: int | float | None, default: int) -> tuple[Split, Split]:
    """Train and valid: the last data of the pool, in its published order, are for validation."""
    cut = len(pool) - num_valid(valid, default, len(pool))
    return pool[:cut], pool[cut:]


def random_cut(
    split: Split, valid: int | float | None, *, num_test: int, seed: int, stratified: bool
) -> tuple[Split, Split, Split]:
    """Seeded train, valid and test; valid is as large as test by default.

    Stratified by the classes in y, except where a class has too few data, or a part too few, for all to be in it.
    """
    from sklearn.model_selection import train_test_split

    def cut(rows: Tensor, size: int) -> tuple[Tensor, Tensor]:
        if size == 0:
            return rows, rows[:0]
        y = split.y[rows] if stratified and split.y is not None else None
        if y is not None and not _can_be_stratified(y, size):
            y = None
        kept, cut_off = train_test_split(rows.numpy(), test_size=size, random_state=seed, stratify=y)
        return torch.from_numpy(kept), torch.from_numpy(cut_off)

    # The test set is cut off first, so that it does not depend on `valid`.
    pool, test = cut(torch.arange(len(split)), num_test)
    train, held = cut(pool, num_valid(valid, num_test, len(pool)))
    return split[train], split[held], split[test]


def _can_be_stratified(y: Tensor, size: int) -> bool:
    """Whether every class can be in a part of ``size`` data, and in what is left of the data."""
    counts = y.unique(return_counts=True)[1]
    return bool((counts >= 6).all()) and len(counts) <= min(size, len(y) - size)


def cut_by_fraction(
    split: Split, valid: int | float | None, seed: int, *, stratified: bool
) -> tuple[Split, Split, Split]:
    """Seeded train, valid and test of data that nobody has cut yet: 70, 15 and 15 %."""
    num_test = math.ceil(_TEST_FRACTION * len(split))
    return random_cut(split, valid, num_test=num_test, seed=seed, stratified=stratified)


def standardised(train: Split, valid: Split, test: Split) -> tuple[Split, Split, Split]:
    """The three parts with columns of mean 0 and standard deviation 1, by the statistics of the training part."""
    mean, std = train.x.mean(0), train.x.std(0, correction=0)
    std = torch.where(std > 0, std, 1.0)  # a constant column becomes zeros
    train, valid, test = (Split(((part.x - mean) / std).float(), part.y) for part in (train, valid, test))
    return train, valid, test

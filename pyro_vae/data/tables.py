"""The data sets bundled with scikit-learn: three tables and the small digits."""

from __future__ import annotations

import math
from typing import Any

import torch

from pyro_vae.data.parts import random_cut
from pyro_vae.data.split import Dataset, Split

__all__ = ["breast_cancer", "diabetes", "digits", "wine"]

_TEST_FRACTION = 0.15


def digits(root: object, seed: int, valid: int | float | None) -> Dataset:
    """The 8x8 digits, divided by their maximum of 16."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x = torch.from_numpy(bunch.images).float().div_(16).unsqueeze(1)
    split = Split(x, torch.from_numpy(bunch.target).long())
    train, valid_split, test = _cut(split, valid, seed, stratified=True)
    return Dataset(
        "digits",
        train,
        valid_split,
        test,
        kind="grey",
        num_classes=10,
        class_names=tuple("0123456789"),
        source="Optical recognition of handwritten digits (test part), E. Alpaydin and C. Kaynak (1998), "
        "UCI repository, https://doi.org/10.24432/C50P49, CC BY 4.0, as bundled with scikit-learn.",
    )


def breast_cancer(root: object, seed: int, valid: int | float | None) -> Dataset:
    """Breast cancer Wisconsin (diagnostic)."""
    from sklearn.datasets import load_breast_cancer

    return _table(
        "breast_cancer",
        load_breast_cancer(),
        seed,
        valid,
        source="Breast cancer Wisconsin (diagnostic), W. Wolberg, O. Mangasarian, N. Street and W. Street "
        "(1993), UCI repository, https://doi.org/10.24432/C5DW2B, CC BY 4.0, as bundled with scikit-learn.",
    )


def wine(root: object, seed: int, valid: int | float | None) -> Dataset:
    """Wine recognition."""
    from sklearn.datasets import load_wine

    return _table(
        "wine",
        load_wine(),
        seed,
        valid,
        source="Wine recognition, S. Aeberhard and M. Forina (1992), UCI repository, "
        "https://doi.org/10.24432/C5PC7J, CC BY 4.0, as bundled with scikit-learn.",
    )


def diabetes(root: object, seed: int, valid: int | float | None) -> Dataset:
    """Diabetes progression; y real, in its own unit."""
    from sklearn.datasets import load_diabetes

    # scaled=False: scikit-learn's own scaling uses the statistics of all rows, those of the test included.
    return _table(
        "diabetes",
        load_diabetes(scaled=False),
        seed,
        valid,
        source="Diabetes data of B. Efron, T. Hastie, I. Johnstone and R. Tibshirani (2004), Least "
        "angle regression, Annals of Statistics 32, https://doi.org/10.1214/009053604000000067, "
        "as bundled with scikit-learn.",
    )


def _table(name: str, bunch: Any, seed: int, valid: int | float | None, *, source: str) -> Dataset:
    classes = getattr(bunch, "target_names", None)
    y = torch.from_numpy(bunch.target)
    y = y.float().unsqueeze(-1) if classes is None else y.long()
    parts = _cut(Split(torch.from_numpy(bunch.data), y), valid, seed, stratified=classes is not None)
    x = parts[0].x  # of the training split only
    mean, std = x.mean(0), x.std(0, correction=0)
    std = torch.where(std > 0, std, 1.0)  # a constant column becomes zeros
    train, valid_split, test = (Split(((part.x - mean) / std).float(), part.y) for part in parts)
    return Dataset(
        name,
        train,
        valid_split,
        test,
        kind="real",
        num_classes=None if classes is None else len(classes),
        class_names=None if classes is None else tuple(map(str, classes)),
        feature_names=tuple(map(str, bunch.feature_names)),
        source=source,
    )


def _cut(split: Split, valid: int | float | None, seed: int, *, stratified: bool) -> tuple[Split, Split, Split]:
    num_test = math.ceil(_TEST_FRACTION * len(split))
    return random_cut(split, valid, num_test=num_test, seed=seed, stratified=stratified)

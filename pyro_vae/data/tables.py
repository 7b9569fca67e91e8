"""The data sets bundled with scikit-learn: three tables and the small digits."""

from __future__ import annotations

from typing import Any

import torch

from pyro_vae.data.parts import cut_by_fraction, standardised
from pyro_vae.data.split import Dataset, Split

__all__ = ["breast_cancer", "diabetes", "digits", "wine"]


def digits(root: object, seed: int, valid: int | float | None) -> Dataset:
    """The 8x8 digits, divided by their maximum of 16."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x = torch.from_numpy(bunch.images).float().div_(16).unsqueeze(1)
    split = Split(x, torch.from_numpy(bunch.target).long())
    train, valid_split, test = cut_by_fraction(split, valid, seed, stratified=True)
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
    whole = Split(torch.from_numpy(bunch.data), y)
    train, valid_split, test = standardised(*cut_by_fraction(whole, valid, seed, stratified=classes is not None))
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

"""The two containers: a split, and a data set of three splits."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["KINDS", "Dataset", "Split", "fingerprint"]

KINDS = ("binary", "grey", "counts", "real")


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """Data ``x`` and, where known, labels ``y``.

    Args:
        x: the data, shape (N, \\*event).
        y: None, integer classes of shape (N,) with -1 where the label is missing, or reals of shape (N, P)
            with NaN where missing; images to be predicted have shape (N, \\*event).

    Raises:
        TypeError: if ``x`` or ``y`` is no tensor (:func:`as_split` converts), or ``y`` is boolean or complex.
        ValueError: if ``x`` has no dimension of data, ``y`` has a wrong number of dimensions, or their lengths
            differ.

    Example:
        >>> split = Split(torch.zeros(4, 2), torch.tensor([0, 1, -1, 1]))
        >>> split
        Split(x=(4, 2) float32, y=(4,) int64, 3 labelled)
        >>> len(split), split.shape
        (4, (2,))
        >>> split[1:3].y
        tensor([ 1, -1])
        >>> split[split.labelled].y
        tensor([0, 1, 1])
    """

    x: Tensor
    y: Tensor | None = None

    def __post_init__(self) -> None:
        for name, value in (("x", self.x), ("y", self.y)):
            if not isinstance(value, Tensor) and not (name == "y" and value is None):
                raise TypeError(f"{name} must be a tensor, got {type(value).__name__}; data.as_split converts")
        if self.x.ndim == 0:
            raise ValueError("x must have shape (N, *event), got a scalar")
        if self.y is None:
            return
        if self.y.dtype == torch.bool or self.y.is_complex():
            raise TypeError(f"y must hold integer classes or reals, got {self.y.dtype}")
        got = f"got {self.y.dtype} of shape {tuple(self.y.shape)}"
        if self.y.is_floating_point() and self.y.ndim < 2:
            raise ValueError(
                f"y of real numbers must have shape (N, P), or (N, *event) where they are data such as x, {got}; "
                f"for one property give y[:, None], for classes integers"
            )
        if not self.y.is_floating_point() and self.y.ndim != 1:
            one_hot = self.y.ndim == 2 and bool(((self.y == 0) | (self.y == 1)).all() and (self.y.sum(-1) == 1).all())
            hint = "of one-hot vectors take y.argmax(-1)" if one_hot else "for real numbers give y.float()"
            raise ValueError(f"y of integers, which are classes, must have shape (N,), {got}; {hint}")
        if len(self.y) != len(self.x):
            raise ValueError(f"x and y must have the same length, got {len(self.x)} and {len(self.y)}")

    def __len__(self) -> int:
        return len(self.x)

    @property
    def shape(self) -> tuple[int, ...]:
        """The event shape of x: its shape without the dimension of data."""
        return tuple(self.x.shape[1:])

    @property
    def labelled(self) -> Tensor:
        """Boolean mask of shape (N,): True where the label is present, all False without ``y``."""
        if self.y is None:
            return torch.zeros(len(self.x), dtype=torch.bool, device=self.x.device)
        return ~self.y.flatten(1).isnan().any(-1) if self.y.is_floating_point() else self.y >= 0

    def __getitem__(self, index: Any) -> Split:
        """The rows chosen by a slice, a boolean mask or a vector of indices (tensor, array or list)."""
        if not isinstance(index, slice):
            index = torch.as_tensor(index)
            if index.ndim != 1:
                # A single row would lose the dimension that makes it a split.
                raise TypeError(
                    "a Split is indexed by a slice, a mask or a vector of indices, "
                    f"got {index.ndim} dimensions; for row i take split[i : i + 1] or split.x[i]"
                )
            if index.numel() == 0 and index.dtype != torch.bool:
                index = index.long()  # torch makes a tensor of floats of an empty list
        return Split(self.x[index], None if self.y is None else self.y[index])

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Split:
        """This split on another device, or with x and real y of another dtype; classes stay integers."""
        y = self.y
        if y is not None:
            y = y.to(device=device, dtype=dtype if y.is_floating_point() else None)
        return Split(self.x.to(device=device, dtype=dtype), y)

    def __repr__(self) -> str:
        parts = [_describe("x", self.x)]
        if self.y is not None:
            parts.append(_describe("y", self.y))
            labelled = int(self.labelled.sum())
            if labelled < len(self):
                parts.append(f"{labelled} labelled")
        return f"Split({', '.join(parts)})"


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """A named data set of three splits.

    Args:
        name: what :func:`load` calls it.
        train: for fitting.
        valid: for choosing: early stopping, hyperparameters. May be empty.
        test: for the reported number only.
        kind: where x lies, and so which likelihoods fit it: ``"binary"`` (0 or 1), ``"grey"`` (within [0, 1]),
            ``"counts"`` (0, 1, 2, ...) or ``"real"``.
        num_classes: the number of classes, None when y holds reals or is missing.
        class_names: one name for each class.
        feature_names: one name for each column of a table.
        source: where the data come from, their licence and what to cite, in a sentence.

    Raises:
        ValueError: if ``kind`` is none of the four, or the splits differ in event shape.

    Example:
        >>> from pyro_vae import data
        >>> wine = data.load("wine")
        >>> wine
        Dataset('wine', kind='real', shape=(13,), num_classes=3, train=124, valid=27, test=27)
        >>> wine.feature_names[:2]
        ('alcohol', 'malic_acid')
    """

    name: str
    train: Split
    valid: Split
    test: Split
    kind: str
    num_classes: int | None = None
    class_names: tuple[str, ...] | None = None
    feature_names: tuple[str, ...] | None = None
    source: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        shapes = {split.shape for split in (self.train, self.valid, self.test)}
        if len(shapes) > 1:
            raise ValueError(
                "train, valid and test must have the same event shape, "
                f"got {self.train.shape}, {self.valid.shape} and {self.test.shape}"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """The event shape of x: (C, H, W) of images, (D,) of tables."""
        return self.train.shape

    def __repr__(self) -> str:
        return (
            f"Dataset({self.name!r}, kind={self.kind!r}, shape={self.shape}, num_classes={self.num_classes}, "
            f"train={len(self.train)}, valid={len(self.valid)}, test={len(self.test)})"
        )


def fingerprint(x: Tensor, y: Tensor | None) -> str:
    """What tells data and their labels from others, in a few letters.

    Example:
        >>> fingerprint(torch.zeros(2, 3), None) == fingerprint(torch.zeros(2, 3), torch.zeros(2))
        False
    """
    digest = hashlib.blake2b(x.cpu().numpy().tobytes(), digest_size=16)
    if y is not None:
        digest.update(y.cpu().numpy().tobytes())
    return digest.hexdigest()


def _describe(name: str, tensor: Tensor) -> str:
    return f"{name}={tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"

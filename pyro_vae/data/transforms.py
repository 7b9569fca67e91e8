"""Transforms of data: binarisation of grey images, and the hiding of labels for semi-supervised learning."""

from __future__ import annotations

import operator

import torch
from torch import Tensor

from pyro_vae.data.split import Split

__all__ = ["binarize", "labelled_subset", "threshold"]


def binarize(x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """A draw of Bernoulli(x): each grey value is the probability of a one.

    Drawn anew for each batch this is *dynamic binarisation*: the data are then the distribution
    p(x) = E[Bernoulli(x; grey)] and the model sees another draw in every epoch. Likelihoods are not
    comparable with those of the *fixed* binarisation of the same source (``load("binarized_mnist")``).

    Args:
        x: grey values within [0, 1], any shape, floating point.
        generator: source of randomness; torch's global one if None.

    Returns:
        Zeros and ones of the shape and dtype of ``x``.

    Raises:
        TypeError: if ``x`` is not floating point.
        ValueError: if a value lies outside [0, 1] or is NaN.

    References:
        Salakhutdinov and Murray (2008), On the quantitative analysis of deep belief networks, ICML.
        https://doi.org/10.1145/1390156.1390266

    Example:
        >>> from pyro_vae import data
        >>> digits = data.load("digits")
        >>> data.binarize(digits.train.x[:2]).unique()
        tensor([0., 1.])
    """
    if not x.is_floating_point():
        raise TypeError(f"binarize takes floating-point values within [0, 1], got {x.dtype}; divide by the maximum")
    outside = ~((x >= 0) & (x <= 1))  # written so that NaN counts as outside
    if outside.any():
        raise ValueError(
            f"binarize takes values within [0, 1]: {int(outside.sum())} of {x.numel()} lie outside, "
            f"the first is {x[outside][0].item():g}; divide images of 0..255 by 255"
        )
    return torch.bernoulli(x, generator=generator)


def threshold(x: Tensor, level: float = 0.5) -> Tensor:
    """One where x > level, else zero: the deterministic binarisation.

    Args:
        x: values of any shape.
        level: what a value must exceed to become a one.

    Returns:
        Zeros and ones of the shape and dtype of ``x``.

    Raises:
        ValueError: if ``x`` holds NaN.

    Example:
        >>> threshold(torch.tensor([0.2, 0.5, 0.7]))
        tensor([0., 0., 1.])
    """
    if x.isnan().any():
        raise ValueError(f"threshold cannot place {int(x.isnan().sum())} NaN of {x.numel()} values")
    return (x > level).to(x.dtype)


def labelled_subset(split: Split, n: int, *, seed: int = 0) -> Split:
    """The same x with only ``n`` labels left; the other labels become -1 (NaN where y is real).

    Classes keep the same number of labels each. When ``n`` is not divisible by the number of classes, the first
    ``n % num_classes`` classes keep one more. Real labels are kept for ``n`` rows drawn uniformly. Labels that
    are missing already are never drawn. With one seed the subsets are nested: what is labelled for a smaller
    ``n`` is labelled for a larger one.

    Args:
        split: data with labels.
        n: how many labels to keep; 0 hides all of them.
        seed: of the draw; nothing global is seeded.

    Returns:
        A split that shares ``x``, with a new ``y`` of the same shape and dtype.

    Raises:
        TypeError: if ``split`` is no Split or ``n`` no integer.
        ValueError: if there are no labels, ``n`` exceeds their number, is negative, or is too small to give
            each class one, or a class has fewer labels than its share.

    References:
        Kingma, Rezende, Mohamed and Welling (2014), Semi-supervised learning with deep generative models,
        section 4.1: labels are chosen so that all classes have the same number.
        https://arxiv.org/abs/1406.5298

    Example:
        >>> from pyro_vae import data
        >>> train = data.labelled_subset(data.load("digits").train, 50)
        >>> train
        Split(x=(1257, 1, 8, 8) float32, y=(1257,) int64, 50 labelled)
        >>> train.y[train.labelled].bincount()
        tensor([5, 5, 5, 5, 5, 5, 5, 5, 5, 5])
    """
    if not isinstance(split, Split):
        raise TypeError(
            f"labelled_subset takes a Split, such as dataset.train or data.Split(x, y), got {type(split).__name__}"
        )
    if isinstance(n, float):
        share = f"; for a share of them: round({n:g} * len(split))" if 0 < n < 1 else ""
        raise TypeError(f"n is how many labels, an integer, got {n!r}{share}")
    n = operator.index(n)
    if split.y is None:
        raise ValueError("labelled_subset needs labels, but the split has y=None")
    present = split.labelled.nonzero().squeeze(-1).cpu()
    if not 0 <= n <= len(present):
        raise ValueError(f"n must lie between 0 and the {len(present)} labels there are, got {n}")
    generator = torch.Generator().manual_seed(seed)
    if split.y.is_floating_point():
        kept = present[torch.randperm(len(present), generator=generator)[:n]]
        missing = float("nan")
    else:
        kept = _balanced(split.y.cpu(), present, n, generator)
        missing = -1
    kept = kept.to(split.y.device)
    y = torch.full_like(split.y, missing)
    y[kept] = split.y[kept]
    return Split(split.x, y)


def _balanced(y: Tensor, present: Tensor, n: int, generator: torch.Generator) -> Tensor:
    classes = y[present].unique()
    if 0 < n < len(classes):
        raise ValueError(f"n={n} labels cannot cover the {len(classes)} classes")
    kept = [present[:0]]
    for place, label in enumerate(classes.tolist()):
        rows = (y == label).nonzero().squeeze(-1)
        share = n // len(classes) + (place < n % len(classes))
        if share > len(rows):
            raise ValueError(f"class {label} has {len(rows)} labels, but its share of n={n} is {share}")
        kept.append(rows[torch.randperm(len(rows), generator=generator)[:share]])
    return torch.cat(kept)

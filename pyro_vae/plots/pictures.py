"""Data that a variant makes: drawn, reconstructed, and between two data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyro_vae.errors import ConfigurationError, DataError, check_count
from pyro_vae.plots.grids import is_image, show, show_images
from pyro_vae.plots.quantities import as_batch, as_xy, check_real, codes, quietly
from pyro_vae.plots.style import Figure
from pyro_vae.variants.base import Variant

__all__ = ["images", "interpolation", "reconstructions", "samples"]


def as_array(values: Tensor) -> np.ndarray:
    """Values as matplotlib wants them."""
    return values.detach().cpu().float().numpy()


def samples(variant: Variant, n: int = 64, *, y: Any = None, feature_names: Sequence[str] | None = None) -> Figure:
    """New data from the story, E[x | z] with z ~ p(z): what ``variant.generate(n, y)`` gives.

    Images are shown side by side, vectors as the lines of a heat map.  Draws follow torch's global random state.

    Args:
        variant: any variant whose prior can be drawn from.
        n: how many.
        y: labels to generate for, in variants whose story has them: one for all, or one for each.
        feature_names: of vectors.

    Raises:
        ConfigurationError: when the prior cannot be drawn from, or data of this shape cannot be drawn.
        DataError: for labels in a variant whose data do not depend on them, or without where they cannot do without.

    Example:
        >>> import pyro_vae as pv
        >>> from pyro_vae import likelihoods, plots, priors
        >>> vae = pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli((1, 8, 8)))
        >>> figure = plots.samples(vae, 16)
        >>> figure.savefig("samples.png")  # doctest: +SKIP
    """
    check_count("n", n, 1)
    image = is_image(variant.shape)
    x = as_array(variant.generate(n) if y is None else variant.generate(n, y))
    given = "" if y is None else f" for y = {y}" if np.ndim(y) == 0 else " for given y"
    title = f"{n} sample{'s' * (n > 1)}{given}: E[x | {'z, y' if variant.decodes_label else 'z'}]"
    title += " with z from the prior" * (y is None)
    if not image:
        return show(variant, x[None], title, names=feature_names)
    return show(variant, _in_rows(x), title)


def images(x: Any, title: str = "", *, columns: int | None = None, ends: tuple[float, float] = (0.0, 1.0)) -> Figure:
    """Any images side by side.

    Args:
        x: images (N, 1, H, W) or (N, 3, H, W).
        title: of the figure.
        columns: how many beside each other; by default about as many as rows.
        ends: values drawn darkest and brightest.

    Raises:
        ConfigurationError: when data of this shape cannot be drawn, or the ends are not in order.

    Example:
        >>> import torch
        >>> from pyro_vae import plots
        >>> figure = plots.images(torch.rand(20, 1, 8, 8), "noise")
    """
    x = as_array(torch.as_tensor(x))
    if not is_image(x.shape[1:]):
        raise ConfigurationError(f"images have shape (N, 1, H, W) or (N, 3, H, W), got {x.shape}")
    if not ends[0] < ends[1]:
        raise ConfigurationError(f"ends are the darkest and the brightest value, in this order, got {ends}; draw 1 - x")
    return show_images(_in_rows(x, columns), title, ends)


def _in_rows(x: np.ndarray, columns: int | None = None) -> np.ndarray:
    """Images (N, \\*shape) as rows (R, C, \\*shape), the last one filled up with NaN."""
    n = len(x)
    if columns is None:
        # about as wide as high; the last row is full where a number of columns near that divides n
        target = np.sqrt(1.2 * n)
        near = [c for c in range(int(np.ceil(0.8 * target)), int(1.3 * target) + 1) if n % c == 0]
        columns = n if n <= 10 else min(near, key=lambda c: abs(c - target), default=int(np.ceil(target)))
    x = np.concatenate([x, np.full((-n % columns, *x.shape[1:]), np.nan, x.dtype)])
    return x.reshape(-1, columns, *x.shape[1:])


def reconstructions(
    variant: Variant, x: Any, n: int = 10, *, y: Any = None, feature_names: Sequence[str] | None = None
) -> Figure:
    """The first ``n`` data above what ``variant.reconstruct`` makes of them.

    Where x is only what is given, and y what the story is about, it is y that is shown.

    Args:
        variant: any variant with codes.
        x: data (N, \\*shape), or a split.
        n: how many of them.
        y: labels, in variants that have them; one that is missing is replaced by its prediction.
        feature_names: of vectors.

    Raises:
        DataError: when the data do not fit.
        ConfigurationError: when data of this shape cannot be drawn, or there are no codes.

    Example:
        >>> import torch
        >>> import pyro_vae as pv
        >>> from pyro_vae import likelihoods, plots, priors
        >>> vae = pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli((1, 8, 8)))
        >>> figure = plots.reconstructions(vae, torch.zeros(20, 1, 8, 8), n=5)
    """
    variant.check_code()
    is_image(variant.likelihood.shape)
    x, y = as_batch(variant, x, y, check_count("n", n, 1))
    with quietly(variant):  # a posterior whose mean has no closed form is drawn from
        made = variant.reconstruct(x, y)
    original = x if variant.explains_data or y is None else y
    pair = torch.stack([original.to(variant.dtype), made])
    return show(variant, as_array(pair), "Reconstructions", rows=["original", "reconstruction"], names=feature_names)


def interpolation(
    variant: Variant,
    x: Any,
    steps: int = 10,
    *,
    y: Any = None,
    spherical: bool = False,
    feature_names: Sequence[str] | None = None,
) -> Figure:
    """From one datum to another: E[x | z] along the line between their codes, the data themselves at both ends.

    Where codes are decoded together with labels, both data of a pair must have the same class, and properties go
    along a line of their own.

    Args:
        variant: any variant with codes.
        x: pairs of data: (2, \\*shape) for one; (2P, \\*shape), two by two, or (P, 2, \\*shape) for P.
        steps: number of codes from the first datum's to the second's, both included.
        y: labels of the data, in variants that have them; one that is missing is replaced by its prediction.
        spherical: go along the great circle instead (codes of a many-dimensional normal prior lie near a sphere,
            and the straight line leaves it).
        feature_names: of vectors.

    Raises:
        DataError: when the data do not fit or are no pairs, or are of different classes.
        ConfigurationError: when data of this shape cannot be drawn, codes cannot be decoded alone, or are discrete, or
            steps is no number.

    Example:
        >>> import torch
        >>> import pyro_vae as pv
        >>> from pyro_vae import likelihoods, plots, priors
        >>> vae = pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli((1, 8, 8)))
        >>> figure = plots.interpolation(vae, torch.eye(8).expand(2, 1, 8, 8), steps=5)

    References:
        Shoemake, Animating Rotation with Quaternion Curves, 1985 (spherical interpolation);
        White, Sampling Generative Networks, 2016 (https://arxiv.org/abs/1609.04468)
    """
    if np.ndim(steps):
        raise ConfigurationError(
            f"steps is a number, got what has shape {tuple(np.shape(steps))}; two data are one pair: "
            f"plots.interpolation(variant, torch.stack([a, b]))"
        )
    check_count("steps", steps, 2)
    variant.check_code()
    check_real(variant, "interpolation", "see reconstructions(variant, x)")
    is_image(variant.shape)
    if len(np.shape(as_xy(x)[0])) == len(variant.shape) + 2 and np.shape(x)[1] == 2:
        x = x.reshape(-1, *variant.shape)
        if y is not None and variant.label is not None:
            y = torch.as_tensor(y).reshape(-1, *variant.label.shape)
    x, y = as_batch(variant, x, y)
    if len(x) % 2 or not len(x):
        raise DataError(f"x: wanted pairs of data, two by two, got {len(x)}; for the first pair give x[:2]")
    with quietly(variant):
        y = variant.completed(x, y)
    z = codes(variant, x, y)
    weights = torch.linspace(0, 1, steps, dtype=z.dtype, device=z.device)[:, None]
    along = _along_sphere if spherical else torch.lerp
    path = torch.stack([along(a, b, weights) for a, b in zip(z[::2], z[1::2], strict=True)])
    between = variant.decode(path, _labels_between(y, weights) if variant.decodes_label else None).mean
    pairs = x.to(between.dtype).unflatten(0, (-1, 2))
    data = torch.cat([pairs[:, :1], between, pairs[:, 1:]], dim=1)
    columns = ["first", "0", *[""] * (steps - 2), "1", "second"]
    if steps % 2:
        columns[(steps + 1) // 2] = "0.5"
    title = f"Interpolation along {'a great circle' if spherical else 'a line'} between the codes of two data"
    rows = [f"pair {i}" for i in range(len(pairs))] if len(pairs) > 1 else []
    return show(variant, as_array(data), title, rows=rows, columns=columns, names=feature_names)


def _labels_between(y: Tensor | None, weights: Tensor) -> Tensor:
    """Labels (P, S, \\*label) between those of P pairs (2P, \\*label): lines between properties, one class a pair.

    Raises:
        DataError: when the data of a pair are of different classes.
    """
    assert y is not None
    if y.is_floating_point():
        return torch.stack([torch.lerp(a, b, weights) for a, b in zip(y[::2], y[1::2], strict=True)])
    if (different := (y[::2] != y[1::2]).nonzero()).numel():
        pair = int(different[0, 0])
        raise DataError(
            f"y: pair {pair} is of classes {int(y[2 * pair])} and {int(y[2 * pair + 1])}, and there is nothing between "
            f"two classes; give pairs of one class, or one y for all"
        )
    return y[::2, None].expand(-1, len(weights))


def _along_sphere(a: Tensor, b: Tensor, weights: Tensor) -> Tensor:
    """Points between codes a and b (D,) at weights (S, 1), along the great circle."""
    cosine = torch.nn.functional.cosine_similarity(a, b, dim=0).clamp(-1, 1)
    angle = torch.acos(cosine)
    if angle.sin() < 1e-4:  # no one circle through codes in the same or in opposite directions
        return torch.lerp(a, b, weights)
    return (((1 - weights) * angle).sin() * a + (weights * angle).sin() * b) / angle.sin()

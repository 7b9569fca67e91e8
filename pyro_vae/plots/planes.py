"""What the latent dimensions do: the decoder over a plane of codes, and along one dimension at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyro_vae.errors import ConfigurationError, check_count
from pyro_vae.evaluation import kl_per_dimension
from pyro_vae.plots.grids import check_names, draw_heat, draw_mosaic, is_image, limits, shortened, show
from pyro_vae.plots.pictures import as_array
from pyro_vae.plots.quantities import (
    as_batch,
    check_dimensions,
    check_real,
    codes,
    label_of_all,
    prior_quantiles,
    quietly,
)
from pyro_vae.plots.style import Figure, entitle, styled
from pyro_vae.variants.base import Variant

__all__ = ["manifold", "traversal"]

_ROWS = 12


def manifold(
    variant: Variant,
    n: int = 20,
    *,
    y: Any = None,
    dimensions: tuple[int, int] | None = None,
    feature_names: Sequence[str] | None = None,
) -> Figure:
    """The data that two latent dimensions span: E[x | z] over an n by n grid of the prior's quantiles.

    The quantiles are those of each dimension by itself, at probabilities 0.5/n, 1.5/n, ..., 1 - 0.5/n, through the
    inverse distribution function of a factorised prior, and from draws for others.  (Where the two dimensions
    depend on each other the corners may be codes that the prior hardly ever draws.)  Images are put side by side;
    of vectors each feature is a heat map over the plane, at most 12, those that vary most.

    Args:
        variant: any variant whose prior can be drawn from.
        n: grid points along each dimension.
        y: the one label that all codes are decoded with, in variants whose likelihood depends on it.
        dimensions: the two, counted from 0, needed where there are more than 2; others stay at the prior's median.
        feature_names: of vectors.

    Raises:
        ConfigurationError: without ``dimensions`` where there are not 2, for discrete codes, when the prior cannot be
            drawn from, or when data of this shape cannot be drawn.
        DataError: without a label where there must be one, or with one where there must be none.

    Example:
        >>> import pyro_vae as pv
        >>> from pyro_vae import likelihoods, plots, priors
        >>> vae = pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli((1, 8, 8)))
        >>> figure = plots.manifold(vae, n=5)

    References:
        Kingma & Welling, 2014, appendix A, figure 4 (https://arxiv.org/abs/1312.6114)
    """
    check_count("n", n, 2)
    variant.check_code()
    check_real(variant, "manifold", "see samples(variant)")
    check_names(variant, feature_names)
    image = is_image(variant.shape)
    if dimensions is None and variant.latent_size != 2:
        raise ConfigurationError(
            f"manifold draws a plane, but there are {variant.latent_size} latent dimensions; choose two with "
            f"dimensions=(0, 1), or use traversal(variant), which draws each dimension, or latent(variant, x)"
            if variant.latent_size > 2
            else "manifold draws a plane, but there is 1 latent dimension; use traversal(variant)"
        )
    chosen = check_dimensions(variant, (0, 1) if dimensions is None else dimensions)
    if len(chosen) != 2 or chosen[0] == chosen[1]:
        raise ConfigurationError(f"dimensions: wanted two different ones, got {dimensions!r}")
    y = label_of_all(variant, y, "manifold")
    i, j = chosen
    quantiles = prior_quantiles(variant, [*(np.arange(n) + 0.5) / n, 0.5])
    across, up = quantiles[:n, i], quantiles[:n, j]
    z = quantiles[n].repeat(n, n, 1)
    z[:, :, i], z[:, :, j] = across[None, :], up.flip(0)[:, None]  # the first row is at the top
    x = as_array(torch.stack([variant.decode(row, y).mean for row in z]))
    titles = f"{_expectation(variant, y)} over the prior's quantiles {50 / n:.3g} % to {100 - 50 / n:.3g} %"
    if variant.latent_size > 2:
        titles += ", other dimensions at the median"
    with styled():
        draw = _plane_of_images if image else _plane_of_vectors
        return draw(variant, x, titles, (i, as_array(across)), (j, as_array(up.flip(0))), feature_names)


def _expectation(variant: Variant, y: Any) -> str:
    """``E[x | z]``, with the label where there is one."""
    if y is None:
        return f"E[x | {variant.code}]"
    values = np.atleast_1d(as_array(torch.as_tensor(y)).squeeze())
    return f"E[x | {variant.code}, y = {', '.join(f'{value:.4g}' for value in values)}]"


def _label(axes: Any, x: Any, y: Any, across: Any, up: Any) -> None:
    """Codes at five places along both axes; x and y are where the n columns and rows are."""
    for axis, places, (_, z) in ((axes.xaxis, x, across), (axes.yaxis, y, up)):
        at = np.linspace(0, len(z) - 1, 5)  # of an even number, the middle lies between two
        values = np.interp(at, np.arange(len(z)), z)
        values[abs(values) < 1e-3 * np.ptp(z)] = 0.0
        labels = [f"{value:.2g}".replace("-", "\N{MINUS SIGN}") for value in values]
        axis.set_ticks(np.interp(at, np.arange(len(z)), places), labels)
    axes.set(xlabel=f"$z_{{{across[0]}}}$", ylabel=f"$z_{{{up[0]}}}$")


def _plane_of_images(variant: Variant, x: np.ndarray, title: str, across: Any, up: Any, names: Any) -> Figure:
    aspect = x.shape[-2] / x.shape[-1]
    figure = Figure(min(6.4, 6.4 / aspect) + 0.5, min(6.4, 6.4 * aspect) + 0.75, title)
    axes = figure.subplots()
    # a plane has no seams, but where there are few pixels one cannot tell the images apart without
    rows, columns = draw_mosaic(axes, x, limits(variant, x), gap=int(x.shape[-1] <= 16))
    _label(axes, columns, rows, across, up)
    return figure


def _plane_of_vectors(variant: Variant, x: np.ndarray, title: str, across: Any, up: Any, names: Any) -> Figure:
    n, size = len(x), x.shape[-1]
    features = np.sort(np.argsort(-x.reshape(-1, size).var(0), kind="stable")[:_ROWS])
    columns = min(4, len(features))
    lines = -(-len(features) // columns)
    figure = Figure(1.75 * columns + 0.9, 1.75 * lines + 0.7, title)
    grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    ends = limits(variant, x[..., features])
    for axes, feature in zip(grid.flat, features, strict=False):
        image = draw_heat(axes, x[..., feature], ends, None)
        axes.set_aspect("equal")
        entitle(axes, shortened(names[feature]) if names is not None else f"feature {feature}", 8)
        _label(axes, np.arange(n), np.arange(n), across, up)
        axes.label_outer()
    for axes in grid.flat[len(features) :]:
        axes.set_axis_off()
    bar = figure.colorbar(image, ax=list(grid.flat), label="E[x | z]", fraction=0.03, aspect=30)
    bar.outline.set_visible(False)
    return figure


def traversal(
    variant: Variant,
    x: Any = None,
    dimension: int | Sequence[int] | None = None,
    n: int = 10,
    *,
    y: Any = None,
    feature_names: Sequence[str] | None = None,
) -> Figure:
    """One latent dimension varied, the others held: E[x | z] over the prior's quantiles from 1 % to 99 %.

    Args:
        variant: any variant.
        x: data (N, \\*shape) or a split: the code of the first datum is where the others are held, at the prior's
            median if not given.  Where the prior cannot be drawn from, quantiles are those of the codes of ``x``.
        dimension: one or several, counted from 0; if not given all, at most 12: first those with the largest KL on
            ``x``, or, where the KL does not come dimension by dimension or there is no ``x``, those that change
            E[x | z] most.
        n: number of quantiles.
        y: labels of ``x``, or one for all, in variants that have them.  All codes are decoded with that of the first
            datum, predicted if it is missing.
        feature_names: of vectors.

    Raises:
        ConfigurationError: for dimensions that do not exist, for discrete codes, when the prior cannot be drawn from
            and there is no ``x``, or when data of this shape cannot be drawn.
        DataError: when the data do not fit, or are too few to have quantiles where those are needed; without a label
            where there must be one.

    Example:
        >>> import pyro_vae as pv
        >>> from pyro_vae import likelihoods, plots, priors
        >>> vae = pv.VAE(priors.StandardNormal(4), likelihoods.Bernoulli((1, 8, 8)))
        >>> figure = plots.traversal(vae, n=5)

    References:
        Higgins et al., beta-VAE, 2017, figures 1 to 4 (https://openreview.net/forum?id=Sy2fzU9gl)
    """
    check_count("n", n, 2)
    variant.check_code()
    check_real(variant, "traversal", "see samples(variant)")
    is_image(variant.shape)
    label = y
    if x is not None:
        x, y = as_batch(variant, x, y)
        with quietly(variant):
            completed = variant.completed(x[:1], None if y is None else y[:1]) if variant.decodes_label else None
        label = None if completed is None else completed[0]
    label = label_of_all(variant, label, "traversal")
    chosen = check_dimensions(variant, range(variant.latent_size) if dimension is None else dimension)  # type: ignore[arg-type]
    probabilities = np.linspace(0.01, 0.99, n)
    quantiles = prior_quantiles(variant, [*probabilities, 0.5], x, y)
    held = quantiles[n] if x is None else codes(variant, x[:1], None if y is None else y[:1])[0]
    z = held.repeat(len(chosen), n, 1)
    for row, d in enumerate(chosen):
        z[row, :, d] = quantiles[:n, d]
    decoded = torch.stack([variant.decode(row, label).mean for row in z])
    kl = None if x is None else _kl(variant, x, y)
    if dimension is None:
        order = _order(decoded, kl)
        decoded, chosen = decoded[order], [chosen[k] for k in order]
    rows = [f"$z_{{{d}}}$" + ("" if kl is None else f"\n{kl[d]:.2f} nats") for d in chosen]
    columns = [""] * n
    columns[0], columns[-1] = "1 %", "99 %"
    if n % 2:
        columns[n // 2] = "50 %"
    title = f"{_expectation(variant, label)}, one latent dimension at a time varied over its quantiles"
    return show(variant, as_array(decoded), title, rows=rows, columns=columns, names=feature_names)


def _kl(variant: Variant, x: Tensor, y: Tensor | None) -> Tensor | None:
    with quietly(variant):
        return kl_per_dimension(variant, x, y)


def _order(decoded: Tensor, kl: Tensor | None) -> list[int]:
    """Rows of (R, n, \\*shape) to show, the most important first."""
    importance = decoded.var(1).flatten(1).sum(1) if kl is None else kl
    return importance.argsort(descending=True)[:_ROWS].tolist()

"""Where the codes of data lie, and how they compare with the prior."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox

from pyro_vae.errors import ConfigurationError
from pyro_vae.plots.pictures import as_array
from pyro_vae.plots.quantities import (
    check_dimensions,
    check_real,
    code_draws,
    codes,
    colours_and_batch,
    posterior_name,
    prior_draws,
    prior_log_density,
)
from pyro_vae.plots.style import ACCENT, FIRST, MUTED, UNLABELLED, Figure, class_colours, styled
from pyro_vae.variants.base import Variant

__all__ = ["histograms", "latent", "smooth_density"]

_PANELS = 12
_MASS = (0.99, 0.9, 0.5)


def latent(
    variant: Variant,
    x: Any,
    y: Any = None,
    *,
    class_names: Sequence[str] | None = None,
) -> Figure:
    """Means of q(z | x) of data, or of q(z | x, y), coloured by label.

    Two dimensions are drawn as they are, over the smallest regions that hold 50, 90 and 99 % of the prior (where it
    has a density); more through their first two principal components; one as :func:`histograms`.  The means of
    discrete codes are probabilities.

    Args:
        variant: any variant.
        x: data (N, \\*shape), or a split, whose labels are then used.
        y: classes (N,), -1 where missing, or real numbers (N,) or (N, 1), NaN where missing; the missing are grey.
            Where the story has labels they are these, and what the encoder needs of them is predicted if missing.
        class_names: one for each class, for the legend.

    Raises:
        DataError: when data or labels do not fit.
        ConfigurationError: in a variant without codes.

    Example:
        >>> import torch
        >>> import pyro_vae as pv
        >>> from pyro_vae import likelihoods, plots, priors
        >>> vae = pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(5))
        >>> figure = plots.latent(vae, torch.zeros(20, 5), torch.arange(20) % 3)
    """
    variant.check_code()
    if variant.code_shape == (1,):
        return histograms(variant, x, y, class_names=class_names)
    x, given, y = colours_and_batch(variant, x, y)
    z = as_array(codes(variant, x, given).flatten(1))
    axis_labels = ["$z_0$", "$z_1$"]
    if z.shape[1] > 2:
        z, axis_labels = _principal(z)
    with styled():
        figure = Figure(6.8, 5.2, f"Codes of {len(z):,} data: means of {posterior_name(variant)}")
        axes = figure.subplots()
        axes.set(xlabel=axis_labels[0], ylabel=axis_labels[1])
        axes.grid(True)
        # equal units on both axes, without shrinking the panel
        axes.set_aspect("equal", adjustable="datalim")
        handles = _contours(axes, variant) if variant.code_shape == (2,) and not variant.discrete_code else []
        colours, key = _colours(y, class_names)
        size = float(np.clip(12000 / len(z), 4, 22))
        if y is not None:  # the unlabelled below the others
            order = np.argsort(~_missing(y), kind="stable")
            z, colours = z[order], colours[order]
        axes.scatter(z[:, 0], z[:, 1], s=size, c=colours, alpha=0.75, linewidths=0, rasterized=True, zorder=3)
        _add_key(figure, [axes], handles, key)
    return figure


def _principal(z: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """The first two principal components (N, 2) of codes (N, D), and what they explain."""
    centred = z - z.mean(0)
    _, scale, directions = np.linalg.svd(centred, full_matrices=False)
    variance = scale**2 / max((scale**2).sum(), np.finfo(float).tiny)
    components = centred @ directions.T
    if components.shape[1] < 2:  # a single datum
        components, variance = np.zeros((len(z), 2)), np.zeros(2)
    names = [
        f"{which} principal component ({share:.0%} of the variance)"
        for which, share in zip(("first", "second"), variance[:2], strict=True)
    ]
    return components[:, :2], names


def _contours(axes: Axes, variant: Variant) -> list[Any]:
    """Draw the smallest regions that hold given masses of a prior over two dimensions."""
    try:
        draws = prior_draws(variant, 10_000)
    except ConfigurationError:  # no prior to draw from, no regions
        return []
    at_draws = prior_log_density(variant, draws)
    if at_draws is None:
        return []
    # the region {z : log p(z) > c} holds the mass of the draws in it (Hyndman 1996)
    levels = np.quantile(as_array(at_draws), [1 - mass for mass in _MASS])
    cut = np.quantile(as_array(draws), [0.0005, 0.9995], axis=0)
    margin = 0.1 * (cut[1] - cut[0])
    sides = [np.linspace(low, high, 150) for low, high in zip(cut[0] - margin, cut[1] + margin, strict=True)]
    grid = np.stack(np.meshgrid(*sides), -1)
    density = prior_log_density(variant, torch.from_numpy(grid).to(draws))
    assert density is not None
    levels = np.unique(levels)
    lines = axes.contour(
        *sides, as_array(density), levels=levels, colors=MUTED, linewidths=0.8, linestyles="solid", zorder=2
    )
    # the panel should end with the regions, not with the grid
    axes.dataLim = Bbox.union([path.get_extents() for path in lines.get_paths() if np.size(path.vertices)])
    return [Line2D([], [], color=MUTED, linewidth=0.8, label="prior: 50, 90, 99 %")]


# -- colours of labels


def _missing(y: np.ndarray) -> np.ndarray:
    return np.isnan(y) if y.dtype.kind == "f" else y < 0


def _colours(y: np.ndarray | None, names: Sequence[str] | None) -> tuple[np.ndarray, Any]:
    """Colours (N, 4) of labels, and their key: handles of a legend, or what a colour bar shows."""
    from matplotlib import colormaps
    from matplotlib.colors import to_rgba

    if y is None:
        return np.array([to_rgba(FIRST)]), []
    missing = _missing(y)
    colours = np.tile(to_rgba(UNLABELLED), (len(y), 1))
    key: Any = []
    if y.dtype.kind == "f":
        known = y[~missing]
        norm = Normalize(*(known.min(), known.max()) if len(known) else (0, 1))
        colours[~missing] = colormaps["viridis"](norm(known))
        return colours, ScalarMappable(norm, "viridis")
    present = np.unique(y[~missing])
    palette, cmap = class_colours(present)
    for value, colour in zip(present, palette, strict=True):
        colours[y == value] = colour
        name = str(value) if names is None or value >= len(names) else names[value]
        key.append(_dot(colour, name))
    if cmap is not None:
        return colours, ScalarMappable(Normalize(0, present.max()), cmap)
    return colours, [*key, _dot(UNLABELLED, "no label")] if missing.any() else key


def _dot(colour: Any, label: str) -> Line2D:
    return Line2D([], [], color=colour, marker="o", markersize=6, linestyle="none", label=label)


def _add_key(figure: Figure, axes: list[Axes], handles: list[Any], key: Any) -> None:
    if isinstance(key, ScalarMappable):
        figure.colorbar(key, ax=axes, label="y", fraction=0.04, pad=0.02).outline.set_visible(False)
        if handles:  # beside the colour bar it would take as much room again
            figure.legend(handles=handles, loc="outside lower right", ncols=len(handles))
    elif handles or key:
        figure.legend(handles=[*key, *handles], loc="outside right upper")


# -- one dimension at a time


def histograms(
    variant: Variant,
    x: Any,
    y: Any = None,
    dimensions: int | Sequence[int] | None = None,
    *,
    class_names: Sequence[str] | None = None,
) -> Figure:
    """Each latent dimension of data, stacked by class, against the prior's marginal density.

    What is counted is one draw from q(z | x) for each datum, a sample of the aggregate posterior: that, not the
    means, is what should look like the prior if the model fits.  The prior's line is an estimate from draws.

    Args:
        variant: any variant.
        x: data (N, \\*shape), or a split, whose labels are then used.
        y: classes (N,), -1 where missing; real numbers are cut at their quartiles.
        dimensions: one or several, counted from 0; all, at most the first 12, if not given.
        class_names: one for each class, for the legend.

    Raises:
        DataError: when data or labels do not fit.
        ConfigurationError: for dimensions that do not exist, and for discrete codes.

    Example:
        >>> import torch
        >>> import pyro_vae as pv
        >>> from pyro_vae import likelihoods, plots, priors
        >>> vae = pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(5))
        >>> figure = plots.histograms(vae, torch.zeros(20, 5))
    """
    chosen = check_dimensions(variant, range(variant.latent_size)[:_PANELS] if dimensions is None else dimensions)  # type: ignore[arg-type]
    check_real(variant, "histograms", "see kl(variant, x)")
    x, given, y = colours_and_batch(variant, x, y)
    z = as_array(code_draws(variant, x, given))
    if y is not None and y.dtype.kind == "f":
        y, class_names = _quarters(y)
    try:
        prior = as_array(prior_draws(variant))
    except ConfigurationError:  # no prior to draw from, no line
        prior = None
    colours, key = _colours(y, class_names)
    groups = [np.ones(len(z), bool)] if y is None else [y == value for value in np.unique(y)]
    columns = min(4, len(chosen))
    rows = -(-len(chosen) // columns)
    with styled():
        width, height = (1.9, 1.55) if columns > 2 else (2.6, 2.4) if columns == 2 else (4.6, 2.7)
        title = f"{len(z):,} codes z ~ {posterior_name(variant)}" + (" and the prior" if prior is not None else "")
        figure = Figure(width * columns + 1.1, height * rows + 0.7, title)
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes, d in zip(grid.flat, chosen, strict=False):
            bins = np.histogram_bin_edges(z[:, d], bins=30)
            weights = [np.full(g.sum(), 1 / (len(z) * np.diff(bins)[0])) for g in groups]
            shown = [colours[np.argmax(g) % len(colours)] for g in groups]
            parts = [z[g, d] for g in groups]
            axes.hist(parts, bins, weights=weights, stacked=True, color=shown, histtype="stepfilled")
            if prior is not None:
                axes.plot(*smooth_density(prior[:, d]), color=ACCENT, linewidth=1.1)
            axes.set(xlabel=f"$z_{{{d}}}$", yticks=[])
            axes.spines["left"].set_visible(False)
        for axes in grid.flat[len(chosen) :]:
            axes.set_axis_off()
        line = [Line2D([], [], color=ACCENT, linewidth=1.1, label="prior p(z)")] if prior is not None else []
        figure.supylabel("density", fontsize=9)
        _add_key(figure, list(grid.flat), line, key)
    return figure


def _quarters(y: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Real labels as four classes of equal size, and their names."""
    known = y[~np.isnan(y)]
    if not len(known):
        return np.full(len(y), -1), []
    edges = np.unique(np.quantile(known, [0, 0.25, 0.5, 0.75, 1]))
    quarter = np.digitize(y, edges[1:-1])
    quarter[np.isnan(y)] = -1
    names = [f"y {low:.3g} to {high:.3g}" for low, high in pairwise(edges)]
    return quarter, names or [f"y {edges[0]:.3g}"]


def smooth_density(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A density (values, density) from draws: their histogram, smoothed by a narrow normal."""
    low, high = np.quantile(draws, [0.0005, 0.9995])
    margin = 0.15 * (high - low) + 1e-6
    counts, edges = np.histogram(draws, 400, (low - margin, high + margin), density=False)
    step = edges[1] - edges[0]
    # Silverman's rule of thumb, from the densest tenth of the draws: with the standard deviation of all of them it
    # would blur the modes of a mixture.  Of a normal the densest tenth is 0.2513 standard deviations wide.
    ordered = np.sort(draws)
    tenth = len(draws) // 10
    spread = (ordered[tenth:] - ordered[:-tenth]).min() / 0.2513
    width = max(0.8 * spread * len(draws) ** -0.2, step / 2)
    offsets = np.arange(-200, 200 + 1) * step
    kernel = np.exp(-0.5 * (offsets / width) ** 2)
    smooth = np.convolve(counts, kernel / kernel.sum(), mode="same")[: len(counts)]
    return (edges[:-1] + edges[1:]) / 2, smooth / (len(draws) * step)

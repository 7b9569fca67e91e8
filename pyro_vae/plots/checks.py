"""Whether replicated data look like the observed ones: the picture of a posterior predictive check."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from pyro_vae.plots.grids import shortened
from pyro_vae.plots.style import ACCENT, FIRST, SECOND, Figure, entitle, styled

if TYPE_CHECKING:
    from pyro_vae.evaluation import PredictiveCheck

__all__ = ["posterior_predictive_check"]

_COLOURS = {"model": SECOND, "posterior": FIRST}
_WORDS = {"model": "drawn from the model", "posterior": "drawn again from their own codes"}


def posterior_predictive_check(found: PredictiveCheck) -> Figure:
    """Histograms of the statistics of replicated data sets with the observed one as a line, and profiles with bands.

    A band holds 95 % of the replicated data sets, position by position.

    Args:
        found: what :func:`pyro_vae.evaluation.posterior_predictive_check` gave.

    Example:
        >>> import torch
        >>> import pyro_vae as pv
        >>> from pyro_vae import evaluation, likelihoods, plots, priors
        >>> vae = pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(5))
        >>> check = evaluation.posterior_predictive_check(vae, torch.ones(20, 5), num_samples=20)
        >>> figure = plots.posterior_predictive_check(check)
    """
    names = [str(name) for name in found.dataset["statistic"].values]
    columns = 4 if len(names) % 4 in (0, 3) and len(names) > 2 else max(1, min(3, len(names)))
    rows = -(-len(names) // columns)
    n = found.dataset.sizes["replicate"]
    with styled():
        height = 1.7 * rows + 1.9 * bool(found.profiles) + 0.6
        figure = Figure(7.6, height, f"Observed data and {n:,} replicated data sets")
        cells: Any = figure.add_gridspec(
            rows + bool(found.profiles), 1, height_ratios=[*[1.7] * rows, 1.9][: rows + bool(found.profiles)]
        )
        for row in range(rows):
            some = names[row * columns : (row + 1) * columns]
            for cell, name in zip(cells[row].subgridspec(1, columns), some, strict=False):
                _histograms(figure.add_subplot(cell), found, name)
        if found.profiles:
            parts = cells[rows].subgridspec(1, len(found.profiles))
            for cell, name in zip(parts, found.profiles, strict=True):
                _profile(figure.add_subplot(cell), found, name)
        handles: list[Any] = [Line2D([], [], color=ACCENT, linewidth=1.4, label="observed")]
        handles += [Patch(color=_COLOURS[source], alpha=0.55, label=_WORDS[source]) for source in found.sources]
        figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


def _histograms(axes: Axes, found: PredictiveCheck, name: str) -> None:
    of_it = found.dataset.sel(statistic=name)
    told = []
    for source in found.sources:
        values = of_it["replicated"].sel(source=source).values
        told.append(f"{source} {of_it['p_value'].sel(source=source).item():.2g}")
        if np.ptp(values) > 0:
            axes.hist(values, bins=15, density=True, color=_COLOURS[source], alpha=0.55, histtype="stepfilled")
        else:
            axes.axvline(values[0], color=_COLOURS[source], alpha=0.55, linewidth=4)
    axes.axvline(of_it["observed"].item(), color=ACCENT, linewidth=1.4)
    entitle(axes, f"{shortened(name)}\np: {', '.join(told)}", 8.5)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(3))


def _profile(axes: Axes, found: PredictiveCheck, name: str) -> None:
    profile = found.profiles[name]
    observed = profile["observed"]
    places = np.arange(observed.size)
    for source in found.sources:
        low, high = np.quantile(profile["replicated"].sel(source=source).values, [0.025, 0.975], axis=0)
        # a step reaches to the middle between two places, and so beyond the outer ones it needs neighbours
        edges = [places[0] - 0.5, *places, places[-1] + 0.5]
        low, high = (np.pad(each, 1, mode="edge") for each in (low, high))
        axes.fill_between(edges, low, high, color=_COLOURS[source], alpha=0.45, linewidth=0, step="mid")
    axes.plot(places, observed.values, color=ACCENT, linewidth=1.4, marker="o" if observed.size <= 40 else None)
    entitle(axes, name, 8.5)
    axes.set_xlabel(str(observed.dims[0]))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))

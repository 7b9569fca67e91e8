"""How good the guide is: pictures of results of :mod:`pyro_vae.evaluation`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter

from pyro_vae.plots.style import CLASSES, FIRST, INK, MUTED, SECOND, UNLABELLED, Figure, entitle, styled

if TYPE_CHECKING:
    from pyro_vae.evaluation import AmortisationGap, ParetoK, SimulationBasedCalibration

__all__ = ["amortisation_gap", "pareto_k", "simulation_based_calibration"]

_PANELS = 12
"""Up to so many dimensions are shown."""

_KINDS = {"good": "#228833", "ok": "#e69f00", "bad": "#bd1f01"}
"""Colours of k-hat below 0.5, below 0.7 and above."""

_ENDS = (-1.0, 2.0)
"""k-hats outside are drawn at these."""


def pareto_k(found: ParetoK) -> Figure:
    """k-hat of each datum, the smallest first, with the limits 0.5 and 0.7.

    Args:
        found: what :func:`pyro_vae.evaluation.pareto_k` gave.

    Example:
        >>> import torch
        >>> import pyro_vae as pv
        >>> from pyro_vae import evaluation, likelihoods, plots, priors
        >>> vae = pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(5))
        >>> figure = plots.pareto_k(evaluation.pareto_k(vae, torch.zeros(20, 5), num_samples=100))
    """
    k = np.sort(found.dataset["pareto_k"].values).clip(*_ENDS)
    place = (np.arange(len(k)) + 0.5) / len(k)
    kind = np.where(k < 0.5, 0, np.where(k <= 0.7, 1, 2))
    shares = found.shares
    with styled():
        figure = Figure(6.8, 3.2, f"Pareto k-hat of {len(k):,} data, {found.num_samples:,} draws each")
        axes = figure.subplots()
        axes.scatter(place, k, s=float(np.clip(4000 / len(k), 4, 22)), c=[list(_KINDS.values())[i] for i in kind])
        for limit in (0.5, 0.7):
            axes.axhline(limit, color=MUTED, linewidth=1, linestyle="--", zorder=0)
        axes.set_ylim(min(k.min(), 0) - 0.1, max(k.max(), 1) + 0.1)
        axes.set(xlim=(0, 1), xlabel="data, sorted", ylabel="k-hat")
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        words = {"good": "below 0.5, good", "ok": "0.5 to 0.7, ok", "bad": "above 0.7, bad"}
        handles: list[Any] = [
            Line2D(
                [], [], color=colour, marker="o", markersize=6, linestyle="none", label=f"{words[n]}: {shares[n]:.0%}"
            )
            for n, colour in _KINDS.items()
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


def simulation_based_calibration(found: SimulationBasedCalibration) -> Figure:
    """Histograms of ranks, one for each latent dimension; a calibrated guide's bars stay in the band.

    The band holds 99 % of the heights that a bar has where ranks are uniform.  A U says that the guide is too narrow,
    a hump that it is too wide, a slope that it is biased.  Of more than 12 dimensions those with the smallest p-values
    are shown.

    Args:
        found: what :func:`pyro_vae.evaluation.simulation_based_calibration` gave.

    Example:
        >>> import pyro_vae as pv
        >>> from pyro_vae import evaluation, likelihoods, plots, priors
        >>> vae = pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(5))
        >>> figure = plots.simulation_based_calibration(evaluation.simulation_based_calibration(vae, num_data=100))
    """
    from scipy.stats import binom  # ArviZ and scikit-learn bring it

    counts, p, words = found.dataset["count"].values, found.dataset["p_value"].values, found.words()
    chosen = np.sort(np.argsort(p, kind="stable")[:_PANELS])
    bins, n = counts.shape[1], found.dataset.sizes["simulation"]
    band = binom.ppf([0.005, 0.995], n, 1 / bins)
    edges = np.linspace(0, found.num_samples + 1, bins + 1)
    columns = min(4, len(chosen))
    rows = -(-len(chosen) // columns)
    with styled():
        width, height = (1.95, 1.6) if columns > 2 else (3.2, 2.3)
        title = f"Ranks of the codes of {n:,} simulated data among {found.num_samples:,} draws from the guide"
        figure = Figure(max(width * columns + 0.6, 6.4), height * rows + 0.8, title)
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True)
        for d, axes in zip(chosen, grid.flat, strict=False):
            calibrated = words[d] == "calibrated"
            entitle(axes, f"$z_{{{d}}}$: {words[d]}\np = {p[d]:.2g}", 8.5)
            axes.stairs(counts[d], edges, fill=True, color=FIRST if calibrated else SECOND, alpha=0.75)
            axes.axhspan(*band, color=MUTED, alpha=0.3, linewidth=0, zorder=3)
            axes.axhline(n / bins, color=INK, linewidth=0.8, zorder=3)
            axes.set(xlim=(0, found.num_samples + 1), ylim=(0, None), yticks=[])
            axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
            axes.spines["left"].set_visible(False)
        for axes in grid.flat[len(chosen) :]:
            axes.set_axis_off()
        figure.supxlabel("rank", fontsize=9)
        band_key = Patch(color=MUTED, alpha=0.3, label="99 % of bars of uniform ranks")
        figure.legend(handles=[band_key], loc="outside lower right")
    return figure


def amortisation_gap(found: AmortisationGap) -> Figure:
    """log p(x) - ELBO as stacked bars: what the family costs, and what the encoder costs on top.

    On the left the means over data, and what is left with other families; on the right each datum, the largest
    first.

    Args:
        found: what :func:`pyro_vae.evaluation.amortisation_gap` gave.

    Example:
        >>> import torch
        >>> import pyro_vae as pv
        >>> from pyro_vae import evaluation, likelihoods, plots, priors
        >>> vae = pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(5))
        >>> gap = evaluation.amortisation_gap(vae, torch.zeros(3, 5), families={}, steps=50, num_samples=100)
        >>> figure = plots.amortisation_gap(gap)
    """
    gaps, table = found.gaps, found.table
    total = gaps["total"].values
    order = np.argsort(-total, kind="stable")
    means = [
        ("amortised", ["approximation", "amortisation"]),
        *((name, [f"approximation, {name}"]) for name in found.families),
    ]
    colours = {"approximation": FIRST, "amortisation": SECOND}
    others = dict(zip(found.families, (CLASSES[3], CLASSES[8], CLASSES[7], UNLABELLED), strict=False))
    with styled():
        value, error = table.loc["gap: total"]
        told = "" if np.isnan(error) else f" ± {error:.2f}"
        figure = Figure(7.4, 3.2, f"log p(x) − ELBO: {value:.2f}{told} nats per datum over {len(total):,} data")
        left, right = figure.subplots(1, 2, width_ratios=[1 + 0.5 * len(means), 5], sharey=False)
        for place, (name, parts) in enumerate(means):
            start = 0.0
            for part in parts:
                mean, error = table.loc[f"gap: {part}"]
                left.bar(place, mean, bottom=start, color=colours.get(part, others.get(name, MUTED)), width=0.7)
                start += mean
                left.errorbar(place, start, yerr=None if np.isnan(error) else error, color=INK, linewidth=1, capsize=2)
        left.set_xticks(range(len(means)), [name for name, _ in means])
        left.set(ylabel="nats per datum", title="")
        entitle(left, "mean", 9)
        entitle(right, "each datum", 9)
        _stacked(right, [gaps[name].values[order] for name in colours], list(colours.values()))
        for axes in (left, right):
            axes.axhline(0, color=MUTED, linewidth=0.8)
        right.set_xticks([])
        right.set_xlabel("data, sorted by their gaps")
        handles = [Patch(color=colour, label=f"{name} gap") for name, colour in colours.items()]
        handles += [Patch(color=others.get(name, MUTED), label=f"approximation gap, {name}") for name in found.families]
        figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


def _stacked(axes: Axes, parts: list[np.ndarray], colours: list[str]) -> None:
    """Bars on top of each other; those below zero downwards from zero."""
    above, below = np.zeros(len(parts[0])), np.zeros(len(parts[0]))
    for values, colour in zip(parts, colours, strict=True):
        bottom = np.where(values >= 0, above, below)
        axes.bar(range(len(values)), values, bottom=bottom, color=colour, width=0.85)
        above, below = above + values.clip(min=0), below + values.clip(max=0)

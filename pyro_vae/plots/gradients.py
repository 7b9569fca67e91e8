"""How much estimates of a gradient vary."""

from __future__ import annotations

import numpy as np
from matplotlib.ticker import NullFormatter

from pyro_vae.evaluation import GradientVariance
from pyro_vae.plots.style import CLASSES, FIRST, SECOND, Figure, entitle, styled

__all__ = ["gradient_variance"]

_MARKERS = "osD^vP*X<>"
_QUANTITIES = {
    "variance": "variance, summed over parameters",
    "snr": "signal-to-noise ratio",
    "bias": "bias; the line is what chance gives",
}


def gradient_variance(table: GradientVariance) -> Figure:
    """Variance, signal-to-noise ratio and bias of each estimator for each group of parameters, on logarithmic scales.

    Bars are standard errors of the variance.  A bias left of its line is no larger than chance alone makes it; there
    is no panel for it where nothing has a reference but the references themselves.  What is zero or infinite, such as
    the noise of an exact gradient, is not on such a scale and left out.

    Args:
        table: what :func:`pyro_vae.evaluation.gradient_variance` gave.

    Example:
        >>> import torch
        >>> import pyro_vae as pv
        >>> from pyro_vae import evaluation, likelihoods, objectives, plots, priors
        >>> vae = pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(5))
        >>> estimators = {"path": objectives.ELBO(), "score": objectives.ScoreFunction()}
        >>> figure = plots.gradient_variance(
        ...     evaluation.gradient_variance(vae, torch.ones(7, 5), estimators=estimators, num_draws=10)
        ... )
    """
    frame = table.frame
    estimators, groups = list(dict.fromkeys(frame["estimator"])), list(dict.fromkeys(frame["group"]))
    colours = [FIRST, SECOND, *CLASSES]
    with styled():
        title = f"Gradients of {table.size:,} data at fixed weights, {table.num_draws} evaluations each"
        height = 1.5 + 0.24 * len(estimators) + len(groups) * max(0.4, 0.14 * len(estimators))
        shown = [name for name in _QUANTITIES if frame[name].notna().any()]
        figure = Figure(11.0 if "bias" in shown else 8.2, height, title)
        panels = figure.subplots(1, len(shown), sharey=True)
        for axes, column in zip(panels, shown, strict=True):
            told = _QUANTITIES[column]
            for place, name in enumerate(estimators):
                rows = frame[frame["estimator"] == name].set_index("group").reindex(groups)
                values = rows[column].to_numpy(float)
                some = np.isfinite(values) & (values > 0)
                at = np.arange(len(groups)) + 0.7 * ((place + 0.5) / len(estimators) - 0.5)
                colour = colours[place % len(colours)]
                axes.plot(
                    values[some],
                    at[some],
                    linestyle="none",
                    marker=_MARKERS[place % len(_MARKERS)],
                    markersize=6,
                    color=colour,
                    label=name,
                )
                if column == "variance":
                    errors = np.nan_to_num(rows["variance_error"].to_numpy(float))[some]
                    low, high = np.maximum(values[some] - errors, 0.1 * values[some]), values[some] + errors
                    axes.hlines(at[some], low, high, color=colour, linewidth=1.5)
                if column == "bias":
                    chance = rows["bias_error"].to_numpy(float)
                    some = np.isfinite(chance) & (chance > 0)
                    axes.plot(chance[some], at[some], linestyle="none", marker="|", markersize=11, color=colour)
            axes.set_xscale("log")
            low, high = axes.get_xlim()
            if high > 10 * low:  # the powers of ten are enough, and what is between them would overlap
                axes.xaxis.set_minor_formatter(NullFormatter())
            entitle(axes, told)
            axes.grid(axis="x")
            axes.tick_params(axis="y", length=0)
            for row in range(1, len(groups)):
                axes.axhline(row - 0.5, color="#e6e6e6", linewidth=0.8)
        panels[0].set_yticks(range(len(groups)), groups)
        panels[0].set_ylim(len(groups) - 0.5, -0.5)
        for axes in panels:
            axes.set_xlabel("log scale")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower left", ncols=min(3, len(estimators)))
    return figure

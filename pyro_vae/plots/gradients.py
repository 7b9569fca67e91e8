"""How much estimates of a gradient vary."""

from __future__ import annotations

import numpy as np

from pyro_vae.evaluation import GradientVariance
from pyro_vae.plots.style import CLASSES, FIRST, SECOND, Figure, entitle, styled

__all__ = ["gradient_variance"]

_MARKERS = "osD^vP*X<>"
_QUANTITIES = {"variance": "variance, summed over parameters", "snr": "signal-to-noise ratio"}


def gradient_variance(table: GradientVariance) -> Figure:
    """Variance and signal-to-noise ratio of each estimator for each group of parameters, on logarithmic scales.

    What is zero or infinite, an exact gradient, is not on such a scale and left out.

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
        figure = Figure(8.2, height, title)
        panels = figure.subplots(1, 2, sharey=True)
        for axes, (column, told) in zip(panels, _QUANTITIES.items(), strict=True):
            for place, name in enumerate(estimators):
                values = frame[frame["estimator"] == name].set_index("group")[column].reindex(groups).to_numpy(float)
                some = np.isfinite(values) & (values > 0)
                shift = 0.7 * ((place + 0.5) / len(estimators) - 0.5)
                axes.plot(
                    values[some],
                    np.arange(len(groups))[some] + shift,
                    linestyle="none",
                    marker=_MARKERS[place % len(_MARKERS)],
                    markersize=6,
                    color=colours[place % len(colours)],
                    label=name,
                )
            axes.set_xscale("log")
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

"""What codes say, and how they lie beside the prior: pictures of results of :mod:`pyro_vae.evaluation`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from pyro_vae.plots.scatters import smooth_density
from pyro_vae.plots.style import ACCENT, FIRST, MUTED, SECOND, UNLABELLED, Figure, styled

if TYPE_CHECKING:
    from pyro_vae.evaluation import ActiveUnits, AggregatePosterior, ELBOTerms, MutualInformation

__all__ = ["active_units", "aggregate_posterior", "elbo_terms", "mutual_information"]

_SMOOTHED = 100
"""Of fewer draws no density is drawn."""

_CORNER = 4
"""Up to so many dimensions are drawn against each other."""


def active_units(found: ActiveUnits) -> Figure:
    """Var_x(E_q[z_d | x]) of each latent dimension, the largest first, on a logarithmic scale.

    Args:
        found: what :func:`pyro_vae.evaluation.active_units` gave.

    Example:
        >>> import torch
        >>> import pyro_vae as pv
        >>> from pyro_vae import evaluation, likelihoods, plots, priors
        >>> vae = pv.VAE(priors.StandardNormal(8), likelihoods.Bernoulli(5))
        >>> figure = plots.active_units(evaluation.active_units(vae, torch.zeros(20, 5)))
    """
    values = found.dataset["variance"].values
    order = np.argsort(-values, kind="stable")
    least = 1e-3 * found.threshold
    with styled():
        width = float(np.clip(0.45 * len(values) + 1.5, 6.4, 8.2))
        figure = Figure(width, 3.0, f"{found.count} of {len(values)} latent dimensions active")
        axes = figure.subplots()
        colours = [FIRST if active else UNLABELLED for active in found.active[order]]
        axes.bar(range(len(values)), np.maximum(values[order], least) - least, bottom=least, color=colours)
        axes.axhline(found.threshold, color=SECOND, linewidth=1, linestyle="--")
        axes.set_yscale("log")
        axes.set_ylim(least, 3 * max(values.max(), 10 * found.threshold))
        step = -(-len(values) // 24)
        axes.set_xticks(range(0, len(values), step), [f"$z_{{{d}}}$" for d in order[::step]])
        axes.tick_params(axis="x", length=0)
        axes.set_ylabel("Var$_x$(E[z | x])")
        handles: list[Any] = [
            Patch(color=FIRST, label="active"),
            Patch(color=UNLABELLED, label="not active"),
            Line2D([], [], color=SECOND, linewidth=1, linestyle="--", label=f"threshold {found.threshold:g}"),
        ]
        axes.legend(handles=handles, loc="upper right", ncols=3)
    return figure


def elbo_terms(found: ELBOTerms) -> Figure:
    """Rate against distortion of each datum: what its code costs, and what is left to say once it is known.

    Along a grey line the ELBO, minus their sum, is the same; below and left of it is better.

    Args:
        found: what :func:`pyro_vae.evaluation.elbo` gave.

    Example:
        >>> import torch
        >>> import pyro_vae as pv
        >>> from pyro_vae import evaluation, likelihoods, plots, priors
        >>> vae = pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(5))
        >>> figure = plots.elbo_terms(evaluation.elbo(vae, torch.bernoulli(torch.full((20, 5), 0.5))))

    References:
        Alemi et al., Fixing a Broken ELBO, 2018 (https://arxiv.org/abs/1711.00464)
    """
    terms = found.dataset
    rate, distortion = terms["rate"].values, terms["distortion"].values
    with styled():
        title = f"ELBO {found.elbo.mean().item():.2f} nats, mean of {len(rate):,} data"
        figure = Figure(5.6, 4.4, title)
        axes = figure.subplots()
        axes.scatter(rate, distortion, s=float(np.clip(4000 / len(rate), 4, 22)), color=FIRST, alpha=0.6, linewidth=0)
        axes.plot(
            rate.mean(), distortion.mean(), marker="X", markersize=9, color=SECOND, linestyle="none", label="mean"
        )
        for quantile in (0.1, 0.5, 0.9):
            value = float(np.quantile(rate + distortion, quantile))
            axes.axline((0, value), slope=-1, color=MUTED, linewidth=0.8, linestyle="--", zorder=0)
        axes.set(xlabel="rate: KL of the code, nats", ylabel="distortion: −log p(x | z), nats")
        axes.plot([], [], color=MUTED, linewidth=0.8, linestyle="--", label="ELBO of the 10, 50 and 90 % quantile")
        figure.legend(loc="outside lower center", ncols=2)
    return figure


def mutual_information(found: MutualInformation) -> Figure:
    """The rate as one bar, cut into mutual information and marginal KL; the line is what N data can tell at most.

    Where there is no rate the mutual information stands alone.

    Args:
        found: what :func:`pyro_vae.evaluation.mutual_information` gave.

    Example:
        >>> import torch
        >>> import pyro_vae as pv
        >>> from pyro_vae import evaluation, likelihoods, plots, priors
        >>> vae = pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(5))
        >>> figure = plots.mutual_information(evaluation.mutual_information(vae, torch.zeros(20, 5)))
    """
    parts = [
        ("mutual information, $I_q(x; z)$", found.mutual_information, FIRST),
        ("marginal KL, KL(q(z) || p(z))", found.marginal_kl, SECOND),
    ]
    parts = [part for part in parts if not np.isnan(part[1])]
    title = f"The rate, {found.rate:.2f} nats per datum" if parts[1:] else "What the codes say about the data"
    with styled():
        figure = Figure(7.0, 1.9, title)
        axes = figure.subplots()
        start = 0.0
        for label, value, colour in parts:
            axes.barh(0, value, left=start, height=0.5, color=colour, label=f"{label}: {value:.2f}")
            start += value
        axes.axvline(found.largest, color=MUTED, linewidth=1, linestyle="--")
        n = found.dataset.sizes["datum"]
        axes.annotate(
            f"log {n:,}", (found.largest, 0.42), xytext=(3, 0), textcoords="offset points", color=MUTED, fontsize=8
        )
        axes.set(yticks=[], ylim=(-0.5, 0.7), xlabel="nats per datum")
        axes.axvline(0, color=MUTED, linewidth=0.8)
        axes.spines["left"].set_visible(False)
        figure.legend(loc="outside lower center", ncols=2)
    return figure


def aggregate_posterior(found: AggregatePosterior) -> Figure:
    """Draws of the aggregate posterior over draws of the prior: pairs of the most active dimensions, and marginals.

    Args:
        found: what :func:`pyro_vae.evaluation.aggregate_posterior` gave.

    Example:
        >>> import torch
        >>> import pyro_vae as pv
        >>> from pyro_vae import evaluation, likelihoods, plots, priors
        >>> vae = pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(5))
        >>> figure = plots.aggregate_posterior(evaluation.aggregate_posterior(vae, torch.zeros(20, 5)))
    """
    draws = [found.dataset[name].values for name in ("z", "prior")]
    active = found.dataset["active_variance"].values
    chosen = np.argsort(-active, kind="stable")[:_CORNER]
    size = len(chosen)
    p = found.discrepancy.p_value
    tested = "" if np.isnan(p) else f", p = {p:.2g}"
    of = f", the {size} most active of {len(active)} dimensions" if size < len(active) else ""
    title = f"Aggregate posterior and prior{of}: MMD² {found.discrepancy.mmd2:.2g}{tested}"
    with styled():
        side = {1: 4.0, 2: 2.9, 3: 2.3}.get(size, 1.9)
        figure = Figure(max(side * size + 0.4, 5.6), side * size + 0.7, title)
        grid = figure.subplots(size, size, squeeze=False, sharex="col")
        for row, d in enumerate(chosen):
            for column, e in enumerate(chosen):
                axes = grid[row, column]
                if column > row:
                    axes.set_axis_off()
                    continue
                if column == row:
                    _marginals(axes, *(z[:, d] for z in draws))
                else:
                    _pair(axes, *(z[:, [e, d]] for z in draws))
                    axes.set_ylabel(f"$z_{{{d}}}$" if column == 0 else "")
                axes.set_xlabel(f"$z_{{{e}}}$" if row == size - 1 else "")
        figure.legend(handles=_key(), loc="outside lower center", ncols=2)
    return figure


def _pair(axes: Axes, posterior: np.ndarray, prior: np.ndarray) -> None:
    """Draws (S, 2) of two dimensions against each other: the prior's below those of the aggregate posterior."""
    for z, colour, alpha in ((prior, UNLABELLED, 0.8), (posterior, FIRST, 0.55)):
        dots = float(np.clip(4000 / len(z), 4, 14))
        axes.scatter(z[:, 0], z[:, 1], s=dots, color=colour, alpha=alpha, linewidths=0, rasterized=True)


def _marginals(axes: Axes, posterior: np.ndarray, prior: np.ndarray) -> None:
    """Densities of draws (S,) of one dimension."""
    bins = int(np.clip(1.5 * np.sqrt(len(posterior)), 8, 30))
    axes.hist(posterior, bins=bins, density=True, color=FIRST, alpha=0.55, histtype="stepfilled")
    if np.ptp(prior) > 0 and len(prior) >= _SMOOTHED:
        axes.plot(*smooth_density(prior), color=ACCENT, linewidth=1.1)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)


def _key() -> list[Any]:
    marks: dict[str, Any] = {"marker": "o", "markersize": 5, "linestyle": "none"}
    return [
        Line2D([], [], color=FIRST, label="aggregate posterior q(z)", **marks),
        Line2D([], [], color=UNLABELLED, label="prior p(z) (its density: line)", **marks),
    ]

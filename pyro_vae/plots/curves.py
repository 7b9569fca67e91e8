"""What training and the guide cost: losses over epochs, the KL of each dimension."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, NullLocator

from pyro_vae.errors import ConfigurationError
from pyro_vae.evaluation import active_units, elbo, kl_per_dimension
from pyro_vae.plots.pictures import as_array
from pyro_vae.plots.quantities import as_batch, posterior_name, quietly
from pyro_vae.plots.style import FIRST, INK, MUTED, SECOND, UNLABELLED, Figure, entitle, styled
from pyro_vae.variants.base import Variant

__all__ = ["kl", "losses"]

_ACTIVE = 0.01
_TERMS = {"elbo": "ELBO", "reconstruction": "reconstruction", "kl": "KL"}
_SCORES = {"accuracy": "accuracy", "mean_absolute_error": "mean absolute error"}


def losses(history: Mapping[str, Sequence[Any]]) -> Figure:
    """ELBO, reconstruction and KL apart, in nats per datum over epochs; the weight beta too if it changes.

    Where labels are predicted, accuracy or error on validation data is drawn as well.

    ELBO = reconstruction - KL, unweighted whatever beta is.  Where the KL is 0 throughout (an autoencoder) there is
    one panel, the reconstruction.

    Args:
        history: what :func:`pyro_vae.fit` returned, or a mapping with the same names.

    Raises:
        ConfigurationError: when there is nothing in it.

    Example:
        >>> from pyro_vae import plots
        >>> figure = plots.losses({"elbo": [-3.0, -2.0], "reconstruction": [-2.5, -1.4], "kl": [0.5, 0.6]})
        >>> [axes.get_title() for axes in figure.axes]
        ['ELBO', 'reconstruction', 'KL']
    """
    terms = [name for name in _TERMS if len(history.get(name, ()))]
    if not terms:
        raise ConfigurationError(
            f"history has no epochs with {', '.join(_TERMS)}; give what pv.fit returned, got {history!r:.100}"
        )
    if "kl" in terms and "reconstruction" in terms and not np.any(history["kl"]):
        terms = ["reconstruction"]
    panels = [*terms, *(name for name in _SCORES if len(history.get(f"valid_{name}", ())))]
    panels += ["beta"] if len(set(history.get("beta", ()))) > 1 else []
    columns = 2 if len(panels) == 4 else min(len(panels), 3)
    rows = -(-len(panels) // columns)
    with styled():
        figure = Figure({1: 5.0, 2: 6.8, 3: 8.2}[columns], 2.6 * rows + 0.2)
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True)
        for axes in grid.flat[len(panels) :]:
            axes.set_axis_off()
        for axes, name in zip(grid.flat, panels, strict=False):
            _curve(axes, history, name)
            entitle(axes, (_TERMS | _SCORES).get(name, "weight of the KL, beta"))
            axes.set_ylabel("nats per datum" if name in _TERMS else "")
            axes.grid(True)
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
            if max(len(history.get(key, ())) for key in (name, f"valid_{name}")) == 1:
                axes.set_xlim(0.5, 1.5)
        for axes in (grid.flat[k] for k in range(max(0, len(panels) - columns), len(panels))):
            axes.set_xlabel("epoch")
            axes.tick_params(labelbottom=True)
        if any(f"valid_{name}" in history for name in terms):
            grid[0, 0].legend(loc="best")
    return figure


def _curve(axes: Axes, history: Mapping[str, Sequence[Any]], name: str) -> None:
    drawn = [(name, "training", FIRST, "-"), (f"valid_{name}", "validation", SECOND, "--")]
    for key, label, colour, line in drawn:
        values = history.get(key, ())
        if len(values):
            epochs = np.arange(1, len(values) + 1)
            axes.plot(epochs, values, line, color=colour, label=label, marker="o" if len(values) <= 10 else None)


def kl(variant: Variant, x: Any, y: Any = None) -> Figure:
    """KL(q(z_d | x) || p(z_d)) of each latent dimension, in nats averaged over data, the largest first.

    A dimension is called active if the mean of q(z_d | x) varies over the data by more than 0.01 (Burda et al.
    2016); the line marks 0.01 nats.  The scale is linear up to that line and logarithmic above, so that unused
    dimensions can be seen.  Where prior or posterior do not factorise over the dimensions (a mixture, a flow) there
    is only the total, and the figure says so.

    Args:
        variant: any variant whose guide has a density.
        x: data (N, \\*shape), or a split.
        y: labels, in variants that have them; those of the split if not given.

    Raises:
        DataError: when the data do not fit.
        ConfigurationError: when there is no KL, as in an autoencoder.

    Example:
        >>> import torch
        >>> import pyro_vae as pv
        >>> from pyro_vae import likelihoods, plots, priors
        >>> vae = pv.VAE(priors.StandardNormal(8), likelihoods.Bernoulli(5))
        >>> figure = plots.kl(vae, torch.zeros(20, 5))

    References:
        Burda, Grosse & Salakhutdinov, Importance Weighted Autoencoders, 2016, section 5.2, on active units
        (https://arxiv.org/abs/1509.00519)
    """
    variant.check_code()
    if missing := variant.guide.parts_without_density():
        raise ConfigurationError(
            f"{type(variant).__name__} has no KL to draw: its guide {missing[0]!r} has no density q(z | x)"
        )
    x, y = as_batch(variant, x, y)
    with quietly(variant):
        values = kl_per_dimension(variant, x, y)
        total = elbo(variant, x, y, num_samples=10).kl.mean().item() if values is None else values.sum().item()
    active = active_units(variant, x, y, threshold=_ACTIVE).active
    what = f"KL({posterior_name(variant)} || prior)" if values is not None else "KL of all that is latent"
    title = f"{what}: {total:.2f} nats per datum, {active.sum()} of {len(active)} dimensions active"
    with styled():
        if values is None:
            return _total(total, title)
        return _bars(as_array(values), active, title)


def _bars(values: np.ndarray, active: np.ndarray, title: str) -> Figure:
    order = np.argsort(-values, kind="stable")
    size = len(values)
    figure = Figure(float(np.clip(0.45 * size + 1.5, 6.4, 8.2)), 3.2, title)
    axes = figure.subplots()
    colours = [FIRST if a else UNLABELLED for a in active[order]]
    bars = axes.bar(range(size), values[order], color=colours, width=0.8)
    if size <= 16:
        axes.bar_label(bars, [f"{v:.2g}" for v in values[order]], fontsize=7.5, padding=2)
    axes.axhline(_ACTIVE, color=SECOND, linewidth=1, linestyle="--")
    axes.set_yscale("symlog", linthresh=_ACTIVE, linscale=0.5)
    highest = max(values.max(), 10 * _ACTIVE)
    axes.set_ylim(min(0.0, values.min()), highest * 2.5)
    ticks = [0, *(10.0**k for k in range(-2, 5) if 10.0**k < highest * 2.5)]
    axes.set_yticks(ticks, [f"{t:g}" for t in ticks])
    axes.yaxis.set_minor_locator(NullLocator())
    step = -(-size // 24)
    axes.set_xticks(range(0, size, step), [f"$z_{{{d}}}$" for d in order[::step]])
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel("nats per datum (log above 0.01)")
    handles: list[Any] = [Patch(color=FIRST, label="active")]
    if not active.all():
        handles.append(Patch(color=UNLABELLED, label="not active"))
    handles.append(Line2D([], [], color=SECOND, linewidth=1, linestyle="--", label="0.01 nats"))
    axes.legend(handles=handles, loc="upper right", ncols=3)
    return figure


def _total(total: float, title: str) -> Figure:
    figure = Figure(6.8, 1.6, title)
    axes = figure.subplots()
    axes.barh([0], [total], color=FIRST, height=0.5)
    axes.set(yticks=[], ylim=(-0.5, 1.1), xlabel="nats per datum")
    axes.spines["left"].set_visible(False)
    axes.text(
        0.01 * total,
        0.55,
        "The total alone: the KL of this prior and posterior does not come dimension by dimension.",
        color=INK,
        fontsize=8.5,
    )
    axes.axvline(0, color=MUTED, linewidth=0.8)
    return figure

"""How good predictions of labels are: which classes are taken for which, how sure, how far off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from pyro_vae import evaluation
from pyro_vae.errors import DataError
from pyro_vae.evaluation.prediction import Calibration, Confusion, predicted_properties
from pyro_vae.plots.grids import shortened
from pyro_vae.plots.pictures import as_array
from pyro_vae.plots.quantities import quietly
from pyro_vae.plots.style import FIRST, INK, MUTED, SECOND, UNLABELLED, Figure, entitle, styled
from pyro_vae.variants.base import Variant

__all__ = ["confusion", "properties", "reliability"]

_COUNTED = 20
"""Up to so many classes are counted in figures."""

_PANELS = 12
"""Up to so many properties are shown."""


def confusion(
    variant: Variant | Confusion, x: Any = None, y: Any = None, *, class_names: Sequence[str] | None = None
) -> Figure:
    """Which classes are taken for which: counts of data, shaded by their share of the true class.

    Args:
        variant: any variant that predicts classes, or what :func:`pyro_vae.evaluation.confusion` found, without data.
        x: data (N, \\*shape), or a split.
        y: classes (N,), -1 where missing; those of the split if not given.
        class_names: one for each class.

    Raises:
        DataError: when data or labels do not fit, no label is known, or the variant predicts no classes.

    Example:
        >>> import torch
        >>> import pyro_vae as pv
        >>> from pyro_vae import labels, plots
        >>> classifier = pv.Discriminative(labels.Categorical(3), 5)
        >>> figure = plots.confusion(classifier, torch.randn(20, 5), torch.arange(20) % 3)
    """
    found = variant if isinstance(variant, Confusion) else _found(evaluation.confusion, variant, x, y)
    counts = found.counts.numpy()
    size = len(counts)
    names = [str(k) if class_names is None or k >= len(class_names) else shortened(class_names[k]) for k in range(size)]
    longest = max(map(len, names))
    right, n = int(np.trace(counts)), int(counts.sum())
    with styled():
        side = float(np.clip(0.36 * size, 2.2, 6.0))
        title = f"Accuracy {found.accuracy:.1%}: {right:,} of {n:,} classes predicted"
        below = 0.06 * longest if longest > 2 else 0
        figure = Figure(max(side + 0.7 + 0.07 * longest, 4.4), side + 0.9 + below, title)
        axes = figure.subplots()
        share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
        if size <= _COUNTED:
            for true, predicted in zip(*np.nonzero(counts), strict=True):
                colour = "white" if share[true, predicted] > 0.55 else INK
                text = f"{counts[true, predicted]:,}"
                axes.text(predicted, true, text, ha="center", va="center", color=colour, fontsize=7.5)
            axes.set_xticks(range(size), names, rotation=90 if longest > 2 else 0)
            axes.set_yticks(range(size), names)
        axes.set(xlabel="predicted", ylabel="true")
        axes.tick_params(length=0)
    return figure


def reliability(variant: Variant | Calibration, x: Any = None, y: Any = None, bins: int = 15) -> Figure:
    """How often predictions of a given confidence are right, and below how many there are of each confidence.

    A calibrated variant's bars end on the diagonal; bars below it are overconfident.

    Args:
        variant: any variant that predicts classes, or what :func:`pyro_vae.evaluation.calibration` found, without data.
        x: data (N, \\*shape), or a split.
        y: classes (N,), -1 where missing; those of the split if not given.
        bins: of confidence, of equal width; what was found has its own.

    Raises:
        DataError: when data or labels do not fit, no label is known, or the variant predicts no classes.

    Example:
        >>> import torch
        >>> import pyro_vae as pv
        >>> from pyro_vae import labels, plots
        >>> classifier = pv.Discriminative(labels.Categorical(3), 5)
        >>> figure = plots.reliability(classifier, torch.randn(20, 5), torch.arange(20) % 3)

    References:
        Guo, Pleiss, Sun & Weinberger, On Calibration of Modern Neural Networks, 2017, figure 4
        (https://arxiv.org/abs/1706.04599)
    """
    found = variant if isinstance(variant, Calibration) else _found(evaluation.calibration, variant, x, y, bins)
    bins = len(found.count)
    some = found.count.numpy() > 0
    left, width = found.edges[:-1].numpy()[some], 1 / bins
    accuracy, confidence = found.accuracy.numpy()[some], found.confidence.numpy()[some]
    n = int(found.count.sum())
    with styled():
        figure = Figure(4.6, 4.4, f"Expected calibration error {found.ece:.3f} over {n:,} data, {bins} bins")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        above.bar(left, accuracy, width, align="edge", color=FIRST, edgecolor="white", label="accuracy")
        above.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle="--", label="calibrated", zorder=2)
        above.plot(confidence, confidence, "o", color=SECOND, label="mean confidence", zorder=3)
        above.set(ylim=(0, 1.02), xlim=(0, 1), ylabel="share that is right")
        figure.legend(*above.get_legend_handles_labels(), loc="outside lower center", ncols=3)
        below.bar(left, found.count.numpy()[some], width, align="edge", color=UNLABELLED, edgecolor="white")
        below.set(xlabel="confidence: probability of the predicted class", ylabel="data")
        below.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    return figure


def properties(variant: Variant, x: Any, y: Any = None, *, names: Sequence[str] | None = None) -> Figure:
    """Predicted against true values of each property; good predictions lie on the diagonal.

    Of more than 12 properties those are shown that vary most.

    Args:
        variant: any variant that predicts properties.
        x: data (N, \\*shape), or a split.
        y: properties (N, P), NaN where missing; those of the split if not given.
        names: one for each property.

    Raises:
        DataError: when data or labels do not fit, no label is known, or the variant predicts no properties.

    Example:
        >>> import torch
        >>> import pyro_vae as pv
        >>> from pyro_vae import labels, plots
        >>> regressor = pv.Discriminative(labels.Normal(2), 5)
        >>> figure = plots.properties(regressor, torch.randn(20, 5), torch.randn(20, 2))
    """
    with quietly(variant):
        predicted, true = (as_array(values.flatten(1)) for values in predicted_properties(variant, x, y))
    size = true.shape[1]
    chosen = np.sort(np.argsort(-true.var(0), kind="stable")[:_PANELS])
    columns = min(3, len(chosen))
    rows = -(-len(chosen) // columns)
    with styled():
        side = 3.6 if size == 1 else 2.6
        title = f"Predictions of {size} {'properties' if size > 1 else 'property'} for {len(true):,} data"
        figure = Figure(max(side * columns + 0.4, 4.4), side * rows + 0.6, title)
        grid = figure.subplots(rows, columns, squeeze=False)
        for p, axes in zip(chosen, grid.flat, strict=False):
            error = np.abs(predicted[:, p] - true[:, p]).mean()
            name = f"property {p}" if names is None else shortened(names[p])
            what = "mean absolute error" if size == 1 else "mean error"
            entitle(axes, f"{what} {error:.3g}" if names is None and size == 1 else f"{name}: {what} {error:.3g}", 9)
            ends = [min(true[:, p].min(), predicted[:, p].min()), max(true[:, p].max(), predicted[:, p].max())]
            axes.plot(ends, ends, color=MUTED, linewidth=1, linestyle="--", zorder=2)
            dots = float(np.clip(6000 / len(true), 4, 22))
            axes.scatter(true[:, p], predicted[:, p], s=dots, color=FIRST, alpha=0.6, linewidths=0, zorder=3)
            axes.grid(True)
            axes.set_aspect("equal", adjustable="datalim")
            axes.set(xlabel="true", ylabel="predicted")
        for axes in grid.flat[len(chosen) :]:
            axes.set_axis_off()
    return figure


def _found(measure: Any, variant: Variant, x: Any, *arguments: Any) -> Any:
    """What a measure of :mod:`pyro_vae.evaluation` finds for data.

    Raises:
        DataError: when there are no data, or they do not fit.
    """
    if x is None:
        raise DataError("x: give data, or what evaluation found in the place of the variant")
    with quietly(variant):
        return measure(variant, x, *arguments)

"""How good systems are beside each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pyro_vae.plots.style import CLASSES, FIRST, MUTED, SECOND, Figure, styled

if TYPE_CHECKING:
    from pyro_vae.comparison import Comparison

__all__ = ["comparison"]


def comparison(found: Comparison) -> Figure:
    """Test accuracy of each system: a small dot for each seed, a large one for their mean.

    Args:
        found: what :func:`pyro_vae.comparison.compare` gave.

    Example:
        >>> from pyro_vae import plots
        >>> from pyro_vae.comparison import compare
        >>> figure = plots.comparison(compare("digits", labels=[100], systems=["pixels"], seeds=2))
    """
    systems, columns = found.systems(), found.columns()
    colours = [FIRST, SECOND] if len(columns) <= 2 else CLASSES
    step = min(0.16, 0.8 / len(columns))
    with styled():
        figure = Figure(7.0, 0.9 + max(0.42, 0.09 * len(columns)) * len(systems), "")
        axes = figure.subplots()
        for place, (data, labels) in enumerate(columns):
            shift = step * (place - (len(columns) - 1) / 2)
            colour = colours[place % len(colours)]
            label = f"{data}, {'all' if labels is None else labels} labels"
            for row, system in enumerate(systems):
                values = 100 * np.array(found.accuracies(system.name, data, labels))
                if not len(values):
                    continue
                height = np.full(len(values), row + shift)
                axes.plot(values, height, ".", color=colour, alpha=0.35, markersize=4)
                axes.plot(values.mean(), row + shift, "o", color=colour, markersize=6, label=label)
                label = ""  # once in the legend
        axes.set_yticks(range(len(systems)), [system.words for system in systems])
        axes.invert_yaxis()
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("accuracy on the test set, per cent")
        axes.grid(axis="x")
        figure.legend(loc="outside lower center", ncols=min(4, len(columns)))
        for row in range(1, len(systems)):
            axes.axhline(row - 0.5, color=MUTED, linewidth=0.3)
    return figure

"""The one look of all plots: colours, sizes, and a figure that shows itself in a notebook.

Neither pyplot nor matplotlib's global settings are touched: a figure is made and drawn in a context of its own.
"""

from __future__ import annotations

import io
from typing import Any

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure as MatplotlibFigure

__all__ = [
    "ACCENT",
    "CLASSES",
    "FIRST",
    "INK",
    "MUTED",
    "SECOND",
    "UNLABELLED",
    "Figure",
    "class_colours",
    "entitle",
    "styled",
]

CLASSES = (
    *("#3f90da", "#e69f00", "#72190e", "#92dadd", "#332288"),
    *("#ee6677", "#228833", "#ddcc77", "#b178a6", "#bd1f01"),
)
"""Colours of up to ten classes, chosen so that the closest two are far apart (CIELAB distance above 15) under
simulated protanopia, deuteranopia and tritanopia too (Machado et al. 2009); none is grey."""

FIRST, SECOND = "#0072B2", "#D55E00"
"""Training and validation; any two things that are compared."""

LINES = (FIRST, SECOND, "#228833", "#332288", "#e69f00", "#b178a6", "#72190e", "#92dadd", "#ddcc77", "#ee6677")
"""Things that are compared, in order: none of the first few is a shade of another."""

INK, MUTED, ACCENT, UNLABELLED = "#262626", "#8a8a8a", "#000000", "#c9c9c9"

_STYLE: dict[str, Any] = {
    "figure.dpi": 110,
    "figure.facecolor": "white",
    "figure.edgecolor": "white",
    "figure.titlesize": 11,
    "figure.titleweight": "normal",
    "savefig.dpi": "figure",
    "savefig.facecolor": "auto",
    "font.size": 9,
    "text.color": INK,
    "text.usetex": False,
    "axes.facecolor": "white",
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.labelsize": 9,
    "axes.titlesize": 10,
    "axes.titlecolor": INK,
    "axes.titleweight": "normal",
    "axes.titlepad": 5,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(color=LINES),
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "xtick.labelsize": 8,
    "xtick.major.size": 3,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 8,
    "ytick.major.size": 3,
    "lines.linewidth": 1.6,
    "lines.markersize": 3.5,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "image.cmap": "viridis",
    "image.interpolation": "nearest",
    "figure.constrained_layout.use": False,
}


def styled() -> Any:
    """A context in which everything made is in the style of this library."""
    return matplotlib.rc_context(_STYLE)  # type: ignore[arg-type]


class Figure(MatplotlibFigure):
    """A matplotlib figure that a notebook shows by itself, once, even where pyplot was never imported.

    Save it with ``figure.savefig(path)``.

    Args:
        width: in inches; a notebook shows 110 pixels an inch.
        height: in inches.
        title: above all panels.
    """

    def __init__(self, width: float, height: float, title: str = "") -> None:
        with styled():
            super().__init__(figsize=(width, height))
            self.set_layout_engine("constrained", w_pad=0.06, h_pad=0.06)
            if title:
                self.suptitle(title, x=0.01, ha="left")

    def add_subplot(self, *args: Any, **kwargs: Any) -> Any:
        """Axes in the style of this library, also where a user draws on them."""
        with styled():
            return super().add_subplot(*args, **kwargs)

    def draw(self, renderer: Any) -> None:
        """Draw on a renderer; matplotlib makes ticks only now, so the style must hold here too."""
        with styled():
            super().draw(renderer)

    def _repr_png_(self) -> bytes:
        with io.BytesIO() as file:
            self.savefig(file, format="png")
            return file.getvalue()


def entitle(axes: Axes, text: str, size: float = 10) -> None:
    """Put a title above a panel, flush left; it stays the panel's title, ``axes.get_title()``."""
    axes.set_title(text, loc="center", x=0.0, ha="left", fontsize=size)


def class_colours(classes: np.ndarray) -> tuple[np.ndarray, Colormap | None]:
    """Colours (K, 4) of the K classes present, and the continuous map they come from if they are too many.

    The colours of at most ten numbers 0 ... 9 are fixed by the number, so that a class keeps its colour in
    every plot, whichever other classes are there.

    Args:
        classes: (K,) different whole numbers of at least 0, sorted.
    """
    from matplotlib import colormaps
    from matplotlib.colors import to_rgba_array

    if not len(classes) or classes.max() < len(CLASSES):
        return to_rgba_array([CLASSES[c] for c in classes]).reshape(-1, 4), None
    if len(classes) <= len(CLASSES):
        return to_rgba_array(CLASSES[: len(classes)]), None
    cmap = colormaps["viridis"]
    return cmap(classes / classes.max()), cmap

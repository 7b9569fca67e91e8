"""Rows of data as pictures: images side by side, vectors as heat maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from pyro_vae.errors import ConfigurationError
from pyro_vae.plots.style import Figure, entitle, styled
from pyro_vae.variants.base import Variant

__all__ = ["check_names", "draw_heat", "draw_mosaic", "is_image", "limits", "mosaic", "shortened", "show"]

_NAMED = 40
"""Up to so many features are named one by one."""


def is_image(shape: Sequence[int]) -> bool:
    """Whether data of this event shape are images; vectors are not.

    Raises:
        ConfigurationError: for shapes that are neither.
    """
    if len(shape) == 1:
        return False
    if len(shape) == 2 or (len(shape) == 3 and shape[0] in (1, 3)):
        return True
    raise ConfigurationError(
        f"data of shape {tuple(shape)} cannot be drawn: images have shape (1, H, W) or (3, H, W), vectors (D,)"
    )


def limits(variant: Variant, values: np.ndarray) -> tuple[float, float]:
    """What is drawn darkest and brightest: the ends of the likelihood's support, else of the values.

    Real-valued pixels that keep to about [0, 1] are taken to be meant for it.
    """
    support: Any = variant.likelihood.support
    ends: list[Any] = [getattr(support, name, None) for name in ("lower_bound", "upper_bound")]
    if is_image(variant.likelihood.shape):
        if all(end is not None for end in ends):
            return float(ends[0]), float(ends[1])
        most = np.nanquantile(values, [0.02, 0.98])  # a decoder goes astray at odd codes
        if most[0] > -0.5 and most[1] < 1.5:
            return 0.0, 1.0
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def mosaic(images: np.ndarray, gap: int, ends: tuple[float, float]) -> np.ndarray:
    """Images (R, C, \\*shape) as one: (H', W') with NaN between them if grey, (H', W', 3) in [0, 1] if in colour."""
    if images.ndim == 4:
        images = images[:, :, None]
    rows, columns, channels, height, width = images.shape
    if channels == 3:
        images, background = ((images - ends[0]) / (ends[1] - ends[0])).clip(0, 1), 1.0
    else:
        background = np.nan
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, channels), background)
    for row in range(rows):
        for column in range(columns):
            top, left = row * (height + gap), column * (width + gap)
            sheet[top : top + height, left : left + width] = np.moveaxis(images[row, column], 0, -1)
    return sheet if channels == 3 else sheet[..., 0]


def draw_mosaic(axes: Axes, images: np.ndarray, ends: tuple[float, float], gap: int | None = None) -> tuple[Any, Any]:
    """Draw images (R, C, \\*shape); returns where on the axes the middles of rows and of columns are."""
    height, width = images.shape[-2:]
    gap = max(1, round(height / 12)) if gap is None else gap
    axes.imshow(mosaic(images, gap, ends), cmap="gray", vmin=ends[0], vmax=ends[1], interpolation="auto")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    rows, columns = images.shape[:2]
    axes.set(xticks=[], yticks=[])
    return (
        np.arange(rows) * (height + gap) + (height - 1) / 2,
        np.arange(columns) * (width + gap) + (width - 1) / 2,
    )


def check_names(variant: Variant, names: Sequence[str] | None) -> None:
    """Check that there is one name for each feature.

    Raises:
        ConfigurationError: when there is not, or the data are images.
    """
    if names is None:
        return
    shape = variant.likelihood.shape
    if is_image(shape) or len(names) != shape[0]:
        raise ConfigurationError(
            f"feature_names names the {len(names)} features of a vector, but data here have shape {shape}"
        )


def shortened(name: str) -> str:
    """A name of at most 20 characters."""
    return name if len(name) <= 20 else f"{name[:19]}…"


def draw_heat(axes: Axes, values: np.ndarray, ends: tuple[float, float], names: Sequence[str] | None) -> Any:
    """Draw vectors (N, D) as a heat map; diverging, with white at 0, where the values have both signs."""
    low, high = ends
    if low < 0 < high:
        high = max(-low, high)
        low = -high
    cmap = "RdBu_r" if low == -high else "viridis"
    image = axes.imshow(values, cmap=cmap, vmin=low, vmax=high, aspect="auto", interpolation="nearest")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    size = values.shape[1]
    if names is not None and size <= _NAMED:
        axes.set_xticks(range(size), [shortened(name) for name in names], rotation=90 if size > 6 else 0)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(min(size, 12), integer=True))
        axes.set_xlabel("feature")
    return image


def show(
    variant: Variant,
    data: np.ndarray,
    title: str,
    *,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    names: Sequence[str] | None = None,
) -> Figure:
    """Data (R, C, \\*shape): images in R rows, vectors as R heat maps of C lines each.

    Args:
        variant: whose data they are.
        data: (R, C, \\*shape).
        title: of the figure.
        rows: R labels, or none.
        columns: C labels (empty where none is wanted), or none.
        names: of features.
    """
    check_names(variant, names)
    ends = limits(variant, data)
    draw = _images if is_image(variant.likelihood.shape) else _vectors
    with styled():
        return draw(data, title, rows, columns, names, ends)


def show_images(data: np.ndarray, title: str, ends: tuple[float, float]) -> Figure:
    """Images (R, C, \\*shape), whoever made them; values from ``ends[0]``, darkest, to ``ends[1]``."""
    with styled():
        return _images(data, title, (), (), None, ends)


def _images(data: np.ndarray, title: str, rows: Any, columns: Any, names: Any, ends: tuple[float, float]) -> Figure:
    count = data.shape[:2]
    height, width = data.shape[-2:]
    # 7 inches wide, unless few images would then become huge
    cell = min(6.6 / count[1], 0.95, 9 / (count[0] * height / width))
    margin = 0.1 + 0.075 * max((len(label) for row in rows for label in row.split("\n")), default=0)
    size = (max(cell * count[1] + margin, 3.0), cell * height / width * count[0] + 0.35 + 0.2 * bool(columns))
    figure = Figure(*size, title)
    axes = figure.subplots()
    y, x = draw_mosaic(axes, data, ends)
    if rows:
        axes.set_yticks(y, rows)
    if columns:
        marked = [i for i, label in enumerate(columns) if label]
        axes.set_xticks(x[marked], [columns[i] for i in marked])
    return figure


def _vectors(data: np.ndarray, title: str, rows: Any, columns: Any, names: Any, ends: tuple[float, float]) -> Figure:
    panels, lines, size = data.shape
    named = names is not None and size <= _NAMED
    below = 0.065 * max(len(shortened(name)) for name in names) + 0.25 if named and size > 6 else 0.5
    each = min(max(0.14 * min(lines, 15), 0.55) + 0.05 * max(lines - 15, 0), 4.5)
    figure = Figure(7.0, panels * (each + 0.28 * bool(rows)) + below + 0.4, title)
    all_axes = figure.subplots(panels, 1, sharex=True, squeeze=False)[:, 0]
    for axes, values, label in zip(all_axes, data, rows or [""] * panels, strict=True):
        image = draw_heat(axes, values, ends, names)
        entitle(axes, label.replace("\n", ": "), 9)
        marked = [i for i, text in enumerate(columns) if text]
        if marked:
            axes.set_yticks(marked, [columns[i] for i in marked])
        else:
            axes.set_yticks([])
        axes.label_outer()
    bar = figure.colorbar(image, ax=list(all_axes), label="value", fraction=0.03, pad=0.02, aspect=30)
    bar.outline.set_visible(False)
    return figure

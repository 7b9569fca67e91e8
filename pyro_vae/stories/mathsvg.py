"""Formulas as inline SVG, drawn by matplotlib's mathtext: no TeX, no network, no script."""

from __future__ import annotations

import functools
import html

__all__ = ["formula_svg"]


@functools.lru_cache(maxsize=512)
def formula_svg(latex: str, size: float = 17.0) -> str:
    r"""A formula as an ``<svg>`` element that stands on the line of the text around it.

    It takes the text's colour, light or dark, and carries its LaTeX source as title and label.

    Args:
        latex: the formula without dollar signs.
        size: font size in pixels.

    Raises:
        ValueError: when mathtext cannot parse the formula.

    Example:
        >>> formula_svg(r"z \sim \mathcal{N}(0, I_8)")[:18]
        '<svg xmlns="http:/'
    """
    from matplotlib.font_manager import FontProperties
    from matplotlib.path import Path
    from matplotlib.textpath import TextPath

    font = FontProperties(family="STIXGeneral", math_fontfamily="stix")
    path = TextPath((0, 0), f"${latex}$", size=size, prop=font)
    box = path.get_extents()
    # a line of its own height, unless the formula needs more
    top, bottom = max(box.y1, 0.8 * size) + 1, min(box.y0, -0.25 * size) - 1
    letters = {Path.MOVETO: "M", Path.LINETO: "L", Path.CURVE3: "Q", Path.CURVE4: "C", Path.CLOSEPOLY: "Z"}
    steps = []
    for points, code in path.iter_segments(simplify=False):
        if code == Path.CLOSEPOLY:
            steps.append("Z")
            continue
        numbers = " ".join(
            f"{x - box.x0 + 1:.2f} {top - y:.2f}" for x, y in zip(points[::2], points[1::2], strict=True)
        )
        steps.append(letters[code] + numbers)
    width, height = box.x1 - box.x0 + 2, top - bottom
    label = html.escape(latex, quote=True)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{label}" width="{width:.2f}" '
        f'height="{height:.2f}" viewBox="0 0 {width:.2f} {height:.2f}" '
        f'style="vertical-align:{bottom:.2f}px;overflow:visible">'
        f'<title>{label}</title><path fill="currentColor" d="{"".join(steps)}"/></svg>'
    )

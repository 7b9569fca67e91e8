"""What graphical models are drawn with: nodes, arrows and names, as SVG."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Sequence

from pyro_vae.stories.layout import Point, control

__all__ = ["RADIUS", "arrow", "bounds", "box", "factor_node", "markup", "named_node", "text_width"]

RADIUS = 22.0


def factor_node(position: Point, name: str, low: bool) -> str:
    """A small black square with its name below or above."""
    x, y = position
    return (
        f'<rect class="factor" x="{x - 6:.1f}" y="{y - 6:.1f}" width="12" height="12"/>'
        f'<text class="small" x="{x:.1f}" y="{y + (20 if low else -12):.1f}" text-anchor="middle">{markup(name)}</text>'
    )


def named_node(position: Point, radius: float, kind: str, name: str, ring: bool) -> str:
    """A variable.

    Args:
        position: of its middle.
        radius: half its width.
        kind: ``latent``, ``observed``, ``half`` for what is observed in some data only, ``given`` for an input.
        name: shown inside.
        ring: whether it has a second outline, as a value without uncertainty has.
    """
    x, y = position
    shade = {"latent": "", "half": " half"}.get(kind, " observed")
    if kind == "given":
        shape = (
            f'<rect class="node{shade} given" x="{x - radius:.1f}" y="{y - RADIUS:.1f}" '
            f'width="{2 * radius:.1f}" height="{2 * RADIUS:.1f}" rx="5"/>'
        )
    else:
        shape = f'<ellipse class="node{shade}" cx="{x:.1f}" cy="{y:.1f}" rx="{radius:.1f}" ry="{RADIUS:.1f}"/>'
    if kind == "half":
        # white paper below the half that is not shaded: a plate's frame must not shine through
        below = f'<ellipse cx="{x:.1f}" cy="{y:.1f}" rx="{radius:.1f}" ry="{RADIUS:.1f}" fill="#fff"/>'
        arc = f"A{radius:.1f} {RADIUS:.1f} 0 0 0 {x:.1f} {y + RADIUS:.1f}"
        shape = f'{below}<path class="shade" d="M{x:.1f} {y - RADIUS:.1f}{arc}z"/>{shape}'
    if ring:
        inner = f'rx="{radius - 4:.1f}" ry="{RADIUS - 4:.1f}"'
        shape += f'<ellipse class="node{shade}" cx="{x:.1f}" cy="{y:.1f}" {inner}/>'
    style = ' font-style="italic"' if len(re.sub(r"\W|\d|[₀-₉]", "", name)) == 1 else ""
    place = f'x="{x:.1f}" y="{y + 6:.1f}" font-size="19" text-anchor="middle"'
    return f"{shape}<text {place}{style}>{markup(name)}</text>"


def text_width(text: str, size: float) -> float:
    """About how wide a text is."""
    narrow = sum(character in "₀₁₂₃₄₅₆₇₈₉ₖⱼᵢ⁰¹²³⁴⁵⁶⁷⁸⁹ᵀᴷ,.()|ilIjtf " for character in text)
    return size * (0.56 * (len(text) - narrow) + 0.36 * narrow)


def box(position: Point, radius: float) -> tuple[Point, Point]:
    """Two corners of what a node covers."""
    (x, y) = position
    return (x - radius, y - RADIUS), (x + radius, y + RADIUS)


def bounds(points: Sequence[Point]) -> tuple[Point, Point]:
    """Two corners of what points cover."""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return (min(xs), min(ys)), (max(xs), max(ys))


def arrow(start: Point, end: Point, bulge: float, start_radius: float, end_radius: float, head: bool = True) -> str:
    """From rim to rim, with its head, if any, just outside the node."""
    middle = control(start, end, bulge)
    (x0, y0), (x1, y1) = _rim(start, middle, start_radius, 0), _rim(end, middle, end_radius, 2)
    way = f"L{x1:.1f} {y1:.1f}" if not bulge else f"Q{middle[0]:.1f} {middle[1]:.1f} {x1:.1f} {y1:.1f}"
    marker = ' marker-end="url(#pv-arrow)"' if head else ""
    return f'<path class="edge" d="M{x0:.1f} {y0:.1f}{way}"{marker}/>'


def _rim(centre: Point, towards: Point, radius: float, space: float) -> Point:
    dx, dy = towards[0] - centre[0], towards[1] - centre[1]
    length = math.hypot(dx, dy) or 1.0
    dx, dy = dx / length, dy / length
    # where the ray leaves the ellipse
    reach = 1 / math.hypot(dx / radius, dy / min(radius, RADIUS)) + space
    return centre[0] + dx * reach, centre[1] + dy * reach


def markup(text: str) -> str:
    """Text for SVG, with the subscripts that unicode has no letters for set low and small."""
    parts = re.split(r"_([^\W\d₀-₉²]+)", text)
    marked, low = "", False
    for i, part in enumerate(parts):
        if i % 2:
            marked += f'<tspan dy="4" font-size="72%">{html.escape(part)}</tspan>'
        elif part:
            marked += f'<tspan dy="-4">{html.escape(part)}</tspan>' if low else html.escape(part)
        low = bool(i % 2)
    return marked

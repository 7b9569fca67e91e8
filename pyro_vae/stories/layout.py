"""Where the nodes of a graphical model stand, and how its arrows get around them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Point", "curve", "place", "place_beside", "route"]

Point = tuple[float, float]

_MAX_ORDERINGS = 720


def place(parents: Mapping[str, Sequence[str]], groups: Mapping[str, object], gap: Point) -> dict[str, Point]:
    """Positions in layers: every node below all its parents, groups (plates) side by side.

    Args:
        parents: of each node, in an order that parents come first in.
        groups: nodes of the same group share columns that no other group's nodes stand in.
        gap: between columns and between layers.

    Example:
        >>> place({"z": [], "y": [], "x": ["z", "y"]}, {"z": 0, "y": 0, "x": 0}, (2.0, 1.0))
        {'z': (-1.0, 0.0), 'y': (1.0, 0.0), 'x': (0.0, 1.0)}
    """
    layer: dict[str, int] = {}
    for node, above in parents.items():
        layer[node] = 1 + max((layer[parent] for parent in above if parent in layer), default=-1)
    positions: dict[str, Point] = {}
    left = 0.0
    for group in dict.fromkeys(groups[node] for node in parents):
        members = [node for node in parents if groups[node] == group]
        rows = [[node for node in members if layer[node] == depth] for depth in sorted({layer[n] for n in members})]
        width = gap[0] * (max(map(len, rows)) - 1)
        for row in rows:
            start = left + (width - gap[0] * (len(row) - 1)) / 2
            slots = [start + gap[0] * i for i in range(len(row))]
            for node, slot in zip(_ordered(row, slots, parents, positions), slots, strict=True):
                positions[node] = slot, gap[1] * layer[node]
        left += width + 1.6 * gap[0]
    middle = (min(x for x, _ in positions.values()) + max(x for x, _ in positions.values())) / 2
    return {node: (positions[node][0] - middle, positions[node][1]) for node in parents}


def place_beside(
    parents: Mapping[str, Sequence[str]], edges: Iterable[tuple[str, str]], positions: Mapping[str, Point], gap: Point
) -> dict[str, Point]:
    """Positions of more nodes, each on a free place near the nodes that it is joined to.

    Args:
        parents: what each of the new nodes is joined to.
        edges: arrows that are there already, which the new lines had better not cross.
        positions: of the nodes that are there already.
        gap: between columns and between layers.

    Example:
        >>> place_beside({"f": ["y", "x"]}, [], {"y": (0.0, 0.0), "x": (0.0, 1.0)}, (1.0, 1.0))
        {'f': (-1.0, 0.0)}
    """
    found: dict[str, Point] = {}
    lines = [(positions[a], positions[b]) for a, b in edges if a in positions and b in positions]
    steps = list(itertools.product((-1, 0, 1), (0, 1, -1)))
    for node, joined in parents.items():
        taken = {**positions, **found}
        ends = [taken[name] for name in joined if name in taken] or list(taken.values())[:1] or [(0.0, 0.0)]
        places = [(x + i * gap[0], y + j * gap[1]) for x, y in ends for i, j in steps]
        costs = [_crowding(place, ends, list(taken.values()), lines, gap) for place in places]
        found[node] = places[costs.index(min(costs))]
        lines += [(end, found[node]) for end in ends]
    return found


def _crowding(
    place: Point, ends: list[Point], taken: list[Point], lines: list[tuple[Point, Point]], gap: Point
) -> float:
    """How bad a place is for a node with straight lines to ``ends``: far from them, in the way, crossing lines."""
    # a row of its own costs paper
    total = 0.2 * all(abs(place[1] - other[1]) > 1e-6 for other in taken)
    near = min((math.dist(place, other) for other in taken), default=gap[0])
    total += sum(math.dist(place, end) for end in ends) / gap[0] + 100 * (near < 0.9 * min(gap))
    for end in ends:
        way = curve(place, end, 0.0)
        total += sum(_cross(way, curve(*line, 0.0)) for line in lines)
        others = (other for other in taken if other != end)
        total += sum(min(math.dist(other, point) for point in way) < 0.35 * min(gap) for other in others)
    return round(total, 6)


def _ordered(
    row: list[str], slots: list[float], parents: Mapping[str, Sequence[str]], positions: Mapping[str, Point]
) -> list[str]:
    """The order of a layer that keeps its arrows shortest; the program's order among equals."""

    def length(order: Iterable[str]) -> float:
        return sum(
            abs(slot - positions[parent][0])
            for node, slot in zip(order, slots, strict=True)
            for parent in parents[node]
            if parent in positions
        )

    orders = itertools.islice(itertools.permutations(row), _MAX_ORDERINGS)
    return list(min(orders, key=lambda order: round(length(order), 6)))


def curve(start: Point, end: Point, bulge: float, steps: int = 24) -> list[Point]:
    """Points of the quadratic curve whose middle lies ``bulge`` to the side of the straight line."""
    (x0, y0), (x1, y1) = start, end
    cx, cy = control(start, end, bulge)
    points = []
    for i in range(steps + 1):
        t = i / steps
        a, b, c = (1 - t) ** 2, 2 * t * (1 - t), t * t
        points.append((a * x0 + b * cx + c * x1, a * y0 + b * cy + c * y1))
    return points


def control(start: Point, end: Point, bulge: float) -> Point:
    """The control point of that curve."""
    (x0, y0), (x1, y1) = start, end
    length = math.hypot(x1 - x0, y1 - y0) or 1.0
    # twice the bulge, because a quadratic curve goes half way to its control point
    return (
        (x0 + x1) / 2 + 2 * bulge * (y1 - y0) / length,
        (y0 + y1) / 2 - 2 * bulge * (x1 - x0) / length,
    )


def route(
    edges: Sequence[tuple[str, str]], positions: Mapping[str, Point], clearance: float
) -> dict[tuple[str, str], float]:
    """For each arrow the bulge with which it passes all other nodes and crosses the fewest arrows.

    Example:
        >>> column = {"a": (0.0, 0.0), "b": (0.0, 1.0), "c": (0.0, 2.0)}
        >>> bulges = route([("a", "b"), ("b", "c"), ("a", "c")], column, clearance=0.4)
        >>> bulges["a", "b"], abs(bulges["a", "c"]) >= 0.4
        (0.0, True)
    """
    chosen: dict[tuple[str, str], float] = {}
    drawn: list[list[Point]] = []
    # straight arrows between neighbours first: the long ones have to go round them
    for edge in sorted(edges, key=lambda e: math.dist(positions[e[0]], positions[e[1]])):
        start, end = positions[edge[0]], positions[edge[1]]

        def cost(bulge: float, edge: tuple[str, str] = edge, start: Point = start, end: Point = end) -> float:
            points = curve(start, end, bulge)
            total = abs(bulge) / clearance
            for node, position in positions.items():
                if node not in edge and min(math.dist(position, point) for point in points) < clearance:
                    total += 100
            return total + 10 * sum(_cross(points, other) for other in drawn)

        steps = [clearance * step / 4 for step in range(17)]
        candidates = [0.0, *(sign * step for step in steps[1:] for sign in (1, -1))]
        chosen[edge] = min(candidates, key=cost)
        drawn.append(curve(start, end, chosen[edge]))
    return chosen


def _cross(one: list[Point], other: list[Point]) -> bool:
    # the ends are left out: arrows that share a node meet there
    def segments(points: list[Point]) -> list[tuple[Point, Point]]:
        inner = points[3:-3:3]
        return list(itertools.pairwise(inner))

    def side(a: Point, b: Point, c: Point) -> float:
        return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])

    return any(
        side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0
        for a, b in segments(one)
        for c, d in segments(other)
    )

"""The graphical models of model and guide as one SVG drawing, made of nothing but text."""

from __future__ import annotations

import html
import os
from pathlib import Path
from typing import NamedTuple

from pyro_vae.stories.formulas import families, guide_density, joint_density
from pyro_vae.stories.layout import Point, curve, place, place_beside, route
from pyro_vae.stories.shapes import RADIUS, arrow, bounds, box, factor_node, markup, named_node, text_width
from pyro_vae.stories.structure import Plate, Site, Structure
from pyro_vae.stories.symbols import symbol, to_text

__all__ = ["Diagram"]

_GAP = (92.0, 92.0)
_PAD = 16.0
_STYLE = """
.pv text{font-family:"STIX Two Text","Latin Modern Roman",Cambria,"Times New Roman",serif;fill:#1b1f24}
.pv .edge{fill:none;stroke:#1b1f24;stroke-width:1.4}
.pv .guide .edge{stroke-dasharray:5 4}
.pv .node{fill:#fff;stroke:#1b1f24;stroke-width:1.4}
.pv .observed{fill:#cfd6de}
.pv .half{fill:none}
.pv .shade{fill:#cfd6de}
.pv .factor{fill:#1b1f24;stroke:#1b1f24}
.pv .plate{fill:none;stroke:#6b7683;stroke-width:1.1}
.pv .small{font-size:12px;fill:#57606a}
.pv .families{font-size:14px}
.pv .title{font-size:16px}
"""


class _Panel(NamedTuple):
    """One of the two drawings, as SVG with the place it needs."""

    body: str
    left: float
    top: float
    right: float
    bottom: float


class Diagram:
    """Model and guide side by side: plates, observed nodes shaded, latent nodes white, the guide's arrows dashed.

    Example:
        >>> import pyro_vae as pv
        >>> from pyro_vae import likelihoods, priors
        >>> diagram = pv.story(pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(5))).diagram()
        >>> diagram.edges
        {'model': [('z', 'x')], 'guide': [('x', 'z')]}
    """

    def __init__(self, structure: Structure) -> None:
        self.structure = structure
        self.nodes, self.edges = {}, {}
        for side, sites in (("model", structure.model), ("guide", structure.guide)):
            self.edges[side] = [(parent, site.name) for site in sites.values() for parent in site.parents]
            ends = [node for edge in self.edges[side] for node in edge]
            self.nodes[side] = list(dict.fromkeys([*sites, *ends]))

    @property
    def svg(self) -> str:
        """The drawing as an ``<svg>`` element, also a whole file."""
        positions = self._positions()
        sides = [side for side in ("model", "guide") if self.nodes[side]]
        panels = {side: self._panel(side, positions) for side in sides}
        top = min(panel.top for panel in panels.values())
        drawn = sum(panel.right - panel.left for panel in panels.values())
        height = max(panel.bottom for panel in panels.values()) - top + 22
        legend = self._legend()
        width = max(drawn + 72, text_width(legend, 12) + 40)
        body, x = "", 0.0
        slack = (width - drawn) / (len(panels) + 1)
        for side, panel in panels.items():
            x += slack
            body += f'<g class="{side}" transform="translate({x - panel.left:.1f} {-top:.1f})">{panel.body}</g>'
            x += panel.right - panel.left
        body += f'<text class="small" x="{width / 2:.1f}" y="{height - 8:.1f}" text-anchor="middle">{legend}</text>'
        label = html.escape(f"Graphical model: {to_text(joint_density(self.structure))}", quote=True)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="pv" role="img" aria-label="{label}" '
            f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.1f} {height:.1f}" '
            f'style="max-width:100%;height:auto"><title>{label}</title><style>{_STYLE}</style>'
            '<defs><marker id="pv-arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" '
            'orient="auto-start-reverse"><path d="M0 1 L10 5 L0 9 z" fill="#1b1f24"/></marker></defs>'
            # its own paper: ink on white reads well on light pages and on dark ones
            f'<rect width="{width:.1f}" height="{height:.1f}" rx="8" fill="#fff"/>{body}</svg>'
        )

    def _legend(self) -> str:
        structure, said = self.structure, ["shaded: observed"]
        if partly := structure.partly_known:
            said.append(f"half shaded: observed where {'it is' if len(partly) == 1 else 'they are'} known")
        if structure.given:
            said.append("square: given, without a story")
        if structure.latents or partly:
            said.append("white: latent")
        if structure.guide:
            said.append("dashed: the guide")
        if any(site.family.point for site in structure.guide.values()):
            said.append("double ring: without uncertainty")
        if structure.factors:
            said.append("black square: a factor")
        return " · ".join(said)

    def _repr_svg_(self) -> str:
        return self.svg

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the drawing to a ``.svg`` file.

        Raises:
            ValueError: for a path that does not end in ``.svg``.
            OSError: when the file cannot be written.
        """
        if not str(path).endswith(".svg"):
            raise ValueError(f"a diagram is saved as .svg, got {str(path)!r}")
        Path(path).write_text(self.svg, encoding="utf-8")

    # -- drawing

    def _plates(self, node: str) -> tuple[Plate, ...]:
        for sites in (self.structure.model, self.structure.guide):
            if node in sites:
                return sites[node].plates
        # an input stands where those that read it stand
        readers = [
            site.plates
            for site in [*self.structure.model.values(), *self.structure.guide.values()]
            if node in site.parents
        ]
        return min(readers, key=len, default=())

    def _positions(self) -> dict[str, Point]:
        """Both drawings put a node at the same place, so that the eye finds it again."""
        parents: dict[str, list[str]] = {node: [] for node in self.structure.given}
        parents |= {name: list(site.parents) for name, site in self.structure.model.items()}
        for name, site in self.structure.guide.items():
            if name not in parents and not site.family.factor:
                parents[name] = [parent for parent in site.parents if parent not in self.structure.model]
        groups = {node: self._plates(node)[:1] for node in parents}
        # long names make wide nodes
        across = max([_GAP[0], *(2 * self._radius(node) + 44 for node in parents)])
        positions = place(parents, groups, (across, _GAP[1])) if parents else {}
        factors = {site.name: site.parents for site in self.structure.factors if site.name not in parents}
        return positions | place_beside(factors, self.edges["guide"], positions, (across, _GAP[1]))

    def _radius(self, node: str) -> float:
        site = self._site(node)
        if site is not None and site.family.factor:
            return 9.0
        return max(RADIUS, self._label_width(node) / 2 + 9)

    def _label_width(self, node: str) -> float:
        return text_width(to_text(symbol(node)), 19)

    def _site(self, node: str) -> Site | None:
        return self.structure.model.get(node) or self.structure.guide.get(node)

    def _panel(self, side: str, everywhere: dict[str, Point]) -> _Panel:
        sites = getattr(self.structure, side)
        nodes, edges = self.nodes[side], self.edges[side]
        positions = {node: everywhere[node] for node in nodes}
        radii = {node: self._radius(node) for node in nodes}
        bulges = route(edges, positions, clearance=1.35 * RADIUS)
        boxes = {node: box(positions[node], max(radii[node], self._label_width(node) / 2)) for node in nodes}

        plates = {plate.name: plate for node in nodes for plate in self._plates(node)}
        rectangles: list[tuple[str, tuple[Point, Point]]] = []
        # the innermost plate first: the others go round it
        inside = {name: [n for n in nodes if name in {p.name for p in self._plates(n)}] for name in plates}
        for name in sorted(plates, key=lambda name: len(inside[name])):
            points = [corner for node in inside[name] for corner in boxes[node]]
            for edge in edges:
                if set(edge) <= set(inside[name]):
                    points += curve(positions[edge[0]], positions[edge[1]], bulges[edge])
            points += [c for n, rectangle in rectangles if set(inside[n]) <= set(inside[name]) for c in rectangle]
            (left, top), (right, bottom) = bounds(points)
            label = self._plate_label(plates[name])
            short = text_width(label, 12) + 16 - (right - left + 2 * _PAD)
            spread = max(short, 0) / 2
            rectangles.append((name, ((left - _PAD - spread, top - _PAD), (right + _PAD + spread, bottom + _PAD + 14))))
        body = ""
        for name, ((left, top), (right, bottom)) in reversed(rectangles):
            body += (
                f'<rect class="plate" x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" '
                f'height="{bottom - top:.1f}" rx="10"/><text class="small" x="{right - 9:.1f}" y="{bottom - 8:.1f}" '
                f'text-anchor="end">{html.escape(self._plate_label(plates[name]))}</text>'
            )
        for edge in edges:
            site = self._site(edge[1])
            ends = positions[edge[0]], positions[edge[1]], bulges[edge], radii[edge[0]], radii[edge[1]]
            # a factor is no variable: lines join it to what it depends on
            body += arrow(*ends, head=site is None or not site.family.factor)
        body += "".join(self._node(node, side, everywhere, radii[node]) for node in nodes)

        corners = [c for box in boxes.values() for c in box] + [c for _, r in rectangles for c in r]
        corners += [p for edge in edges for p in curve(positions[edge[0]], positions[edge[1]], bulges[edge])]
        (left, top), (right, bottom) = bounds(corners or [(0.0, 0.0)])
        density = joint_density(self.structure) if side == "model" else guide_density(self.structure)
        title = to_text(density)
        lines = [f"{to_text(line.left)} ~ {to_text(line.family)}" for line in families(sites.values(), side == "model")]
        middle = (left + right) / 2
        widest = max([text_width(title, 16) + 50, *(text_width(line, 14) for line in lines)])
        left, right = min(left, middle - widest / 2), max(right, middle + widest / 2)
        body += (
            f'<text class="title" x="{middle:.1f}" y="{top - 18:.1f}" text-anchor="middle">'
            f'<tspan class="small">{side}</tspan><tspan dx="9">{markup(title)}</tspan></text>'
        )
        # below the deeper of the two drawings, so that both lists start on one line
        depth = max(y for _, y in everywhere.values()) + RADIUS + _PAD + 14
        start = max(bottom, depth) + 22
        for i, line in enumerate(lines):
            body += (
                f'<text class="families" x="{middle:.1f}" y="{start + 20 * i:.1f}" '
                f'text-anchor="middle">{markup(line)}</text>'
            )
        return _Panel(body, left, top - 44, right, start + 20 * len(lines))

    def _plate_label(self, plate: Plate) -> str:
        return f"{plate.name}: {'N' if plate.over_data else plate.size}"

    def _node(self, node: str, side: str, everywhere: dict[str, Point], radius: float) -> str:
        position = everywhere[node]
        site = self._site(node)
        if site is not None and site.family.factor:
            above = [everywhere[parent][1] for parent in site.parents if parent in everywhere]
            # the name stands on the side that its lines do not come from
            low = not above or sum(above) / len(above) <= position[1]
            return factor_node(position, to_text(symbol(node)), low)
        own = getattr(self.structure, side).get(node)
        ring = own is not None and own.family.point
        kind = "latent"
        if site is None:
            kind = "given"
        elif node in self.structure.partly_known:
            kind = "half"
        elif site.observed:
            kind = "observed"
        return named_node(position, radius, kind, to_text(symbol(node)), ring)

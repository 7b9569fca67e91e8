"""Factorisation and families as LaTeX."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import NamedTuple

from pyro_vae.stories.structure import Plate, Site, Structure
from pyro_vae.stories.symbols import conditional, joined, space, symbol

__all__ = ["FamilyLine", "factorisations", "families", "family_latex", "guide_density", "joint_density"]

_SYMBOLS = {"loc": r"\mu", "scale": r"\sigma", "probs": r"\pi", "logits": r"\ell", "rate": r"\lambda"}


class FamilyLine(NamedTuple):
    """One line of the table of families, each entry LaTeX: ``z``, its family, the set that it lies in."""

    left: str
    family: str
    space: str | None

    @property
    def latex(self) -> str:
        """The line as one formula."""
        inside = rf",\quad {self.left.split(' ')[0]} \in {self.space}" if self.space else ""
        return rf"{self.left} \sim {self.family}{inside}"


def joint_density(structure: Structure) -> str:
    """p(x, z), given what no site explains."""
    return _density("p", _distributions(structure.model.values()), structure.given)


def guide_density(structure: Structure, without: Collection[str] = ()) -> str:
    """q(z | x), or nothing where nothing is latent.

    Args:
        structure: of the programs.
        without: sites to condition on, such as y in q(z | x, y).
    """
    sites = [site for site in _distributions(structure.guide.values()) if site.name not in without]
    read = {name for name in without if any(name in site.parents for site in sites)} | structure.read
    return _density("q", sites, read) if sites else ""


def factorisations(structure: Structure) -> tuple[str, str]:
    """p(x, z) = p(z) p(x | z) and the same for the guide, as LaTeX; nothing for a guide that proposes nothing.

    Factors of sites in a plate that not all sites share come with a product sign.
    """
    sides = []
    for letter, sites, left in (
        ("p", _distributions(structure.model.values()), joint_density(structure)),
        ("q", _distributions(structure.guide.values()), guide_density(structure)),
    ):
        right = _product(letter, sites)
        sides.append(left if right == left else f"{left} = {right}")
    return sides[0], sides[1]


def families(sites: Iterable[Site], in_model: bool) -> list[FamilyLine]:
    """Each site's family and size."""
    return [
        FamilyLine(
            rf"{symbol(site.name)} \mid {joined(site.parents)}" if site.parents else symbol(site.name),
            family_latex(site, in_model),
            space(site.family.support, site.family.event_shape),
        )
        for site in _distributions(sites)
    ]


def family_latex(site: Site, in_model: bool) -> str:
    r"""A site's family as LaTeX.

    Parts write what a network computes as ``f_\theta(z)`` or ``\mu_\phi(x)``; what it really reads, and whether
    its weights are the model's or the guide's, is filled in here.
    """
    weights = r"\theta" if in_model else r"\phi"
    if site.part is None:
        return _described(site, weights)
    latex = site.part.latex()
    inputs = joined(site.parents)
    latex = re.sub(r"_\\(?:theta|phi)(\^\w)?\(\w\)", lambda m: rf"_{weights}{m[1] or ''}({inputs})", latex)
    return latex.replace(r"(z \mid", rf"({symbol(site.name)} \mid")


def _described(site: Site, weights: str) -> str:
    family = site.family
    size = "x".join(map(str, family.event_shape))
    if family.point:
        return rf"\delta(e_{weights}({joined(site.parents)}))"
    if family.name == "Normal" and family.parameters == {"loc": 0.0, "scale": 1.0}:
        return rf"\mathcal{{N}}(0, I_{{{size}}})" if size else r"\mathcal{N}(0, 1)"
    inside = []
    for name, value in family.parameters.items():
        text = _SYMBOLS.get(name, rf"\mathrm{{{name.replace('_', ' ')}}}")
        if value is not None:
            text = f"{value:g}"
        elif name in family.computed:
            text += rf"_{weights}({joined(site.parents)})"
        inside.append(text + "^2" * (family.name == "Normal" and name == "scale"))
    name = r"\mathcal{N}" if family.name == "Normal" else rf"\mathrm{{{family.name}}}"
    return f"{name}({', '.join(inside)})" if inside else name


def _distributions(sites: Iterable[Site]) -> list[Site]:
    return [site for site in sites if not site.family.factor]


def _density(letter: str, sites: list[Site], given: Iterable[str]) -> str:
    data = joined(site.name for site in sites if site.observed)
    latents = joined(site.name for site in sites if not site.observed)
    names = ", ".join(part for part in (data, latents) if part)
    condition = joined(given)
    return rf"{letter}({names} \mid {condition})" if condition else f"{letter}({names})"


def _product(letter: str, sites: list[Site]) -> str:
    everywhere = set.intersection(*({p.name for p in site.plates} for site in sites)) if sites else set()
    text = ""
    inside: tuple[Plate, ...] = ()
    for site in sites:
        extra = tuple(plate for plate in site.plates if plate.name not in everywhere)
        if extra != inside:
            text += "".join(
                rf"\prod_{{n \in {symbol(plate.name)}}} " if plate.over_data else rf"\prod_{{{symbol(plate.name)}}} "
                for plate in extra
            )
            inside = extra
        text += conditional(letter, [site.name], site.parents) + r"\, "
    return text.strip().removesuffix(r"\,")

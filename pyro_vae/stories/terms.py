"""The terms of a variant's objective on one kind of data, as LaTeX, with the weights that they carry."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pyro_vae.objectives import Constant, Schedule
from pyro_vae.program import LABEL, Program
from pyro_vae.stories.structure import Site, Structure
from pyro_vae.stories.symbols import conditional, joined, symbol, to_text

__all__ = ["Terms", "Weight"]


@dataclass(frozen=True)
class Weight:
    """The weight of a site in the objective.

    Attributes:
        latex: what stands in front of the term; nothing for a weight of 1 that has no letter.
        value: that it has, or settles at.
        moving: whether it changes during training.
        note: what a reader should know of it.
    """

    latex: str = ""
    value: float = 1.0
    moving: bool = False
    note: str = ""


def _added(weight: str, term: str) -> str:
    """A weighed term with the sign that it has in a sum: ``" + "`` or ``" - "`` in front."""
    return f" - {weight}{term[1:]}" if term.startswith("-") else f" + {weight}{term}"


class Terms:
    """The terms of the ELBO of one kind of data, and what is true of them.

    Attributes:
        reconstruction: the expected log-densities of all that is observed, and the divergence of a label, which no
            objective treats in a way of its own.
        divergences: of each other latent site the weight and the divergence that the objective charges.
        factors: what ``pyro.factor`` statements add, weighed and with their signs.
        weights: of all sites, by name.
        no_bound: why these terms bound no log-density, whatever their weights; ``""`` where they do.
        notes: what a reader should know of the terms.
        summed: the sites that are summed over, as notes name them.
    """

    def __init__(self, variant: Any, structure: Structure) -> None:
        self.variant = variant
        self.structure = structure
        self.points = {name: site for name, site in structure.guide.items() if site.family.point}
        self.weights = {
            site.name: self._weight(site) for site in [*structure.guide.values(), *structure.model.values()]
        }
        self.notes: list[str] = []
        self.reconstruction = self._expected(
            " + ".join(
                self.weights[site.name].latex + rf"\log {self._conditional('p', site)}" for site in structure.observed
            )
            or "0",
            {parent for site in structure.observed for parent in site.parents},
        )
        charged = [(site.name, self._divergence(site)) for site in structure.latents]
        self.reconstruction += "".join(_charged(*pair) for name, pair in charged if pair and name == LABEL)
        self.divergences = [pair for name, pair in charged if pair and name != LABEL]
        self.divergences += [
            (self.weights[name].latex, self._expected(rf"\log {self._conditional('q', site)}", {name}))
            for name, site in structure.guide.items()
            if not (name in structure.model or name in self.points or site.family.factor)
        ]
        self.factors = [self._factor(site) for site in structure.factors]
        self.no_bound = self._why_no_bound()
        self.summed = [to_text(symbol(site.name)) for site in structure.guide.values() if site.enumerated]

    @property
    def density(self) -> str:
        """log p of the data, given what no site explains; unicode."""
        data = (site.name for site in self.structure.observed)
        return f"log {to_text(conditional('p', data, self.structure.given))}"

    @property
    def bound_weights(self) -> list[Weight]:
        """The weights of the terms of the bound, without those of factors."""
        factors = {site.name for site in self.structure.factors}
        return [weight for name, weight in self.weights.items() if name not in factors]

    def formula(self) -> str:
        """Reconstruction minus divergences."""
        return self.reconstruction + "".join(_charged(*pair) for pair in self.divergences)

    # -- weights

    def _weight(self, site: Site) -> Weight:
        """The weight as the trace has it, except that a schedule's value at one moment says too little."""
        schedule, letter = self._schedule(site.name)
        if schedule is not None and not isinstance(schedule, Constant):
            letter = letter or (r"\beta" if site.name in self.variant.latents else _fallback(site.name))
            note = (
                f"{to_text(letter)}(t) follows {schedule!r} over the epochs t: from {schedule(0.0):g} at the start to "
                f"{schedule.final():g} in the end"
            )
            return Weight(rf"{letter}(t)\,", schedule.final(), True, note)
        if schedule is None or schedule.final() != site.scale:
            return Weight("" if site.scale == 1 else rf"{site.scale:g}\,", site.scale)
        if site.name in self.variant.latents:
            note = f"β = {site.scale:g} weighs the KL of {to_text(symbol(site.name))}"
            return Weight() if site.scale == 1 else Weight(rf"{site.scale:g}\,", site.scale, note=note)
        if not letter and site.scale == 1:
            return Weight()
        what = site.term.removeprefix("-") if letter else symbol(site.name)
        what = what or rf"\log {self._conditional('p', site)}"
        letter = letter or _fallback(site.name)
        return Weight(rf"{letter}\,", site.scale, note=f"{to_text(letter)} = {site.scale:g} weighs {to_text(what)}")

    def _schedule(self, name: str) -> tuple[Schedule | None, str]:
        if not isinstance(self.variant.model, Program):
            return None, ""
        if name in self.variant.latents:
            return self.variant.beta, ""
        return self.variant.schedules.get(name), self.variant.letters.get(name, "")

    # -- terms

    def _factor(self, site: Site) -> str:
        sign, term = ("-", site.term[1:]) if site.term.startswith("-") else ("", site.term)
        return _added(self.weights[site.name].latex, sign + self._expected(term, site.parents))

    def _conditional(self, letter: str, site: Site, place: bool = False) -> str:
        """p(x | z), or p(x | z = e(x)) where the guide leaves z no freedom."""

        def said(name: str) -> str:
            point = self.points.get(name)
            if point is None:
                return symbol(name)
            function = "e" if len(self.points) == 1 else f"e_{{{symbol(name)}}}"
            return rf"{symbol(name)} = {function}({joined(point.parents)})"

        left = said(site.name) if place else symbol(site.name)
        given = ", ".join(said(name) for name in sorted(site.parents))
        return rf"{letter}({left} \mid {given})" if given else rf"{letter}({left})"

    def _expected(self, term: str, names: Iterable[str]) -> str:
        """E_q of a term that depends on the sites ``names``; over what is random in those alone."""
        drawn = self.structure.drawn_behind(names)
        if not drawn:
            return term
        density = "q"
        if len(drawn) == 1 and not self.points:
            name = drawn.pop()
            density = conditional("q", [name], self.structure.guide[name].parents)
        return rf"\mathbb{{E}}_{{{density}}}[{term}]"

    def _divergence(self, site: Site) -> tuple[str, str] | None:
        q = self.structure.guide.get(site.name)
        weight = self.weights[site.name].latex
        if q is None:
            name = to_text(symbol(site.name))
            self.notes.append(f"{name} is not in the guide: it is summed out, or drawn from the model itself")
            return None
        if site.family.improper:
            # log p is 0 everywhere, and Pyro counts the entropy of a delta as 0 too: the KL is no term at all
            if q.family.point:
                return None
            return weight, self._expected(rf"\log {self._conditional('q', q)}", {q.name})
        if q.family.point:
            return weight, "-" + self._expected(rf"\log {self._conditional('p', site, place=True)}", site.parents)
        ours, theirs = self._conditional("q", q), self._conditional("p", site)
        if not self.structure.has_kl(site.name):
            return weight, self._expected(rf"\log {ours} - \log {theirs}", {site.name, *site.parents})
        divergence = rf"\mathrm{{KL}}({ours} \,\Vert\, {theirs})"
        return weight, self._expected(divergence, {*site.parents, *q.parents})

    def _why_no_bound(self) -> str:
        if any(site.family.improper for site in self.structure.latents):
            density = self.density.removeprefix("log ")
            return f"no bound on {self.density}: without a proper prior the model has no {density}"
        if self.points:
            return f"no bound on {self.density}: the guide is a point, its entropy is minus infinity and left out"
        if any(getattr(site.part, "relaxed", False) for site in self.structure.guide.values()):
            return f"no bound on {self.density}: training relaxes a discrete code to values that the prior never has"
        if any(not getattr(site.part, "has_density", True) for site in self.structure.observed):
            return f"no bound on {self.density}: the likelihood is no density of the data"
        return ""


def _charged(weight: str, divergence: str) -> str:
    return _added(weight, divergence[1:] if divergence.startswith("-") else f"-{divergence}")


def _fallback(name: str) -> str:
    return rf"w_{{{symbol(name)}}}"

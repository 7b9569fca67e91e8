"""What a variant's objective is, as LaTeX and in notes, read off its programs and the objective itself."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any

from pyro_vae.configured import Configured
from pyro_vae.objectives import Constant
from pyro_vae.program import Program
from pyro_vae.stories.formulas import guide_density, joint_density
from pyro_vae.stories.symbols import conditional, joined, symbol, to_text
from pyro_vae.stories.tracing import Site, Structure

__all__ = ["Objective", "describe_objective"]

# Pyro's own bounds differ in how they are estimated, not in what they are
_ESTIMATED = {
    "TraceMeanField_ELBO": "the KL is exact where Pyro knows a closed form, else estimated at draws from the guide",
    "TraceEnum_ELBO": "sites marked for enumeration are summed over exactly, the rest is estimated at draws",
    "TraceGraph_ELBO": "estimated at draws; sites that cannot be reparametrised get a score function gradient",
    "TraceTMC_ELBO": "estimated by tensor Monte Carlo over draws from the guide",
    "Trace_ELBO": "every term, the KL too, is estimated at draws from the guide",
}


@dataclass(frozen=True)
class Objective:
    """What is maximised.

    Attributes:
        name: of the objective, as it is written in code.
        lines: formulas, LaTeX, the objective first and then what it needs defined.
        notes: what a reader should know, in words.
    """

    name: str
    lines: list[str]
    notes: list[str] = field(default_factory=list)


def describe_objective(variant: Any, structure: Structure) -> Objective:
    """The objective that ``variant`` is trained with."""
    objective = variant.objective
    kinds = [cls.__name__ for cls in type(objective).__mro__]
    story = _Terms(variant, structure)
    data = joined([s.name for s in structure.observed] + list(structure.given))
    left = rf"\mathcal{{L}}({data})"
    notes = list(story.notes)
    particles = getattr(objective, "num_particles", 1)

    if hasattr(objective, "formula"):
        formula = objective.formula(story.reconstruction, story.divergences)
        lines = [f"{left} = {formula}"]
        bound = story.is_bound and not getattr(objective, "free_bits", 0)
        if not bound and story.is_bound:
            notes.append("below its allowance of free bits a KL costs nothing more and has no gradient")
    elif "RenyiELBO" in kinds:
        lines, bound = _renyi(objective, story, structure, left), story.is_bound and objective.alpha >= 0
        notes.append(f"K = {particles} draws from the guide for each datum are weighed against each other")
    elif "ReweightedWakeSleep" in kinds:
        lines, bound = _renyi(objective, story, structure, left), False
        notes.append(f"the model climbs this with K = {particles}; the guide follows p's posterior, not this bound")
    elif known := next((kind for kind in kinds if kind in _ESTIMATED), None):
        lines = [f"{left} = {story.formula()}"]
        bound = story.is_bound
        notes.append(_ESTIMATED[known])
    else:
        lines, bound = [rf"{left} = -\,\mathrm{{{kinds[0].replace('_', ' ')}}}(p, q)"], False
        notes.append((inspect.getdoc(type(objective)) or "").split("\n\n")[0].replace("\n", " "))
    if bound:
        given = f" | {to_text(joined(structure.given))}" if structure.given else ""
        names = to_text(joined(s.name for s in structure.observed))
        notes.append(f"a lower bound on log p({names}{given})")
    elif story.no_bound:
        notes.append(story.no_bound)
    if particles > 1 and (hasattr(objective, "formula") or _ESTIMATED.keys() & set(kinds)):
        notes.append(f"averaged over {particles} draws from the guide for each datum")
    return Objective(_name(objective), lines, [note for note in notes if note])


def _name(objective: Any) -> str:
    if isinstance(objective, Configured):
        return repr(objective)
    root = "pyro.infer." if type(objective).__module__.startswith("pyro.infer") else ""
    return f"{root}{type(objective).__name__}"


class _Terms:
    """The terms of the ELBO of one variant, and what is true of them."""

    def __init__(self, variant: Any, structure: Structure) -> None:
        self.variant = variant
        self.structure = structure
        self.notes: list[str] = []
        self.points = {name: site for name, site in structure.guide.items() if site.family.point}
        self.random = [name for name in structure.guide if name not in self.points]
        self.weights = {site.name: self._weight(site) for site in structure.model.values()}
        self.reconstruction = self._expected(
            [
                self.weights[site.name] + rf"\log {self._conditional('p', site)}"
                if not site.family.factor
                else self.weights[site.name] + self._conditional("", site)
                for site in [*structure.observed, *structure.factors]
            ]
        )
        self.divergences = [pair for pair in map(self._divergence, structure.latents) if pair is not None]
        self.divergences += [
            ("", self._expected([rf"\log {self._conditional('q', site)}"]))
            for name, site in structure.guide.items()
            if name not in structure.model and name not in self.points and not site.family.factor
        ]
        self.no_bound = self._why_no_bound()
        unweighted = all(weight == "" for weight in self.weights.values())
        self.is_bound = unweighted and not self.no_bound and not structure.factors
        for site in structure.guide.values():
            if site.enumerated:
                self.notes.append(f"{to_text(symbol(site.name))} is summed over all its values, weighted by q")

    def formula(self) -> str:
        """Reconstruction minus divergences."""
        text = self.reconstruction
        for weight, divergence in self.divergences:
            negative = divergence.startswith("-")
            text += f" + {weight}{divergence[1:]}" if negative else f" - {weight}{divergence}"
        return text

    def _weight(self, site: Site) -> str:
        schedule = getattr(self.variant, "beta", None)
        # the weight as the trace has it, except that a schedule's value at one moment says too little
        weighed = site.name in getattr(self.variant, "latents", ()) and isinstance(self.variant.model, Program)
        if schedule is not None and not isinstance(schedule, Constant) and weighed:
            note = (
                f"β(t) follows {schedule!r} over the epochs t: from {schedule(0.0):g} at the start to "
                f"{schedule.final():g} in the end"
            )
            if note not in self.notes:
                self.notes.append(note)
            return r"\beta(t)\,"
        if site.scale == 1.0:
            return ""
        if schedule is not None and weighed and schedule.final() == site.scale:
            self.notes.append(f"β = {site.scale:g} weighs the KL of {to_text(symbol(site.name))}")
        return rf"{site.scale:g}\,"

    def _conditional(self, letter: str, site: Site, place: bool = False) -> str:
        """p(x | z), or p(x | z = e(x)) where the guide leaves z no freedom."""

        def said(name: str) -> str:
            point = self.points.get(name)
            if point is None:
                return symbol(name)
            function = "e" if len(self.points) == 1 else f"e_{{{symbol(name)}}}"
            return rf"{symbol(name)} = {function}({joined(point.parents)})"

        left = said(site.name) if place else symbol(site.name)
        if not letter:
            return rf"{left}({joined(site.parents)})"
        given = ", ".join(said(name) for name in sorted(site.parents))
        return rf"{letter}({left} \mid {given})" if given else rf"{letter}({left})"

    def _expected(self, terms: list[str]) -> str:
        text = " + ".join(terms) or "0"
        if not self.random:
            return text
        density = guide_density(self.structure) if len(self.random) == 1 and not self.points else "q"
        return rf"\mathbb{{E}}_{{{density}}}[{text}]"

    def _divergence(self, site: Site) -> tuple[str, str] | None:
        q = self.structure.guide.get(site.name)
        weight = self.weights[site.name]
        name = to_text(symbol(site.name))
        if q is None:
            self.notes.append(f"{name} is not in the guide: it is summed out, or drawn from the model itself")
            return None
        if site.family.improper:
            # log p is 0 everywhere, and Pyro counts the entropy of a delta as 0 too: the KL is no term at all
            return None if q.family.point else (weight, self._expected([rf"\log {self._conditional('q', q)}"]))
        if q.family.point:
            term = rf"\log {self._conditional('p', site, place=True)}"
            free = set(site.parents) & set(self.random)
            return weight, "-" + (self._expected([term]) if free else term)
        ours, theirs = self._conditional("q", q), self._conditional("p", site)
        if set(site.parents) & self._downstream(site.name):
            # the model's parents depend on this very site in the guide: no KL between two conditionals
            return weight, self._expected([rf"\log {ours} - \log {theirs}"])
        divergence = rf"\mathrm{{KL}}({ours} \,\Vert\, {theirs})"
        outer = (set(site.parents) | set(q.parents)) & set(self.random)
        return weight, self._expected([divergence]) if outer else divergence

    def _downstream(self, name: str) -> set[str]:
        found = {name}
        for site in self.structure.guide.values():  # in the program's order: parents come first
            if found & set(site.parents):
                found.add(site.name)
        return found - {name}

    def _why_no_bound(self) -> str:
        names = to_text(joined(site.name for site in self.structure.observed))
        if any(site.family.improper for site in self.structure.latents):
            return f"no bound on log p({names}): without a proper prior the model has no p({names})"
        if self.points:
            return f"no bound on log p({names}): the guide is a point, its entropy is minus infinity and left out"
        if any(not getattr(site.part, "has_density", True) for site in self.structure.observed):
            return f"no bound on log p({names}): the likelihood is no density of the data"
        return ""


def _renyi(objective: Any, story: _Terms, structure: Structure, left: str) -> list[str]:
    alpha = float(getattr(objective, "alpha", 0.0))
    power = "" if alpha == 0 else rf"^{{{1 - alpha:g}}}"
    front = "" if alpha == 0 else rf"{1 / (1 - alpha):g}\,"
    formula = rf"{left} = {front}\mathbb{{E}}_q[\log\, \frac{{1}}{{K}} \,\sum_{{k=1}}^{{K}} w_k{power}]"
    weights = [weight for weight in story.weights.values() if weight]
    if not weights:
        ratio = rf"\frac{{{joint_density(structure)}}}{{{guide_density(structure)}}}"
        return [formula, rf"w = {ratio}"]
    terms = [rf"{story.weights[s.name]}\log {conditional('p', [s.name], s.parents)}" for s in structure.observed]
    for site in structure.latents:
        q = structure.guide.get(site.name)
        if q is not None:
            ours = conditional("q", [site.name], q.parents)
            theirs = conditional("p", [site.name], site.parents)
            terms.append(rf"{story.weights[site.name]}\log \frac{{{theirs}}}{{{ours}}}")
    return [formula, rf"\log w = {' + '.join(terms)}"]

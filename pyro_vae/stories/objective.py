"""What a variant's objective is, as LaTeX and in notes, read off its programs and the objective itself."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pyro.infer import Trace_ELBO

from pyro_vae.configured import Configured
from pyro_vae.objectives.importance import renyi_formula
from pyro_vae.stories.formulas import guide_density, joint_density
from pyro_vae.stories.structure import Structure
from pyro_vae.stories.symbols import conditional, joined, to_text
from pyro_vae.stories.terms import Terms

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


class _Bound(NamedTuple):
    """The objective on one kind of data: what it is called, where it applies, and its terms."""

    left: str
    kind: str
    where: str
    terms: Terms


class _Reading(NamedTuple):
    """How an objective combines terms.

    Attributes:
        formulas: of each bound.
        holds_factors: whether factors are in them already.
        bounds: whether they are lower bounds on log-densities.
        notes: what a reader should know.
        summed: how enumerated sites are summed over.
    """

    formulas: list[list[str]]
    holds_factors: bool
    bounds: bool
    notes: list[str]
    summed: str = "weighted by q"


def describe_objective(variant: Any, structure: Structure) -> Objective:
    """The objective that ``variant`` is trained with; Pyro's usual one where it names none."""
    objective = getattr(variant, "objective", None) or Trace_ELBO()
    bounds = _bounds(variant, structure)
    reading = _read(objective, bounds)
    lines = [line for formulas in reading.formulas for line in formulas]
    factors = bool(structure.factors) and not reading.holds_factors
    alone = len(bounds) == 1 and not factors
    if not alone:
        lines.insert(0, _whole(bounds, factors))
    parts = [site for bound in bounds for site in bound.terms.structure.factors if site.definition]
    lines += dict.fromkeys(f"{site.term} = {site.definition}" for site in parts)
    notes = [*_shared(bounds, reading.summed), *reading.notes, *(_verdict(bound, reading, alone) for bound in bounds)]
    return Objective(_name(objective), lines, [note for note in dict.fromkeys(notes) if note])


def _name(objective: Any) -> str:
    if isinstance(objective, Configured):
        return repr(objective)
    root = "pyro.infer." if type(objective).__module__.startswith("pyro.infer") else ""
    return f"{root}{type(objective).__name__}"


def _bounds(variant: Any, structure: Structure) -> list[_Bound]:
    """One for each kind of data: L(x, y) of labelled and U(x) of unlabelled data, L(x) where there is one kind."""
    kinds = structure.kinds
    initials = [kind[:1].upper() for kind in kinds]
    bounds = []
    for kind, part in kinds.items():
        letter = r"\mathcal{L}"
        if len(kinds) > 1:
            distinct = len(set(initials)) == len(initials)
            letter = rf"\mathcal{{{kind[0].upper()}}}" if distinct else rf"\mathcal{{L}}_{{\mathrm{{{kind}}}}}"
        data = joined([site.name for site in part.observed] + list(part.given))
        bounds.append(_Bound(f"{letter}({data})", kind, structure.circumstance(kind), Terms(variant, part)))
    return bounds


def _whole(bounds: list[_Bound], factors: bool) -> str:
    """What is maximised over data of all kinds, as the sum of the bounds and of what factors add to them."""
    added = ["".join(bound.terms.factors) if factors else "" for bound in bounds]
    if len(bounds) == 1:
        data = bounds[0].left[bounds[0].left.index("(") :]
        return rf"\mathcal{{J}}{data} = {bounds[0].left}{added[0]}"
    sums = [
        rf"\sum_{{\mathrm{{{bound.kind}}}}} {f'[{bound.left}{more}]' if more else bound.left}"
        for bound, more in zip(bounds, added, strict=True)
    ]
    return rf"\mathcal{{J}} = {' + '.join(sums)}"


def _read(objective: Any, bounds: list[_Bound]) -> _Reading:
    kinds = [cls.__name__ for cls in type(objective).__mro__]
    particles = getattr(objective, "num_particles", 1)
    averaged = f"averaged over {particles} draws from the guide for each datum" if particles > 1 else ""
    weighed = f"K = {particles} draws from the guide for each datum are weighed against each other"
    if getattr(objective, "weighs_draws", False):
        formulas = [[f"{b.left} = {objective.formula('', ())}", _weight(b, apart=True)] for b in bounds]
        proper = objective.alpha >= 0
        above = "" if proper else "of a negative order: it may lie above what it is an estimate of"
        return _Reading(formulas, False, proper, [weighed, *objective.notes, above], objective.summed)
    if hasattr(objective, "formula"):
        formulas = [[f"{b.left} = {objective.formula(b.terms.reconstruction, b.terms.divergences)}"] for b in bounds]
        free = bool(getattr(objective, "free_bits", 0))
        return _Reading(formulas, False, not free, [*getattr(objective, "notes", ()), averaged])
    if known := next((kind for kind in kinds if kind in _ESTIMATED), None):
        formulas = [[f"{b.left} = {b.terms.formula()}"] for b in bounds]
        return _Reading(formulas, False, True, [_ESTIMATED[known], averaged])
    if "RenyiELBO" in kinds or "ReweightedWakeSleep" in kinds:
        told = weighed
        if "ReweightedWakeSleep" in kinds:
            told = f"the model climbs this with K = {particles}; the guide follows p's posterior, not this bound"
        proper = "RenyiELBO" in kinds and objective.alpha >= 0
        formula = renyi_formula(float(getattr(objective, "alpha", 0.0)))
        return _Reading([[f"{b.left} = {formula}", _weight(b, apart=False)] for b in bounds], True, proper, [told])
    says = (inspect.getdoc(type(objective)) or "").split("\n\n")[0].replace("\n", " ")
    formulas = [[rf"{b.left} = -\,\mathrm{{{kinds[0].replace('_', ' ')}}}(p, q)"] for b in bounds]
    return _Reading(formulas, True, False, [says])


def _shared(bounds: list[_Bound], summed: str) -> list[str]:
    """The notes on weights and terms; one on terms that is not true everywhere says where it is."""
    weights = [weight.note for bound in bounds for weight in bound.terms.weights.values()]
    of_each = [
        bound.terms.notes + [f"{name} is summed over all its values, {summed}" for name in bound.terms.summed]
        for bound in bounds
    ]
    everywhere = set.intersection(*map(set, of_each))
    return weights + [
        note if note in everywhere else f"{bound.where}, {note}"
        for bound, notes in zip(bounds, of_each, strict=True)
        for note in notes
    ]


def _verdict(bound: _Bound, reading: _Reading, alone: bool) -> str:
    """Whether a bound is one, and on what."""
    terms = bound.terms
    subject = "" if alone else to_text(bound.left)
    if subject and bound.where:
        subject += f", {bound.where},"
    if terms.no_bound:
        return f"{subject} is {terms.no_bound}" if subject else terms.no_bound
    weights = terms.bound_weights
    in_factors = reading.holds_factors and terms.structure.factors
    if not reading.bounds or in_factors or any(weight.value != 1 for weight in weights):
        return f"{to_text(bound.left)} is for data {bound.where}" if bound.where else ""
    what = f"a lower bound on {terms.density}"
    if not terms.structure.latents:
        what = f"{terms.density} itself: nothing is latent"
    moving = [to_text(weight.latex).strip() for weight in weights if weight.moving]
    once = f"once {' and '.join(f'{weight} = 1' for weight in dict.fromkeys(moving))}, " if moving else ""
    return f"{once}{subject} is {what}" if subject else f"{once}{what}"


def _weight(bound: _Bound, apart: bool) -> str:
    r"""The importance weight w of a draw.

    Args:
        bound: that it is of.
        apart: whether factors stand apart from the weight, and sites that the guide enumerates are summed over in it.
    """
    terms, structure = bound.terms, bound.terms.structure
    summed = [name for name, site in structure.guide.items() if site.enumerated] if apart else []
    total = rf"\sum_{{{joined(summed)}}} " if summed else ""
    factors = [] if apart else terms.factors
    weights = terms.bound_weights if apart else terms.weights.values()
    if not factors and not any(weight.latex for weight in weights):
        ratio = joint_density(structure)
        if proposed := guide_density(structure, without=summed):
            ratio = rf"\frac{{{ratio}}}{{{proposed}}}"
        return f"w = {total}{ratio}"
    logs = [
        rf"{terms.weights[site.name].latex}\log {conditional('p', [site.name], site.parents)}"
        for site in structure.observed
    ]
    for site in structure.latents:
        q = structure.guide.get(site.name)
        if q is not None:
            ratio = conditional("p", [site.name], site.parents)
            if site.name not in summed:
                ratio = rf"\frac{{{ratio}}}{{{conditional('q', [site.name], q.parents)}}}"
            logs.append(rf"{terms.weights[site.name].latex}\log {ratio}")
    log_w = f"{' + '.join(logs)}{''.join(factors)}"
    return rf"\log w = \log {total}\exp({log_w})" if summed else rf"\log w = {log_w}"

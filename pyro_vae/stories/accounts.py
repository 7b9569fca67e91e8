"""How the rows of a ledger are made: site by site, from the terms of the ELBO and the structure of the programs."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from pyro_vae.evaluation import SiteTerm, site_terms
from pyro_vae.evaluation.elbo import alike as alike_data
from pyro_vae.evaluation.elbo import data_at_once
from pyro_vae.program import GROUPS, labelled, without_group
from pyro_vae.stories.ledger import Group, Ledger, Row
from pyro_vae.stories.structure import Site, Structure
from pyro_vae.stories.symbols import conditional, to_text
from pyro_vae.stories.tracing import trace_structure, untouched

__all__ = ["make_ledger"]

_BATCH = 1000  # draws evaluated at once, by the account and by the loss, so that both see the same draws


def make_ledger(variant: Any, structure: Structure, x: Any, y: Any, num_samples: int, seed: int) -> Ledger:
    """Account for the ELBO of data ``x`` with labels ``y``; the random stream outside is left alone.

    Raises:
        DataError: when the data do not fit.
    """
    x, y = variant.batch(x, y)
    if y is not None and not labelled(y).all() and len(variant.examples(2)) == 1:
        y = None  # the programs do not tell data with labels from those without
    terms = _drawn_terms(variant, x, y, num_samples, seed)
    structures = _structures(variant, structure, terms)
    weights = getattr(variant.model, "weights", {})  # as they are now: the story may be older
    rows = [row for term in terms for row in _rows(term, structures[_group(term)], weights)]
    whole: Any = sum(term.contribution for term in terms if not term.factor)
    draws = num_samples if any(one.guide for one in structures.values()) else 0
    groups = _groups(variant, structure, terms, y, whole) if len(structures) > 1 else []
    ledger = Ledger(rows, _standard_error(whole), len(whole), _minus_loss(variant, x, y, seed), draws, groups)
    weighed = getattr(variant.objective, "weighs_draws", False)
    if num_samples > 1 and ledger.objective is not None and not weighed:
        # the loss is of one draw: what it has beyond the terms of that same draw is the objective's own doing
        single = _drawn_terms(variant, x, y, 1, seed)
        rows = [row for term in single for row in _rows(term, structures[_group(term)], weights)]
        ledger.objective += ledger.weighted_total - Ledger(rows, 0.0, len(whole), None, 1).weighted_total
    return ledger


def _drawn_terms(variant: Any, x: Tensor, y: Tensor | None, num_samples: int, seed: int) -> list[SiteTerm]:
    with untouched(variant):
        torch.manual_seed(seed)
        return site_terms(variant, x, y, num_samples=num_samples, batch_size=_BATCH)


def _group(term: SiteTerm) -> str:
    group, _, _ = term.name.partition("/")
    return group if group in GROUPS else ""


def _structures(variant: Any, structure: Structure, terms: list[SiteTerm]) -> dict[str, Structure]:
    """The structure of each group of terms; of data of one kind that of the kind which has just these sites."""
    groups = dict.fromkeys(map(_group, terms))
    if len(groups) > 1:
        # a story of the user's own arguments may know one kind only
        known = structure.kinds if groups.keys() <= structure.kinds.keys() else trace_structure(variant).kinds
        return {group: known[group] for group in groups}
    sites = {(term.name, term.observed) for term in terms}
    for one in structure.kinds.values():
        auxiliary = {(name, site.family.factor) for name, site in one.guide.items() if name not in one.model}
        if sites == {(name, site.observed) for name, site in one.model.items()} | auxiliary:
            return {"": one}
    return {"": structure}


def _groups(variant: Any, structure: Structure, terms: list[SiteTerm], y: Tensor | None, whole: Tensor) -> list[Group]:
    groups = []
    for prefix, rows in alike_data(variant, y, len(whole)):
        name = prefix.rstrip("/")
        own: Any = sum(term.contribution for term in terms if _group(term) == name and not term.factor)
        where = structure.circumstance(name) if name in structure.kinds else f"{name} data"
        groups.append(Group(name, where, len(rows), own.sum().item() / len(rows)))
    return groups


def _rows(term: SiteTerm, structure: Structure, weights: Mapping[str, float]) -> list[Row]:
    name, group = without_group(term.name), _group(term)
    values = term.contribution
    site = structure.model[name] if name in structure.model else structure.guide[name]
    q = structure.guide.get(name)

    def row(role: str, what: str, exact: bool, values: Tensor, part_of: str | None = None) -> Row:
        error, weight = _standard_error(values), weights.get(name, site.scale)
        return Row(name, role, what, exact, weight, values.mean().item(), error, part_of, group)

    if term.factor:
        return [row("factor", to_text(site.term), not _drawn(structure, site.parents), values)]
    if name not in structure.model:  # an auxiliary site, which only the guide has
        return [row("auxiliary", "−log " + to_text(conditional("q", [name], site.parents)), False, values)]
    ours = to_text(conditional("p", [name], site.parents))
    if term.observed or q is None:
        return [row("observed", f"log {ours}", term.exact or not _drawn(structure, site.parents), values)]
    theirs = to_text(conditional("q", [name], q.parents))
    divergence = structure.has_kl(name) and not (site.family.improper or q.family.point)
    what = f"−KL({theirs} ‖ {ours})" if divergence else f"log {ours} − log {theirs}"
    left_out = ", counted as 0"
    return [
        row("latent", what, _in_closed_form(term, structure, site, q), values),
        row("latent", f"log {ours}{left_out * site.family.improper}", term.exact, term.log_p, name),
        row("latent", f"−log {theirs}{left_out * q.family.point}", term.exact, -term.log_q, name),
    ]


def _in_closed_form(term: SiteTerm, structure: Structure, site: Site, q: Site) -> bool:
    """Whether a latent's row is exact: no draw of its own, and none of what its distributions are conditional on."""
    if not (term.exact or q.family.point or q.enumerated):
        return False
    return not _drawn(structure, {*site.parents, *q.parents} - {site.name})


def _drawn(structure: Structure, names: Iterable[str]) -> set[str]:
    """What is drawn and not summed over among the sites that a term depends on."""
    return {name for name in structure.drawn_behind(names) if not structure.guide[name].enumerated}


def _standard_error(values: Tensor) -> float:
    return values.std().item() / math.sqrt(len(values)) if len(values) > 1 else math.nan


def _minus_loss(variant: Any, x: Tensor, y: Tensor | None, seed: int) -> float | None:
    """Minus the training loss per datum, from the objective itself and the same random stream."""
    objective = copy.copy(variant.objective)  # some keep what they last computed
    # batches of one kind each, as the account has them; losses are sums over data, so that nothing changes
    size = data_at_once(variant, y, 1, _BATCH)
    batches = [rows for _, of_kind in alike_data(variant, y, len(x)) for rows in of_kind.split(size)]
    try:
        with untouched(variant), torch.no_grad():
            torch.manual_seed(seed)
            losses = [
                objective.loss(
                    variant.model,
                    variant.guide,
                    *variant.program_arguments(x[rows], None if y is None else y[rows]),
                )
                for rows in batches
            ]
    except Exception:  # an objective that is no loss of these two programs alone; the account stands without it
        return None
    return -float(sum(losses)) / len(x)

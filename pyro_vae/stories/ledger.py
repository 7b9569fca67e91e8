"""The ELBO of a batch as an account: what each site contributes, in nats per datum."""

from __future__ import annotations

import copy
import html
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyro_vae.evaluation import SiteTerm, site_terms
from pyro_vae.stories.symbols import conditional, joined, to_text
from pyro_vae.stories.tracing import Site, Structure, untouched

__all__ = ["Ledger", "Row", "make_ledger"]


@dataclass(frozen=True)
class Row:
    """One line of a ledger.

    Attributes:
        site: name of the sample site.
        role: ``observed``, ``latent`` or ``factor``.
        what: the term, in unicode.
        exact: whether it is in closed form; else it is an average over draws from the guide.
        weight: with which the objective counts it (beta).
        mean: nats per datum, unweighted.
        standard_error: of that mean over the data.
        part_of: the site whose row this one explains; such rows are not added again.
    """

    site: str
    role: str
    what: str
    exact: bool
    weight: float
    mean: float
    standard_error: float
    part_of: str | None = None


class Ledger:
    """Rows that add up to the ELBO of a batch; see :meth:`pyro_vae.stories.Story.ledger`.

    Attributes:
        rows: of type :class:`Row`.
        total: the ELBO, nats per datum.
        standard_error: of the ELBO over the data.
        weighted_total: with each row times its weight: what the objective climbs, were it estimated here.
        objective: minus the training loss as the objective itself evaluates it, per datum, or ``None``.
        size: number of data.
    """

    def __init__(
        self, rows: list[Row], standard_error: float, size: int, objective: float | None, num_samples: int
    ) -> None:
        self.rows = rows
        self.size = size
        self.standard_error = standard_error
        self.objective = objective
        self.num_samples = num_samples
        main = [row for row in rows if row.part_of is None]
        self.total = math.fsum(row.mean for row in main)
        self.weighted_total = math.fsum(row.weight * row.mean for row in main)

    @property
    def weighted(self) -> bool:
        """Whether any row counts with another weight than 1."""
        return any(row.weight != 1 for row in self.rows)

    def _table(self) -> tuple[list[str], list[list[str]], list[list[str]]]:
        head = ["", "nats per datum", "± s.e.", "how", "weight"]
        body = []
        for row in self.rows:
            what = f"  {row.what}" if row.part_of else row.what
            how = "" if row.part_of else "exact" if row.exact else "sampled"
            body.append(
                [what, f"{row.mean:.3f}", f"{row.standard_error:.3f}", how, "" if row.part_of else f"{row.weight:g}"]
            )
        foot = [["ELBO", f"{self.total:.3f}", f"{self.standard_error:.3f}", "", ""]]
        if self.weighted:
            foot.append(["with its weights", f"{self.weighted_total:.3f}", "", "", ""])
        if self.objective is not None and abs(self.objective - self.weighted_total) > 5e-4:
            foot.append(["what training climbs (−loss)", f"{self.objective:.3f}", "", "", ""])
        columns = slice(None) if self.weighted else slice(-1)
        return head[columns], [r[columns] for r in body], [r[columns] for r in foot]

    @property
    def _caption(self) -> str:
        draws = f"{self.num_samples} draw{'s' * (self.num_samples > 1)}"
        return f"The ELBO of {self.size} data, with {draws} from the guide for each"

    def __str__(self) -> str:
        head, body, foot = self._table()
        lines = [head, *body, *foot]
        widths = [max(len(line[i]) for line in lines) for i in range(len(head))]

        def show(line: list[str]) -> str:
            cells = [
                cell.rjust(width) if i in (1, 2, 4) else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            ]
            return "  ".join(cells).rstrip()

        rule = "─" * len(show(["x" * width for width in widths]))
        return "\n".join([self._caption, show(head), rule, *map(show, body), rule, *map(show, foot)])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head, body, foot = self._table()

        def row(cells: list[str], tag: str, style: str = "") -> str:
            shown = "".join(
                f'<{tag} style="text-align:{"right" if i in (1, 2, 4) else "left"};padding:2px 12px 2px '
                f'{"24px" if cell.startswith("  ") else "4px"}">{html.escape(cell.strip())}</{tag}>'
                for i, cell in enumerate(cells)
            )
            return f'<tr style="{style}">{shown}</tr>'

        rule = "border-top:1px solid currentColor"
        lines = [row(head, "th")]
        # sub-rows are quieter: they are not added again
        lines += [
            row(cells, "td", "opacity:.7" if cells[0].startswith("  ") else rule if i == 0 else "")
            for i, cells in enumerate(body)
        ]
        lines += [row(cells, "td", rule + ";font-weight:bold" if i == 0 else "") for i, cells in enumerate(foot)]
        return (
            f'<table style="border-collapse:collapse;font-variant-numeric:tabular-nums"><caption style='
            f'"text-align:left;padding-bottom:4px">{self._caption}</caption>{"".join(lines)}</table>'
        )


def make_ledger(variant: Any, structure: Structure, x: Any, num_samples: int, seed: int) -> Ledger:
    """Account for the ELBO of data ``x``; the random stream outside is left alone.

    Raises:
        DataError: when the data do not fit.
    """
    terms = _drawn_terms(variant, x, num_samples, seed)
    rows = [row for term in terms for row in _rows(term, structure)]
    whole: Any = sum(term.contribution for term in terms)
    ledger = Ledger(rows, _standard_error(whole), len(whole), _minus_loss(variant, x, seed), num_samples)
    if num_samples > 1 and ledger.objective is not None:
        # the loss is of one draw: what it has beyond the terms of that same draw is the objective's own doing
        single = [row for term in _drawn_terms(variant, x, 1, seed) for row in _rows(term, structure)]
        ledger.objective += ledger.weighted_total - Ledger(single, 0.0, len(whole), None, 1).weighted_total
    return ledger


def _drawn_terms(variant: Any, x: Any, num_samples: int, seed: int) -> list[SiteTerm]:
    with untouched(variant):
        torch.manual_seed(seed)
        return site_terms(variant, x, num_samples=num_samples)


def _rows(term: SiteTerm, structure: Structure) -> list[Row]:
    mean, error = term.contribution.mean().item(), _standard_error(term.contribution)
    if term.name not in structure.model:  # an auxiliary site, which only the guide has
        q = structure.guide[term.name]
        what = "−log " + to_text(conditional("q", [q.name], q.parents))
        return [Row(q.name, "auxiliary", what, False, q.scale, mean, error)]
    site = structure.model[term.name]
    ours = to_text(conditional("p", [site.name], site.parents))
    # a guide without uncertainty leaves nothing to sample
    sure = all(s.family.point for s in structure.guide.values())
    if term.observed:
        role = "factor" if site.family.factor else "observed"
        what = to_text(f"{site.name}({joined(site.parents)})") if site.family.factor else f"log {ours}"
        return [Row(site.name, role, what, term.exact or sure, site.scale, mean, error)]
    q = structure.guide[term.name]
    theirs = to_text(conditional("q", [q.name], q.parents))
    what = f"−KL({theirs} ‖ {ours})"
    if site.family.improper or q.family.point:
        what = f"log {ours} − log {theirs}"
    rows = [Row(site.name, "latent", what, term.exact or _sure(site, q, sure), site.scale, mean, error)]
    left_out = ", counted as 0"
    for name, values, nothing in (
        (f"log {ours}", term.log_p, site.family.improper),
        (f"−log {theirs}", -term.log_q, q.family.point),
    ):
        rows.append(
            Row(
                site.name,
                "latent",
                name + left_out * nothing,
                term.exact,
                site.scale,
                values.mean().item(),
                _standard_error(values),
                part_of=site.name,
            )
        )
    return rows


def _sure(site: Site, q: Site, sure: bool) -> bool:
    return sure or (site.family.improper and q.family.point)


def _standard_error(values: Tensor) -> float:
    return values.std().item() / math.sqrt(len(values)) if len(values) > 1 else math.nan


def _minus_loss(variant: Any, x: Any, seed: int, batch_size: int = 1000) -> float | None:
    """Minus the training loss per datum, from the objective itself and the same random stream."""
    x = variant.as_data(x)
    objective = copy.copy(variant.objective)  # some keep what they last computed
    try:
        with untouched(variant), torch.no_grad():
            torch.manual_seed(seed)
            losses = [
                objective.loss(variant.model, variant.guide, *variant.program_arguments(batch))
                for batch in x.split(batch_size)
            ]
    except Exception:  # an objective that is no loss of these two programs alone; the account stands without it
        return None
    return -float(sum(losses)) / len(x)

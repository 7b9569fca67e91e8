"""The ELBO of a batch as an account: what each site contributes, in nats per datum."""

from __future__ import annotations

import html
import math
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Group", "Ledger", "Row"]


@dataclass(frozen=True)
class Row:
    """One line of a ledger.

    Attributes:
        site: name of the sample site.
        role: ``observed``, ``latent``, ``auxiliary`` or ``factor``.
        what: the term, in unicode.
        exact: whether it is in closed form; else it is an average over draws from the guide.
        weight: with which the objective counts it (beta, alpha).
        mean: nats per datum, unweighted; averaged over all data, those of other groups count as 0.
        standard_error: of that mean over the data.
        part_of: the site whose row this one explains; such rows are not added again.
        group: the kind of data that it is about, where there are several.
    """

    site: str
    role: str
    what: str
    exact: bool
    weight: float
    mean: float
    standard_error: float
    part_of: str | None = None
    group: str = ""


class Group(NamedTuple):
    """Data of one kind: its name, what tells it from the others, how many there are, and their own ELBO."""

    name: str
    where: str
    size: int
    elbo: float


class _Line(NamedTuple):
    """A line of the table as it is shown."""

    cells: list[str]
    style: str = ""


class Ledger:
    """Rows that add up to the ELBO of a batch; see :meth:`pyro_vae.stories.Story.ledger`.

    Attributes:
        rows: of type :class:`Row`.
        groups: of type :class:`Group`, where the data are of several kinds.
        total: the ELBO, nats per datum, without what factors add to the objective.
        standard_error: of the ELBO over the data.
        weighted_total: with each row times its weight and with factors: what the objective climbs, were it estimated
            here.
        objective: minus the training loss as the objective itself evaluates it, per datum, or ``None``.
        size: number of data.
        num_samples: draws from the guide for each datum; 0 where it draws nothing.
    """

    def __init__(
        self,
        rows: list[Row],
        standard_error: float,
        size: int,
        objective: float | None,
        num_samples: int,
        groups: list[Group] | None = None,
    ) -> None:
        self.rows = rows
        self.groups = groups or []
        self.size = size
        self.standard_error = standard_error
        self.objective = objective
        self.num_samples = num_samples
        main = [row for row in rows if row.part_of is None]
        self.total = math.fsum(row.mean for row in main if row.role != "factor")
        self.weighted_total = math.fsum(row.weight * row.mean for row in main)

    @property
    def weighted(self) -> bool:
        """Whether any row counts with another weight than 1."""
        return any(row.weight != 1 for row in self.rows)

    @property
    def factors(self) -> list[Row]:
        """The rows of what is part of the objective and of no bound."""
        return [row for row in self.rows if row.role == "factor"]

    def _table(self) -> tuple[list[str], list[_Line], list[_Line]]:
        head = ["", "nats per datum", "± s.e.", "how", "weight"]
        body: list[_Line] = []
        for group in self.groups or [Group("", "", self.size, self.total)]:
            if group.where:
                told = f"{group.where}: {group.size:,} data, with an ELBO of {_number(group.elbo)} each"
                body.append(_Line([told], "group"))
            body += [
                _Line(self._cells(row, indent=bool(group.where)), "part" if row.part_of else "")
                for row in self.rows
                if row.group == group.name and row.role != "factor"
            ]
        foot = [_Line(["ELBO", _number(self.total), _error(self.standard_error), "", ""], "total")]
        where = {group.name: f", {group.where}" for group in self.groups}
        foot += [_Line(self._cells(row, more=where.get(row.group, "")), "factor") for row in self.factors]
        if self.weighted or self.factors:
            foot.append(_Line([self._weighing, _number(self.weighted_total), "", "", ""], "total"))
        if self.objective is not None and not math.isclose(
            self.objective, self.weighted_total, rel_tol=1e-5, abs_tol=5e-4
        ):
            foot.append(_Line(["what training climbs (−loss)", _number(self.objective), "", "", ""]))
        shown = len(head) - (not self.weighted)
        return (
            head[:shown],
            [line._replace(cells=line.cells[:shown]) for line in body],
            [line._replace(cells=line.cells[:shown]) for line in foot],
        )

    def _cells(self, row: Row, indent: bool = False, more: str = "") -> list[str]:
        what = "  " * (indent + (row.part_of is not None)) + row.what + more
        numbers = [what, _number(row.mean), _error(row.standard_error)]
        return [*numbers, "", ""] if row.part_of else [*numbers, "exact" if row.exact else "sampled", f"{row.weight:g}"]

    @property
    def _weighing(self) -> str:
        told = ["its weights"] * self.weighted + ["what training adds"] * bool(self.factors)
        return f"with {' and '.join(told)}"

    @property
    def _caption(self) -> list[str]:
        first = f"The ELBO of {self.size:,} data"
        if self.num_samples:
            first += f", with {self.num_samples} draw{'s' * (self.num_samples > 1)} from the guide for each"
        return [first, "Every row is averaged over all of them, so that the rows add up"] if self.groups else [first]

    def __str__(self) -> str:
        head, body, foot = self._table()
        lines = [head, *(line.cells for line in [*body, *foot] if line.style != "group")]
        widths = [max(len(line[i]) for line in lines) for i in range(len(head))]

        def show(line: list[str]) -> str:
            cells = [
                cell.rjust(width) if i in (1, 2, 4) else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=False))
            ]
            return "  ".join(cells if len(line) > 1 else line).rstrip()

        rule = "─" * len(show(["x" * width for width in widths]))
        rows = [[show(line.cells) for line in part] for part in (body, foot)]
        return "\n".join([*self._caption, show(head), rule, *rows[0], rule, *rows[1]])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head, body, foot = self._table()
        rule = "border-top:1px solid currentColor"
        # what a row is made of is quieter: it is not added again
        styles = {"part": "opacity:.7", "total": "font-weight:bold", "group": "font-style:italic"}
        lines = [_html_row(head, "th", "", len(head))]
        for part in (body, foot):
            lines += [
                _html_row(line.cells, "td", f"{rule if i == 0 else ''};{styles.get(line.style, '')}", len(head))
                for i, line in enumerate(part)
            ]
        return (
            f'<table style="border-collapse:collapse;font-variant-numeric:tabular-nums"><caption style='
            f'"text-align:left;padding-bottom:4px">{"<br/>".join(self._caption)}</caption>{"".join(lines)}</table>'
        )


def _html_row(cells: list[str], tag: str, style: str, columns: int) -> str:
    shown = ""
    for i, cell in enumerate(cells):
        indent = 4 + 10 * (len(cell) - len(cell.lstrip()))
        span = f' colspan="{columns}"' if len(cells) == 1 else ""
        side = "right" if i in (1, 2, 4) else "left"
        style_of_cell = f"text-align:{side};padding:2px 12px 2px {indent}px"
        shown += f'<{tag}{span} style="{style_of_cell}">{html.escape(cell.strip())}</{tag}>'
    return f'<tr style="{style.strip(";")}">{shown}</tr>'


def _error(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}"  # a single datum has none


def _number(value: float) -> str:
    return f"{value:.3f}".replace("-", "−")

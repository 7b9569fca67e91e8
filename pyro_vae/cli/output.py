"""Tables and numbers on the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from pyro_vae.data import Split
from pyro_vae.evaluation import elbo
from pyro_vae.randomness import seeded
from pyro_vae.report.numbers import Numbers
from pyro_vae.variants import Variant

__all__ = ["print_numbers", "print_table", "summary_line"]


def print_table(console: Console, title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table with a title; the first column is never cut, the others are folded."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for position, name in enumerate(header):
        table.add_column(name, style="bold" if position == 0 else "", overflow="fold", no_wrap=position == 0)
    for row in rows:
        table.add_row(*(cell.replace("[", "\\[") for cell in row))
    console.print(table)


def print_numbers(found: Numbers) -> None:
    """The numbers of a variant as a table."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for name in ("nats per datum", "standard error", "bits per dimension", "data"):
        table.add_column(name, justify="right")
    for row in found.rows.values():
        table.add_row(
            row.label,
            f"{row.mean:,.3f}",
            f"{row.standard_error:,.3f}",
            f"{row.bits_per_dimension:,.4f}",
            f"{row.data:,}",
        )
    console = Console(highlight=False)
    console.print(table)
    if found.scores:
        console.print(_scores(found))
    for note in found.notes:
        console.print(note, markup=False)


def _scores(found: Numbers) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("predictions")
    for name in ("", "standard error", "data"):
        table.add_column(name, justify="right")
    for score in found.scores.values():
        error = f"{score.standard_error:,.4f}" if score.standard_error == score.standard_error else ""
        table.add_row(score.label, f"{score.mean:,.4f}", error, f"{score.data:,}")
    return table


def summary_line(variant: Variant, test: Split) -> str:
    """ELBO and its two terms on test data, and how good predictions of their labels are, in one line."""
    with seeded(0, variant.device):  # the same run prints the same line
        terms = elbo(variant, test)
        scores = variant.score(test)
    values = ", ".join(f"{name} {value.mean().item():,.3f}" for name, value in zip(terms._fields, terms, strict=True))
    known = "" if test.y is None else f" of {int(test.labelled.sum()):,}"
    shown = "".join(f"; {name.replace('_', ' ')} {value:,.3f}{known}" for name, value in scores.items())
    return f"test: {values} (nats per datum){shown}"

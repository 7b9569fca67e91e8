"""Tables and numbers on the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor

from pyro_vae.evaluation import elbo
from pyro_vae.report.numbers import Numbers
from pyro_vae.variants import Variant

__all__ = ["print_numbers", "print_table", "summary_line"]


def print_table(console: Console, title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table with a title; the last column takes the room that is left."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for position, name in enumerate(header):
        last = position == len(header) - 1
        table.add_column(
            name, style="bold" if position == 0 else "", overflow="fold", ratio=1 if last else None, no_wrap=not last
        )
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
    for note in found.notes:
        console.print(note, markup=False)


def summary_line(variant: Variant, x: Tensor) -> str:
    """ELBO and its two terms on test data, in one line."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # the same run prints the same line
        terms = elbo(variant, x)
    values = ", ".join(f"{name} {value.mean().item():,.3f}" for name, value in zip(terms._fields, terms, strict=True))
    return f"test: {values} (nats per datum)"

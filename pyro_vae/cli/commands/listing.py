"""The command that lists what there is to choose from."""

from __future__ import annotations

from rich.console import Console

from pyro_vae.cli.catalogue import KINDS, entries
from pyro_vae.cli.explain import pyro_objectives
from pyro_vae.cli.output import print_table
from pyro_vae.data import available
from pyro_vae.errors import ConfigurationError, check_choice

__all__ = ["list_all"]

_OWN_FILES = ("mine.npz, .npy, .csv", "a file of your own: arrays x and y, or x_train ..., or a table with a column y")


def list_all(argv: list[str]) -> None:
    """Print what there is to choose from, all of it or one kind."""
    kinds = [*KINDS, "data"]
    if argv[1:] or (argv and argv[0].startswith("-")):
        raise ConfigurationError(f"list takes one kind ({', '.join(kinds)}), got {' '.join(argv)}")
    console = Console()
    for kind in kinds if not argv else [check_choice("kind", argv[0], kinds)]:
        if kind == "data":
            print_table(console, "data", ("name", "what it is"), [*available().items(), _OWN_FILES])
            continue
        rows = [(e.name, ", ".join(a.name for a in e.arguments if a.name != "shape"), e.summary) for e in entries(kind)]
        if kind == "objectives":
            rows += [(name, "", "Pyro's own") for name in pyro_objectives() if name not in {row[0] for row in rows}]
        print_table(console, kind, ("name", "options", "what it is"), rows)

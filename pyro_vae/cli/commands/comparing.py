"""The command that compares systems that predict labels."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console

from pyro_vae.cli.commands.threads import threads_for
from pyro_vae.cli.datasets import load
from pyro_vae.cli.output import print_table
from pyro_vae.cli.parsers import parsed
from pyro_vae.errors import ConfigurationError
from pyro_vae.files import write_text

__all__ = ["compare"]


def compare(argv: list[str]) -> None:
    """Compare systems that predict labels."""
    from pyro_vae import comparison, plots

    options = parsed("compare", argv)
    dataset = load(options.data, options.root, label=options.label_column)
    labels = [_count(word.strip()) for word in options.labels.split(",")]
    systems = [word.strip() for word in options.systems.split(",")] if options.systems else None
    folder = Path(options.folder or f"runs/compare-{Path(options.data).stem}")
    console = Console(highlight=False)

    def told(cell: comparison.Cell, number: int, of: int) -> None:
        shown = "all" if cell.labels is None else cell.labels
        console.print(
            f"{number:>4} of {of}: {cell.system}, {shown} labels, seed {cell.seed}: {100 * cell.test:.2f} % "
            f"in {cell.seconds:.1f} s"
        )

    with threads_for(0):
        found = comparison.compare(
            dataset,
            labels=labels,
            systems=systems,
            seeds=options.seeds,
            epochs=options.epochs,
            split=options.split,
            folder=folder,
            report=told,
        )
    header, *rows = found.rows()
    print_table(console, "accuracy, per cent, mean ± standard error over seeds", header, rows)
    write_text(folder / "table.txt", f"{found}\n")
    write_text(folder / "comparison.json", json.dumps(found.to_json(), indent=1) + "\n")
    plots.comparison(found).savefig(folder / "comparison.png", dpi=160)
    print(f"the figure: {folder / 'comparison.png'}")


def _count(word: str) -> int | None:
    if word != "all" and not word.isdigit():
        raise ConfigurationError(f"--labels: wanted numbers or all, with commas between them, got {word!r}")
    return None if word == "all" else int(word)

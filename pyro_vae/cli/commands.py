"""What the commands do, one function each."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from pyro_vae.cli.catalogue import KINDS, entries
from pyro_vae.cli.datasets import evaluated, load
from pyro_vae.cli.explain import pyro_objectives
from pyro_vae.cli.options import Request, parse
from pyro_vae.cli.output import print_numbers, print_table, summary_line
from pyro_vae.cli.parsers import parser_of
from pyro_vae.cli.processes import asked_for, is_first, together
from pyro_vae.cli.runs import open_run
from pyro_vae.data import available
from pyro_vae.errors import CheckpointError, ConfigurationError, DataError, check_choice
from pyro_vae.files import make_folder, write_text
from pyro_vae.randomness import seeded
from pyro_vae.report.numbers import Numbers, numbers
from pyro_vae.training import History
from pyro_vae.training import fit as fit_variant
from pyro_vae.variants import Variant

__all__ = ["COMMANDS"]

DEMO = {
    "variant": "VAE",
    "data": "digits",
    "likelihood": {"class_path": "pyro_vae.likelihoods.Normal", "init_args": {"scale": "shared"}},
    "encoder": {"class_path": "pyro_vae.networks.MLP", "init_args": {"hidden": [256], "dropout": 0.1}},
    "epochs": 100,
    "batch_size": 64,
    "lr": 3e-3,
}
"""The options of ``demo`` where they are not given; its folder is ``runs/demo``."""

SMALL = 100_000
"""Networks of fewer parameters are trained on one thread."""


def _train(request: Request) -> tuple[Variant, History]:
    """Fit what was asked for, with ``run.yaml`` beside its checkpoints."""
    variant, folder = request.variant(), request.folder
    if (folder / "last.pt").exists() and not request.values["resume"]:
        raise CheckpointError(
            f"folder {str(folder)!r} already holds a run; go on with it: --resume, or name another --folder"
        )
    own = folder / "run.yaml"
    if request.file is not None and not request.values["resume"] and request.file.resolve() == own.resolve():
        raise ConfigurationError(f"the run would write over its own --config {str(own)!r}; name another --folder")
    make_folder(folder)
    if is_first() and not (folder / "last.pt").exists():  # a resumed run keeps its own until it was really resumed
        write_text(own, request.as_yaml())
    size = sum(parameter.numel() for parameter in variant.parameters())
    name = type(variant).__name__
    epochs = request.values["epochs"]
    print(f"{name} on {request.dataset.name}: {size:,} parameters, {epochs} epochs, into {folder}", flush=True)
    logging.getLogger("ignite").setLevel(logging.CRITICAL)  # what stops a run is told once, by `main`
    try:
        with _threads_for(size):
            history = fit_variant(variant, request.dataset, **request.fit_arguments())
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"go on with: pyro-vae fit --folder {folder} --resume") from None
    if is_first():
        write_text(own, request.as_yaml())
    print(f"trained in {sum(history['seconds']):.1f} s")
    return variant, history


@contextlib.contextmanager
def _threads_for(size: int) -> Iterator[None]:
    """One thread for a network of few parameters: more gain it nothing, and on a busy machine lose very much."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if size < SMALL else threads)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def fit(argv: list[str]) -> None:
    """Train a variant, in as many processes as are asked for."""
    processes, argv = asked_for(argv)
    if processes > 1:
        together(processes, fit, argv)
        return
    request = parse("fit", argv)
    variant, _ = _train(request)
    if not is_first():
        return
    test = evaluated(request.dataset, request.values["transform"]).test
    if len(test):
        print(summary_line(variant, test))
    print(f"next: pyro-vae report {request.folder} (or evaluate, generate, show)")


def demo(argv: list[str]) -> None:
    """Train on digits and write the report."""
    from pyro_vae import stories
    from pyro_vae.report import write

    request = parse("demo", argv, DEMO)
    print(stories.story(request.variant()), end="\n\n")
    own = request.values["folder"] is None
    if own:
        request.values["folder"] = "runs/demo"
    with _set_aside(request.folder) if own and not request.values["resume"] else contextlib.nullcontext():
        variant, history = _train(request)
    dataset = evaluated(request.dataset, request.values["transform"])
    page = request.folder / "report.html"
    found = numbers(variant, dataset.test, num_samples=500, max_data=500)
    write(variant, dataset, page, history, configuration=request.as_yaml(), found=found)
    print_numbers(found)
    print("swap the prior, and everything changes with it: pyro-vae demo --prior=Vamp --prior.components=50")
    print(f"the report: {page}")


@contextlib.contextmanager
def _set_aside(folder: Path) -> Iterator[None]:
    """The files of an earlier demo out of the way of a new one; they come back where that does not get to an epoch."""
    if not folder.is_dir():
        yield
        return
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as aside:
        for name in ("last.pt", "best.pt", "history.csv", "run.yaml", "report.html"):
            if (folder / name).is_file():
                os.replace(folder / name, Path(aside, name))
        try:
            yield
        finally:
            if not (folder / "last.pt").exists():
                for path in Path(aside).iterdir():
                    os.replace(path, folder / path.name)


def show(argv: list[str]) -> None:
    """Print the story of a run, or of what would be trained."""
    from pyro_vae import stories

    named = argv[0] if argv and not argv[0].startswith("-") else ""
    if named and (Path(named).exists() or "/" in named or named.endswith(".pt")):
        if argv[1:]:
            raise ConfigurationError(f"show RUN takes no options, got {argv[1]}")
        run = open_run(named)
        variant, told = run.variant, f"trained for {run.history.epochs} epochs on {run.options.get('data', '?')}"
    else:
        request = parse("show", argv)
        variant, told = request.variant(), f"not trained yet; data: {request.dataset!r}"
    size = sum(parameter.numel() for parameter in variant.parameters())
    print(f"{stories.story(variant)}\n\n{variant!r}\n\n{size:,} parameters, {told}")


def evaluate(argv: list[str]) -> None:
    """Print the numbers of a run."""
    options = parser_of("evaluate").parse_args(_hyphened(argv))
    run = open_run(options.run, options.weights)
    dataset = run.dataset(options.data, options.root)
    split = getattr(dataset, options.split)
    if not len(split):
        raise DataError(f"{dataset.name} has no {options.split} data")
    found = numbers(run.variant, split, num_samples=options.num_samples, max_data=options.max_data, seed=options.seed)
    print(f"{run.path} on {len(split):,} {options.split} data of {dataset.name}")
    print_numbers(found)
    if options.json:
        content: dict[str, Any] = {
            "run": str(run.path),
            "data": dataset.name,
            "split": options.split,
            "num_samples": found.num_samples,
            "seed": options.seed,
            "unit": "nats per datum",
            "notes": found.notes,
        }
        content |= _as_json(found)
        write_text(options.json, json.dumps(content, indent=2) + "\n")


def _as_json(found: Numbers) -> dict[str, Any]:
    """Each number by its name; what is not known (NaN) is null."""
    rows = {
        row.name: {
            "label": row.label,
            "mean": row.mean,
            "standard_error": row.standard_error,
            "bits_per_dimension": row.bits_per_dimension,
            "data": row.data,
        }
        for row in found.rows.values()
    }
    scores = {
        score.name: {
            "unit": "of the label" if score.name.startswith("mean") else "share of data",
            "mean": score.mean,
            "standard_error": score.standard_error,
            "data": score.data,
        }
        for score in found.scores.values()
    }
    return {
        name: {key: None if value != value else value for key, value in content.items()}
        for name, content in (rows | scores).items()
    }


def generate(argv: list[str]) -> None:
    """Write new data."""
    options = parser_of("generate").parse_args(_hyphened(argv))
    out = Path(options.out)
    pictures, files = (".png", ".svg", ".pdf"), (".npy", ".npz", ".pt")
    if out.suffix not in (*pictures, *files):
        raise ConfigurationError(f"--out {options.out}: wanted a name that ends in {', '.join((*pictures, *files))}")
    if out.suffix in pictures and options.draw:
        raise ConfigurationError("--draw writes numbers, so --out must end in .npy, .npz or .pt")
    run = open_run(options.run, options.weights)
    y = _label(run.variant, options.y)
    with seeded(options.seed, run.variant.device):
        if out.suffix in pictures:
            from pyro_vae import plots

            plots.samples(run.variant, options.n, y=y).savefig(out, dpi=160)
        else:
            x = run.variant.generate(options.n, y, mean=not options.draw).cpu()
            if out.suffix == ".pt":
                torch.save(x, out)
            elif out.suffix == ".npz":
                np.savez(out, x=x.numpy())
            else:
                np.save(out, x.numpy())
    print(f"{options.n} {'draws' if options.draw else 'means'} in {out}")


def _label(variant: Variant, text: str | None) -> Any:
    """The label that ``--y`` names: a class, or properties with commas between them.

    Raises:
        ConfigurationError: when it names none, or there must be one and is not.
    """
    if text is None:
        if variant.labels == "all" and variant.generates_from_label:
            raise ConfigurationError(f"{type(variant).__name__} generates data for a given label: --y 3")
        return None
    try:
        values = [float(value) for value in text.split(",")]
    except ValueError:
        raise ConfigurationError(f"--y {text}: wanted a class, as in --y 3, or properties, as in --y 1.5,20") from None
    if variant.label is None or variant.label.shape or len(values) > 1:
        return values
    return int(values[0]) if values[0].is_integer() else values[0]


def report(argv: list[str]) -> None:
    """Write the page of a run."""
    from pyro_vae.report import write

    options = parser_of("report").parse_args(_hyphened(argv))
    run = open_run(options.run, options.weights)
    dataset = run.dataset(options.data, options.root)
    page = write(
        run.variant,
        dataset,
        options.out or run.path.parent / "report.html",
        run.history,
        configuration=run.text,
        num_samples=options.num_samples,
        max_data=options.max_data,
        seed=options.seed,
    )
    print(page)


def compare(argv: list[str]) -> None:
    """Compare systems that predict labels."""
    from pyro_vae import comparison, plots

    options = parser_of("compare").parse_args(_hyphened(argv))
    dataset = load(options.data, options.root)
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

    with _threads_for(0):
        found = comparison.compare(
            dataset,
            labels=labels,
            systems=systems,
            seeds=options.seeds,
            epochs=options.epochs,
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


def _hyphened(argv: list[str]) -> list[str]:
    """``--num_samples`` as ``--num-samples``: both spellings are taken."""
    return [
        "=".join([word.partition("=")[0].replace("_", "-"), *word.split("=", 1)[1:]]) if word.startswith("--") else word
        for word in argv
    ]


COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "demo": demo,
    "fit": fit,
    "show": show,
    "evaluate": evaluate,
    "generate": generate,
    "report": report,
    "compare": compare,
    "list": list_all,
}
"""Each takes the words after its name."""

"""The commands that read what was trained: ``show``, ``evaluate``, ``generate`` and ``report``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pyro_vae.cli.options import parse
from pyro_vae.cli.output import print_numbers
from pyro_vae.cli.parsers import parsed
from pyro_vae.cli.runs import open_run
from pyro_vae.errors import ConfigurationError, DataError
from pyro_vae.files import write_text
from pyro_vae.randomness import seeded
from pyro_vae.report.numbers import Numbers, numbers
from pyro_vae.variants import Variant

__all__ = ["evaluate", "generate", "report", "show"]


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
    options = parsed("evaluate", argv)
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
    options = parsed("generate", argv)
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

    options = parsed("report", argv)
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

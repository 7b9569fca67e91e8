"""Runs on disk: the folder that ``fit`` wrote, opened again."""

from __future__ import annotations

import difflib
import json
import pydoc
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyro_vae.cli import datasets
from pyro_vae.cli.plain import read_yaml
from pyro_vae.data import Dataset
from pyro_vae.errors import CheckpointError, ConfigurationError, check_choice
from pyro_vae.files import read_torch
from pyro_vae.training import History
from pyro_vae.variants import Variant, load

__all__ = ["OpenRun", "open_run"]


@dataclass
class OpenRun:
    """A trained variant and what is known about its training.

    Attributes:
        path: of the weights.
        variant: with its trained weights.
        options: what ``run.yaml`` says; empty when there is none.
        text: of ``run.yaml``.
        history: of the training; empty when there is none.
    """

    path: Path
    variant: Variant
    options: dict[str, Any] = field(default_factory=dict)
    text: str | None = None
    history: History = field(default_factory=History)

    def dataset(self, name: str | None = None, root: str | None = None) -> Dataset:
        """The data set that the run was trained on (or another), transformed as for training."""
        name = name or self.options.get("data")
        if not isinstance(name, str):
            raise CheckpointError(f"{str(self.path)!r} does not say what it was trained on; name the data: --data NAME")
        transform = self.options.get("transform")
        label = self.options.get("label_column") if name == self.options.get("data") else None
        dataset = datasets.load(name, root or self.options.get("root"), transform, label)
        return datasets.with_quadrants(datasets.evaluated(dataset, transform), self.options.get("quadrants"))


def open_run(name: str, weights: str | None = None) -> OpenRun:
    """Open a run's folder, or a file that ``variant.save`` wrote.

    Args:
        name: of the folder or file.
        weights: ``best`` or ``last`` epoch; by default the best where the run stopped early (``--patience``), as
            ``fit`` itself does.

    Raises:
        CheckpointError: when there is no run, or it is damaged.
    """
    path = Path(name)
    if not path.exists():
        raise CheckpointError(f"there is no run {name!r}{_nearest(path)}")
    folder = path if path.is_dir() else path.parent
    text: str | None = None
    options: dict[str, Any] = {}
    if (folder / "run.yaml").is_file():
        try:
            options = read_yaml(str(folder / "run.yaml"))
        except ConfigurationError as error:
            raise CheckpointError(f"damaged: {error}") from None
        text = (folder / "run.yaml").read_text(encoding="utf-8")
    if path.is_dir():
        chosen = weights or ("best" if options.get("patience") else "last")
        path = folder / f"{check_choice('weights', chosen, ['best', 'last'])}.pt"
        if not path.is_file():
            raise CheckpointError(f"folder {str(folder)!r} holds no run (no {path.name}); train one: pyro-vae fit VAE")
    for named in _classes(options):  # those outside this library must be imported before they are built
        pydoc.locate(named)
    return OpenRun(path, load(path), options, text, _history(folder, path))


def _classes(options: Any) -> Iterator[str]:
    """The import paths that options name."""
    if isinstance(options, dict):
        yield from (str(options[name]) for name in ("variant", "class_path") if name in options)
        for value in options.values():
            yield from _classes(value)
    elif isinstance(options, list):
        for value in options:
            yield from _classes(value)


def _history(folder: Path, path: Path) -> History:
    saved = folder / "last.pt"
    if path.name not in ("best.pt", "last.pt") or not saved.is_file():
        saved = path
    return History(json.loads(read_torch(saved).get("history", "{}")))


def _nearest(path: Path) -> str:
    if not path.parent.is_dir():
        return "; train one: pyro-vae fit VAE"
    known = [entry.name for entry in path.parent.iterdir() if (entry / "last.pt").is_file()]
    close = difflib.get_close_matches(path.name, known, n=1)
    return f"; did you mean {str(path.parent / close[0])!r}?" if close else "; train one: pyro-vae fit VAE"

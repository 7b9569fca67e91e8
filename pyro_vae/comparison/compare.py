"""Running a comparison cell by cell, so that it can be stopped and continued, and what came of it."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from pyro_vae.comparison.systems import SYSTEMS, System
from pyro_vae.comparison.tasks import Recipe, Task, make_task, pooled, recipe_for
from pyro_vae.data import Dataset, load
from pyro_vae.data.split import fingerprint
from pyro_vae.errors import ConfigurationError, check_choice, check_positive
from pyro_vae.files import make_folder, write_text
from pyro_vae.randomness import seeded

__all__ = ["Cell", "Comparison", "compare"]

_POOL = 10_000  # data whose hidden labels are predicted: enough for three digits of an accuracy


@dataclass(frozen=True)
class Cell:
    """One system, trained once.

    Attributes:
        data: name of the data set.
        labels: number of labels shown, ``None`` for all of them.
        system: its name.
        seed: of the cut, the labels and the training.
        test: accuracy on the test set.
        pool: accuracy on the training data whose labels were hidden (10,000 of them, if they are more), ``None`` where
            none were.
        seconds: of training.
        epochs: of the recipe.
        recipe: what the systems have in common (:meth:`Recipe.words`).
        fingerprint: of the data, as they were prepared, and their labels.
        split: ``"random"``, or ``"given"``: how the test set came about.
    """

    data: str
    labels: int | None
    system: str
    seed: int
    test: float
    pool: float | None
    seconds: float
    epochs: int
    recipe: str = ""
    fingerprint: str = ""
    split: str = "random"


class Comparison:
    """The cells of a comparison; made by :func:`compare`.

    Attributes:
        cells: all that have been run.
    """

    def __init__(self, cells: Sequence[Cell]) -> None:
        self.cells = list(cells)

    def columns(self) -> list[tuple[str, int | None]]:
        """Pairs of data set and number of labels, in order."""
        return list(dict.fromkeys((cell.data, cell.labels) for cell in self.cells))

    def systems(self) -> list[System]:
        """The systems that have cells, in the order of :data:`SYSTEMS`."""
        named = {cell.system for cell in self.cells}
        return [system for name, system in SYSTEMS.items() if name in named]

    def accuracies(self, system: str, data: str, labels: int | None, which: str = "test") -> list[float]:
        """The accuracies of one row and column, one for each seed; ``which`` is ``"test"`` or ``"pool"``."""
        found = [
            getattr(cell, which)
            for cell in self.cells
            if (cell.system, cell.data, cell.labels) == (system, data, labels)
        ]
        return [value for value in found if value is not None]

    def rows(self) -> list[list[str]]:
        """A table as text: the header first, accuracies in per cent, mean and standard error over seeds."""
        header = ["system"]
        for data, labels in self.columns():
            name = f"{data}, {'all' if labels is None else labels} labels"
            header += [name] if labels is None else [name, "its unlabelled pool"]
        table = [header]
        for system in self.systems():
            row = [system.words]
            for data, labels in self.columns():
                for which in ("test",) if labels is None else ("test", "pool"):
                    row.append(_per_cent(self.accuracies(system.name, data, labels, which)))
            table.append(row)
        return table

    def to_json(self) -> list[dict[str, Any]]:
        """All cells as plain values."""
        return [dataclasses.asdict(cell) for cell in self.cells]

    def __str__(self) -> str:
        rows = self.rows()
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        return "\n".join(
            "  ".join(
                cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        )

    __repr__ = __str__


def compare(
    data: str | Dataset = "digits",
    *,
    labels: Iterable[int | None] = (100, None),
    systems: Iterable[str] | None = None,
    seeds: int = 3,
    epochs: int | None = None,
    recipe: Recipe | None = None,
    split: str = "random",
    folder: str | os.PathLike[str] | None = None,
    report: Callable[[Cell, int, int], None] | None = None,
) -> Comparison:
    """Train systems on the same data with the same labels, and measure how many test data they name rightly.

    All data are cut into four fifths and one fifth for the test, anew for each seed, or as they were published; of the
    training data, ``labels`` many keep their labels.  All neural systems have networks of the same shape, see
    :data:`RECIPES`.

    Args:
        data: name of a data set, or the data set.
        labels: numbers of labels to show; ``None`` shows all.
        systems: names from :data:`SYSTEMS`; all if not given, but for those with data augmentation where the recipe
            has none.
        seeds: how many times everything is repeated.
        epochs: in place of the recipe's.
        recipe: what all systems share; that of :func:`recipe_for` if not given.
        split: ``"random"``, or ``"given"``: the test set is that of the data set, and its other data are trained on,
            the validation data among them.
        folder: where each cell is kept when it is done; one that is there already, of the same data and recipe, is not
            run again.
        report: called with each cell, its number and how many there are.

    Raises:
        ConfigurationError: for unknown systems, counts without a recipe, data without classes, without a test set
            of their own where that is asked for, or with fewer labels than are to be shown; before anything is trained.

    Example:
        >>> comparison = compare("digits", labels=[100], systems=["pixels"], seeds=2)
        >>> len(comparison.cells)
        2
    """
    dataset = load(data) if isinstance(data, str) else data
    recipe = recipe_for(dataset) if recipe is None else recipe
    if epochs is not None:
        recipe = dataclasses.replace(recipe, epochs=check_positive("epochs", epochs))
    possible = [name for name, system in SYSTEMS.items() if recipe.moves is not None or not system.augmented]
    chosen = dict.fromkeys(check_choice("systems", name, SYSTEMS) for name in systems or possible)
    if without := [name for name in chosen if name not in possible]:
        raise ConfigurationError(
            f"systems {', '.join(without)}: the recipe has no moves, small changes that leave the class of a datum as "
            f"it is; leave them out, or in Python give compare(..., recipe=Recipe(..., moves=...))"
        )
    numbers = dict.fromkeys(labels)
    plan = [(n, seed, name) for n in numbers for seed in range(check_positive("seeds", seeds)) for name in chosen]
    whole = pooled(dataset, recipe)
    classes = dataset.num_classes
    assert classes is not None
    num_test = len(dataset.test) if check_choice("split", split, ["random", "given"]) == "given" else None
    if num_test is not None and not dataset.test.labelled.any():
        raise ConfigurationError(f"split='given': data set {dataset.name!r} has no test set with labels; take 'random'")
    for n in numbers:  # now, not when the cells before it are done
        make_task(whole, classes, n, 0, recipe, num_test)
    kept = None if folder is None else make_folder(folder)
    words, digest = recipe.words(dataset.shape), fingerprint(whole.x, whole.y)
    cells = []
    for number, (n, seed, name) in enumerate(plan, start=1):
        cell = _read(kept, dataset.name, n, name, seed, split)
        if cell is None or (cell.recipe, cell.fingerprint) != (words, digest):
            task = make_task(whole, classes, n, seed, recipe, num_test)
            test, pool, seconds = _run(SYSTEMS[name], task)
            cell = Cell(dataset.name, n, name, seed, test, pool, seconds, recipe.epochs, words, digest, split)
            _write(kept, cell)
        cells.append(cell)
        if report is not None:
            report(cell, number, len(plan))
    return Comparison(cells)


def _run(system: System, task: Task) -> tuple[float, float | None, float]:
    """Accuracy on the test set and on the pool, and the seconds that training took."""
    start = time.perf_counter()
    with seeded(task.seed):
        predict = system.learn(task)
        seconds = time.perf_counter() - start
        hidden = task.hidden >= 0
        assert task.test.y is not None
        test = _accuracy(predict(task.test.x), task.test.y)
        hidden = hidden.nonzero()[:_POOL, 0]  # the data are in random order
        pool = _accuracy(predict(task.train.x[hidden]), task.hidden[hidden]) if len(hidden) else None
    return test, pool, seconds


def _accuracy(named: Tensor, true: Tensor) -> float:
    return (named.cpu() == true.cpu()).double().mean().item()


def _place(folder: Path, data: str, labels: int | None, system: str, seed: int, split: str) -> Path:
    data = data if split == "random" else f"{data}-{split}"
    return folder / f"{data}-{'all' if labels is None else labels}-{system}-{seed}.json"


def _read(folder: Path | None, data: str, labels: int | None, system: str, seed: int, split: str) -> Cell | None:
    if folder is None or not (path := _place(folder, data, labels, system, seed, split)).exists():
        return None
    try:
        return Cell(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        return None  # damaged, or of another version: it is run again


def _write(folder: Path | None, cell: Cell) -> None:
    if folder is not None:
        path = _place(folder, cell.data, cell.labels, cell.system, cell.seed, cell.split)
        write_text(path, json.dumps(dataclasses.asdict(cell), indent=1))


def _per_cent(values: list[float]) -> str:
    if not values:
        return "–"
    mean = 100 * statistics.mean(values)
    if len(values) == 1:
        return f"{mean:.2f}"
    return f"{mean:.2f} ± {100 * statistics.stdev(values) / math.sqrt(len(values)):.2f}"

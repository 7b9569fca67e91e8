"""What training reports."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

from pyro_vae.errors import nearest
from pyro_vae.files import written_whole

__all__ = ["History"]


class History(dict[str, list[Any]]):
    """One list per quantity, one entry per epoch; everything in nats per datum.

    ``elbo``, ``reconstruction`` and ``kl`` are averages over the epoch's batches as they were trained on (in
    training mode, weights moving), ``valid_elbo``, ``valid_reconstruction``, ``valid_kl`` are measured on the
    validation data after each epoch (with one of Pyro's own objectives, which report only their sum, the first three
    are measured on the training data after the epoch too), ``loss`` is what was minimised (with beta and free bits),
    ``bound`` is what an importance-weighted objective reached (with beta, without factors);
    ``valid_kl_per_dimension`` holds a list for each epoch.  ``beta``, ``lr`` and ``seconds`` say the rest.
    """

    @property
    def epochs(self) -> int:
        """Number of epochs done."""
        return len(self.get("loss", []))

    def __missing__(self, name: str) -> list[Any]:
        close = nearest(name, self)
        known = f"there are {', '.join(self)}" if close is None else f"did you mean {close!r}?"
        raise KeyError(f"the history has no {name!r}; {known}")

    def append(self, **values: Any) -> None:
        """Add the values of one epoch."""
        for name, value in values.items():
            self.setdefault(name, []).append(value)

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write one row per epoch; quantities that are lists become several columns.

        Raises:
            CheckpointError: when the file cannot be written; what was there before is intact.
        """
        rows = []
        for epoch in range(self.epochs):
            row: dict[str, Any] = {"epoch": epoch + 1}
            for name, values in self.items():
                if isinstance(values[epoch], list):
                    row |= {f"{name}_{d}": v for d, v in enumerate(values[epoch])}
                else:
                    row[name] = values[epoch]
            rows.append(row)
        with written_whole(Path(path)) as unfinished, unfinished.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]) if rows else ["epoch"])
            writer.writeheader()
            writer.writerows(rows)

    def __repr__(self) -> str:
        if not self.epochs:
            return "History(0 epochs)"
        shown = [n for n in ("elbo", "reconstruction", "kl", "valid_elbo") if n in self]
        last = ", ".join(f"{name} {self[name][-1]:.3f}" for name in shown)
        return f"History({self.epochs} epochs; at the end {last} nats per datum)"

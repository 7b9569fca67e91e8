"""What a run keeps in its folder, and how it is continued from there."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from typing import Any

from pyro_vae.errors import CheckpointError
from pyro_vae.files import make_folder, read_torch, tidy, write_torch
from pyro_vae.training.history import History
from pyro_vae.training.tensorboard import TensorBoard
from pyro_vae.variants.base import Variant

__all__ = ["Kept"]


class Kept:
    """The files of a run: ``last.pt``, ``best.pt``, ``history.csv`` and TensorBoard's events.

    Args:
        folder: where they are; created if need be.
        variant: that is trained.
        writes: whether this process writes them.
        tensorboard: whether there are events too.

    Raises:
        CheckpointError: when the folder cannot be written to.
        ConfigurationError: when the variant cannot be written as text, or the package tensorboard is missing.
    """

    def __init__(self, folder: str | os.PathLike[str], variant: Variant, writes: bool, tensorboard: bool) -> None:
        self.folder = make_folder(folder)
        self.variant = variant
        self.writes = writes
        self._config = json.loads(json.dumps(variant.config))  # now, not after an epoch: not all can be written
        self.last, self.best = self.folder / "last.pt", self.folder / "best.pt"
        self._table = self.folder / "history.csv"
        self._events = TensorBoard(self.folder) if tensorboard and writes else None
        if writes:
            for path in (self.last, self.best, self._table):
                tidy(path)

    def to_resume(self, resume: bool, settings: str) -> dict[str, Any] | None:
        """What ``last.pt`` holds, or ``None`` where there is nothing to continue, nor anything to be written over.

        Args:
            resume: whether the user asked to continue it.
            settings: what must be the same beside the variant, as JSON text.

        Raises:
            CheckpointError: when there is a run but the user did not ask for it, or it is another one.
        """
        path = str(self.last)
        if not self.last.exists():
            others = [each.name for each in (self.best, self._table) if each.exists()]
            if others and not resume:  # of a run that was killed in its first epoch, or of somebody else
                raise CheckpointError(
                    f"folder {str(self.folder)!r} holds {' and '.join(others)}, which this run would write over; name "
                    f"another folder, or say resume=True if they may go"
                )
            return None
        if not resume:
            raise CheckpointError(
                f"folder {str(self.folder)!r} already holds a run; continue it with resume=True, or name another folder"
            )
        saved = read_torch(path)
        if "training" not in saved:
            raise CheckpointError(f"{path!r} holds a variant but no run that could be resumed")
        if json.loads(saved["config"]) != self._config:
            raise CheckpointError(
                f"{path!r} is a run of another variant; give fit the variant that it was started with: "
                f"{saved['config']}"
            )
        ours, theirs = json.loads(settings), json.loads(saved["training"])
        changed = [f"{k}={theirs.get(k)!r} (now {ours[k]!r})" for k in ours if ours[k] != theirs.get(k)]
        if changed:
            raise CheckpointError(f"{path!r} was started with {', '.join(changed)}; resume with the same settings")
        return saved

    def best_weights(self) -> dict[str, Any] | None:
        """Those of ``best.pt``, if there is one."""
        return read_torch(self.best)["weights"] if self.best.exists() else None

    def keep(self, state: dict[str, Any], history: History) -> None:
        """Write what an epoch has made of the run.

        Args:
            state: what it is continued from, beside the variant.
            history: up to this epoch.
        """
        if not self.writes:
            return
        write_torch(self.last, {**self.variant.to_content(), **state, "history": json.dumps(history)})
        history.to_csv(self._table)
        if self._events is not None:
            self._events.write(history, history.epochs)

    def keep_best(self) -> None:
        """Write the weights as they are, which are the best so far."""
        if self.writes:
            self.variant.save(self.best)

    def finish(self, finish: Callable[[], None]) -> None:
        """Do in each file what is done when training ends, for the weights that it holds.

        Args:
            finish: does it to the variant.
        """
        if not self.writes:
            return
        now = copy.deepcopy(self.variant.state_dict())
        for path in (self.last, self.best):
            content = read_torch(path)
            self.variant.load_state_dict(content["weights"])
            finish()
            write_torch(path, content | self.variant.to_content())
        self.variant.load_state_dict(now)

    def close(self) -> None:
        """Finish TensorBoard's files."""
        if self._events is not None:
            self._events.close()

"""What a training run was asked to do."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyro_vae.configured import Configured
from pyro_vae.objectives.schedules import Schedule

__all__ = ["Settings"]


@dataclass
class Settings:
    """The arguments of :func:`pyro_vae.fit`, checked.

    ``lr_rule`` says what ``lr`` was made from, which may stretch with the number of epochs.
    """

    epochs: int
    batch_size: int
    lr: Schedule
    lr_rule: str
    optimizer: Callable[..., torch.optim.Optimizer]
    clip: float | None
    transform: Callable[[Tensor], Tensor] | None
    seed: int
    precision: str
    patience: int | None
    tensorboard: bool
    progress: bool | str
    compile: bool | str = "auto"
    labelled_batch_size: int | str | None = "auto"
    monitor: str | None = None
    warmup: int | None = None

    def as_text(self) -> str:
        """What must be the same when a run is resumed."""
        same = ("batch_size", "clip", "seed", "precision", "patience", "labelled_batch_size", "monitor", "warmup")
        named = {"transform": _name(self.transform), "optimizer": _name(self.optimizer), "lr": self.lr_rule}
        return json.dumps({name: getattr(self, name) for name in same} | named)


def _name(value: Any) -> Any:
    """What a function, or an argument of one, is called in every process."""
    if isinstance(value, functools.partial):
        named = {name: _name(argument) for name, argument in value.keywords.items()}
        return f"{_name(value.func)}({tuple(map(_name, value.args))}, {named})"
    if isinstance(value, Configured):
        return repr(value)
    return getattr(value, "__qualname__", type(value).__name__) if callable(value) else value

"""Keeping a variant's parameters out of Pyro's store while its own optimiser trains them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from pyro.nn import PyroModule
from torch import nn

from pyro_vae.objectives import ELBO

__all__ = ["unregistered"]


class _Inactive:
    """In place of the context in which Pyro's modules register what is asked of them."""

    active = 0
    used = True

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: Any) -> None:
        pass


@contextlib.contextmanager
def unregistered(module: nn.Module, objective: Any) -> Iterator[None]:
    """A context in which the programs of a module make no ``pyro.param`` statements for the weights of their parts.

    They would make one for each weight of a part whenever they use it, a fifth of a small network's step; SVI finds by
    them what its optimiser is to train, and ours knows.  Pyro's own objectives differentiate nothing without them, so
    for those modules are left as they are, and so are modules whose parameters are constrained or drawn from a prior.
    """
    found = [each for each in module.modules() if isinstance(each, PyroModule)]
    if not isinstance(objective, ELBO) or any(each._pyro_params or each._pyro_samples for each in found):
        yield
        return
    before = [each._pyro_context for each in found]
    for each in found:
        each._pyro_context = _Inactive()  # type: ignore[assignment]
    try:
        yield
    finally:
        for each, context in zip(found, before, strict=True):
            each._pyro_context = context

"""Whether a run is compiled."""

from __future__ import annotations

from typing import Any

from pyro_vae.errors import ConfigurationError
from pyro_vae.objectives import Compiled
from pyro_vae.training.batches import Batches

__all__ = ["GRAPH_PAYS_FROM", "MACHINE_CODE_PAYS_FROM", "as_compile", "compiled"]

GRAPH_PAYS_FROM = 1_000
"""Steps from which ``"auto"`` keeps a graph: 1 to 5 ms saved by each make up for the second or two that it takes."""

MACHINE_CODE_PAYS_FROM = 10_000
"""Steps from which ``"auto"`` makes machine code of it: what that saves makes up for half a minute."""


def as_compile(wanted: bool | str) -> bool | str:
    """``True``, ``False``, ``"graph"`` or ``"auto"``.

    Raises:
        ConfigurationError: for anything else.
    """
    if isinstance(wanted, bool) or wanted in ("auto", "graph"):
        return wanted
    raise ConfigurationError(f"compile must be True, False, 'graph' or 'auto', got {wanted!r}")


def compiled(objective: Any, wanted: bool | str, batches: Batches, epochs: int, begun: bool) -> Any:
    """The objective for a run: compiled, or as it is.

    ``"auto"`` goes by the number of steps alone: what depended on how long a step takes on the day would give other
    last digits on another day.

    Args:
        objective: of the variant.
        wanted: ``True``, ``False``, ``"graph"`` or ``"auto"``.
        batches: of an epoch.
        epochs: of the whole run, before and after it is resumed.
        begun: whether the run is resumed, so that its programs were checked already.

    Raises:
        ConfigurationError: for ``True`` or ``"graph"`` and an objective that cannot be compiled.
    """
    auto = wanted == "auto"
    if auto:
        wanted = _worthwhile(epochs * len(batches)) if hasattr(objective, "differentiable_loss") else False
    if not wanted or isinstance(objective, Compiled):
        return objective
    backend = "eager" if wanted == "graph" else "inductor"
    made = Compiled(objective, backend=backend, dynamic=not batches.alike, quiet=auto)
    made.checks_first = not begun
    made.announces = False  # the optimiser knows its parameters
    return made


def _worthwhile(steps: int) -> bool | str:
    if steps >= MACHINE_CODE_PAYS_FROM:
        return True
    return "graph" if steps >= GRAPH_PAYS_FROM else False

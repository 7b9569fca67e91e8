"""Whether a run is compiled."""

from __future__ import annotations

from typing import Any

from pyro_vae.errors import ConfigurationError
from pyro_vae.objectives import Compiled
from pyro_vae.training.batches import Batches

__all__ = ["PAYS_FROM", "as_compile", "compiled"]

PAYS_FROM = 10_000
"""Steps from which ``"auto"`` compiles: 1.5 to 40 ms saved by each make up for the 17 to 36 seconds that it takes."""


def as_compile(wanted: bool | str) -> bool | str:
    """``True``, ``False`` or ``"auto"``.

    Raises:
        ConfigurationError: for anything else.
    """
    if isinstance(wanted, bool) or wanted == "auto":
        return wanted
    raise ConfigurationError(f"compile must be True, False or 'auto', got {wanted!r}")


def compiled(objective: Any, wanted: bool | str, batches: Batches, epochs: int, begun: bool) -> Any:
    """The objective for a run: compiled, or as it is.

    ``"auto"`` goes by the number of steps alone: what depended on how long a step takes on the day would give other
    last digits on another day.

    Args:
        objective: of the variant.
        wanted: ``True``, ``False`` or ``"auto"``.
        batches: of an epoch.
        epochs: of the whole run, before and after it is resumed.
        begun: whether the run is resumed, so that its programs were checked already.

    Raises:
        ConfigurationError: for ``True`` and an objective that cannot be compiled.
    """
    auto = wanted == "auto"
    if auto:
        wanted = epochs * len(batches) >= PAYS_FROM and hasattr(objective, "differentiable_loss")
    if not wanted or isinstance(objective, Compiled):
        return objective
    made = Compiled(objective, dynamic=not batches.alike, quiet=auto)
    made.checks_first = not begun
    made.announces = False  # the optimiser knows its parameters
    return made

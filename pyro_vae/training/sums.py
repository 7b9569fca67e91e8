"""What the steps of an epoch add up to."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["Sums"]


class Sums:
    """Sums over the data that a process has seen in an epoch.

    What lies on a device is added up there and read once, by :meth:`so_far`: reading waits for the device.

    Example:
        >>> sums = Sums()
        >>> sums.add(3.0, None)
        >>> sums.add(4.0, None)
        >>> sums.so_far()
        {'loss': 7.0}
    """

    def __init__(self) -> None:
        self._loss = 0.0
        self._terms: Any = None
        self._factors: dict[str, Any] = {}

    def add(self, loss: float, terms: Any) -> None:
        """Add one step.

        Args:
            loss: of the step, a sum over its data.
            terms: what the objective reports of it, ``None`` of one of Pyro's own.
        """
        self._loss += loss
        if terms is None:
            return
        both = torch.stack([terms.reconstruction, terms.kl])
        self._terms = both if self._terms is None else self._terms + both
        bound = {} if terms.bound is None else {"bound": terms.bound}
        for name, value in (terms.factors | bound).items():
            self._factors[name] = self._factors.get(name, 0.0) + value

    @property
    def factors(self) -> list[str]:
        """Names of what is reported beside loss, reconstruction and KL."""
        return list(self._factors)

    def so_far(self) -> dict[str, float]:
        """``loss``, and ``reconstruction``, ``kl`` and factors where the objective reports them."""
        terms = [] if self._terms is None else zip(("reconstruction", "kl"), self._terms.tolist(), strict=True)
        return {"loss": self._loss, **dict(terms), **{name: value.item() for name, value in self._factors.items()}}

"""Data x that have no story: what a variant reads and does not explain."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pyro_vae.errors import ConfigurationError
from pyro_vae.labels import Output
from pyro_vae.likelihoods import Likelihood
from pyro_vae.likelihoods.base import check_event, check_finite, check_floating
from pyro_vae.parts import Shape
from pyro_vae.variants.base import Variant

__all__ = ["GivenData", "as_label"]


class GivenData(Variant):
    """A variant of p(y | x): x is any real data of a fixed shape, y is what is explained.

    Subclasses call ``_given`` with the event shape of x at the end of their constructors.
    """

    labels = "all"
    explains_data = False
    input_shape: Shape

    def _given(self, shape: Shape) -> None:
        self.input_shape = shape
        if not isinstance(self._arguments.get("shape", 0), int):
            self._arguments["shape"] = shape  # a list from a file prints like a tuple
        self._connect_objective()

    def _connect_objective(self) -> None:
        if hasattr(self, "input_shape"):  # not before it is known what data look like
            super()._connect_objective()

    @property
    def shape(self) -> Shape:
        """Event shape of one datum x."""
        return self.input_shape

    def generate(self, n: int = 1, y: Any = None, *, mean: bool = True) -> Tensor:
        """Not possible: x has no story here.

        Raises:
            ConfigurationError: always; says what to call.
        """
        raise ConfigurationError(f"{type(self).__name__} has no story of x; for y given x: predict(x).sample()")

    @property
    def transforms_labels(self) -> bool:  # type: ignore[override]
        """Yes where y is no label but data, such as the other pixels of the same image."""
        return isinstance(self.label, Output)

    def check_data(self, x: Tensor) -> None:
        check_event(x, self.input_shape, type(self).__name__)
        check_floating(x)
        check_finite(x)

    def initialise(self, x: Tensor, y: Tensor | None = None) -> None:
        # only y has parts that explain it; they know nothing of x
        self.meet_labels(y)
        self.initialised.fill_(True)

    def _example_data(self, n: int) -> Tensor:
        return torch.zeros(n, *self.shape, dtype=self.dtype, device=self.device)


def as_label(output: object) -> object:
    """A likelihood of y in the form of a label."""
    return Output(output) if isinstance(output, Likelihood) else output

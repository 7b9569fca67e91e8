"""What every likelihood offers."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.distributions import constraints

from pyro_vae.errors import DataError
from pyro_vae.parts import Conditional, Shape, as_shape, numel

__all__ = ["Likelihood"]


class Likelihood(Conditional):
    """p(x | z) over data of a fixed shape, independent over its elements given z.

    Args:
        shape: event shape of one datum: ``(1, 28, 28)``, ``(30,)``, or a number for vectors.

    Subclasses name the ``support``, and say in words what the support is and what to do about data outside it.
    """

    support: constraints.Constraint = constraints.real
    support_words = "finite real numbers"
    remedy = "remove or impute the values"
    shape: Shape

    def __init__(self, shape: int | Iterable[int]) -> None:
        super().__init__()
        self.shape = as_shape(shape)
        if not isinstance(self._arguments.get("shape", 0), int):
            self._arguments["shape"] = self.shape  # a torch.Size, or a list from a file, prints like a tuple

    def parameter_shape(self, shape: Shape) -> Shape:
        return (1, *shape)

    def split(self, parameters: Tensor) -> tuple[Tensor, ...]:
        """The parameters (\\*batch, n, \\*shape) as n tensors (\\*batch, \\*shape)."""
        return parameters.unbind(-1 - len(self.shape))

    def as_input(self, x: Tensor) -> Tensor:
        """What the encoder should see of x: floating point numbers of order one."""
        return x

    def starting_parameters(self, x: Tensor) -> Tensor | None:
        """Parameters (\\*parameter_shape) with which p(x | z) has the mean of the data ``x``, whatever z."""
        return None

    def initialise(self, x: Tensor) -> None:
        """Start the decoder's last bias at the data's mean: the first epochs need not learn it."""
        start = self.starting_parameters(x)
        if start is not None and self.network is not None:
            self.network.set_output(start.to(x.device))  # type: ignore[operator]

    def check(self, x: Tensor) -> None:
        """Check data (N, \\*shape) before training.

        Raises:
            DataError: wrong shape or dtype, missing values, or values outside the support.
        """
        if tuple(x.shape[1:]) != self.shape:
            hint = ""
            if tuple(x.shape) == self.shape:
                hint = "; for a single datum add the batch dimension: x[None]"
            elif numel(tuple(x.shape[1:])) == numel(self.shape):
                hint = f"; if only the arrangement differs: x.reshape(-1, {', '.join(map(str, self.shape))})"
            raise DataError(
                f"x: data of shape {tuple(x.shape)} do not fit {self!r}, which wants (N, "
                f"{', '.join(map(str, self.shape))}){hint}"
            )
        self.check_dtype(x)
        bad = ~torch.isfinite(x)
        if bad.any():
            raise DataError(f"x: {_count(bad)} NaN or infinite; remove or impute the values")
        outside = ~self.support.check(x)
        if outside.any():
            value = x[outside].flatten()[0].item()
            raise DataError(
                f"x: {_count(outside)} outside the support of {type(self).__name__}, which is "
                f"{self.support_words} (such a value is {value:g}); {self.remedy}"
            )

    def check_dtype(self, x: Tensor) -> None:
        """Check that x is of the floating point type that networks compute in."""
        if not torch.is_floating_point(x):
            hint = "x.float() / 255" if x.dtype == torch.uint8 and x.numel() and x.max() > 1 else "x.float()"
            raise DataError(f"x: data are {x.dtype}, wanted floating point; convert them: {hint}")


def _count(bad: Tensor) -> str:
    first = tuple(int(i) for i in bad.nonzero()[0])
    n = int(bad.sum())
    return f"{n:,} of {bad.numel():,} values {'is' if n == 1 else 'are'} (the first at {first})"

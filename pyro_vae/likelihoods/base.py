"""What every likelihood offers."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.distributions import constraints

from pyro_vae.errors import DataError
from pyro_vae.parts import Conditional, Shape, as_shape, numel

__all__ = ["Likelihood", "check_event", "check_finite", "check_floating"]


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
        check_event(x, self.shape, repr(self))
        self.check_dtype(x)
        check_finite(x)
        outside = ~self.support.check(x)
        if outside.any():
            value = x[outside].flatten()[0].item()
            raise DataError(
                f"x: {_count(outside)} outside the support of {type(self).__name__}, which is "
                f"{self.support_words} (such a value is {value:g}); {self.remedy}"
            )

    def check_dtype(self, x: Tensor) -> None:
        """Check that x is of the floating point type that networks compute in."""
        check_floating(x)


def check_event(x: Tensor, shape: Shape, wanted_by: str) -> None:
    """Check that data (N, \\*shape) have the wanted event shape.

    Raises:
        DataError: when they do not.
    """
    if tuple(x.shape[1:]) == shape:
        return
    hint = ""
    if tuple(x.shape) == shape:
        hint = "; for a single datum add the batch dimension: x[None]"
    elif numel(tuple(x.shape[1:])) == numel(shape):
        hint = f"; if only the arrangement differs: x.reshape(-1, {', '.join(map(str, shape))})"
    raise DataError(
        f"x: data of shape {tuple(x.shape)} do not fit {wanted_by}, which wants (N, {', '.join(map(str, shape))}){hint}"
    )


def check_finite(x: Tensor) -> None:
    """Check that no value is missing or infinite.

    Raises:
        DataError: when one is.
    """
    bad = ~torch.isfinite(x)
    if bad.any():
        raise DataError(f"x: {_count(bad)} NaN or infinite; remove or impute the values")


def check_floating(x: Tensor) -> None:
    """Check that data are of a floating point type.

    Raises:
        DataError: when they are not.
    """
    if not torch.is_floating_point(x):
        hint = "x.float() / 255" if x.dtype == torch.uint8 and x.numel() and x.max() > 1 else "x.float()"
        raise DataError(f"x: data are {x.dtype}, wanted floating point; convert them: {hint}")


def _count(bad: Tensor) -> str:
    first = tuple(int(i) for i in bad.nonzero()[0])
    n = int(bad.sum())
    return f"{n:,} of {bad.numel():,} values {'is' if n == 1 else 'are'} (the first at {first})"

"""What every likelihood offers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from pyro_vae.errors import DataError
from pyro_vae.parts import Conditional, Shape, as_shape, numel, support_of

__all__ = ["Likelihood", "check_event", "check_finite", "check_floating"]


class Likelihood(Conditional):
    """p(x | z) over data of a fixed shape, independent over its elements given z.

    Args:
        shape: event shape of one datum: ``(1, 28, 28)``, ``(30,)``, or a number for vectors.

    Subclasses may name the ``support``, and say in words what it is and what to do about data outside it.
    """

    support: constraints.Constraint | None = None
    """The set that each value of x lies in; where it is not named, that of the distribution itself."""

    support_words = ""
    """The support, as errors tell it."""

    remedy = "remove or change these values, or use a likelihood for such data"
    """What to do about values outside the support, as errors tell it."""

    shape: Shape

    def __init__(self, shape: int | Iterable[int]) -> None:
        super().__init__()
        self.shape = as_shape(shape)
        if not isinstance(self._arguments.get("shape", 0), int):
            self._arguments["shape"] = self.shape  # a torch.Size, or a list from a file, prints like a tuple

    def parameter_shape(self, shape: Shape) -> Shape:
        return (1, *shape)

    def as_input(self, x: Tensor) -> Tensor:
        """What the encoder should see of x: floating point numbers of order one."""
        return x

    def starting_parameters(self, x: Tensor) -> Tensor | None:
        """Parameters (\\*parameter_shape) with which p(x | z) has the mean of the data ``x``, whatever z."""
        return None

    def initialise(self, x: Tensor) -> None:
        """Start the decoder's last bias at the data's mean: the first epochs need not learn it."""
        start = self.starting_parameters(x)
        if start is not None and hasattr(self.network, "set_output"):  # a network of the user's own need not have it
            self.network.set_output(start.to(x.device))  # type: ignore[union-attr, operator]

    def check(self, x: Tensor) -> None:
        """Check data (N, \\*shape) before training.

        Raises:
            DataError: wrong shape or dtype, missing values, or values outside the support.
        """
        check_event(x, self.shape, repr(self))
        self.check_dtype(x)
        check_finite(x)
        support = self.support or self._support_of_distribution(x)
        outside = ~support.check(x)
        if outside.any():
            lie = "lies" if outside.sum() == 1 else "lie"
            raise DataError(
                f"x: {_count(outside)} {lie} outside the support of {type(self).__name__}, which is "
                f"{self.support_words or _told(support)} (the first, at {_first(outside)}, is "
                f"{x[outside].flatten()[0].item():g}); {self.remedy_for(x)}"
            )

    def remedy_for(self, x: Tensor) -> str:
        """What to do about data (N, \\*shape) of which some lie outside the support."""
        return self.remedy

    @torch.no_grad()
    def _support_of_distribution(self, x: Tensor) -> constraints.Constraint:
        """The support, where it is the same whatever the parameters; else, and where it is not told, the reals."""
        made = (torch.full(self.parameter_shape(self.shape), value, device=x.device) for value in (0.0, 1.0))
        with contextlib.suppress(Exception):  # a family may refuse such parameters, or keep its support to itself
            one, other = (support_of(self.distribution(parameters)) for parameters in made)
            if one is not None and _alike(vars(one), vars(other)):
                return one
        return constraints.real

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
        are = "is" if bad.sum() == 1 else "are"
        raise DataError(
            f"x: {_count(bad)} {are} NaN or infinite (the first at {_first(bad)}); drop such data or impute the values"
        )


def check_floating(x: Tensor) -> None:
    """Check that data are of a floating point type.

    Raises:
        DataError: when they are not.
    """
    if not torch.is_floating_point(x):
        hint = "x.float() / 255" if x.dtype == torch.uint8 and x.numel() and x.max() > 1 else "x.float()"
        raise DataError(f"x: data are {x.dtype}, wanted floating point; convert them: {hint}")


def _count(bad: Tensor) -> str:
    return f"{int(bad.sum()):,} of {bad.numel():,} values"


def _first(bad: Tensor) -> tuple[int, ...]:
    return tuple(bad.nonzero()[0].tolist())


def _told(support: Any) -> str:
    """A constraint in words, as far as intervals go."""
    low, high = (getattr(support, end, None) for end in ("lower_bound", "upper_bound"))
    if low is None and high is None:
        return str(support)
    words = "whole numbers" if support.is_discrete else "numbers"
    if low is not None:
        words += (
            f" {'above' if isinstance(support, constraints.greater_than) else 'from'} {torch.as_tensor(low).min():g}"
        )
    return f"{words} to {torch.as_tensor(high).max():g}" if high is not None else f"{words} on"


def _alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether the bounds of two constraints of one family are the same."""
    return one.keys() == other.keys() and all(bool((torch.as_tensor(one[key]) == other[key]).all()) for key in one)

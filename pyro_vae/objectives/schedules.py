"""Numbers that change during training: the weight of the KL, the learning rate."""

from __future__ import annotations

import math
import numbers

from pyro_vae.configured import Configured
from pyro_vae.errors import ConfigurationError, check_positive

__all__ = ["Constant", "Cosine", "Cyclical", "Geometric", "Linear", "Ramp", "Schedule", "Sigmoid", "as_schedule"]


class Schedule(Configured):
    """A number as a function of the time in epochs, which may be fractional.

    It has no state, so that a resumed run continues it exactly.
    """

    def __call__(self, epoch: float) -> float:
        """The value at ``epoch`` >= 0."""
        raise NotImplementedError

    def over(self, epochs: float) -> Schedule:
        """The schedule of a run of so many epochs; most do not depend on it."""
        return self

    def final(self) -> float:
        """The value that it settles at."""
        return self(float("inf"))


class Constant(Schedule):
    """Always ``value``."""

    def __init__(self, value: float) -> None:
        self.value = float(value)

    def __call__(self, epoch: float) -> float:
        return self.value


def _check_epochs(what: str, epochs: float) -> float:
    if not epochs > 0:
        raise ConfigurationError(f"{what} must be a positive number of epochs, got {epochs!r}")
    return float(epochs)


class Linear(Schedule):
    """From ``start`` to ``end`` in a straight line over ``epochs``, then ``end``.

    As ``beta`` from 0 to 1: KL annealing (Bowman et al. 2016, https://arxiv.org/abs/1511.06349).

    Example:
        >>> warmup = Linear(0.0, 1.0, epochs=10)
        >>> warmup(0), warmup(2.5), warmup(50)
        (0.0, 0.25, 1.0)
    """

    def __init__(self, start: float = 0.0, end: float = 1.0, epochs: float = 10.0) -> None:
        self.start, self.end = float(start), float(end)
        self.epochs = _check_epochs("epochs of Linear", epochs)

    def __call__(self, epoch: float) -> float:
        return self.start + (self.end - self.start) * min(epoch / self.epochs, 1.0)


class Geometric(Schedule):
    """From ``start`` to ``end`` by the same factor in each step over ``epochs``, then ``end``.

    Example:
        >>> falling = Geometric(16.0, 1.0, epochs=4)
        >>> falling(0), falling(1), falling(2), falling(9)
        (16.0, 8.0, 4.0, 1.0)
    """

    def __init__(self, start: float = 10.0, end: float = 1.0, epochs: float = 10.0) -> None:
        self.start, self.end = _check_factors("Geometric", start, end)
        self.epochs = _check_epochs("epochs of Geometric", epochs)

    def __call__(self, epoch: float) -> float:
        return self.start * (self.end / self.start) ** min(epoch / self.epochs, 1.0)


def _check_factors(what: str, *values: float) -> tuple[float, ...]:
    if not all(value > 0 for value in values):
        raise ConfigurationError(f"start and end of {what} must be positive, got {values}")
    return tuple(map(float, values))


class Ramp(Schedule):
    """From ``start`` to ``end`` over a share of the training, then ``end``.

    A :class:`Geometric` that stretches with the number of epochs of :func:`pyro_vae.fit`.  By itself, its time is the
    share of the training that has passed.

    Args:
        start: value at the beginning.
        end: value at the end.
        share: of the training, between 0 and 1, after which ``end`` is reached.

    Example:
        >>> Ramp(40.0, 2.0, share=0.5).over(epochs=20)(10)
        2.0
    """

    def __init__(self, start: float = 10.0, end: float = 1.0, share: float = 0.5) -> None:
        self.start, self.end = _check_factors("Ramp", start, end)
        if not 0 < share <= 1:
            raise ConfigurationError(f"share of Ramp is a part of the training, in (0, 1], got {share!r}")
        self.share = float(share)

    def __call__(self, epoch: float) -> float:
        return self.over(1.0)(epoch)

    def over(self, epochs: float) -> Geometric:
        return Geometric(self.start, self.end, epochs=self.share * epochs)


class Sigmoid(Schedule):
    """From ``start`` to ``end`` along a logistic curve over ``epochs``, then ``end``.

    Args:
        start: value at the beginning.
        end: value at the end.
        epochs: duration.
        steepness: of the curve; it covers the logistic function between -steepness and +steepness.
    """

    def __init__(self, start: float = 0.0, end: float = 1.0, epochs: float = 10.0, steepness: float = 6.0) -> None:
        self.start, self.end = float(start), float(end)
        self.epochs = _check_epochs("epochs of Sigmoid", epochs)
        if not steepness > 0:
            raise ConfigurationError(f"steepness of Sigmoid must be positive, got {steepness!r}")
        self.steepness = float(steepness)

    def __call__(self, epoch: float) -> float:
        def logistic(t: float) -> float:
            return (1 + math.tanh(t / 2)) / 2  # never overflows

        low = logistic(-self.steepness)
        position = logistic(self.steepness * (2 * min(epoch / self.epochs, 1.0) - 1))
        return self.start + (self.end - self.start) * (position - low) / (1 - 2 * low)


class Cyclical(Schedule):
    """Again and again from ``start`` to ``end``: up over a part of each period, then flat.

    Args:
        start: value at the beginning of each period.
        end: value that it rises to, and settles at after the last period.
        period: epochs of one period.
        rise: the part of the period spent rising.
        cycles: number of periods.

    References:
        Fu et al., Cyclical Annealing Schedule, 2019, equation 6 (https://arxiv.org/abs/1903.10145)
    """

    def __init__(
        self, start: float = 0.0, end: float = 1.0, period: float = 10.0, rise: float = 0.5, cycles: int = 4
    ) -> None:
        self.start, self.end = float(start), float(end)
        self.period = _check_epochs("period of Cyclical", period)
        if not 0 < rise <= 1:
            raise ConfigurationError(f"rise of Cyclical is a part of the period, in (0, 1], got {rise!r}")
        self.rise, self.cycles = float(rise), check_positive("cycles of Cyclical", cycles)

    def __call__(self, epoch: float) -> float:
        if epoch >= self.period * self.cycles:
            return self.end
        within = (epoch % self.period) / self.period
        return self.start + (self.end - self.start) * min(within / self.rise, 1.0)


class Cosine(Schedule):
    """From ``start`` to ``end`` along half a cosine over ``epochs``, after ``hold`` epochs at ``start``.

    References:
        Loshchilov & Hutter, SGDR, 2017, equation 5, without restarts (https://arxiv.org/abs/1608.03983)
    """

    def __init__(self, start: float = 1.0, end: float = 0.0, epochs: float = 10.0, hold: float = 0.0) -> None:
        self.start, self.end = float(start), float(end)
        self.epochs = _check_epochs("epochs of Cosine", epochs)
        self.hold = float(hold)

    def __call__(self, epoch: float) -> float:
        position = min(max(epoch - self.hold, 0.0) / self.epochs, 1.0)
        return self.end + (self.start - self.end) * (1 + math.cos(math.pi * position)) / 2


def as_schedule(value: float | Schedule, what: str) -> Schedule:
    """A number as a constant schedule; schedules as they are.

    Raises:
        ConfigurationError: for anything else, and for values that are negative or not finite.
    """
    if isinstance(value, Schedule):
        schedule = value
    elif isinstance(value, numbers.Real) and not isinstance(value, bool):  # NumPy's too
        schedule = Constant(float(value))
    else:
        raise ConfigurationError(f"{what} must be a number or a schedule (objectives.Linear(...)), got {value!r}")
    for moment in (0.0, float("inf")):
        if not 0 <= schedule(moment) < float("inf"):
            raise ConfigurationError(f"{what} must be finite and not negative, got {schedule(moment)!r}")
    return schedule

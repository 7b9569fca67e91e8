"""The errors of the library, and the checks that raise them.

Every message names what was wrong, what was wanted, what was got, and how to mend it.
"""

from __future__ import annotations

import difflib
import numbers
from collections.abc import Iterable

__all__ = [
    "CheckpointError",
    "ConfigurationError",
    "DataError",
    "NonFiniteLossError",
    "check_choice",
    "check_count",
    "check_positive",
    "nearest",
]


class ConfigurationError(ValueError):
    """A variant or part was put together wrongly."""


class DataError(ValueError):
    """Data do not fit the variant: shape, dtype, support or missing values."""


class CheckpointError(RuntimeError):
    """A file cannot be written, is no checkpoint, is damaged, or belongs to something else."""


class NonFiniteLossError(FloatingPointError):
    """The loss became NaN or infinite; the message names the site that caused it."""


def check_choice(what: str, value: str, choices: Iterable[str]) -> str:
    """Return ``value`` if it is one of ``choices``.

    Raises:
        ConfigurationError: with the nearest right choice.

    Example:
        >>> check_choice("activation", "rellu", ["relu", "tanh"])
        Traceback (most recent call last):
        pyro_vae.errors.ConfigurationError: activation 'rellu' is unknown; did you mean 'relu'? (relu, tanh)
    """
    known = sorted(choices)
    if value in known:
        return value
    close = nearest(value, known)
    hint = "choose one of" if close is None else f"did you mean {close!r}?"
    raise ConfigurationError(f"{what} {value!r} is unknown; {hint} ({', '.join(known)})")


def nearest(value: object, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The name that was probably meant by one that is not known, or ``None``; capitals do not count.

    Example:
        >>> nearest("rellu", ["ReLU", "tanh"])
        'ReLU'
    """
    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(str(value).lower(), by_lower, n=1, cutoff=cutoff)
    return by_lower[close[0]] if close else None


def check_count(what: str, value: int, least: int) -> int:
    """Return ``value`` if it is a whole number of at least ``least``.

    Raises:
        ConfigurationError: when it is not.
    """
    if not isinstance(value, numbers.Real) or isinstance(value, bool) or value % 1 or value < least:
        raise ConfigurationError(f"{what} must be a whole number of at least {least}, got {value!r}")
    return int(value)


def check_positive(what: str, value: int) -> int:
    """Return ``value`` if it is a whole number of at least one.

    Raises:
        ConfigurationError: when it is not.
    """
    return check_count(what, value, 1)

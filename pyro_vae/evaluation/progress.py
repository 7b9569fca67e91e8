"""A bar that shows how far a long estimate has got."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

__all__ = ["Advance", "progress_bar"]

Advance = Callable[[float], object]
"""Called with what has been done since the last time."""

_FORMAT = "{desc}: {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}]"


@contextlib.contextmanager
def progress_bar(what: str, total: float, shown: bool | str = "auto") -> Iterator[Advance]:
    """A context with a bar on the standard error stream, which appears after a second and leaves nothing behind.

    Args:
        what: is under way.
        total: all there is to do, in any unit.
        shown: whether there is a bar; ``"auto"`` shows it on terminals.

    Yields:
        The function that moves the bar.

    Example:
        >>> with progress_bar("annealing", 10, shown=False) as advance:
        ...     advance(2.5)
    """
    from tqdm import tqdm  # imported where it is used

    hidden = not (sys.stderr.isatty() if shown == "auto" else shown)
    with tqdm(total=total, desc=what, disable=hidden, bar_format=_FORMAT, leave=False, delay=1) as bar:
        yield bar.update

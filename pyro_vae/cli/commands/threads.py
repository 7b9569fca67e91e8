"""How many threads a command computes on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

__all__ = ["threads_for"]


SMALL = 100_000
"""Networks of fewer parameters are trained on one thread."""


@contextlib.contextmanager
def threads_for(size: int) -> Iterator[None]:
    """One thread for a network of few parameters: more gain it nothing, and on a busy machine lose very much."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if size < SMALL else threads)
    try:
        yield
    finally:
        torch.set_num_threads(threads)

"""Random draws that repeat, and that nobody outside notices."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

__all__ = ["seeded"]


@contextlib.contextmanager
def seeded(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """A context whose draws follow from ``seed``; the random state outside is as before when it ends.

    The states of the CPU and of ``device`` are saved, seeded and restored; other devices are left alone.

    Args:
        seed: of the draws inside.
        device: where, beside the CPU, they are made.

    Example:
        >>> before = torch.get_rng_state()
        >>> with seeded(0):
        ...     first = torch.rand(3)
        >>> with seeded(0):
        ...     torch.equal(torch.rand(3), first)
        True
        >>> torch.equal(torch.get_rng_state(), before)
        True
    """
    device = torch.device(device)
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        # torch.manual_seed would seed devices whose state is not restored
        torch.default_generator.manual_seed(seed)
        for each in cuda:
            with torch.cuda.device(each):
                torch.cuda.manual_seed(seed)
        yield

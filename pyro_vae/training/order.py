"""Which data each batch of each epoch holds."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from pyro_vae.errors import ConfigurationError

__all__ = ["LISTED", "Order", "permutation"]

LISTED = 2**20
"""Up to so many data a permutation is a list of them; beyond, it is computed entry by entry, and takes no memory."""


def permutation(n: int, generator: torch.Generator, listed: int = LISTED) -> Callable[[Tensor], Tensor]:
    r"""A random permutation of 0, ..., n - 1: a function of positions (B,), int64, that gives their entries (B,).

    Args:
        n: how many.
        generator: what it follows from.
        listed: up to which ``n`` it is torch's.  Beyond, it is a Feistel network on the pairs of halves of the
            position's bits, (l, r) -> (r, l XOR f(r)), six times with an f that mixes in a random key each time.  That
            permutes the 4^w >= n numbers of two halves of w bits; those that fall beyond n are sent through once more.

    References:
        Luby & Rackoff, 1988, on permutations from functions; Black & Rogaway, 2002, on those of n numbers.

    Example:
        >>> shuffled = permutation(10**12, torch.Generator().manual_seed(0))
        >>> shuffled(torch.arange(3)).shape
        torch.Size([3])
    """
    if n <= listed:
        order = torch.randperm(n, generator=generator)
        return lambda positions: order[positions]
    bits = (n.bit_length() + 1) // 2
    low = (1 << bits) - 1
    keys = torch.randint(1 << 62, (6,), generator=generator).tolist()

    def entries(positions: Tensor) -> Tensor:
        found = _network(positions, keys, bits, low)
        while (beyond := found >= n).any():
            found[beyond] = _network(found[beyond], keys, bits, low)
        return found

    return entries


def _network(values: Tensor, keys: list[int], bits: int, low: int) -> Tensor:
    left, right = values >> bits, values & low
    for key in keys:
        # products of int64 wrap around; the shifts bring the mixed high bits down
        mixed = (right ^ key) * 0x9E3779B97F4A7C1
        mixed = (mixed ^ (mixed >> 32)) * 0x3F58476D1CE4E5B9
        left, right = right, left ^ ((mixed >> 32) & low)
    return (left << bits) | right


class Order:
    """A new order of the data in each epoch, cut into batches, and of each batch the share of one process.

    The order depends on ``seed`` and the epoch alone, so that a resumed run sees the batches that the
    interrupted one would have seen, also in another number of processes.

    Args:
        n: number of data.
        batch_size: most data in a batch of all processes; an epoch is cut into as few batches as that needs, of equal
            size but for one datum, so that no rest is left with a batch of its own (which batch norm cannot use).
        seed: of the order.
        known: which data have labels, (n,); ``None`` where none has, or it is not known.
        labelled_batch_size: an epoch is a pass over the data without labels, and each batch has so many data with
            labels in addition, which return as often as that takes; ``None`` takes all data once each.
        share: which of how many processes this is: the r-th takes every datum of a batch that lies at r, r + P, ...

    Raises:
        ConfigurationError: when a batch has less data than there are processes.
    """

    def __init__(
        self,
        n: int,
        batch_size: int,
        seed: int,
        known: Tensor | None = None,
        labelled_batch_size: int | None = None,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        self.seed = seed
        self.share = share
        self.labelled_batch_size = labelled_batch_size
        self._mixed = known is not None and bool(known.any() != known.all())
        self._passed: Tensor | None = None  # all
        self._repeated = torch.arange(0)
        if known is None:
            self.labelled_batch_size = None
        elif labelled_batch_size is not None:
            everything = torch.arange(n)
            self._passed, self._repeated = everything[~known], everything[known]
            self.labelled_batch_size = min(labelled_batch_size, len(self._repeated))
        self._number = n if self._passed is None else len(self._passed)
        self.batch_size = min(batch_size, self._number)
        if (least := self._number // len(self)) < share[1]:
            raise ConfigurationError(
                f"batch_size is that of all processes together: a batch of {least} cannot be shared by {share[1]}; "
                f"take a larger batch_size, or fewer processes"
            )

    def __len__(self) -> int:
        return -(-self._number // self.batch_size)

    @property
    def data_per_epoch(self) -> int:
        """How many data the batches of an epoch have together, those of all processes."""
        return self._number + len(self) * (self.labelled_batch_size or 0)

    @property
    def alike(self) -> bool:
        """Whether all batches have the same number of data with labels, and of data without."""
        fixed = not self._mixed or self.labelled_batch_size is not None
        return fixed and self._number % len(self) == 0

    def chosen(self, epoch: int) -> Iterator[Tensor]:
        """Which data this process has in each batch of an epoch, counted from 1: indices (B,)."""
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + epoch) % 2**63)
        shuffled = permutation(self._number, generator)
        repeated = self._endless(generator)
        size, larger = divmod(self._number, len(self))
        start = 0
        for batch in range(len(self)):
            stop = start + size + (batch < larger)
            rows = shuffled(torch.arange(start, stop))
            start = stop
            if self._passed is not None:
                again = torch.tensor(list(itertools.islice(repeated, self.labelled_batch_size)), dtype=torch.long)
                rows = torch.cat([again, self._passed[rows]])
            rank, processes = self.share
            yield rows[rank::processes]

    def _endless(self, generator: torch.Generator) -> Iterator[int]:
        while len(self._repeated):
            yield from self._repeated[torch.randperm(len(self._repeated), generator=generator)].tolist()

"""Minibatches sliced from tensors that lie on the device."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from pyro_vae.program import labelled

__all__ = ["Batches"]


class Batches:
    """The data in a new order each epoch.

    The order depends on ``seed`` and the epoch alone, so that a resumed run sees the batches that the
    interrupted one would have seen.

    Args:
        x: data (N, \\*shape), on the device.
        y: their labels, or ``None``.
        batch_size: most data in a batch; an epoch is cut into as few batches as that needs, of equal size but for one
            datum, so that no rest is left with a batch of its own (which batch norm cannot use).
        seed: of the order.
        transform: applied to each batch and its labels.
        labelled_batch_size: an epoch is a pass over the data without labels, and each batch has so many data with
            labels in addition, which return as often as that takes; ``None`` takes all data once each.
    """

    def __init__(
        self,
        x: Tensor,
        y: Tensor | None,
        batch_size: int,
        seed: int,
        transform: Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor | None]] | None = None,
        labelled_batch_size: int | None = None,
    ) -> None:
        self.x = x
        self.y = y
        self.seed = seed
        self.transform = transform
        self.labelled_batch_size = labelled_batch_size
        everything = torch.arange(len(x))
        known = torch.ones(len(x), dtype=torch.bool) if y is None else labelled(y).cpu()
        self._mixed = bool(known.any() and not known.all())
        self._passed, self._repeated = everything, everything[:0]
        if labelled_batch_size is not None and y is not None:
            self._passed, self._repeated = everything[~known], everything[known]
            self.labelled_batch_size = min(labelled_batch_size, len(self._repeated))
        self.batch_size = min(batch_size, len(self._passed))

    def __len__(self) -> int:
        return -(-len(self._passed) // self.batch_size)

    @property
    def data_per_epoch(self) -> int:
        """How many data the batches of an epoch have together."""
        return len(self._passed) + len(self) * (self.labelled_batch_size or 0)

    @property
    def alike(self) -> bool:
        """Whether all batches have the same number of data with labels, and of data without."""
        fixed = not self._mixed or self.labelled_batch_size is not None
        return fixed and len(self._passed) % len(self) == 0

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        """The batches of an epoch, counted from 1."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        order = self._passed[torch.randperm(len(self._passed), generator=generator)]
        repeated = self._endless(generator)
        for chosen in order.tensor_split(len(self)):
            if self.labelled_batch_size is not None:
                again = torch.tensor(list(itertools.islice(repeated, self.labelled_batch_size)), dtype=torch.long)
                chosen = torch.cat([again, chosen])
            chosen = chosen.to(self.x.device)
            batch = self.x[chosen], None if self.y is None else self.y[chosen]
            yield batch if self.transform is None else self.transform(*batch)

    def _endless(self, generator: torch.Generator) -> Iterator[int]:
        while len(self._repeated):
            yield from self._repeated[torch.randperm(len(self._repeated), generator=generator)].tolist()

"""Minibatches sliced from tensors that lie on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

__all__ = ["Batches"]


class Batches:
    """The data in a new order each epoch.

    The order depends on ``seed`` and the epoch alone, so that a resumed run sees the batches that the
    interrupted one would have seen.

    Args:
        x: data (N, \\*shape), on the device.
        batch_size: most data in a batch; an epoch is cut into as few batches as that needs, of equal size but for one
            datum, so that no rest is left with a batch of its own (which batch norm cannot use).
        seed: of the order.
        transform: applied to each batch, such as :func:`pyro_vae.data.binarize`.
    """

    def __init__(
        self, x: Tensor, batch_size: int, seed: int, transform: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        self.x = x
        self.batch_size = min(batch_size, len(x))
        self.seed = seed
        self.transform = transform

    def __len__(self) -> int:
        return -(-len(self.x) // self.batch_size)

    def epoch(self, epoch: int) -> Iterator[Tensor]:
        """The batches of an epoch, counted from 1."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        order = torch.randperm(len(self.x), generator=generator).to(self.x.device)
        for chosen in order.tensor_split(len(self)):
            batch = self.x[chosen]
            yield batch if self.transform is None else self.transform(batch).to(batch)

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
        batch_size: data in a batch; the last one of an epoch may have fewer.
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
        for chosen in order.split(self.batch_size):
            batch = self.x[chosen]
            yield batch if self.transform is None else self.transform(batch)

"""Minibatches: sliced from tensors that lie on the device, or read as they are needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import Tensor

from pyro_vae.data import Streamed
from pyro_vae.program import labelled
from pyro_vae.training.order import Order

__all__ = ["Batches", "StreamedBatches"]


class Batches(Order):
    """Batches of data that lie on the device, in a new order each epoch.

    Args:
        x: data (N, \\*shape), on the device.
        y: their labels, or ``None``.
        batch_size: most data in a batch (:class:`pyro_vae.training.order.Order`).
        seed: of the order.
        transform: applied to each batch and its labels.
        labelled_batch_size: how many data with labels each batch has in addition; ``None`` takes all data alike.
        share: which of how many processes this is.
    """

    def __init__(
        self,
        x: Tensor,
        y: Tensor | None,
        batch_size: int,
        seed: int,
        transform: Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor | None]] | None = None,
        labelled_batch_size: int | None = None,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        known = None if y is None else labelled(y).cpu()
        super().__init__(len(x), batch_size, seed, known, labelled_batch_size, share)
        self.x = x
        self.y = y
        self.transform = transform

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        """The batches of an epoch, counted from 1."""
        for rows in self.chosen(epoch):
            rows = rows.to(self.x.device)
            batch = self.x[rows], None if self.y is None else self.y[rows]
            yield batch if self.transform is None else self.transform(*batch)


class StreamedBatches(Order):
    """Batches that are read as they are needed, in a new order each epoch.

    Args:
        stream: the data.
        prepare: checks what was read, and brings it to the device.
        batch_size: most data in a batch (:class:`pyro_vae.training.order.Order`).
        seed: of the order.
        known: which data have labels, (N,), where that is known.
        labelled_batch_size: how many data with labels each batch has in addition; ``None`` takes all data alike.
        share: which of how many processes this is.
    """

    def __init__(
        self,
        stream: Streamed,
        prepare: Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor | None]],
        batch_size: int,
        seed: int,
        known: Tensor | None = None,
        labelled_batch_size: int | None = None,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        super().__init__(len(stream), batch_size, seed, known, labelled_batch_size, share)
        self._labels_known = stream.y_shape is None or known is not None
        self.stream = stream
        self.prepare = prepare

    @property
    def alike(self) -> bool:
        """Not known before all labels are."""
        return self._labels_known and super().alike

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        """The batches of an epoch, counted from 1."""
        rank, processes = self.share
        for x, y in self.stream.batches(self.chosen(epoch), seed=(self.seed * 1_000_003 + epoch) * processes + rank):
            yield self.prepare(x, y)

"""The data of a run: held on the device, or read as they are needed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from pyro_vae.data import Split, Streamed, as_split
from pyro_vae.errors import ConfigurationError, DataError
from pyro_vae.program import labelled
from pyro_vae.randomness import seeded
from pyro_vae.training.batches import Batches, StreamedBatches
from pyro_vae.variants.base import Variant

__all__ = ["Held", "Read", "Source", "share_of", "source_of"]

SAMPLE = 5_000
"""Of data that are read, so many are looked at before training: they are checked, and parts choose starting values."""

CHUNK = 1_000
"""How many data are read at once to be evaluated."""

Batch = tuple[Tensor, Tensor | None]
Transform = Callable[[Tensor], Tensor]


class Source:
    """Training or validation data, as the variant sees them.

    Args:
        what: they are, for messages: ``data`` or ``valid``.
        variant: that is to see them.
        transform: applied to each batch.
    """

    known: Tensor | None = None
    """Which data have labels (N,), where that is known of all."""

    unlabelled = False
    """Whether it is known that no datum has a label."""

    shape: tuple[int, ...]
    """Of a datum, before it is transformed."""

    def __init__(self, what: str, variant: Variant, transform: Transform | None) -> None:
        self.what = what
        self.variant = variant
        self.transform = transform

    def seen(self, x: Tensor, y: Tensor | None) -> Batch:
        """What the variant sees of data: a new draw of the transform."""
        if self.transform is None:
            return x, y
        if y is not None and self.variant.transforms_labels:
            y = self.transform(y).to(y)
        return self.transform(x).to(x), y

    def batches(self, size: int, seed: int, labelled_size: int | None, share: tuple[int, int]) -> Any:
        """The batches of each epoch, of which this process has a share."""
        raise NotImplementedError

    def sample(self) -> Batch:
        """Data from which parts choose their starting values."""
        raise NotImplementedError

    def chunks(self, share: tuple[int, int]) -> Iterator[Batch]:
        """All data, or the share of one process, in pieces to be evaluated one after the other."""
        raise NotImplementedError

    def finish(self) -> None:
        """Do what the variant wants done after the last epoch."""
        raise NotImplementedError

    @property
    def fingerprint(self) -> str:
        """What tells these data from others when a run is resumed."""
        raise NotImplementedError


class Held(Source):
    """Data that lie on the device, all of them checked before training starts."""

    def __init__(self, what: str, split: Split, variant: Variant, transform: Transform | None) -> None:
        super().__init__(what, variant, transform)
        x, y = split.x, None if variant.labels == "none" else split.y
        if not len(x):
            raise DataError(f"{what}: there are no data (shape {tuple(x.shape)})")
        if transform is not None:
            x, y = x.to(variant.device, variant.dtype), None if y is None else y.to(variant.device)
        try:
            seen = variant.batch(*self._seen(x, y))
        except DataError as error:
            raise DataError(f"{what}: {error}") from None
        if transform is None or what != "data":
            self.x, self.y = seen
        else:
            # the labels as they were checked, except where the transform is of them too
            self.x, self.y = x, y if variant.transforms_labels else seen[1]
        if what == "data":
            variant.check_finish(self.y)
            self._given: Batch = self.x, self.y
        else:  # what does not hang on the draws of the transform
            self._given = seen if transform is None else (x, y)
        self.shape = tuple(self.x.shape[1:])
        self.known = None if self.y is None else labelled(self.y)
        self.unlabelled = self.y is None

    def batches(self, size: int, seed: int, labelled_size: int | None, share: tuple[int, int]) -> Batches:
        return Batches(self.x, self.y, size, seed, self.seen, labelled_size, share)

    def sample(self) -> Batch:
        return self._seen(self.x, self.y)

    def _seen(self, x: Tensor, y: Tensor | None) -> Batch:
        """All data as the variant sees them; a transform may write into what it is given."""
        if self.transform is not None:
            x, y = x.clone(), None if y is None else y.clone()
        return self.seen(x, y)

    def chunks(self, share: tuple[int, int]) -> Iterator[Batch]:
        x, y = share_of((self.x, self.y), share)
        if len(x):
            yield x, y

    def finish(self) -> None:
        self.variant.finish(*self._seen(self.x, self.y))

    @property
    def fingerprint(self) -> str:
        x, y = self._given
        digest = hashlib.blake2b(x.cpu().numpy().tobytes(), digest_size=16)
        if y is not None:
            digest.update(y.cpu().numpy().tobytes())
        return digest.hexdigest()


class Read(Source):
    """Data that are read as they are needed: a sample is checked before training starts, and then each batch.

    Raises:
        ConfigurationError: for a variant that needs all of them at once when training ends.
    """

    def __init__(self, what: str, stream: Streamed, variant: Variant, transform: Transform | None) -> None:
        super().__init__(what, variant, transform)
        if variant.finishes and what == "data":
            raise ConfigurationError(
                f"{type(variant).__name__} looks at all data at once when training ends, and these are read batch by "
                f"batch; give them as one tensor"
            )
        self.stream = stream
        self.shape = stream.shape
        # taken from everywhere: files are often sorted
        rows = torch.linspace(0, len(stream) - 1, min(SAMPLE, len(stream)), dtype=torch.float64).long()
        self._sample = self.prepare(*stream.read(rows))

    def prepare(self, x: Tensor, y: Tensor | None) -> Batch:
        """Data as they were read, on the device, transformed and checked."""
        variant = self.variant
        y = None if variant.labels == "none" else y
        # bytes travel to a GPU as bytes, and become numbers there
        there = [None if each is None else each.to(variant.device, non_blocking=True) for each in (x, y)]
        try:
            split = as_split(there[0] if there[1] is None else tuple(there))
            return variant.batch(*self.seen(split.x.to(variant.dtype), split.y))
        except (ValueError, TypeError) as error:
            raise DataError(f"{self.what}: {error}") from None

    def batches(self, size: int, seed: int, labelled_size: int | None, share: tuple[int, int]) -> StreamedBatches:
        if labelled_size is not None:
            raise ConfigurationError(
                "labelled_batch_size needs to know which data have labels, and these are read batch by batch; give "
                "them as tensors, or labelled_batch_size=None"
            )
        return StreamedBatches(self.stream, self.prepare, size, seed, share)

    def sample(self) -> Batch:
        return self._sample

    def chunks(self, share: tuple[int, int]) -> Iterator[Batch]:
        rank, processes = share
        n, step = len(self.stream), CHUNK * processes
        rows = (torch.arange(start + rank, min(start + step, n), processes) for start in range(0, n, step))
        for x, y in self.stream.batches(each for each in rows if len(each)):
            with seeded(0, self.variant.device):  # the same draw of the transform in every epoch
                prepared = self.prepare(x, y)
            yield prepared

    @property
    def fingerprint(self) -> str:
        return repr(self.stream)


def share_of(batch: Batch, share: tuple[int, int]) -> Batch:
    """The data of a batch that one process of several has to do with."""
    rank, processes = share
    if processes == 1:
        return batch
    x, y = batch
    return x[rank::processes], None if y is None else y[rank::processes]


def source_of(what: str, data: Split | Streamed, variant: Variant, transform: Transform | None) -> Source:
    """The data of a run, checked.

    Raises:
        DataError: when they do not fit the variant.
    """
    kind = Held if isinstance(data, Split) else Read
    return kind(what, data, variant, transform)  # type: ignore[arg-type]

"""The data of a run: held on the device, or read as they are needed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from pyro_vae.data import Split, Streamed, as_split
from pyro_vae.data.split import fingerprint
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

    def labelled_together(self, wanted: int | str | None, batch_size: int) -> int | None:
        """How many data with labels each batch is given in addition; ``None`` where labels come as they fall.

        Args:
            wanted: what the user asked for, ``"auto"`` for what is best.
            batch_size: most data in a batch.
        """
        variant = self.variant
        if variant.labels != "some" or not variant.programs_see_labels or wanted is None:
            return None
        if self.known is None:  # no labels, or not known which
            return None if wanted == "auto" or self.unlabelled else int(wanted)
        number = int(self.known.sum())
        if number in (0, len(self.known)):
            return None
        if wanted == "auto":
            # where less than a tenth has labels, a batch would hold too few of them, or none
            together = min(number, batch_size) if number < len(self.known) / 10 else None
            if together and _learns_frequencies(variant):
                warnings.warn(
                    f"{variant.label!r} learns frequencies, and labelled_batch_size='auto' adds labelled data to every "
                    f"batch, so that they tend to those of the labels; labelled_batch_size=None learns the data's",
                    stacklevel=2,
                )
            return together
        return int(wanted)

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
        for start in range(0, len(x), CHUNK):
            rows = slice(start, start + CHUNK)
            yield x[rows], None if y is None else y[rows]

    def finish(self) -> None:
        self.variant.finish(*self._seen(self.x, self.y))

    @property
    def fingerprint(self) -> str:
        return fingerprint(*self._given)


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
        if variant.labels == "some":
            self.known = self._which_have_labels()
        self._sample = self.prepare(*stream.read(self._looked_at()))
        if what == "data":
            self._check_labels(self._sample[1])

    def _which_have_labels(self) -> Tensor | None:
        labels = self.stream.labels()
        if labels is None:
            return None
        try:
            return labelled(self.variant.as_labels(labels, len(labels))).cpu()
        except DataError as error:
            raise DataError(f"{self.what}: {error}") from None

    def _check_labels(self, y: Tensor | None) -> None:
        if self.variant.labels == "some" and self.known is None and y is not None and not labelled(y).any():
            raise DataError(
                f"{self.what}: of {len(self.stream):,} data {len(y):,} were looked at, and none of them has a label; "
                f"give arrays (x, y), of which x may be an np.memmap: then all labels are looked at"
            )

    def _looked_at(self) -> Tensor:
        """Rows that are taken from everywhere, as files are often sorted; with them some that are known to have labels,
        of which there may be none among the others."""
        rows = _spread(len(self.stream), SAMPLE)
        if self.known is None or not self.known.any():
            return rows
        found = self.known.nonzero().squeeze(-1)
        return torch.cat([rows, found[_spread(len(found), SAMPLE)]]).unique()

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
        if labelled_size is not None and self.known is None:
            raise ConfigurationError(
                "labelled_batch_size needs to know which data have labels, and the items of a data set are read batch "
                "by batch; give arrays (x, y), of which x may be an np.memmap, or labelled_batch_size=None"
            )
        return StreamedBatches(self.stream, self.prepare, size, seed, self.known, labelled_size, share)

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


def _spread(n: int, most: int) -> Tensor:
    """So many of n rows, or all, at equal distances."""
    return torch.linspace(0, n - 1, min(most, n), dtype=torch.float64).long()


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


def _learns_frequencies(variant: Variant) -> bool:
    label = variant.label
    return label is not None and label.drawn and label.learns

"""Data that are read batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler, SequentialSampler
from torch.utils.data import Dataset as TorchDataset

from pyro_vae.data.convert import as_numbers, columns_of

__all__ = ["Streamed", "as_stream"]

Rows = Callable[[Tensor], Tensor]


class Streamed:
    """Data that are read as they are needed, never all of them at once, for :func:`pyro_vae.fit`.

    Memory-mapped arrays and a ``DataLoader`` are streamed without being asked for; a ``torch.utils.data.Dataset`` is
    held in memory unless it is given as ``Streamed(dataset)``.

    Args:
        data: x as an array that can be indexed by an array of rows, such as ``np.memmap``, of shape (N, \\*event); a
            pair (x, y) of those; a map-style ``torch.utils.data.Dataset`` of x or (x, y) items; or a ``DataLoader``
            of one, whose workers, pinning and ``collate_fn`` are used (the order and size of batches are those of
            ``fit``).
        workers: processes that read ahead; 0 reads in the process that trains.
        pin_memory: whether batches are read into pages that a GPU can fetch by itself; ``"auto"`` where there is one.

    Raises:
        TypeError: if the data have no length, hold no numbers, or come with a sampler of one's own.
        ValueError: if there are no data, or the lengths of x and y differ.

    Example:
        >>> stream = Streamed((np.zeros((6, 2), dtype=np.uint8), np.arange(6)))
        >>> stream
        Streamed(6 data, x=(2,) uint8, y=() int64)
        >>> stream.read(torch.tensor([4, 1]))[1]
        tensor([4, 1])
    """

    def __init__(self, data: Any, workers: int = 0, pin_memory: bool | str = "auto") -> None:
        collate: Callable[[list[Any]], Any] = _collated
        if isinstance(data, DataLoader):
            _check_sampler(data)
            workers = workers or data.num_workers
            pin_memory = data.pin_memory or pin_memory
            if data.collate_fn is not torch.utils.data.default_collate:
                collate = data.collate_fn
            data = data.dataset
        if not isinstance(data, TorchDataset):
            data, collate = _Arrays(*data) if isinstance(data, tuple) else _Arrays(data), _as_it_is
        elif isinstance(data, torch.utils.data.IterableDataset) or not hasattr(data, "__len__"):
            raise TypeError(f"{type(data).__name__} has no length; data must be found by their number to be shuffled")
        if len(data) == 0:
            raise ValueError(f"there are no data: {type(data).__name__} is empty")
        self.data = data
        self.workers = workers
        self.pin_memory = torch.cuda.is_available() if pin_memory == "auto" else bool(pin_memory)
        self._collate = collate
        self._rows: Rows | None = None
        self._length = len(data)
        x, y = self.read(torch.zeros(1, dtype=torch.long))
        if x.ndim < 2:
            raise ValueError("x must have shape (N, *event), got scalars; for N scalars give shape (N, 1)")
        self.shape: tuple[int, ...] = tuple(x.shape[1:])
        self.y_shape: tuple[int, ...] | None = None if y is None else tuple(y.shape[1:])
        self._dtypes = [str(each.dtype).removeprefix("torch.") for each in (x, y) if each is not None]

    def __len__(self) -> int:
        return self._length

    def read(self, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        """Data (B, \\*event) and labels of the given rows (B,), of whatever dtype they are kept in."""
        return _pair(next(iter(self._loader([rows], 0, workers=0))))

    def labels(self) -> Tensor | None:
        """All labels, where they can be read without the data: those of arrays (x, y); else ``None``."""
        if not isinstance(self.data, _Arrays) or self.data.y is None:
            return None
        y = _plain(self.data.y)
        return as_numbers(y if self._rows is None else y[np.asarray(self._rows(torch.arange(len(self))))], "y")

    def batches(self, rows: Iterable[Tensor], seed: int = 0) -> Iterator[tuple[Tensor, Tensor | None]]:
        """What :meth:`read` gives for each of several vectors of rows, read ahead by the workers.

        Args:
            rows: vectors of rows; they are asked for as they are needed.
            seed: of random draws that a data set makes in the workers.
        """
        yield from map(_pair, self._loader(rows, seed, self.workers))

    def parts(self, share: float, shuffled: Rows) -> tuple[Streamed, Streamed]:
        """A part of the data, and the rest.

        Args:
            share: of the data in the first part.
            shuffled: a permutation of the rows, as a function of positions.
        """
        first = round(share * len(self))
        if not 0 < first < len(self):
            raise ValueError(f"a share of {share:g} leaves no data on one side: there are {len(self)}")
        return self._part(first, shuffled), self._part(len(self) - first, lambda p: shuffled(p + first))

    def _part(self, length: int, rows: Rows) -> Streamed:
        part = object.__new__(Streamed)
        part.__dict__.update(self.__dict__)
        earlier = self._rows
        part._rows = rows if earlier is None else lambda positions: earlier(rows(positions))
        part._length = length
        return part

    def _loader(self, rows: Iterable[Tensor], seed: int, workers: int) -> Any:
        return DataLoader(
            self.data,
            batch_sampler=_Rows(rows, self._rows),
            num_workers=workers,
            collate_fn=self._collate,
            pin_memory=self.pin_memory,
            generator=torch.Generator().manual_seed(seed % 2**63),  # without one it draws from the user's
        )

    def __repr__(self) -> str:
        shapes = [self.shape, self.y_shape]
        told = [f"{n}={s} {d}" for n, s, d in zip("xy", shapes, self._dtypes, strict=False)]
        return f"Streamed({len(self):,} data, {', '.join(told)})"


def as_stream(data: Any) -> Streamed | None:
    """The data as a stream, where they are one or too large to be anything else; else ``None``.

    Raises:
        TypeError, ValueError: as :class:`Streamed`.
    """
    first = data[0] if isinstance(data, tuple) and data else data
    if isinstance(data, Streamed):
        return data
    return Streamed(data) if isinstance(first, np.memmap | DataLoader) else None


class _Rows:
    """Lists of rows, as a loader wants them."""

    def __init__(self, rows: Iterable[Tensor], of_all: Rows | None) -> None:
        self.rows, self.of_all = rows, of_all

    def __iter__(self) -> Iterator[list[int]]:
        for each in self.rows:
            yield (each if self.of_all is None else self.of_all(each)).tolist()


class _Arrays(TorchDataset[Any]):
    """Arrays, of which many rows are read at once."""

    def __init__(self, x: Any, y: Any = None, *others: Any) -> None:
        if others:
            raise ValueError(f"a tuple of data must be (x, y), got {2 + len(others)} parts")
        for name, values in (("x", x), ("y", y)):
            if values is not None and not isinstance(values, np.ndarray | Tensor):
                raise TypeError(
                    f"{name} is a {type(values).__name__}; streamed are arrays, tensors, or a torch Dataset"
                )
        if y is not None and len(x) != len(y):
            raise ValueError(f"x and y must have the same length, got {len(x)} and {len(y)}")
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitems__(self, rows: list[int]) -> tuple[Tensor, Tensor | None]:
        index = np.asarray(rows)
        # indexing by a vector copies these rows and no others
        read = [None if v is None else as_numbers(_plain(v[index]), n) for n, v in (("x", self.x), ("y", self.y))]
        assert read[0] is not None
        return read[0], read[1]


def _plain(values: Any) -> Any:
    return np.asarray(values) if isinstance(values, np.ndarray) else values


def _as_it_is(batch: Any) -> Any:
    return batch


def _collated(items: list[Any]) -> list[Tensor]:
    return columns_of(items, "the data set")


def _pair(batch: Any) -> tuple[Tensor, Tensor | None]:
    """x and y of what a loader gives: x, or a sequence of x and perhaps y."""
    parts = batch if isinstance(batch, tuple | list) else (batch,)
    if len(parts) not in (1, 2) or not isinstance(parts[0], Tensor):
        raise ValueError(f"a batch of the DataLoader must be x or (x, y), got {type(batch).__name__} of {len(parts)}")
    return parts[0], parts[1] if len(parts) == 2 else None


def _check_sampler(loader: DataLoader[Any]) -> None:
    sampler = getattr(loader, "sampler", None)
    known = isinstance(sampler, RandomSampler | SequentialSampler) and loader.batch_size is not None
    if not known and not isinstance(loader.dataset, torch.utils.data.IterableDataset):
        raise TypeError(
            f"the DataLoader has a sampler of its own ({type(sampler).__name__}), and fit makes its own batches; give "
            f"it the data set in the shape you want it: data.Streamed(torch.utils.data.Subset(dataset, rows))"
        )

"""Whatever a user holds, as a split."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.utils.data
from torch import Tensor

from pyro_vae.data.split import Dataset, Split

__all__ = ["as_numbers", "as_reals", "as_split", "columns_of"]

_ACCEPTED = (
    "a Split, a Dataset, a tensor, a numpy array, a pandas DataFrame, a tuple (x, y) of those, "
    "or a torch.utils.data.Dataset of x or (x, y)"
)


def as_split(data: Any) -> Split:
    """Data of any usual form as a checked :class:`Split`.

    Values are never rescaled: bytes 0..255 become the floats 0.0..255.0, and it is for the likelihood to say
    that they are outside its support. x is converted to torch's default dtype (float32) and stays on its
    device; where nothing had to be converted it shares memory with the data given. A Split is returned as it
    is: to keep x in another dtype (symbols as integers, say), make the Split yourself. Labels of
    integers or booleans are classes, with -1 for a missing one; labels of floats are reals, with NaN for a
    missing one, and a vector (N,) of them becomes (N, 1).

    Args:
        data: a Split; a Dataset (its training split); x as tensor, numpy array or pandas DataFrame of shape
            (N, \\*event); a tuple (x, y); or a map-style ``torch.utils.data.Dataset`` of x or (x, y) items.

    Raises:
        TypeError: if ``data`` is none of those, or holds no numbers.
        ValueError: if there are no data, x holds NaN or infinity or integers that floats cannot hold, y
            holds infinity or a class below -1, or the lengths of x and y differ.

    Example:
        >>> import numpy as np
        >>> from pyro_vae import data
        >>> data.as_split((np.arange(6).reshape(3, 2), np.array([0, 1, 0])))
        Split(x=(3, 2) float32, y=(3,) int64)
        >>> data.as_split(data.load("digits"))
        Split(x=(1257, 1, 8, 8) float32, y=(1257,) int64)
    """
    if isinstance(data, Dataset):
        data = data.train
    if isinstance(data, Split):
        return _checked(data)
    if isinstance(data, torch.utils.data.Dataset):
        data = _stacked(data)
    if isinstance(data, tuple):
        if len(data) != 2:
            raise ValueError(f"a tuple of data must be (x, y), got {len(data)} parts")
        x, y = data
    else:
        x, y = data, None
    frame = x if hasattr(x, "columns") and hasattr(x, "index") else None
    x = as_reals(as_numbers(x, "x"), "x")
    if x.ndim < 2:
        raise ValueError(
            f"x must have shape (N, *event), got {tuple(x.shape)}; "
            "for N scalars give shape (N, 1), for one datum (1, *event)"
        )
    if y is not None:
        y = as_numbers(y, "y").to(x.device)
        if y.is_floating_point():
            y = as_reals(y, "y")
            y = y.unsqueeze(-1) if y.ndim == 1 else y
        else:
            y = y.long()
    return _checked(Split(x, y), frame)


def as_numbers(values: Any, name: str) -> Tensor:
    """A tensor of real numbers of whatever dtype the user has.

    Raises:
        TypeError: if ``values`` are no array, or hold no numbers.
    """
    if type(values).__module__.split(".")[0] == "pandas":
        values = _from_pandas(values, name)
    if isinstance(values, np.ndarray):
        if values.dtype.kind not in "biuf":
            hint = "; names of classes become numbers by pandas.Categorical(y).codes" if name == "y" else ""
            raise TypeError(f"{name} must hold numbers, got an array of dtype {values.dtype}{hint}")
        # torch shares memory only with native, writable, contiguous arrays and warns or fails otherwise
        values = torch.from_numpy(np.require(values, values.dtype.newbyteorder("="), ["C", "W"]))
    if not isinstance(values, Tensor):
        raise TypeError(f"{name} is a {type(values).__name__}; data must be {_ACCEPTED}")
    if values.is_complex() or values.layout != torch.strided:
        raise TypeError(f"{name} must be a dense tensor of real numbers, got {values.dtype}, {values.layout}")
    return values.detach()


def _from_pandas(values: Any, name: str) -> np.ndarray:
    if not hasattr(values, "columns"):
        return values.to_numpy()
    other = list(values.select_dtypes(exclude=["number", "bool"]).columns)
    if other:
        raise TypeError(f"{name} must hold numbers; encode or drop the columns {', '.join(map(repr, other))}")
    if len(set(values.dtypes)) == 1 and isinstance(values.dtypes.iloc[0], np.dtype):
        return values.to_numpy()
    # Without a dtype, pandas makes objects of columns that differ and of its own nullable ones.
    return values.to_numpy(dtype="float64", na_value=float("nan"))


def as_reals(values: Tensor, name: str) -> Tensor:
    """In torch's default dtype, exactly where the values are integers."""
    converted = values.to(torch.get_default_dtype())
    if not values.is_floating_point() and values.dtype not in (torch.bool, torch.uint8):
        changed = converted.to(values.dtype) != values
        if changed.any():
            first = values[changed][0].item()
            raise ValueError(f"{name} holds integers that {converted.dtype} cannot represent, such as {first}")
    return converted


def _stacked(data: Any) -> Any:
    """x, or (x, y), of all items of a torch data set."""
    if isinstance(data, torch.utils.data.TensorDataset):
        return data.tensors[0] if len(data.tensors) == 1 else data.tensors
    if isinstance(data, torch.utils.data.IterableDataset) or not hasattr(data, "__len__"):
        raise TypeError(f"{type(data).__name__} has no length; collect its items and give them as tensors")
    if len(data) == 0:
        raise ValueError(f"{type(data).__name__} is empty")
    columns = columns_of([data[i] for i in range(len(data))], type(data).__name__)
    return columns[0] if len(columns) == 1 else tuple(columns)


def columns_of(items: list[Any], whose: str) -> list[Tensor]:
    """x, or x and y, of items of a torch data set.

    Raises:
        TypeError: if they hold no numbers.
        ValueError: if they are not x or (x, y), or differ in shape.
    """
    if not isinstance(items[0], tuple | list):
        return [_stack(items, "x")]
    if any(len(item) != len(items[0]) for item in items) or len(items[0]) not in (1, 2):
        raise ValueError(f"{whose} must have items x or (x, y), got items of {len(items[0])} parts")
    return [_stack(column, name) for column, name in zip(zip(*items, strict=True), "xy", strict=False)]


def _stack(items: Any, name: str) -> Tensor:
    if name == "y" and any(item is None for item in items):
        raise TypeError("y of some items is None; a label that is missing is -1 among classes, NaN among reals")
    if not isinstance(items[0], Tensor | np.ndarray | np.generic | int | float):
        raise TypeError(
            f"{name} of the first item is a {type(items[0]).__name__}; items must hold tensors, "
            "arrays or numbers (torchvision's data sets: transform=torchvision.transforms.ToTensor())"
        )
    tensors = [torch.as_tensor(item) for item in items]
    shapes = {tuple(tensor.shape) for tensor in tensors}
    if len(shapes) > 1:
        raise ValueError(f"{name} must have one shape in all items, got {', '.join(map(str, sorted(shapes)))}")
    return torch.stack(tensors)


def _checked(split: Split, frame: Any = None) -> Split:
    """The split, whose x came from a pandas ``frame`` or not, if its values are such as they should be."""
    if len(split) == 0 or split.x.numel() == 0:
        raise ValueError(f"there are no data: x has shape {tuple(split.x.shape)}")
    finite = split.x.isfinite()
    if not finite.all():
        where = tuple((~finite).nonzero()[0].tolist())
        num_nan = int(split.x.isnan().sum())
        num_inf = int((~finite).sum()) - num_nan
        named = "" if frame is None else f", column {frame.columns[where[1]]!r} of row {frame.index[where[0]]}"
        raise ValueError(
            f"x must be finite, but holds {num_nan} NaN and {num_inf} infinite values, the first at index {where}"
            f"{named}; drop such data, or impute the values"
        )
    if split.y is not None:
        wrong = split.y.isinf() if split.y.is_floating_point() else split.y < -1
        if wrong.any():
            where = tuple(wrong.nonzero()[0].tolist())
            value = split.y[where].item()
            hint = ""
            if value == torch.iinfo(torch.int64).min:  # what NaN becomes
                hint = "; NaN has no integer: make it -1 first, torch.nan_to_num(y, nan=-1).long()"
            raise ValueError(
                f"y must hold finite reals (NaN where missing) or classes from 0 (-1 where missing), "
                f"got {value} at index {where}{hint}"
            )
    return split

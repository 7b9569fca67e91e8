"""Files of the user's own as data sets."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pyro_vae.data.convert import as_split
from pyro_vae.data.files import DataCorrupted, DataNotFound
from pyro_vae.data.parts import cut_by_fraction, num_valid, random_cut, standardised
from pyro_vae.data.split import Dataset, Split

__all__ = ["SUFFIXES", "is_file_name", "read"]

SUFFIXES = (".npz", ".npy", ".csv")

_LAYOUT = (
    "arrays x and, where there are labels, y; or x_train and x_test, with y_train and y_test, and x_valid and y_valid "
    "if there are any"
)


def is_file_name(name: str) -> bool:
    """Whether a name is that of a file of data."""
    return Path(name).suffix.lower() in SUFFIXES


def read(path: Path, seed: int, valid: int | float | None, label: str | None) -> Dataset:
    """A file as a data set, as :func:`pyro_vae.data.load` describes it."""
    if not path.is_file():
        raise DataNotFound(f"there is no file {str(path)!r}")
    table = path.suffix.lower() == ".csv"
    if label is not None and not table:
        raise ValueError(
            f"label={label!r} names a column of a table, and {str(path)!r} is none; its labels are array y"
        )
    columns: tuple[str, ...] | None = None
    class_names: tuple[str, ...] | None = None
    try:
        if table:
            import pandas as pd

            frame = pd.read_csv(path)
        else:
            content = np.load(path, allow_pickle=False)
            arrays = {"x": content} if isinstance(content, np.ndarray) else dict(content)
    except (OSError, EOFError, UnicodeDecodeError, zipfile.BadZipFile, ValueError) as error:
        raise DataCorrupted(f"{str(path)!r} cannot be read: {error}") from error
    if table:
        arrays, columns, class_names = _columns(path, frame, label)
    else:
        class_names = _name_classes(arrays)
    if "x" not in arrays and not {"x_train", "x_test"} <= set(arrays):
        raise DataCorrupted(f"{str(path)!r} holds {', '.join(map(repr, arrays)) or 'nothing'}; wanted are {_LAYOUT}")
    names = ["x"] if "x" in arrays else [name for name in ("x_train", "x_valid", "x_test") if name in arrays]
    data = {name: arrays[name] for name in names}
    _check_alike(path, data)
    bytes_ = all(values.dtype == np.uint8 for values in data.values())
    kind = _kind(data, bytes_)
    if kind == "real":
        arrays |= _centred(data)
    parts = _parts(path, arrays, seed, valid)
    train, valid_split, test = parts
    if kind == "grey" and bytes_:
        train, valid_split, test = (Split(part.x / 255, part.y) for part in parts)
    if kind == "real" and len(train.shape) == 1:
        train, valid_split, test = standardised(train, valid_split, test)
    classes = [part.y for part in parts if part.y is not None and not part.y.is_floating_point()]
    return Dataset(
        path.stem,
        train,
        valid_split,
        test,
        kind=kind,
        num_classes=int(torch.cat(classes).max()) + 1 if classes else None,
        class_names=class_names,
        feature_names=columns,
        source=str(path),
    )


def _columns(
    path: Path, table: Any, label: str | None
) -> tuple[dict[str, np.ndarray], tuple[str, ...], tuple[str, ...] | None]:
    """Columns of numbers and their names; labels, numbers or words, and the words."""
    import pandas as pd

    if label is not None and label not in table:
        raise ValueError(f"{str(path)!r} has no column {label!r}; its columns are {_listed(table.columns)}")
    names = None
    arrays: dict[str, np.ndarray] = {}
    if (label or "y") in table:
        y = table.pop(label or "y")
        if y.isna().all():
            pass  # there are no labels
        elif not pd.api.types.is_numeric_dtype(y):
            codes, words = pd.factorize(y, sort=True)  # -1 where there is none
            arrays["y"], names = codes, tuple(map(str, words))
        elif pd.api.types.is_float_dtype(y) and y.isna().any() and ((y.dropna() % 1 == 0) & (y.dropna() >= 0)).all():
            arrays["y"] = y.fillna(-1).to_numpy().astype(np.int64)  # a gap makes floats of a column of classes
        else:
            arrays["y"] = y.to_numpy()
    if len(words := table.select_dtypes(exclude=["number", "bool"]).columns):
        hint = f"; if it holds the labels, say label={str(words[0])!r} (--label-column {words[0]})"
        raise ValueError(
            f"{str(path)!r}: no numbers in {_listed(words)}: encode or drop such columns{hint * ('y' not in arrays)}"
        )
    gaps = table.isna()
    if len(holed := table.columns[gaps.any()]):
        row = int(gaps[holed[0]].argmax())
        raise ValueError(
            f"{str(path)!r}: column {str(holed[0])!r} has no number in row {row} below the names, one of "
            f"{int(gaps.sum().sum())} gaps; drop such rows, or fill them in"
        )
    arrays["x"] = table.to_numpy(dtype=np.float64)
    return arrays, tuple(map(str, table.columns)), names


def _listed(names: Any) -> str:
    return ", ".join(repr(str(name)) for name in names)


def _parts(
    path: Path, arrays: Mapping[str, np.ndarray], seed: int, valid: int | float | None
) -> tuple[Split, Split, Split]:
    def part(which: str) -> Split:
        x, y = arrays[f"x{which}"], arrays.get(f"y{which}")
        if y is not None and y.ndim == 2 and y.shape[1] == 1 and y.dtype.kind in "biu":
            y = y[:, 0]
        try:
            return as_split(_image_first(x) if y is None else (_image_first(x), y))
        except (TypeError, ValueError) as error:
            raise type(error)(f"{str(path)!r}: {error}") from error

    if "x" in arrays:
        whole = part("")
        if len(whole) < 4:
            raise ValueError(f"{str(path)!r}: {len(whole)} data cannot be cut into train, valid and test")
        classes = whole.y is not None and not whole.y.is_floating_point()
        return cut_by_fraction(whole, valid, seed, stratified=classes)
    pool, test = part("_train"), part("_test")
    if "x_valid" in arrays:
        return pool, part("_valid"), test
    held = num_valid(valid, len(pool) // 10, len(pool))
    train, valid_split, _ = random_cut(pool, held, num_test=0, seed=seed, stratified=False)
    return train, valid_split, test


def _image_first(x: np.ndarray) -> np.ndarray:
    """Images as (N, C, H, W), whatever the order of the file."""
    if x.ndim == 3:
        return x[:, None]
    if x.ndim == 4 and x.shape[-1] in (1, 3) and x.shape[1] not in (1, 3):
        return np.moveaxis(x, -1, 1)
    return x


def _name_classes(arrays: dict[str, np.ndarray]) -> tuple[str, ...] | None:
    """Numbers in place of labels that are words, the same in all parts; the words, in order."""
    named = [name for name, values in arrays.items() if name.startswith("y") and values.dtype.kind in "US"]
    if not named:
        return None
    words = np.unique(np.concatenate([arrays[name].astype(str).ravel() for name in named]))
    for name in named:
        arrays[name] = np.searchsorted(words, arrays[name].astype(str))
    return tuple(words.tolist())


def _check_alike(path: Path, data: Mapping[str, np.ndarray]) -> None:
    """Check that all parts hold data of one shape, and all or none of them bytes.

    Raises:
        ValueError: when they do not.
    """
    (first, one), *others = data.items()
    for name, values in others:
        if values.shape[1:] != one.shape[1:]:
            shapes = f"{one.shape[1:]} in {first} and {values.shape[1:]} in {name}"
            raise ValueError(f"{str(path)!r}: all parts must have the same event shape, got {shapes}")
        if (values.dtype == np.uint8) != (one.dtype == np.uint8):
            raise ValueError(f"{str(path)!r}: {first} holds {one.dtype} and {name} {values.dtype}; give both alike")


def _kind(data: Mapping[str, np.ndarray], bytes_: bool) -> str:
    arrays = [values for values in data.values() if values.size]
    if not arrays or any(values.dtype.kind not in "biuf" for values in arrays):
        return "real"  # what is wrong is told when they are made a split
    low, high = min(values.min() for values in arrays), max(values.max() for values in arrays)
    whole = all(bool((values == np.round(values)).all()) for values in arrays)
    if whole and low >= 0 and high <= 1:
        return "binary"
    if bytes_ or (low >= 0 and high <= 1):
        return "grey"
    return "counts" if whole and low >= 0 else "real"


def _centred(data: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Tables of real numbers less the mean of each column, which single precision may be too coarse to hold."""
    if any(values.ndim != 2 or values.dtype.kind not in "iuf" for values in data.values()):
        return {}
    wide = {name: values.astype(np.float64) for name, values in data.items()}
    if not all(np.isfinite(values).all() for values in wide.values()):
        return {}  # which is told when they are made a split
    mean = next(iter(wide.values())).mean(0)
    return {name: values - mean for name, values in wide.items()}

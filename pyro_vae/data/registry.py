"""Data sets by name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from pyro_vae.data import images, own, tables
from pyro_vae.data.split import Dataset
from pyro_vae.errors import nearest

__all__ = ["available", "load"]

_DATASETS: dict[str, tuple[Callable[..., Dataset], str]] = {
    "digits": (tables.digits, "1,797 grey 8x8 digits in 10 classes; bundled with scikit-learn"),
    "breast_cancer": (tables.breast_cancer, "569 rows of 30 reals in 2 classes; bundled with scikit-learn"),
    "wine": (tables.wine, "178 rows of 13 reals in 3 classes; bundled with scikit-learn"),
    "diabetes": (tables.diabetes, "442 rows of 10 reals with a real label; bundled with scikit-learn"),
    "mnist": (images.mnist, "70,000 grey 28x28 digits in 10 classes; downloaded when missing"),
    "fashion_mnist": (
        images.fashion_mnist,
        "70,000 grey 28x28 garments in 10 classes; downloaded when missing",
    ),
    "binarized_mnist": (
        images.binarized_mnist,
        "70,000 binary 28x28 digits, fixed draw, no labels; from a folder",
    ),
    "cifar10": (images.cifar10, "60,000 colour 32x32 photographs in 10 classes; downloaded when missing"),
    "omniglot": (images.omniglot, "4,840 grey 28x28 drawings of 242 characters; from a folder"),
    "frey_faces": (images.frey_faces, "1,965 grey 28x20 frames of one face, no labels; from a folder"),
}


def available() -> dict[str, str]:
    """The names that :func:`load` knows, each with a line on what it is.

    Example:
        >>> from pyro_vae import data
        >>> data.available()["digits"]
        '1,797 grey 8x8 digits in 10 classes; bundled with scikit-learn'
    """
    return {name: description for name, (_, description) in _DATASETS.items()}


def load(
    name: str | os.PathLike[str],
    root: str | os.PathLike[str] | None = None,
    *,
    seed: int = 0,
    valid: int | float | None = None,
    label: str | None = None,
) -> Dataset:
    """A data set, in memory, as float32.

    Images have shape (C, H, W) and values within [0, 1]: bytes divided by 255, ``digits`` by 16. The columns of
    a table are standardised with the mean and standard deviation of the *training* split; valid and test have
    no part in them, so their own means are not exactly 0. The real label of ``diabetes`` stays in its own unit.

    Splits are the usual ones. ``mnist`` and ``fashion_mnist``: the first 50,000 images train, the last 10,000 of
    the 60,000 valid, 10,000 test. ``binarized_mnist``: 50,000, 10,000 and 10,000 as published. ``cifar10``:
    45,000, 5,000 (the last) and 10,000; of its first part (``CIFAR10/cifar10_15k_5k.npz``), taken where a
    folder has only that, 13,500, 1,500 and 5,000. The sets of scikit-learn and ``omniglot``: 70, 15 and 15 %
    drawn with ``seed``, stratified by class where there are classes. ``frey_faces``: 1,565, 200 and 200 drawn
    with ``seed``.

    A file of one's own is a data set too: ``load("mine.npz")`` with arrays ``x`` (N, \\*event) and, where there are
    labels, ``y``, cut into 70, 15 and 15 % with ``seed``; or with ``x_train``, ``y_train``, ``x_test``, ``y_test``
    (and ``x_valid``, ``y_valid``, else a tenth of the training data), as Keras writes them. An ``.npy`` file is
    ``x`` alone; in a ``.csv`` file with a line of names, column ``y`` (or ``label``) is the label and the others are
    x. Integer or named labels are classes, -1 or nothing where missing; floats are properties. Bytes are divided by
    255, images (N, H, W) and (N, H, W, C) become (N, C, H, W), and the kind of data (0 and 1; within [0, 1]; counts;
    reals) is seen from the values. Columns of reals are standardised as above.

    Args:
        name: one of :func:`available`, or a file.
        root: the folder with the files, laid out as torchvision does (``MNIST/raw/train-images-idx3-ubyte``,
            gzipped or not). It may be read-only. If None, the environment variable PYRO_VAE_DATA. The cache
            (``$XDG_CACHE_HOME/pyro_vae``, by default ``~/.cache/pyro_vae``) is searched next, and what
            torchvision can download is downloaded into it.
        seed: of the splits that are drawn; nothing global is seeded.
        valid: the size of the validation split, as a number or a fraction of the data that are not for the
            test (which never changes). None for the usual size.
        label: the column of a table's labels, where it is not called y.

    Raises:
        ValueError: if the name is unknown, a file's numbers make no data, or ``valid`` leaves nothing to train on.
        DataNotFound: if the files are nowhere and cannot be downloaded, or ``root`` is no folder.
        DataCorrupted: if a file is damaged, or holds other arrays.

    Example:
        >>> from pyro_vae import data
        >>> digits = data.load("digits")
        >>> digits.train
        Split(x=(1257, 1, 8, 8) float32, y=(1257,) int64)
        >>> digits.train.x.min().item(), digits.train.x.max().item()
        (0.0, 1.0)
    """
    if own.is_file_name(os.fspath(name)):
        return own.read(Path(name).expanduser(), seed, valid, label)
    if label is not None:
        raise ValueError(f"label={label!r} names a column of a file of your own, and {name!r} is a known set")
    if name not in _DATASETS:
        close = nearest(name, _DATASETS)
        hint = "" if close is None else f" Did you mean {close!r}?"
        raise ValueError(
            f"unknown data set {name!r}.{hint} Available: {', '.join(_DATASETS)}, and files {', '.join(own.SUFFIXES)}"
        )
    read, _ = _DATASETS[str(name)]
    return read(root, seed, valid)

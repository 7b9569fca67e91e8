"""Image data sets that lie in files: read where they are, never written to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyro_vae.data.files import DataCorrupted, locate, read_idx, reading
from pyro_vae.data.parts import random_cut, tail_cut
from pyro_vae.data.split import Dataset, Split

__all__ = ["binarized_mnist", "cifar10", "fashion_mnist", "frey_faces", "mnist", "omniglot"]

Root = str | os.PathLike[str] | None

_CIFAR10_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
_FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


def mnist(root: Root, seed: int, valid: int | float | None) -> Dataset:
    """MNIST: the first 50,000 train, the last 10,000 of the 60,000 valid."""
    return _idx_dataset(
        "mnist",
        "MNIST",
        root,
        valid,
        class_names=tuple("0123456789"),
        published="https://ossci-datasets.s3.amazonaws.com/mnist/",
        source="MNIST, Y. LeCun, L. Bottou, Y. Bengio and P. Haffner (1998), Gradient-based learning applied "
        "to document recognition, Proceedings of the IEEE 86, CC BY-SA 3.0 as usually cited.",
    )


def fashion_mnist(root: Root, seed: int, valid: int | float | None) -> Dataset:
    """Fashion-MNIST, split as MNIST is."""
    return _idx_dataset(
        "fashion_mnist",
        "FashionMNIST",
        root,
        valid,
        class_names=_FASHION_CLASSES,
        published="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        source="Fashion-MNIST, H. Xiao, K. Rasul and R. Vollgraf (2017), https://arxiv.org/abs/1708.07747, MIT.",
    )


def cifar10(root: Root, seed: int, valid: int | float | None) -> Dataset:
    """CIFAR-10, whole or its first part; the last tenth of the training images is for validation."""
    batches = [f"cifar-10-batches-py/{n}" for n in ("batches.meta", *(f"data_batch_{i}" for i in range(1, 6)))]
    paths = locate(
        "cifar10",
        [[*batches, "cifar-10-batches-py/test_batch"], ["CIFAR10/cifar10_15k_5k.npz"]],
        root,
        download_as="CIFAR10",
        published="https://www.cs.toronto.edu/~kriz/cifar.html (unpacked)",
    )
    if len(paths) == 1:
        arrays = _npz(paths[0], "x_train", "y_train", "x_test", "y_test")
        part = " (the first 15,000 training and 5,000 test images only)"
    else:
        arrays = _cifar10_batches(paths[0].parent)
        part = ""
    pool = Split(_grey(arrays[0]), torch.from_numpy(arrays[1]).long())
    test = Split(_grey(arrays[2]), torch.from_numpy(arrays[3]).long())
    train, valid_split = tail_cut(pool, valid, len(pool) // 10)
    return Dataset(
        "cifar10",
        train,
        valid_split,
        test,
        kind="grey",
        num_classes=10,
        class_names=_CIFAR10_CLASSES,
        source=f"CIFAR-10{part}, A. Krizhevsky (2009), Learning multiple layers of features from tiny "
        "images, https://www.cs.toronto.edu/~kriz/cifar.html, for research.",
    )


def binarized_mnist(root: Root, seed: int, valid: int | float | None) -> Dataset:
    """The fixed binarisation of MNIST; its three published files are the three splits."""
    if valid is not None:
        raise ValueError("binarized_mnist has the fixed splits that make its numbers comparable; leave valid=None")
    stems = [f"BinaryMNIST/binarized_mnist_{part}" for part in ("train", "valid", "test")]
    paths = locate(
        "binarized_mnist",
        [[f"{stem}{suffix}" for stem in stems] for suffix in (".mat", ".amat")],
        root,
        published="http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/ (.amat)",
    )
    splits = []
    for path in paths:
        with reading(path):
            # .amat is plain text, a row of zeros and ones for each image
            x = _mat(path, "X") if path.suffix == ".mat" else np.loadtxt(path, dtype=np.uint8, ndmin=2)
            x = np.asarray(x).reshape(-1, 1, 28, 28)
            if not ((x == 0) | (x == 1)).all():
                raise ValueError("it holds values other than 0 and 1")
        splits.append(Split(torch.from_numpy(x).float()))
    train, valid_split, test = splits
    return Dataset(
        "binarized_mnist",
        train,
        valid_split,
        test,
        kind="binary",
        source="MNIST with one fixed Bernoulli draw of each pixel, R. Salakhutdinov and I. Murray (2008), On "
        "the quantitative analysis of deep belief networks, ICML, https://doi.org/10.1145/1390156.1390266; "
        "files by H. Larochelle; without labels.",
    )


def omniglot(root: Root, seed: int, valid: int | float | None) -> Dataset:
    """A small part of OMNIGLOT, 20 drawings of each character, split by character."""
    (path,) = locate(
        "omniglot",
        [["OMNIGLOT/omniglot_small_28x28.npz"]],
        root,
        published="https://github.com/brendenlake/omniglot (images (N, 28, 28) of bytes, "
        "character (N,) and character_names, in one .npz)",
    )
    images, character, names = _npz(path, "images", "character", "character_names")
    split = Split(_grey(images[:, None]), torch.from_numpy(character.astype(np.int64)))
    num_test = len(split) * 3 // 20
    parts = random_cut(split, valid, num_test=num_test, seed=seed, stratified=True)
    return Dataset(
        "omniglot",
        *parts,
        kind="grey",
        num_classes=len(names),
        class_names=tuple(map(str, names)),
        source="OMNIGLOT, a part with 242 characters, B. Lake, R. Salakhutdinov and J. Tenenbaum (2015), "
        "Human-level concept learning through probabilistic program induction, Science 350, "
        "https://github.com/brendenlake/omniglot, MIT; not the split used in papers on likelihoods.",
    )


def frey_faces(root: Root, seed: int, valid: int | float | None) -> Dataset:
    """Frames of a video of one face; a seeded draw of 200 for validation and 200 for the test."""
    (path,) = locate(
        "frey_faces",
        [["FreyFace/frey_rawface.mat"]],
        root,
        published="https://cs.nyu.edu/~roweis/data/frey_rawface.mat",
    )
    with reading(path):
        frames = np.ascontiguousarray(_mat(path, "ff").T).reshape(-1, 1, 28, 20)
    num_test = min(200, len(frames) // 5)
    parts = random_cut(Split(_grey(frames)), valid, num_test=num_test, seed=seed, stratified=False)
    return Dataset(
        "frey_faces",
        *parts,
        kind="grey",
        source="Frey faces, 1,965 frames by B. Frey, https://cs.nyu.edu/~roweis/data.html, no licence "
        "stated; neighbouring frames are alike, so the test frames resemble the training frames.",
    )


def _idx_dataset(
    name: str,
    folder: str,
    root: Root,
    valid: int | float | None,
    *,
    class_names: tuple[str, ...],
    published: str,
    source: str,
) -> Dataset:
    wanted = [
        f"{folder}/raw/{part}-{content}-ubyte"
        for part in ("train", "t10k")
        for content in ("images-idx3", "labels-idx1")
    ]
    # torchvision's class and its folder have the same name
    paths = locate(name, [[f"{path}.gz" for path in wanted], wanted], root, download_as=folder, published=published)
    pool, test = _idx_split(paths[0], paths[1]), _idx_split(paths[2], paths[3])
    train, valid_split = tail_cut(pool, valid, 10_000)
    return Dataset(
        name,
        train,
        valid_split,
        test,
        kind="grey",
        num_classes=len(class_names),
        class_names=class_names,
        source=source,
    )


def _idx_split(images: Path, labels: Path) -> Split:
    x, y = read_idx(images), read_idx(labels)
    if x.ndim != 3:
        raise DataCorrupted(f"{images} must hold images of shape (N, H, W), it holds {tuple(x.shape)}")
    if y.shape != x.shape[:1]:
        raise DataCorrupted(f"{labels} must hold one label for each of the {len(x)} images in {images}")
    return Split(_grey(x.unsqueeze(1)), y.long())


def _cifar10_batches(folder: Path) -> list[np.ndarray]:
    from torchvision.datasets import CIFAR10

    arrays = []
    for train in (True, False):
        try:
            # torchvision compares checksums before it unpickles, and does not write
            dataset = CIFAR10(folder.parent, train=train)
        except RuntimeError as error:
            raise DataCorrupted(
                f"a file in {folder} has not its published checksum; delete the folder and fetch it again"
            ) from error
        arrays += [dataset.data.transpose(0, 3, 1, 2), np.asarray(dataset.targets)]
    return arrays


def _npz(path: Path, *keys: str) -> list[np.ndarray]:
    with reading(path), np.load(path, allow_pickle=False) as archive:
        return [archive[key] for key in keys]


def _mat(path: Path, key: str) -> Any:
    from scipy.io import loadmat

    return loadmat(path)[key]


def _grey(images: np.ndarray | Tensor) -> Tensor:
    """Bytes 0..255 to float32 within [0, 1]."""
    x = images if isinstance(images, Tensor) else torch.from_numpy(np.ascontiguousarray(images))
    if x.dtype != torch.uint8:
        raise DataCorrupted(f"images must be stored as bytes, got {x.dtype}")
    return x.float().div_(255)

"""Data sets in folders: found, read where they are, downloaded whole or not at all."""

import gzip
import hashlib
import os
import pickle
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import scipy.io
import torch
import torchvision.datasets

from pyro_vae import data

PARTS = {"train": 20, "t10k": 5}


def no_network(self):
    raise URLError("no network here")


@pytest.fixture(autouse=True)
def apart(tmp_path, monkeypatch):
    """No folder, cache or network but those of the test."""
    monkeypatch.delenv("PYRO_VAE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(torchvision.datasets.MNIST, "download", no_network)
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "download", no_network)


def idx(array):
    head = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return head + array.astype(np.uint8).tobytes()


def write_mnist(root, folder="MNIST", zipped=True):
    """A tiny MNIST whose image i has the one value i (plus 100 in the test) and whose label is i mod 10."""
    raw = root / folder / "raw"
    raw.mkdir(parents=True)
    for part, n in PARTS.items():
        images = np.arange(n)[:, None, None] + np.zeros((n, 4, 3)) + (100 if part == "t10k" else 0)
        for content, array in (("images-idx3", images), ("labels-idx1", np.arange(n) % 10)):
            written = idx(array)
            path = raw / f"{part}-{content}-ubyte{'.gz' if zipped else ''}"
            path.write_bytes(gzip.compress(written) if zipped else written)
    return root


def listing(root):
    return {path: path.stat().st_mtime_ns for path in sorted(Path(root).rglob("*"))}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(("name", "folder"), [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST")])
def test_idx_values_and_split(tmp_path, name, folder, zipped):
    dataset = data.load(name, write_mnist(tmp_path / "root", folder, zipped), valid=5)
    assert dataset.shape == (1, 4, 3)
    assert dataset.train.x.dtype == torch.float32
    expected = torch.arange(15.0) / 255
    assert torch.equal(dataset.train.x, expected[:, None, None, None].expand(15, 1, 4, 3))
    assert dataset.train.y.tolist() == [*range(10), *range(5)]
    assert (dataset.valid.x[:, 0, 0, 0] * 255).round().tolist() == [15, 16, 17, 18, 19]
    assert (dataset.test.x[:, 0, 0, 0] * 255).round().tolist() == [100, 101, 102, 103, 104]
    assert dataset.test.y.tolist() == [0, 1, 2, 3, 4]


def test_read_only_root_is_left_alone(tmp_path):
    root = write_mnist(tmp_path / "root")
    before = listing(root)
    folders = [path for path in (root, *before) if path.is_dir()]
    for path in folders:
        path.chmod(0o555)
    try:
        data.load("mnist", root, valid=5)
    finally:
        for path in folders:
            path.chmod(0o755)
    assert listing(root) == before
    assert not (tmp_path / "cache").exists()


def test_search_order_is_root_then_variable_then_cache(tmp_path, monkeypatch):
    write_mnist(tmp_path / "cache" / "pyro_vae")
    assert len(data.load("mnist", valid=5).train) == 15  # from the cache
    (tmp_path / "env" / "MNIST" / "raw").mkdir(parents=True)
    monkeypatch.setenv("PYRO_VAE_DATA", str(tmp_path / "env"))
    assert len(data.load("mnist", valid=5).train) == 15  # the variable's folder has none
    write_mnist(tmp_path / "env2")
    path = tmp_path / "env2" / "MNIST" / "raw" / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(idx(np.full(5, 7))))
    monkeypatch.setenv("PYRO_VAE_DATA", str(tmp_path / "env2"))
    assert data.load("mnist", valid=5).test.y.tolist() == [7] * 5
    root = write_mnist(tmp_path / "root")
    assert data.load("mnist", root, valid=5).test.y.tolist() == [0, 1, 2, 3, 4]
    assert data.load("mnist", str(root), valid=5).test.y.tolist() == [0, 1, 2, 3, 4]


def test_missing_data_say_what_where_and_what_to_do(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    with pytest.raises(data.DataNotFound) as raised:
        data.load("mnist", root)
    message = str(raised.value)
    assert "MNIST/raw/t10k-labels-idx1-ubyte.gz" in message
    assert f"looked in: {root}, {tmp_path / 'cache' / 'pyro_vae'}" in message
    assert "no network here" in message
    assert "PYRO_VAE_DATA" in message
    assert "https://" in message
    assert isinstance(raised.value.__cause__, URLError)


@pytest.mark.parametrize("name", ["binarized_mnist", "omniglot", "frey_faces"])
def test_sets_without_a_download_say_so(name):
    with pytest.raises(data.DataNotFound, match="download: not possible for this data set"):
        data.load(name)


def test_incomplete_folder_does_not_count(tmp_path):
    root = write_mnist(tmp_path / "root")
    (root / "MNIST" / "raw" / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(data.DataNotFound):
        data.load("mnist", root, valid=5)


def test_root_or_variable_that_is_no_folder(tmp_path, monkeypatch):
    with pytest.raises(data.DataNotFound, match=r"root='.*nowhere' is not a folder"):
        data.load("mnist", tmp_path / "nowhere")
    monkeypatch.setenv("PYRO_VAE_DATA", "/nowhere/at/all")
    with pytest.raises(data.DataNotFound, match="PYRO_VAE_DATA='/nowhere/at/all' is not a folder"):
        data.load("mnist")


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        ("train-images-idx3-ubyte.gz", lambda b: b[: len(b) // 2], "end-of-stream"),
        ("train-images-idx3-ubyte.gz", lambda b: b[:20] + b"\xff\x00\xff" + b[23:], "cannot read"),
        ("t10k-labels-idx1-ubyte.gz", lambda b: b"<html>not found</html>", "Not a gzipped file"),
        ("t10k-labels-idx1-ubyte.gz", lambda b: b"", "does not start as an IDX file"),
        ("t10k-images-idx3-ubyte.gz", lambda b: gzip.compress(gzip.decompress(b)[:-1]), "holds 59 values"),
        (
            "t10k-labels-idx1-ubyte.gz",
            lambda b: gzip.compress(idx(np.zeros(4))),
            "one label for each of the 5",
        ),
        ("t10k-images-idx3-ubyte.gz", lambda b: gzip.compress(idx(np.zeros(5))), "shape .N, H, W."),
    ],
)
def test_damaged_files_are_named(tmp_path, file, damage, message):
    root = write_mnist(tmp_path / "root")
    path = root / "MNIST" / "raw" / file
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(data.DataCorrupted, match=message) as raised:
        data.load("mnist", root, valid=5)
    assert str(path) in str(raised.value)


def test_download_fills_the_cache_once(tmp_path, monkeypatch):
    calls = []

    class FakeMNIST:
        def __init__(self, root, download):
            calls.append(root)
            write_mnist(Path(root))

    monkeypatch.setattr(torchvision.datasets, "MNIST", FakeMNIST)
    for _ in range(2):
        assert len(data.load("mnist", valid=5).train) == 15
    assert len(calls) == 1
    assert [path.name for path in (tmp_path / "cache" / "pyro_vae").iterdir()] == ["MNIST"]


@pytest.mark.parametrize("error", [URLError("cut off"), RuntimeError("bad checksum"), KeyboardInterrupt()])
def test_broken_download_leaves_nothing(tmp_path, monkeypatch, error):
    class BrokenMNIST:
        def __init__(self, root, download):
            write_mnist(Path(root))
            raise error

    monkeypatch.setattr(torchvision.datasets, "MNIST", BrokenMNIST)
    wanted = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else data.DataNotFound
    with pytest.raises(wanted):
        data.load("mnist", valid=5)
    assert list((tmp_path / "cache" / "pyro_vae").iterdir()) == []


def test_valid_larger_than_the_pool(tmp_path):
    with pytest.raises(ValueError, match="of 20 data, 10000 were asked for validation"):
        data.load("mnist", write_mnist(tmp_path / "root"))


def write_binarized(root, suffix):
    (root / "BinaryMNIST").mkdir(parents=True)
    rng = np.random.default_rng(0)
    arrays = {part: rng.integers(0, 2, (n, 784), dtype=np.uint8) for part, n in zip("abc", (6, 3, 2), strict=True)}
    for part, array in zip(("train", "valid", "test"), arrays.values(), strict=True):
        path = root / "BinaryMNIST" / f"binarized_mnist_{part}{suffix}"
        scipy.io.savemat(path, {"X": array}) if suffix == ".mat" else np.savetxt(path, array, fmt="%d")
    return list(arrays.values())


@pytest.mark.parametrize("suffix", [".mat", ".amat"])
def test_binarized_mnist(tmp_path, suffix):
    arrays = write_binarized(tmp_path / "root", suffix)
    dataset = data.load("binarized_mnist", tmp_path / "root")
    for part, array in zip((dataset.train, dataset.valid, dataset.test), arrays, strict=True):
        assert torch.equal(part.x, torch.from_numpy(array).float().reshape(-1, 1, 28, 28))
        assert part.y is None
    assert (dataset.kind, dataset.num_classes) == ("binary", None)
    with pytest.raises(ValueError, match="fixed splits"):
        data.load("binarized_mnist", tmp_path / "root", valid=5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"X": np.full((2, 784), 3)}, "other than 0 and 1"),
        ({"Y": np.zeros((2, 784))}, "'X'"),
        (b"junk", "cannot read"),
    ],
)
def test_binarized_mnist_damaged(tmp_path, content, message):
    write_binarized(tmp_path / "root", ".mat")
    path = tmp_path / "root" / "BinaryMNIST" / "binarized_mnist_valid.mat"
    path.write_bytes(content) if isinstance(content, bytes) else scipy.io.savemat(path, content)
    with pytest.raises(data.DataCorrupted, match=message) as raised:
        data.load("binarized_mnist", tmp_path / "root")
    assert str(path) in str(raised.value)


def write_cifar10_part(root):
    (root / "CIFAR10").mkdir(parents=True, exist_ok=True)
    x = (np.arange(40, dtype=np.uint8)[:, None, None, None] + np.zeros((1, 3, 32, 32), np.uint8)).astype(np.uint8)
    y = (np.arange(40) % 10).astype(np.uint8)
    np.savez(root / "CIFAR10" / "cifar10_15k_5k.npz", x_train=x, y_train=y, x_test=x[:4], y_test=y[:4])


def write_cifar10(root, monkeypatch):
    """Tiny batches in torchvision's layout, with their checksums put where torchvision looks for them."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)

    def write(name, content):
        (folder / name).write_bytes(pickle.dumps(content))
        return hashlib.md5((folder / name).read_bytes()).hexdigest()

    cls, rng = torchvision.datasets.CIFAR10, np.random.default_rng(0)
    batches = [rng.integers(0, 256, (4, 3072), dtype=np.uint8) for _ in range(6)]
    sums = [
        write(name, {"data": batch, "labels": [i, 1, 2, 3]})
        for i, (name, batch) in enumerate(
            zip([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"], batches, strict=True)
        )
    ]
    monkeypatch.setattr(cls, "train_list", [[f"data_batch_{i + 1}", sums[i]] for i in range(5)])
    monkeypatch.setattr(cls, "test_list", [["test_batch", sums[5]]])
    meta = write("batches.meta", {"label_names": list("abcdefghij")})
    monkeypatch.setattr(cls, "meta", {"filename": "batches.meta", "key": "label_names", "md5": meta})
    return folder, torch.from_numpy(np.stack(batches).reshape(6, 4, 3, 32, 32))


def test_cifar10_part(tmp_path):
    write_cifar10_part(tmp_path / "root")
    dataset = data.load("cifar10", tmp_path / "root")
    assert [len(part) for part in (dataset.train, dataset.valid, dataset.test)] == [36, 4, 4]
    assert torch.equal(dataset.valid.x[:, 1, 2, 3], torch.arange(36.0, 40.0) / 255)
    assert dataset.valid.y.tolist() == [6, 7, 8, 9]
    assert "only" in dataset.source


def test_cifar10_whole_is_preferred_to_its_part(tmp_path, monkeypatch):
    write_cifar10_part(tmp_path / "root")
    folder, expected = write_cifar10(tmp_path / "root", monkeypatch)
    before = listing(tmp_path / "root")
    dataset = data.load("cifar10", tmp_path / "root")
    pool = torch.cat([dataset.train.x, dataset.valid.x])
    assert torch.equal(pool, expected[:5].flatten(0, 1).float() / 255)
    assert torch.equal(dataset.test.x, expected[5].float() / 255)
    assert dataset.test.y.tolist() == [5, 1, 2, 3]
    assert len(dataset.valid) == 2
    assert listing(tmp_path / "root") == before
    (folder / "data_batch_3").write_bytes(b"junk")
    with pytest.raises(data.DataCorrupted, match=str(folder)):
        data.load("cifar10", tmp_path / "root")


def test_damaged_npz_is_named(tmp_path):
    for folder, file, name in (
        ("CIFAR10", "cifar10_15k_5k.npz", "cifar10"),
        ("OMNIGLOT", "omniglot_small_28x28.npz", "omniglot"),
    ):
        path = tmp_path / folder / file
        path.parent.mkdir()
        for content in (b"junk", b"PK\x03\x04junk", b""):
            path.write_bytes(content)
            with pytest.raises(data.DataCorrupted, match=file):
                data.load(name, tmp_path)
        np.savez(path, other=np.zeros(1))
        with pytest.raises(data.DataCorrupted, match=file):
            data.load(name, tmp_path)


def test_omniglot_is_split_by_character(tmp_path):
    (tmp_path / "OMNIGLOT").mkdir()
    character = np.repeat(np.arange(3), 20).astype(np.uint16)
    images = np.arange(60, dtype=np.uint8)[:, None, None] + np.zeros((1, 28, 28), np.uint8)
    np.savez(
        tmp_path / "OMNIGLOT" / "omniglot_small_28x28.npz",
        images=images,
        character=character,
        character_names=np.array(["x/1", "x/2", "y/1"]),
    )
    dataset = data.load("omniglot", tmp_path)
    for part, each in ((dataset.train, 14), (dataset.valid, 3), (dataset.test, 3)):
        assert part.y.bincount().tolist() == [each] * 3
        assert torch.equal((part.x[:, 0, 0, 0] * 255).round().long() // 20, part.y)
    seen = torch.cat([part.x[:, 0, 0, 0] for part in (dataset.train, dataset.valid, dataset.test)])
    assert len(seen.unique()) == 60
    assert dataset.class_names == ("x/1", "x/2", "y/1")


def test_frey_faces_are_rows_of_upright_frames(tmp_path):
    (tmp_path / "FreyFace").mkdir()
    frames = np.random.default_rng(0).integers(0, 256, (50, 28, 20), dtype=np.uint8)
    scipy.io.savemat(tmp_path / "FreyFace" / "frey_rawface.mat", {"ff": frames.reshape(50, 560).T})
    dataset = data.load("frey_faces", tmp_path)
    assert [len(part) for part in (dataset.train, dataset.valid, dataset.test)] == [30, 10, 10]
    found = torch.cat([part.x for part in (dataset.train, dataset.valid, dataset.test)]).squeeze(1)
    theirs = {(frame / np.float32(255)).astype(np.float32).tobytes() for frame in frames}
    assert {frame.numpy().tobytes() for frame in found} == theirs
    assert data.load("frey_faces", tmp_path, seed=1).test.x.ne(dataset.test.x).any()


@pytest.mark.skipif(os.name != "posix", reason="home folders")
def test_cache_defaults_to_home(monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    write_mnist(tmp_path / ".cache" / "pyro_vae")
    assert len(data.load("mnist", valid=5).train) == 15

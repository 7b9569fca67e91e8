"""The real data sets: known facts about each."""

import os
import time
from pathlib import Path

import pytest
import torch

from pyro_vae import data

pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif("PYRO_VAE_DATA" not in os.environ, reason="PYRO_VAE_DATA is not set"),
]


@pytest.fixture(autouse=True)
def no_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.fixture
def folder():
    return Path(os.environ["PYRO_VAE_DATA"])


def sizes(dataset):
    return [len(part) for part in (dataset.train, dataset.valid, dataset.test)]


def test_mnist_facts():
    start = time.perf_counter()
    mnist = data.load("mnist")
    assert time.perf_counter() - start < 10
    assert sizes(mnist) == [50_000, 10_000, 10_000]
    assert mnist.train.y[:5].tolist() == [5, 0, 4, 1, 9]
    assert mnist.test.y[:5].tolist() == [7, 2, 1, 0, 4]
    pool = torch.cat([mnist.train.x, mnist.valid.x]).double()
    # the mean and standard deviation everyone normalises with
    assert pool.mean().item() == pytest.approx(0.1307, abs=5e-5)
    assert pool.std().item() == pytest.approx(0.3081, abs=5e-5)
    assert mnist.test.y.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_fashion_mnist_facts():
    fashion = data.load("fashion_mnist")
    assert sizes(fashion) == [50_000, 10_000, 10_000]
    pool = torch.cat([fashion.train.x, fashion.valid.x]).double()
    assert pool.mean().item() == pytest.approx(0.2860, abs=5e-5)
    assert fashion.test.y.bincount().tolist() == [1000] * 10
    assert fashion.class_names[fashion.train.y[0]] == "Ankle boot"


def test_binarized_mnist_is_a_draw_of_mnist():
    fixed = data.load("binarized_mnist")
    assert sizes(fixed) == [50_000, 10_000, 10_000]
    assert fixed.train.x.unique().tolist() == [0, 1]
    # Pixel by pixel the fixed draw has the mean of the grey images, so orientation and scale are right.
    grey = data.load("mnist").test.x.mean(0)
    assert (fixed.test.x.mean(0) - grey).abs().max() < 0.03


def test_cifar10_first_part(folder):
    if not (folder / "CIFAR10").is_dir():
        pytest.skip("only with the first part")
    cifar = data.load("cifar10")
    assert sizes(cifar) == [13_500, 1_500, 5_000]
    assert [cifar.class_names[i] for i in cifar.train.y[:3].tolist()] == ["frog", "truck", "truck"]
    # channel means of the whole set: red, green, blue
    means = cifar.train.x.mean((0, 2, 3))
    torch.testing.assert_close(means, torch.tensor([0.4914, 0.4822, 0.4465]), atol=0.01, rtol=0)


def test_omniglot_and_frey_faces():
    omniglot = data.load("omniglot")
    assert sizes(omniglot) == [3388, 726, 726]
    assert omniglot.test.y.bincount().tolist() == [3] * 242
    assert omniglot.train.x.mean() < 0.2  # bright strokes on a dark ground
    frey = data.load("frey_faces")
    assert sizes(frey) == [1565, 200, 200]
    assert frey.shape == (1, 28, 20)
    # neighbouring pixels are alike in both directions only if the frames are laid out right
    x = frey.train.x
    for step in (x[:, :, 1:] - x[:, :, :-1], x[..., 1:] - x[..., :-1]):
        assert step.abs().mean() < 0.5 * (x[:, :, :, :1] - x[:, :, :, 10:11]).abs().mean()


def test_nothing_was_downloaded(tmp_path):
    data.load("mnist")
    assert list(tmp_path.iterdir()) == []

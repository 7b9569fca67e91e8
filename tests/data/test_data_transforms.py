"""Binarisation and hidden labels."""

import math

import pytest
import torch

from pyro_vae import data
from pyro_vae.data import Split, binarize, labelled_subset, threshold


def test_binarize_has_mean_x_and_is_drawn_per_pixel():
    n = 20_000
    p = torch.tensor([0.0, 0.1, 0.5, 0.9, 1.0])
    draws = binarize(p.expand(n, 5).contiguous(), generator=torch.Generator().manual_seed(0))
    assert draws.unique().tolist() == [0.0, 1.0]
    mean = draws.mean(0)
    assert mean[0] == 0
    assert mean[4] == 1
    z = (mean - p)[1:4] / (p * (1 - p) / n).sqrt()[1:4]
    assert z.abs().max() < 4
    # neighbouring pixels are independent
    correlation = torch.corrcoef(draws[:, 1:4].T).fill_diagonal_(0)
    assert correlation.abs().max() < 4 / math.sqrt(n)


def test_binarize_draws_anew_and_follows_the_generator():
    x = torch.full((100,), 0.5)
    a, b = (binarize(x, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(a, b)
    assert not torch.equal(binarize(x), binarize(x))
    assert binarize(x.double()).dtype == torch.float64


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.tensor([0.5, 255.0, 3.0]), "2 of 3 lie outside, the first is 255"),
        (torch.tensor([-0.1]), "1 of 1 lie outside, the first is -0.1"),
        (torch.tensor([0.5, float("nan")]), "1 of 2 lie outside, the first is nan"),
    ],
)
def test_binarize_refuses_what_is_no_probability(x, message):
    with pytest.raises(ValueError, match=message):
        binarize(x)


def test_binarize_refuses_bytes():
    with pytest.raises(TypeError, match="uint8"):
        binarize(torch.tensor([0, 255], dtype=torch.uint8))


def test_threshold():
    x = torch.tensor([0.0, 0.3, 0.5, 0.51])
    assert threshold(x).tolist() == [0, 0, 0, 1]
    assert threshold(x, 0.3).tolist() == [0, 0, 1, 1]
    with pytest.raises(ValueError, match="1 NaN of 2"):
        threshold(torch.tensor([0.0, float("nan")]))


def test_labelled_subset_is_balanced_and_true():
    train = data.load("digits").train
    subset = labelled_subset(train, 100)
    kept = subset.labelled
    assert subset.x is train.x
    assert subset.y[kept].bincount().tolist() == [10] * 10
    assert torch.equal(subset.y[kept], train.y[kept])
    assert (subset.y[~kept] == -1).all()
    assert train.labelled.all()


def test_labelled_subset_gives_the_remainder_to_the_first_classes():
    subset = labelled_subset(data.load("digits").train, 23)
    assert subset.y[subset.labelled].bincount().tolist() == [3, 3, 3] + [2] * 7


def test_labelled_subset_seeded_and_nested():
    train = data.load("digits").train
    a, b = labelled_subset(train, 50, seed=1), labelled_subset(train, 50, seed=1)
    assert torch.equal(a.y, b.y)
    assert not torch.equal(a.y, labelled_subset(train, 50, seed=2).y)
    more = labelled_subset(train, 123, seed=1)
    assert more.labelled[a.labelled].all()


def test_labelled_subset_never_draws_missing_labels():
    y = torch.tensor([0, -1, 1, -1, 0, 1])
    subset = labelled_subset(Split(torch.zeros(6, 1), y), 4)
    assert torch.equal(subset.y, y)


def test_labelled_subset_of_reals_and_of_none():
    train = data.load("diabetes").train
    subset = labelled_subset(train, 40)
    assert subset.labelled.sum() == 40
    assert torch.equal(subset.y[subset.labelled], train.y[subset.labelled])
    assert subset.y[~subset.labelled].isnan().all()
    assert not labelled_subset(train, 0).labelled.any()
    assert not labelled_subset(data.load("wine").train, 0).labelled.any()


@pytest.mark.parametrize(
    ("y", "n", "message"),
    [
        (None, 1, "y=None"),
        (torch.tensor([0, 0, 0, 1]), 5, "between 0 and the 4 labels there are, got 5"),
        (torch.tensor([0, 0, 0, -1]), 4, "between 0 and the 3 labels there are, got 4"),
        (torch.tensor([0, 0, 0, 1]), -1, "got -1"),
        (torch.tensor([0, 0, 0, 1]), 1, "n=1 labels cannot cover the 2 classes"),
        (torch.tensor([0, 0, 0, 1]), 4, "class 1 has 1 labels, but its share of n=4 is 2"),
    ],
)
def test_labelled_subset_refuses(y, n, message):
    with pytest.raises(ValueError, match=message):
        labelled_subset(Split(torch.zeros(4, 1), y), n)


def test_labelled_subset_refuses_other_types():
    with pytest.raises(TypeError, match=r"dataset\.train or .* got Dataset"):
        labelled_subset(data.load("wine"), 3)
    with pytest.raises(TypeError, match="integer"):
        labelled_subset(data.load("wine").train, 0.1)

"""The containers."""

import numpy as np
import pytest
import torch

from pyro_vae.data import Dataset, Split


@pytest.fixture
def split():
    return Split(torch.arange(12.0).reshape(6, 2), torch.tensor([0, 1, -1, 2, -1, 0]))


def test_indexing_keeps_x_and_y_together(split):
    mask = torch.tensor([True, False, False, True, False, False])
    for index in (mask, mask.numpy(), [0, 3], torch.tensor([0, 3]), slice(0, 6, 3)):
        part = split[index]
        assert part.x.tolist() == [[0.0, 1.0], [6.0, 7.0]]
        assert part.y.tolist() == [0, 2]
    assert len(split[[]]) == 0
    assert split[np.array([5, 0])].y.tolist() == [0, 0]


@pytest.mark.parametrize("index", [0, torch.tensor(1), [[0, 1]]])
def test_indexing_by_one_row_says_what_to_write(split, index):
    with pytest.raises(TypeError, match=r"split\[i : i \+ 1\]"):
        split[index]


def test_labelled_tells_present_from_missing(split):
    assert split.labelled.tolist() == [True, True, False, True, False, True]
    real = Split(torch.zeros(3, 1), torch.tensor([[1.0, 2.0], [1.0, float("nan")], [float("nan")] * 2]))
    assert real.labelled.tolist() == [True, False, False]
    assert Split(torch.zeros(2, 1)).labelled.tolist() == [False, False]


def test_to_changes_x_and_real_y_but_not_classes(split):
    half = split.to(dtype=torch.float64)
    assert half.x.dtype == torch.float64
    assert half.y.dtype == torch.int64
    assert Split(torch.zeros(2, 1), torch.zeros(2, 1)).to(dtype=torch.float64).y.dtype == torch.float64
    assert split.to("meta").y.device.type == "meta"
    assert split.x.dtype == torch.float32


def test_repr(split):
    assert repr(split) == "Split(x=(6, 2) float32, y=(6,) int64, 4 labelled)"
    assert repr(Split(torch.zeros(2, 1, 3))) == "Split(x=(2, 1, 3) float32)"


@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [
        (np.zeros((2, 1)), None, TypeError, "x must be a tensor, got ndarray"),
        (None, None, TypeError, "x must be a tensor, got NoneType"),
        (torch.zeros(2, 1), [0, 1], TypeError, "y must be a tensor, got list"),
        (torch.zeros(2, 1), torch.tensor([True, False]), TypeError, "torch.bool"),
        (torch.tensor(1.0), None, ValueError, "got a scalar"),
        (torch.zeros(2, 1), torch.zeros(2), ValueError, r"float32 of shape \(2,\)"),
        (torch.zeros(2, 1), torch.zeros(2, 1).long(), ValueError, r"int64 of shape \(2, 1\)"),
        (torch.zeros(2, 1), torch.zeros(3).long(), ValueError, "same length, got 2 and 3"),
    ],
)
def test_split_refuses(x, y, error, message):
    with pytest.raises(error, match=message):
        Split(x, y)


def test_dataset_refuses_unknown_kind_and_mixed_shapes():
    a, b = Split(torch.zeros(2, 1)), Split(torch.zeros(2, 3))
    with pytest.raises(ValueError, match="binary, grey, counts, real, got 'gray'"):
        Dataset("d", a, a, a, kind="gray")
    with pytest.raises(ValueError, match=r"\(1,\), \(3,\) and \(1,\)"):
        Dataset("d", a, b, a, kind="real")
    assert Dataset("d", a, a, a, kind="real").shape == (1,)

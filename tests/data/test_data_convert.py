"""What users hold, as splits."""

import numpy as np
import pytest
import torch
from torch.utils.data import IterableDataset, Subset, TensorDataset

from pyro_vae import data
from pyro_vae.data import Split, as_split

X = [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
Y = [0, 2, 1]


class Items(torch.utils.data.Dataset):
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


class Stream(IterableDataset):
    def __iter__(self):
        return iter([])


def readonly(array):
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    "given",
    [
        torch.tensor(X),
        torch.tensor(X, dtype=torch.float64, requires_grad=True),
        np.array(X),
        np.array(X, dtype=">f8"),
        np.array(X, dtype=np.int64),
        readonly(np.array(X, dtype=np.float32)),
        np.array(X[::-1])[::-1],
        np.array(X).T.copy().T,
        TensorDataset(torch.tensor(X)),
        Items([torch.tensor(row) for row in X]),
        Items([(np.array(row),) for row in X]),
    ],
)
def test_x_alone(given, recwarn):
    split = as_split(given)
    assert split.x.tolist() == X
    assert split.x.dtype == torch.float32
    assert not split.x.requires_grad
    assert split.y is None
    assert not recwarn.list


@pytest.mark.parametrize(
    "given",
    [
        (torch.tensor(X), torch.tensor(Y, dtype=torch.uint8)),
        (np.array(X), np.array(Y, dtype=np.int32)),
        TensorDataset(torch.tensor(X), torch.tensor(Y)),
        Items([(torch.tensor(x), y) for x, y in zip(X, Y, strict=True)]),
        Items([[np.array(x), np.int64(y)] for x, y in zip(X, Y, strict=True)]),
        Subset(TensorDataset(torch.tensor(X), torch.tensor(Y)), [0, 1, 2]),
    ],
)
def test_x_and_classes(given):
    split = as_split(given)
    assert split.x.tolist() == X
    assert split.y.tolist() == Y
    assert split.y.dtype == torch.int64


def test_tensor_dataset_is_taken_whole(monkeypatch):
    monkeypatch.setattr(TensorDataset, "__getitem__", None)
    assert len(as_split(TensorDataset(torch.zeros(5, 1)))) == 5


def test_real_labels_become_columns_and_may_miss():
    split = as_split((np.array(X), np.array([1.5, np.nan, 2.5])))
    assert split.y.shape == (3, 1)
    assert split.labelled.tolist() == [True, False, True]
    assert as_split((np.array(X), np.ones((3, 2)))).y.shape == (3, 2)
    assert as_split((np.array(X), np.array([True, False, True]))).y.tolist() == [1, 0, 1]


def test_split_and_dataset_pass_unchanged():
    wine = data.load("wine")
    assert as_split(wine) is wine.train
    assert as_split(wine.valid) is wine.valid
    double = Split(torch.zeros(2, 1, dtype=torch.float64))
    assert as_split(double) is double


def test_bytes_are_converted_exactly_and_not_rescaled():
    x = torch.arange(256, dtype=torch.uint8).reshape(4, 8, 8)
    split = as_split(x)
    assert torch.equal(split.x, torch.arange(256.0).reshape(4, 8, 8))
    assert torch.equal(as_split(x.numpy()).x, split.x)


def test_pandas():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [0.5, 1.0], "b": [1, 2], "c": [True, False]})
    assert as_split(frame).x.tolist() == [[0.5, 1.0, 1.0], [1.0, 2.0, 0.0]]
    assert as_split((frame[["b"]], frame["b"])).y.tolist() == [1, 2]
    assert as_split(pandas.DataFrame({"a": pandas.array([1, 2], dtype="Int64")})).x.tolist() == [[1.0], [2.0]]
    with pytest.raises(
        ValueError, match=r"1 NaN and 0 infinite .* index \(1, 0\), column 'a' of row 7; drop such data, or impute"
    ):
        as_split(pandas.DataFrame({"a": pandas.array([1, None], dtype="Int64")}, index=[5, 7]))
    names = pandas.Series(["b", None, "a"])
    with pytest.raises(TypeError, match=r"y must hold numbers.*pandas\.Categorical\(y\)\.codes"):
        as_split((np.array(X), names))
    assert as_split((np.array(X), pandas.Categorical(names).codes)).y.tolist() == [1, -1, 0]
    with pytest.raises(TypeError, match="columns 'name', 'when'"):
        as_split(frame.assign(name=["x", "y"], when=pandas.Timestamp(0)))


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ([1, 2], TypeError, "x is a list; data must be a Split"),
        ("digits", TypeError, "x is a str"),
        (None, TypeError, "x is a NoneType"),
        ((torch.zeros(2, 1), "ab"), TypeError, "y is a str"),
        ((torch.zeros(2, 1),) * 3, ValueError, "got 3 parts"),
        (np.array([["a"]]), TypeError, "dtype <U1"),
        (torch.zeros(2, 1, dtype=torch.complex64), TypeError, "complex64"),
        (torch.zeros(2, 1).to_sparse(), TypeError, "dense"),
        (torch.zeros(3), ValueError, r"for N scalars give shape \(N, 1\)"),
        (torch.zeros(0, 3), ValueError, r"no data: x has shape \(0, 3\)"),
        (Split(torch.zeros(0, 3)), ValueError, r"no data: x has shape \(0, 3\)"),
        (torch.zeros(3, 0), ValueError, r"no data: x has shape \(3, 0\)"),
        ((torch.zeros(2, 1), torch.zeros(3).long()), ValueError, "same length, got 2 and 3"),
        ((torch.zeros(2, 1), torch.tensor([0, -2])), ValueError, r"got -2 at index \(1,\)"),
        ((torch.zeros(2, 1), torch.tensor([0.0, torch.inf])), ValueError, r"got inf at index \(1, 0\)"),
        ((torch.zeros(2, 1), torch.zeros(2, 3).long()), ValueError, r"int64 of shape \(2, 3\); for real .*y\.float"),
        ((torch.zeros(3, 1), torch.eye(3).long()), ValueError, r"shape \(N,\), got .*take y\.argmax\(-1\)"),
        ((torch.zeros(2, 1), torch.tensor([0, -(2**63)])), ValueError, r"torch\.nan_to_num\(y, nan=-1\)\.long\(\)"),
        (np.array([[2**24 + 1]]), ValueError, "cannot represent, such as 16777217"),
        (np.array([[2**63 - 1]]), ValueError, "cannot represent"),
        (np.array([[1e300]]), ValueError, "0 NaN and 1 infinite"),
        (Items([]), ValueError, "Items is empty"),
        (Items([{"x": 1}]), TypeError, "first item is a dict; .*ToTensor"),
        (Items([(torch.zeros(1), 1, 2)]), ValueError, "items of 3 parts"),
        (Items([torch.zeros(1), torch.zeros(2)]), ValueError, r"one shape in all items, got \(1,\), \(2,\)"),
        (Stream(), TypeError, "has no length"),
    ],
)
def test_refuses(given, error, message):
    with pytest.raises(error, match=message):
        as_split(given)


def test_nan_and_infinity_are_counted_and_placed():
    x = torch.zeros(4, 2, 3)
    x[2, 1, 0], x[3, 0, 0], x[3, 1, 1] = torch.inf, torch.nan, torch.nan
    for given in (x, Split(x), x.numpy()):
        with pytest.raises(ValueError, match=r"2 NaN and 1 infinite values, the first at index \(2, 1, 0\)"):
            as_split(given)

"""The data sets bundled with scikit-learn, and the names."""

import subprocess
import sys

import numpy as np
import pytest
import sklearn.datasets
import torch

from pyro_vae import data

BUNDLED = ["digits", "breast_cancer", "wine", "diabetes"]
RAW = {
    "digits": lambda: sklearn.datasets.load_digits(),
    "breast_cancer": lambda: sklearn.datasets.load_breast_cancer(),
    "wine": lambda: sklearn.datasets.load_wine(),
    "diabetes": lambda: sklearn.datasets.load_diabetes(scaled=False),
}


def parts(dataset):
    return dataset.train, dataset.valid, dataset.test


@pytest.mark.parametrize("name", BUNDLED)
def test_splits_are_a_partition_of_the_published_rows(name):
    dataset, raw = data.load(name), RAW[name]()
    ours = torch.cat([torch.cat([part.x.flatten(1), part.y.reshape(-1, 1)], 1) for part in parts(dataset)])
    theirs = torch.cat([torch.from_numpy(raw.data), torch.from_numpy(raw.target)[:, None]], 1)
    # Columns were mapped affinely and increasingly: brought to one scale, the two sets of rows must agree.
    ours, theirs = ((rows - rows.mean(0)) / rows.std(0).clamp(min=1e-9) for rows in (ours.double(), theirs.double()))
    assert ours.shape == theirs.shape
    distance = torch.cdist(ours, theirs, compute_mode="donot_use_mm_for_euclid_dist")
    assert distance.min(1).values.max() < 1e-4
    assert len(distance.argmin(1).unique()) == len(theirs.unique(dim=0))  # so none is used twice


@pytest.mark.parametrize("name", BUNDLED[1:])
def test_tables_are_standardised_with_training_statistics_only(name):
    dataset = data.load(name)
    x = dataset.train.x.double()
    torch.testing.assert_close(x.mean(0), torch.zeros_like(x[0]), atol=1e-6, rtol=0)
    torch.testing.assert_close(x.std(0, correction=0), torch.ones_like(x[0]), atol=1e-6, rtol=0)
    # Had the other splits had a part in the statistics, the whole would be standard instead.
    whole = torch.cat([part.x for part in parts(dataset)]).double()
    assert whole.mean(0).abs().max() > 1e-3
    assert dataset.test.x.mean(0).abs().max() > 1e-2
    assert dataset.kind == "real"
    assert len(dataset.feature_names) == dataset.shape[0]


def test_constant_columns_become_zeros(monkeypatch):
    bunch = sklearn.datasets.load_wine()
    bunch.data[:, 3] = 7.0
    monkeypatch.setattr(sklearn.datasets, "load_wine", lambda: bunch)
    wine = data.load("wine")
    assert all((part.x[:, 3] == 0).all() for part in parts(wine))


@pytest.mark.parametrize("name", BUNDLED[:3])
def test_splits_are_stratified(name):
    dataset = data.load(name)
    counts = [part.y.bincount(minlength=dataset.num_classes).double() for part in parts(dataset)]
    total = sum(counts)
    for count in counts:
        # rounding to whole rows is the only deviation from the class's share
        assert (count - total * count.sum() / total.sum()).abs().max() <= 1.5
    assert len(dataset.class_names) == dataset.num_classes


@pytest.mark.parametrize("name", BUNDLED)
def test_seed_decides_the_split_and_touches_nothing_global(name):
    numpy_state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()
    a, b, c = data.load(name, seed=1), data.load(name, seed=1), data.load(name, seed=2)
    for one, other in zip(parts(a), parts(b), strict=True):
        assert torch.equal(one.x, other.x)
        assert torch.equal(one.y, other.y)
    assert not torch.equal(a.test.y, c.test.y)
    assert (np.random.get_state()[1] == numpy_state).all()
    assert torch.equal(torch.get_rng_state(), torch_state)


def test_digits_values():
    digits = data.load("digits")
    assert digits.shape == (1, 8, 8)
    assert digits.kind == "grey"
    values = digits.train.x.unique() * 16
    assert values.tolist() == list(range(17))
    assert [len(part) for part in parts(digits)] == [1257, 270, 270]


def test_diabetes_has_a_real_label_in_its_own_unit():
    diabetes = data.load("diabetes")
    y = torch.cat([part.y for part in parts(diabetes)])
    assert y.shape == (442, 1)
    assert (y.min().item(), y.max().item()) == (25.0, 346.0)
    assert diabetes.num_classes is None
    assert diabetes.class_names is None


@pytest.mark.parametrize(("valid", "size"), [(0, 0), (20, 20), (0.1, 15), (0.0, 0)])
def test_valid_sets_the_size_and_leaves_the_test_alone(valid, size):
    wine = data.load("wine", valid=valid)
    assert [len(part) for part in parts(wine)] == [151 - size, size, 27]
    assert torch.equal(wine.test.y, data.load("wine").test.y)


@pytest.mark.parametrize("valid", [151, -1, 1.0, -0.1, True, "10"])
def test_valid_refused(valid):
    with pytest.raises(ValueError, match="valid must"):
        data.load("wine", valid=valid)


def test_unknown_name_says_the_nearest_and_all():
    with pytest.raises(ValueError, match="Did you mean 'fashion_mnist'") as raised:
        data.load("FashionMNIST")
    assert all(name in str(raised.value) for name in data.available())
    with pytest.raises(ValueError, match=r"unknown data set 'qqq'\. Available"):
        data.load("qqq")


def test_import_is_light():
    code = (
        "import sys, pyro_vae.data; "
        "print([m for m in ('sklearn', 'scipy', 'torchvision', 'pandas') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"

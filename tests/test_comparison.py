"""The comparison of systems: what is cut, hidden and measured, and what is not run twice."""

import json

import pytest
import torch

import pyro_vae as pv
from pyro_vae import comparison, data, likelihoods, networks, plots
from pyro_vae.comparison import SYSTEMS, Cell, Comparison, Recipe, compare
from pyro_vae.comparison.tasks import make_task

RECIPE = Recipe(lambda: networks.MLP([8]), lambda: networks.MLP([8]), likelihoods.ContinuousBernoulli, size=2, epochs=1)


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


def test_the_task_hides_labels_and_holds_out_a_fifth(digits):
    task = make_task(digits, 100, seed=3, recipe=RECIPE)
    assert len(task.test) == 360
    assert len(task.train) == 1437
    assert len(task.labelled) == 100
    assert task.labelled.y.bincount().tolist() == [10] * 10
    known = task.train.labelled
    assert ((task.hidden >= 0) == ~known).all()
    everything = torch.cat([task.train.x, task.test.x]).flatten(1)
    whole = torch.cat([split.x for split in (digits.train, digits.valid, digits.test)]).flatten(1)
    torch.testing.assert_close(everything.sum(0), whole.sum(0))
    again = make_task(digits, None, seed=3, recipe=RECIPE)
    assert torch.equal(again.test.x, task.test.x)
    assert (again.hidden == -1).all()
    assert not torch.equal(make_task(digits, 100, seed=4, recipe=RECIPE).test.x, task.test.x)


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_names_classes(name, digits):
    found = compare(digits, labels=[100], systems=[name], seeds=1, recipe=RECIPE)
    (cell,) = found.cells
    assert 0 <= cell.test <= 1
    assert 0 <= cell.pool <= 1
    assert cell.system == name


def test_logistic_regression_is_scikit_learns(digits):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    task = make_task(digits, 100, seed=0, recipe=RECIPE)
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    classifier.fit(task.labelled.x.flatten(1).numpy(), task.labelled.y.numpy())
    expected = classifier.score(task.test.x.flatten(1).numpy(), task.test.y.numpy())
    assert compare(digits, labels=[100], systems=["pixels"], seeds=1).cells[0].test == pytest.approx(expected)


def test_cells_that_are_done_are_read_and_not_run(digits, tmp_path, monkeypatch):
    first = compare(digits, labels=[100], systems=["pixels"], seeds=2, folder=tmp_path)

    def never(task):
        raise AssertionError("ran again")

    monkeypatch.setitem(SYSTEMS, "pixels", comparison.System("pixels", "", never))
    again = compare(digits, labels=[100], systems=["pixels"], seeds=2, folder=tmp_path)
    assert again.cells == first.cells
    with pytest.raises(AssertionError, match="ran again"):
        compare(digits, labels=[100], systems=["pixels"], seeds=2, folder=tmp_path, epochs=3)  # another recipe


def test_the_table_has_means_and_standard_errors():
    cells = [Cell("digits", 100, "M2", seed, test, test - 0.1, 1.0, 1) for seed, test in enumerate((0.9, 0.94))]
    cells += [Cell("digits", None, "M2", 0, 0.97, None, 1.0, 1)]
    found = Comparison(cells)
    assert found.rows() == [
        ["system", "digits, 100 labels", "its unlabelled pool", "digits, all labels"],
        ["M2", "92.00 ± 2.00", "82.00 ± 2.00", "97.00"],
    ]
    assert json.loads(json.dumps(found.to_json()))[2]["labels"] is None
    figure = plots.comparison(found)
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["M2"]
    assert [line.get_label() for line in figure.axes[0].get_lines() if line.get_marker() == "o"] == [
        "digits, 100 labels",
        "digits, all labels",
    ]


def test_what_cannot_be_compared_is_said(digits):
    with pytest.raises(pv.ConfigurationError, match="systems"):
        compare(digits, systems=["M3"])
    with pytest.raises(pv.ConfigurationError, match="no recipe is known for data set 'wine'"):
        compare("wine")
    with pytest.raises(ValueError, match="has no classes"):
        compare("diabetes", recipe=RECIPE)

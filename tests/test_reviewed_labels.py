"""What a reader of the label variants found: each of these was wrong once."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch

import pyro_vae as pv
from pyro_vae import cli, data, evaluation, labels, likelihoods, networks, objectives, priors
from pyro_vae.comparison import compare
from tests.family import CLASSES, D, with_labels


def separable(counts, seed=0):
    """Data of as many classes as there are counts, each far from the others, and their classes."""
    y = torch.cat([torch.full((n,), k) for k, n in enumerate(counts)])
    x = 4 * torch.nn.functional.one_hot(y, len(counts)).float()
    return x + 0.3 * torch.randn(x.shape, generator=torch.Generator().manual_seed(seed)), y


def m2(label, **others):
    torch.manual_seed(0)
    likelihood, encoder = likelihoods.Normal(label.classes), networks.MLP([8])
    return pv.SemiSupervisedVAE(label, priors.StandardNormal(D), likelihood, encoder=encoder, alpha=10.0, **others)


def test_frequencies_that_are_given_are_where_learned_ones_start():
    x, y = separable([30, 30, 30])
    given = m2(labels.Categorical(3, probs=[0.8, 0.1, 0.1], learned=True))
    pv.fit(given, (x, y), epochs=1, lr=1e-8)
    torch.testing.assert_close(given.label().probs, torch.tensor([0.8, 0.1, 0.1]), rtol=1e-3, atol=1e-3)
    with pytest.warns(UserWarning, match="they stay as given"):
        vae = pv.ConsistencyConstrainedVAE(
            labels.Categorical(3, learned=True), priors.StandardNormal(D), likelihoods.Normal(3)
        )
    pv.fit(vae, separable([60, 20, 10]), epochs=1)
    torch.testing.assert_close(vae.label().probs, torch.full((3,), 1 / 3))


def test_learned_frequencies_are_those_of_the_data_and_a_batch_with_more_labels_is_warned_of():
    x, y = separable([540, 60])
    few = torch.full_like(y, -1)
    few[:10], few[-10:] = 0, 1  # as many of each class
    variant = m2(labels.Categorical(2, learned=True))
    quick = {"epochs": 60, "batch_size": 50, "lr": 1e-2, "seed": 0}
    with pytest.warns(UserWarning, match="they tend to those of the labels; labelled_batch_size=None"):
        pv.fit(variant, (x, few), **quick)
    biased = variant.label().probs[1].item()
    variant = m2(labels.Categorical(2, learned=True))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pv.fit(variant, (x, few), labelled_batch_size=None, **quick)
    assert evaluation.accuracy(variant, x, y) > 0.99
    assert variant.label().probs[1].item() == pytest.approx(0.1, abs=0.02)
    assert biased > 0.15


def test_a_missing_class_that_is_drawn_stays_so_in_a_file(tmp_path):
    variant = m2(labels.Categorical(3, enumerate=False), objective=objectives.ScoreFunction(2))
    assert variant.guide.infer == {}
    x, y = separable([30, 30, 30])
    pv.fit(variant, (x, torch.where(torch.arange(90) % 3 == 0, y, -1)), epochs=1)
    variant.save(tmp_path / "v.pt")
    again = pv.load(tmp_path / "v.pt")
    assert again.guide.infer == {}
    assert "enumerate=False" in repr(again)
    assert m2(labels.Categorical(3)).guide.infer == {"enumerate": "parallel"}
    with pytest.raises(
        pv.ConfigurationError, match="'unlabelled/y': Categorical cannot"
    ):  # the plain ELBO has no gradient for it
        pv.fit(m2(labels.Categorical(3, enumerate=False)), (x, torch.where(torch.arange(90) % 3 == 0, y, -1)), epochs=1)


def test_every_training_looks_at_its_labels():
    x, y = separable([30, 30, 30])
    variant = with_labels(pv.PredictionConstrainedVAE, "properties", likelihood=likelihoods.Normal(3))
    good = torch.randn(90, 2)
    pv.fit(variant, (x, good), epochs=1)
    with pytest.raises(pv.DataError, match="property 1 is 3 for all 90 labelled data"):
        pv.fit(variant, (x, torch.stack([good[:, 0], torch.full((90,), 3.0)], 1)), epochs=1)
    variant = with_labels(pv.M2, likelihood=likelihoods.Normal(3))
    pv.fit(variant, (x, y), epochs=1)
    with pytest.warns(UserWarning, match="no datum is labelled as class 2"):
        pv.fit(variant, (x, torch.where(y == 2, -1, y)), epochs=1)
    with pytest.warns(UserWarning, match="no label is known, so that nothing trains what M2 predicts labels by"):
        pv.fit(variant, x, epochs=1)
    fresh = with_labels(pv.PredictionConstrainedVAE, likelihood=likelihoods.Normal(3))
    for missing in (None, torch.full((90,), -1)):
        with pytest.warns(UserWarning, match="no label is known, so that nothing trains what Prediction"):
            pv.fit(fresh, x if missing is None else (x, missing), epochs=1)


def test_properties_that_come_after_a_training_without_any_are_standardised():
    torch.manual_seed(0)
    x = torch.randn(300, 3)
    y = 1000 * x[:, :1] + 5000
    variant = pv.PredictionConstrainedVAE(labels.Normal(1), priors.StandardNormal(2), likelihoods.Normal(3))
    with pytest.warns(UserWarning, match="no label is known"):
        pv.fit(variant, x, epochs=2)
    pv.fit(variant, (x, y), epochs=80, lr=1e-2)
    assert (variant.predict(x).mean - y).abs().mean() < 500
    torch.testing.assert_close(variant.label.loc, y.mean(0))


def test_properties_whose_squares_overflow_are_named():
    variant = with_labels(pv.SemiSupervisedVAE, "properties", likelihood=likelihoods.Normal(3))
    with pytest.raises(pv.DataError, match="properties reach 1e\\+30, and their squares are no numbers; rescale"):
        pv.fit(variant, (torch.randn(10, 3), 1e30 * torch.rand(10, 2).round()), epochs=1)


def test_of_many_classes_without_a_label_a_few_are_named():
    with pytest.warns(UserWarning, match=r"any of the classes 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, \.\.\. \(298\):"):
        labels.Categorical(300).check_known(torch.tensor([0, 1]))


def test_a_number_of_classes_may_be_numpys():
    assert pv.M2(np.int64(3), priors.StandardNormal(2), likelihoods.Bernoulli(3)).label.classes == CLASSES


# -- comparisons


def table(tmp_path, y, name="y"):
    values = np.random.default_rng(0).normal(size=(len(y), 3)) + pd.factorize(np.asarray(y))[0][:, None]
    path = tmp_path / "mine.csv"
    pd.DataFrame(values, columns=["a", "b", "c"]).assign(**{name: y}).to_csv(path, index=False)
    return str(path)


def test_few_labels_of_a_class_are_compared_too():
    found = compare("wine", labels=[3, 9], systems=["M1"], seeds=1, epochs=1)
    assert len(found.cells) == 2


def test_the_column_of_labels_can_be_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    path = table(tmp_path, ["cat", "dog"] * 30, "species")
    cli.main(["compare", "--data", path, "--label-column", "species", "--labels", "8", "--systems", "pixels"])
    assert "8 labels" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("y", "named"), [([1, 2, 3] * 20, "labels 1, 2, 3"), ([0, 5, 90] * 20, "labels 0, 5, 90"), ([0] * 60, "labels 0")]
)
def test_classes_without_a_datum_are_said(tmp_path, y, named):
    dataset = data.load(table(tmp_path, y))
    with pytest.raises(pv.ConfigurationError, match=f"there are {named}; wanted are classes 0, 1, ... without a gap"):
        compare(dataset, labels=[30], systems=["pixels"])

"""Accuracy, confusion, calibration and errors against values worked out by hand."""

import pyro.distributions as dist
import pytest
import torch
from sklearn.metrics import accuracy_score, mean_absolute_error

import pyro_vae as pv
from pyro_vae import data, evaluation, labels, likelihoods, priors


class Given(pv.Discriminative):
    """Predicts the probabilities that x holds."""

    def predict(self, x, *, num_samples=100):
        return dist.Categorical(probs=self.as_data(x))


class GivenProperties(pv.Discriminative):
    """Predicts the properties that x holds."""

    def predict(self, x, *, num_samples=100):
        return dist.Normal(self.as_data(x), 1.0).to_event(1)


def two(*confidences):
    """Predictions of class 0 with these probabilities."""
    p = torch.tensor(confidences)
    return torch.stack([p, 1 - p], 1)


CLASSIFIER = Given(labels.Categorical(2), 2)
X = two(0.55, 0.65, 0.75, 0.95)
Y = torch.tensor([0, 0, 1, 0])


def test_expected_calibration_error_by_hand():
    """Guo et al. 2017, equation 3."""
    table = evaluation.calibration(CLASSIFIER, X, Y, bins=10)
    assert table.count.tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 0, 1]
    assert table.ece == pytest.approx((0.45 + 0.35 + 0.75 + 0.05) / 4)
    coarse = evaluation.calibration(CLASSIFIER, X, Y, bins=2)
    assert coarse.confidence.isnan().tolist() == [True, False]
    assert coarse.confidence[1].item() == pytest.approx(0.725)
    assert coarse.accuracy[1] == 0.75
    assert coarse.ece == pytest.approx(0.025)
    assert evaluation.calibration(CLASSIFIER, X, Y).count.sum() == 4
    assert "expected calibration error 0.025 (4 data)" in repr(coarse)


def test_bins_are_closed_above():
    table = evaluation.calibration(CLASSIFIER, two(0.5, 1.0), torch.tensor([0, 0]), bins=2)
    assert table.count.tolist() == [1, 1]
    assert table.edges.tolist() == [0, 0.5, 1]


def test_a_calibrated_variant_has_no_error():
    generator = torch.Generator().manual_seed(0)
    p = 0.5 + 0.5 * torch.rand(20_000, generator=generator)
    y = (torch.rand(20_000, generator=generator) > p).long()
    assert evaluation.calibration(CLASSIFIER, torch.stack([p, 1 - p], 1), y).ece < 0.02


def test_confusion_counts_true_classes_in_rows():
    classifier = Given(labels.Categorical(3), 3)
    x = torch.eye(3)[[0, 1, 1, 2, 0]]
    y = torch.tensor([0, 1, 2, 2, 1])
    found = evaluation.confusion(classifier, x, y)
    assert found.counts.tolist() == [[1, 0, 0], [1, 1, 0], [0, 1, 1]]
    assert found.accuracy == evaluation.accuracy(classifier, x, y) == accuracy_score(y, x.argmax(-1)) == 0.6
    lines = repr(found).splitlines()
    assert lines[2].split() == ["1", "1", "1", "0"]
    assert lines[-1] == "accuracy 0.600 (3 of 5)"
    # a class that nobody has and nobody predicts keeps its row
    assert evaluation.confusion(classifier, x[:1], y[:1]).counts.shape == (3, 3)


def test_missing_labels_are_left_out_and_splits_accepted():
    y = torch.tensor([0, -1, 1, 0])
    assert evaluation.accuracy(CLASSIFIER, X, Y) == 0.75
    vae = pv.PredictionConstrainedVAE(labels.Categorical(2), priors.StandardNormal(2), likelihoods.Normal(2))
    assert evaluation.confusion(vae, data.Split(X, y)).counts.sum() == 3
    assert evaluation.calibration(vae, data.Split(X, Y), y).count.sum() == 3


def test_mean_absolute_error_of_each_property():
    regressor = GivenProperties(labels.Normal(2), 2)
    x = torch.tensor([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])
    y = torch.tensor([[1.5, 10.0], [2.0, 26.0], [2.0, 33.0]])
    found = evaluation.mean_absolute_error(regressor, data.Split(x, y))
    assert found.tolist() == pytest.approx([0.5, 3.0])
    assert found.mean().item() == pytest.approx(mean_absolute_error(y, x))


def test_agrees_with_score():
    wine = data.load("wine")
    torch.manual_seed(0)
    m2 = pv.M2(3, priors.StandardNormal(2), likelihoods.Normal(13))
    assert m2.score(wine.test)["accuracy"] == pytest.approx(evaluation.accuracy(m2, wine.test))
    assert evaluation.confusion(m2, wine.test).accuracy == pytest.approx(evaluation.accuracy(m2, wine.test))


def test_what_cannot_be_compared_says_so():
    vae = pv.VAE(priors.StandardNormal(2), likelihoods.Normal(2))
    cvae = pv.ConditionalVAE(labels.Categorical(2), priors.StandardNormal(2), likelihoods.Normal(2))
    m2 = pv.M2(2, priors.StandardNormal(2), likelihoods.Normal(2))
    for variant in (vae, cvae):
        for measure in (evaluation.accuracy, evaluation.confusion, evaluation.calibration):
            with pytest.raises(pv.DataError, match="predicts no labels"):
                measure(variant, X, Y)
    with pytest.raises(pv.DataError, match="no label is known"):
        evaluation.accuracy(m2, X)
    with pytest.raises(pv.DataError, match="no label is known"):
        evaluation.accuracy(m2, X, torch.full((4,), -1))
    with pytest.raises(pv.DataError, match="predicts no properties but classes; use accuracy"):
        evaluation.mean_absolute_error(m2, X, Y)
    with pytest.raises(pv.DataError, match="predicts no classes but properties; use mean_absolute_error"):
        evaluation.accuracy(GivenProperties(labels.Normal(2), 2), X, X)
    with pytest.raises(pv.ConfigurationError, match="bins"):
        evaluation.calibration(CLASSIFIER, X, Y, bins=0)

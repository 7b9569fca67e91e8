"""The page of variants with labels: predictions, samples of each class, and nothing that does not apply."""

import dataclasses
import re

import pytest
import torch

import pyro_vae as pv
from pyro_vae import data, evaluation, labels, likelihoods, networks, priors, report

DIGITS = data.load("digits")
DIGITS = dataclasses.replace(DIGITS, train=data.labelled_subset(DIGITS.train, 100), test=DIGITS.test[:80])
DIABETES = data.load("diabetes")
HALVES = data.Split(*DIGITS.test.x.flatten(1).split(32, 1))
CHECKS = ["active", "information", "aggregate", "guide", "replicated"]
CODES = ["reconstructions", "interpolation", "latent", "traversal", "histograms", "kl", *CHECKS]


def make(cls, label=None):
    label = label or labels.Categorical(10)
    return cls(label, priors.StandardNormal(3), likelihoods.ContinuousBernoulli((1, 8, 8)), encoder=networks.MLP([16]))


def m1m2():
    m1 = pv.VAE(priors.StandardNormal(3), likelihoods.ContinuousBernoulli((1, 8, 8)), encoder=networks.MLP([16]))
    return pv.M1M2(m1, labels.Categorical(10), priors.StandardNormal(2))


VARIANTS = {
    "conditional": (lambda: make(pv.ConditionalVAE), DIGITS, ["conditional", "styles", *CODES]),
    "m2": (lambda: make(pv.M2), DIGITS, ["predictions", "samples", "conditional", "styles", *CODES]),
    "m1": (lambda: make(pv.M1), DIGITS, ["predictions", "samples", *CODES]),
    "m1m2": (m1m2, DIGITS, ["predictions", "samples", "conditional", *CODES]),
    "prediction": (lambda: make(pv.PredictionConstrainedVAE), DIGITS, ["predictions", "samples", *CODES]),
    "consistency": (lambda: make(pv.ConsistencyConstrainedVAE), DIGITS, ["predictions", "samples", *CODES]),
    "properties": (
        lambda: pv.SemiSupervisedVAE(labels.Normal(1), priors.StandardNormal(3), likelihoods.Normal(10)),
        DIABETES,
        ["predictions", "samples", "conditional", "styles", *CODES],
    ),
    "discriminative": (lambda: pv.Discriminative(labels.Categorical(10), (1, 8, 8)), DIGITS, ["predictions"]),
    "structured": (
        lambda: pv.StructuredOutputVAE(
            priors.ConditionalNormal(2), likelihoods.ContinuousBernoulli(32), 32, encoder=networks.MLP([16])
        ),
        HALVES,
        [
            "predictions",
            "reconstructions",
            "latent",
            "histograms",
            "kl",
            "active",
            "information",
            "guide",
            "replicated",
        ],
    ),
}


@pytest.fixture
def page(tmp_path):
    def write(variant, dataset, **others):
        path = tmp_path / "page.html"
        report.write(variant, dataset, path, num_samples=3, max_data=5, **others)
        text = path.read_text(encoding="utf-8")
        return dict(re.findall(r'<section id="(\w+)">(.*?)</section>', text, re.DOTALL))

    return write


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_has_its_page(name, page):
    torch.manual_seed(0)
    make_it, dataset, pictures = VARIANTS[name]
    variant = make_it()
    if name == "m1":
        pv.fit(variant, dataset, epochs=1)
    sections = page(variant, dataset)
    found = [section for section in sections if section not in ("numbers", "story", "ledger", "data", "making")]
    assert found == pictures
    for section in pictures:
        assert "<img" in sections[section], (section, sections[section])
    assert "<table" in sections["ledger"]


def test_the_predictions_are_those_of_evaluation(page):
    torch.manual_seed(0)
    variant = make(pv.M2)
    sections = page(variant, DIGITS, seed=3)
    accuracy = evaluation.accuracy(variant, DIGITS.test)
    assert f"{100 * accuracy:.1f} %" in sections["predictions"]
    assert f"{evaluation.calibration(variant, DIGITS.test).ece:.3g}" in sections["predictions"]
    assert sections["predictions"].count("<img") == 2
    assert "log p(x, y)" in sections["numbers"]


def test_scores_stand_beside_the_numbers():
    torch.manual_seed(0)
    variant = make(pv.M2)
    found = report.numbers(variant, DIGITS.test, num_samples=3, max_data=5)
    right = found.scores["accuracy"]
    share = evaluation.accuracy(variant, DIGITS.test)
    assert right.mean == pytest.approx(share)
    assert right.standard_error == pytest.approx((share * (1 - share) / 79) ** 0.5)
    assert right.data == 80
    assert found.scores["expected_calibration_error"].mean == pytest.approx(
        evaluation.calibration(variant, DIGITS.test).ece
    )
    error = report.numbers(VARIANTS["properties"][0](), DIABETES.test, num_samples=3).scores["mean_absolute_error"]
    assert error.data == len(DIABETES.test)
    assert not report.numbers(variant, DIGITS.test.x, num_samples=3, max_data=5).scores


@pytest.mark.parametrize(
    ("name", "density"),
    [
        ("conditional", "log p(x | y)"),
        ("m2", "log p(x, y)"),
        ("m1", "log p(x)"),
        ("prediction", "log p(x, y)"),
        ("discriminative", "log p(y | x)"),
        ("structured", "log p(y | x)"),
    ],
)
def test_the_likelihood_is_called_by_its_name(name, density):
    torch.manual_seed(0)
    make_it, dataset, _ = VARIANTS[name]
    split = getattr(dataset, "test", dataset)[:10]
    found = report.numbers(make_it(), split, num_samples=3)
    assert found.rows["log_likelihood"].label == density


def test_an_unlabelled_datum_is_one_of_p_of_x():
    torch.manual_seed(0)
    found = report.numbers(make(pv.M2), DIGITS.test.x[:10], num_samples=3)
    assert found.rows["log_likelihood"].label == "log p(x)"
    some = data.Split(DIGITS.test.x[:10], torch.where(torch.arange(10) < 4, DIGITS.test.y[:10], -1))
    assert "6 labels are missing and summed out" in report.numbers(make(pv.M2), some, num_samples=3).notes[0]


def test_numbers_of_a_network_without_latents_are_exact():
    torch.manual_seed(0)
    variant = pv.Discriminative(labels.Categorical(10), (1, 8, 8))
    found = report.numbers(variant, DIGITS.test, max_data=5)
    exact = variant.predict(DIGITS.test).log_prob(DIGITS.test.y)
    assert list(found.rows) == ["log_likelihood"]
    assert found.rows["log_likelihood"].mean == pytest.approx(exact.mean().item(), rel=1e-5)
    assert found.rows["log_likelihood"].bits_per_dimension == pytest.approx(-exact.mean().item() / 0.693147, rel=1e-4)


def test_what_cannot_be_predicted_yet_is_said(page):
    torch.manual_seed(0)
    sections = page(make(pv.M1), DIGITS)  # not trained: no classifier
    assert sections["predictions"].count("no classifier yet") == 1
    unlabelled = page(make(pv.M2), DIGITS.test.x)
    assert (
        unlabelled["predictions"].count("No label is known") + unlabelled["predictions"].count("no label is known") == 1
    )
    assert "<img" in unlabelled["styles"]

"""What stories and ledgers say of discrete codes and of layers of codes."""

import pytest
import torch

import pyro_vae as pv
from pyro_vae import evaluation, likelihoods, posteriors, priors
from tests.family import DISCRETE_OR_IN_LAYERS, bits, data_for, discrete, hierarchical, randomised


def told(variant):
    """The story on one line: it does not matter where lines break."""
    return " ".join(str(pv.story(variant)).split())


def test_the_story_of_layers():
    text = told(hierarchical((priors.ConditionalNormal(3), posteriors.Normal()), bits(2)))
    for words in (
        "1. draw its code z₂ from 2 bits with learned probabilities",
        "2. draw its code z₁ given z₂ from a normal in 3 dimensions with means and scales from a network of z₂",
        "draw z₂ given z₁ from bits with logits from the encoder",
        "Model p(x, z₁, z₂) = p(z₂) p(z₁ | z₂) p(x | z₁)",
        "z₁ | z₂ ~ N(μ_θ(z₂), diag σ_θ²(z₂)) z₁ ∈ ℝ³",
        "z₂ ~ Bernoulli(π) z₂ ∈ {0, 1}²",
        "Guide q(z₁, z₂ | x) = q(z₁ | x) q(z₂ | z₁)",
        "− E_q(z₁|x)[KL(q(z₂ | z₁) ‖ p(z₂))] − E_q[log q(z₁ | x) − log p(z₁ | z₂)]",
        "a lower bound on log p(x)",
    ):
        assert words in text
    diagram = pv.story(hierarchical()).diagram().svg
    assert diagram.count("<ellipse") >= 3


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({}, ["1. draw its code z from 3 bits with learned probabilities", "z from bits with logits", "a lower bound"]),
        ({"gradient": "straight_through"}, ["the gradient of draws relaxed at temperature 0.5", "a lower bound on"]),
        ({"gradient": "soft"}, ["relaxed at temperature 0.5 in training", "no bound on log p(x): training relaxes"]),
        ({"enumerate": True}, ["no draw is needed: all its values are summed over", "weighted by q", "a lower bound"]),
    ],
)
def test_the_story_says_where_the_gradient_comes_from(how, words):
    text = told(discrete(**how))
    assert all(each in text for each in words), text


def test_the_story_of_classes():
    text = told(pv.VAE(priors.Categorical(1, 4), likelihoods.Bernoulli(5), posteriors.Categorical(enumerate=True)))
    assert "1 variable of 4 classes with learned probabilities" in text
    assert "z ~ Cat(π) z ∈ {e₁, …, e₄}¹" in text
    assert r"\{e_1, \ldots, e_{3}\}^{2}" in " ".join(pv.story(discrete("classes")).formulas)
    assert "~ Bernoulli(0.3)" in told(discrete("fixed_bits"))


@pytest.mark.parametrize("name", DISCRETE_OR_IN_LAYERS)
def test_ledgers_add_up(name):
    variant = randomised(DISCRETE_OR_IN_LAYERS[name]())
    x = data_for(variant, 12)
    ledger = pv.story(variant).ledger(x, num_samples=2, seed=3)
    torch.manual_seed(3)
    terms = evaluation.elbo(variant, x, num_samples=2)
    assert ledger.total == pytest.approx(terms.elbo.mean().item(), rel=1e-5)
    rows = {row.site: row for row in ledger.rows if row.part_of is None}
    assert rows.keys() == {*variant.latents, "x"}
    summed_over = all(posterior.infer for posterior in variant.guide.modules() if hasattr(posterior, "infer"))
    assert rows["x"].exact == summed_over

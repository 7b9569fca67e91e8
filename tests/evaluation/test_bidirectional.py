"""Bounds on log p of simulated data from both sides: they enclose the exact value, and close up."""

import math

import pytest
import torch

import pyro_vae as pv
from pyro_vae import evaluation, likelihoods, posteriors, priors
from tests import family
from tests.evaluation.truth import Linear, brute_force, discrete, plain
from tests.statistics import assert_mean, z_score
from tests.test_truth_labels_gaussian import Linear as LinearWithLabels


def assert_enclosed(bounds, exact, gap=1.0):
    """Too low from below and too high from above, but for noise; and not by much."""
    below, above = plain(bounds.lower) - exact, plain(bounds.upper) - exact
    assert z_score(below, 0.0) < 3
    assert z_score(above, 0.0) > -3
    assert 0 < bounds.gap < gap
    assert bounds.gap == pytest.approx((above - below).mean().item(), abs=1e-5)
    # in the domain of p(x) neither is biased: E[w] = p(x) up, E[w] = 1 / p(x) down
    assert_mean(below.exp(), 1.0)
    assert_mean((-above).exp(), 1.0)


@pytest.mark.parametrize(
    ("size", "start", "steps"),
    [
        (1, "prior", 25),
        (5, "prior", 80),
        pytest.param(10, "prior", 150, marks=pytest.mark.slow),
        (1, "guide", 10),
        (10, "guide", 20),
    ],
)
def test_the_exact_value_lies_between_the_bounds(size, start, steps):
    linear = Linear(size, wrong=0.2)
    method = evaluation.AIS(steps, leapfrog=3, start=start)
    bounds = evaluation.bidirectional(linear.vae, 100, method=method, num_samples=8)
    assert_enclosed(bounds, linear.log_likelihood(bounds.x))


def test_the_bounds_close_up_with_more_steps():
    linear = Linear(5)
    gaps = [
        evaluation.bidirectional(linear.vae, 150, method=evaluation.AIS(steps, 3), num_samples=4).gap
        for steps in (5, 20, 60)
    ]
    assert gaps[0] > 1.5 * gaps[1] > 3 * gaps[2] > 0


def test_simulated_data_are_the_models():
    linear = Linear(2)
    x = evaluation.bidirectional(linear.vae, 4000, method=evaluation.AIS(1), num_samples=1, chunk=4000).x
    assert_mean(x, linear.mu)
    covariance = linear.w @ linear.w.T + linear.sigma**2 * torch.eye(4, dtype=torch.double)
    centred = x - linear.mu
    assert_mean(centred[:, :, None] * centred[:, None, :], covariance)


@pytest.mark.parametrize("kind", ["bits", "one_hot"])
def test_discrete_codes_too(kind):
    vae, _ = discrete(kind)
    method = evaluation.AIS(steps=20, leapfrog=3)
    bounds = evaluation.bidirectional(vae, 200, method=method, num_samples=8)
    assert_enclosed(bounds, brute_force(vae, bounds.x)[1])


def test_labels_are_summed_out_or_simulated_for():
    toy = LinearWithLabels("classes").set_guide(0.2)
    method = evaluation.AIS(steps=25, leapfrog=3)
    without = evaluation.bidirectional(toy.variant, 150, method=method, num_samples=8)
    assert without.y is None
    assert_enclosed(without, toy.log_x(without.x))
    y = torch.arange(150) % 3
    given = evaluation.bidirectional(toy.variant, y=y, method=method, num_samples=8)
    assert torch.equal(given.y, y)
    assert_enclosed(given, toy.log_joint(given.x, y))


def test_what_the_story_begins_with_is_given():
    toy = LinearWithLabels("properties", pv.ConditionalVAE).set_guide(0.2)
    y = toy.draw(100)[1]
    method = evaluation.AIS(steps=25, leapfrog=3)
    bounds = evaluation.bidirectional(toy.variant, y=y, method=method, num_samples=8)
    assert_enclosed(bounds, toy.log_x_given_y(bounds.x, y))
    structured = family.structured(likelihoods.Normal(3))
    x = family.data_for(structured, 40)
    bounds = evaluation.bidirectional(structured, x=x, method=method, num_samples=8)
    assert bounds.y.shape == (40, 3)
    assert -0.2 < bounds.gap < 1


def test_the_seed_says_it_all_and_chunks_little():
    linear = Linear(2)
    state = torch.get_rng_state()
    settings = {"method": evaluation.AIS(10, 3), "num_samples": 6}
    first, second = (evaluation.bidirectional(linear.vae, 5, seed=1, **settings) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(plain(first.lower), plain(second.lower))
    assert torch.equal(plain(first.upper), plain(second.upper))
    pieces = evaluation.bidirectional(linear.vae, 10, chunk=12, **settings)
    assert pieces.lower.shape == pieces.lower.standard_error.shape == pieces.upper.shape == (10,)
    assert -1 < pieces.gap < 2
    assert pieces.gap_error == pytest.approx(pieces.gaps.std().item() / math.sqrt(10))
    assert repr(pieces).startswith(f"log p between {plain(pieces.lower).mean():.3f} and")


def test_what_is_missing_or_not_wanted_is_said():
    with pytest.raises(pv.DataError, match="give y, a label for each datum"):
        evaluation.bidirectional(family.with_labels(pv.ConditionalVAE))
    with pytest.raises(pv.DataError, match="give x"):
        evaluation.bidirectional(family.structured())
    with pytest.raises(pv.DataError, match="leave x out"):
        evaluation.bidirectional(family.vae(), x=torch.zeros(2, *family.IMAGE))
    with pytest.raises(pv.DataError, match="leave y out"):
        evaluation.bidirectional(family.vae(), y=torch.zeros(2))
    with pytest.raises(pv.DataError, match="Improper"):
        evaluation.bidirectional(pv.VAE(priors.Improper(2), likelihoods.Bernoulli(3), posteriors.Delta()))

"""Annealed importance sampling: its mean weight, its moves, its step sizes, and what it finds that others miss."""

import math

import pyro.distributions as dist
import pytest
import torch

import pyro_vae as pv
from pyro_vae import evaluation, likelihoods, networks, posteriors, priors
from pyro_vae.evaluation.likelihood.annealed import Ladder
from pyro_vae.evaluation.likelihood.moves import Path, hamiltonian, metropolis
from tests.draws import case
from tests.evaluation.truth import CODES, Linear, assert_near, brute_force, discrete, plain
from tests.statistics import assert_mean, z_score


@pytest.mark.parametrize("start", ["prior", "guide"])
def test_the_mean_weight_of_chains_is_p_of_x_however_few_their_steps(start):
    linear = Linear(3, wrong=0.3)
    x = linear.draw(2)
    method = evaluation.AIS(steps=6, leapfrog=2, start=start, pilot=1)
    found = [evaluation.log_likelihood(linear.vae, x.repeat(100, 1), method=method, num_samples=10) for _ in range(20)]
    # of each datum 2000 independent estimates, each with a pilot chain of its own
    ratio = (torch.cat([plain(e) for e in found]) - linear.log_likelihood(x).repeat(2000)).exp().reshape(2000, 2)
    assert ratio.std(0).min() > 0.05
    assert_mean(ratio, torch.ones(2))
    assert ratio.log().mean() < -0.01  # and its logarithm is too low


def test_one_step_is_importance_sampling_and_one_from_the_prior_direct_monte_carlo():
    linear = Linear(2, wrong=0.2)
    x = linear.draw(3)
    torch.manual_seed(0)
    for start, other in (("guide", "importance"), ("prior", "prior")):
        method = evaluation.AIS(steps=1, start=start)
        few = evaluation.log_likelihood(linear.vae, x, method=method, num_samples=20_000, chunk=100_000)
        same = evaluation.log_likelihood(linear.vae, x, method=other, num_samples=20_000, chunk=100_000)
        error = (few.standard_error**2 + same.standard_error**2).sqrt()
        assert ((few - same).abs() / error).max() < 3.5
        torch.testing.assert_close(few.standard_error, same.standard_error, rtol=0.15, atol=0)


def test_more_steps_make_the_bound_tighter():
    linear = Linear(5)
    x = linear.draw(20)
    exact = linear.log_likelihood(x)
    short, long = (
        (plain(evaluation.log_likelihood(linear.vae, x, method=evaluation.AIS(steps, 5), num_samples=4)) - exact).mean()
        for steps in (5, 60)
    )
    assert short < 3 * long < 0


def bimodal():
    """p(z) = N(0, 1), x | z ~ N((|z|, 0), 0.1), and a guide that knows of one of the two modes."""
    vae = pv.VAE(priors.StandardNormal(1), likelihoods.Normal(2, scale=0.1), posteriors.Normal(), networks.MLP([2]))
    decoder, encoder = (part.network for part in (vae.likelihood, vae.guide.posterior))
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.zero_()
        decoder.first.weights[0].copy_(torch.tensor([[1.0], [-1.0]]))  # relu(z) + relu(-z)
        decoder.rest[-1].weight[0] = 1.0
        encoder.rest[-1].bias.copy_(torch.tensor([1.5, math.log(math.expm1(0.1)) - math.log(math.e - 1)]))
    return vae


def test_chains_from_the_prior_find_the_mode_that_the_guide_misses():
    vae = bimodal()
    x = torch.tensor([[1.5, 0.0]]).repeat(20, 1)
    z = torch.linspace(-6, 6, 20_001, dtype=torch.double)[:, None]
    density = dist.Normal(0.0, 1.0).log_prob(z[:, 0]) + vae.double().decode(z).log_prob(x[0].double())
    truth = torch.trapezoid(density.exp(), z[:, 0]).log().item()
    vae.float()
    importance = evaluation.log_likelihood(vae, x, num_samples=2000)
    assert plain(importance).mean() == pytest.approx(truth - math.log(2), abs=0.02)  # wrong, and sure of it
    assert importance.standard_error.max() < 0.05
    annealed = evaluation.log_likelihood(vae, x, method=evaluation.AIS(100, 5), num_samples=16)
    assert_near(annealed, truth)


def moved_by(move, path, start, repeats=30):
    state = path.at(start)
    for _ in range(repeats):
        state = move(state)
    return state.latents


def test_a_move_of_real_latents_leaves_the_posterior_as_it_is():
    linear = Linear(3)
    x = linear.draw(2)
    path = Path(evaluation.LogJoint(linear.vae, x), "guide")  # whose guide is exact
    step = 0.9 * linear.variance.sqrt()
    with torch.no_grad():
        start = path.draw(4000)
        moved = moved_by(lambda state: hamiltonian(path, state, 1.0, step, 3)[0], path, start, 5)["z"]
    assert not torch.equal(moved, start["z"])
    mean = linear.posterior_mean(x)
    assert_mean(moved, mean)
    assert_mean((moved - mean) ** 2, linear.variance.expand(2, 3))


@pytest.mark.parametrize("kind", CODES)
def test_a_move_of_discrete_latents_leaves_the_posterior_as_it_is_and_finds_it(kind):
    vae, x = discrete(kind)
    codes, _, posterior = brute_force(vae, x)
    path = Path(evaluation.LogJoint(vae, x), "prior")
    with torch.no_grad():
        moved = moved_by(lambda state: metropolis(path, state, 1.0, "z"), path, path.draw(3000), 60)["z"]
    which = (moved.flatten(2)[:, :, None] == codes.flatten(1)).all(-1).double()
    assert torch.equal(which.sum(-1), torch.ones(3000, 4, dtype=torch.double))  # each is a code
    often = posterior.T * 3000 > 20
    assert often.sum() > 10
    assert_mean(which[:, often], posterior.T[often], limit=4.5)


@pytest.mark.parametrize("start", ["prior", "guide"])
@pytest.mark.parametrize("kind", CODES)
def test_discrete_codes_are_annealed(kind, start):
    vae, x = discrete(kind)
    exact = brute_force(vae, x)[1]
    method = evaluation.AIS(steps=30, leapfrog=3, start=start)
    estimate = evaluation.log_likelihood(vae, x.repeat(5, 1), method=method, num_samples=100)
    assert_near(estimate, exact.repeat(5), low=1e-4)
    summed = evaluation.log_likelihood(vae, x, method="exact", chunk=7)
    torch.testing.assert_close(plain(summed), exact)


def test_step_sizes_are_those_that_accept_two_thirds():
    linear = Linear(10)
    x = linear.draw(8)
    with torch.no_grad():
        ladder = Ladder(evaluation.AIS(100, 5, pilot=8), evaluation.LogJoint(linear.vae, x), 16, lambda _: None)
        state, late = ladder.path.at(ladder.path.draw(16)), []
        for b, size in zip(ladder.temperatures[1:-1], ladder.sizes, strict=True):
            state, acceptance = ladder._move(state, b, size)
            late.append(acceptance.mean())
    assert torch.stack(late[30:]).mean() == pytest.approx(0.65, abs=0.06)
    assert ladder.sizes[-1].mean() < 0.7 * ladder.sizes[10].mean()  # the posterior is narrower than the prior


@pytest.mark.parametrize(
    "name",
    [
        "structured_output",
        "hierarchical",
        pytest.param("m1m2", marks=pytest.mark.slow),
        pytest.param("vamp_and_flow", marks=pytest.mark.slow),
        pytest.param("prediction_constrained", marks=pytest.mark.slow),
        pytest.param("prior_maf", marks=pytest.mark.slow),
    ],
)
def test_chains_agree_with_very_many_draws_from_the_prior(name):
    variant, x, y = case(name, 6)
    annealed = evaluation.log_likelihood(variant, x, y, method=evaluation.AIS(steps=30, leapfrog=4), num_samples=64)
    many = evaluation.log_likelihood(variant, x, y, method="prior", num_samples=100_000, chunk=100_000)
    assert many.standard_error.max() < 0.02
    assert_near(annealed, plain(many), limit=3.5, low=1e-3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps must be a whole number"),
        ({"leapfrog": 0}, "leapfrog must be"),
        ({"start": "guides"}, "did you mean 'guide'"),
        ({"schedule": "sigmoidal"}, "did you mean 'sigmoid'"),
        ({"pilot": 0}, "pilot must be"),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(pv.ConfigurationError, match=message):
        evaluation.AIS(**settings)


def test_z_scores_of_many_estimates_are_standard():
    linear = Linear(2, wrong=0.2)
    x = linear.draw(300)
    estimate = evaluation.log_likelihood(linear.vae, x, method=evaluation.AIS(20, 5), num_samples=100, chunk=30_000)
    z = (plain(estimate) - linear.log_likelihood(x)) / estimate.standard_error
    assert 0.8 < z.square().mean() < 1.25
    assert z_score(z, 0.0).abs() < 4

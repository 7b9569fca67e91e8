"""The posterior by NUTS: its moments, its names, and its place beside the guide's draws."""

import arviz as az
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch.nn.functional import one_hot

import pyro_vae as pv
from pyro_vae import evaluation, labels, likelihoods, networks, posteriors, priors
from pyro_vae.randomness import seeded
from tests import family
from tests.draws import groups_of
from tests.evaluation.truth import Linear
from tests.test_truth_labels_gaussian import Linear as LinearWithLabels

CHAINS, DRAWS = 2, 120
RUN = {"num_samples": DRAWS, "warmup_steps": 60, "num_chains": CHAINS}


@pytest.fixture(scope="module")
def linear():
    return Linear(2, wrong=0.5)  # the guide plays no part


@pytest.fixture(scope="module")
def x(linear):
    with seeded(5):
        return linear.draw(2)


@pytest.fixture(scope="module")
def found(linear, x):
    return evaluation.posterior_mcmc(linear.vae, x, **RUN, coords={"latent": ["a", "b"]})


def assert_moments(variable, mean, limit=4.0):
    """The mean of draws (chain, draw) lies within so many Monte Carlo standard errors, by ArviZ's ESS."""
    values = variable.values
    error = values.std() / float(az.ess(values)) ** 0.5
    assert abs(values.mean() - mean) < limit * error + 1e-12


def test_moments_are_those_of_the_exact_posterior(linear, x, found):
    z, mean = found["posterior"]["z"], linear.posterior_mean(x)
    assert z.dims == ("chain", "draw", "datum", "latent")
    assert z.shape == (CHAINS, DRAWS, 2, 2)
    for datum in range(2):
        for d, name in enumerate(["a", "b"]):
            one = z.sel(datum=datum, latent=name)
            assert_moments(one, mean[datum, d].item())
            assert_moments((one - mean[datum, d].item()) ** 2, linear.variance[d].item())
            assert float(az.rhat(one.values)) < 1.05


def test_statistics_are_of_each_draw(linear, x, found):
    stats = found["sample_stats"]
    assert set(stats.data_vars) == {"diverging", "acceptance_rate", "lp", "step_size"}
    assert all(stats[name].dims == ("chain", "draw", "datum") for name in stats.data_vars)
    z = torch.from_numpy(found["posterior"]["z"].values).flatten(0, 1)
    with torch.no_grad():
        log_p = evaluation.LogJoint(linear.vae, x)({"z": z})
    assert_allclose(stats["lp"].values.reshape(-1, 2), log_p)
    assert not stats["diverging"].values.any()
    rates = stats["acceptance_rate"].values
    assert 0.7 < rates.mean() < 0.98
    assert (rates >= 0).all()
    assert (rates <= 1).all()
    # step sizes are each datum's and chain's own, and do not change after the warmup
    assert len(np.unique(stats["step_size"].values.round(9))) == CHAINS * 2


def test_arviz_takes_it_and_it_lies_beside_the_guides_draws(linear, x, found):
    summary = az.summary(found, var_names=["z"])
    assert len(summary) == 4
    beside = pv.to_arviz(linear.vae, x, posterior=found, prior_samples=3)
    guide = pv.to_arviz(linear.vae, x, num_samples=50, prior_samples=3)
    assert groups_of(beside) == groups_of(guide)
    assert_allclose(beside["posterior"]["z"], found["posterior"]["z"])
    assert_allclose(beside["sample_stats"]["lp"], found["sample_stats"]["lp"])
    density = linear.vae.decode(torch.from_numpy(beside["posterior"]["z"].values)).log_prob(x)
    assert_allclose(beside["log_likelihood"]["x"], density)
    assert beside["posterior_predictive"]["x"].shape == (CHAINS, DRAWS, 2, 4)
    assert beside["prior"]["z"].shape == (1, 3, 2, 2)
    assert (found.attrs["posterior"], beside.attrs["posterior"], guide.attrs["posterior"]) == ("NUTS", "NUTS", "guide")
    assert found.attrs["num_chains"] == CHAINS


@pytest.mark.slow
def test_a_missing_class_is_summed_over_and_then_drawn():
    toy = LinearWithLabels("classes").set_guide()
    with seeded(2):
        x, y = toy.draw(2)
    y[0] = -1
    found = evaluation.posterior_mcmc(toy.variant, x, y, num_samples=300, warmup_steps=100)
    drawn = found["posterior"]["y"]
    assert drawn.dims == ("chain", "draw", "unlabelled")
    probs = toy.variant.predict(x[:1]).probs[0]  # the guide is exact
    classes = one_hot(torch.from_numpy(drawn.values[..., 0]), 3).double().numpy()
    for k in range(3):
        spread = max((probs[k] * (1 - probs[k])).item() ** 0.5, 1e-3)
        ess = float(az.ess(classes[..., k])) if classes[..., k].std() else 600.0
        assert abs(classes[..., k].mean() - probs[k].item()) < 4 * spread / ess**0.5
    # where the class is known the code has the posterior given it
    q = toy.variant.encode(x[1:], y[1:])
    for d in range(2):
        assert_moments(found["posterior"]["z"].sel(datum=1)[..., d], q.mean[0, d].item())
    beside = pv.to_arviz(toy.variant, x, y, posterior=found, prior_samples=2)
    assert_allclose(beside["posterior"]["y"], drawn)
    assert set(beside["log_likelihood"].data_vars) == {"x", "y"}


def test_a_missing_class_is_drawn_where_it_is_missing():
    variant = family.randomised(family.with_labels(pv.M2))
    x, y = family.data_for(variant, 3), torch.tensor([2, -1, 0])
    found = evaluation.posterior_mcmc(variant, x, y, num_samples=4, warmup_steps=3)
    assert found["posterior"]["y"].dims == ("chain", "draw", "unlabelled")
    assert found["posterior"]["y"]["unlabelled"].values.tolist() == [1]
    assert found["posterior"]["z"].shape == (2, 4, 3, 2)
    beside = pv.to_arviz(variant, x, y, posterior=found, prior_samples=2)
    assert_allclose(beside["posterior"]["y"], found["posterior"]["y"])


def test_several_latents_have_dimensions_of_their_own():
    variant = family.randomised(family.stacked())
    x = family.data_for(variant, 1)
    found = evaluation.posterior_mcmc(variant, x, torch.tensor([1]), num_samples=4, warmup_steps=3)
    assert found["posterior"]["z1"].dims == ("chain", "draw", "datum", "latent1")
    assert found["posterior"]["z2"].dims == ("chain", "draw", "datum", "latent2")


def test_transitions_that_diverge_are_marked():
    vae = pv.VAE(priors.StandardNormal(1), likelihoods.Normal(1, scale="predicted"), encoder=networks.MLP([]))
    with torch.no_grad():  # x ~ N(0, scale(30 z)): a funnel
        vae.likelihood.network.first.weights[0].copy_(torch.tensor([[0.0], [30.0]]))
    settings = {"num_samples": 60, "warmup_steps": 20, "num_chains": 1, "target_accept": 0.3}
    found = evaluation.posterior_mcmc(vae, torch.tensor([[1e-3]]), **settings)
    assert found["sample_stats"]["diverging"].dtype == bool
    assert found["sample_stats"]["diverging"].values.any()


def test_the_seed_says_it_all_and_nobody_outside_notices(linear, x):
    state = torch.get_rng_state()
    short = {"num_samples": 4, "warmup_steps": 4, "num_chains": 1}
    first, again, other = (evaluation.posterior_mcmc(linear.vae, x[:1], seed=seed, **short) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert_allclose(first["posterior"]["z"], again["posterior"]["z"])
    assert not np.allclose(first["posterior"]["z"], other["posterior"]["z"])
    with pytest.raises(pv.DataError, match="draws for 1 data, and 2 of those given"):
        pv.to_arviz(linear.vae, x, posterior=first)
    with pytest.raises(pv.ConfigurationError, match="only draws from the guide have weights"):
        pv.to_arviz(linear.vae, x[:1], posterior=first, resample=True)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pv.VAE(priors.Bernoulli(3), likelihoods.Bernoulli(4), posteriors.Bernoulli()), "'z' is a discrete"),
        (lambda: pv.VAE(priors.Improper(2), likelihoods.Bernoulli(4), posteriors.Delta()), "Improper"),
        (lambda: pv.Discriminative(labels.Categorical(2), 4), "nothing real is latent"),
    ],
)
def test_what_has_no_real_latents_with_a_density_is_said(make, message):
    y = torch.zeros(2, dtype=torch.long) if message.startswith("nothing") else None
    with pytest.raises(ValueError, match=message):
        evaluation.posterior_mcmc(make(), torch.zeros(2, 4), y)


@pytest.mark.parametrize("settings", [{"num_samples": 0}, {"num_chains": 0}, {"target_accept": 1.0}])
def test_settings_that_cannot_be(settings):
    with pytest.raises(pv.ConfigurationError, match=next(iter(settings))):
        evaluation.posterior_mcmc(family.vae(), torch.zeros(1, *family.IMAGE), **settings)

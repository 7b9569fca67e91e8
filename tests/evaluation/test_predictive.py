"""Posterior predictive checks: replicated data sets have the distribution that a linear-Gaussian model gives them."""

import math

import numpy as np
import pytest
import torch

import pyro_vae as pv
from pyro_vae import evaluation, likelihoods
from pyro_vae.evaluation.predictive import default_statistics
from tests import family
from tests.ppca import DATA, PPCA, SIGMA
from tests.statistics import assert_mean


def replicated(found, source, name="mean"):
    return torch.as_tensor(found.dataset["replicated"].sel(source=source, statistic=name).values)


def test_replicated_means_have_the_distribution_of_the_model():
    ppca = PPCA()
    x = ppca.draw(30)
    found = evaluation.posterior_predictive_check(ppca.vae, x, num_samples=2000, chunk=600)
    ones = torch.ones(DATA, dtype=torch.float64) / DATA
    # from the model: x ~ N(mu, C), means over 30 data and 4 features
    covariance = ppca.w @ ppca.w.T + SIGMA**2 * torch.eye(DATA)
    draws = replicated(found, "model")
    assert_mean(draws, ppca.mu.mean())
    assert_mean((draws - ppca.mu.mean()) ** 2, ones @ covariance @ ones / 30)
    # from the posterior: x_n ~ N(W E[z | x_n] + mu, W Cov[z | x_n] W^T + sigma^2)
    draws = replicated(found, "posterior")
    centre = (((x - ppca.mu) @ ppca.gain.T @ ppca.w.T + ppca.mu) @ ones).mean()
    spread = ppca.w @ ppca.covariance @ ppca.w.T + SIGMA**2 * torch.eye(DATA)
    assert_mean(draws, centre)
    assert_mean((draws - centre) ** 2, ones @ spread @ ones / 30)


def test_p_values_are_shares_and_profiles_are_per_feature():
    ppca = PPCA()
    x = ppca.draw(25)
    found = evaluation.posterior_predictive_check(ppca.vae, x, num_samples=40)
    for name, of in (("mean", x.mean()), ("largest", x.max()), ("standard deviation", x.std(correction=0))):
        assert found.dataset["observed"].sel(statistic=name).item() == pytest.approx(of.item())
        share = (replicated(found, "model", name) > of).double().mean().item()
        assert found.dataset["p_value"].sel(source="model", statistic=name).item() == pytest.approx(share)
    profile = found.profiles["sd of each feature"]
    np.testing.assert_allclose(profile["observed"], x.std(0, correction=0))
    assert profile["replicated"].dims == ("source", "replicate", "feature")
    assert profile["replicated"].shape == (2, 40, DATA)


def test_p_values_of_data_from_the_model_are_uniform_and_of_others_extreme():
    ppca = PPCA()
    checks = [
        evaluation.posterior_predictive_check(ppca.vae, ppca.draw(20), num_samples=39, seed=s) for s in range(150)
    ]
    p = torch.as_tensor(np.stack([check.dataset["p_value"].sel(source="model").values for check in checks]))
    assert_mean(p, torch.full((4,), 0.5))
    assert_mean((p < 0.1).double(), torch.full((4,), 0.1))  # ranks 0 to 3 of 0 to 39
    moved = evaluation.posterior_predictive_check(ppca.vae, ppca.draw(200) + 1.0, num_samples=50)
    assert moved.dataset["p_value"].sel(source="model", statistic="mean") == 0
    assert "posterior" in repr(moved)


def test_statistics_of_ones_own():
    vae = family.randomised(family.vae())
    x = family.data_for(vae, 15)
    own = {
        "ink": lambda x: x.flatten(1).sum(1),  # of each datum
        "always": lambda x: 3.0,
    }
    found = evaluation.posterior_predictive_check(vae, x, statistics=own, num_samples=7)
    assert found.dataset["observed"].values.tolist() == pytest.approx([x.flatten(1).sum(1).mean().item(), 3.0])
    assert found.dataset["p_value"].sel(statistic="always").values.tolist() == [0.5, 0.5]  # ties count half
    with pytest.raises(pv.ConfigurationError, match=r"'rows' gave numbers of shape \(1, 7, 5\) for 15 data"):
        evaluation.posterior_predictive_check(vae, x, statistics={"rows": lambda x: x.mean(0)})
    with pytest.raises(pv.DataError, match="'log' is not finite"):
        evaluation.posterior_predictive_check(vae, x, statistics={"log": lambda x: x.log().mean()})


def test_profiles_of_images_run_along_rows_and_columns():
    vae = family.vae(likelihood="normal_fixed")
    x = family.data_for(vae, 6)
    found = evaluation.posterior_predictive_check(vae, x, num_samples=3)
    np.testing.assert_allclose(found.profiles["mean of each row"]["observed"], x.mean((0, 1, 3)), rtol=1e-5)
    np.testing.assert_allclose(found.profiles["mean of each column"]["observed"], x.mean((0, 1, 2)), rtol=1e-5)
    assert default_statistics(x)["sd of ink"](x).item() == pytest.approx(
        x.sum((1, 2, 3)).std(correction=0).item(), rel=1e-5
    )
    assert default_statistics(torch.tensor([[0.0, 1.0, 0.0]]))["share of zeros"](torch.tensor([[0.0, 1.0]])) == 0.5


SOURCES = {
    "autoencoder": ["posterior"],
    "discriminative_output": ["model"],
    "discriminative_properties": ["model"],
    "structured_output": ["model", "posterior"],
    "conditional": ["model", "posterior"],
    "m1m2": ["model", "posterior"],
    "m2": ["model", "posterior"],
    "m2_properties": ["model", "posterior"],
    "consistency_constrained": ["model", "posterior"],
    "likelihood_unnormalised_bernoulli": ["model", "posterior"],
    "likelihood_categorical": ["model", "posterior"],
}


@pytest.mark.parametrize("name", SOURCES)
def test_every_kind_of_variant_is_checked_by_what_it_explains(name):
    torch.manual_seed(0)
    variant = family.randomised(family.VARIANTS[name]())
    x, y = family.arguments_for(variant, 12)
    state = torch.get_rng_state()
    found = evaluation.posterior_predictive_check(variant, x, y, num_samples=5)
    assert torch.equal(torch.get_rng_state(), state)
    assert found.sources == SOURCES[name]
    observed = x if variant.explains_data else y
    assert found.dataset["observed"].sel(statistic="mean").item() == pytest.approx(observed.double().mean().item())
    assert found.dataset["replicated"].shape[:2] == (len(SOURCES[name]), 5)
    assert not np.isnan(found.dataset["replicated"]).any()


def test_classes_have_no_statistics():
    variant = family.VARIANTS["discriminative"]()
    with pytest.raises(pv.ConfigurationError, match="explains classes"):
        evaluation.posterior_predictive_check(variant, *family.arguments_for(variant, 6))


def test_a_data_set_is_replicated_whole_whatever_the_chunk():
    vae = pv.VAE(pv.priors.StandardNormal(2), likelihoods.Normal(3, scale=1.0))
    x = torch.randn(11, 3)
    few, many = (
        evaluation.posterior_predictive_check(vae, x, num_samples=50, chunk=chunk).dataset for chunk in (4, 10_000)
    )
    assert few.sizes == many.sizes
    for source in ("model", "posterior"):
        one, two = (torch.as_tensor(d["replicated"].sel(source=source, statistic="mean").values) for d in (few, many))
        assert abs(one.mean() - two.mean()) < 4 * math.sqrt((one.var() + two.var()) / 50)

"""Importance weights of draws, draws by those weights, and what leave-one-out makes of them."""

import arviz as az
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

import pyro_vae as pv
from pyro_vae import evaluation
from pyro_vae.evaluation.inference_data import pareto_smoothed
from pyro_vae.program import labelled
from pyro_vae.randomness import seeded
from pyro_vae.variants.contexts import evaluating
from tests.draws import case, tensor
from tests.ppca import PPCA, SIGMA


@pytest.mark.parametrize("name", ["likelihood_bernoulli", "posterior_flow", "conditional", "structured_output", "m1"])
@pytest.mark.parametrize("chunk", [10_000, 70])
def test_weights_are_those_of_the_estimate_of_log_likelihood(name, chunk):
    variant, x, y = case(name)
    idata = pv.to_arviz(variant, x, y, num_samples=20, seed=3, chunk=chunk)
    with seeded(3):
        estimate = evaluation.log_likelihood(variant, x, y, num_samples=20, chunk=chunk)
    log_w = tensor(idata["sample_stats"]["log_weight"])
    assert_allclose(log_w.logsumexp(0) - np.log(20), estimate.as_subclass(torch.Tensor), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["m2", "m2_properties"])
def test_weights_of_drawn_labels_are_by_the_formula(name):
    variant, x, y = case(name)
    idata = pv.to_arviz(variant, x, y, num_samples=5)
    log_w, z = tensor(idata["sample_stats"]["log_weight"]), tensor(idata["posterior"]["z"])
    missing = ~labelled(y)
    for draw in range(5):
        every = y.clone()
        every[missing] = tensor(idata["posterior"]["y"])[draw]
        with torch.no_grad(), evaluating(variant):
            log_p = variant.label().log_prob(every) + variant.code_prior().log_prob(z[draw])
            log_q = torch.where(missing, variant.guide.classifier(x).log_prob(every), 0.0)
        log_p = log_p + variant.decode(z[draw], every).log_prob(x)
        expected = log_p - log_q - variant.encode(x, every).log_prob(z[draw])
        assert_allclose(log_w[draw], expected, rtol=1e-4, atol=1e-4)


def test_draws_again_by_their_weights_are_from_the_exact_posterior():
    ppca = PPCA()
    spread = torch.linalg.cholesky(ppca.covariance)
    ppca.set_guide(ppca.gain, 0.3 * spread.diagonal() - ppca.gain @ ppca.mu, 1.3 * spread)
    x = ppca.draw(4)
    exact = (x - ppca.mu) @ ppca.gain.T
    guide, again = (pv.to_arviz(ppca.vae, x, num_samples=20_000, prior_samples=1, resample=r) for r in (False, True))
    assert guide["sample_stats"]["pareto_k"].max() < 0.7
    assert_allclose(again["sample_stats"]["pareto_k"], guide["sample_stats"]["pareto_k"])
    assert_allclose(again["sample_stats"]["proposal_log_weight"], guide["sample_stats"]["log_weight"][0])
    assert "log_weight" not in again["sample_stats"]
    ess = torch.from_numpy(again["sample_stats"]["importance_ess"].values)
    assert (ess < 20_000).all()
    error = (ppca.covariance.diagonal() / ess[:, None]).sqrt()
    off = {
        name: (tensor(d["posterior"]["z"]).mean(0) - exact).abs() / error for name, d in (("g", guide), ("a", again))
    }
    assert off["g"].max() > 10
    assert off["a"].max() < 4.5
    z = tensor(again["posterior"]["z"]) - exact
    covariance = torch.einsum("snd,sne->nde", z, z) / len(z)
    assert_allclose(covariance, ppca.covariance.expand(4, 2, 2), atol=0.03 * ppca.covariance.diagonal().max().item())
    # densities and predictions are of the draws that were kept
    density = ppca.vae.decode(tensor(again["posterior"]["z"])).log_prob(x)
    assert_allclose(again["log_likelihood"]["x"].values[0], density)
    assert again.attrs["posterior"].startswith("guide, drawn again")
    # side by side there is no trace of which draws are the same
    first = z[:, 0, 0] - z[:, 0, 0].mean()
    assert abs((first[1:] * first[:-1]).mean() / first.var()) < 5 / len(first) ** 0.5


def test_a_guide_that_is_exact_has_weights_that_are_all_alike():
    ppca = PPCA()
    x = ppca.draw(3)
    stats = pv.to_arviz(ppca.vae, x, num_samples=50)["sample_stats"]
    assert_allclose(stats["log_weight"].values[0], ppca.log_likelihood(x).expand(50, 3), rtol=1e-6)
    assert_allclose(stats["pareto_k"], 0)
    assert_allclose(stats["importance_ess"], 50)


def test_pareto_k_is_high_where_the_guide_is_too_narrow():
    ppca = PPCA()
    ppca.set_guide(ppca.gain, -ppca.gain @ ppca.mu, 0.3 * torch.linalg.cholesky(ppca.covariance))
    k = pv.to_arviz(ppca.vae, ppca.draw(20), num_samples=2000, groups=["sample_stats"])["sample_stats"]["pareto_k"]
    assert k.median() > 0.7
    assert k.min() > 0.4


def test_too_few_draws_say_nothing_about_the_tail():
    ppca = PPCA()
    ppca.set_wrong_guide()
    for num_samples in (1, 2, 29):
        k = pv.to_arviz(ppca.vae, ppca.draw(2), num_samples=num_samples, resample=True)["sample_stats"]["pareto_k"]
        assert np.isin(k, [0, np.inf]).all()
    weights, k = pareto_smoothed(np.zeros((30, 2)))
    assert_allclose(np.exp(weights), 1 / 30)
    assert_allclose(k, 0)


def test_weights_whose_largest_are_the_same_have_no_tail():
    log_w = np.concatenate([np.linspace(-5, -4, 20)[:, None], np.zeros((20, 1))])
    weights, k = pareto_smoothed(log_w)
    assert k == np.inf
    assert_allclose(np.exp(weights), np.exp(log_w) / np.exp(log_w).sum())


def test_pareto_k_is_that_of_a_known_tail():
    """Of weights u^(-k), u uniform."""
    log_w = -np.log(np.random.default_rng(0).uniform(size=(20_000, 3))) * np.array([0.2, 0.5, 0.9])
    assert_allclose(pareto_smoothed(log_w)[1], [0.2, 0.5, 0.9], atol=0.25)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("strength", "holds"), [(0.1, True), (1.0, False)])
def test_leave_one_out_is_log_p_of_x_only_where_data_say_little_of_their_codes(strength, holds):
    """What other data say of x_n is p(x_n) where nothing but codes is latent; 1 / E[1 / p(x | z)] estimates it."""
    ppca = PPCA()
    ppca.w = strength * ppca.w
    ppca.m = ppca.w.T @ ppca.w + SIGMA**2 * torch.eye(2, dtype=torch.double)
    ppca.gain = torch.linalg.solve(ppca.m, ppca.w.T)
    with torch.no_grad():
        ppca.vae.likelihood.network.first.weights[0].copy_(ppca.w)
    ppca.set_guide(ppca.gain, -ppca.gain @ ppca.mu, torch.linalg.cholesky(SIGMA**2 * torch.linalg.inv(ppca.m)))
    x = ppca.draw(20)
    loo = az.loo(pv.to_arviz(ppca.vae, x, num_samples=4000, prior_samples=1), var_name="x", pointwise=True)
    error = (loo["elpd"] if "elpd" in dir(loo) else loo["elpd_loo"]) - ppca.log_likelihood(x).sum().item()
    assert abs(error) < 0.5 if holds else error > 15
    assert (np.max(np.asarray(loo.pareto_k)) < 0.7) == holds

"""Every estimator and objective against the exact answers of a linear-Gaussian VAE."""

import numpy as np
import pytest
import torch
from pyro.infer import RenyiELBO, Trace_ELBO, TraceMeanField_ELBO
from sklearn.decomposition import PCA

import pyro_vae as pv
from pyro_vae import evaluation, likelihoods, networks, objectives, posteriors, priors
from tests.ppca import PPCA, covariance_of, exact_log_likelihood, exact_terms
from tests.statistics import assert_mean, z_score

POSTERIORS = ["full", "diagonal"]
OBJECTIVES = {
    "own": objectives.ELBO,
    "own, particles": lambda: objectives.ELBO(num_particles=3),
    "Trace_ELBO": Trace_ELBO,
    "TraceMeanField_ELBO": TraceMeanField_ELBO,
}


def losses(ppca, objective, x, repeats):
    return torch.tensor([objective.loss(ppca.vae.model, ppca.vae.guide, x) for _ in range(repeats)])


@pytest.mark.parametrize("posterior", POSTERIORS)
def test_the_exact_posterior_is_where_it_was_set(posterior):
    ppca = PPCA(posterior)
    x = ppca.draw(3)
    q = ppca.vae.encode(x)
    torch.testing.assert_close(q.mean, (x - ppca.mu) @ ppca.gain.T)
    torch.testing.assert_close(covariance_of(q)[0], ppca.covariance)
    torch.testing.assert_close(exact_log_likelihood(ppca.vae, x), ppca.log_likelihood(x))


@pytest.mark.parametrize("posterior", POSTERIORS)
def test_with_the_exact_posterior_every_draw_of_the_elbo_is_log_p(posterior, own_store):
    ppca = PPCA(posterior)
    x = ppca.draw(6)
    draws = -losses(ppca, Trace_ELBO(), x, 5)
    torch.testing.assert_close(draws, ppca.log_likelihood(x).sum().float().expand(5), rtol=0, atol=1e-5)
    for method_samples in (1, 7):
        estimate = evaluation.log_likelihood(ppca.vae, x, num_samples=method_samples)
        torch.testing.assert_close(torch.as_tensor(estimate), ppca.log_likelihood(x), rtol=0, atol=1e-5)
    assert estimate.standard_error.max() < 1e-5
    reconstruction, kl = exact_terms(ppca.vae, x)
    torch.testing.assert_close(reconstruction - kl, ppca.log_likelihood(x))


@pytest.mark.parametrize("posterior", POSTERIORS)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_elbo_at_a_wrong_guide_is_that_of_the_formula(objective, posterior, own_store):
    ppca = PPCA(posterior)
    ppca.set_wrong_guide()
    x = ppca.draw(5)
    reconstruction, kl = exact_terms(ppca.vae, x)
    expected = (reconstruction - kl).sum()
    assert expected < ppca.log_likelihood(x).sum() - 0.5, "the guide is not wrong enough to test anything"
    assert_mean(losses(ppca, OBJECTIVES[objective](), x, 200), -expected)


@pytest.mark.parametrize("posterior", POSTERIORS)
def test_evaluation_elbo_and_its_sites_are_those_of_the_formula(posterior):
    ppca = PPCA(posterior)
    ppca.set_wrong_guide()
    x = ppca.draw(5)
    reconstruction, kl = exact_terms(ppca.vae, x)
    draws = [evaluation.elbo(ppca.vae, x, num_samples=2) for _ in range(300)]
    assert_mean(torch.stack([d.reconstruction for d in draws]), reconstruction)
    torch.testing.assert_close(draws[0].kl, kl.detach())
    code = evaluation.site_terms(ppca.vae, x)[0]
    assert code.exact
    q = ppca.vae.encode(x)
    torch.testing.assert_close(code.log_q, -q.entropy().expand(5))
    variances = covariance_of(q).diagonal(dim1=-2, dim2=-1).sum(-1)
    second_moment = (q.mean**2).sum(-1) + variances
    torch.testing.assert_close(code.log_p, -0.5 * second_moment - np.log(2 * np.pi))


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize(("posterior", "beta"), [("full", 1.0), ("diagonal", 4.0)])
def test_gradients_agree_with_those_of_the_formula(objective, posterior, beta, own_store):
    ppca = PPCA(posterior, beta=beta)
    ppca.set_wrong_guide()
    x = ppca.draw(4)
    parameters = list(ppca.vae.parameters())
    reconstruction, kl = exact_terms(ppca.vae, x)
    exact = torch.autograd.grad(-(reconstruction - beta * kl).sum(), parameters)
    objective, draws = OBJECTIVES[objective](), []
    for _ in range(200):
        ppca.vae.zero_grad()
        objective.loss_and_grads(ppca.vae.model, ppca.vae.guide, x)
        draws.append(torch.cat([p.grad.flatten() for p in parameters]))
    z = z_score(torch.stack(draws), torch.cat([g.flatten() for g in exact]))
    assert z.abs().max() < 4.5
    assert (z**2).mean() < 2.0


@pytest.mark.parametrize("beta", [0.0, 4.0])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_beta_weighs_the_kl_under_every_objective(objective, beta, own_store):
    ppca = PPCA("diagonal", beta=beta)
    ppca.set_wrong_guide()
    x = ppca.draw(4)
    reconstruction, kl = exact_terms(ppca.vae, x)
    expected = -(reconstruction - beta * kl).sum()
    assert_mean(losses(ppca, OBJECTIVES[objective](), x, 200), expected)


@pytest.mark.parametrize("posterior", POSTERIORS)
def test_beta_plays_no_part_in_evaluation(posterior):
    ppca = PPCA(posterior, beta=4.0)
    x = ppca.draw(5)
    estimate = evaluation.log_likelihood(ppca.vae, x, num_samples=3)
    torch.testing.assert_close(torch.as_tensor(estimate), ppca.log_likelihood(x), rtol=0, atol=1e-5)
    assert_mean(torch.stack([evaluation.elbo(ppca.vae, x).elbo for _ in range(300)]), ppca.log_likelihood(x))


def test_the_importance_weighted_bound_of_pyro_is_the_mean_of_the_estimator(own_store):
    ppca = PPCA()
    ppca.set_wrong_guide()
    x = ppca.draw(4)
    renyi = RenyiELBO(alpha=0, num_particles=5, vectorize_particles=True, max_plate_nesting=1)
    bounds = -losses(ppca, renyi, x, 200)
    ours = [evaluation.log_likelihood(ppca.vae, x, num_samples=5).sum() for _ in range(200)]
    assert_mean(bounds - torch.tensor(ours), 0.0)


# -- log p(x)


@pytest.mark.parametrize("method", ["importance", "prior"])
@pytest.mark.parametrize("posterior", POSTERIORS)
def test_log_likelihood_lies_within_its_standard_errors(posterior, method):
    ppca = PPCA(posterior)
    ppca.set_wrong_guide()
    x = ppca.draw(30)
    estimate = evaluation.log_likelihood(ppca.vae, x, method=method, num_samples=20_000)
    z = (estimate - ppca.log_likelihood(x)) / estimate.standard_error
    assert 1e-4 < estimate.standard_error.mean() < 0.2
    assert z.abs().max() < 4
    assert 0.5 < (z**2).mean() < 1.8


@pytest.mark.parametrize("method", ["importance", "prior"])
def test_the_standard_error_is_the_spread_over_repeats(method):
    ppca = PPCA()
    ppca.set_wrong_guide()
    x = ppca.mu + 0.5 * (ppca.draw(4) - ppca.mu)
    many = x.repeat(1000, 1)  # each datum a thousand times: independent repeats
    estimate = evaluation.log_likelihood(ppca.vae, many, method=method, num_samples=500, chunk=100_000)
    spread = torch.as_tensor(estimate).reshape(1000, 4).std(0)
    claimed = estimate.standard_error.reshape(1000, 4).mean(0)
    torch.testing.assert_close(claimed, spread, rtol=0.12, atol=0)


@pytest.mark.parametrize("chunk", [3, 7, 33, 10_000])
def test_chunks_change_nothing_but_memory(chunk):
    ppca = PPCA()
    exact = torch.linalg.cholesky(ppca.covariance)
    ppca.set_guide(ppca.gain, 0.1 - ppca.gain @ ppca.mu, 1.2 * exact)
    x = ppca.draw(3)
    estimate = evaluation.log_likelihood(ppca.vae, x.repeat(100, 1), num_samples=8, chunk=chunk)
    repeats = torch.as_tensor(estimate).reshape(100, 3)
    # averaged in the domain of p(x) the estimator has no bias
    assert_mean((repeats - ppca.log_likelihood(x)).exp(), torch.ones(3))
    claimed = estimate.standard_error.reshape(100, 3).mean(0)
    torch.testing.assert_close(claimed, repeats.std(0), rtol=0.35, atol=0)


def test_a_single_draw_has_no_standard_error():
    ppca = PPCA()
    assert evaluation.log_likelihood(ppca.vae, ppca.draw(3), num_samples=1).standard_error.isnan().all()


def test_estimates_are_plain_tensors_in_arithmetic():
    ppca = PPCA()
    estimate = evaluation.log_likelihood(ppca.vae, ppca.draw(3), num_samples=2)
    assert type(estimate + 1) is torch.Tensor
    assert type(estimate.mean()) is torch.Tensor


# -- training


def maximum_likelihood(x, size):
    """Mean log p(x) and sigma^2 of pPCA at its maximum (Tipping & Bishop 1999, equations 7 and 8)."""
    d = x.shape[1]
    covariance = np.cov(x.numpy(), rowvar=False, bias=True)
    values, vectors = np.linalg.eigh(covariance)
    values, vectors = values[::-1], vectors[:, ::-1]
    sigma2 = values[size:].mean()
    w = vectors[:, :size] * np.sqrt(values[:size] - sigma2)
    c = w @ w.T + sigma2 * np.eye(d)
    fit = -0.5 * (d * np.log(2 * np.pi) + np.linalg.slogdet(c)[1] + np.trace(np.linalg.solve(c, covariance)))
    return fit, sigma2


@pytest.mark.parametrize("posterior", [posteriors.FullCovarianceNormal, posteriors.Normal])
def test_fit_reaches_the_maximum_likelihood_of_ppca(posterior):
    w = torch.tensor([[2.0, 0.0], [1.5, 1.0], [0.0, -1.0], [0.5, 0.5], [-1.0, 1.0]])
    x = torch.randn(400, 2) @ w.T + 0.5 * torch.randn(400, 5) + torch.tensor([1.0, 0.0, -3.0, 0.0, 2.0])
    best, sigma2 = maximum_likelihood(x.double(), 2)
    assert abs(PCA(2).fit(x.numpy()).score(x.numpy()) - best) < 0.01  # another implementation agrees
    vae = pv.VAE(priors.StandardNormal(2), likelihoods.Normal(5), posterior(), networks.MLP([]))
    history = pv.fit(vae, x, epochs=350, batch_size=200, lr=0.03)
    reached = exact_log_likelihood(vae, x).mean().item()
    assert best - 0.015 < reached <= best + 1e-5
    scale = vae.decode(torch.zeros(1, 2)).stddev[0, 0].item()
    assert scale**2 == pytest.approx(sigma2, rel=0.03)
    # the posterior is in the family, so the bound is tight
    assert np.mean(history["elbo"][-20:]) == pytest.approx(reached, abs=0.03)
    estimate = evaluation.log_likelihood(vae, x, num_samples=200)
    assert estimate.mean().item() == pytest.approx(reached, abs=0.01)

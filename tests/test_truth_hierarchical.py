"""A hierarchy of linear-Gaussian codes, whose log p(x), posterior and bound are known.

z2 ~ N(0, I), z1 | z2 ~ N(A z2 + a, diag s^2), x | z1 ~ N(W z1 + mu, sigma^2 I).
"""

import math

import pytest
import torch
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from torch.distributions import MultivariateNormal, kl_divergence

import pyro_vae as pv
from pyro_vae import evaluation, likelihoods, networks, objectives, posteriors, priors
from tests.ppca import raw
from tests.statistics import assert_mean, z_score

TOP, CODE, DATA = 2, 3, 4
S = torch.tensor([0.5, 0.8, 0.3], dtype=torch.float64)
SIGMA = 0.6
EYE = torch.eye(DATA, dtype=torch.float64)


def drawn(*shape, seed):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


A, SHIFT, W, MU = drawn(CODE, TOP, seed=1), drawn(CODE, seed=2), drawn(DATA, CODE, seed=3), drawn(DATA, seed=4)
CODE_COVARIANCE = A @ A.T + torch.diag(S**2)
MARGINAL = MultivariateNormal(W @ SHIFT + MU, W @ CODE_COVARIANCE @ W.T + SIGMA**2 * EYE)


def conditional(covariance, weights, noise):
    """Of u ~ N(0, covariance) given v = weights u + noise: gain and covariance."""
    of_v = weights @ covariance @ weights.T + noise
    gain = covariance @ weights.T @ torch.linalg.inv(of_v)
    return gain, covariance - gain @ weights @ covariance


GAIN1, EXACT1 = conditional(CODE_COVARIANCE, W, SIGMA**2 * EYE)  # q(z1 | x) = N(a + G (x - W a - mu), C)
GAIN2, EXACT2 = conditional(torch.eye(TOP, dtype=torch.float64), A, torch.diag(S**2))  # q(z2 | z1) = N(G (z1 - a), C)


def set_affine(layer, weight, offset, rest):
    """The network's first outputs are ``weight`` v + ``offset``, the others ``rest`` whatever v is."""
    with torch.no_grad():
        layer.weights[0].zero_()
        layer.weights[0][: len(weight)] = weight
        layer.bias[: len(weight)] = offset
        layer.bias[len(weight) :] = rest


def full_covariance(covariance):
    """The outputs that posteriors.FullCovarianceNormal makes this covariance of."""
    tril = torch.linalg.cholesky(covariance)
    row, column = torch.tril_indices(len(tril), len(tril), offset=-1)
    return torch.cat([raw(tril.diagonal()), tril[row, column]])


def variant(shrunk=1.0, widened=1.0, **others):
    """The model above, with a guide that is exact, or shrunk towards 0 and wider."""
    vae = pv.HierarchicalVAE(
        [priors.ConditionalNormal(CODE), priors.StandardNormal(TOP)],
        likelihoods.Normal(DATA, scale=SIGMA),
        [posteriors.FullCovarianceNormal(), posteriors.FullCovarianceNormal()],
        [networks.MLP([]), networks.MLP([])],
        **others,
    ).double()
    set_affine(vae.model.priors[0].network.first, A, SHIFT, raw(S))
    set_affine(vae.likelihood.network.first, W, MU, torch.zeros(0))
    first, second = (posterior.network.first for posterior in vae.guide.posteriors)
    gains = shrunk * GAIN1, shrunk * GAIN2
    set_affine(first, gains[0], SHIFT - gains[0] @ (W @ SHIFT + MU), full_covariance(widened * EXACT1))
    set_affine(second, gains[1], -gains[1] @ SHIFT, full_covariance(widened * EXACT2))
    return vae


WRONG = {"shrunk": 0.8, "widened": 1.5}


def joint_guide(x, shrunk=1.0, widened=1.0):
    """q(z1, z2 | x) as one normal for each datum."""
    gain1, gain2, cov1, cov2 = shrunk * GAIN1, shrunk * GAIN2, widened * EXACT1, widened * EXACT2
    mean1 = SHIFT + (x - W @ SHIFT - MU) @ gain1.T
    mean = torch.cat([mean1, (mean1 - SHIFT) @ gain2.T], -1)
    across = gain2 @ cov1
    covariance = torch.cat([torch.cat([cov1, across.T], 1), torch.cat([across, across @ gain2.T + cov2], 1)])
    return MultivariateNormal(mean, 0.5 * (covariance + covariance.T))


def bound(x, **guide):
    """log p(x) - KL(q(z1, z2 | x) || p(z1, z2 | x)), (N,)."""
    return MARGINAL.log_prob(x) - kl_divergence(joint_guide(x, **guide), joint_guide(x))


def data(n=5):
    return MARGINAL.sample((n,))


@pytest.mark.parametrize("num_samples", [1, 9])
def test_with_the_exact_posterior_every_weight_is_p_of_x(num_samples):
    x = data()
    estimate = evaluation.log_likelihood(variant(), x, num_samples=num_samples)
    torch.testing.assert_close(torch.as_tensor(estimate), MARGINAL.log_prob(x), rtol=0, atol=1e-5)


def test_with_the_exact_posterior_the_bound_is_log_p(own_store):
    x, vae = data(), variant()
    torch.testing.assert_close(bound(x), MARGINAL.log_prob(x))
    loss = Trace_ELBO().loss(vae.model, vae.guide, x)
    assert loss == pytest.approx(-MARGINAL.log_prob(x).sum().item(), abs=1e-4), "every single draw is log p(x)"
    draws = torch.stack([evaluation.elbo(vae, x, num_samples=5).elbo for _ in range(200)])
    assert_mean(draws, MARGINAL.log_prob(x))


OBJECTIVES = {
    "own": lambda: objectives.ELBO(num_particles=20),
    "Trace_ELBO": lambda: Trace_ELBO(20, vectorize_particles=True),
}


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_objectives_at_a_wrong_guide_have_the_bound_of_the_formula(objective, own_store):
    x, vae = data(), variant(**WRONG)
    expected = bound(x, **WRONG).sum()
    assert expected < MARGINAL.log_prob(x).sum() - 1
    objective = OBJECTIVES[objective]()
    losses = torch.tensor([objective.loss(vae.model, vae.guide, x) for _ in range(100)])
    assert_mean(losses, -expected)


@pytest.mark.filterwarnings("ignore:Failed to verify mean field")
def test_what_a_closed_kl_in_every_layer_would_get_wrong(own_store):
    """Pyro's mean-field ELBO takes KL(q(z1 | x) || p(z1 | z2)) as it is, although z2 depends on z1 in the guide."""
    x, vae = data(), variant()
    losses = torch.tensor([TraceMeanField_ELBO().loss(vae.model, vae.guide, x) for _ in range(300)])
    assert abs(z_score(losses, -MARGINAL.log_prob(x).sum())) > 10


def test_importance_sampling_corrects_a_wrong_guide():
    x = data(20)
    estimate = evaluation.log_likelihood(variant(**WRONG), x, num_samples=4000)
    z = (torch.as_tensor(estimate) - MARGINAL.log_prob(x)) / estimate.standard_error
    assert z.abs().max() < 4
    assert z.abs().mean() < 1.5


def test_sites_of_the_bound_have_the_terms_of_the_formula():
    x, guide = data(), {"shrunk": 0.8, "widened": 1.5}
    vae, q = variant(**guide), joint_guide(x, **guide)
    terms = {site.name: site for site in evaluation.site_terms(vae, x, num_samples=20_000)}
    assert terms["z2"].exact
    assert not terms["z1"].exact
    moments = q.loc[:, :, None] * q.loc[:, None] + q.covariance_matrix
    second = moments[:, CODE:, CODE:].diagonal(dim1=-2, dim2=-1).sum(-1)
    expected = -0.5 * second - 0.5 * TOP * math.log(2 * math.pi)
    torch.testing.assert_close(terms["z2"].log_p, expected, rtol=0, atol=0.1)
    noise = terms["z1"].log_q + 0.5 * torch.logdet(2 * math.pi * math.e * 1.5 * EXACT1)
    torch.testing.assert_close(noise, torch.zeros(5, dtype=torch.float64), rtol=0, atol=0.05)


def test_a_gradient_of_the_bound_is_that_of_the_formula(own_store):
    """The slope in the guide's gain, by differences of the closed form."""
    x = data()
    vae = variant(**WRONG)
    step = 1e-5
    slope = (bound(x, shrunk=0.8 + step, widened=1.5) - bound(x, shrunk=0.8 - step, widened=1.5)).sum() / (2 * step)
    directions = [GAIN1, GAIN2]
    draws = []
    for _ in range(200):
        vae.zero_grad()
        objectives.ELBO(num_particles=10).differentiable_loss(vae.model, vae.guide, x).backward()
        total = 0.0
        for posterior, gain, centre in zip(vae.guide.posteriors, directions, (W @ SHIFT + MU, SHIFT), strict=True):
            layer = posterior.network.first
            total -= (layer.weights[0].grad[: len(gain)] * gain).sum()
            total += (layer.bias.grad[: len(gain)] * (gain @ centre)).sum()
        draws.append(total)
    assert_mean(torch.stack(draws), slope)


def test_generated_data_and_codes_have_the_moments_of_the_marginal():
    vae = variant()
    x = vae.generate(20_000, mean=False)
    assert_mean(x, MARGINAL.loc)
    centred = x - MARGINAL.loc
    assert_mean(centred[:, :, None] * centred[:, None], MARGINAL.covariance_matrix)
    prior = vae.code_prior(num_samples=2000)
    z = torch.cat([vae.code_prior(num_samples=1).sample((1,)) for _ in range(1000)])
    assert_mean(z, SHIFT)
    exact = MultivariateNormal(SHIFT, CODE_COVARIANCE)
    torch.testing.assert_close(prior.log_prob(z[:50]), exact.log_prob(z[:50]), rtol=0, atol=0.3)


def test_one_layer_is_a_vae():
    torch.manual_seed(0)
    one = pv.HierarchicalVAE([priors.StandardNormal(2)], likelihoods.Normal(DATA), encoders=[networks.MLP([4])])
    torch.manual_seed(0)
    vae = pv.VAE(priors.StandardNormal(2), likelihoods.Normal(DATA), encoder=networks.MLP([4]))
    assert sorted(p.shape for p in one.parameters()) == sorted(p.shape for p in vae.parameters())
    x = data().float()
    one.load_state_dict(
        {
            name.replace("prior.", "priors.0.").replace("posterior.", "posteriors.0."): value
            for name, value in vae.state_dict().items()
        }
    )
    torch.testing.assert_close(evaluation.elbo(one, x).kl, evaluation.elbo(vae, x).kl)
    assert type(one.code_prior()) is type(vae.code_prior())
    assert evaluation.kl_per_dimension(one, x).shape == (2,)


def test_beta_weighs_every_layer():
    vae = variant(beta=3.0)
    assert vae.model.weights == vae.guide.weights == {"z1": 3.0, "z2": 3.0}
    x = data()
    terms = evaluation.elbo(vae, x)
    assert (terms.elbo - terms.reconstruction + terms.kl).abs().max() < 1e-9


def test_networks_go_where_they_are_given():
    vae = pv.HierarchicalVAE(
        [priors.ConditionalNormal(5), priors.ConditionalNormal(4), priors.StandardNormal(3)],
        likelihoods.Bernoulli((1, 7, 7)),
        encoders=[networks.Conv([4], hidden=[9]), networks.MLP([8]), networks.MLP([7])],
        decoders=[networks.MLP([11]), networks.MLP([12]), networks.MLP([13])],
    )
    model, guide = vae.model, vae.guide
    widths = [part.network.first.bias.shape[0] for part in (vae.likelihood, model.priors[0], model.priors[1])]
    assert widths == [11, 12, 13]
    assert [part.network.first.weights[0].shape[1] for part in (vae.likelihood, *model.priors[:2])] == [5, 4, 3]
    assert [part.network.first.weights[0].shape for part in guide.posteriors[1:]] == [(8, 5), (7, 4)]
    mirrored = pv.HierarchicalVAE(
        [priors.ConditionalNormal(5), priors.StandardNormal(3)],
        likelihoods.Bernoulli(6),
        encoders=[networks.MLP([20, 10]), networks.MLP([8, 7])],
    )
    first = [part.network.first.bias.shape[0] for part in (mirrored.likelihood, mirrored.model.priors[0])]
    assert first == [10, 7]
    assert (vae.code, vae.latents, vae.code_shape, vae.latent_size) == ("z1", ("z1", "z2", "z3"), (5,), 5)


def test_active_units_of_every_layer_are_the_variances_of_its_means():
    x, vae = data(400), variant()
    mean = joint_guide(x).mean
    for site, wanted in (("z1", mean[:, :CODE]), ("z2", mean[:, CODE:])):
        found = evaluation.active_units(vae, x, site=site, num_samples=400, batch_size=150).dataset["variance"]
        torch.testing.assert_close(torch.as_tensor(found.values), wanted.var(0, correction=0), rtol=0.05, atol=0.01)
    assert found.dims == ("latent2",)


def test_the_aggregate_posterior_of_every_layer_is_its_prior():
    x, vae = data(600), variant()
    for site, size in (("z1", CODE), ("z2", TOP)):
        found = evaluation.aggregate_posterior(vae, x, site=site, num_samples=600, permutations=99)
        assert found.dataset["z"].shape == (600, size)
        assert found.discrepancy.p_value > 0.01
    with torch.no_grad():  # now codes of the second layer are all about the same
        vae.guide.posteriors[1].network.first.weights[0].zero_()
    found = evaluation.aggregate_posterior(vae, x, site="z2", num_samples=600, permutations=99)
    assert found.discrepancy.p_value < 0.02


def test_calibration_looks_at_the_layer_that_it_is_asked_for():
    vae = variant()
    calibrate = evaluation.simulation_based_calibration
    assert calibrate(vae, site="z2").words() == ["calibrated"] * TOP
    with torch.no_grad():  # q(z2 | z1) forgets z1
        vae.guide.posteriors[1].network.first.weights[0].zero_()
    assert calibrate(vae).words() == ["calibrated"] * CODE
    assert calibrate(vae, site="z2").words() != ["calibrated"] * TOP
    with pytest.raises(pv.ConfigurationError, match="site 'z3' is no code of HierarchicalVAE; there are z1, z2"):
        calibrate(vae, site="z3")

"""log p(x) itself: of linear-Gaussian stories and of sums over codes; and what is refused."""

import pyro.distributions as dist
import pytest
import torch

import pyro_vae as pv
from pyro_vae import evaluation, likelihoods, networks, posteriors, priors
from tests import family
from tests.draws import case
from tests.evaluation.truth import Linear, plain


@pytest.mark.parametrize("size", [1, 2, 5, 10])
@pytest.mark.parametrize("chunk", [1, 50, 10_000])
def test_linear_gaussian_stories_are_integrated_exactly(size, chunk):
    linear = Linear(size, wrong=0.5)
    x = linear.draw(9)
    estimate = evaluation.log_likelihood(linear.vae, x, method="exact", chunk=chunk)
    torch.testing.assert_close(plain(estimate), linear.log_likelihood(x), rtol=0, atol=1e-9)
    assert (estimate.standard_error == 0).all()


@pytest.mark.parametrize(
    ("prior", "scale"),
    [
        (priors.Normal(2), "per_dimension"),
        (priors.Fixed(dist.MultivariateNormal(torch.tensor([1.0, -1.0]), torch.tensor([[1.0, 0.5], [0.5, 2.0]]))), 0.3),
    ],
)
def test_other_normal_priors_and_scales_too(prior, scale):
    vae = family.randomised(pv.VAE(prior, likelihoods.Normal(3, scale=scale), encoder=networks.MLP([])))
    x = torch.randn(6, 3)
    with torch.no_grad():
        p = vae.model.prior()
        w, bias = vae.likelihood.network.first.weights[0], vae.likelihood.network.first.bias
        spread = p.covariance_matrix if hasattr(p, "covariance_matrix") else torch.diag(p.variance)
        noise = vae.decode(torch.zeros(2)).variance
        marginal = dist.MultivariateNormal(w @ p.mean + bias, w @ spread @ w.T + torch.diag(noise))
    estimate = evaluation.log_likelihood(vae, x, method="exact")
    torch.testing.assert_close(plain(estimate), marginal.log_prob(x), rtol=1e-4, atol=1e-4)
    assert estimate.dtype == torch.float32
    assert next(vae.parameters()).dtype == torch.float32


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: family.vae(likelihood="bernoulli", encoder=networks.MLP([])), "site 'x' is a Bernoulli"),
        (lambda: family.vae(likelihood="laplace", encoder=networks.MLP([])), "site 'x' is a Laplace"),
        (lambda: family.vae("mixture", likelihood="normal_shared", encoder=networks.MLP([])), "site 'z' is a Mixture"),
        (lambda: family.vae(likelihood="normal_shared", encoder=networks.MLP([8])), "no quadratic function"),
        (lambda: family.vae(likelihood="normal_predicted", encoder=networks.MLP([])), "no quadratic function"),
        (lambda: pv.VAE(priors.Bernoulli(13), likelihoods.Bernoulli(family.IMAGE), posteriors.Bernoulli()), "4,096"),
    ],
)
def test_what_is_not_known_exactly_is_said(make, message):
    vae = family.randomised(make())
    with pytest.raises(pv.ConfigurationError, match=message):
        evaluation.log_likelihood(vae, family.data_for(vae, 5), method="exact")


def test_the_exact_value_leaves_no_trace_of_its_making():
    linear = Linear(2)
    x = linear.draw(3)
    state = torch.get_rng_state()
    evaluation.log_likelihood(linear.vae, x, method="exact")
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", ["discrete_enumerated", "discrete_enumerated_classes", "hierarchical_enumerated"])
def test_a_sum_over_codes_is_that_of_a_guide_that_enumerates_them(name):
    variant, x, y = case(name, 5)
    summed = evaluation.log_likelihood(variant.double(), x.double(), y, method="exact")
    enumerated = evaluation.log_likelihood(variant, x.double(), y, num_samples=1)
    torch.testing.assert_close(plain(summed), plain(enumerated))

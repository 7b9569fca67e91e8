"""Densities of priors, likelihoods and posteriors against other implementations and numerical integrals."""

import math

import numpy as np
import pyro.distributions as dist
import pytest
import scipy.stats
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from pyro_vae import likelihoods, networks, posteriors, priors
from pyro_vae.parts import positive
from tests.family import IMAGE, LIKELIHOODS, POSTERIORS, PRIORS, D, data_for, randomised, vae
from tests.ppca import raw


def integral_over_the_plane(log_density, half_width=16.0, points=641):
    """The integral of exp(log_density) over a square, and its first moments."""
    axis = torch.linspace(-half_width, half_width, points)
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        mass = log_density(grid).double().exp() * (axis[1] - axis[0]).double() ** 2
    return mass.sum().item(), (mass[:, None] * grid).sum(0)


def integral_over_the_unit_interval(log_density, nodes=400):
    x, w = np.polynomial.legendre.leggauss(nodes)
    x, w = torch.as_tensor((x + 1) / 2), torch.as_tensor(w / 2)
    return (log_density(x[:, None].float()).double().exp() * w).sum().item()


# -- priors


@pytest.mark.parametrize("name", PRIORS)
def test_priors_integrate_to_one_and_their_draws_have_its_moments(name):
    variant = randomised(vae(name))
    with torch.no_grad():
        p = variant.model.prior()
        mass, mean = integral_over_the_plane(p.log_prob)
        draws = p.sample((20_000,)).double()
    assert mass == pytest.approx(1.0, abs=2e-3)
    z = (draws.mean(0) - mean) / (draws.std(0) / 20_000**0.5)
    assert z.abs().max() < 5


def test_normal_priors_against_scipy():
    z = torch.randn(5, D)
    expected = scipy.stats.norm.logpdf(z).sum(-1)
    np.testing.assert_allclose(priors.StandardNormal(D)().log_prob(z), expected, rtol=1e-5)
    prior = randomised(priors.Normal(D), 1.0)
    loc, scale = prior.loc.detach(), positive(prior.raw_scale).detach()
    expected = scipy.stats.norm.logpdf(z, loc, scale).sum(-1)
    np.testing.assert_allclose(prior().log_prob(z).detach(), expected, rtol=1e-5)
    torch.testing.assert_close(positive(raw([0.1, 1.0, 30.0])), torch.tensor([0.1, 1.0, 30.0]).double())


def test_the_mixture_prior_against_scipy():
    prior = randomised(priors.MixtureOfNormals(D, components=3), 1.0)
    z = torch.randn(5, D)
    weights, scales = prior.logits.softmax(0).detach(), positive(prior.raw_scale).detach()
    density = sum(
        w * scipy.stats.norm.pdf(z, loc, scale).prod(-1)
        for w, loc, scale in zip(weights.numpy(), prior.loc.detach(), scales, strict=True)
    )
    np.testing.assert_allclose(prior().log_prob(z).detach(), np.log(density), rtol=1e-4)


def test_fixed_priors_against_scipy():
    z = torch.randn(5, D)
    laplace = priors.Fixed(dist.Laplace(1.0, 0.5), size=D)
    np.testing.assert_allclose(laplace().log_prob(z), scipy.stats.laplace.logpdf(z, 1, 0.5).sum(-1), rtol=1e-5)
    student = priors.Fixed(dist.StudentT(3.0 * torch.ones(D), torch.zeros(D), torch.ones(D)))
    np.testing.assert_allclose(student().log_prob(z), scipy.stats.t.logpdf(z, 3).sum(-1), rtol=1e-5)


@pytest.mark.parametrize("kind", ["maf", "realnvp", "nice", "nsf"])
def test_flow_priors_score_their_own_draws_as_strangers(kind):
    flow = randomised(priors.Flow(3, kind, hidden=[8])).double()
    with torch.no_grad():
        p = flow()
        z = p.rsample((50,))
        recorded = p.log_prob(z)
        recomputed = flow().log_prob(z.clone())
        torch.testing.assert_close(recorded, recomputed, rtol=1e-6, atol=1e-6)
        drawn, log_p = p.dist.rsample_and_log_prob((50,))
        torch.testing.assert_close(flow().log_prob(drawn), log_p, rtol=1e-6, atol=1e-6)
        transform = p.dist.transform
        torch.testing.assert_close(transform.inv(transform(z)), z, rtol=1e-6, atol=1e-6)


# -- posteriors


@pytest.mark.parametrize("name", POSTERIORS)
def test_posteriors_integrate_to_one_and_their_draws_have_its_moments(name):
    variant = randomised(vae(posterior=name), 0.2)
    q = variant.encode(data_for(variant, 1))
    mass, mean = integral_over_the_plane(lambda z: q.log_prob(z))
    draws = q.sample((20_000,))[:, 0].double()
    assert mass == pytest.approx(1.0, abs=2e-3)
    z = (draws.mean(0) - mean) / (draws.std(0) / 20_000**0.5)
    assert z.abs().max() < 5


def test_the_flow_posterior_scores_its_draws_as_strangers():
    variant = randomised(vae(posterior="flow", prior=priors.StandardNormal(4))).double()
    x = data_for(variant, 6).double()
    with torch.no_grad():
        q = variant.guide.posterior(x)
        z = q.rsample((3,))
        recorded = q.log_prob(z)
        recomputed = variant.guide.posterior(x).log_prob(z.clone())
    torch.testing.assert_close(recorded, recomputed, rtol=1e-7, atol=1e-7)


def test_the_flow_posterior_is_not_normal_and_reads_its_context():
    variant = randomised(vae(posterior="flow"), 1.0)
    q = variant.encode(data_for(variant, 2))
    draws = q.sample((20_000,))[:, 0].numpy()
    assert scipy.stats.normaltest(draws).pvalue.min() < 1e-6
    assert (variant.guide.posterior.bend.transforms[0].hyper[0].weight[:, D:] != 0).any()


def test_the_full_covariance_posterior_has_the_cholesky_factor_of_its_parameters():
    posterior = posteriors.FullCovarianceNormal()
    posterior.shape = (3,)
    parameters = torch.randn(2, *posterior.parameter_shape((3,)))
    q = posterior.distribution(parameters)
    tril = q.scale_tril
    torch.testing.assert_close(tril.diagonal(dim1=-2, dim2=-1), positive(parameters[:, 3:6]))
    torch.testing.assert_close(tril[:, [1, 2, 2], [0, 0, 1]], parameters[:, 6:])
    assert not tril.triu(1).any()
    z = torch.randn(3)
    expected = scipy.stats.multivariate_normal(q.loc[0], tril[0] @ tril[0].T).logpdf(z)
    assert q.log_prob(z)[0].item() == pytest.approx(expected, rel=1e-5)


# -- likelihoods


def likelihood_and_parameters(make, scale=1.0):
    likelihood = randomised(make(), 0.5)
    return likelihood, scale * torch.randn(4, *likelihood.parameter_shape(likelihood.shape))


@pytest.mark.parametrize("scale", ["fixed", "shared", "per_dimension", "predicted", 0.3])
@pytest.mark.parametrize(
    ("family", "reference"), [(likelihoods.Normal, scipy.stats.norm), (likelihoods.Laplace, scipy.stats.laplace)]
)
def test_real_likelihoods_against_scipy(family, reference, scale):
    likelihood, parameters = likelihood_and_parameters(lambda: family((2, 3), scale=scale))
    sizes = {
        "fixed": 1.0,
        "shared": lambda: positive(likelihood.raw_scale),
        "per_dimension": lambda: positive(likelihood.raw_scale),
        "predicted": lambda: positive(parameters[:, 1]),
        0.3: 0.3,
    }[scale]
    sizes = sizes().detach().numpy() if callable(sizes) else sizes
    x = torch.randn(4, 2, 3)
    p = likelihood.distribution(parameters)
    expected = reference.logpdf(x, parameters[:, 0], sizes).sum((1, 2))
    np.testing.assert_allclose(p.log_prob(x).detach(), expected, rtol=1e-4)
    torch.testing.assert_close(p.mean, parameters[:, 0])


@pytest.mark.parametrize("scale", ["fixed", "shared", "per_dimension", "predicted", 0.3])
def test_the_gradients_of_a_normal_likelihood_are_torchs(scale):
    likelihood, parameters = likelihood_and_parameters(lambda: likelihoods.Normal((2, 3), scale=scale).double())
    parameters = torch.stack([parameters.double(), -parameters.double()]).requires_grad_()  # as if enumerated: (2, 4)
    x = torch.randn(4, 2, 3, dtype=torch.double, requires_grad=True)
    p = likelihood.distribution(parameters)
    plain = torch.distributions.Normal(p.base_dist.loc, p.base_dist.scale)
    weights = torch.randn(2, 4, dtype=torch.double)
    wanted = (weights * plain.log_prob(x).sum((-1, -2))).sum()
    inputs = [x, parameters, *likelihood.parameters()]
    expected = torch.autograd.grad(wanted, inputs, retain_graph=True)
    got = (weights * p.log_prob(x)).sum()
    torch.testing.assert_close(got, wanted)
    torch.testing.assert_close(torch.autograd.grad(got, inputs, retain_graph=True), expected)
    torch.testing.assert_close(p.expand((5, 2, 4)).log_prob(x), p.log_prob(x).expand(5, 2, 4))
    assert torch.autograd.gradcheck(lambda x, y: likelihood.distribution(y).log_prob(x), inputs[:2])


def test_a_shared_scale_is_worked_on_once():
    """Elements written in a forward and a backward pass, beside torch's normal: what colour images take time by."""

    class Elements(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            out = function(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor) and not function.is_view:
                self.count += out.numel()
            return out

    likelihood = likelihoods.Normal((3, 8, 8), scale="shared")
    loc, x = torch.randn(10, 5, 1, 3, 8, 8, requires_grad=True), torch.randn(5, 3, 8, 8)
    counts = []
    for family in (likelihood.family, dist.Normal):
        likelihood.family = family
        with Elements() as elements:
            likelihood.distribution(loc).log_prob(x).sum().backward()
        counts.append(elements.count / loc.numel())
    assert counts[0] < 0.6 * counts[1]


def test_the_default_scale_names_mean_what_they_say():
    raw_scale = {name: getattr(likelihoods.Normal(3, scale=name), "raw_scale", None) for name in ("fixed", "shared")}
    assert raw_scale["fixed"] is None
    assert raw_scale["shared"].shape == ()
    assert likelihoods.Normal(3, scale="per_dimension").raw_scale.shape == (3,)
    assert likelihoods.Normal(3, scale="predicted").parameter_shape((3,)) == (2, 3)


def test_the_bernoulli_against_scipy():
    likelihood, logits = likelihood_and_parameters(lambda: likelihoods.Bernoulli((2, 3)), scale=3.0)
    x = torch.bernoulli(torch.full((4, 2, 3), 0.5))
    expected = scipy.stats.bernoulli.logpmf(x, logits[:, 0].sigmoid()).sum((1, 2))
    np.testing.assert_allclose(likelihood.distribution(logits).log_prob(x), expected, rtol=1e-4)


def test_the_categorical_sums_to_one_and_reads_logits_level_by_level():
    likelihood, parameters = likelihood_and_parameters(lambda: likelihoods.Categorical((1,), levels=5))
    p = likelihood.distribution(parameters)
    mass = p.log_prob(torch.arange(5.0).reshape(5, 1, 1)).exp()  # (5, 4)
    torch.testing.assert_close(mass.sum(0), torch.ones(4))
    torch.testing.assert_close(mass.T, parameters[..., 0].softmax(1))
    levels = torch.arange(5.0)
    mean = (mass.T * levels).sum(1)
    torch.testing.assert_close(p.mean[:, 0], mean)
    torch.testing.assert_close(p.variance[:, 0], (mass.T * (levels - mean[:, None]) ** 2).sum(1))


LOGITS = [0.0, 1e-4, -1e-4, 3.9e-3, 4.1e-3, -4.1e-3, 0.05, -1.0, 4.0, -9.0, 15.0, -18.0, 25.0, -40.0]


def continuous_bernoulli(logit):
    return likelihoods.ContinuousBernoulli(1).distribution(torch.full((1, 1), logit))


@pytest.mark.parametrize("logit", LOGITS)
def test_the_continuous_bernoulli_integrates_to_one(logit):
    mass = integral_over_the_unit_interval(continuous_bernoulli(logit).log_prob)
    assert mass == pytest.approx(1.0, abs=2e-4)


@pytest.mark.parametrize("logit", LOGITS)
def test_the_continuous_bernoulli_against_its_formula(logit):
    x = torch.linspace(0, 1, 11)
    log_c = math.log(2.0) if logit == 0 else math.log(logit / math.tanh(logit / 2))
    log_sigmoid = nn.functional.logsigmoid
    signed = torch.tensor(logit, dtype=torch.float64)
    expected = log_c + x.double() * log_sigmoid(signed) + (1 - x.double()) * log_sigmoid(-signed)
    got = continuous_bernoulli(logit).log_prob(x[:, None])
    torch.testing.assert_close(got, expected.float(), rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize("logit", [1e-4, 0.05, -1.0, 4.0, -9.0])
def test_the_mean_of_the_continuous_bernoulli_is_that_of_its_density(logit):
    p = continuous_bernoulli(logit)
    x, w = np.polynomial.legendre.leggauss(200)
    x, w = torch.as_tensor((x + 1) / 2).float(), torch.as_tensor(w / 2).float()
    mean = (p.log_prob(x[:, None]).exp() * x * w).sum().item()
    assert p.mean.item() == pytest.approx(mean, abs=2e-3)
    assert p.sample((20_000,)).mean().item() == pytest.approx(mean, abs=0.01)


@pytest.mark.parametrize("logit", [0.0, 1.0, -3.0])
def test_cross_entropy_on_grey_values_is_no_density(logit):
    p = likelihoods.UnnormalisedBernoulli(1).distribution(torch.full((1, 1), logit))
    mass = integral_over_the_unit_interval(p.log_prob)
    expected = 0.5 if logit == 0 else math.tanh(logit / 2) / logit
    assert mass == pytest.approx(expected, rel=1e-4)
    assert mass < 0.9
    assert set(p.sample((50,)).unique().tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_draws_from_a_likelihood_have_its_mean(name):
    likelihood, parameters = likelihood_and_parameters(LIKELIHOODS[name])
    with torch.no_grad():
        p = likelihood.distribution(parameters)
        draws = p.sample((4000,)).double()
    z = (draws.mean(0) - p.mean) / (draws.std(0) / 4000**0.5).clamp(min=1e-6)
    assert z.abs().max() < 5.5  # of 140 values


@pytest.mark.parametrize("network", [networks.MLP([8]), networks.MLP([]), networks.Conv([4], hidden=[8])])
@pytest.mark.parametrize("name", LIKELIHOODS)
def test_training_starts_at_the_mean_of_the_data(name, network):
    variant = vae(likelihood=name, decoder=network)
    likelihood = variant.likelihood
    tilt = torch.linspace(0.1, 0.9, math.prod(IMAGE)).reshape(IMAGE)
    if name == "categorical":
        x = torch.distributions.Binomial(3, tilt.expand(200, *IMAGE)).sample()
    elif name.startswith(("normal", "laplace")):
        x = 10 * tilt + torch.randn(200, *IMAGE)
    else:
        x = torch.bernoulli(tilt.expand(200, *IMAGE))
    with torch.no_grad():
        for parameter in likelihood.network.parameters():
            parameter.zero_()
    likelihood.initialise(x)
    start = variant.decode(torch.randn(5, D)).mean
    torch.testing.assert_close(start, x.mean(0).expand(5, *IMAGE), rtol=0, atol=1e-2)


def test_pixels_that_never_change_start_with_finite_logits():
    for make in (likelihoods.Bernoulli, likelihoods.ContinuousBernoulli, likelihoods.Categorical):
        likelihood = make(3) if make is not likelihoods.Categorical else make(3, levels=4)
        x = torch.tensor([[0.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
        assert likelihood.starting_parameters(x).isfinite().all()

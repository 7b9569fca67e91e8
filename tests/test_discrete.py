"""Distributions of discrete codes: values, densities, divergences, and the gradients of relaxed draws."""

import itertools

import pytest
import torch
from torch.distributions import kl_divergence
from torch.nn import functional

import pyro_vae as pv
from pyro_vae import discrete, likelihoods, posteriors, priors
from pyro_vae.objectives.kl import kl_exact, kl_per_dimension
from tests.statistics import assert_mean

D, K = 3, 4


def bits(*batch, **how):
    return discrete.Vector(discrete.Bernoulli(torch.randn(*batch, D, dtype=torch.double), **how), 1)


def classes(*batch, **how):
    return discrete.Vector(discrete.OneHotCategorical(torch.randn(*batch, D, K, dtype=torch.double), **how), 1)


def all_codes(q):
    """Every value of a distribution of vectors, (C, \\*event), by itertools."""
    elements = torch.eye(K) if len(q.event_shape) > 1 else torch.tensor([0.0, 1.0])
    return torch.stack([torch.stack(code) for code in itertools.product(elements, repeat=D)]).double()


def plain(q):
    """The same distribution of torch's own classes."""
    base = q.base_dist
    family = torch.distributions.OneHotCategorical if len(q.event_shape) > 1 else torch.distributions.Bernoulli
    return torch.distributions.Independent(family(logits=base.logits), 1)


FAMILIES = pytest.mark.parametrize("make", [bits, classes])


@FAMILIES
def test_enumeration_lists_every_code_once_and_probabilities_add_up_to_one(make):
    q = make(2)
    values = q.enumerate_support()
    expected = all_codes(q)
    assert values.shape == (len(expected), 2, *q.event_shape)
    for batch in range(2):
        assert {tuple(v.flatten().tolist()) for v in values[:, batch]} == {
            tuple(v.flatten().tolist()) for v in expected
        }
    torch.testing.assert_close(q.log_prob(values).exp().sum(0), torch.ones(2, dtype=torch.double))
    torch.testing.assert_close(q.enumerate_support(expand=False).expand_as(values), values)
    assert q.has_enumerate_support


@FAMILIES
def test_densities_moments_and_entropy_are_those_of_torch(make):
    q = make(2)
    codes = all_codes(q)[:, None]
    torch.testing.assert_close(q.log_prob(codes), plain(q).log_prob(codes.expand(-1, 2, *q.event_shape)))
    torch.testing.assert_close(q.mean, plain(q).mean)
    torch.testing.assert_close(q.variance, plain(q).variance)
    torch.testing.assert_close(q.entropy(), plain(q).entropy())
    most_probable = codes[q.log_prob(codes).argmax(0), 0]
    torch.testing.assert_close(q.mode, most_probable)


@FAMILIES
def test_a_plate_keeps_what_a_distribution_is(make):
    q = make(temperature=0.7, soft=True).expand((5, 2))
    assert type(q) is discrete.Vector
    assert (q.batch_shape, q.has_rsample, q.base_dist.temperature, q.base_dist.soft) == ((5, 2), True, 0.7, True)
    assert q.rsample((3,)).shape == (3, 5, 2, *q.event_shape)
    assert not make().expand((5,)).has_rsample


@FAMILIES
@pytest.mark.parametrize("batches", [((2,), (2,)), ((4, 1), (2,)), ((2,), ())])
def test_kl_is_the_sum_over_codes(make, batches):
    q, p = (make(*batch) for batch in batches)
    shape = torch.broadcast_shapes(*batches)
    codes = all_codes(q).reshape(-1, *[1] * len(shape), *q.event_shape)
    log_q, log_p = q.expand(shape).log_prob(codes), p.expand(shape).log_prob(codes)
    expected = (log_q.exp() * (log_q - log_p)).sum(0)
    torch.testing.assert_close(kl_exact(q, p).expand(shape), expected)
    by_dimension = kl_per_dimension(q, p)
    assert by_dimension.shape[-1] == D
    torch.testing.assert_close(by_dimension.sum(-1).expand(shape), expected)
    torch.testing.assert_close(kl_divergence(plain(q).expand(shape), plain(p).expand(shape)), expected)


def test_a_bit_as_likely_as_not_has_a_mode():
    assert discrete.Bernoulli(torch.zeros(2)).mode.tolist() == [0, 0]


def test_far_logits_have_finite_divergences_and_gradients():
    logits = torch.tensor([-200.0, 200.0], requires_grad=True)
    kl = kl_divergence(discrete.Bernoulli(logits), discrete.Bernoulli(torch.zeros(2)))
    torch.testing.assert_close(kl, torch.full((2,), 2.0).log())
    kl.sum().backward()
    assert logits.grad.isfinite().all()


# -- relaxed draws


def relaxed_by_hand(logits, shape, temperature):
    """The continuous draw that follows from torch's random state as it is."""
    if logits.shape[-1] == K:
        gumbel = -torch.empty(shape, dtype=torch.double).exponential_().log()
        return ((logits + gumbel) / temperature).softmax(-1)
    uniform = torch.rand(shape, dtype=torch.double)
    return 1 / (1 + torch.exp(-(logits + uniform.log() - (1 - uniform).log()) / temperature))


def nearest_by_hand(relaxed):
    if relaxed.shape[-1] == K:
        return functional.one_hot(relaxed.argmax(-1), K).double()
    return relaxed.round()


@FAMILIES
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("temperature", [0.3, 1.0])
def test_relaxed_draws_have_the_value_and_the_gradient_of_the_formula(make, soft, temperature):
    q = make(5, temperature=temperature, soft=soft)
    logits = q.base_dist.logits.detach().requires_grad_()
    q = discrete.Vector(type(q.base_dist)(logits, temperature, soft), 1)
    weights = torch.randn(2, 5, *q.event_shape, dtype=torch.double)

    torch.manual_seed(3)
    z = q.rsample((2,))
    (gradient,) = torch.autograd.grad((weights * z).sum(), logits)

    torch.manual_seed(3)
    relaxed = relaxed_by_hand(logits, z.shape, temperature)
    (expected,) = torch.autograd.grad((weights * relaxed).sum(), logits)
    torch.testing.assert_close(gradient, expected)
    if soft:
        torch.testing.assert_close(z, relaxed)
    else:
        assert torch.equal(z, nearest_by_hand(relaxed)), "a draw must be a code, to the last digit"
        assert q.support.check(z.float()).all()


@FAMILIES
def test_draws_with_a_gradient_are_distributed_as_those_without(make):
    q = make(temperature=0.5)
    for draw in (q.rsample, q.sample):
        z = draw((20_000,))
        assert_mean(z, q.mean)
        assert_mean(z[:, 0] * z[:, 1], q.mean[0] * q.mean[1])
    rounded = nearest_by_hand(discrete.Vector(type(q.base_dist)(q.base_dist.logits, 0.5, True), 1).rsample((20_000,)))
    assert_mean(rounded, q.mean)


@FAMILIES
def test_the_log_density_passes_gradients_to_its_value(make):
    q = make()
    z = q.sample().requires_grad_()
    (slope,) = torch.autograd.grad(q.log_prob(z), z)
    torch.testing.assert_close(slope, q.base_dist.logits)  # log p is linear in one-hot codes and in bits


def test_without_a_temperature_there_is_no_draw_with_a_gradient():
    assert not bits().has_rsample
    with pytest.raises(NotImplementedError, match="without a temperature"):
        bits().rsample()


# -- posteriors


def connected(posterior, prior):
    pv.VAE(prior, likelihoods.Bernoulli(5), posterior)
    return posterior


PARTS = {
    "bits": lambda **how: connected(posteriors.Bernoulli(**how), priors.Bernoulli(4)),
    "classes": lambda **how: connected(posteriors.Categorical(**how), priors.Categorical(2, classes=3)),
}


@pytest.mark.parametrize("name", PARTS)
def test_soft_draws_are_codes_in_evaluation_and_lie_between_them_in_training(name):
    posterior, x = PARTS[name](gradient="soft"), torch.zeros(6, 5)
    assert not posterior(x).support.check(posterior(x).rsample()).any()
    posterior.eval()
    assert posterior(x).support.check(posterior(x).rsample()).all()
    assert posterior(x).has_rsample


@pytest.mark.parametrize("name", PARTS)
def test_what_a_posterior_tells_programs(name):
    drawn, summed = PARTS[name](), PARTS[name](enumerate=True)
    assert (drawn.infer, drawn.values_at_once) == ({}, 1)
    assert summed.infer == {"enumerate": "parallel"}
    assert summed.values_at_once == {"bits": 16, "classes": 9}[name]
    assert not drawn(torch.zeros(1, 5)).has_rsample
    assert PARTS[name](gradient="straight_through")(torch.zeros(1, 5)).has_rsample


def test_priors_start_where_they_are_told_to():
    torch.testing.assert_close(priors.Bernoulli(3, probs=0.2)().mean, torch.full((3,), 0.2))
    torch.testing.assert_close(priors.Categorical(2, classes=4)().mean, torch.full((2, 4), 0.25))
    assert [p.requires_grad for p in priors.Bernoulli(3).parameters()] == [True]
    assert not list(priors.Bernoulli(3, learned=False).parameters())
    assert not list(priors.Categorical(3, 2, learned=False).parameters())

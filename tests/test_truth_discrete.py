"""Discrete codes, in one layer or in two, against sums over all codes."""

import itertools

import pyro
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO, TraceEnum_ELBO, TraceGraph_ELBO
from torch.nn import functional

import pyro_vae as pv
from pyro_vae import evaluation, likelihoods, networks, objectives, posteriors, priors
from tests.family import bits, hierarchical, randomised
from tests.statistics import assert_mean

DATA = 5


def one_layer(prior, posterior, **others):
    vae = pv.VAE(prior, likelihoods.Bernoulli(DATA), posterior, networks.MLP([4], "tanh"), **others)
    return randomised(vae.double(), 0.5)


def two_layers(**how):
    layers = bits(3, above=True, **how), bits(2, **how)
    vae = hierarchical(*layers, likelihood=likelihoods.Bernoulli(DATA), width=4)
    return randomised(vae.double(), 0.5)


VARIANTS = {
    "bits": lambda **how: one_layer(priors.Bernoulli(3), posteriors.Bernoulli(**how)),
    "fixed_bits": lambda **how: one_layer(priors.Bernoulli(2, probs=0.2, learned=False), posteriors.Bernoulli(**how)),
    "classes": lambda **how: one_layer(priors.Categorical(2, classes=3), posteriors.Categorical(**how)),
    "one_class": lambda **how: one_layer(priors.Categorical(1, classes=4), posteriors.Categorical(**how)),
    "two_layers": two_layers,
}
BY_NAME = pytest.mark.parametrize("name", VARIANTS)


def data(n=4):
    return torch.bernoulli(torch.full((n, DATA), 0.4, dtype=torch.double))


# -- by hand


def codes_of(shape):
    elements = torch.eye(shape[1]) if len(shape) > 1 else torch.tensor([0.0, 1.0])
    return torch.stack([torch.stack(code) for code in itertools.product(elements, repeat=shape[0])]).double()


def tables(variant, x):
    """log p(x, z) and log q(z | x) of every code of one or two layers, (C, B), straight from the networks."""
    model, guide = variant.model, variant.guide
    layers = list(getattr(model, "priors", [])) or [model.prior]
    guides = list(getattr(guide, "posteriors", [])) or [guide.posterior]
    choices = itertools.product(*(codes_of(prior.shape) for prior in layers))
    codes = [torch.stack(z)[:, None] for z in zip(*choices, strict=True)]  # (C, 1, *event) of each layer
    mass = [_one_hot_mass if prior.shape[1:] else _bits_mass for prior in layers]
    log_p = _bits_mass(model.likelihood.network(codes[0])[..., 0, :], x)
    log_q = mass[0](guides[0].network(x), codes[0])
    for layer, prior in enumerate(layers):
        logits = prior.logits if layer == len(layers) - 1 else prior.network(codes[layer + 1])
        log_p = log_p + mass[layer](logits, codes[layer])
        if layer:
            log_q = log_q + mass[layer](guides[layer].network(codes[layer - 1]), codes[layer])
    return log_p, log_q


def _bits_mass(logits, z):
    return (z * functional.logsigmoid(logits) + (1 - z) * functional.logsigmoid(-logits)).sum(-1)


def _one_hot_mass(logits, z):
    return (z * logits.log_softmax(-1)).sum((-1, -2))


def elbo_by_hand(variant, x):
    log_p, log_q = tables(variant, x)
    return (log_q.exp() * (log_p - log_q)).sum(0)


def gradients(variant, loss):
    variant.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in variant.named_parameters()}


def of_objective(variant, objective, x):
    variant.zero_grad()
    loss = objective.loss_and_grads(variant.model, variant.guide, x)
    return loss, {name: p.grad.clone() for name, p in variant.named_parameters()}


# -- summed over


@BY_NAME
@pytest.mark.parametrize("objective", [objectives.ELBO(), TraceEnum_ELBO(max_plate_nesting=1)])
def test_an_enumerated_elbo_and_its_gradient_are_the_sum_over_codes(name, objective, own_store):
    variant, x = VARIANTS[name](enumerate=True), data()
    expected = -elbo_by_hand(variant, x).sum()
    loss, found = of_objective(variant, objective, x)
    assert loss == pytest.approx(expected.item(), rel=1e-10)
    for parameter, gradient in gradients(variant, expected).items():
        torch.testing.assert_close(found[parameter], gradient, msg=parameter)


@BY_NAME
def test_estimators_of_an_enumerated_code_are_exact(name):
    variant, x = VARIANTS[name](enumerate=True), data()
    log_p, _ = tables(variant, x)
    estimate = evaluation.log_likelihood(variant, x, num_samples=3)
    torch.testing.assert_close(torch.as_tensor(estimate), log_p.logsumexp(0).detach())
    assert estimate.standard_error.max() < 1e-6
    terms = evaluation.elbo(variant, x)
    torch.testing.assert_close(terms.elbo, elbo_by_hand(variant, x).detach())
    assert (terms.elbo < log_p.logsumexp(0)).all()


@BY_NAME
def test_draws_from_the_prior_estimate_the_sum_over_codes(name):
    variant, x = VARIANTS[name](enumerate=True), data()
    log_p, _ = tables(variant, x)
    found = evaluation.log_likelihood(variant, x, method="prior", num_samples=40_000, progress=False)
    z = (torch.as_tensor(found) - log_p.logsumexp(0).detach()) / found.standard_error
    assert z.abs().max() < 4.5


@BY_NAME
def test_few_data_at_a_time_give_what_all_at_once_do(name):
    variant, x = VARIANTS[name](enumerate=True), data(7)
    values = {"bits": 8, "fixed_bits": 4, "classes": 9, "one_class": 4, "two_layers": 32}
    assert variant.values_at_once() == values[name]
    whole, parts = evaluation.elbo(variant, x), evaluation.elbo(variant, x, batch_size=1)
    torch.testing.assert_close(whole.elbo, parts.elbo)
    torch.testing.assert_close(whole.elbo.mean(), elbo_by_hand(variant, x).mean().detach())


def test_kl_of_each_bit_and_of_the_last_layer():
    variant, x = VARIANTS["bits"](), data()
    q = torch.sigmoid(variant.guide.posterior.network(x))
    p = torch.sigmoid(variant.model.prior.logits)
    expected = (q * (q / p).log() + (1 - q) * ((1 - q) / (1 - p)).log()).mean(0)
    torch.testing.assert_close(evaluation.kl_per_dimension(variant, x), expected.detach())
    layers = VARIANTS["two_layers"](enumerate=True)
    assert evaluation.kl_per_dimension(layers, x) is None, "p(z1 | z2) depends on what the guide draws later"
    codes = codes_of((3,))
    log_q1 = _bits_mass(layers.guide.posteriors[0].network(x), codes[:, None])
    q = torch.sigmoid(layers.guide.posteriors[1].network(codes))
    p = torch.sigmoid(layers.model.priors[1].logits)
    kl = q * (q / p).log() + (1 - q) * ((1 - q) / (1 - p)).log()
    expected = (log_q1.exp()[..., None] * kl[:, None]).sum(0).mean(0)
    torch.testing.assert_close(evaluation.kl_per_dimension(layers, x, site="z2"), expected.detach())


# -- drawn


@BY_NAME
@pytest.mark.parametrize("gradient", [None, "straight_through"])
def test_draws_estimate_the_same_bound_and_the_same_likelihood(name, gradient):
    variant, x = VARIANTS[name](gradient=gradient), data()
    log_p, _ = tables(variant, x)
    draws = torch.stack([evaluation.elbo(variant, x, num_samples=20).elbo for _ in range(50)])
    assert_mean(draws, elbo_by_hand(variant, x))
    estimate = evaluation.log_likelihood(variant, x, num_samples=5000)
    z = (torch.as_tensor(estimate) - log_p.logsumexp(0)) / estimate.standard_error
    assert z.abs().max() < 4, z


@BY_NAME
@pytest.mark.parametrize("objective", [objectives.ELBO(num_particles=50), Trace_ELBO(50, vectorize_particles=True)])
def test_objectives_at_straight_through_draws_are_estimates_of_the_bound(name, objective, own_store):
    variant, x = VARIANTS[name](gradient="straight_through"), data()
    losses = torch.tensor([objective.loss(variant.model, variant.guide, x) for _ in range(40)])
    assert_mean(losses, -elbo_by_hand(variant, x).sum())


@pytest.mark.parametrize("name", ["bits", "classes"])
def test_the_gradient_of_a_straight_through_step_is_that_of_the_relaxed_draw(name, own_store):
    """The decoder's slope at the code times the slope of the relaxed draw, and the exact KL."""
    variant, x = VARIANTS[name](gradient="straight_through", temperature=0.7), data()
    posterior, prior, likelihood = variant.guide.posterior, variant.model.prior, variant.likelihood
    torch.manual_seed(5)
    _, found = of_objective(variant, objectives.ELBO(), x)
    torch.manual_seed(5)
    q = posterior(x)
    code = q.rsample()
    z = code.detach().requires_grad_()
    reconstruction = _bits_mass(likelihood.network(z)[..., 0, :], x).sum()
    (slope,) = torch.autograd.grad(reconstruction, z, retain_graph=True)
    log_q, log_p = (
        functional.logsigmoid(torch.stack([-part, part])) if name == "bits" else part.log_softmax(-1).movedim(-1, 0)
        for part in (posterior.network(x), prior.logits)
    )
    kl = (log_q.exp() * (log_q - log_p.unsqueeze(1))).sum()
    expected = gradients(variant, kl - reconstruction - (slope * code).sum())
    for parameter, gradient in expected.items():
        torch.testing.assert_close(found[parameter], gradient, msg=parameter)


def test_a_smooth_decoder_has_little_bias_through_soft_draws_at_a_low_temperature(own_store):
    """As the temperature falls the bound on relaxed codes goes to the one on codes."""
    x, gaps = data(), []
    torch.manual_seed(1)
    variant = VARIANTS["bits"](gradient="soft")
    exact = elbo_by_hand(variant, x).sum().item()
    for temperature in (2.0, 0.01):
        variant.guide.posterior.temperature = temperature
        objective = objectives.ELBO(num_particles=4000)
        variant.train()
        gaps.append(abs(-objective.loss(variant.model, variant.guide, x) - exact))
    assert gaps[1] < 0.1 < gaps[0], gaps
    variant.eval()  # codes at any temperature
    variant.guide.posterior.temperature = 2.0
    losses = torch.tensor([objectives.ELBO(50).loss(variant.model, variant.guide, x) for _ in range(40)])
    assert_mean(losses, -exact)


@pytest.mark.parametrize("name", ["bits", "two_layers"])
def test_pyros_score_function_trains_a_code_without_a_gradient(name, own_store):
    torch.manual_seed(0)
    x = data(2).repeat(16, 1)
    variant = VARIANTS[name]()
    before = elbo_by_hand(variant, x).mean().item()
    optim = pyro.optim.Adam({"lr": 0.1})
    loss = TraceGraph_ELBO(num_particles=5, vectorize_particles=True, max_plate_nesting=1)
    svi = SVI(variant.model, variant.guide, optim, loss)
    for _ in range(80):
        svi.step(x)
    after = elbo_by_hand(variant, x).mean().item()
    assert after > before + 1
    assert after > -1.5, "two data are log 2 nats each to those who know them"


@pytest.mark.parametrize("how", [{"enumerate": True}, {"gradient": "straight_through"}, {"gradient": "soft"}])
def test_every_gradient_trains_a_code_that_tells_data_apart(how):
    torch.manual_seed(0)
    x = data(3).repeat(20, 1).float()
    vae = pv.VAE(
        priors.Bernoulli(3),
        likelihoods.Bernoulli(DATA),
        posteriors.Bernoulli(**how),
        beta=objectives.Linear(0, 1, epochs=40),
    )
    pv.fit(vae, x, epochs=80, batch_size=60, lr=3e-2)
    frequencies = x.mean(0).clamp(1e-6, 1 - 1e-6)
    without_a_code = (frequencies * frequencies.log() + (1 - frequencies) * (1 - frequencies).log()).sum().item()
    found = elbo_by_hand(vae.double(), x.double()).mean().item()
    assert -1.7 < found < -1.09861, "three data that are equally frequent are log 3 nats each"
    assert without_a_code < -1.9


# -- what is decoded


@pytest.mark.parametrize("name", ["bits", "classes", "two_layers"])
def test_reconstructions_and_generated_data_are_of_codes(name):
    variant, x = VARIANTS[name](gradient="soft"), data()
    seen = []
    hook = variant.likelihood.register_forward_pre_hook(lambda part, inputs: seen.append(inputs[0]))
    variant.reconstruct(x)
    variant.reconstruct(x, mean=False)
    variant.generate(9)
    hook.remove()
    assert [len(z) for z in seen] == [4, 4, 9]
    assert all(((z == 0) | (z == 1)).all() for z in seen)
    q = variant.encode(x)
    assert torch.equal(seen[0], q.mode)

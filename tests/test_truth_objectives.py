"""KL divergences, particles, schedules and free bits against what they should be."""

import copy
import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO

import pyro_vae as pv
from pyro_vae import evaluation, objectives, priors
from pyro_vae.objectives.kl import kl_exact, kl_per_dimension
from tests.family import POSTERIORS, PRIORS, D, data_for, randomised, vae
from tests.statistics import assert_mean

CLOSED_FORM = {
    ("standard_normal", "normal"),
    ("normal", "normal"),
    ("fixed_laplace", "normal"),
    ("standard_normal", "full_covariance"),
    ("normal", "full_covariance"),
    ("fixed_multivariate_normal", "normal"),
    ("fixed_multivariate_normal", "full_covariance"),
}


def site_pair(variant, x):
    """q(z | x) and p(z) as they stand in traces, expanded to the batch."""
    guide_trace = poutine.trace(variant.guide).get_trace(x)
    model_trace = poutine.trace(poutine.replay(variant.model, trace=guide_trace)).get_trace(x)
    return guide_trace.nodes["z"]["fn"], model_trace.nodes["z"]["fn"]


# -- KL


@pytest.mark.parametrize("posterior", POSTERIORS)
@pytest.mark.parametrize("prior", PRIORS)
def test_the_kl_is_the_mean_of_log_q_minus_log_p(prior, posterior, own_store):
    variant = randomised(vae(prior, posterior)).double()
    x = data_for(variant, 3).double()
    with torch.no_grad():
        q, p = site_pair(variant, x)
        z = q.sample((3000,))
        monte_carlo = q.log_prob(z) - p.log_prob(z)
        exact = kl_exact(q, p)
    assert (exact is not None) == ((prior, posterior) in CLOSED_FORM)
    if exact is not None:
        assert_mean(monte_carlo, exact)
    else:  # the objective's estimate is another Monte Carlo average
        reported = torch.stack([evaluation.elbo(variant, x).kl for _ in range(200)])
        error = (monte_carlo.var(0) / 3000).sqrt()
        difference = (reported.mean(0) - monte_carlo.mean(0)) / (reported.var(0) / 200 + error**2).sqrt()
        assert difference.abs().max() < 4.5


@pytest.mark.parametrize("prior", ["standard_normal", "normal", "fixed_laplace"])
def test_the_kl_per_dimension_sums_to_the_kl(prior, own_store):
    variant = randomised(vae(prior))
    x = data_for(variant, 7)
    with torch.no_grad():
        q, p = site_pair(variant, x)
        torch.testing.assert_close(kl_per_dimension(q, p).sum(-1), kl_exact(q, p))
    averages = evaluation.kl_per_dimension(variant, x, batch_size=3)
    assert averages.shape == (D,)
    torch.testing.assert_close(averages.sum(), evaluation.elbo(variant, x).kl.mean())


@pytest.mark.parametrize(("prior", "posterior"), [("mixture", "normal"), ("standard_normal", "full_covariance")])
def test_there_is_no_kl_per_dimension_where_dimensions_mix(prior, posterior):
    variant = vae(prior, posterior)
    assert evaluation.kl_per_dimension(variant, data_for(variant, 3)) is None


def test_the_kl_of_a_full_covariance_from_a_factorised_normal_is_torchs():
    tril = torch.tensor([[[1.0, 0.0], [0.5, 2.0]], [[0.3, 0.0], [-1.0, 0.7]]])
    q = dist.MultivariateNormal(torch.randn(2, 2), scale_tril=tril)
    p = dist.Normal(torch.tensor([0.5, -1.0]), torch.tensor([0.7, 1.6])).to_event(1)
    as_matrix = torch.distributions.MultivariateNormal(p.mean, torch.diag(p.variance))
    as_plain = torch.distributions.MultivariateNormal(q.loc, scale_tril=tril)
    torch.testing.assert_close(kl_exact(q, p), torch.distributions.kl_divergence(as_plain, as_matrix))
    assert kl_exact(q, dist.Laplace(torch.zeros(2), torch.ones(2)).to_event(1)) is None


# -- beta, particles


def seeded_loss(objective, variant, x):
    torch.manual_seed(5)
    return objective.loss(variant.model, variant.guide, x)


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0, 4.0])
def test_the_loss_is_minus_reconstruction_plus_beta_kl(beta, own_store):
    variant = randomised(vae("normal", beta=beta)).double()
    x = data_for(variant, 6).double()
    own = objectives.ELBO()
    loss = seeded_loss(own, variant, x)
    expected = -(own.terms.reconstruction - beta * own.terms.kl).item()
    assert loss == pytest.approx(expected, rel=1e-12)
    assert seeded_loss(TraceMeanField_ELBO(), variant, x) == pytest.approx(expected, rel=1e-12)
    assert own.terms.kl.item() == pytest.approx(evaluation.elbo(variant, x).kl.sum().item(), rel=1e-12)
    draws = [Trace_ELBO().loss(variant.model, variant.guide, x) for _ in range(300)]
    ours = [own.loss(variant.model, variant.guide, x) for _ in range(300)]
    assert_mean(torch.tensor(draws) - torch.tensor(ours), 0.0)


@pytest.mark.parametrize("name", ["standard_normal", "mixture", "vamp", "maf"])
def test_trace_elbo_weighs_the_kl_without_closed_form_too(name, own_store):
    variant = randomised(vae(name, beta=3.0)).double()
    x = data_for(variant, 6).double()
    differences = []
    for _ in range(150):
        own = objectives.ELBO()
        loss = own.loss(variant.model, variant.guide, x)
        assert loss == pytest.approx(-(own.terms.reconstruction - 3.0 * own.terms.kl).item(), rel=1e-9)
        differences.append(loss - Trace_ELBO().loss(variant.model, variant.guide, x))
    assert_mean(torch.tensor(differences), 0.0)


@pytest.mark.parametrize("options", [{}, {"free_bits": 0.05}, {"free_bits": 0.05, "groups": 1}])
def test_particles_are_averaged_not_summed(options, own_store):
    variant = randomised(vae(), 0.1).double()
    x = data_for(variant, 6).double()
    single, many = objectives.ELBO(**options), objectives.ELBO(num_particles=50, **options)
    ones = torch.tensor([single.loss(variant.model, variant.guide, x) for _ in range(400)])
    fifties = torch.tensor([many.loss(variant.model, variant.guide, x) for _ in range(100)])
    assert_mean(fifties, ones.mean(), limit=8)
    assert ones.std() / fifties.std() == pytest.approx(50**0.5, rel=0.25)
    assert many.terms.kl.item() == pytest.approx(single.terms.kl.item(), rel=1e-9)
    assert many.terms.reconstruction.item() == pytest.approx(ones.mean().neg().item(), rel=0.05)


# -- free bits


def with_kl_per_dimension(*kls):
    """A VAE whose KL is the given number for every datum, dimension by dimension: N(sqrt(2 kl), 1) from N(0, 1)."""
    size = len(kls)
    variant = vae(priors.StandardNormal(size)).double()
    last = variant.guide.posterior.network.rest[-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.zero_()
        last.bias[:size] = torch.tensor(kls).mul(2).sqrt()
        last.bias[size:] = math.log(math.expm1(1 - 1e-6)) - math.log(math.e - 1)
    return variant


@pytest.mark.parametrize(
    ("groups", "charged"),
    [
        (None, 0.5 + 0.5 + 0.7 + 2.0),  # each dimension at least 0.5
        (2, 0.5 + 2.7),  # (0.1 + 0.3), (0.7 + 2.0)
        (1, 3.1),
        (4, 0.5 + 0.5 + 0.7 + 2.0),
    ],
)
def test_free_bits_charge_the_larger_of_floor_and_kl(groups, charged, own_store):
    variant = with_kl_per_dimension(0.1, 0.3, 0.7, 2.0)
    x = data_for(variant, 5).double()
    objective = objectives.ELBO(free_bits=0.5, groups=groups)
    loss = seeded_loss(objective, variant, x)
    assert objective.terms.kl.item() == pytest.approx(5 * 3.1, rel=1e-6)
    assert loss == pytest.approx(-objective.terms.reconstruction.item() + 5 * charged, rel=1e-6)


def test_free_bits_average_the_kl_over_the_batch_before_the_floor(own_store):
    variant = randomised(vae()).double()
    x = data_for(variant, 64).double()
    with torch.no_grad():
        each = kl_per_dimension(*site_pair(variant, x))
    floor = each.mean(0).min().item() * 0.999  # below every mean, above the KL of some data
    assert (each < floor).any()
    objective = objectives.ELBO(free_bits=floor)
    assert seeded_loss(objective, variant, x) == pytest.approx(seeded_loss(objectives.ELBO(), variant, x), rel=1e-9)


def gradients(objective, variant, x, beta=None):
    twin = copy.deepcopy(variant)
    if beta is not None:
        for program in (twin.model, twin.guide):
            program.weights = {"z": beta}
    torch.manual_seed(5)
    objective.loss_and_grads(twin.model, twin.guide, x)
    return {name: p.grad for name, p in twin.named_parameters()}


@pytest.mark.parametrize("groups", [None, 1])
def test_below_the_floor_the_kl_has_no_gradient(groups, own_store):
    variant = randomised(vae()).double()
    x = data_for(variant, 8).double()
    with_floor = gradients(objectives.ELBO(free_bits=1e3, groups=groups), variant, x)
    reconstruction_only = gradients(objectives.ELBO(), variant, x, beta=0.0)
    plain = gradients(objectives.ELBO(), variant, x)
    for name in plain:
        torch.testing.assert_close(with_floor[name], reconstruction_only[name], rtol=1e-12, atol=1e-12)
    assert any(not torch.allclose(with_floor[name], plain[name]) for name in plain)


def test_above_the_floor_free_bits_change_nothing(own_store):
    variant = with_kl_per_dimension(0.7, 2.0)
    x = data_for(variant, 8).double()
    plain, free = (gradients(o, variant, x) for o in (objectives.ELBO(), objectives.ELBO(free_bits=0.5)))
    for name in plain:
        torch.testing.assert_close(free[name], plain[name], rtol=1e-12, atol=1e-12)


def test_beta_multiplies_the_floor_too(own_store):
    variant = with_kl_per_dimension(0.1, 0.1)
    variant.beta = objectives.Constant(3.0)
    variant.anneal(0)
    x = data_for(variant, 4).double()
    objective = objectives.ELBO(free_bits=0.5)
    loss = seeded_loss(objective, variant, x)
    assert loss == pytest.approx(-objective.terms.reconstruction.item() + 4 * 3.0 * 1.0, rel=1e-6)


@pytest.mark.parametrize("prior", ["vamp", "mixture", "maf"])
def test_free_bits_by_dimension_need_a_kl_by_dimension(prior, own_store):
    variant = vae(prior, objective=objectives.ELBO(free_bits=0.5))
    with pytest.raises(pv.ConfigurationError, match=r"free_bits.*'z'.*groups=1"):
        pv.fit(variant, data_for(variant), epochs=1)


# -- schedules


def test_schedules_at_their_documented_points():
    linear = objectives.Linear(0.2, 1.2, epochs=4)
    assert [linear(t) for t in (0, 1, 2, 4, 9)] == pytest.approx([0.2, 0.45, 0.7, 1.2, 1.2])
    sigmoid = objectives.Sigmoid(0.0, 2.0, epochs=10)
    assert [sigmoid(t) for t in (0, 5, 10, 50)] == pytest.approx([0.0, 1.0, 2.0, 2.0])
    low = 1 / (1 + math.exp(6))
    assert sigmoid(2.5) == pytest.approx(2 * (1 / (1 + math.exp(3)) - low) / (1 - 2 * low))
    cyclical = objectives.Cyclical(0.0, 1.0, period=10, rise=0.5, cycles=2)
    points = {0: 0.0, 2.5: 0.5, 5: 1.0, 9.9: 1.0, 10: 0.0, 12.5: 0.5, 17: 1.0, 20: 1.0, 22.5: 1.0}
    assert [cyclical(t) for t in points] == pytest.approx(list(points.values()))
    cosine = objectives.Cosine(1.0, 0.2, epochs=6, hold=3)
    quarter = 0.2 + 0.8 * (1 + math.cos(math.pi / 4)) / 2
    points = {0: 1.0, 3: 1.0, 4.5: quarter, 6: 0.6, 9: 0.2, 30: 0.2}
    assert [cosine(t) for t in points] == pytest.approx(list(points.values()))
    assert objectives.Constant(0.3)(7) == 0.3
    for schedule, end in [(linear, 1.2), (sigmoid, 2.0), (cyclical, 1.0), (cosine, 0.2)]:
        assert schedule.final() == pytest.approx(end)


def test_annealing_moves_the_weight_of_both_programs():
    variant = vae(beta=objectives.Linear(0.0, 1.0, epochs=4))
    assert variant.model.weights == variant.guide.weights == {"z": 1.0}
    assert variant.anneal(1) == 0.25
    assert variant.model.weights == variant.guide.weights == {"z": 0.25}


def test_a_weight_leaves_the_data_and_the_values_alone(own_store):
    variant = vae(beta=7.0)
    trace = poutine.trace(variant.model).get_trace(data_for(variant, 3))
    assert trace.nodes["z"]["scale"] == 7.0
    assert trace.nodes["x"]["scale"] == 1.0
    assert pyro.poutine.trace(variant.guide).get_trace(data_for(variant, 3)).nodes["z"]["scale"] == 7.0

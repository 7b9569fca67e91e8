"""Approximation and amortisation gaps against the KL divergences that they are in a linear-Gaussian model."""

import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal, kl_divergence

import pyro_vae as pv
from pyro_vae import evaluation, likelihoods, networks, objectives, posteriors, priors
from pyro_vae.evaluation.local import local_families, proposing
from pyro_vae.evaluation.of_each_datum import LocalFamily, LocalOffset
from pyro_vae.randomness import seeded
from tests import family, test_truth_hierarchical
from tests.ppca import PPCA, SIGMA, SIZE, covariance_of

QUICK = {"num_particles": 8, "num_samples": 4000, "steps": 500}


def correlated():
    """A linear-Gaussian VAE whose posterior is correlated, with a diagonal guide that is wrong."""
    ppca = PPCA("diagonal")
    ppca.w = torch.tensor([[1.0, 1.0], [1.0, 0.8], [0.5, 0.9], [-0.6, -0.4]], dtype=torch.float64)
    ppca.m = ppca.w.T @ ppca.w + SIGMA**2 * torch.eye(SIZE)
    ppca.gain = torch.linalg.solve(ppca.m, ppca.w.T)
    ppca.covariance = SIGMA**2 * torch.linalg.inv(ppca.m)
    with torch.no_grad():
        ppca.vae.likelihood.network.first.weights[0].copy_(ppca.w)
    ppca.set_guide(0.9 * ppca.gain, 0.05 - ppca.gain @ ppca.mu, 0.5 * torch.eye(SIZE))
    return ppca


def kl_to_posterior(ppca, x):
    """KL(q(z | x) || p(z | x)) of the guide, (N,)."""
    q = ppca.vae.encode(x)
    exact = MultivariateNormal((x - ppca.mu) @ ppca.gain.T, ppca.covariance)
    return kl_divergence(MultivariateNormal(q.mean, covariance_of(q)), exact)


def assert_close(found, name, expected, extra=0.003):
    """The gaps (N,) are what they should be, within Monte Carlo errors."""
    gap = torch.as_tensor(found.gaps[name].values)
    error = 4 * found.dataset["elbo_error"].max().item() + extra
    torch.testing.assert_close(gap, torch.as_tensor(expected).expand_as(gap).double(), rtol=0, atol=1.5 * error)
    torch.testing.assert_close(gap.mean(), torch.as_tensor(expected).mean().double(), rtol=0, atol=error / 2)


def test_the_exact_guide_has_no_gaps():
    ppca = PPCA()
    x = ppca.draw(6)
    found = evaluation.amortisation_gap(ppca.vae, x, families={}, log_likelihood="exact", **QUICK)
    np.testing.assert_allclose(found.dataset["log_likelihood"], ppca.log_likelihood(x))
    for name in ("total", "approximation", "amortisation"):
        assert_close(found, name, 0.0)


def test_a_wrong_guide_of_the_right_family_has_its_kl_as_amortisation_gap():
    ppca = PPCA()
    ppca.set_wrong_guide()
    x = ppca.draw(6)
    found = evaluation.amortisation_gap(ppca.vae, x, families={}, log_likelihood=ppca.log_likelihood(x), **QUICK)
    kl = kl_to_posterior(ppca, x)
    assert kl.mean() > 0.5
    assert_close(found, "total", kl)
    assert_close(found, "amortisation", kl)
    assert_close(found, "approximation", 0.0)


def test_a_diagonal_family_misses_what_the_best_diagonal_normal_misses():
    ppca = correlated()
    x = ppca.draw(5)
    # the best mean-field normal has the exact mean and the precisions' diagonal (Bishop 2006, section 10.1.2)
    precision = torch.linalg.inv(ppca.covariance)
    missed = 0.5 * (precision.diagonal().log().sum() - torch.logdet(precision))
    assert missed > 0.3
    kl = kl_to_posterior(ppca, x)
    full = posteriors.FullCovarianceNormal()
    found = evaluation.amortisation_gap(ppca.vae, x, families={"full": full}, **QUICK)
    assert_close(found, "total", kl)
    assert_close(found, "approximation", missed)
    assert_close(found, "amortisation", kl - missed)
    assert_close(found, "approximation, full", 0.0)
    assert found.families == ["full"]
    assert full.network is None  # the user's own part is still free
    # by draws from the best of these guides log p(x) is known well
    log_p = torch.as_tensor(found.dataset["log_likelihood"].values)
    torch.testing.assert_close(log_p, ppca.log_likelihood(x), rtol=0, atol=0.005)


@pytest.mark.slow
def test_a_flow_closes_the_gap_of_a_diagonal_family():
    ppca = correlated()
    x = ppca.draw(5)
    found = evaluation.amortisation_gap(
        ppca.vae, x, families={"flow": posteriors.Flow(2, [16], context=1)}, log_likelihood="exact"
    )
    assert_close(found, "approximation, flow", 0.0, extra=0.01)
    assert found.dataset["converged"].all()


def test_optimisation_starts_where_the_encoder_is_and_leaves_no_trace():
    ppca = correlated()
    x = ppca.draw(4)
    before, state = family.weights(ppca.vae), torch.get_rng_state()
    ppca.vae.train()
    found = evaluation.amortisation_gap(ppca.vae, x, families={}, steps=1, lr=1e-9, num_samples=20_000)
    assert_close(found, "amortisation", 0.0)
    assert not found.dataset["converged"].sel(guide="same")
    assert "not converged: same; take more steps" in repr(found)
    assert family.same_weights(before, family.weights(ppca.vae))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None for p in ppca.vae.parameters())
    assert ppca.vae.training
    assert not ppca.vae.guide._forward_hooks
    assert not ppca.vae.guide.posterior._forward_hooks


def gaps_of_a_hierarchy(second_gain):
    """Gaps of a linear-Gaussian hierarchy whose q(z1 | x) is wrong, as is q(z2 | z1) in all but perhaps its slope."""
    shrunk, widened = 0.8, 1.5
    torch.manual_seed(0)
    vae = test_truth_hierarchical.variant(shrunk=shrunk, widened=widened)
    with torch.no_grad():
        slope = vae.guide.posteriors[1].network.first.weights[0][: test_truth_hierarchical.TOP]
        slope *= second_gain / shrunk
    x = test_truth_hierarchical.data(6)
    return x, vae, evaluation.amortisation_gap(vae, x, log_likelihood="exact", **QUICK)


def test_offsets_find_the_exact_posterior_of_a_hierarchy_where_only_its_slope_is_right():
    x, vae, found = gaps_of_a_hierarchy(second_gain=1.0)
    with seeded(0):
        total = test_truth_hierarchical.MARGINAL.log_prob(x) - evaluation.elbo(vae, x, num_samples=20_000).elbo
    assert total.mean() > 0.3
    assert_close(found, "total", total)
    assert_close(found, "amortisation", total)
    assert_close(found, "approximation", 0.0)


def test_offsets_leave_what_a_wrong_slope_of_a_hierarchy_costs():
    _, _, found = gaps_of_a_hierarchy(second_gain=0.0)
    # E_q(z1) KL(q(z2 | z1) || p(z2 | z1)) is quadratic in z1: the best q(z1) is narrower by as much
    error = -test_truth_hierarchical.GAIN2
    more = error.T @ torch.linalg.inv(test_truth_hierarchical.EXACT2) @ error
    cov = test_truth_hierarchical.EXACT1
    missed = 0.5 * torch.logdet(torch.eye(len(cov), dtype=torch.float64) + cov @ more)
    assert missed > 0.2
    assert_close(found, "approximation", missed)


@pytest.mark.parametrize(
    "name",
    ["prior_vamp", "posterior_flow", "consistency_constrained", "m2", "conditional", "hierarchical", "m1m2"],
)
def test_the_encoders_own_outputs_propose_as_the_encoder_does(name):
    """Also where the model asks the encoder (a VampPrior), or the guide asks it twice (consistency)."""
    torch.manual_seed(0)
    variant = family.randomised(family.VARIANTS[name]())
    x, y = family.arguments_for(variant, 6)
    y = None if variant.labels == "some" else y
    x, y = variant.batch(x, y)
    families = local_families(variant, x, y)
    with seeded(3):
        plain = evaluation.elbo(variant, x, y, num_samples=7)
    with seeded(3), proposing(variant, families):
        proposed = evaluation.elbo(variant, x, y, num_samples=7)
    torch.testing.assert_close(proposed.elbo, plain.elbo)
    with torch.no_grad(), seeded(3), proposing(variant, families):
        for local in families.values():
            for group in local.groups(1.0):
                for tensor in group["params"]:
                    tensor += 1.0
        assert not torch.allclose(evaluation.elbo(variant, x, y, num_samples=7).elbo, plain.elbo)


def test_a_flow_of_each_datums_own_is_the_flow():
    """Drawn and scored with stacked weights as with the weights of one."""
    torch.manual_seed(0)
    flow = posteriors.Flow(2, [8], context=3)
    flow.connect(networks.MLP([]), (1,), shape=(2,))
    local = LocalFamily(flow, torch.randn(2, 1, 3, 7), weights=True)
    with torch.no_grad():
        for weight in local.weights.values():
            weight += 0.1 * torch.randn_like(weight)
    for grad in (False, True):
        with torch.set_grad_enabled(grad):
            q = local.distribution().expand([2, 5, 3])
            z = q()
            log_q = q.log_prob(z)
        assert z.shape == (2, 5, 3, 2)
        for row in range(2):
            for n in range(3):
                own = {name.removeprefix("family."): w[3 * row + n] for name, w in local.weights.items()}
                flow.load_state_dict({**flow.state_dict(), **own})
                exact = flow.distribution(local.parameters[row, 0, n]).log_prob(z[row, :, n])
                torch.testing.assert_close(log_q[row, :, n], exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["m1m2", "m2_properties"])
def test_parts_that_are_computed_from_a_draw_have_offsets_of_each_datums_own(name):
    variant = family.VARIANTS[name]()
    x, _ = family.arguments_for(variant, 5)
    x, y = variant.batch(x, None)
    offsets = {part for part, local in local_families(variant, x, y).items() if isinstance(local, LocalOffset)}
    guide = variant.guide
    assert offsets == {guide.posterior, guide.classifier} - ({guide.classifier} if name == "m2_properties" else set())


WITH_GAPS = [
    "m2",
    "conditional",
    "structured_output",
    "prediction_constrained",
    "hierarchical",
    "m1m2",
    "m2_properties",
]


@pytest.mark.parametrize("name", WITH_GAPS)
def test_variants_with_labels_and_several_latents(name):
    torch.manual_seed(0)
    variant = family.randomised(family.VARIANTS[name]())
    x, y = family.arguments_for(variant, 8)
    found = evaluation.amortisation_gap(variant, x, y, families={}, steps=60, num_particles=8, num_samples=2000)
    assert found.dataset.sizes["datum"] == 8
    gaps = found.gaps
    errors = found.dataset["elbo_error"].sum("guide") + found.dataset["log_likelihood_error"]
    assert (gaps["amortisation"] > 0.05).any()
    assert (gaps["amortisation"] > -5 * errors).all()
    assert (gaps["approximation"] > -5 * errors).all()
    np.testing.assert_allclose(gaps["total"], gaps["approximation"] + gaps["amortisation"])


def test_what_has_no_such_gaps():
    for name, message in {
        "hierarchical": "proposes codes by 2 parts; give families={}",
        "m2_properties": "is computed from a draw of another latent; give families={}",
        "discriminative": "has no codes",
    }.items():
        variant = family.VARIANTS[name]()
        x, y = family.arguments_for(variant, 8)
        with pytest.raises(pv.ConfigurationError, match=message):
            evaluation.amortisation_gap(variant, x, y, families={"flow": posteriors.Flow()}, num_samples=10)
    vae = family.vae()
    x = family.data_for(vae, 3)
    with pytest.raises(pv.DataError, match="have no density"):
        evaluation.amortisation_gap(pv.Autoencoder(2, likelihoods.Normal(3)), torch.zeros(3, 3))
    with pytest.raises(pv.ConfigurationError, match="'same' is the name"):
        evaluation.amortisation_gap(vae, x, families={"same": posteriors.Normal()})
    with pytest.raises(pv.ConfigurationError, match="must be a Posterior with a density"):
        evaluation.amortisation_gap(vae, x, families={"point": posteriors.Delta()})
    with pytest.raises(pv.ConfigurationError, match="already belongs to a variant"):
        evaluation.amortisation_gap(vae, x, families={"own": vae.guide.posterior})
    with pytest.raises(pv.DataError, match=r"one value for each of 3 data"):
        evaluation.amortisation_gap(vae, x, log_likelihood=torch.zeros(2))
    with pytest.raises(pv.ConfigurationError, match="method 'aiss'"):
        evaluation.amortisation_gap(vae, x, log_likelihood="aiss")
    with pytest.raises(pv.NonFiniteLossError, match="take a smaller one"):
        evaluation.amortisation_gap(vae, x, families={}, lr=1e30, num_samples=10)


def test_a_single_datum_has_no_error_over_data():
    vae = pv.VAE(priors.StandardNormal(1), likelihoods.Normal(2), encoder=networks.MLP([4]))
    table = evaluation.amortisation_gap(vae, torch.zeros(1, 2), families={}, steps=50, num_samples=50).table
    assert table.loc["gap: total"].notna().tolist() == [True, False]


def test_a_guide_whose_draws_let_no_gradient_through_is_refused_in_words_of_its_own():
    variant = family.vae(priors.Bernoulli(3), posteriors.Bernoulli(), objective=objectives.VIMCO(5))
    with pytest.raises(pv.ConfigurationError, match=r"optimised for each datum.*'z' let none through.*enumerate=True"):
        evaluation.amortisation_gap(variant, family.data_for(variant, 3), families={}, steps=3)

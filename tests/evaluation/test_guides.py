"""How good the guide is: k-hat and simulation-based calibration against exact posteriors and wrong ones."""

import numpy as np
import pytest
import torch

import pyro_vae as pv
from pyro_vae import data, evaluation, labels, likelihoods, networks, priors
from pyro_vae.evaluation.simulation import _ranks
from tests import family
from tests.ppca import PPCA, raw
from tests.statistics import assert_mean


def with_scale(factor, shift=0.0):
    """A linear-Gaussian VAE whose guide has the exact posterior's shape, scaled and moved."""
    ppca = PPCA()
    exact = torch.linalg.cholesky(ppca.covariance)
    ppca.set_guide(ppca.gain, shift - ppca.gain @ ppca.mu, factor * exact)
    return ppca


# -- k-hat


def test_the_exact_guide_is_good():
    ppca = PPCA()
    found = evaluation.pareto_k(ppca.vae, ppca.draw(10), num_samples=200)
    np.testing.assert_array_equal(found.dataset["pareto_k"], 0)  # all weights are p(x)
    np.testing.assert_allclose(found.dataset["importance_ess"], 200, rtol=1e-6)
    assert found.shares == {"good": 1, "ok": 0, "bad": 0}


@pytest.mark.parametrize(("factor", "kind"), [(0.95, "good"), (1.5, "good"), (0.35, "bad")])
def test_k_is_that_of_a_guide_that_is_too_narrow(factor, kind):
    # w = p / q for normals whose scales are 1 and s has moments of an order below 1 / (1 - s^2): k = 1 - s^2
    ppca = with_scale(factor)
    found = evaluation.pareto_k(ppca.vae, ppca.draw(40), num_samples=4000)
    assert found.shares[kind] > 0.9
    if factor < 1:
        assert found.dataset["pareto_k"].median().item() == pytest.approx(1 - factor**2, abs=0.15)
    else:
        assert found.dataset["pareto_k"].max() < 0  # bounded weights


def test_k_is_that_of_arviz():
    torch.manual_seed(0)
    variant = family.randomised(family.VARIANTS["m2"]())
    x, y = family.arguments_for(variant, 9)
    found = evaluation.pareto_k(variant, x, y, num_samples=60, chunk=240)
    assert np.isfinite(found.dataset["pareto_k"]).all()
    whole = evaluation.pareto_k(variant, x, y, num_samples=60, seed=0)
    statistics = pv.to_arviz(variant, x, y, num_samples=60, groups=["sample_stats"])["sample_stats"]
    np.testing.assert_allclose(whole.dataset["pareto_k"], statistics["pareto_k"])
    np.testing.assert_allclose(whole.dataset["importance_ess"], statistics["importance_ess"])


def test_shares_are_cut_at_a_half_and_at_seven_tenths():
    import xarray as xr

    k = np.array([-0.3, 0.49, 0.5, 0.7, 0.71, np.inf])
    found = evaluation.ParetoK(xr.Dataset({"pareto_k": ("datum", k), "importance_ess": ("datum", k)}), 100)
    assert found.shares == pytest.approx({"good": 2 / 6, "ok": 2 / 6, "bad": 2 / 6})
    assert "33.3%" in repr(found)


def test_k_wants_densities():
    with pytest.raises(pv.DataError, match="has no density"):
        evaluation.pareto_k(family.vae(likelihood="unnormalised_bernoulli"), torch.rand(3, *family.IMAGE))
    with pytest.raises(pv.ConfigurationError, match="has no codes"):
        evaluation.pareto_k(family.VARIANTS["discriminative"](), torch.zeros(3, *family.IMAGE), [0, 1, 2])


# -- simulation-based calibration


def test_ranks_of_the_exact_guide_are_uniform():
    ppca = PPCA()
    several = [
        evaluation.simulation_based_calibration(ppca.vae, num_data=300, num_samples=19, seed=s).dataset
        for s in range(100)
    ]
    p, slope, spread = (
        torch.as_tensor(np.stack([each[name].values for each in several])) for name in ("p_value", "slope", "spread")
    )
    assert_mean(p, torch.tensor([0.5, 0.5]))
    assert_mean((p < 0.1).double(), torch.tensor([0.1, 0.1]))
    for z in (slope, spread):  # standard errors
        assert_mean(z, torch.zeros(2))
        assert_mean(z**2, torch.ones(2))
    found = evaluation.simulation_based_calibration(ppca.vae)
    assert found.words() == ["calibrated"] * 2
    assert found.dataset["count"].shape == (2, 20)
    ranks = torch.as_tensor(found.dataset["rank"].values)
    assert ranks.min() >= 0
    assert ranks.max() <= 99
    assert_mean(ranks.double(), torch.tensor([49.5, 49.5]))


@pytest.mark.parametrize(
    ("factor", "shift", "words"), [(0.6, 0.0, "too narrow"), (1.6, 0.0, "too wide"), (1.0, 0.2, "too high")]
)
def test_ranks_of_a_wrong_guide_say_what_is_wrong(factor, shift, words):
    found = evaluation.simulation_based_calibration(with_scale(factor, shift).vae)
    assert found.words() == [words] * 2
    assert (found.dataset["p_value"] < 1e-6).all()
    assert words in repr(found)


def test_a_wrong_guide_is_not_calibrated():
    ppca = PPCA()
    ppca.set_wrong_guide()
    assert (evaluation.simulation_based_calibration(ppca.vae).dataset["p_value"] < 1e-3).all()


def test_the_test_of_ranks_is_scipys():
    from scipy.stats import chisquare

    found = evaluation.simulation_based_calibration(PPCA().vae, num_data=200, bins=10, seed=3)
    expected = chisquare(found.dataset["count"].values, axis=1)
    np.testing.assert_allclose(found.dataset["p_value"], expected.pvalue, rtol=1e-6)


def test_ranks_among_equal_draws_are_drawn():
    z = torch.zeros(20_000, 1)
    ranks = _ranks(z, torch.tensor([-1.0, 0.0, 0.0, 1.0])[:, None, None].expand(4, 20_000, 1)).flatten()
    assert ranks.unique().tolist() == [1, 2, 3]
    assert_mean((ranks == 2).double(), 1 / 3)


def linear(variant, given):
    """Give a variant of codes z, x and one more input ``given`` the exact posterior of x = z W + given V + noise."""
    likelihood, posterior = variant.likelihood, variant.guide.posterior
    decoder, encoder = likelihood.network.first, posterior.network.first
    w, v = torch.tensor([[1.0], [0.5]]), torch.randn(2, given)
    sigma = 0.7
    variance = 1 / (1 + (w**2).sum() / sigma**2)
    gain = variance * w.T / sigma**2  # z | x = N(gain (x - given V), variance)
    with torch.no_grad():
        for layer in (decoder, encoder):
            for weight in [*layer.weights, layer.bias]:
                weight.zero_()
        decoder.weights[0].copy_(w)
        decoder.weights[1].copy_(v)
        encoder.weights[0][:1] = gain
        encoder.weights[1][:1] = -gain @ v
        encoder.bias[1] = raw(variance.sqrt())
    return variant


def test_labels_are_given_or_drawn():
    torch.manual_seed(1)
    parts = {"encoder": networks.MLP([]), "decoder": networks.MLP([])}
    y = torch.arange(30) % 3
    conditional = pv.ConditionalVAE(
        labels.Categorical(3), priors.StandardNormal(1), likelihoods.Normal(2, scale=0.7), **parts
    )
    m2 = pv.SemiSupervisedVAE(
        labels.Categorical(3, probs=[0.6, 0.3, 0.1]),
        priors.StandardNormal(1),
        likelihoods.Normal(2, scale=0.7),
        **parts,
    )
    for variant, arguments in ((conditional, {"y": y}), (m2, {})):
        exact = evaluation.simulation_based_calibration(linear(variant, 3), **arguments)
        assert exact.words() == ["calibrated"]
        with torch.no_grad():  # now the guide does not know what the label says about x
            variant.guide.posterior.network.first.weights[1].zero_()
        assert evaluation.simulation_based_calibration(variant, **arguments).words() != ["calibrated"]
    with pytest.raises(pv.DataError, match="for given labels; give y"):
        evaluation.simulation_based_calibration(conditional)
    with pytest.raises(pv.DataError, match="draws its data and labels itself"):
        evaluation.simulation_based_calibration(m2, y=y)


def test_x_is_given_where_it_has_no_story():
    torch.manual_seed(1)
    variant = pv.StructuredOutputVAE(
        priors.ConditionalNormal(1),
        likelihoods.Normal(2, scale=0.7),
        3,
        encoder=networks.MLP([]),
        decoder=networks.MLP([]),
    )
    linear(variant, 3)
    with torch.no_grad():
        variant.model.prior.network.set_output(torch.zeros(2, 1))
        for weight in variant.model.prior.network.first.weights:
            weight.zero_()
    found = evaluation.simulation_based_calibration(variant, torch.randn(50, 3))
    assert found.words() == ["calibrated"]
    with pytest.raises(pv.DataError, match="explains y given x; give data x"):
        evaluation.simulation_based_calibration(variant)


CASES = [
    "posterior_flow",
    "prior_vamp",
    "likelihood_categorical",
    "m1",
    "m1m2",
    "m2_properties",
    "prediction_constrained",
]


@pytest.mark.parametrize("name", CASES)
def test_every_kind_of_variant_is_simulated_and_leaves_no_trace(name):
    torch.manual_seed(0)
    variant = family.randomised(family.VARIANTS[name]())
    if name == "m1":
        pv.fit(variant, data.Split(*family.arguments_for(variant)), epochs=1)
    state = torch.get_rng_state()
    first, again, chunked = (
        evaluation.simulation_based_calibration(variant, num_data=60, num_samples=9, bins=5, chunk=chunk)
        for chunk in (10_000, 10_000, 100)
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert first.dataset.equals(again.dataset)
    assert chunked.dataset["rank"].shape == (60, family.D)
    assert first.dataset["count"].sum("bin").values.tolist() == [60] * family.D


def test_what_cannot_be_simulated():
    with pytest.raises(pv.ConfigurationError, match=r"no p\(z\) to draw from"):
        evaluation.simulation_based_calibration(family.VARIANTS["autoencoder"]())
    with pytest.raises(pv.DataError, match="draws from it are not the model's data"):
        evaluation.simulation_based_calibration(family.vae(likelihood="unnormalised_bernoulli"))
    with pytest.raises(pv.ConfigurationError, match=r"bins=20 do not divide the 101 ranks.*num_samples=99"):
        evaluation.simulation_based_calibration(family.vae(), num_samples=100)
    with pytest.raises(pv.ConfigurationError, match="has no codes"):
        evaluation.simulation_based_calibration(family.VARIANTS["discriminative"]())

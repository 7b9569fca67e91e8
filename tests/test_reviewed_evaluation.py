"""Bugs of estimators, objectives and distributions that a review found, each with the test that would catch it."""

import copy
import math
import pickle

import arviz as az
import matplotlib.pyplot as plt
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from scipy import integrate

import pyro_vae as pv
from pyro_vae import data, evaluation, labels, likelihoods, networks, objectives, posteriors, priors
from pyro_vae.evaluation.likelihood.estimate import log_mean
from pyro_vae.likelihoods.binary import _ContinuousBernoulli
from pyro_vae.randomness import seeded
from tests import family
from tests.statistics import z_score


def test_draws_of_a_hierarchys_codes_are_independent():
    """A mixture over a few codes above would give the same few clusters again and again."""
    torch.manual_seed(0)
    layers = [priors.ConditionalNormal(2), priors.StandardNormal(2)]
    encoders = [networks.MLP([8]), networks.MLP([8])]
    variant = pv.HierarchicalVAE(layers, likelihoods.Normal(3), encoders=encoders)
    with torch.no_grad():
        for weight in variant.model.priors[0].network.parameters():
            weight.mul_(3.0)
    p_values = []
    for _ in range(20):
        first, second = (variant.draw_codes(200) for _ in range(2))
        p_values.append(evaluation.maximum_mean_discrepancy(first, second, permutations=99).p_value)
    assert sum(p <= 0.05 for p in p_values) <= 4  # by chance more than that in one of 400 tries
    assert math.isnan(evaluation.mutual_information(variant, torch.zeros(4, 3)).rate)


@pytest.mark.parametrize(
    ("latents", "message"),
    [
        ({"Z": torch.zeros(2, 3, 2)}, "wanted values of z, got Z"),
        ({}, "wanted values of z, got none"),
        ({"z": torch.zeros(2, 4, 2)}, r"z has shape \(2, 4, 2\), wanted \(2, 3, 2\)"),
    ],
)
def test_a_density_of_other_latents_is_refused(latents, message):
    joint = evaluation.LogJoint(pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(5)), torch.zeros(3, 5))
    with pytest.raises(pv.DataError, match=message):
        joint(latents)


def test_a_discrepancy_is_no_matter_of_the_origin():
    torch.manual_seed(0)
    first, second = torch.randn(100, 2).double(), torch.randn(100, 2).double() + 0.5
    here, there = (evaluation.maximum_mean_discrepancy(first + at, second + at, permutations=0) for at in (0, 2.0**14))
    assert there.mmd2 == pytest.approx(here.mmd2, rel=1e-9)
    with pytest.raises(pv.DataError, match="some are NaN"):
        evaluation.maximum_mean_discrepancy(first * math.nan, second)
    for bandwidths in ([], [0.0]):
        with pytest.raises(pv.DataError, match="bandwidths must be positive"):
            evaluation.maximum_mean_discrepancy(first, second, bandwidths=bandwidths)


def test_a_discrete_auxiliary_site_of_the_guide_has_no_reparametrised_gradient():
    logit = torch.zeros(3, requires_grad=True)

    def model():
        with pyro.plate("data", 3, dim=-1):
            pyro.sample("z", dist.Normal(0.0, 1.0))

    def guide():
        with pyro.plate("data", 3, dim=-1):
            c = pyro.sample("c", dist.Bernoulli(logits=logit), infer={"is_auxiliary": True})
            pyro.sample("z", dist.Normal(c, 1.0))

    with pytest.raises(pv.ConfigurationError, match="site 'c': Bernoulli cannot be reparametrised"):
        objectives.ELBO().loss(model, guide)


@pytest.mark.parametrize("groups", [None, 1])
def test_free_bits_are_those_of_enumerated_codes_too(groups, own_store):
    torch.manual_seed(0)
    parts = priors.Bernoulli(3), likelihoods.Bernoulli(5), posteriors.Bernoulli(enumerate=True)
    variant = pv.VAE(*parts, encoder=networks.MLP([8]))
    x = torch.bernoulli(torch.full((7, 5), 0.5))
    plain = objectives.ELBO()
    loss = plain.loss(variant.model, variant.guide, x)
    with_allowance = objectives.ELBO(free_bits=5.0, groups=groups).loss(variant.model, variant.guide, x)
    allowed = 5.0 * len(x) * (3 if groups is None else 1)
    assert plain.terms.kl < 5.0 * len(x)
    assert with_allowance == pytest.approx(loss - plain.terms.kl.item() + allowed, rel=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_a_decoder_that_mixes_data_is_found_whatever_was_drawn(seed):
    torch.manual_seed(seed)
    variant = pv.VAE(
        priors.Bernoulli(1),
        likelihoods.Bernoulli(5),
        posteriors.Bernoulli(),
        encoder=networks.MLP([8]),
        decoder=networks.MLP([8], norm="batch"),
        objective=objectives.ScoreFunction(),
    )
    x = torch.bernoulli(torch.full((16, 5), 0.5))
    with pyro.get_param_store().scope():
        variant.eval()
        variant.objective.loss(variant.model, variant.guide, x)  # in evaluation it mixes nothing
        variant.train()
        variant.objective.loss(variant.model, variant.guide, x[:1])  # and of one datum nothing can be seen
    with pytest.raises(pv.ConfigurationError, match="depends on what was drawn for another"):
        pv.fit(variant, x, epochs=1, seed=seed)


@pytest.mark.parametrize(
    "make",
    [
        lambda: pv.StructuredOutputVAE(priors.ConditionalNormal(2), likelihoods.Normal(3), 2).double(),
        lambda: pv.VAE(priors.StandardNormal(2), likelihoods.Categorical(4, levels=3)).double(),
        lambda: pv.VAE(priors.Fixed(dist.Laplace(torch.zeros(2, dtype=torch.double), 1.0)), likelihoods.Normal(3)),
    ],
)
def test_other_precisions_work(make):
    variant = make()
    assert not variant.discrete_code
    if isinstance(variant, pv.StructuredOutputVAE):
        return
    whole = isinstance(variant.likelihood, likelihoods.Categorical)
    x = torch.zeros(3, *variant.shape, dtype=torch.long if whole else torch.float)
    assert variant.encode(x).mean.shape == (3, 2)
    assert variant.generate(3).isfinite().all()


def test_active_units_want_two_draws():
    with pytest.raises(pv.ConfigurationError, match="at least 2"):
        evaluation.active_units(family.vae(posterior="flow"), torch.zeros(5, *family.IMAGE), num_samples=1)


def test_renyi_bounds_near_the_elbo_are_near_it(own_store):
    torch.manual_seed(0)
    vae = pv.VAE(priors.StandardNormal(2), likelihoods.Normal(5), encoder=networks.MLP([8]))
    x = 3 * torch.randn(10, 5)

    def bound(alpha):
        torch.manual_seed(1)
        return objectives.Renyi(alpha, 50).loss(vae.model, vae.guide, x)

    assert bound(1 - 1e-9) == pytest.approx(bound(1.0), rel=1e-5)
    assert bound(1 - 9.99e-4) == pytest.approx(bound(1 - 1.001e-3), rel=1e-3)


def test_standard_errors_of_few_draws_are_those_of_their_spread():
    # weights that hardly vary, so that the delta method is exact
    log_w = 0.01 * torch.randn(2, 50_000, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    values, errors = log_mean(log_w.logsumexp(0), (2 * log_w).logsumexp(0), 2)
    assert abs(z_score(errors**2, values.var().item())) < 4


def test_a_property_that_hardly_varies_varies():
    label = labels.Normal(1).double()
    label.initialise_from(torch.tensor([[1.6e9], [1.6e9 + 500], [1.6e9 + 1000]], dtype=torch.double))
    assert label.scale.item() == pytest.approx(500)


@pytest.mark.parametrize("logit", [-120.0, -25.0, -3.0, -0.05, 0.0, 0.05, 3.0, 25.0, 120.0])
def test_continuous_bernoulli_has_the_entropy_and_distribution_function_of_its_density(logit):
    def unnormalised(x):
        return math.exp(logit * x - max(logit, 0))

    def integral(function, upper=1.0):
        near = [p for p in (0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999) if p < upper]
        return integrate.quad(function, 0, upper, epsabs=1e-13, limit=500, points=near)[0]

    total = integral(unnormalised)
    entropy = math.log(total) - integral(lambda x: unnormalised(x) * (logit * x - max(logit, 0))) / total
    ours = _ContinuousBernoulli(logits=torch.tensor(logit))
    assert ours.entropy().item() == pytest.approx(entropy, abs=2e-5)
    for x in (0.02, 0.5, 0.95):
        assert ours.cdf(torch.tensor(x)).item() == pytest.approx(integral(unnormalised, x) / total, abs=2e-3 * 0.01)
    assert ours.icdf(torch.tensor([0.0, 1.0])).tolist() == [0.0, 1.0]


def test_a_kl_of_no_latent_is_refused():
    with pytest.raises(pv.ConfigurationError, match="site 'zz' is no latent"):
        evaluation.kl_per_dimension(family.vae(), torch.zeros(3, *family.IMAGE), site="zz")


def test_weights_of_numpy_are_numbers():
    vae = pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(5), beta=np.float32(2))
    assert vae.beta(0.0) == 2.0


# -- data that have their labels with them


class Pairs(torch.utils.data.Dataset):
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


@pytest.mark.parametrize("form", [data.Split, lambda x, y: (x, y), torch.utils.data.TensorDataset, Pairs])
def test_labels_that_come_with_data_are_used_whatever_the_form(form):
    torch.manual_seed(0)
    m2 = pv.M2(3, priors.StandardNormal(2), likelihoods.Normal(5))
    x, y = torch.randn(12, 5), torch.arange(12) % 3
    given = form(x, y)
    with seeded(0):
        apart = evaluation.elbo(m2, x, y)
    with seeded(0):
        together = evaluation.elbo(m2, given)
    assert torch.equal(apart.elbo, together.elbo)
    assert evaluation.accuracy(m2, given) == evaluation.accuracy(m2, x, y)
    with seeded(0):
        apart = evaluation.log_likelihood(m2, x, y, num_samples=20)
    with seeded(0):
        assert torch.equal(evaluation.log_likelihood(m2, given, num_samples=20), apart)
    assert torch.equal(m2.encode(given).mean, m2.encode(x, y).mean)
    conditional = pv.ConditionalVAE(labels.Categorical(3), priors.StandardNormal(2), likelihoods.Normal(5))
    assert evaluation.elbo(conditional, given).elbo.shape == (12,)
    plain = pv.VAE(priors.StandardNormal(2), likelihoods.Normal(5))
    assert evaluation.elbo(plain, given).elbo.shape == (12,)  # whose story has no labels


# -- smaller ones


def test_an_estimate_is_copied_and_pickled_with_its_errors():
    vae = pv.VAE(priors.StandardNormal(2), likelihoods.Normal(3))
    found = evaluation.log_likelihood(vae, torch.zeros(4, 3), num_samples=10)
    for other in (copy.deepcopy(found), pickle.loads(pickle.dumps(found)), copy.copy(found)):
        assert torch.equal(other, found)
        assert torch.equal(other.standard_error, found.standard_error)
        assert type(other) is type(found)


def test_one_label_for_all_simulated_data():
    m2 = pv.M2(3, priors.StandardNormal(1), likelihoods.Normal(2))
    method = evaluation.AIS(steps=4, leapfrog=2)
    bounds = evaluation.bidirectional(m2, 5, y=2, method=method, num_samples=2)
    assert bounds.y.tolist() == [2] * 5
    conditional = pv.ConditionalVAE(labels.Categorical(3), priors.StandardNormal(1), likelihoods.Normal(2))
    found = evaluation.simulation_based_calibration(conditional, y=1, num_data=20, num_samples=9, bins=5)
    assert found.dataset.sizes
    with pytest.raises(pv.DataError, match="y"):
        evaluation.simulation_based_calibration(conditional, y=7, num_data=20, num_samples=9, bins=5)


def test_numbers_that_the_weights_cannot_hold_are_refused():
    vae = pv.VAE(priors.StandardNormal(2), likelihoods.Normal(3))
    with pytest.raises(pv.DataError, match=r"too large for torch\.float32"):
        evaluation.elbo(vae, torch.full((2, 3), 1e300, dtype=torch.float64))


def test_a_given_log_likelihood_is_a_number_for_each_datum():
    vae = pv.VAE(priors.StandardNormal(2), likelihoods.Normal(3))
    with pytest.raises(pv.DataError, match="log_likelihood: 1 of 2 values are NaN"):
        evaluation.amortisation_gap(vae, torch.zeros(2, 3), log_likelihood=torch.tensor([0.0, math.nan]))


# -- memory, and what containers say of themselves


class _Largest:
    """A forward hook that remembers how many inputs a network was given at once."""

    def __init__(self):
        self.rows = 0

    def __call__(self, module, inputs, output):
        self.rows = max(self.rows, *(each.shape[:-1].numel() for each in inputs))


@pytest.mark.parametrize("missing", [False, True])
def test_classes_that_are_summed_over_count_as_draws_in_memory(missing):
    m2 = family.with_labels(pv.M2, likelihood=likelihoods.Normal(4))
    x, y = torch.randn(50, 4), torch.full((50,), -1) if missing else torch.arange(50) % family.CLASSES
    for evaluate in (
        lambda: evaluation.log_likelihood(m2, x, y, num_samples=40, chunk=60, progress=False),
        lambda: evaluation.elbo(m2, x, y, num_samples=20, batch_size=60),
    ):
        largest = _Largest()
        hook = m2.likelihood.network.register_forward_hook(largest)
        evaluate()
        hook.remove()
        assert 30 < largest.rows <= 60, "and the room is used"


def test_chains_keep_their_names_and_say_how_they_were_run():
    vae = family.vae(likelihood=likelihoods.Normal(4))
    chains = evaluation.posterior_mcmc(
        vae,
        torch.zeros(2, 4),
        num_samples=4,
        warmup_steps=3,
        num_chains=2,
        seed=5,
        progress=False,
        coords={"datum": ["a", "b"], "latent": ["left", "right"][: family.D]},
    )
    found = pv.to_arviz(vae, torch.zeros(2, 4), posterior=chains, prior_samples=2, chunk=77)
    for group in ("posterior", "sample_stats", "observed_data", "log_likelihood"):
        assert found[group]["datum"].values.tolist() == ["a", "b"], group
    assert found["posterior"]["latent"].values.tolist() == ["left", "right"]
    told = {name: found.attrs[name] for name in ("seed", "chunk", "mcmc_seed", "mcmc_warmup_steps", "mcmc_num_chains")}
    assert told == {"seed": 0, "chunk": 77, "mcmc_seed": 5, "mcmc_warmup_steps": 3, "mcmc_num_chains": 2}
    renamed = pv.to_arviz(vae, torch.zeros(2, 4), posterior=chains, prior_samples=2, coords={"datum": [7, 8]})
    assert renamed["posterior"]["datum"].values.tolist() == [7, 8]


@pytest.mark.filterwarnings("ignore")  # ArviZ's own, of matplotlib's newer names
@pytest.mark.parametrize("name", ["m2", "hierarchical", "conv", "discrete_enumerated_classes"])
def test_arvizs_functions_take_every_kind_of_variant(name):
    torch.manual_seed(0)
    variant = family.VARIANTS[name]()
    x, y = family.arguments_for(variant, 6)
    found = pv.to_arviz(variant, x, y, num_samples=40, prior_samples=3)
    latents = [str(each) for each in found["posterior"].data_vars]
    assert len(az.summary(found, var_names=latents)) >= 6
    of_codes, of_data = {"var_names": latents[:1]}, {"var_names": ["x"]}
    for plot, chosen in {"plot_trace": of_codes, "plot_ppc": of_data, "plot_ppc_dist": of_data}.items():
        if hasattr(az, plot):  # ArviZ 1 has one of the last two
            getattr(az, plot)(found, **chosen)
            plt.close("all")
    assert np.isfinite(found["log_likelihood"]["x"].values).all()


def test_a_one_hot_latent_above_the_code_counts_by_choices_not_by_classes():
    layers = [priors.ConditionalNormal(3), priors.Categorical(2, 4)]
    families = [posteriors.Normal(), posteriors.Categorical()]
    variant = pv.HierarchicalVAE(layers, likelihoods.Normal(5), posteriors=families)
    found = evaluation.active_units(variant, torch.randn(30, 5), site="z2")
    assert found.dataset["variance"].shape == (2,)
    assert evaluation.aggregate_posterior(variant, torch.randn(30, 5), site="z2").dataset["z"].shape == (30, 8)

"""What is said when discrete codes or layers of codes are put together wrongly."""

import pyro.distributions as dist
import pytest
import torch
from pyro import poutine

import pyro_vae as pv
from pyro_vae import labels, likelihoods, networks, plots, posteriors, priors
from tests.family import bits, discrete, hierarchical, weights, with_labels

X = torch.bernoulli(torch.full((8, 5), 0.5))


def vae(prior, posterior=None):
    return pv.VAE(prior, likelihoods.Bernoulli(5), posterior)


class Poisson(posteriors.Normal):
    def distribution(self, parameters):
        return dist.Poisson(super().distribution(parameters).mean.exp()).to_event(1)


class Exponential(priors.Prior):
    def forward(self):
        return dist.Exponential(torch.ones(self.size)).to_event(1)


MISMATCHES = [
    (lambda: vae(priors.Bernoulli(4)), r"Normal\(\) proposes real numbers.*bits.*use posteriors\.Bernoulli\(\)"),
    (lambda: vae(priors.Categorical(2, 3)), r"Normal\(\).*one-hot vectors; use posteriors\.Categorical\(\)"),
    (lambda: vae(priors.StandardNormal(2), posteriors.Bernoulli()), r"bits.*real numbers; use posteriors\.Normal\(\)"),
    (lambda: vae(priors.Bernoulli(4), posteriors.Categorical()), r"one-hot codes.*shape \(4,\).*priors\.Categorical"),
    (lambda: vae(priors.Categorical(2, 3), posteriors.Bernoulli()), r"use posteriors\.Categorical\(\)"),
    (lambda: vae(priors.Categorical(2, 3), posteriors.Flow()), r"vectors of real numbers.*\(2, 3\).*Categorical\(\)"),
    (lambda: vae(priors.Categorical(2, 3), posteriors.FullCovarianceNormal()), r"vectors of real numbers"),
    (lambda: vae(priors.Bernoulli(4), posteriors.Delta()), r"use posteriors\.Bernoulli\(\)"),
    (lambda: vae(priors.StandardNormal(2), Poisson()), r"Poisson\(\) proposes values in .*lower_bound=0.*real numbers"),
    (lambda: vae(Exponential(2)), r"Normal\(\) proposes real numbers.*Exponential\(2\) are values in"),
    (lambda: with_labels(pv.ConditionalVAE, prior=priors.Bernoulli(2)), r"use posteriors\.Bernoulli\(\)"),
    (lambda: with_labels(pv.PredictionConstrainedVAE, prior=priors.Bernoulli(2)), r"use posteriors\.Bernoulli\(\)"),
    (
        lambda: pv.StructuredOutputVAE(
            priors.ConditionalNormal(2), likelihoods.Bernoulli(5), 3, posteriors.Bernoulli()
        ),
        r"use posteriors\.Normal\(\)",
    ),
    (
        lambda: hierarchical(bits(3, above=True), (priors.Bernoulli(2), posteriors.Normal())),
        r"Normal\(\) proposes real numbers.*prior Bernoulli\(2\)",
    ),
]


@pytest.mark.parametrize(("make", "said"), MISMATCHES)
def test_a_posterior_must_propose_what_the_prior_has(make, said):
    with pytest.raises(pv.ConfigurationError, match=said):
        make()


def test_positive_codes_go_with_a_prior_over_all_numbers_and_with_their_own():
    class LogNormal(posteriors.Normal):
        def distribution(self, parameters):
            return dist.LogNormal(parameters[..., 0, :], parameters[..., 1, :].exp()).to_event(1)

    class LogNormalPrior(priors.Prior):
        def forward(self):
            return dist.LogNormal(torch.zeros(self.size), 1.0).to_event(1)

    for prior in (priors.StandardNormal(2), Exponential(2), LogNormalPrior(2)):
        assert vae(prior, LogNormal()).encode(X).sample().min() > 0


def test_a_part_stays_free_when_the_other_does_not_fit():
    prior, posterior = priors.Bernoulli(2), posteriors.Normal()
    with pytest.raises(pv.ConfigurationError):
        vae(prior, posterior)
    vae(prior, posteriors.Bernoulli())
    vae(priors.StandardNormal(2), posterior)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: posteriors.Bernoulli("straight"), "did you mean 'straight_through'"),
        (lambda: posteriors.Bernoulli("soft", temperature=0), "temperature must be a positive number, got 0"),
        (lambda: posteriors.Bernoulli("soft", enumerate=True), "leave one of them out"),
        (lambda: priors.Bernoulli(0), "at least 1"),
        (lambda: priors.Bernoulli(3, probs=1.0), "between 0 and 1, got 1.0"),
        (lambda: priors.Categorical(3, classes=1), "at least 2"),
        (lambda: priors.ConditionalCategorical(3, classes=1), "at least 2"),
        (lambda: vae(priors.Bernoulli(13), posteriors.Bernoulli(enumerate=True)), "8,192 codes, and at most 4,096"),
        (lambda: vae(priors.Bernoulli(999), posteriors.Bernoulli(enumerate=True)), r"about 10\^300 codes"),
        (lambda: vae(priors.Categorical(4, 9), posteriors.Categorical(enumerate=True)), "6,561 codes"),
    ],
)
def test_discrete_parts_say_what_they_want(make, said):
    with pytest.raises(pv.ConfigurationError, match=said):
        make()


def test_as_many_codes_as_are_allowed_are():
    assert vae(priors.Bernoulli(12), posteriors.Bernoulli(enumerate=True)).values_at_once() == 4096


@pytest.mark.parametrize("variant", [discrete, lambda: hierarchical(bits(3, above=True), bits(2))])
def test_fit_without_a_gradient_says_what_there_is_before_a_weight_moves(variant):
    variant = variant()
    variant.initialised.fill_(True)
    before = weights(variant)
    x = torch.zeros(8, *variant.shape)
    with pytest.raises(pv.ConfigurationError, match=r"VIMCO.*ScoreFunction.*ReweightedWakeSleep.*straight_through"):
        pv.fit(variant, x, epochs=1)
    assert all(torch.equal(value, before[name]) for name, value in weights(variant).items())


def test_codes_of_another_shape_are_not_decoded():
    variant = discrete("classes")
    with pytest.raises(pv.DataError, match=r"codes of shape \(7, 3\), wanted \(\.\.\., 2, 3\)"):
        variant.decode(torch.zeros(7, 3))
    assert variant.decode(torch.zeros(4, 7, 2, 3)).batch_shape == (4, 7)
    assert variant.decode(torch.zeros(2, 3)).batch_shape == ()


def test_what_needs_gradients_or_real_codes_says_so():
    consistency = {"label": labels.Categorical(3), "likelihood": likelihoods.Bernoulli(5)}
    with pytest.raises(pv.ConfigurationError, match="decoded and encoded again"):
        pv.ConsistencyConstrainedVAE(
            prior=priors.Bernoulli(2), posterior=posteriors.Bernoulli(enumerate=True), **consistency
        )
    pv.ConsistencyConstrainedVAE(  # the same parts are still free
        prior=priors.Bernoulli(2), posterior=posteriors.Bernoulli("straight_through"), **consistency
    )
    m1 = vae(priors.Bernoulli(3), posteriors.Bernoulli("straight_through"))
    with pytest.raises(pv.ConfigurationError, match="M1M2 explains codes that are real numbers"):
        pv.M1M2(m1, labels.Categorical(3), priors.StandardNormal(2))


# -- layers

NORMALS = [priors.ConditionalNormal, priors.StandardNormal]


def layers(priors_, **others):
    return pv.HierarchicalVAE(priors_, likelihoods.Bernoulli(5), **others)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: layers([]), "at least one"),
        (lambda: layers(priors.StandardNormal(2)), "priors must be a Sequence, got StandardNormal"),
        (
            lambda: layers([priors.StandardNormal(2), priors.StandardNormal(2)]),
            r"priors\[0\] must be a ConditionalPrior",
        ),
        (lambda: hierarchical(bits(3, above=True, enumerate=True), bits(2)), "z1 is summed over.*z2 above it is drawn"),
        (lambda: layers([priors.ConditionalNormal(2)]), r"priors\[0\], that of the last layer, must be a Prior"),
        (lambda: layers([p(2) for p in NORMALS], posteriors=[posteriors.Normal()]), "posteriors: wanted one for each"),
        (lambda: layers([p(2) for p in NORMALS], encoders=[networks.MLP([])] * 3), "encoders: wanted one for each of"),
        (
            lambda: layers([p(2) for p in NORMALS], decoders=[networks.MLP([]), "MLP"]),
            r"decoders\[1\] must be a Network",
        ),
        (lambda: layers([p(2) for p in NORMALS], encoders=networks.MLP([])), "encoders must be a Sequence"),
        (
            lambda: layers([priors.ConditionalNormal(2), priors.Vamp(2)]),
            r"reads the code z1; use priors\.MixtureOfNormals",
        ),
    ],
)
def test_layers_say_what_they_want(make, said):
    with pytest.raises(pv.ConfigurationError, match=said):
        make()


def test_a_part_given_for_two_layers_is_noticed():
    posterior, prior = posteriors.Normal(), priors.ConditionalNormal(2)
    with pytest.raises(pv.ConfigurationError, match="already belongs to a variant"):
        layers([p(2) for p in NORMALS], posteriors=[posterior, posterior])
    with pytest.raises(pv.ConfigurationError, match="already belongs to a variant"):
        layers([prior, prior, priors.StandardNormal(2)])
    layers([prior, priors.StandardNormal(2)], posteriors=[posterior, posteriors.Normal()])  # and stays free


# -- pictures


@pytest.mark.parametrize("code", ["bits", "classes"])
def test_pictures_of_discrete_codes(code):
    variant = discrete(code, gradient="straight_through")
    x = torch.bernoulli(torch.full((20, *variant.shape), 0.5))
    for draw in (
        lambda: plots.interpolation(variant, x[:2]),
        lambda: plots.traversal(variant, x),
        lambda: plots.manifold(variant),
        lambda: plots.histograms(variant, x),
    ):
        with pytest.raises(pv.ConfigurationError, match=r"goes through real codes.*are discrete"):
            draw()
    for figure in (
        plots.latent(variant, x, torch.arange(20) % 3),
        plots.kl(variant, x),
        plots.samples(variant, 4),
        plots.reconstructions(variant, x),
    ):
        assert figure.axes


def test_asking_whether_a_code_is_discrete_draws_nothing(own_store):
    variant, real = discrete(gradient="soft"), hierarchical()
    variant.train()
    state = torch.get_rng_state()
    assert variant.discrete_code
    assert not real.discrete_code
    assert torch.equal(torch.get_rng_state(), state)
    assert variant.training
    trace = poutine.trace(variant.guide).get_trace(X.new_zeros(2, *variant.shape))
    assert not trace.nodes["z"]["fn"].support.check(trace.nodes["z"]["value"]).all(), "soft codes are not codes"

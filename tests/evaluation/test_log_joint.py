"""log p(x, z) at given latents: against the parts themselves, sums over classes, and draws."""

import math

import pyro
import pytest
import torch
from pyro import poutine
from torch.nn.functional import one_hot

import pyro_vae as pv
from pyro_vae import evaluation, likelihoods, networks, posteriors, priors
from pyro_vae.evaluation.latents import Latent
from pyro_vae.evaluation.likelihood import at_once
from pyro_vae.program import labelled, sample_sites
from pyro_vae.randomness import seeded
from pyro_vae.variants.contexts import evaluating
from tests import family
from tests.draws import case
from tests.statistics import assert_mean


def halves(variant, x, y):
    """The data with labels and those without, where a variant tells them apart."""
    if variant.labels != "some" or not variant.programs_see_labels:
        return [(x, y)]
    known = labelled(y)
    return [(x[known], y[known]), (x[~known], None)]


def enumerates(variant, arguments):
    """Whether the guide sums over something in place of draws."""
    with torch.no_grad(), evaluating(variant):
        trace = poutine.trace(variant.guide).get_trace(*arguments)
    return any(site["infer"].get("enumerate") for site in sample_sites(trace))


@pytest.mark.parametrize(
    "name",
    [n for n in family.VARIANTS if n != "autoencoder" and not family.VARIANTS[n]().model.parts_without_density()],
)
def test_every_variant_has_a_joint_density_whose_parts_fit_together(name):
    variant, x, y = case(name, 8)
    variant.double()
    for some in halves(variant, x.double() if x.is_floating_point() else x, y):
        joint = evaluation.LogJoint(variant, *some)
        latents = joint.from_prior(5)
        log_prior, log_p = joint.with_prior(latents)
        draws = 5 if latents else 1
        assert log_prior.shape == log_p.shape == (draws, len(some[0]))
        assert torch.isfinite(log_p).all()
        if variant.guide.parts_without_density() or enumerates(variant, joint.arguments):
            continue
        with seeded(3):
            drawn = joint.from_guide(20)
        with seeded(3):  # the same draws, weighed in another way
            estimate = evaluation.log_likelihood(variant, *some, num_samples=20)
        log_w = joint(drawn) - joint.log_guide(drawn)
        expected = log_w.logsumexp(0) - math.log(len(log_w))  # one weight where nothing is latent
        torch.testing.assert_close(expected, estimate.as_subclass(torch.Tensor))
    assert not list(pyro.get_param_store())


def test_a_vae_is_the_sum_of_its_parts_and_beta_plays_none():
    vae = family.randomised(family.vae(prior="vamp", likelihood="normal_shared", beta=4.0))
    x, z = family.data_for(vae, 6), torch.randn(3, 6, family.D)
    log_prior, log_p = evaluation.LogJoint(vae, x).with_prior({"z": z})
    with torch.no_grad(), evaluating(vae):
        torch.testing.assert_close(log_prior, vae.code_prior().log_prob(z))
        torch.testing.assert_close(log_p, vae.code_prior().log_prob(z) + vae.decode(z).log_prob(x))


@pytest.mark.parametrize("known", [True, False])
def test_a_missing_class_is_summed_over_and_a_known_one_observed(known):
    variant, x, _ = case("m2_learned_frequencies", 5)
    y, z = torch.arange(5) % 3, torch.randn(4, 5, family.D)
    joint = evaluation.LogJoint(variant, x, y if known else None)
    with torch.no_grad():
        log_z = variant.code_prior().log_prob(z)
        classes = [torch.full((4, 5), k) for k in range(3)] if not known else [y.expand(4, 5)]
        terms = [variant.label().log_prob(k) + log_z + variant.decode(z, k).log_prob(x) for k in classes]
    log_prior, log_p = joint.with_prior({"z": z})
    torch.testing.assert_close(log_p, torch.stack(terms).logsumexp(0))
    torch.testing.assert_close(log_prior, log_z)
    assert joint.listed == (() if known else ("y",))


def test_without_sums_the_class_is_an_argument():
    variant, x, _ = case("m2", 4)
    joint = evaluation.LogJoint(variant, x, sums=False)
    z = torch.randn(2, 4, family.D)
    y = torch.randint(3, (2, 4))
    with torch.no_grad():
        expected = variant.label().log_prob(y) + variant.code_prior().log_prob(z) + variant.decode(z, y).log_prob(x)
    torch.testing.assert_close(joint({"z": z, "y": y}), expected)


def test_the_summed_class_is_drawn_from_its_posterior():
    variant, x, _ = case("m2_learned_frequencies", 3)
    z = torch.randn(1, 3, family.D)
    joint = evaluation.LogJoint(variant, x)
    drawn = joint.draw_listed({"z": z.expand(4000, 3, family.D)})["y"]
    with torch.no_grad():
        terms = [
            variant.label().log_prob(torch.tensor(k)) + variant.decode(z[0], torch.full((3,), k)).log_prob(x)
            for k in range(3)
        ]
    assert_mean(one_hot(drawn, 3), torch.stack(terms, -1).softmax(-1))


def test_gradients_are_those_of_the_density():
    vae = family.randomised(family.vae(likelihood="normal_shared")).double()
    joint = evaluation.LogJoint(vae, family.data_for(vae, 3).double())
    z = torch.randn(2, 3, family.D, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: joint({"z": z}), (z,))


def test_draws_come_from_the_prior_and_from_the_guide():
    variant, x, _ = case("m2", 3)
    joint = evaluation.LogJoint(variant, x)
    assert_mean(joint.from_prior(4000)["z"], torch.zeros(3, family.D))
    with torch.no_grad():
        probs = variant.predict(x).probs
        means = torch.stack([variant.encode(x, torch.full((3,), k)).mean for k in range(3)], 1)
    assert_mean(joint.from_guide(8000)["z"], (probs[..., None] * means).sum(1))


def test_a_vector_and_back():
    variant, x, _ = case("m1m2", 4)
    joint = evaluation.LogJoint(variant, x)
    latents = joint.from_prior(3)
    assert set(latents) == {"z1", "z2"}
    assert joint.size == 2 * family.D
    again = joint.unpack(joint.pack(latents))
    assert all(torch.equal(again[name], value) for name, value in latents.items())


def test_half_known_labels_are_refused():
    variant, x, y = case("m2", 8)
    with pytest.raises(pv.DataError, match="one by one"):
        evaluation.LogJoint(variant, x, y)


@pytest.mark.parametrize(
    ("fn", "kind", "places", "levels"),
    [
        (pyro.distributions.Bernoulli(torch.full((2, 3), 0.5)).to_event(2), "bits", 6, 2),
        (pyro.distributions.Categorical(torch.ones(4, 5)).to_event(1), "numbers", 4, 5),
        (pyro.distributions.OneHotCategorical(torch.ones(4, 5)).to_event(1), "one_hot", 4, 5),
        (pyro.distributions.Normal(torch.zeros(3), 1.0).to_event(1), "real", 3, 0),
        (pyro.distributions.MultivariateNormal(torch.zeros(3), torch.eye(3)), "real", 3, 0),
    ],
)
def test_kinds_of_latents_are_known_by_their_supports(fn, kind, places, levels):
    value = fn.sample((7,))
    latent = Latent.of({"name": "z", "fn": fn, "value": value})
    assert (latent.kind, latent.places, latent.levels) == (kind, places, levels)
    if kind != "real":
        choices = latent.to_choices(value)
        assert choices.shape == (7, places)
        assert torch.equal(latent.from_choices(choices), value)


@pytest.mark.parametrize("fn", [pyro.distributions.Gamma(1.0, 1.0), pyro.distributions.Poisson(2.0)])
def test_other_supports_are_refused_by_name(fn):
    with pytest.raises(pv.ConfigurationError, match="site 'w': latents here are real, or discrete"):
        Latent.of({"name": "w", "fn": fn, "value": fn.sample()})


def test_discrete_codes_of_several_places_are_arguments():
    vae = pv.VAE(priors.Bernoulli(3), likelihoods.Bernoulli(5), posteriors.Bernoulli(), networks.MLP([]))
    joint = evaluation.LogJoint(vae, torch.ones(4, 5))
    assert list(joint.discrete) == ["z"]
    assert not joint.size
    assert joint(joint.from_prior(6)).shape == (6, 4)


@pytest.mark.parametrize(("n", "samples", "chunk"), [(64, 100, 1000), (3, 7, 2), (1, 1, 1), (500, 16, 10_000)])
def test_no_more_than_a_chunk_is_in_memory(n, samples, chunk):
    data, draws = at_once(n, samples, chunk)
    assert data * draws <= chunk
    assert 1 <= data <= n
    assert 1 <= draws <= samples

"""Estimators of log p(x) against the exact value of linear-Gaussian stories, of sums over codes, and of quadrature."""

import itertools
import math

import pytest
import torch

import pyro_vae as pv
from pyro_vae import evaluation, labels, likelihoods, networks, posteriors, priors
from pyro_vae.evaluation.likelihood import Weighted
from pyro_vae.randomness import seeded
from tests.draws import case
from tests.evaluation.truth import Linear, assert_near, plain
from tests.test_truth_labels_gaussian import Linear as LinearWithLabels

SHORT = {"steps": 40, "leapfrog": 4}

SIZES = [1, 2, 5, 10]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("method", "num_samples"), [("importance", 2000), (evaluation.AIS(10, leapfrog=4, start="guide"), 32)]
)
def test_from_a_wrong_guide_estimates_lie_within_three_standard_errors(method, num_samples, size):
    linear = Linear(size, wrong=0.2)
    x = linear.draw(20)
    estimate = evaluation.log_likelihood(linear.vae, x, method=method, num_samples=num_samples)
    assert_near(estimate, linear.log_likelihood(x), low=1e-4)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("method", ["importance", evaluation.AIS(10, leapfrog=2, start="guide")])
def test_from_the_exact_posterior_there_is_nothing_to_estimate(method, size):
    linear = Linear(size)
    x = linear.draw(20)
    estimate = evaluation.log_likelihood(linear.vae, x, method=method, num_samples=3)
    torch.testing.assert_close(plain(estimate), linear.log_likelihood(x), rtol=0, atol=1e-6)
    assert estimate.standard_error.max() < 1e-6


@pytest.mark.parametrize("size", SIZES)
def test_chains_from_the_prior_lie_within_three_standard_errors(size):
    linear = Linear(size)
    x = linear.draw(20)
    estimate = evaluation.log_likelihood(linear.vae, x, method=evaluation.AIS(30 + 12 * size, 4), num_samples=32)
    assert_near(estimate, linear.log_likelihood(x), low=1e-4)


@pytest.mark.parametrize(("size", "num_samples"), [(1, 4000), (2, 10_000), (5, 100_000)])
def test_draws_from_the_prior_are_enough_in_few_dimensions(size, num_samples):
    linear = Linear(size)
    x = linear.draw(10)
    estimate = evaluation.log_likelihood(linear.vae, x, method="prior", num_samples=num_samples, chunk=100_000)
    assert_near(estimate, linear.log_likelihood(x), low=1e-4)


def relative_variance(linear, x):
    """Var p(x | z) / p(x)^2 over z ~ p(z), of each datum: N(x; Wz, s^2)^2 is a Gaussian in z again."""
    sigma2, d = linear.sigma**2, len(linear.mu)
    half = torch.diag(torch.full((d,), sigma2 / 2, dtype=torch.double)) + linear.w @ linear.w.T
    square = torch.distributions.MultivariateNormal(linear.mu, half).log_prob(x) - d / 2 * math.log(
        4 * math.pi * sigma2
    )
    return (square - 2 * linear.log_likelihood(x)).expm1()


def test_the_error_of_draws_from_the_prior_grows_with_the_dimension_as_theory_says():
    claimed, theory = [], []
    for size in (1, 2, 3, 4):
        linear = Linear(size)
        x = linear.mu.expand(40, -1)  # where the variance is smallest, and its estimate good
        estimate = evaluation.log_likelihood(linear.vae, x, method="prior", num_samples=20_000, chunk=200_000)
        claimed.append(estimate.standard_error.square().mean().sqrt().item())
        theory.append((relative_variance(linear, x[:1]).item() / 20_000) ** 0.5)
        spread = (plain(estimate) - linear.log_likelihood(x)).square().mean().sqrt().item()
        assert spread == pytest.approx(theory[-1], rel=0.35)  # 40 repeats: standard error of 11 %
    assert claimed == pytest.approx(theory, rel=0.05)
    ratios = [b / a for a, b in itertools.pairwise(theory)]
    assert min(ratios) > 1.1  # a factor for every dimension


# -- labels


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("kind", ["classes", "properties"])
@pytest.mark.parametrize(
    "method", [evaluation.AIS(**SHORT), evaluation.AIS(steps=10, leapfrog=4, start="guide"), "exact"]
)
def test_labels_are_observed_or_summed_out_or_moved(method, kind, known):
    toy = LinearWithLabels(kind).set_guide(0.1)
    x, y = toy.draw(20)
    y = y if known else None
    exact = toy.exact(x, y)
    estimate = evaluation.log_likelihood(toy.variant, x, y, method=method, num_samples=32)
    if method == "exact":
        torch.testing.assert_close(plain(estimate), exact, rtol=0, atol=1e-8)
        assert (estimate.standard_error == 0).all()
    else:
        assert_near(estimate, exact, low=1e-4)


@pytest.mark.parametrize("method", [evaluation.AIS(**SHORT), "exact"])
def test_a_given_label_is_a_condition(method):
    toy = LinearWithLabels("properties", pv.ConditionalVAE).set_guide(0.1)
    x, y = toy.draw(20)
    estimate = evaluation.log_likelihood(toy.variant, x, y, method=method, num_samples=32)
    if method == "exact":
        torch.testing.assert_close(plain(estimate), toy.log_x_given_y(x, y), rtol=0, atol=1e-8)
    else:
        assert_near(estimate, toy.log_x_given_y(x, y), low=1e-4)


def test_some_labels_known_and_some_missing():
    toy = LinearWithLabels("classes").set_guide()
    x, y = toy.draw(12)
    y[::3] = -1
    exact = toy.exact(x, y)
    torch.testing.assert_close(plain(evaluation.log_likelihood(toy.variant, x, y, method="exact", chunk=20)), exact)
    method = evaluation.AIS(steps=30, leapfrog=3, schedule="linear")
    estimate = evaluation.log_likelihood(toy.variant, x, y, method=method, num_samples=40, chunk=250)
    assert_near(estimate, exact, low=1e-4)


def test_every_class_at_once_is_the_generative_classifier():
    toy = LinearWithLabels("classes").set_guide()
    x, _ = toy.draw(5)
    every = torch.stack([toy.log_joint(x, torch.full((5,), k)) for k in range(3)], -1)
    found = evaluation.log_likelihood_per_class(toy.variant, x, method="exact")
    torch.testing.assert_close(plain(found), every)
    torch.testing.assert_close(found.softmax(-1), toy.variant.predict(x).probs)  # whose classifier is exact
    sampled = evaluation.log_likelihood_per_class(toy.variant, x, num_samples=2)
    torch.testing.assert_close(plain(sampled), every, rtol=0, atol=1e-5)
    assert sampled.standard_error.shape == (5, 3)


@pytest.mark.parametrize("name", ["likelihood_bernoulli", "m1", "m2_properties", "discriminative"])
def test_there_are_no_classes_to_go_through(name):
    variant, x, _ = case(name, 4)
    with pytest.raises(pv.ConfigurationError, match="no class that the story"):
        evaluation.log_likelihood_per_class(variant, x)


# -- the interface


class _Counting(torch.nn.Module):
    """A network that remembers the largest batch that went through it."""

    def __init__(self, network):
        super().__init__()
        self.network, self.largest = network, 0

    def forward(self, *inputs):
        self.largest = max(self.largest, inputs[0].shape[:-1].numel())
        return self.network(*inputs)


@pytest.mark.parametrize(
    ("method", "num_samples"),
    [("importance", 300), ("prior", 7), (evaluation.AIS(3, 1), 16), (evaluation.AIS(3, 1), 1), ("exact", None)],
)
def test_memory_is_bounded_however_many_data_there_are(method, num_samples):
    linear = Linear(2)
    network = linear.vae.likelihood.network = _Counting(linear.vae.likelihood.network)
    _Counting.__deepcopy__ = lambda self, memo: self  # what goes through the copy is counted too
    try:
        largest = []
        for n in (10, 100):
            network.largest = 0
            evaluation.log_likelihood(linear.vae, linear.draw(n), method=method, num_samples=num_samples, chunk=200)
            largest.append(network.largest)
    finally:
        del _Counting.__deepcopy__
    assert largest[0] <= largest[1] <= 200
    assert largest[1] > 50  # and the room is used


@pytest.mark.parametrize("method", ["importance", "prior", "ais", "exact"])
def test_a_name_stands_for_the_method_with_its_defaults(method, monkeypatch):
    linear = Linear(1)
    x = linear.draw(2)
    kinds = {"importance": evaluation.Importance, "prior": evaluation.Prior, "ais": evaluation.AIS}
    made = kinds.get(method, evaluation.Exact)()
    if method == "ais":
        assert repr(made) == "AIS()"
        assert (made.steps, made.leapfrog, made.start, made.schedule, made.num_samples) == (
            1000,
            10,
            "prior",
            "sigmoid",
            16,
        )
        monkeypatch.setattr(evaluation.AIS, "temperatures", lambda self: [0.0, 0.5, 1.0])
    with seeded(1):
        by_name = evaluation.log_likelihood(linear.vae, x, method=method)
    with seeded(1):
        by_itself = evaluation.log_likelihood(linear.vae, x, method=made)
    assert torch.equal(plain(by_name), plain(by_itself))


def test_a_method_of_ones_own_is_a_few_lines():
    class Antithetic(Weighted):
        def log_weights(self, variant, x, y, num_samples, advance):
            joint = evaluation.LogJoint(variant, x, y)
            q = variant.encode(x)
            z = q.sample((num_samples // 2,))
            both = {"z": torch.cat([z, 2 * q.mean - z])}
            return joint(both) - joint.log_guide(both)

    linear = Linear(2, wrong=0.1)
    x = linear.draw(20)
    estimate = evaluation.log_likelihood(linear.vae, x, method=Antithetic(), num_samples=2000)
    assert_near(estimate, linear.log_likelihood(x), limit=4)


def test_the_bar_runs_to_its_end(capsys, monkeypatch):
    seen = []
    monkeypatch.setattr("tqdm.std.tqdm.update", lambda bar, n=1: seen.append((bar.total, n)))
    linear = Linear(2)
    x = linear.draw(7)
    for method in (evaluation.Importance(), evaluation.Prior(), evaluation.AIS(5, 2), evaluation.Exact()):
        seen.clear()
        evaluation.log_likelihood(linear.vae, x, method=method, num_samples=9, chunk=20, progress=True)
        assert sum(n for _, n in seen) == pytest.approx(7 * 9)
        assert seen[0][0] == 7 * 9


def test_mistakes_are_named():
    linear = Linear(2)
    x = linear.draw(2)
    with pytest.raises(pv.ConfigurationError, match="did you mean 'importance'"):
        evaluation.log_likelihood(linear.vae, x, method="importanc")
    with pytest.raises(pv.ConfigurationError, match="num_samples"):
        evaluation.log_likelihood(linear.vae, x, num_samples=0)
    delta = pv.VAE(priors.StandardNormal(2), likelihoods.Normal(4), posteriors.Delta())
    with pytest.raises(pv.DataError, match="Delta"):
        evaluation.log_likelihood(delta, torch.zeros(2, 4), method=evaluation.AIS(start="guide"))
    assert evaluation.log_likelihood(delta, torch.zeros(2, 4), method=evaluation.AIS(3, 2)).isfinite().all()


def test_the_network_without_latents_needs_no_chains():
    variant = pv.Discriminative(labels.Categorical(3), 4, networks.MLP([8]))
    x, y = torch.randn(5, 4), torch.arange(5) % 3
    exact = variant.predict(x).log_prob(y)
    for method in ("importance", "prior", evaluation.AIS(10, 2), "exact"):
        estimate = evaluation.log_likelihood(variant, x, y, method=method, num_samples=3)
        torch.testing.assert_close(plain(estimate), exact)
        assert estimate.standard_error.max() < 1e-6

"""log p of variants with labels whose story is linear and Gaussian, where it is known exactly."""

import math

import pytest
import torch
from pyro.infer import Trace_ELBO, TraceEnum_ELBO
from torch.distributions import MultivariateNormal

import pyro_vae as pv
from pyro_vae import evaluation, labels, likelihoods, networks, posteriors, priors
from tests.family import D, randomised
from tests.ppca import raw

CLASSES, PROPERTIES, SIZE, SIGMA = 3, 2, 4, 0.6
LINEAR = networks.MLP([])
PI = [0.5, 0.3, 0.2]


def set_gaussian(part, gains, offset, scale_tril):
    """Make a linear part N(sum_i gain_i input_i + offset, L L^T), given as its family parametrises it."""
    first, d = part.network.first, len(offset)
    with torch.no_grad():
        for weight, gain in zip(first.weights, gains, strict=True):
            weight.zero_()
            weight[:d] = gain
        first.bias[:d] = offset
        first.bias[d : 2 * d] = raw(scale_tril.diagonal())
        first.bias[2 * d :] = scale_tril[1, 0]


class Linear:
    """x = A z + B y + c + noise, with y classes (in one-hot form) or standardised properties."""

    def __init__(self, kind="properties", variant=pv.SemiSupervisedVAE, **options):
        self.kind = kind
        if kind == "properties":
            self.label = labels.Normal(PROPERTIES)
            self.label.loc.copy_(torch.tensor([3.0, -40.0]))
            self.label.scale_tril.copy_(torch.tensor([[2.0, 0.0], [5.0, 7.0]]))
        else:
            self.label = labels.Categorical(CLASSES, probs=PI)
        likelihood = likelihoods.Normal(SIZE, scale=SIGMA)
        made = variant(
            self.label, priors.StandardNormal(D), likelihood, posteriors.FullCovarianceNormal(), LINEAR, **options
        )
        self.variant = randomised(made).double()
        decoder = self.variant.likelihood.network.first
        self.a, self.b = (weight.detach() for weight in decoder.weights)
        self.c = decoder.bias.detach()
        self.eye = torch.eye(SIZE, dtype=torch.double)
        self.given_y = self.a @ self.a.T + SIGMA**2 * self.eye  # covariance of x given y
        if kind == "properties":
            spread = self.label.scale
            self.r = self.label().covariance_matrix / spread[:, None] / spread  # of standardised properties
            self.covariance = self.given_y + self.b @ self.r @ self.b.T

    def draw(self, n):
        y = self.label().sample((n,))
        z = torch.randn(n, D).double()
        x = z @ self.a.T + self.label.as_input(y).double() @ self.b.T + self.c
        return x + SIGMA * torch.randn(n, SIZE).double(), y

    def log_x_given_y(self, x, y):
        return MultivariateNormal(self.c + self.label.as_input(y).double() @ self.b.T, self.given_y).log_prob(x)

    def log_joint(self, x, y):
        return self.label().log_prob(y) + self.log_x_given_y(x, y)

    def log_x(self, x):
        if self.kind == "properties":
            return MultivariateNormal(self.c, self.covariance).log_prob(x)
        every = [self.log_joint(x, torch.full((len(x),), k)) for k in range(CLASSES)]
        return torch.stack(every).logsumexp(0)

    def exact(self, x, y):
        """log p of what is observed."""
        if y is None:
            return self.log_x(x)
        known = ~y.isnan().any(-1) if y.is_floating_point() else y >= 0
        values = self.log_x(x)
        values[known] = self.log_joint(x[known], y[known])
        return values

    def set_guide(self, wrong=0.0):
        """The exact posterior, or one that is wrong by so much."""
        gain = torch.linalg.solve(self.given_y, self.a).T
        covariance = torch.eye(D, dtype=torch.double) - gain @ self.a
        tril = torch.linalg.cholesky(covariance) * (1 + wrong)
        set_gaussian(self.variant.guide.posterior, [gain, -gain @ self.b], wrong - gain @ self.c, tril)
        classifier = getattr(self.variant.guide, "classifier", None)
        if classifier is None:
            return self
        if self.kind == "properties":
            gain = torch.linalg.solve(self.covariance, self.b @ self.r).T
            tril = torch.linalg.cholesky(self.r - gain @ self.b @ self.r) * (1 + wrong)
            set_gaussian(classifier, [gain], wrong - gain @ self.c, tril)
        else:  # classes with one covariance have a posterior whose logits are linear
            gain = torch.linalg.solve(self.given_y, self.b).T
            logits = torch.tensor(PI).double().log() - 0.5 * (gain * self.b.T).sum(-1) - gain @ self.c
            with torch.no_grad():
                classifier.network.first.weights[0].copy_(gain * (1 - wrong))
                classifier.network.first.bias.copy_(logits)
        return self


def partly(y, kind):
    """Labels of all data, of none, or of every other one."""
    if kind == "unlabelled":
        return None
    if kind == "mixed":
        y = y.clone()
        y[::2] = float("nan") if y.is_floating_point() else -1
    return y


KINDS = ["labelled", "unlabelled", "mixed"]


@pytest.mark.parametrize("known", KINDS)
@pytest.mark.parametrize("kind", ["properties", "classes"])
def test_with_the_exact_posterior_every_draw_is_log_p(kind, known, own_store):
    toy = Linear(kind, alpha=0.0).set_guide()
    x, y = toy.draw(6)
    y = partly(y, known)
    exact = toy.exact(x, y)
    enumerates = kind == "classes" and known != "labelled"
    pyros = TraceEnum_ELBO(max_plate_nesting=1) if enumerates else Trace_ELBO()
    arguments = toy.variant.program_arguments(*toy.variant.batch(x, y))
    for _ in range(3):
        loss = pyros.loss(toy.variant.model, toy.variant.guide, *arguments)
        assert -loss == pytest.approx(exact.sum().item(), abs=1e-5)
    estimate = evaluation.log_likelihood(toy.variant, x, y, num_samples=2)
    torch.testing.assert_close(torch.as_tensor(estimate), exact, rtol=0, atol=1e-5)
    assert estimate.standard_error.max() < 1e-5
    # the exact KL and the sampled reconstruction: right on average
    terms = evaluation.elbo(toy.variant, x, y, num_samples=4000)
    torch.testing.assert_close(terms.elbo, exact, rtol=0, atol=0.25)


@pytest.mark.parametrize("known", KINDS)
@pytest.mark.parametrize("method", ["importance", "prior"])
@pytest.mark.parametrize("kind", ["properties", "classes"])
def test_log_likelihood_lies_within_its_standard_errors_and_the_elbo_below(kind, method, known):
    toy = Linear(kind).set_guide(wrong=0.3)
    x, y = toy.draw(30)
    y = partly(y, known)
    exact = toy.exact(x, y)
    estimate = evaluation.log_likelihood(toy.variant, x, y, method=method, num_samples=10_000)
    z = (estimate - exact) / estimate.standard_error
    assert z.abs().max() < 4
    assert (z**2).mean() < 2
    bound = evaluation.elbo(toy.variant, x, y, num_samples=500).elbo
    assert (exact - bound).mean() > 0.05
    assert (bound < exact + 0.3).all()


@pytest.mark.parametrize("kind", ["properties", "classes"])
def test_the_conditional_variant_estimates_log_p_of_x_given_y(kind, own_store):
    toy = Linear(kind, pv.ConditionalVAE).set_guide()
    x, y = toy.draw(20)
    exact = toy.log_x_given_y(x, y)
    loss = Trace_ELBO().loss(toy.variant.model, toy.variant.guide, x, y)
    assert -loss == pytest.approx(exact.sum().item(), abs=1e-5)
    toy.set_guide(wrong=0.3)
    for method in ("importance", "prior"):
        estimate = evaluation.log_likelihood(toy.variant, x, y, method=method, num_samples=10_000)
        z = (estimate - exact) / estimate.standard_error
        assert z.abs().max() < 4
    bound = evaluation.elbo(toy.variant, x, y, num_samples=500).elbo
    assert (exact - bound).mean() > 0.05


def structured():
    """y = A z + B x + c + noise with z ~ N(M x + m, S^2): the variant, with a guide that is wrong, and log p(y | x)."""
    vae = pv.StructuredOutputVAE(
        priors.ConditionalNormal(D), likelihoods.Normal(SIZE, scale=SIGMA), 3, posteriors.FullCovarianceNormal(), LINEAR
    )
    vae = randomised(vae).double()
    first, decoder = vae.model.prior.network.first, vae.likelihood.network.first
    with torch.no_grad():
        first.weights[0][D:] = 0.0  # the scale must not depend on x
    of_x, offset = first.weights[0][:D].detach(), first.bias[:D].detach()
    s2 = torch.diag(vae.model.prior(torch.zeros(1, 3).double()).variance[0].detach())
    a, b = (weight.detach() for weight in decoder.weights)
    c = decoder.bias.detach()
    covariance = a @ s2 @ a.T + SIGMA**2 * torch.eye(SIZE).double()

    def log_p(x, y):
        return MultivariateNormal((x @ of_x.T + offset) @ a.T + x @ b.T + c, covariance).log_prob(y)

    gain = torch.linalg.solve(covariance, a @ s2).T
    tril = 1.3 * torch.linalg.cholesky(s2 - gain @ a @ s2)
    gains = [gain, of_x - gain @ a @ of_x - gain @ b]
    set_gaussian(vae.guide.posterior, gains, 0.2 + offset - gain @ (a @ offset + c), tril)
    return vae, log_p


@pytest.mark.parametrize("method", ["importance", "prior"])
def test_the_structured_output_variant_estimates_log_p_of_y_given_x(method):
    vae, log_p = structured()
    x = torch.randn(20, 3).double()
    y = vae.predict(x).sample()
    exact = log_p(x, y)
    estimate = evaluation.log_likelihood(vae, x, y, method=method, num_samples=20_000)
    z = (estimate - exact) / estimate.standard_error
    assert z.abs().max() < 4
    assert (evaluation.elbo(vae, x, y, num_samples=500).elbo < exact + 0.3).all()
    mixture = vae.predict(x, num_samples=20_000).log_prob(y)
    torch.testing.assert_close(mixture, exact, rtol=0, atol=0.3)


def test_m1m2_estimates_log_p_of_x(own_store):
    """z1 = A z2 + B y + c + spread, x = W z1 + w + noise: a mixture of normals over the classes."""
    full = posteriors.FullCovarianceNormal
    bottom = pv.VAE(priors.StandardNormal(D), likelihoods.Normal(SIZE, scale=SIGMA), full(), encoder=LINEAR)
    label = labels.Categorical(CLASSES, probs=PI)
    vae = randomised(pv.M1M2(bottom, label, priors.StandardNormal(D), full(), encoder=LINEAR)).double()
    first, w = vae.model.middle.network.first, vae.likelihood.network.first
    with torch.no_grad():
        for weight in first.weights:
            weight[D:] = 0.0  # the scale must not depend on z2 and y
    (a, b), c = (weight[:D].detach() for weight in first.weights), first.bias[:D].detach()
    spread = vae.model.middle(torch.zeros(1, D).double(), torch.tensor([0])).variance[0].detach()
    inner = a @ a.T + torch.diag(spread)
    gain = torch.linalg.solve(inner, a).T
    tril = torch.linalg.cholesky(torch.eye(D).double() - gain @ a)
    set_gaussian(vae.guide.posterior, [gain, -gain @ b], 0.2 - gain @ c, 1.3 * tril)
    out, offset = w.weights[0].detach(), w.bias.detach()
    covariance = out @ inner @ out.T + SIGMA**2 * torch.eye(SIZE).double()
    wide = inner + b @ b.T  # enough for every class
    gain = torch.linalg.solve(out @ wide @ out.T + SIGMA**2 * torch.eye(SIZE).double(), out @ wide).T
    tril = torch.linalg.cholesky(wide - gain @ out @ wide)
    set_gaussian(vae.guide.bottom, [gain], c - gain @ (out @ c + offset), 1.3 * tril)
    x = torch.randn(20, SIZE).double()
    of_class = [
        MultivariateNormal(out @ (b[:, k] + c) + offset, covariance).log_prob(x) + math.log(PI[k])
        for k in range(CLASSES)
    ]
    joint = torch.stack(of_class, -1).detach()
    y = torch.arange(20) % CLASSES
    for known, exact in ((None, joint.logsumexp(-1)), (y, joint[torch.arange(20), y])):
        for method in ("importance", "prior"):
            estimate = evaluation.log_likelihood(vae, x, known, method=method, num_samples=20_000)
            z = (estimate - exact) / estimate.standard_error
            assert z.abs().max() < 4
        assert (evaluation.elbo(vae, x, known, num_samples=500).elbo < exact + 0.3).all()


def test_log_p_of_a_small_m2_is_that_of_the_integral():
    vae = pv.M2(
        labels.Categorical(CLASSES, probs=PI),
        priors.StandardNormal(1),
        likelihoods.Bernoulli(4),
        encoder=networks.MLP([5], activation="tanh"),
    )
    vae = randomised(vae, 1.0).double()
    x = torch.tensor([[(i >> bit) & 1 for bit in range(4)] for i in range(16)]).double()
    z = torch.linspace(-9, 9, 4001, dtype=torch.double)
    log_prior = -0.5 * z**2 - 0.5 * math.log(2 * math.pi) + math.log(18 / 4000)
    joint = torch.stack(
        [
            (vae.likelihood(z[:, None, None], torch.full((1,), k)).log_prob(x) + log_prior[:, None]).logsumexp(0)
            + math.log(PI[k])
            for k in range(CLASSES)
        ],
        -1,
    ).detach()
    assert joint.logsumexp(-1).exp().sum().item() == pytest.approx(1.0, abs=1e-6)
    y = torch.arange(16) % CLASSES
    mixed = torch.where(torch.arange(16) < 8, y, -1)
    of_label = joint[torch.arange(16), y]
    answers = {
        "unlabelled": (None, joint.logsumexp(-1)),
        "labelled": (y, of_label),
        "mixed": (mixed, torch.where(mixed >= 0, of_label, joint.logsumexp(-1))),
    }
    for known, exact in answers.values():
        estimate = evaluation.log_likelihood(vae, x, known, num_samples=20_000)
        z_scores = (estimate - exact) / estimate.standard_error
        assert z_scores.abs().max() < 4
        assert (evaluation.elbo(vae, x, known, num_samples=500).elbo < exact + 0.1).all()

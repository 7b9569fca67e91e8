"""What tests of estimators of log p(x) share: stories whose log p(x) is known, and how near is near enough."""

import torch

import pyro_vae as pv
from pyro_vae import likelihoods, networks, posteriors, priors
from tests import family
from tests.ppca import exact_log_likelihood, raw


def plain(estimate):
    return estimate.as_subclass(torch.Tensor)


def assert_near(estimate, exact, limit=3.0, low=0.0):
    """Within ``limit`` standard errors, combined over data, which are no larger than it takes to see a mistake."""
    error = estimate.standard_error.square().mean().sqrt() / len(estimate) ** 0.5
    assert low <= error < 0.12
    assert (plain(estimate) - exact).mean().abs() < limit * error


class Linear:
    """Probabilistic PCA in any number of dimensions, with orthogonal columns, so that its posterior is diagonal."""

    """x = W z + mu + noise with a guide that is exact, or off by ``wrong``."""

    def __init__(self, size, data=None, sigma=0.5, wrong=0.0):
        data = size + 2 if data is None else data
        generator = torch.Generator().manual_seed(size)
        self.w = torch.linalg.qr(torch.randn(data, size, dtype=torch.double, generator=generator)).Q
        self.w = self.w * torch.linspace(1.5, 0.5, size, dtype=torch.double)
        self.mu, self.sigma = torch.linspace(-1, 1, data, dtype=torch.double), sigma
        self.vae = pv.VAE(
            priors.StandardNormal(size), likelihoods.Normal(data, scale=sigma), posteriors.Normal(), networks.MLP([])
        ).double()
        self.variance = sigma**2 / (self.w.square().sum(0) + sigma**2)  # of z given x
        self.gain = self.variance[:, None] * self.w.T / sigma**2  # E[z | x] = gain (x - mu)
        decoder, encoder = (part.network.first for part in (self.vae.likelihood, self.vae.guide.posterior))
        with torch.no_grad():
            decoder.weights[0].copy_(self.w)
            decoder.bias.copy_(self.mu)
            encoder.weights[0].zero_()
            encoder.weights[0][:size] = self.gain
            encoder.bias[:size] = wrong - self.gain @ self.mu
            encoder.bias[size:] = raw((1 + wrong) * self.variance.sqrt())

    def draw(self, n):
        z = torch.randn(n, self.w.shape[1], dtype=torch.double)
        return z @ self.w.T + self.mu + self.sigma * torch.randn(n, len(self.mu), dtype=torch.double)

    def log_likelihood(self, x):
        return exact_log_likelihood(self.vae, x)

    def posterior_mean(self, x):
        return (x - self.mu) @ self.gain.T


CODES = {
    "bits": lambda: (priors.Bernoulli(4), posteriors.Bernoulli()),
    "one_hot": lambda: (priors.Categorical(2, classes=3), posteriors.Categorical()),
}


def discrete(kind):
    prior, posterior = CODES[kind]()
    vae = pv.VAE(prior, likelihoods.Bernoulli(6), posterior, networks.MLP([8], "tanh"))
    return family.randomised(vae, 0.8).double(), torch.bernoulli(torch.full((4, 6), 0.5)).double()


def brute_force(vae, x):
    """All codes (M, \\*event), log p(x) (N,), and the posterior (M, N), through the variant's parts alone."""
    size, rest = vae.model.prior.size, vae.model.prior.shape[1:]
    each = torch.eye(*rest, dtype=torch.double) if rest else torch.tensor([0.0, 1.0], dtype=torch.double)
    numbers = torch.cartesian_prod(*[torch.arange(len(each))] * size)
    codes = each[numbers]
    log_p = vae.code_prior().log_prob(codes)[:, None] + vae.decode(
        codes[:, None].expand(-1, len(x), *codes.shape[1:])
    ).log_prob(x)
    return codes, log_p.logsumexp(0).detach(), log_p.softmax(0).detach()

"""A VAE whose log p(x), posterior and gradients are known: probabilistic PCA (Tipping & Bishop 1999).

z ~ N(0, I), x | z ~ N(W z + mu, sigma^2 I), so x ~ N(mu, W W^T + sigma^2 I) and, with M = W^T W + sigma^2 I,
z | x ~ N(M^-1 W^T (x - mu), sigma^2 M^-1).
"""

import math

import scipy.stats
import torch

import pyro_vae as pv
from pyro_vae import likelihoods, networks, posteriors, priors

SIZE, DATA = 2, 4
SIGMA = 0.6


def raw(scale):
    """The inverse of pyro_vae.parts.positive, whose definition is softplus(raw + log(e - 1)) + 1e-6."""
    return torch.log(torch.expm1(torch.as_tensor(scale, dtype=torch.float64) - 1e-6)) - math.log(math.e - 1)


def mixing(orthogonal):
    generator = torch.Generator().manual_seed(4)
    w = torch.randn(DATA, SIZE, dtype=torch.float64, generator=generator)
    return torch.linalg.qr(w).Q * torch.tensor([1.5, 0.7]) if orthogonal else w


class PPCA:
    """The variant with weights set by hand, and the exact answers about it."""

    def __init__(self, posterior="full", beta=1.0, objective=None):
        make = {"full": posteriors.FullCovarianceNormal, "diagonal": posteriors.Normal}[posterior]
        self.vae = pv.VAE(
            priors.StandardNormal(SIZE),
            likelihoods.Normal(DATA, scale="shared"),
            make(),
            networks.MLP([]),
            beta=beta,
            objective=objective,
        ).double()
        self.w = mixing(orthogonal=posterior == "diagonal")
        self.mu = torch.tensor([0.5, -1.0, 0.0, 2.0], dtype=torch.float64)
        self.m = self.w.T @ self.w + SIGMA**2 * torch.eye(SIZE, dtype=torch.float64)
        self.gain = torch.linalg.solve(self.m, self.w.T)  # posterior mean = gain (x - mu)
        self.covariance = SIGMA**2 * torch.linalg.inv(self.m)
        decoder, likelihood = self.vae.likelihood.network.first, self.vae.likelihood
        with torch.no_grad():
            decoder.weights[0].copy_(self.w)
            decoder.bias.copy_(self.mu)
            likelihood.raw_scale.copy_(raw(SIGMA))
        self.set_guide(self.gain, -self.gain @ self.mu, torch.linalg.cholesky(self.covariance))

    def set_guide(self, gain, offset, scale_tril):
        """q(z | x) = N(gain x + offset, L L^T)."""
        encoder = self.vae.guide.posterior.network.first
        with torch.no_grad():
            encoder.weights[0].zero_()
            encoder.weights[0][:SIZE] = gain
            encoder.bias[:SIZE] = offset
            encoder.bias[SIZE : 2 * SIZE] = raw(scale_tril.diagonal())
            if len(encoder.bias) > 2 * SIZE:
                encoder.bias[2 * SIZE :] = scale_tril[1, 0]

    def set_wrong_guide(self):
        exact = torch.linalg.cholesky(self.covariance)
        self.set_guide(self.gain * 0.8, 0.1 - self.gain @ self.mu, exact * 1.3)

    def draw(self, n):
        z = torch.randn(n, SIZE, dtype=torch.float64)
        return z @ self.w.T + self.mu + SIGMA * torch.randn(n, DATA, dtype=torch.float64)

    def log_likelihood(self, x):
        covariance = self.w @ self.w.T + SIGMA**2 * torch.eye(DATA, dtype=torch.float64)
        return torch.as_tensor(scipy.stats.multivariate_normal(self.mu, covariance).logpdf(x))


def exact_log_likelihood(vae, x):
    """log p(x) of any linear-Gaussian VAE with weights as they are, (N,)."""
    decoder = vae.likelihood.network.first
    w = decoder.weights[0].detach()
    sigma = vae.likelihood(torch.zeros(1, vae.latent_size, dtype=w.dtype)).stddev[0].detach()
    covariance = w @ w.T + torch.diag(sigma**2)
    return torch.distributions.MultivariateNormal(decoder.bias.detach(), covariance).log_prob(x)


def exact_terms(vae, x):
    """E_q[log p(x | z)] and KL(q || p), (N,) each, by the formulas, differentiable in all weights."""
    decoder = vae.likelihood.network.first
    w, mu = decoder.weights[0], decoder.bias
    q = vae.guide.posterior(x)
    mean, covariance = q.mean, covariance_of(q)
    variance = vae.likelihood(mean).variance[0, 0]
    residual = x - mean @ w.T - mu
    spread = torch.einsum("di,bij,dj->b", w, covariance, w)
    reconstruction = -0.5 * (DATA * torch.log(2 * math.pi * variance) + (residual**2).sum(-1) / variance)
    reconstruction = reconstruction - 0.5 * spread / variance
    trace = covariance.diagonal(dim1=-2, dim2=-1).sum(-1)
    kl = 0.5 * (trace + (mean**2).sum(-1) - SIZE - torch.logdet(covariance))
    return reconstruction, kl


def covariance_of(q):
    return q.covariance_matrix if hasattr(q, "covariance_matrix") else torch.diag_embed(q.variance)

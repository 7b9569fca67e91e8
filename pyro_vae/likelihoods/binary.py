"""Likelihoods for pixels that are black, white or in between."""

from __future__ import annotations

import math
from collections.abc import Callable

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.distributions import constraints
from torch.distributions.utils import broadcast_all

from pyro_vae.likelihoods.base import Likelihood

__all__ = ["Bernoulli", "ContinuousBernoulli", "UnnormalisedBernoulli"]

_MARGIN = 1e-3  # keeps the starting logits of pixels that are always black finite


class _Logits(Likelihood):
    family: Callable[..., TorchDistribution]
    name: str

    def distribution(self, parameters: Tensor) -> TorchDistribution:
        (logits,) = self.split(parameters)
        return self.family(logits=logits, validate_args=False).to_event(len(self.shape))

    def starting_parameters(self, x: Tensor) -> Tensor:
        return x.mean(0, keepdim=True).clamp(_MARGIN, 1 - _MARGIN).logit()

    def remedy_for(self, x: Tensor) -> str:
        bytes_perhaps = ((x >= 0) & (x <= 255) & (x == x.round())).all() and x.max() > 1
        return f"bytes 0..255 become grey values in [0, 1] by x / 255; {self.remedy}" if bytes_perhaps else self.remedy

    def words(self) -> str:
        return f"{self.name}, for each of {'x'.join(map(str, self.shape))} values, with logits from the decoder"


class _Bernoulli(dist.Bernoulli):
    """torch's, whose density of large batches makes one tensor less: a tenth of the time to estimate log p(x)."""

    def log_prob(self, value: Tensor) -> Tensor:
        logits, value = broadcast_all(self.logits, value)
        return nn.functional.binary_cross_entropy_with_logits(logits, value, reduction="none").neg_()


class Bernoulli(_Logits):
    """p(x | z) = prod_i Bernoulli(x_i; sigmoid(f_i(z))) for binary data, 0 or 1.

    Args:
        shape: event shape of one datum.

    Example:
        >>> import pyro_vae as pv
        >>> from pyro_vae import likelihoods, networks
        >>> likelihood = likelihoods.Bernoulli((1, 8, 8))
        >>> likelihood.connect(networks.MLP([16]), (2,))
        >>> likelihood(torch.zeros(5, 2)).event_shape  # z in, p(x | z) out
        torch.Size([1, 8, 8])

    References:
        Kingma & Welling, Auto-Encoding Variational Bayes, 2014, appendix C.1 (https://arxiv.org/abs/1312.6114)
    """

    family = _Bernoulli
    name = "a Bernoulli"
    support = constraints.boolean
    support_words = "0 or 1"
    remedy = (
        "for grey values in [0, 1] use likelihoods.ContinuousBernoulli, or binarise them: "
        "pv.fit(..., transform=data.binarize)"
    )

    def latex(self) -> str:
        return r"\mathrm{Bernoulli}(\sigma(f_\theta(z)))"


class _ContinuousBernoulli(dist.ContinuousBernoulli):
    """torch's, with everything from the logits t.

    torch computes normaliser, mean and draws from the probability, which in single precision leaves no trace of the
    logit beyond 15: the density at a logit of 25 then integrates to 0.64, and a mean of 0.98 is given as 0.94.
    """

    def _split_logits(self) -> tuple[Tensor, Tensor, Tensor]:
        """|t| (1 where small), whether t is positive, and whether it is so small that a series is wanted."""
        size = self.logits.abs()
        small = size < 0.1
        return torch.where(small, torch.ones_like(size), size), self.logits > 0, small

    @property
    def mean(self) -> Tensor:
        a, positive, small = self._split_logits()
        mean = 1 / -torch.expm1(-a) - 1 / a
        t = self.logits
        return torch.where(small, 0.5 + t / 12 - t**3 / 720, torch.where(positive, mean, 1 - mean))

    @property
    def variance(self) -> Tensor:
        a, _, small = self._split_logits()
        variance = 1 / a**2 - 1 / (4 * torch.sinh(a / 2) ** 2)
        return torch.where(small, 1 / 12 - self.logits**2 / 240, variance)

    def icdf(self, value: Tensor) -> Tensor:
        a, positive, small = self._split_logits()
        v = torch.where(positive, value, 1 - value)
        m = torch.log(v + (1 - v) * torch.exp(-a)) / a
        series = value + self.logits * value * (1 - value) / 2
        return torch.where(small, series, torch.where(positive, 1 + m, -m)).clamp(0, 1)

    def cdf(self, value: Tensor) -> Tensor:
        x = value.clamp(0, 1)
        a, positive, small = self._split_logits()
        # of a positive logit, and of a negative one from the other end
        v = torch.where(positive, 1 - x, x)
        tail = torch.expm1(-a * v) / torch.expm1(-a)
        series = x + self.logits * x * (x - 1) / 2
        return torch.where(small, series, torch.where(positive, 1 - tail, tail))

    def entropy(self) -> Tensor:
        # -E log p(x) = -log C - t E x + log(1 + e^t)
        return torch.nn.functional.softplus(self.logits) - self.logits * self.mean - self._cont_bern_log_norm()

    def _cont_bern_log_norm(self) -> Tensor:
        # log C = log(2 atanh(1 - 2 l) / (1 - 2 l)) = log((t / 2) / tanh(t / 2)) + log 2 for a logit t
        half = self.logits.abs() / 2
        small = half < 0.1  # where both go to 0, log(h / tanh h) = h^2 / 3 - 7 h^4 / 90 + O(h^6)
        safe = torch.where(small, torch.ones_like(half), half)
        series = half**2 * (1 / 3 - half**2 * (7 / 90 - half**2 * 62 / 2835))
        return math.log(2) + torch.where(small, series, torch.log(safe / torch.tanh(safe)))


class ContinuousBernoulli(_Logits):
    """p(x | z) = prod_i C(l_i) l_i^x_i (1 - l_i)^(1 - x_i), l_i = sigmoid(f_i(z)), for grey values in [0, 1].

    The density that binary cross-entropy on grey pixels leaves unnormalised.

    Args:
        shape: event shape of one datum.

    References:
        Loaiza-Ganem & Cunningham, The continuous Bernoulli: fixing a pervasive error in variational
        autoencoders, 2019, equations 2 to 8 (https://arxiv.org/abs/1907.06845)
    """

    family = _ContinuousBernoulli
    name = "a continuous Bernoulli"
    support = constraints.unit_interval
    support_words = "the interval [0, 1]"
    remedy = "rescale them (x / x.max()), or use likelihoods.Normal for real values"

    def starting_parameters(self, x: Tensor) -> Tensor:
        # the mean of a continuous Bernoulli is not its parameter; a few Newton steps in the logit invert it
        target = x.mean(0, keepdim=True).double().clamp(_MARGIN * 20, 1 - _MARGIN * 20)
        logits = torch.zeros_like(target) + 1e-2 * (target - 0.5).sign()
        for _ in range(50):
            safe = torch.where(logits.abs() < 1e-3, torch.full_like(logits, 1e-3), logits)
            mean = 1 / (1 - torch.exp(-safe)) - 1 / safe
            slope = 1 / safe**2 - 1 / (4 * torch.sinh(safe / 2) ** 2)
            logits = safe + ((target - mean) / slope).clamp(-2, 2)
        return logits.to(x.dtype)

    def latex(self) -> str:
        return r"\mathcal{CB}(\sigma(f_\theta(z)))"


class _CrossEntropy(dist.Bernoulli):
    """A Bernoulli scored at grey values."""

    support = constraints.unit_interval


class UnnormalisedBernoulli(_Logits):
    """Binary cross-entropy on grey values in [0, 1]: a habit, not a likelihood.

    For x strictly between 0 and 1 this is no density in x (it does not integrate to one), so its "ELBO" bounds no
    log p(x) and must not be compared with that of a real likelihood.  It is here because much published code
    trains with it; :class:`ContinuousBernoulli` is the honest form.  Draws from it are 0 or 1.

    Args:
        shape: event shape of one datum.
    """

    has_density = False
    family = _CrossEntropy
    name = "a Bernoulli scored at grey values (unnormalised)"
    support = constraints.unit_interval
    support_words = "the interval [0, 1]"
    remedy = "rescale them (x / x.max())"

    def latex(self) -> str:
        return r"\mathrm{CrossEntropy}(\sigma(f_\theta(z)))"

"""Estimators of log p(x)."""

from __future__ import annotations

import math
from typing import Any

import pyro
import torch
from pyro import poutine
from torch import Tensor

from pyro_vae.errors import DataError, check_choice, check_positive
from pyro_vae.evaluation.elbo import traces
from pyro_vae.program import sample_sites
from pyro_vae.variants.base import Variant, evaluating

__all__ = ["Estimate", "log_likelihood"]


class Estimate(Tensor):
    """A tensor of estimates with the ``standard_error`` of each beside it.

    Arithmetic on it gives plain tensors.
    """

    standard_error: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]


def _log_joint(trace: Any, *, observed_only: bool = False) -> Tensor:
    """Sum of the sites' log-probabilities, (K, N), without the weights that training may put on them."""
    total: Any = 0.0
    for site in sample_sites(trace):
        if site["is_observed"] or not observed_only:
            total = total + site["fn"].log_prob(site["value"])
    return total


def _importance(variant: Variant, x: Tensor, num_samples: int) -> Tensor:
    """log p(x, z) - log q(z | x) for draws from the guide, (K, N)."""
    guide_trace, model_trace = traces(variant, x, num_samples)
    return _log_joint(model_trace) - _log_joint(guide_trace)


def _prior(variant: Variant, x: Tensor, num_samples: int) -> Tensor:
    """log p(x | z) for draws from the prior, (K, N)."""
    with pyro.plate("num_samples", num_samples, dim=-2):
        trace = poutine.trace(variant.model).get_trace(*variant.program_arguments(x))
    return _log_joint(trace, observed_only=True)


_METHODS = {"importance": _importance, "prior": _prior}


def log_likelihood(
    variant: Variant,
    x: Any,
    *,
    method: str = "importance",
    num_samples: int = 1000,
    chunk: int = 10_000,
) -> Estimate:
    """Estimate log p(x) of each datum, in nats: the log of the mean of K importance weights.

    The estimate is biased downwards (Jensen), less so with more samples.  The standard error is that of the mean
    weight by the delta method, sd(w) / (mean(w) sqrt(K)); where a few weights dominate it is too small, and of a
    single sample it is NaN.

    Args:
        variant: any variant whose prior has a density.
        x: data (N, \\*shape).
        method: ``"importance"``, with z from the guide (Burda et al. 2016, equation 8), or ``"prior"``, with z
            from the prior: direct Monte Carlo, hopeless beyond a few latent dimensions.
        num_samples: K, draws per datum.
        chunk: how many draws (data times samples) are held in memory at once.

    Returns:
        (N,) estimates, with ``.standard_error`` (N,).

    Raises:
        DataError: when the data do not fit, or the guide has no density.
        ConfigurationError: for an unknown method.

    Example:
        >>> import pyro_vae as pv
        >>> from pyro_vae import evaluation, likelihoods, priors
        >>> vae = pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(5))
        >>> estimate = evaluation.log_likelihood(vae, torch.zeros(7, 5), num_samples=10)
        >>> estimate.shape, estimate.standard_error.shape
        (torch.Size([7]), torch.Size([7]))

    References:
        Burda, Grosse & Salakhutdinov, Importance Weighted Autoencoders, 2016 (https://arxiv.org/abs/1509.00519)
    """
    log_weights = _METHODS[check_choice("method", method, _METHODS)]
    check_positive("num_samples", num_samples)
    check_positive("chunk", chunk)
    missing = variant.model.parts_without_density()
    if log_weights is not _prior:
        missing += variant.guide.parts_without_density()
    if missing:
        names = ", ".join(map(repr, missing))
        raise DataError(f"log p(x) cannot be estimated: {names} {'have' if missing[1:] else 'has'} no density")
    x = variant.as_data(x)
    data_at_once = max(1, min(len(x), chunk // min(num_samples, chunk)))
    samples_at_once = max(1, min(num_samples, chunk // data_at_once))
    values, errors = [], []
    with torch.no_grad(), evaluating(variant):
        for batch in x.split(data_at_once):
            first, second = [], []  # log of the sums of w and of w^2
            for start in range(0, num_samples, samples_at_once):
                log_w = log_weights(variant, batch, min(samples_at_once, num_samples - start)).double()
                first.append(log_w.logsumexp(0))
                second.append((2 * log_w).logsumexp(0))
            log_sum, log_squares = (torch.stack(parts).logsumexp(0) for parts in (first, second))
            values.append(log_sum - math.log(num_samples))
            # variance of the mean over its square: sum w^2 / (sum w)^2 - 1 / K
            relative = (log_squares - 2 * log_sum).exp() - 1 / num_samples
            unknown = torch.full_like(relative, math.nan)  # one draw says nothing about its spread
            errors.append(relative.clamp(min=0).sqrt() if num_samples > 1 else unknown)
    estimate = torch.cat(values).to(variant.dtype).as_subclass(Estimate)
    estimate.standard_error = torch.cat(errors).to(variant.dtype)
    return estimate

"""Estimators of log p(x)."""

from __future__ import annotations

import math
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.distributions import Unit
from torch import Tensor

from pyro_vae.errors import DataError, check_choice, check_positive
from pyro_vae.evaluation.elbo import PLATES, alike, traces
from pyro_vae.objectives.enumeration import is_enumerated, log_density
from pyro_vae.program import sample_sites
from pyro_vae.variants.base import Variant, evaluating

__all__ = ["Estimate", "at_once", "check_density", "log_joint", "log_likelihood"]


class Estimate(Tensor):
    """A tensor of estimates with the ``standard_error`` of each beside it.

    Arithmetic on it gives plain tensors.
    """

    standard_error: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]


def log_joint(trace: Any, *, observed_only: bool = False) -> Tensor:
    """Sum of the sites' log-probabilities, (\\*enumerated, K, N), without the weights of training.

    What programs add by ``pyro.factor`` is part of training, not of the density.
    """
    total: Any = 0.0
    for site in sample_sites(trace):
        if (site["is_observed"] or not observed_only) and not isinstance(site["fn"], Unit):
            total = total + log_density(site)
    return total


def _importance(variant: Variant, x: Tensor, y: Tensor | None, num_samples: int) -> Tensor:
    """log p(x, z) - log q(z | x) for draws from the guide, (K, N)."""
    guide_trace, model_trace = traces(variant, x, y, num_samples)
    log_q: Any = 0.0
    for site in sample_sites(guide_trace):
        # enumerated values are no draws: p(x) sums over them with the weight 1
        if not isinstance(site["fn"], Unit) and not is_enumerated(site):
            log_q = log_q + log_density(site)
    log_w = log_joint(model_trace) - log_q
    return log_w.logsumexp(tuple(range(log_w.dim() - PLATES))) if log_w.dim() > PLATES else log_w


def _prior(variant: Variant, x: Tensor, y: Tensor | None, num_samples: int) -> Tensor:
    """log p(x | z) for draws from the prior, (K, N)."""
    with pyro.plate("num_samples", num_samples, dim=-PLATES):
        trace = poutine.trace(variant.model).get_trace(*variant.program_arguments(x, y))
    return log_joint(trace, observed_only=True)


def check_density(variant: Variant, *, guide: bool = True) -> None:
    """Check that all parts have a density.

    Args:
        variant: any variant.
        guide: whether those of the guide need one.

    Raises:
        DataError: naming those that have none.
    """
    missing = variant.model.parts_without_density() + (variant.guide.parts_without_density() if guide else [])
    if missing:
        names = ", ".join(map(repr, missing))
        raise DataError(f"log p(x) cannot be estimated: {names} {'have' if missing[1:] else 'has'} no density")


def at_once(n: int, num_samples: int, chunk: int) -> tuple[int, int]:
    """How many of ``n`` data, and of ``num_samples`` draws for each, go through the networks together.

    Args:
        n: number of data.
        num_samples: draws per datum.
        chunk: the most draws (data times samples) that may be in memory at once.

    Example:
        >>> at_once(64, 100, 1000), at_once(64, 100, 30)
        ((10, 100), (1, 30))
    """
    data = max(1, min(n, chunk // min(num_samples, chunk)))
    return data, max(1, min(num_samples, chunk // data))


_METHODS = {"importance": _importance, "prior": _prior}


def log_likelihood(
    variant: Variant,
    x: Any,
    y: Any = None,
    *,
    method: str = "importance",
    num_samples: int = 1000,
    chunk: int = 10_000,
) -> Estimate:
    """Estimate log p(x) of each datum, in nats: the log of the mean of K importance weights.

    Where labels are given it is log p(x, y), with missing ones summed out exactly; in a conditional variant it is
    log p(x | y), where x is what predictions are made from log p(y | x) (the conditional log-likelihood, CLL).

    The estimate is biased downwards (Jensen), less so with more samples.  The standard error is that of the mean
    weight by the delta method, sd(w) / (mean(w) sqrt(K)); where a few weights dominate it is too small, and of a
    single sample it is NaN.

    Args:
        variant: any variant whose prior has a density.
        x: data (N, \\*shape), or a split.
        y: labels, in variants that have them; -1 or NaN where they are missing.
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
    check_density(variant, guide=log_weights is not _prior)
    x, y = variant.batch(x, y)
    data_at_once, samples_at_once = at_once(len(x), num_samples, chunk)
    values, errors = torch.zeros(len(x), dtype=torch.double), torch.zeros(len(x), dtype=torch.double)
    with torch.no_grad(), evaluating(variant):
        for some in (some for _, rows in alike(variant, y, len(x)) for some in rows.split(data_at_once)):
            first, second = [], []  # log of the sums of w and of w^2
            for start in range(0, num_samples, samples_at_once):
                draws = min(samples_at_once, num_samples - start)
                log_w = log_weights(variant, x[some], None if y is None else y[some], draws).double()
                log_w = log_w.expand(draws, len(some))
                first.append(log_w.logsumexp(0))
                second.append((2 * log_w).logsumexp(0))
            log_sum, log_squares = (torch.stack(parts).logsumexp(0) for parts in (first, second))
            values[some] = (log_sum - math.log(num_samples)).cpu()
            # variance of the mean over its square: sum w^2 / (sum w)^2 - 1 / K
            relative = (log_squares - 2 * log_sum).exp() - 1 / num_samples
            unknown = torch.full_like(relative, math.nan)  # one draw says nothing about its spread
            errors[some] = (relative.clamp(min=0).sqrt() if num_samples > 1 else unknown).cpu()
    estimate = values.to(variant.device, variant.dtype).as_subclass(Estimate)
    estimate.standard_error = errors.to(variant.device, variant.dtype)
    return estimate

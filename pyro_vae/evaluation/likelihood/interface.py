"""log p(x) of each datum, by any method."""

from __future__ import annotations

from typing import Any

import torch

from pyro_vae.errors import ConfigurationError, check_choice, check_positive
from pyro_vae.evaluation.elbo import alike
from pyro_vae.evaluation.likelihood.annealed import AIS
from pyro_vae.evaluation.likelihood.estimate import Estimate, Method, check_density
from pyro_vae.evaluation.likelihood.exact import Exact
from pyro_vae.evaluation.likelihood.sampled import Importance, Prior
from pyro_vae.evaluation.progress import progress_bar
from pyro_vae.variants.base import Variant
from pyro_vae.variants.contexts import evaluating

__all__ = ["log_likelihood", "log_likelihood_per_class"]

_METHODS: dict[str, type[Method]] = {"importance": Importance, "prior": Prior, "ais": AIS, "exact": Exact}


def log_likelihood(
    variant: Variant,
    x: Any,
    y: Any = None,
    *,
    method: str | Method = "importance",
    num_samples: int | None = None,
    chunk: int = 10_000,
    progress: bool | str = "auto",
) -> Estimate:
    """Estimate log p(x) of each datum, in nats: the log of the mean of K weights whose expectation is p(x).

    Where labels are given it is log p(x, y); a missing class is summed out exactly (drawn, as z is, by
    ``method="prior"``), a missing property drawn from q(y | x).  In a conditional variant it is
    log p(x | y), where x is what predictions are made from log p(y | x) (the conditional log-likelihood, CLL).

    The estimate is biased downwards (Jensen), less so with more samples.  The standard error is that of the mean
    weight by the delta method, sd(w) / (mean(w) sqrt(K)); where a few weights dominate it is too small, and of a
    single sample it is NaN.

    - ``"importance"``: draws from the guide (:class:`Importance`).  The first choice, and as good as the guide is.
    - ``"ais"``: chains that walk from the prior or the guide to the posterior (:class:`AIS`).  A thousand times
      dearer, and to be trusted where the guide is not; :func:`bidirectional` says how far.
    - ``"exact"``: no estimate (:class:`Exact`), for linear-Gaussian stories and few discrete codes.
    - ``"prior"``: draws from the prior (:class:`Prior`); hopeless beyond a few latent dimensions.

    Args:
        variant: any variant whose prior has a density.
        x: data (N, \\*shape), or a split.
        y: labels, in variants that have them; -1 or NaN where they are missing.
        method: one of these names, or the method itself with its settings: ``AIS(steps=5000, start="guide")``.
        num_samples: K, draws or chains per datum; 1,000 draws or 16 chains if not given.
        chunk: how many draws (data times samples) are held in memory at once.
        progress: show a progress bar; ``"auto"`` shows it on terminals.

    Returns:
        (N,) estimates, with ``.standard_error`` (N,).

    Raises:
        DataError: when the data do not fit, or a part that the method needs has no density.
        ConfigurationError: for an unknown method, or one that the variant's latents do not allow.

    Example:
        >>> import pyro_vae as pv
        >>> from pyro_vae import evaluation, likelihoods, priors
        >>> vae = pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(5))
        >>> estimate = evaluation.log_likelihood(vae, torch.zeros(7, 5), num_samples=10)
        >>> estimate.shape, estimate.standard_error.shape
        (torch.Size([7]), torch.Size([7]))
        >>> ais = evaluation.AIS(steps=20, leapfrog=5)
        >>> evaluation.log_likelihood(vae, torch.zeros(7, 5), method=ais, num_samples=4).shape
        torch.Size([7])

    References:
        Burda, Grosse & Salakhutdinov, Importance Weighted Autoencoders, 2016 (https://arxiv.org/abs/1509.00519);
        Wu, Burda, Salakhutdinov & Grosse, On the Quantitative Analysis of Decoder-Based Generative Models, 2017
        (https://arxiv.org/abs/1611.04273)
    """
    if not isinstance(method, Method):
        method = _METHODS[check_choice("method", method, _METHODS)]()
    num_samples = check_positive("num_samples", method.num_samples if num_samples is None else num_samples)
    check_positive("chunk", chunk)
    check_density(variant, guide=method.reads_guide)
    x, y = variant.batch(x, y)
    values, errors = torch.zeros(len(x), dtype=torch.double), torch.zeros(len(x), dtype=torch.double)
    bar = progress_bar(f"log p by {method!r}", len(x) * num_samples, progress)
    with torch.no_grad(), evaluating(variant), bar as advance:
        for _, rows in alike(variant, y, len(x)):
            some = x[rows], None if y is None else y[rows]
            values[rows], errors[rows] = method.estimate(variant, *some, num_samples, chunk, advance)
    return Estimate.of(values.to(variant.device, variant.dtype), errors.to(variant.device, variant.dtype))


def log_likelihood_per_class(variant: Variant, x: Any, **settings: Any) -> Estimate:
    """log p(x, y = k) of each datum for every class k, or log p(x | y = k) where the class is given to the story.

    The softmax of log p(x, y = k) over the classes is p(y | x) of the generative model itself, which the classifier
    q(y | x) only approximates.

    Args:
        variant: one whose data depend on a class.
        x: data (N, \\*shape), or a split, whose labels play no part.
        settings: as for :func:`log_likelihood`.

    Returns:
        (N, K) estimates, with ``.standard_error`` (N, K).

    Raises:
        ConfigurationError: in a variant whose data do not depend on a class.
        DataError: when the data do not fit.

    Example:
        >>> import pyro_vae as pv
        >>> from pyro_vae import evaluation, likelihoods, priors
        >>> m2 = pv.M2(3, priors.StandardNormal(2), likelihoods.Bernoulli(5))
        >>> evaluation.log_likelihood_per_class(m2, torch.zeros(7, 5), num_samples=10).softmax(-1).shape
        torch.Size([7, 3])
    """
    classes = variant.label.classes if variant.label is not None else None
    if classes is None or not (variant.programs_see_labels and variant.explains_data):
        raise ConfigurationError(
            f"{type(variant).__name__} has no class that the story of its data knows of; use log_likelihood(variant, x)"
        )
    x = variant.as_data(x)
    found = [log_likelihood(variant, x, torch.full((len(x),), k), **settings) for k in range(classes)]
    errors = torch.stack([estimate.standard_error for estimate in found], -1)
    return Estimate.of(torch.stack([estimate.as_subclass(torch.Tensor) for estimate in found], -1), errors)

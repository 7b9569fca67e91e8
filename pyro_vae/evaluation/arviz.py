"""What a variant says of data, as a container of ArviZ: draws, densities and data with named dimensions."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyro
import torch
from torch import Tensor

import pyro_vae
from pyro_vae.configured import show
from pyro_vae.errors import ConfigurationError, check_choice, check_positive
from pyro_vae.evaluation.coordinates import Layout, named_in
from pyro_vae.evaluation.draws import Draws, explain, from_container, from_guide, from_prior, predict_missing
from pyro_vae.evaluation.inference_data import dataset_of, effective_sample_size, inference_data, pareto_smoothed
from pyro_vae.evaluation.likelihood import check_density
from pyro_vae.likelihoods import Likelihood
from pyro_vae.randomness import seeded
from pyro_vae.variants.base import Variant

__all__ = ["GROUPS", "attributes", "to_arviz"]

GROUPS = (
    "posterior",
    "posterior_predictive",
    "prior",
    "prior_predictive",
    "log_likelihood",
    "sample_stats",
    "observed_data",
    "constant_data",
)
"""Every group that :func:`to_arviz` can make, in the order of its answer."""

MCMC_SETTINGS = ("seed", "num_chains", "warmup_steps", "max_tree_depth", "target_accept")
"""What the attributes of chains say about how they were run."""


def to_arviz(
    variant: Variant,
    x: Any,
    y: Any = None,
    *,
    num_samples: int = 100,
    prior_samples: int = 100,
    seed: int = 0,
    resample: bool = False,
    posterior: Any = None,
    groups: Sequence[str] | None = None,
    coords: Mapping[str, Sequence[Any]] | None = None,
    chunk: int = 10_000,
) -> Any:
    """Draws, densities and data of a variant in the form that ArviZ's summaries, diagnostics and plots take.

    Groups, of which those are left out that a variant has no meaning for:

    - ``posterior``: draws of all latents from the guide, z ~ q(z | x), and of y where a label is missing.
    - ``posterior_predictive``: for each draw, what is observed drawn anew, x ~ p(x | z) with a known label as it is.
    - ``prior`` and ``prior_predictive``: as many data again from the model alone.
    - ``log_likelihood``: log p of each observed site given its draw, such as log p(x | z), in nats for each datum.
    - ``sample_stats``: ``log_weight``, log p(x, z) - log q(z | x) in nats (of all that is observed and latent);
      ``pareto_k``, k-hat of the weights of each datum, and ``importance_ess``, how many independent draws from the
      exact posterior they are worth.  Where k-hat is above 0.7 the guide misses much of that posterior; with fewer
      than 30 draws it is infinite, which says nothing.
    - ``observed_data``, and ``constant_data``: what is given but not explained, such as the label in a conditional
      variant and the x that predictions are made from.

    Dimensions are ``chain`` (one), ``draw``, ``datum``, ``latent`` (``latent1``, ... where there are several), for
    images ``channel``, ``row`` and ``column``, for tables ``feature``, for labels ``property``; a missing label's
    draws are on ``unlabelled``, known labels on ``labelled``, where there are both.  Classes are their numbers;
    ``class`` holds their names.

    **These are draws from the guide**, not from the exact posterior, and independent of each other: the effective
    sample sizes that ArviZ computes along ``draw`` say nothing about how good the guide is (and its R-hat wants
    several chains); ``pareto_k`` does.  ``resample=True`` draws from them again, for each datum by its
    Pareto-smoothed weights, which brings them to the exact posterior where k-hat is below 0.7.  A few draws then
    stand there many times: ``importance_ess``, not ArviZ's ESS, says how many they are worth.  ``sample_stats`` has
    the weights before, as ``proposal_log_weight``.

    **Leave-one-out** (``az.loo(..., var_name="x")``) runs, but do not trust it.  Codes are each datum's own and the
    weights of the networks are fixed, so that what the other data say of datum n is just p(x_n): ``loo`` estimates
    log p(x) as minus the log of the mean of 1 / p(x | z) over the posterior.  Where a datum says much of its code the
    variance of that is infinite, and the answer far too good: 1.5 nats per datum in a linear-Gaussian example with
    the exact posterior, and worse with draws from a guide that is narrower.  It holds only where k-hat is below 0.7
    in ``loo`` and in ``sample_stats``.  Nor is it a test on new data: the networks were trained on all of them.  What
    it is wanted for is :func:`pyro_vae.evaluation.log_likelihood` on a test set.  ArviZ 1 raises "All tail values are
    the same" where a log-density is the same in all draws (log p(y) in M2), or the same few values come again and
    again (codes that are discrete, draws that were drawn again).

    All is held in memory: new draws of x are the most, ``num_samples`` times the data (and ``prior_samples`` times);
    leave them out by ``groups``, or give fewer data.

    Args:
        variant: any variant.
        x: data (N, \\*shape), or a split.
        y: labels, in variants that have them; -1 or NaN where they are missing.
        num_samples: draws from the guide per datum.
        prior_samples: draws from the prior; each is of as many data as there are in ``x``.
        seed: of all draws; the random stream outside is left alone.
        resample: whether to draw again by importance weights.
        posterior: draws to use in place of the guide's, from :func:`pyro_vae.evaluation.posterior_mcmc` for the same
            data; ``sample_stats`` are those of the chains then.
        groups: names of the groups to make; all if not given.
        coords: names along dimensions, such as ``{"feature": dataset.feature_names, "class": ["cat", "dog"]}``; those
            of ``posterior`` stay where none are given.
        chunk: how many draws (data times samples) go through the networks at once.

    Returns:
        ``InferenceData`` up to ArviZ 0.23, xarray's ``DataTree`` from 1.0 on; both have ``to_netcdf``.  Its attributes
        say how it was made: versions, the variant in text, objective, seed, numbers of draws; ``mcmc_seed`` and the
        like are the settings of chains.

    Raises:
        ConfigurationError: for an unknown group, coordinates that do not fit, a model with a latent that its guide
            does not propose, or ``resample`` of draws that are not the guide's.
        DataError: when the data do not fit, or for ``resample`` in a variant without a density.

    Example:
        >>> import pyro_vae as pv
        >>> from pyro_vae import likelihoods, priors
        >>> vae = pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli((1, 4, 4)))
        >>> idata = pv.to_arviz(vae, torch.zeros(3, 1, 4, 4), num_samples=50)
        >>> idata["posterior"]["z"].dims, idata["posterior"]["z"].shape
        (('chain', 'draw', 'datum', 'latent'), (1, 50, 3, 2))
        >>> idata["posterior_predictive"]["x"].dims
        ('chain', 'draw', 'datum', 'channel', 'row', 'column')
        >>> idata["sample_stats"]["pareto_k"].shape
        (3,)

    References:
        Yao, Vehtari, Simpson & Gelman, Yes, but Did It Work?: Evaluating Variational Inference, 2018, on k-hat
        (https://arxiv.org/abs/1802.02538); Vehtari, Gelman & Gabry, Practical Bayesian model evaluation using
        leave-one-out cross-validation and WAIC, 2017 (https://arxiv.org/abs/1507.04544)
    """
    for name, number in {"num_samples": num_samples, "prior_samples": prior_samples, "chunk": chunk}.items():
        check_positive(name, number)
    wanted = {check_choice("group", group, GROUPS) for group in (GROUPS if groups is None else groups)}
    x, y = variant.batch(x, y)
    if resample and posterior is not None:
        raise ConfigurationError("resample: only draws from the guide have weights to be drawn again by; leave it out")
    if resample:
        check_density(variant)
    with seeded(seed, variant.device):
        # the guide's draws first: they are the same whatever else is wanted
        statistics: dict[str, np.ndarray] = {}
        if posterior is None:
            latents, statistics = _posterior(variant, x, y, num_samples, chunk, resample, "sample_stats" in wanted)
            chains = 1
        else:
            latents, chains = from_container(posterior, x, y)
            predict_missing(variant, latents, x, y, chunk)
        names: dict[str, Any] = {} if posterior is None else named_in(posterior)
        names |= coords or {}
        layout = Layout(variant, latents, x, y, names, chains)
        log_likelihood, predictive = explain(variant, latents, x, y, chunk, draw="posterior_predictive" in wanted)
        prior = _prior(variant, latents, x, y, prior_samples, chunk) if wanted & {"prior", "prior_predictive"} else None
    of_prior = Layout(variant, latents, x, y, names)
    told = {name: value for name, value in (("x", x), ("y", y)) if value is not None}
    observed = {name: value for name, value in told.items() if name in log_likelihood.values}
    constant = {name: value for name, value in told.items() if name not in observed}
    found = {
        "posterior": layout.draws(latents),
        "posterior_predictive": layout.draws(predictive),
        "prior": of_prior.draws(prior[0]) if prior else None,
        "prior_predictive": of_prior.draws(prior[1]) if prior else None,
        "log_likelihood": layout.log_densities(log_likelihood) if _explains_by_a_density(variant) else None,
        "sample_stats": layout.statistics(statistics) if posterior is None else dataset_of(posterior, "sample_stats"),
        "observed_data": layout.data(observed),
        "constant_data": layout.data(constant),
    }
    again = ", drawn again by Pareto-smoothed importance weights" if resample else ""
    source = "guide" + again if posterior is None else posterior.attrs["posterior"]
    settings = {"seed": seed, "num_samples": latents.num_samples, "prior_samples": prior_samples, "chunk": chunk}
    if posterior is not None:
        settings |= {f"mcmc_{name}": posterior.attrs[name] for name in MCMC_SETTINGS if name in posterior.attrs}
    attrs = attributes(variant, posterior=source, **settings)
    return inference_data({group: found[group] for group in GROUPS if group in wanted and found[group]}, attrs)


def _posterior(
    variant: Variant, x: Tensor, y: Tensor | None, num_samples: int, chunk: int, resample: bool, with_statistics: bool
) -> tuple[Draws, dict[str, np.ndarray]]:
    """Draws of all that is latent, and what is known of how good they are."""
    has_density = not (variant.model.parts_without_density() or variant.guide.parts_without_density())
    weights = has_density and (resample or with_statistics)
    latents, log_weights = from_guide(variant, x, y, num_samples, chunk, weights=weights)
    statistics = {}
    if log_weights is not None:
        smoothed, k = pareto_smoothed(log_weights)
        name = "proposal_log_weight" if resample else "log_weight"
        ess = effective_sample_size(smoothed)
        statistics = {name: log_weights, "pareto_k": k, "importance_ess": ess}
        latents = latents.taken(_drawn_again(smoothed)) if resample else latents
    predict_missing(variant, latents, x, y, chunk)
    return latents, statistics


def _drawn_again(log_weights: np.ndarray) -> np.ndarray:
    """Numbers (S, N) of draws, as often as their normalised weights (S, N) say: systematic resampling.

    The order is random, so that draws that are there twice do not stand side by side.
    """
    num_samples, n = log_weights.shape
    edges = np.exp(log_weights).cumsum(0)
    pointers = (torch.arange(num_samples)[:, None] + torch.rand(n, dtype=torch.double)).numpy() / num_samples
    index = [np.searchsorted(edges[:, datum] / edges[-1, datum], pointers[:, datum], "right") for datum in range(n)]
    order = torch.rand(num_samples, n).argsort(0).numpy()
    return np.take_along_axis(np.stack(index, 1).clip(max=num_samples - 1), order, axis=0)


def _prior(
    variant: Variant, latents: Draws, x: Tensor, y: Tensor | None, prior_samples: int, chunk: int
) -> tuple[Draws, Draws] | None:
    """Draws from the prior and of data from it, or ``None`` where there is none to draw from."""
    if not latents.values:  # data without a latent are predicted the same before and after they are seen
        return None
    try:
        return from_prior(variant, latents, x, y, prior_samples, chunk)
    except NotImplementedError:  # an improper prior
        return None


def _explains_by_a_density(variant: Variant) -> bool:
    return not any(isinstance(part, Likelihood) for part in variant.model.parts_without_density())


def attributes(variant: Variant, **settings: str | float) -> dict[str, str | float]:
    """How something was made, as text and numbers, which is what a netCDF file can hold.

    Args:
        variant: it was made with.
        settings: of what made it.
    """
    try:
        config = json.dumps(variant.config)
    except ConfigurationError:  # a part that cannot be written as text; its repr has to do
        config = ""
    return {
        "inference_library": "pyro_vae",
        "inference_library_version": pyro_vae.__version__,
        "pyro_vae_version": pyro_vae.__version__,
        "pyro_version": pyro.__version__,
        "torch_version": str(torch.__version__),
        "arviz_version": importlib.metadata.version("arviz"),
        "variant": repr(variant),
        "config": config,
        "objective": show(variant.objective),
        **settings,
    }

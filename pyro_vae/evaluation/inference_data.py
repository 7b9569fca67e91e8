"""ArviZ in both its forms: up to 0.23 with ``InferenceData``, from 1.0 on with xarray's ``DataTree``.

Everything that depends on ArviZ's version is in this file.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["dataset_of", "effective_sample_size", "inference_data", "pareto_smoothed"]

_TAIL = 30
"""Of fewer draws the largest fifth is not enough to fit a tail to: ArviZ 1 has NaN then."""


def inference_data(groups: Mapping[str, Any], attrs: Mapping[str, Any]) -> Any:
    """The container of the ArviZ that is installed.

    Args:
        groups: ``xarray.Dataset`` of each group.
        attrs: of the whole.
    """
    import arviz as az
    import xarray as xr

    if _is_old():
        return az.InferenceData(attrs=dict(attrs), **groups)
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs=dict(attrs)), **groups})


def dataset_of(container: Any, group: str) -> Any:
    """The ``xarray.Dataset`` of a group.

    Args:
        container: of either form.
        group: its name.
    """
    found = container[group]
    return found if _is_old() else found.to_dataset()


def pareto_smoothed(log_weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pareto-smoothed importance sampling, for each datum.

    Args:
        log_weights: (S, N) in nats, of S draws for each of N data.

    Returns:
        Smoothed log-weights (S, N), whose exponentials add up to 1 over draws, and Pareto k-hat (N,): 0 where all
        weights are alike, and infinite where there is no tail to fit: for fewer than 30 draws, or if the largest
        weights are one and the same.

    Example:
        >>> weights, k = pareto_smoothed(np.random.default_rng(0).normal(size=(500, 2)))
        >>> weights.shape, np.exp(weights).sum(0).round(6), bool((k < 0.7).all())
        ((500, 2), array([1., 1.]), True)

    References:
        Vehtari, Simpson, Gelman, Yao & Gabry, Pareto Smoothed Importance Sampling, 2024
        (https://arxiv.org/abs/1507.02646)
    """
    columns = np.ascontiguousarray(log_weights.T, dtype=np.float64)
    plain = columns - np.logaddexp.reduce(columns, axis=-1, keepdims=True)
    alike = np.ptp(columns, axis=-1) < 1e-5 * (1 + np.abs(columns).mean(-1))  # but for rounding
    smoothed, k = plain.copy(), np.where(alike, 0.0, np.inf)
    if columns.shape[-1] >= _TAIL:
        for datum in np.flatnonzero(~alike):
            smoothed[datum], k[datum] = _psis(plain[datum])
    return smoothed.T, np.where(np.isnan(k), np.inf, k)  # NaN where the fit failed


def effective_sample_size(log_weights: np.ndarray) -> np.ndarray:
    """How many draws from the target the draws are worth, (N,): 1 / sum w^2 of normalised log-weights (S, N)."""
    return 1 / np.exp(2 * log_weights).sum(0)


def _psis(log_weights: np.ndarray) -> tuple[np.ndarray, float]:
    """Smoothed log-weights (S,) and k-hat by ArviZ, for log-weights (S,) that are normalised."""
    if _is_old():
        import arviz as az

        return az.psislw(log_weights)
    from arviz_stats.base import array_stats

    try:
        return array_stats.psislw(-log_weights)  # it takes log-likelihoods, whose weights are their inverses
    except ValueError:  # the largest are all the same; the older one gives an infinite k-hat
        return log_weights, np.inf


def _is_old() -> bool:
    """Whether ArviZ is older than 1.0."""
    return int(importlib.metadata.version("arviz").partition(".")[0]) < 1

"""Pareto k-hat: how far the guide is from the exact posterior, datum by datum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pyro_vae.errors import check_positive
from pyro_vae.evaluation.draws import from_guide
from pyro_vae.evaluation.inference_data import effective_sample_size, pareto_smoothed
from pyro_vae.evaluation.likelihood import at_once, check_density
from pyro_vae.evaluation.tables import aligned
from pyro_vae.randomness import seeded
from pyro_vae.variants.base import Variant

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["ParetoK", "pareto_k"]

_KINDS = {
    "good": "k-hat below 0.5: the guide covers the posterior; its weights have a finite variance",
    "ok": "0.5 to 0.7: the guide misses some of it; importance sampling mends that",
    "bad": "above 0.7: the guide misses much of it, and weights cannot tell how much",
}


@dataclass(frozen=True, eq=False)
class ParetoK:
    """k-hat of the guide as an importance distribution for the exact posterior.

    Attributes:
        dataset: (datum) ``pareto_k``; ``importance_ess``, how many draws from the exact posterior the draws are worth.
        num_samples: draws from the guide per datum.
    """

    dataset: xr.Dataset
    num_samples: int

    @property
    def shares(self) -> dict[str, float]:
        """Share of the data that are ``good`` (k-hat below 0.5), ``ok`` (0.5 to 0.7) and ``bad``."""
        k = self.dataset["pareto_k"].values
        return {"good": (k < 0.5).mean(), "ok": ((k >= 0.5) & (k <= 0.7)).mean(), "bad": (k > 0.7).mean()}

    def __repr__(self) -> str:
        n = self.dataset.sizes["datum"]
        rows = [("", "data", "share"), *((name, round(s * n), f"{s:.1%}") for name, s in self.shares.items())]
        told = "\n".join(f"{name}: {words}" for name, words in _KINDS.items())
        k, ess = (self.dataset[name].median().item() for name in ("pareto_k", "importance_ess"))
        return (
            f"{aligned(rows)}\n{told}\nmedian k-hat {k:.2f}; {self.num_samples:,} draws are worth {ess:,.0f} "
            f"from the exact posterior (median)"
        )


def pareto_k(
    variant: Variant, x: Any, y: Any = None, *, num_samples: int = 1000, chunk: int = 10_000, seed: int = 0
) -> ParetoK:
    """Pareto k-hat of the importance weights p(x, z) / q(z | x) of each datum.

    The largest weights are fitted by a generalised Pareto distribution; 1 / k-hat is how many moments the weights
    have.  Where k-hat is below 0.5 the guide covers the exact posterior; between 0.5 and 0.7 importance sampling still
    works (:func:`pyro_vae.evaluation.log_likelihood`, ``pv.to_arviz(..., resample=True)``); above 0.7 neither is to
    be trusted.  A guide that is too narrow or in the wrong place has a large k-hat; so has one that is only slightly
    off in each of many dimensions.

    A good k-hat says that the guide fits the posterior of *this model*, not that the model fits the data; and a
    part of the posterior that no draw came near, such as a second mode, cannot show in it.

    Args:
        variant: any variant whose parts all have a density.
        x: data (N, \\*shape), or a split.
        y: labels, in variants that have them; where they are missing, y is drawn from the guide as well.
        num_samples: draws from the guide per datum; of fewer than some hundred k-hat is rough, and with fewer than 30
            it is infinite, which says nothing.
        chunk: how many draws (data times samples) are held in memory at once.
        seed: of the draws; the random stream outside is left alone.

    Raises:
        ConfigurationError: in a variant without codes.
        DataError: when the data do not fit, or a part has no density.

    Example:
        >>> import pyro_vae as pv
        >>> from pyro_vae import evaluation, likelihoods, priors
        >>> vae = pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(5))
        >>> found = evaluation.pareto_k(vae, torch.zeros(3, 5), num_samples=200)
        >>> found.dataset["pareto_k"].shape
        (3,)

    References:
        Yao, Vehtari, Simpson & Gelman, Yes, but Did It Work?: Evaluating Variational Inference, 2018
        (https://arxiv.org/abs/1802.02538); Vehtari et al., Pareto Smoothed Importance Sampling, 2024
        (https://arxiv.org/abs/1507.02646)
    """
    import xarray as xr

    variant.check_code()
    check_positive("num_samples", num_samples)
    check_positive("chunk", chunk)
    check_density(variant)
    x, y = variant.batch(x, y)
    found = []
    with seeded(seed, variant.device):
        for rows in torch.arange(len(x), device=x.device).split(at_once(len(x), num_samples, chunk)[0]):
            _, log_weights = from_guide(
                variant, x[rows], None if y is None else y[rows], num_samples, chunk, weights=True
            )
            assert log_weights is not None
            smoothed, k = pareto_smoothed(log_weights)
            found.append((k, effective_sample_size(smoothed)))
    k, ess = (np.concatenate(parts) for parts in zip(*found, strict=True))
    dataset = xr.Dataset({"pareto_k": ("datum", k), "importance_ess": ("datum", ess)})
    return ParetoK(dataset, num_samples)

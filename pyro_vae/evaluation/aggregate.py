"""The aggregate posterior, the codes of all data together, beside the prior that they should look like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pyro_vae.errors import check_positive
from pyro_vae.evaluation.codes import check_latent, encodings, mean_and_noise, variance_of_means
from pyro_vae.evaluation.coordinates import latent_dims
from pyro_vae.evaluation.discrepancy import Discrepancy, maximum_mean_discrepancy
from pyro_vae.evaluation.tables import shortened
from pyro_vae.randomness import seeded
from pyro_vae.variants.base import Variant

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["AggregatePosterior", "aggregate_posterior"]

_FOR_MEANS = 30
"""Draws per datum for E_q[z | x], where it has no closed form."""

_SOURCES = ("aggregate posterior", "prior")


@dataclass(frozen=True, eq=False)
class AggregatePosterior:
    """Draws of q(z) and of p(z), their moments, and how far apart they are.

    Attributes:
        dataset: draws ``z`` (draw, latent) of the aggregate posterior and ``prior`` (prior_draw, latent) of the prior;
            ``mean`` (source, latent) and ``covariance`` (source, latent, latent_) of both; and ``active_variance``
            (latent), how much the mean of q(z_d | x) varies.
        discrepancy: MMD^2 between the draws, with a permutation p-value.
    """

    dataset: xr.Dataset
    discrepancy: Discrepancy

    @property
    def standard_deviations(self) -> np.ndarray:
        """Of each dimension, (2, D): of the aggregate posterior and of the prior."""
        return np.sqrt(np.diagonal(self.dataset["covariance"].values, axis1=1, axis2=2))

    def __repr__(self) -> str:
        means, scales = self.dataset["mean"].values, self.standard_deviations
        order = np.argsort(-self.dataset["active_variance"].values, kind="stable")
        rows: list[tuple[Any, ...]] = [("dimension", "mean", "sd", "prior mean", "prior sd")]
        for d in order:
            rows.append((int(d), *(f"{v:.2f}" for v in (means[0, d], scales[0, d], means[1, d], scales[1, d]))))
        found, (n, m) = self.discrepancy, (self.dataset.sizes[name] for name in ("draw", "prior_draw"))
        return (
            f"{shortened(rows, 'less active dimensions')}\n{n:,} draws of q(z), {m:,} of p(z); MMD^2 {found.mmd2:.2g}, "
            f"p = {found.p_value:.3g}, bandwidth {', '.join(f'{h:.2g}' for h in found.bandwidths)}\n{self.words}"
        )

    @property
    def words(self) -> str:
        """What the test says."""
        if np.isnan(self.discrepancy.p_value):
            return "not tested"
        if self.discrepancy.p_value < 0.01:
            return "the codes of the data together are not distributed like the prior"
        return "these draws do not tell the aggregate posterior from the prior"


def aggregate_posterior(
    variant: Variant,
    x: Any,
    y: Any = None,
    *,
    site: str | None = None,
    num_samples: int = 1000,
    permutations: int = 500,
    bandwidths: Sequence[float] | None = None,
    batch_size: int = 1000,
    seed: int = 0,
) -> AggregatePosterior:
    """The aggregate posterior q(z) = E_x q(z | x) of data beside the prior p(z): moments, and a test.

    If model and guide were exact and the data from the model, q(z) would be p(z).  Where it is not, codes drawn from
    the prior lie where no datum's code does, and what is generated there is like no datum.  A small discrepancy
    does not make the codes informative: a guide that ignores the data has q(z) = p(z) exactly.  With many data the
    test sees the smallest difference: moments and the picture say whether it matters.

    Args:
        variant: any variant with codes whose prior p(z) can be drawn from; neither needs a density.
        x: data (N, \\*shape), or a split.
        y: labels, in variants that have them; one that is missing is predicted.
        site: another latent than the code, such as ``"z2"``.
        num_samples: draws from p(z), and from q(z) one for each of so many data at most; the test takes memory of the
            order of their squares.
        permutations: for the p-value; 0 for none.
        bandwidths: of the kernel, one or several; the median distance between draws if not given.
        batch_size: data encoded at once.
        seed: of all draws; the random stream outside is left alone.

    Raises:
        ConfigurationError: in a variant without codes, or without a p(z) that can be drawn from, or for a site that
            is no latent.
        DataError: when the data do not fit, or are fewer than two.

    Example:
        >>> import pyro_vae as pv
        >>> from pyro_vae import evaluation, likelihoods, priors
        >>> vae = pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(5))
        >>> found = evaluation.aggregate_posterior(vae, torch.zeros(20, 5))
        >>> found.dataset["covariance"].dims
        ('source', 'latent', 'latent_')

    References:
        Hoffman & Johnson, ELBO surgery, 2016 (http://approximateinference.org/accepted/HoffmanJohnson2016.pdf);
        Gretton et al., A Kernel Two-Sample Test, 2012 (https://jmlr.org/papers/v13/gretton12a.html)
    """
    site = check_latent(variant, site)
    check_positive("num_samples", num_samples)
    x, y = variant.batch(x, y)
    with torch.no_grad(), seeded(seed, variant.device):
        # each datum once: codes of independent data are then independent draws, as the test wants them
        chosen = torch.randperm(len(x), device=x.device)[:num_samples]
        some = x[chosen], None if y is None else y[chosen]
        drawn, parts = [], []
        for q in encodings(variant, *some, batch_size, site):
            drawn.append(q.sample())
            parts.append(mean_and_noise(q, _FOR_MEANS))
        if site == variant.code:  # which a variant may draw without a story of the data, as where x is given
            prior = variant.draw_codes(num_samples)
        else:
            prior = variant.simulate(size=num_samples).nodes[site]["value"]
        draws = [each.flatten(1).double() for each in (torch.cat(drawn), prior)]
        discrepancy = maximum_mean_discrepancy(*draws, bandwidths=bandwidths, permutations=permutations)
    return AggregatePosterior(
        _dataset(site, [z.cpu() for z in draws], variance_of_means(parts).flatten().cpu()), discrepancy
    )


def _dataset(site: str, draws: list[Tensor], active_variance: Tensor) -> xr.Dataset:
    import xarray as xr

    (latent,) = latent_dims(site, tuple(draws[0].shape[1:]))
    mean = torch.stack([z.mean(0) for z in draws])
    covariance = torch.stack([torch.atleast_2d(z.T.cov()) for z in draws])
    return xr.Dataset(
        {
            "z": (("draw", latent), draws[0].numpy()),
            "prior": (("prior_draw", latent), draws[1].numpy()),
            "mean": (("source", latent), mean.numpy()),
            "covariance": (("source", latent, f"{latent}_"), covariance.numpy()),
            "active_variance": ((latent,), active_variance.numpy()),
        },
        coords={"source": list(_SOURCES)},
    )

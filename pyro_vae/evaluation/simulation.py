"""Simulation-based calibration: whether the guide's draws are distributed like the codes that made the data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pyro_vae.errors import ConfigurationError, DataError, check_positive
from pyro_vae.evaluation.codes import check_latent, posterior_of
from pyro_vae.evaluation.coordinates import latent_dims
from pyro_vae.evaluation.likelihood import at_once
from pyro_vae.evaluation.tables import shortened
from pyro_vae.randomness import seeded
from pyro_vae.variants.base import Variant
from pyro_vae.variants.contexts import evaluating

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["SimulationBasedCalibration", "simulation_based_calibration"]

_CLEAR = 3.0
"""Standard errors from which on a departure is put in words."""


@dataclass(frozen=True, eq=False)
class SimulationBasedCalibration:
    """Ranks of the codes that made data among draws from the guide for these data.

    Attributes:
        dataset: ``rank`` (simulation, latent), from 0 to L; ``count`` (latent, bin) of ranks; and (latent)
            ``p_value`` of the chi-square test that ranks are uniform, ``slope`` and ``spread``: by how many standard
            errors the normal scores of the ranks have too large a mean, and too large a variance.
        num_samples: L, draws from the guide for each simulated datum.
    """

    dataset: xr.Dataset
    num_samples: int

    def words(self) -> list[str]:
        """What the ranks of each dimension say about the guide."""
        slopes, spreads = self.dataset["slope"].values, self.dataset["spread"].values
        found = []
        for slope, spread, p in zip(slopes, spreads, self.dataset["p_value"].values, strict=True):
            said = []
            if abs(spread) > _CLEAR:
                said.append("too narrow" if spread > 0 else "too wide")
            if abs(slope) > _CLEAR:
                said.append("too low" if slope > 0 else "too high")
            found.append(" and ".join(said) or ("not uniform" if p < 0.001 else "calibrated"))
        return found

    def __repr__(self) -> str:
        p = self.dataset["p_value"].values
        order = np.argsort(p, kind="stable")
        columns = [self.dataset[name].values for name in ("slope", "spread")]
        rows: list[tuple[Any, ...]] = [("dimension", "p", "slope", "spread", "the guide is")]
        words = self.words()
        for d in order:
            rows.append((int(d), f"{p[d]:.2g}", *(f"{values[d]:+.1f}" for values in columns), words[d]))
        return (
            f"{shortened(rows, 'with larger p')}\n"
            f"ranks of the codes of {self.dataset.sizes['simulation']:,} data drawn from the model, among "
            f"{self.num_samples:,} draws from the guide\nslope and spread in standard errors"
        )


def simulation_based_calibration(
    variant: Variant,
    x: Any = None,
    y: Any = None,
    *,
    site: str | None = None,
    num_data: int = 1000,
    num_samples: int = 99,
    bins: int = 20,
    chunk: int = 10_000,
    seed: int = 0,
) -> SimulationBasedCalibration:
    """Ranks of z* among draws from q(z | x), with z* and then x drawn from the model.

    If q(z | x) is the exact posterior on average over the model's own data, each rank from 0 to L is as probable as
    any other.  A histogram of ranks shaped like a U means that the guide is too narrow, a hump that it is too wide, a
    slope that it lies too low (towards high ranks) or too high.  A guide that cannot follow the correlations of the
    posterior is made too narrow by the ELBO, so that a U is what one mostly finds.

    **It says** whether the guide is right for data *from the model*, and nothing about real data: a model that fits
    them badly asks the guide about places that it was never trained for, and a guide can fail there alone.
    Each dimension is looked at by itself: correlations between dimensions that the guide misses need not show.

    Labels that the story tells of are drawn with the data, and the guide is given them.  Where it begins with
    something given (the label in a conditional VAE, x in structured output), that is taken from ``y`` or ``x``, at
    random with replacement.

    Args:
        variant: any variant with codes whose model can be drawn from.
        x: what is given, in variants that explain y given x; or a split, whose labels are then used.
        y: labels that are given, in variants whose data are generated for given labels.
        site: another latent than the code, such as ``"z2"`` of a hierarchy, whose guide is looked at with what it
            builds on: z2 is drawn from E q(z2 | z1) over q(z1 | x).
        num_data: data drawn from the model.
        num_samples: L, draws from the guide per datum.
        bins: of the histogram; they must divide the L + 1 ranks into equal parts.
        chunk: how many draws (data times samples) are in memory at once.
        seed: of all draws; the random stream outside is left alone.

    Raises:
        ConfigurationError: in a variant without codes or without a prior to draw from, for a site that is no latent,
            or bins that do not divide the ranks.
        DataError: where something must be given and is not, or the likelihood has no density.

    Example:
        >>> import pyro_vae as pv
        >>> from pyro_vae import evaluation, likelihoods, priors
        >>> vae = pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(5))
        >>> found = evaluation.simulation_based_calibration(vae, num_data=100)
        >>> found.dataset["count"].dims, found.dataset["count"].sum("bin").values
        (('latent', 'bin'), array([100, 100]))

    References:
        Talts et al., Validating Bayesian Inference Algorithms with Simulation-Based Calibration, 2018
        (https://arxiv.org/abs/1804.06788); Yao et al., Yes, but Did It Work?: Evaluating Variational Inference, 2018,
        section 3 (https://arxiv.org/abs/1802.02538)
    """
    site = check_latent(variant, site)
    for name, number in {"num_data": num_data, "num_samples": num_samples, "bins": bins, "chunk": chunk}.items():
        check_positive(name, number)
    if bins < 2 or (num_samples + 1) % bins:
        raise ConfigurationError(
            f"bins={bins} do not divide the {num_samples + 1} ranks among num_samples={num_samples} draws into equal "
            f"parts; take num_samples={bins * max(1, round((num_samples + 1) / bins)) - 1}"
        )
    if not variant.likelihood.has_density:
        raise DataError(f"{variant.likelihood!r} has no density, so that draws from it are not the model's data")
    given = _given(variant, x, y)
    ranks = []
    with torch.no_grad(), evaluating(variant), seeded(seed, variant.device):
        for start in range(0, num_data, step := at_once(num_data, num_samples, chunk)[0]):
            z, of_x, of_y = _simulated(variant, given, site, min(step, num_data - start))
            draws = posterior_of(variant, of_x, of_y, site, step).sample((num_samples,))
            ranks.append(_ranks(z, draws).flatten(1))
    return SimulationBasedCalibration(_dataset(site, torch.cat(ranks).cpu(), num_samples, bins), num_samples)


def _given(variant: Variant, x: Any, y: Any) -> Tensor | None:
    """What the model does not tell of and must be given, (N, \\*shape), or ``None``."""
    name = type(variant).__name__
    if variant.labels != "all":
        if x is not None or y is not None:
            raise DataError(f"{name} draws its data and labels itself; leave x and y out")
        return None
    if not variant.explains_data:
        if x is None:
            raise DataError(f"{name} explains y given x; give data x, (N, {', '.join(map(str, variant.shape))})")
        return variant.as_data(x)
    y = variant.taken_apart(x)[1] if y is None and x is not None else y
    if y is None:
        raise DataError(f"{name} generates data for given labels; give y, or a split that has it")
    return variant.labels_for(y, 1)


def _simulated(variant: Variant, given: Tensor | None, site: str, n: int) -> tuple[Tensor, Tensor, Tensor | None]:
    """Latents (n, D), and data and labels for the guide, drawn from the model."""
    x = y = None
    if given is not None:
        chosen = given[torch.randint(len(given), (n,), device=given.device)]
        x, y = (None, chosen) if variant.explains_data else (chosen, None)
    size = {"size": n} if variant.explains_data else {}
    told = {name: value for name, value in (("x", x), ("y", y)) if value is not None}
    nodes = variant.simulate(**told, **size).nodes
    drawn = {name: nodes[name]["value"] for name in ("x", "y") if name in nodes}
    found: dict[str, Any] = {"x": x, "y": y, **drawn}
    return nodes[site]["value"], found["x"], found["y"]


def _ranks(z: Tensor, draws: Tensor) -> Tensor:
    """How many of the draws (L, B, \\*code) are below z (B, \\*code); among equal ones the place is drawn at random."""
    below, equal = (draws < z).sum(0), (draws == z).sum(0)
    return below + (torch.rand_like(z) * (equal + 1)).long()


def _dataset(site: str, ranks: Tensor, num_samples: int, bins: int) -> xr.Dataset:
    import xarray as xr

    n = len(ranks)
    place = ranks * bins // (num_samples + 1)
    counts = torch.nn.functional.one_hot(place, bins).sum(0)  # (D, bins)
    chi_square = ((counts - n / bins) ** 2 / (n / bins)).sum(1).double()
    # the survival function of chi-square with k degrees of freedom is Q(k / 2, x / 2)
    p_value = torch.special.gammaincc(torch.full_like(chi_square, (bins - 1) / 2), chi_square / 2)
    # normal scores: of normals that differ in place and width, the mean tells the one and the variance the other
    scores, uniform = (
        torch.special.ndtri((values.double() + 0.5) / (num_samples + 1))
        for values in (ranks, torch.arange(num_samples + 1))
    )
    variance, fourth = uniform.square().mean(), uniform.pow(4).mean()
    slope = scores.mean(0) / variance.sqrt() * math.sqrt(n)
    spread = (scores.var(0) - variance) / (fourth - variance**2).sqrt() * math.sqrt(n)
    (latent,) = latent_dims(site, tuple(ranks.shape[1:]))
    of_dimensions = {"p_value": p_value, "slope": slope, "spread": spread}
    return xr.Dataset(
        {
            "rank": (("simulation", latent), ranks.numpy()),
            "count": ((latent, "bin"), counts.numpy()),
            **{name: ((latent,), values.numpy()) for name, values in of_dimensions.items()},
        }
    )

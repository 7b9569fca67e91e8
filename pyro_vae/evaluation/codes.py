"""The codes of data: what the guide says of each, and which of their dimensions say anything."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor

from pyro_vae.errors import ConfigurationError, DataError, check_count, check_positive
from pyro_vae.evaluation.coordinates import latent_dims
from pyro_vae.evaluation.draws import from_guide
from pyro_vae.evaluation.tables import shortened
from pyro_vae.randomness import seeded
from pyro_vae.variants.base import Variant

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "ActiveUnits",
    "active_units",
    "check_code_density",
    "check_latent",
    "encodings",
    "mean_and_noise",
    "posterior_of",
    "variance_of_means",
]


@dataclass(frozen=True, eq=False)
class ActiveUnits:
    """How much the code of a datum depends on the datum, dimension by dimension.

    Attributes:
        dataset: ``variance`` (latent), Var_x(E_q[z_d | x]); of a one-hot code that of the class that varies most.
        threshold: above which a dimension is called active.
    """

    dataset: xr.Dataset
    threshold: float

    @property
    def active(self) -> np.ndarray:
        """Which dimensions are active, (D,) booleans."""
        return self.dataset["variance"].values > self.threshold

    @property
    def count(self) -> int:
        """Number of active dimensions."""
        return int(self.active.sum())

    def __repr__(self) -> str:
        variances = self.dataset["variance"].values
        order = np.argsort(-variances, kind="stable")
        rows = [("dimension", "variance", ""), *((int(d), f"{variances[d]:.2g}", _word(self, d)) for d in order)]
        return (
            f"{shortened(rows, 'whose variance is smaller')}\n"
            f"{self.count} of {len(variances)} dimensions active: Var_x(E[z_d | x]) > {self.threshold:g}"
        )


def _word(found: ActiveUnits, d: int) -> str:
    return "active" if found.active[d] else "idle"


def active_units(
    variant: Variant,
    x: Any,
    y: Any = None,
    *,
    site: str | None = None,
    threshold: float = 0.01,
    num_samples: int = 100,
    batch_size: int = 1000,
    seed: int = 0,
) -> ActiveUnits:
    """How much each latent dimension moves with the datum: Var_x(E_q[z_d | x]), and which move at all.

    A dimension whose posterior is the same for every datum says nothing, and the decoder has learned to do without
    it.  The variances of a trained VAE fall into two groups with a wide gap between them, so that the threshold
    hardly matters.  An active dimension need not be of use: this looks at the guide alone.

    Args:
        variant: any variant with codes.
        x: data (N, \\*shape), or a split.
        y: labels, in variants that have them; one that is missing is predicted.
        site: another latent than the code, such as ``"z2"``.
        threshold: a dimension is active where the variance is larger.
        num_samples: draws per datum for E_q[z | x], where it has no closed form, as above the first layer; what their
            noise adds to the variance is subtracted.
        batch_size: data encoded at once.
        seed: of the draws; the random stream outside is left alone.

    Raises:
        ConfigurationError: in a variant without codes, or for a site that is no latent.
        DataError: when the data do not fit.

    Example:
        >>> import pyro_vae as pv
        >>> from pyro_vae import evaluation, likelihoods, priors
        >>> vae = pv.VAE(priors.StandardNormal(8), likelihoods.Bernoulli(5))
        >>> evaluation.active_units(vae, torch.zeros(20, 5)).count
        0

    References:
        Burda, Grosse & Salakhutdinov, Importance Weighted Autoencoders, 2016, section 5.2
        (https://arxiv.org/abs/1509.00519)
    """
    import xarray as xr

    check_count("num_samples", num_samples, 2)  # one draw says nothing about the error of a mean
    site = check_latent(variant, site)
    x, y = variant.batch(x, y)
    with torch.no_grad(), seeded(seed, variant.device):
        each = encodings(variant, x, y, batch_size, site)
        variance = variance_of_means([mean_and_noise(q, num_samples) for q in each])
    variance = variance.reshape(len(variance), -1).amax(1)
    dims = latent_dims(site, tuple(variance.shape))
    return ActiveUnits(xr.Dataset({"variance": (dims, variance.cpu().numpy())}), threshold)


class FromGuide:
    """q of a latent given data (B, \\*shape), as draws from the guide as a whole: above the code there is nothing else.

    Args:
        variant: any variant.
        x: checked data.
        y: checked labels, in variants that have them.
        site: the latent.
        chunk: how many draws are in the networks at once.
    """

    def __init__(self, variant: Variant, x: Tensor, y: Tensor | None, site: str, chunk: int) -> None:
        self.variant, self.x, self.y, self.site, self.chunk = variant, x, y, site, chunk

    def sample(self, shape: Sequence[int] = ()) -> Tensor:
        """Draws (\\*shape, B, \\*latent)."""
        drawn, _ = from_guide(self.variant, self.x, self.y, math.prod(shape), self.chunk, weights=False)
        values = torch.from_numpy(drawn.values[self.site])  # (S, B, *latent)
        return values.reshape(*shape, *values.shape[1:]).to(self.x.device)


def posterior_of(variant: Variant, x: Tensor, y: Tensor | None, site: str, chunk: int) -> TorchDistribution | FromGuide:
    """q of a latent given checked data: a distribution for the code, draws alone for others."""
    return variant.encode(x, y) if site == variant.code else FromGuide(variant, x, y, site, chunk)


def encodings(
    variant: Variant, x: Tensor, y: Tensor | None, batch_size: int, site: str
) -> Iterator[TorchDistribution | FromGuide]:
    """:func:`posterior_of` checked data, in batches.

    Raises:
        ConfigurationError: in a variant without codes.
    """
    check_positive("batch_size", batch_size)
    for rows in torch.arange(len(x), device=x.device).split(batch_size):
        yield posterior_of(variant, x[rows], None if y is None else y[rows], site, batch_size)


def check_latent(variant: Variant, site: str | None) -> str:
    """The name of a latent: the code's if none is given.

    Raises:
        ConfigurationError: in a variant without codes, or for a site that is no latent.
    """
    variant.check_code()
    names = dict.fromkeys((variant.code, *variant.latents))
    if site is not None and site not in names:
        raise ConfigurationError(f"site {site!r} is no code of {type(variant).__name__}; there are {', '.join(names)}")
    return variant.code if site is None else site


def mean_and_noise(q: TorchDistribution | FromGuide, num_samples: int) -> tuple[Tensor, Tensor]:
    """Means (B, \\*latent) of q(z | x), and the variances of their errors: 0, unless they are averages over draws."""
    try:
        mean = q.mean  # type: ignore[union-attr]
        return mean, torch.zeros_like(mean)
    except (NotImplementedError, AttributeError):
        draws = q.sample((num_samples,))
        return draws.mean(0), draws.var(0) / num_samples


def variance_of_means(parts: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Var_x(E[z_d | x]), (\\*latent), from what :func:`mean_and_noise` gave for batches of data."""
    means, noise = (torch.cat(of_all).double() for of_all in zip(*parts, strict=True))
    return means.var(0, correction=0) - noise.mean(0)


def check_code_density(variant: Variant, what: str) -> None:
    """Check that data have codes, and that q(z | x) and p(z) have densities.

    Args:
        variant: any variant.
        what: cannot be had without them, for the message.

    Raises:
        ConfigurationError: without codes.
        DataError: naming the parts that have no density.
    """
    variant.check_code()
    parts = variant.guide.parts_without_density() + [
        part for part in variant.model.parts_without_density() if part is not variant.likelihood
    ]
    if parts:
        names = ", ".join(map(repr, parts))
        raise DataError(f"{what} needs densities of q(z | x) and p(z): {names} {'have' if parts[1:] else 'has'} none")

"""What codes say about data: the rate of the ELBO, taken apart into information and misfit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor

from pyro_vae.errors import ConfigurationError, DataError, check_positive
from pyro_vae.evaluation.codes import check_code_density
from pyro_vae.evaluation.tables import aligned
from pyro_vae.objectives.kl import kl_exact
from pyro_vae.randomness import seeded
from pyro_vae.variants.base import Variant
from pyro_vae.variants.contexts import evaluating

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["MutualInformation", "mutual_information"]

_BATCH = 1000

_Placed = tuple[int, TorchDistribution]
"""The number of the first datum of a batch, and q(z | x) of its data."""

_TERMS = {
    "rate": "rate, E KL(q(z | x) || p(z))",
    "mutual_information": "mutual information, I_q(x; z)",
    "marginal_kl": "marginal KL, KL(q(z) || p(z))",
}


@dataclass(frozen=True, eq=False)
class MutualInformation:
    """The rate as the sum of what the code says about the datum and of what the prior gets wrong.

    Attributes:
        dataset: (datum) in nats: ``rate``, ``mutual_information``, ``marginal_kl``, whose means over data are meant,
            with rate = mutual_information + marginal_kl; and ``upper_bound`` on the mutual information.  Where p(z)
            has no density of its own (it depends on another latent, or on x), ``rate`` and ``marginal_kl`` are NaN.
    """

    dataset: xr.Dataset

    @property
    def rate(self) -> float:
        """E KL(q(z | x) || p(z)), in nats."""
        return self.dataset["rate"].mean().item()

    @property
    def mutual_information(self) -> float:
        """I_q(x; z) of the given data, in nats: at most log N."""
        return self.dataset["mutual_information"].mean().item()

    @property
    def marginal_kl(self) -> float:
        """KL(q(z) || p(z)), in nats."""
        return self.dataset["marginal_kl"].mean().item()

    @property
    def upper_bound(self) -> float:
        """On the mutual information in the population that the data are from, in nats."""
        return self.dataset["upper_bound"].mean().item()

    @property
    def largest(self) -> float:
        """log N, in nats: what N data can tell at most."""
        return math.log(self.dataset.sizes["datum"])

    def __repr__(self) -> str:
        n = self.dataset.sizes["datum"]
        rows = [("", "nats", "standard error")]
        for name, words in _TERMS.items():
            values = self.dataset[name]
            if not values.isnull().any():
                rows.append((words, f"{values.mean().item():.3f}", f"{values.std(ddof=1).item() / math.sqrt(n):.3f}"))
        return (
            f"{aligned(rows)}\n{n:,} data can tell at most log N = {self.largest:.3f}\n"
            f"in the population they are from, the information is between {self.mutual_information:.3f} and "
            f"{self.upper_bound:.3f} on average"
        )


def mutual_information(
    variant: Variant, x: Any, y: Any = None, *, num_samples: int = 1, chunk: int = 100_000, seed: int = 0
) -> MutualInformation:
    """The rate taken apart: E KL(q(z | x) || p(z)) = I_q(x; z) + KL(q(z) || p(z)).

    The mutual information is what the code says about which datum it is of; the marginal KL is what a better prior
    would save, without any change to guide and decoder.  q(z) is the mixture of q(z | x_n) over the given data, the
    aggregate posterior, and the estimate of I_q is E[log q(z | x_n) - log (1/N) sum_m q(z | x_m)].

    **Its bias.** Of the mutual information between code and *number of the datum* it is an unbiased estimate; of that
    in the population that the data are from it is one from below, and N data can tell at most log N: where it
    comes close to log N it says that the codes of these data are all distinct, and no more.  What is missing
    from it is counted as marginal KL.  ``upper_bound``, with n itself left out of the mixture, is biased upwards; the
    truth is between the two on average, and close to both where they agree.

    Every draw is scored under the guide's distribution for every datum: the time grows with N^2.

    Args:
        variant: any variant with codes.  Without a p(z) of their own, as below another layer, there is no rate to take
            apart, and the information is all that is found.
        x: data (N, \\*shape), or a split; at least two.
        y: labels, in variants that have them; one that is missing is predicted.  Where the guide reads them the
            information is that about x and y together.
        num_samples: draws from the guide per datum.
        chunk: how many pairs of a draw and a datum are in memory at once.
        seed: of the draws; the random stream outside is left alone.

    Raises:
        ConfigurationError: in a variant without codes.
        DataError: when the data do not fit, or guide or prior have no density.

    Example:
        >>> import pyro_vae as pv
        >>> from pyro_vae import evaluation, likelihoods, priors
        >>> vae = pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(5))
        >>> found = evaluation.mutual_information(vae, torch.zeros(20, 5))  # one and the same datum
        >>> abs(round(found.mutual_information, 4))
        0.0

    References:
        Hoffman & Johnson, ELBO surgery: yet another way to carve up the variational evidence lower bound, 2016
        (http://approximateinference.org/accepted/HoffmanJohnson2016.pdf); Alemi et al., Fixing a Broken ELBO, 2018,
        on rate and distortion (https://arxiv.org/abs/1711.00464); Poole et al., On Variational Bounds of Mutual
        Information, 2019, on both bounds (https://arxiv.org/abs/1905.06922)
    """
    import xarray as xr

    check_positive("num_samples", num_samples)
    check_positive("chunk", chunk)
    check_code_density(variant, "the mutual information")
    x, y = variant.batch(x, y)
    if len(x) < 2:
        raise DataError("x: the mutual information of codes and data wants at least two data, got one")
    with torch.no_grad(), evaluating(variant), seeded(seed, variant.device):
        size = min(_BATCH, chunk)
        batches = [
            (start, variant.encode(x[start : start + size], None if y is None else y[start : start + size]))
            for start in range(0, len(x), size)
        ]
        prior = _code_prior(variant)
        rows = [_terms(q, prior, batches, start, len(x), num_samples, chunk) for start, q in batches]
    rate, information, upper = (torch.cat(parts).cpu().numpy() for parts in zip(*rows, strict=True))
    values = {"rate": rate, "mutual_information": information, "marginal_kl": rate - information, "upper_bound": upper}
    return MutualInformation(xr.Dataset({name: ("datum", value) for name, value in values.items()}))


def _code_prior(variant: Variant) -> TorchDistribution | None:
    """p(z) with its density, or ``None`` where it depends on another latent or on what is given."""
    if variant.estimates_code_prior:
        return None
    try:
        return variant.code_prior()
    except ConfigurationError:
        return None


def _terms(
    q: TorchDistribution,
    prior: TorchDistribution | None,
    batches: list[_Placed],
    start: int,
    n: int,
    num_samples: int,
    chunk: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Rate, mutual information and its upper bound of a batch of data, (B,) each, in double precision."""
    totals = torch.zeros(3, q.batch_shape[0], dtype=torch.double)
    exact = None if prior is None else kl_exact(q, prior)
    for z in (q.sample() for _ in range(num_samples)):
        own = q.log_prob(z).double()
        others = _others(z, start, batches, chunk)
        everyone = torch.logaddexp(others, own) - math.log(n)
        rate = _rate(own, z, prior, exact)
        totals += torch.stack([rate.double(), own - everyone, own - others + math.log(n - 1)]).cpu()
    rate, information, upper = totals / num_samples
    return rate, information, upper


def _rate(log_q: Tensor, z: Tensor, prior: TorchDistribution | None, exact: Tensor | None) -> Tensor:
    if prior is None:
        return torch.full_like(log_q, math.nan)
    return log_q - prior.log_prob(z) if exact is None else exact


def _others(z: Tensor, start: int, batches: list[_Placed], chunk: int) -> Tensor:
    """log sum_m q(z_n | x_m) over all data m but n itself, (B,), for codes (B, D) of the data from ``start`` on."""
    found = []
    for rows in torch.arange(len(z), device=z.device).split(max(1, chunk // batches[0][1].batch_shape[0])):
        parts = []
        for first, q in batches:
            log_q = q.log_prob(z[rows, None]).double()  # (k, B'): each draw under each datum's distribution
            itself = (start + rows)[:, None] == first + torch.arange(log_q.shape[1], device=z.device)
            parts.append(log_q.masked_fill(itself, -math.inf).logsumexp(1))
        found.append(torch.stack(parts).logsumexp(0))
    return torch.cat(found)

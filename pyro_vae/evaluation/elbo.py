"""The ELBO of a variant on data, site by site."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import pyro
import torch
from pyro import poutine
from torch import Tensor

from pyro_vae.errors import check_positive
from pyro_vae.objectives.kl import check_proposed, kl_exact, kl_holds
from pyro_vae.objectives.kl import kl_per_dimension as _kl_per_dimension
from pyro_vae.program import sample_sites
from pyro_vae.variants.base import Variant, evaluating

__all__ = ["ELBOTerms", "SiteTerm", "elbo", "kl_per_dimension", "site_terms", "traces"]


@dataclass
class SiteTerm:
    """What one sample site contributes to the ELBO of each datum, in nats.

    Attributes:
        name: of the site.
        observed: whether it is data; its ``log_q`` is then 0.
        log_p: E_q[log p(site | parents)], (N,).
        log_q: E_q[log q(site | x)], (N,); minus the guide's entropy.
        exact: whether the KL, log_q - log_p, is in closed form; else both are averages over draws.
    """

    name: str
    observed: bool
    log_p: Tensor
    log_q: Tensor
    exact: bool

    @property
    def contribution(self) -> Tensor:
        """log_p - log_q, (N,): the contributions of all sites add up to the ELBO."""
        return self.log_p - self.log_q


class ELBOTerms(NamedTuple):
    """ELBO and its two terms for each datum, (N,) each, in nats: elbo = reconstruction - kl."""

    elbo: Tensor
    reconstruction: Tensor
    kl: Tensor


def traces(variant: Variant, x: Tensor, num_samples: int) -> tuple[Any, Any]:
    """Traces of guide and model with ``num_samples`` draws of each datum's latents, as a plate in front."""
    arguments = variant.program_arguments(x)
    with pyro.plate("num_samples", num_samples, dim=-2):
        guide_trace = poutine.trace(variant.guide).get_trace(*arguments)
    with pyro.plate("num_samples", num_samples, dim=-2):
        model_trace = poutine.trace(poutine.replay(variant.model, trace=guide_trace)).get_trace(*arguments)
    return guide_trace, model_trace


def _site_terms(variant: Variant, x: Tensor, num_samples: int) -> list[SiteTerm]:
    guide_trace, model_trace = traces(variant, x, num_samples)
    terms = []
    for site in sample_sites(model_trace):
        name, p, value = site["name"], site["fn"], site["value"]
        if site["is_observed"]:
            log_p = p.log_prob(value).mean(0)
            terms.append(SiteTerm(name, True, log_p, torch.zeros_like(log_p), False))
            continue
        check_proposed(name, guide_trace)
        q = guide_trace.nodes[name]["fn"]
        kl = kl_exact(q, p) if kl_holds(name, model_trace, guide_trace) else None
        if kl is not None and (entropy := _entropy(q)) is not None:
            kl, entropy = (t.expand(num_samples, len(x)).mean(0) for t in (kl, entropy))
            terms.append(SiteTerm(name, False, -kl - entropy, -entropy, True))
        else:
            terms.append(SiteTerm(name, False, p.log_prob(value).mean(0), q.log_prob(value).mean(0), False))
    for site in sample_sites(guide_trace):  # auxiliary sites, which only the guide has
        if site["name"] not in model_trace.nodes:
            log_q = site["fn"].log_prob(site["value"]).mean(0)
            terms.append(SiteTerm(site["name"], False, torch.zeros_like(log_q), log_q, False))
    return terms


def _entropy(q: Any) -> Tensor | None:
    try:
        return q.entropy()
    except NotImplementedError:
        return None


def site_terms(variant: Variant, x: Any, *, num_samples: int = 1, batch_size: int = 1000) -> list[SiteTerm]:
    """Each sample site's contribution to the ELBO of each datum; :func:`elbo` is their sum.

    KL and entropy are exact where a closed form is known, and averages over draws from the guide elsewhere.
    Weights (beta, free bits) play no part here: this is the bound on log p(x) itself.

    Args:
        variant: any variant.
        x: data (N, \\*shape).
        num_samples: draws from the guide per datum.
        batch_size: data evaluated at once.

    Raises:
        DataError: when the data do not fit.
    """
    check_positive("num_samples", num_samples)
    check_positive("batch_size", batch_size)
    x = variant.as_data(x)
    with torch.no_grad(), evaluating(variant):
        batches = [_site_terms(variant, batch, num_samples) for batch in x.split(batch_size)]
    return [
        SiteTerm(
            of_site[0].name,
            of_site[0].observed,
            torch.cat([term.log_p for term in of_site]),
            torch.cat([term.log_q for term in of_site]),
            of_site[0].exact,
        )
        for of_site in zip(*batches, strict=True)
    ]


def elbo(variant: Variant, x: Any, *, num_samples: int = 1, batch_size: int = 1000) -> ELBOTerms:
    """ELBO, reconstruction and KL of each datum, in nats, unweighted.

    For an autoencoder the ELBO is the reconstruction alone, and no bound.

    Args:
        variant: any variant.
        x: data (N, \\*shape).
        num_samples: draws from the guide per datum.
        batch_size: data evaluated at once.

    Raises:
        DataError: when the data do not fit.

    Example:
        >>> import pyro_vae as pv
        >>> from pyro_vae import evaluation, likelihoods, priors
        >>> vae = pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(5))
        >>> evaluation.elbo(vae, torch.zeros(7, 5)).kl.shape
        torch.Size([7])
    """
    terms = site_terms(variant, x, num_samples=num_samples, batch_size=batch_size)
    reconstruction = sum(term.contribution for term in terms if term.observed)
    kl = -sum(term.contribution for term in terms if not term.observed)  # type: ignore[operator]
    return ELBOTerms(reconstruction - kl, reconstruction, kl)  # type: ignore[operator, arg-type]


def kl_per_dimension(variant: Variant, x: Any, *, batch_size: int = 1000) -> Tensor | None:
    """KL of each latent dimension, (D,), in nats, averaged over data; ``None`` where the KL does not come so.

    It comes dimension by dimension when prior and posterior both factorise over the dimensions; a VampPrior, a
    mixture or a flow does not.

    Raises:
        DataError: when the data do not fit.
    """
    check_positive("batch_size", batch_size)
    x = variant.as_data(x)
    total: Any = 0.0
    with torch.no_grad(), evaluating(variant):
        for batch in x.split(batch_size):
            guide_trace, model_trace = traces(variant, batch, 1)
            kl = _kl_per_dimension(guide_trace.nodes["z"]["fn"], model_trace.nodes["z"]["fn"])
            if kl is None:
                return None
            total = total + kl.reshape(-1, kl.shape[-1]).sum(0)
    return total / len(x)

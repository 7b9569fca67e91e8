"""The ELBO of a variant on data, site by site."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import pyro
import torch
from pyro.distributions import Unit
from torch import Tensor

from pyro_vae.errors import ConfigurationError, check_positive
from pyro_vae.objectives.enumeration import enumerated_traces, expectation, joint_probability, log_density
from pyro_vae.objectives.kl import check_proposed, kl_exact, kl_holds
from pyro_vae.objectives.kl import kl_per_dimension as _kl_per_dimension
from pyro_vae.program import labelled, sample_sites
from pyro_vae.variants.base import Variant
from pyro_vae.variants.contexts import evaluating

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "ELBOTerms",
    "SiteTerm",
    "alike",
    "batch_terms",
    "data_at_once",
    "elbo",
    "kl_per_dimension",
    "repeated",
    "site_terms",
    "traces",
]


@dataclass
class SiteTerm:
    """What one sample site contributes to the ELBO of each datum, in nats.

    Attributes:
        name: of the site.
        observed: whether it is data; its ``log_q`` is then 0.
        log_p: E_q[log p(site | parents)], (N,).
        log_q: E_q[log q(site | x)], (N,); minus the guide's entropy.
        exact: whether the KL, log_q - log_p, is in closed form; else both are averages over draws.
        factor: whether it is the term of a ``pyro.factor``: part of what is trained, and of no bound.
    """

    name: str
    observed: bool
    log_p: Tensor
    log_q: Tensor
    exact: bool
    factor: bool = False

    @property
    def contribution(self) -> Tensor:
        """log_p - log_q, (N,): the contributions of all sites add up to the ELBO."""
        return self.log_p - self.log_q


class ELBOTerms(NamedTuple):
    """ELBO and its two terms for each datum, (N,) each, in nats: elbo = reconstruction - kl.

    Printed, they are averages over the data with their standard errors.
    """

    elbo: Tensor
    reconstruction: Tensor
    kl: Tensor

    @property
    def dataset(self) -> xr.Dataset:
        """All three by datum, in nats, with the terms' usual names beside them: ``rate`` and ``distortion``."""
        import xarray as xr

        values = {name: value.cpu().numpy() for name, value in self._asdict().items()}
        values |= {"rate": values["kl"], "distortion": -values["reconstruction"]}
        return xr.Dataset({name: ("datum", value) for name, value in values.items()})

    def __repr__(self) -> str:
        def average(values: Tensor) -> str:
            error = f" ± {values.std().item() / len(values) ** 0.5:.2f}" if len(values) > 1 else ""
            return f"{values.mean().item():.2f}{error}"

        terms = ", ".join(f"{name} {average(value)}" for name, value in self._asdict().items())
        return f"{terms} nats per datum ({len(self.elbo):,} data)"


PLATES = 2
"""Dimensions of plates in the traces made here: draws in front, then data."""


def repeated(program: Callable[..., Any], num_samples: int) -> Callable[..., Any]:
    """The program with ``num_samples`` draws of each datum's latents, as a plate in front of that of the data."""

    def run(*arguments: Any, **keywords: Any) -> Any:
        with pyro.plate("num_samples", num_samples, dim=-PLATES):
            return program(*arguments, **keywords)

    return run


def traces(variant: Variant, x: Tensor, y: Tensor | None, num_samples: int) -> tuple[Any, Any]:
    """Traces of guide and model with ``num_samples`` draws of each datum's latents, as a plate in front.

    Enumerated sites hold all their values, in dimensions in front of that.
    """

    model_trace, guide_trace = enumerated_traces(
        repeated(variant.model, num_samples),
        repeated(variant.guide, num_samples),
        variant.program_arguments(x, y),
        PLATES,
    )
    return guide_trace, model_trace


def alike(variant: Variant, y: Tensor | None, n: int) -> list[tuple[str, Tensor]]:
    """Indices of the data that programs treat alike: those with labels and those without, where there are both."""
    everything = torch.arange(n)
    if y is None or not variant.programs_see_labels:
        return [("", everything)]
    known = labelled(y).cpu()
    if known.all():
        return [("", everything)]
    groups = {"labelled": everything[known], "unlabelled": everything[~known]}
    kinds = {name: rows for name, rows in groups.items() if len(rows)}
    return [(f"{name}/" if len(kinds) > 1 else "", rows) for name, rows in kinds.items()]


def batch_terms(variant: Variant, x: Tensor, y: Tensor | None, num_samples: int) -> list[SiteTerm]:
    """The terms of :func:`site_terms` for data that are checked and all of one kind, with their gradients."""
    guide_trace, model_trace = traces(variant, x, y, num_samples)
    probability = joint_probability(guide_trace)

    def averaged(values: Tensor) -> Tensor:
        """Over enumerated values and draws."""
        return expectation(values, probability, PLATES).expand(num_samples, len(x)).mean(0)

    terms = []
    for site in sample_sites(model_trace):
        name, p = site["name"], site["fn"]
        if site["is_observed"]:
            log_p = averaged(log_density(site))
            terms.append(SiteTerm(name, True, log_p, torch.zeros_like(log_p), False, isinstance(p, Unit)))
            continue
        check_proposed(name, guide_trace)
        guide_site = guide_trace.nodes[name]
        q = guide_site["fn"]
        kl = kl_exact(q, p) if kl_holds(name, model_trace, guide_trace) else None
        if kl is not None and (entropy := _entropy(q)) is not None:
            kl, entropy = averaged(kl), averaged(entropy)
            terms.append(SiteTerm(name, False, -kl - entropy, -entropy, True))
        else:
            terms.append(SiteTerm(name, False, averaged(log_density(site)), averaged(log_density(guide_site)), False))
    for site in sample_sites(guide_trace):  # auxiliary sites, which only the guide has, and what its factors add
        if site["name"] not in model_trace.nodes:
            log_q = averaged(log_density(site))
            factor = isinstance(site["fn"], Unit)
            terms.append(SiteTerm(site["name"], factor, torch.zeros_like(log_q), log_q, False, factor))
    return terms


def _entropy(q: Any) -> Tensor | None:
    try:
        return q.entropy()
    except NotImplementedError:
        return None


def site_terms(
    variant: Variant, x: Any, y: Any = None, *, num_samples: int = 1, batch_size: int = 1000
) -> list[SiteTerm]:
    """Each sample site's contribution to the ELBO of each datum; :func:`elbo` is their sum.

    KL and entropy are exact where a closed form is known, and averages over draws from the guide elsewhere; missing
    classes are summed over.  Weights (beta, alpha, free bits) play no part here: this is the bound itself.  Where some
    data have labels and some have none, their sites go by ``labelled/x`` and ``unlabelled/x``, each 0 for the others.

    Args:
        variant: any variant.
        x: data (N, \\*shape), or a split.
        y: labels, in variants that have them; -1 or NaN where they are missing.
        num_samples: draws from the guide per datum.
        batch_size: draws (data times samples) evaluated at once.

    Raises:
        DataError: when the data do not fit.
    """
    check_positive("num_samples", num_samples)
    check_positive("batch_size", batch_size)
    x, y = variant.batch(x, y)
    batch_size = data_at_once(variant, y, num_samples, batch_size)
    found = []
    with torch.no_grad(), evaluating(variant):
        for prefix, rows in alike(variant, y, len(x)):
            batches = [
                batch_terms(variant, x[some], None if y is None else y[some], num_samples)
                for some in rows.split(batch_size)
            ]
            for of_site in zip(*batches, strict=True):
                log_p, log_q = (
                    _placed(torch.cat([getattr(term, name) for term in of_site]), rows, len(x))
                    for name in ("log_p", "log_q")
                )
                first = of_site[0]
                found.append(SiteTerm(prefix + first.name, first.observed, log_p, log_q, first.exact, first.factor))
    return found


def data_at_once(variant: Variant, y: Tensor | None, num_samples: int, batch_size: int) -> int:
    """How many data go through the networks together: fewer where each has several draws, or values summed over."""
    return max(1, batch_size // (num_samples * variant.values_at_once(y)))


def _placed(values: Tensor, rows: Tensor, n: int) -> Tensor:
    """Values (R,) of the data in ``rows`` as those of all data (n,), 0 elsewhere."""
    return values if len(rows) == n else values.new_zeros(n).index_copy(0, rows.to(values.device), values)


def elbo(variant: Variant, x: Any, y: Any = None, *, num_samples: int = 1, batch_size: int = 1000) -> ELBOTerms:
    """ELBO, reconstruction and KL of each datum, in nats, unweighted.

    The bound is on log p of what is observed: of x, of x and y where a label is known, of x given y in a conditional
    variant, of y given x where x is what predictions are made from.  ``reconstruction`` holds all that is observed.

    For an autoencoder the ELBO is the reconstruction alone, and no bound.

    Args:
        variant: any variant.
        x: data (N, \\*shape), or a split.
        y: labels, in variants that have them; -1 or NaN where they are missing.
        num_samples: draws from the guide per datum.
        batch_size: draws (data times samples) evaluated at once.

    Raises:
        DataError: when the data do not fit.

    Example:
        >>> import pyro_vae as pv
        >>> from pyro_vae import evaluation, likelihoods, priors
        >>> vae = pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(5))
        >>> evaluation.elbo(vae, torch.zeros(7, 5)).kl.shape
        torch.Size([7])
    """
    terms = site_terms(variant, x, y, num_samples=num_samples, batch_size=batch_size)
    nothing = torch.zeros_like(terms[0].log_p)
    bound = [term for term in terms if not term.factor]
    reconstruction = sum((term.contribution for term in bound if term.observed), nothing)
    kl = -sum((term.contribution for term in bound if not term.observed), nothing)
    return ELBOTerms(reconstruction - kl, reconstruction, kl)


def kl_per_dimension(
    variant: Variant, x: Any, y: Any = None, *, site: str | None = None, batch_size: int = 1000
) -> Tensor | None:
    """KL of each dimension of the code, (D,), in nats, averaged over data; ``None`` where the KL does not come so.

    It comes dimension by dimension when prior and posterior both factorise over the dimensions; a VampPrior, a
    mixture or a flow does not.  Nor does that of a code whose prior depends on a code that the guide draws later: in
    a hierarchy there is only that of the last layer, averaged over a draw of the layers below.

    Args:
        variant: any variant.
        x: data (N, \\*shape), or a split.
        y: labels, in variants that have them; -1 or NaN where they are missing.
        site: another latent than the code, such as ``"z2"``.
        batch_size: data evaluated at once.

    Raises:
        ConfigurationError: for a site that is no latent.
        DataError: when the data do not fit.
    """
    name = variant.code if site is None else site
    if name not in (variant.code, *variant.latents) and not (name == "y" and variant.label is not None):
        raise ConfigurationError(f"site {name!r} is no latent of {type(variant).__name__}; those are {variant.latents}")
    check_positive("batch_size", batch_size)
    x, y = variant.batch(x, y)
    batch_size = data_at_once(variant, y, 1, batch_size)
    total: Any = 0.0
    with torch.no_grad(), evaluating(variant):
        for _, rows in alike(variant, y, len(x)):
            for some in rows.split(batch_size):
                guide_trace, model_trace = traces(variant, x[some], None if y is None else y[some], 1)
                if name not in guide_trace.nodes or not kl_holds(name, model_trace, guide_trace):
                    return None
                q, p = guide_trace.nodes[name]["fn"], model_trace.nodes[name]["fn"]
                if (kl := _kl_per_dimension(q, p)) is None:
                    return None
                probability = joint_probability(guide_trace)
                each = [expectation(values, probability, PLATES) for values in kl.unbind(-1)]
                total = total + torch.stack([values.expand(1, len(some)).sum() for values in each])
    return total / len(x)

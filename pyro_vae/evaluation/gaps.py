"""How far the ELBO is below log p(x), and which part of that the family and which the encoder is to blame for."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pyro_vae.errors import ConfigurationError, DataError, check_positive
from pyro_vae.evaluation.elbo import alike, elbo
from pyro_vae.evaluation.likelihood import Method, check_density
from pyro_vae.evaluation.likelihood import log_likelihood as estimate
from pyro_vae.evaluation.local import local_families, optimised, proposing
from pyro_vae.evaluation.of_each_datum import Local, LocalFamily
from pyro_vae.evaluation.tables import aligned
from pyro_vae.networks import MLP
from pyro_vae.parts import Conditional
from pyro_vae.posteriors import Flow, Posterior
from pyro_vae.randomness import seeded
from pyro_vae.variants.base import Variant

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

__all__ = ["AmortisationGap", "amortisation_gap"]

AMORTISED, SAME = "amortised", "same"

_PARTS = 20
"""Parts that the draws of an ELBO are cut into, for the standard error of each datum's."""


@dataclass(frozen=True, eq=False)
class AmortisationGap:
    """log p(x), and the ELBOs of the guide and of guides optimised for each datum.

    Attributes:
        dataset: in nats: ``log_likelihood`` (datum) and ``elbo`` (guide, datum), each with its Monte Carlo error,
            ``log_likelihood_error`` and ``elbo_error``; and ``steps`` and ``converged`` (guide) of the optimisation.
            Guides are ``amortised``, ``same`` (its own family, optimised) and further families by name.
    """

    dataset: xr.Dataset

    @property
    def gaps(self) -> xr.Dataset:
        """Gaps of each datum, (datum) in nats: ``total`` = ``approximation`` + ``amortisation``.

        And ``approximation, NAME`` of each further family.
        """
        elbos, log_p = self.dataset["elbo"], self.dataset["log_likelihood"]
        best = elbos.sel(guide=SAME, drop=True)
        amortised = elbos.sel(guide=AMORTISED, drop=True)
        found = {"total": log_p - amortised, "approximation": log_p - best, "amortisation": best - amortised}
        for name in self.families:
            found[f"approximation, {name}"] = log_p - elbos.sel(guide=name, drop=True)
        return self.dataset[[]].assign(found)

    @property
    def families(self) -> list[str]:
        """Names of the further families."""
        return [str(name) for name in self.dataset["guide"].values if name not in (AMORTISED, SAME)]

    @property
    def table(self) -> pd.DataFrame:
        """Means over data and their standard errors over data, in nats per datum, of all that there is."""
        import pandas as pd

        n = self.dataset.sizes["datum"]
        rows = {"log p(x)": self.dataset["log_likelihood"]}
        rows |= {f"ELBO, {guide}": self.dataset["elbo"].sel(guide=guide) for guide in self.dataset["guide"].values}
        rows |= {f"gap: {name}": values for name, values in self.gaps.items()}
        means = {name: values.mean().item() for name, values in rows.items()}
        errors = {
            name: values.std(ddof=1).item() / math.sqrt(n) if n > 1 else math.nan for name, values in rows.items()
        }
        return pd.DataFrame({"nats": means, "standard error": errors})

    def __repr__(self) -> str:
        rows = [("", "nats", "standard error")]
        rows += [(str(name), f"{nats:.3f}", f"{error:.3f}") for name, nats, error in self.table.itertuples()]
        n = self.dataset.sizes["datum"]
        unfinished = [str(g) for g in self.dataset["guide"].values if not self.dataset["converged"].sel(guide=g)]
        told = f"\nnot converged: {', '.join(unfinished)}; take more steps" if unfinished else ""
        return f"{aligned(rows)}\nmeans over {n:,} data, with standard errors over data{told}"


def amortisation_gap(
    variant: Variant,
    x: Any,
    y: Any = None,
    *,
    families: Mapping[str, Posterior] | None = None,
    log_likelihood: str | Method | Tensor = "importance",
    num_samples: int = 5000,
    num_particles: int = 32,
    steps: int = 3000,
    lr: float = 0.05,
    seed: int = 0,
) -> AmortisationGap:
    """log p(x) - ELBO of a few data, as the approximation gap plus the amortisation gap.

    The model stays as it is.  For each datum the parameters of q are optimised by themselves, from what the encoder
    gives; the ELBO of that optimum, with fresh draws, is the best that the family can do.

    - **approximation gap**, log p(x) - best ELBO of the family: what a more flexible family would gain.
    - **amortisation gap**, best ELBO of the family - ELBO: what a better encoder would gain.

    Other families say how much flexibility buys: each is optimised for every datum, a flow with weights of each
    datum's own.  (The model was trained with its own guide and has adapted to it: a gap that is small here may not be
    after training with another family.  Where draws have a biased gradient, as straight-through ones have, the optimum
    is only as good as that gradient.)

    Everything hangs on log p(x).  ``"importance"`` estimates it, from below, by draws from the best of the optimised
    guides: what it misses, the total and the approximation gap miss too.  ``log_likelihood="ais"`` is a second
    opinion.  The amortisation gap does not depend on it.

    **Several latents.** Where the guide computes one latent from a draw of another, as in q(z1 | x) q(z2 | z1), the
    network of the second stays, and an offset to its output is optimised for each datum.  What depends on the draw is
    then the encoder's still: the amortisation gap is at least what is found, the approximation gap at most.

    Args:
        variant: any variant with a code whose guide has an encoder and a density.
        x: a few data (N, \\*shape), tens rather than thousands, or a split: all are optimised at once.
        y: labels, in variants that have them; -1 or NaN where they are missing.
        families: further families by name, for a code that is continuous and the only one, and computed from data and
            known labels alone; there ``{"flow": posteriors.Flow()}`` if not given.  ``{}`` for none.
        log_likelihood: a method of :func:`pyro_vae.evaluation.log_likelihood`, or log p(x) itself, (N,) in nats.
        num_samples: draws per datum for each ELBO, and for log p(x) by ``"importance"``.
        num_particles: draws per datum and step of the optimisation.
        steps: of the optimisation, at most: it stops where the ELBO no longer rises.
        lr: learning rate (Adam), lowered where the ELBO no longer rises.
        seed: of all draws; the random stream outside is left alone.

    Raises:
        ConfigurationError: in a variant without codes, or with further families where they have no place.
        DataError: when the data do not fit, or a part has no density.
        NonFiniteLossError: when the optimisation fails.

    Example:
        >>> import pyro_vae as pv
        >>> from pyro_vae import evaluation, likelihoods, priors
        >>> vae = pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(5))
        >>> found = evaluation.amortisation_gap(vae, torch.zeros(3, 5), families={}, steps=50, num_samples=100)
        >>> list(found.table.index)  # doctest: +NORMALIZE_WHITESPACE
        ['log p(x)', 'ELBO, amortised', 'ELBO, same', 'gap: total', 'gap: approximation', 'gap: amortisation']

    References:
        Cremer, Li & Duvenaud, Inference Suboptimality in Variational Autoencoders, 2018, section 3
        (https://arxiv.org/abs/1801.03558)
    """
    variant.check_code()
    for name, number in {"num_samples": num_samples, "num_particles": num_particles, "steps": steps}.items():
        check_positive(name, number)
    if not lr > 0:
        raise ConfigurationError(f"lr must be a positive number, got {lr!r}")
    check_density(variant)
    _check_families(families or {})
    x, y = variant.batch(x, y)
    settings: dict[str, Any] = {"num_particles": num_particles, "steps": steps, "lr": lr}
    found: dict[str, dict[str, Tensor]] = {}
    with seeded(seed, variant.device):
        kinds = [(rows, x[rows], None if y is None else y[rows]) for _, rows in alike(variant, y, len(x))]
        # of all kinds, before any of the long work: not every guide has such parameters
        starts = [local_families(variant, some, labels) for _, some, labels in kinds]
        why_not = next(filter(None, map(_why_no_other, starts)), "")
        if families is None:
            families = {} if why_not or variant.discrete_code else {"flow": Flow()}
        if families and why_not:
            raise ConfigurationError(f"no other family can take the guide's place: {why_not}; give families={{}}")
        known = None if _is_importance(log_likelihood) else _log_likelihood(variant, x, y, log_likelihood)
        for (rows, some, labels), same in zip(kinds, starts, strict=True):
            of_guides = _of_one_kind(variant, some, labels, same, families, num_samples, **settings)
            for guide, values in of_guides.items():
                into = found.setdefault(guide, {name: torch.zeros(len(x), dtype=torch.double) for name in values})
                for name, value in values.items():
                    into[name][rows] = value
    stacked = {name: torch.stack([values[name] for values in found.values()]) for name in found[AMORTISED]}
    log_p, error = _of_the_best(stacked) if known is None else known
    return AmortisationGap(_dataset(list(found), stacked, log_p, error))


def _dataset(guides: list[str], of_guides: dict[str, Tensor], log_p: Tensor, error: Tensor) -> xr.Dataset:
    import xarray as xr

    return xr.Dataset(
        {
            "log_likelihood": ("datum", log_p.numpy()),
            "log_likelihood_error": ("datum", error.numpy()),
            "elbo": (("guide", "datum"), of_guides["elbo"].numpy()),
            "elbo_error": (("guide", "datum"), of_guides["elbo_error"].numpy()),
            "steps": ("guide", of_guides["steps"].amax(1).long().numpy()),
            "converged": ("guide", of_guides["converged"].bool().all(1).numpy()),
        },
        coords={"guide": guides},
    )


def _check_families(families: Mapping[str, Posterior]) -> None:
    for name, family in families.items():
        if name in (AMORTISED, SAME):
            raise ConfigurationError(f"families: {name!r} is the name of the guide's own; choose another")
        if not isinstance(family, Posterior) or not family.has_density:
            raise ConfigurationError(f"families[{name!r}] must be a Posterior with a density, got {family!r}")
        family.check_free()


def _of_one_kind(
    variant: Variant,
    x: Tensor,
    y: Tensor | None,
    same: Mapping[Conditional, Local],
    families: Mapping[str, Posterior],
    num_samples: int,
    **settings: Any,
) -> dict[str, dict[str, Tensor]]:
    """For each guide the ELBO of each datum with its error, and how the optimisation went."""
    found = {AMORTISED: _evaluated(variant, x, y, num_samples)}
    for guide in (SAME, *families):
        proposed = same if guide == SAME else _replaced(same, families[guide])
        steps, converged = optimised(variant, x, y, proposed, **settings)
        with proposing(variant, proposed):
            found[guide] = _evaluated(variant, x, y, num_samples, steps, converged)
    return found


def _why_no_other(same: Mapping[Conditional, Local]) -> str:
    """Why another family cannot take the place of the guide's for the code, or nothing."""
    codes = [(part, local) for part, local in same.items() if isinstance(part, Posterior)]
    if len(codes) != 1:
        return f"it proposes codes by {len(codes)} parts"
    part, local = codes[0]
    return "" if isinstance(local, LocalFamily) else f"{part!r} is computed from a draw of another latent"


def _replaced(same: Mapping[Conditional, Local], family: Posterior) -> dict[Conditional, Local]:
    """What was optimised, with another family in the place of the code's, which starts with its means and scales."""
    [part] = [part for part in same if isinstance(part, Posterior)]
    local = same[part]
    assert isinstance(local, LocalFamily)
    family = copy.deepcopy(family)  # the user's own stays free
    assert part.shape is not None
    family.connect(MLP([]), (1,), shape=part.shape)  # parameters are each datum's own: the network is never asked
    family.to(local.parameters)
    with torch.no_grad():
        q = local.distribution()
        try:
            mean, scale = q.mean, q.stddev
        except (NotImplementedError, AttributeError):
            draws = q.sample((1000,))
            mean, scale = draws.mean(0), draws.std(0)
        start = family.starting_parameters(mean, scale)
    return {**same, part: LocalFamily(family, start, weights=True)}


def _evaluated(
    variant: Variant, x: Tensor, y: Tensor | None, num_samples: int, steps: int = 0, converged: bool = True
) -> dict[str, Tensor]:
    """ELBO and importance-weighted estimate of log p(x) of each datum by the guide as it is now, with their errors.

    And how the optimisation went that led to it; (N,) each.
    """
    parts = max(2, min(_PARTS, num_samples))
    each = max(1, num_samples // parts)
    # all data at once: parameters of each datum's own are for these data in this order
    size = len(x) * variant.values_at_once(y)
    bounds, estimates = [], []
    for _ in range(parts):
        bounds.append(elbo(variant, x, y, num_samples=each, batch_size=each * size).elbo.double().cpu())
        weighted = estimate(variant, x, y, num_samples=each, chunk=each * size, progress=False)
        estimates.append(weighted.as_subclass(Tensor).double().cpu())
    bound, log_p = torch.stack(bounds), torch.stack(estimates)
    mean = log_p.logsumexp(0) - math.log(parts)
    values = {
        "elbo": bound.mean(0),
        "elbo_error": bound.std(0) / math.sqrt(parts),
        "log_p": mean,
        "log_p_error": (log_p - mean).exp().std(0) / math.sqrt(parts),
        "steps": mean.new_tensor(steps),
        "converged": mean.new_tensor(converged),
    }
    return {name: value.expand(len(x)) for name, value in values.items()}


def _is_importance(log_likelihood: str | Method | Tensor) -> bool:
    return isinstance(log_likelihood, str) and log_likelihood == "importance"


def _of_the_best(of_guides: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """The estimates (N,) of log p(x) and their errors by the guide (G, N) that has the highest ELBO of each datum."""
    best = of_guides["elbo"].argmax(0, keepdim=True)
    log_p, error = (of_guides[name].gather(0, best)[0] for name in ("log_p", "log_p_error"))
    return log_p, error


def _log_likelihood(
    variant: Variant, x: Tensor, y: Tensor | None, given: str | Method | Tensor
) -> tuple[Tensor, Tensor]:
    """log p(x) of each datum and its error, (N,) each, by another method or as it was given."""
    if isinstance(given, str | Method):
        given = estimate(variant, x, y, method=given)
    values = torch.as_tensor(given)
    if values.shape != (len(x),):
        raise DataError(
            f"log_likelihood: wanted one value for each of {len(x)} data, or the name of a method, got a tensor of "
            f"shape {tuple(values.shape)}"
        )
    if not values.isfinite().all():
        raise DataError(f"log_likelihood: {int((~values.isfinite()).sum()):,} of {len(x):,} values are NaN or infinite")
    error = getattr(given, "standard_error", torch.zeros(len(x)))
    return values.as_subclass(Tensor).double().cpu(), error.double().cpu()

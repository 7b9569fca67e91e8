"""Importance weights of draws from the guide, one for each datum, and the log-densities that they are made of."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from pyro.distributions import Delta, Unit
from pyro.distributions.util import scale_and_mask
from torch import Tensor

from pyro_vae.errors import ConfigurationError
from pyro_vae.objectives.elbo import check_reparametrised
from pyro_vae.objectives.enumeration import is_enumerated, log_density
from pyro_vae.objectives.kl import check_proposed
from pyro_vae.program import group_of, sample_sites

__all__ = ["Densities", "Weights", "densities", "drawn", "factors_of", "log_weights", "plates_of"]


@dataclass
class Weights:
    """log w of data of one kind.

    Attributes:
        log_w: (\\*enumerated, K, B), or (\\*enumerated, B) without a plate of particles.
        plates: dimensions of plates.
        share: what Pyro's subsampling plates multiply densities by: all data over those of the batch.
    """

    log_w: Tensor
    plates: int
    share: float = 1.0

    @property
    def enumerated(self) -> tuple[int, ...]:
        """The dimensions of enumerated values."""
        return tuple(range(self.log_w.dim() - self.plates))

    def summed(self, particles: int) -> Tensor:
        """log w with enumerated values summed over, (K, B)."""
        whole = self.log_w.logsumexp(self.enumerated) if self.enumerated else self.log_w
        return whole.reshape(particles, -1)

    def shares(self) -> Tensor:
        """Which part of w each enumerated value has, (\\*enumerated, K, B), without a gradient."""
        log_w = self.log_w.detach()
        if not self.enumerated:  # torch takes no dimensions for all of them
            return torch.ones_like(log_w)
        return (log_w - log_w.logsumexp(self.enumerated, keepdim=True)).exp()


@dataclass
class Densities:
    """Log-densities of data of one kind, site by site, (\\*enumerated, K, B) or what broadcasts to it.

    Attributes:
        plates: dimensions of plates.
        where: the dimensions of the plates that the data are in.
        share: what Pyro's subsampling plates multiply densities by: all data over those of the batch.
        model: log p of each site, weighed.
        draws: log q of each site that the guide draws, weighed.
        enumerated: log q of each site that it enumerates, weighed.
        scores: log q of each site that it draws, unweighed: what the score is the derivative of.
        choices: log q of each site that it enumerates, unweighed.
        repeated: log of the number of values that a masked datum has and should not.
    """

    plates: int
    where: set[int]
    share: float
    model: list[Tensor] = field(default_factory=list)
    draws: list[Tensor] = field(default_factory=list)
    enumerated: list[Tensor] = field(default_factory=list)
    scores: list[Tensor] = field(default_factory=list)
    choices: list[Tensor] = field(default_factory=list)
    repeated: list[Tensor] = field(default_factory=list)

    def weights(self, *, guide: bool = True) -> Weights:
        """log w, with the gradients of the model's densities and, unless ``guide`` is false, of the guide's."""
        proposed = [log_q if guide else log_q.detach() for log_q in self.draws]
        log_w: Any = sum(self.model) - sum([*proposed, *self.repeated])
        return Weights(log_w, self.plates, self.share)

    def terms(self) -> Tensor:
        """log p(x, z) - log q(z | x) with log q of enumerated values too, without the gradients of draws' log q.

        Averaged over q of the enumerated values it is the ELBO's integrand, whose derivative at fixed draws it has:
        that of the draws' log q has the expectation 0.
        """
        return sum(self.model) - sum(self.enumerated) - sum(log_q.detach() for log_q in self.draws)  # type: ignore[return-value]


def drawn(guide_trace: Any) -> Iterator[Any]:
    """The sites of a guide's trace whose values are draws, not enumerated ones and not data."""
    for site in sample_sites(guide_trace):
        if not (site["is_observed"] or isinstance(site["fn"], Unit) or is_enumerated(site)):
            yield site


def log_weights(model_trace: Any, guide_trace: Any, plates: int) -> dict[str, Weights]:
    """log w = log p(x, z) - log q(z | x) of each draw and each datum, for each kind of data.

    A site's weight multiplies its log-density: w is a product of powers.  Enumerated values are no draws: log w is
    that of each, without their log q, and w is the sum.  What is added by ``pyro.factor`` is left out.

    Raises:
        ConfigurationError: when the guide has no density of that kind, or cannot be reparametrised, or data share a
            latent.
    """
    found = densities(model_trace, guide_trace, plates, reparametrised=True)
    return {group: each.weights() for group, each in found.items()}


def densities(model_trace: Any, guide_trace: Any, plates: int, *, reparametrised: bool = False) -> dict[str, Densities]:
    """The log-densities that log w is made of, for each kind of data.

    Args:
        model_trace: of the model run against the guide.
        guide_trace: of the guide.
        plates: dimensions of plates.
        reparametrised: whether draws must be such that gradients pass through them.

    Raises:
        ConfigurationError: when the guide has no density of that kind, or data share a latent.
    """
    found: dict[str, Densities] = {}

    def of(site: Any) -> Densities:
        group, (where, share) = group_of(site["name"]), plates_of(site)
        one = found.setdefault(group, Densities(plates, where, share))
        if (one.where, one.share) != (where, share):
            raise ConfigurationError(
                f"site {site['name']!r} is not in the same plates as the sites before it: a latent that several data "
                f"share has no importance weight of each datum; use Pyro's RenyiELBO, which weighs whole batches"
            )
        return one

    for site in sample_sites(model_trace):
        if not isinstance(site["fn"], Unit):
            if not site["is_observed"]:
                check_proposed(site["name"], guide_trace)
            one = of(site)
            one.model.append(_weighed(site, one.share))
    for site in sample_sites(guide_trace):
        if isinstance(site["fn"], Unit):
            continue
        if not site["is_observed"]:
            _check_weighable(site, model_trace, reparametrised)
        one = of(site)
        weighed, plain = _weighed(site, one.share), scale_and_mask(log_density(site), 1.0, site["mask"])
        if not is_enumerated(site):
            one.draws.append(weighed)
            one.scores += [] if site["is_observed"] else [plain]
            continue
        one.enumerated.append(weighed)
        one.choices.append(plain)
        if site["mask"] is not None:  # a datum that is taken out has one value, not many
            count = plain.new_full((), math.log(site["value"].shape[site["infer"]["_enumerate_dim"]]))
            out = ~torch.as_tensor(site["mask"], device=count.device)
            one.repeated.append(scale_and_mask(count, 1.0, out))
    return found


def factors_of(model_trace: Any, guide_trace: Any, group: str, share: float) -> Any:
    """What ``pyro.factor`` statements add to the terms of data of one kind, weighed; 0 where there are none.

    Args:
        model_trace: of the model, which adds.
        guide_trace: of the guide, which subtracts.
        group: what the names of the sites begin with.
        share: of the data, as :class:`Densities` has it.
    """
    signed = [(sign, site) for sign, trace in ((1, model_trace), (-1, guide_trace)) for site in sample_sites(trace)]
    return sum(
        sign * _weighed(site, share)
        for sign, site in signed
        if isinstance(site["fn"], Unit) and group_of(site["name"]) == group
    )


def _weighed(site: Any, share: float) -> Tensor:
    """log p of a site's value times its weight, without what its plates multiply it by."""
    return scale_and_mask(log_density(site), site["scale"] / share, site["mask"])


def plates_of(site: Any) -> tuple[set[int], float]:
    """The dimensions of a site's plates, and what they multiply its density by because they subsample."""
    frames = [frame for frame in site["cond_indep_stack"] if frame.vectorized]
    return {frame.dim for frame in frames}, math.prod((frame.full_size or frame.size) / frame.size for frame in frames)


def _check_weighable(site: Any, model_trace: Any, reparametrised: bool) -> None:
    """Check that a latent site of the guide can be part of an importance weight."""
    if reparametrised:
        check_reparametrised(site)
    if isinstance(site["fn"], Delta):
        raise ConfigurationError(
            f"site {site['name']!r}: the guide's Delta has no density, so its draws have no importance weights; "
            f"use objectives.ELBO()"
        )
    if is_enumerated(site) and site["name"] not in model_trace.nodes:
        raise ConfigurationError(
            f"site {site['name']!r} is enumerated in the guide and not in the model, so that summing over it gives no "
            f"importance weight; draw it in the model too"
        )

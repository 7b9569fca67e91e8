"""The evidence lower bound, its terms apart, with the KL in closed form where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pyro.infer import TraceMeanField_ELBO
from torch import Tensor

from pyro_vae.configured import Configured
from pyro_vae.errors import ConfigurationError, check_positive
from pyro_vae.objectives.kl import check_proposed, kl_exact, kl_holds, kl_per_dimension
from pyro_vae.program import sample_sites

__all__ = ["ELBO", "Terms"]


@dataclass
class Terms:
    """The terms of one evaluated objective, unweighted, in nats, summed over the batch (0-d tensors)."""

    reconstruction: Tensor
    kl: Tensor

    @property
    def elbo(self) -> Tensor:
        """reconstruction - kl."""
        return self.reconstruction - self.kl


class ELBO(Configured, TraceMeanField_ELBO):
    """E_q[log p(x | z)] - beta KL(q(z | x) || p(z)), with the KL exact where a closed form is known.

    A Pyro objective like any other: ``SVI(vae.model, vae.guide, optim, loss=ELBO())``.  The weight beta belongs to
    the programs (:class:`pyro_vae.program.Program`), so that every Pyro objective sees it.  After each evaluation
    ``terms`` holds the reconstruction and the KL apart and unweighted.

    **Free bits** give each latent dimension, or each group of them, an allowance: the objective has
    max(free_bits, KL_g), with KL_g averaged over the batch, in place of KL_g.  Below the floor the gradient of the
    KL is exactly zero, so a dimension need not collapse at the start of training.

    Args:
        num_particles: draws from the guide per datum, vectorised.
        free_bits: allowance in nats for each group.
        groups: number of groups of equal size that the latent dimensions are cut into, in order; by default each
            dimension is its own.  Where the KL does not come dimension by dimension (VampPrior, flows), only
            ``groups=1``, the whole code, is possible.

    Raises:
        ConfigurationError: for a negative allowance; when training starts, for groups that do not fit.

    References:
        Kingma & Welling, 2014, equation 7 (https://arxiv.org/abs/1312.6114); Kingma et al., 2016, equation 15, on
        free bits (https://arxiv.org/abs/1606.04934)
    """

    def __init__(self, num_particles: int = 1, free_bits: float = 0.0, groups: int | None = None) -> None:
        check_positive("num_particles", num_particles)
        if groups is not None:
            check_positive("groups", groups)
        super().__init__(num_particles=num_particles, vectorize_particles=num_particles > 1, max_plate_nesting=1)
        if not free_bits >= 0:
            raise ConfigurationError(f"free_bits is an allowance in nats, not negative, got {free_bits!r}")
        self.free_bits = float(free_bits)
        self.groups = groups
        self.terms: Terms | None = None

    def _differentiable_loss_particle(self, model_trace: Any, guide_trace: Any) -> tuple[Any, Tensor]:
        reconstruction: Any = 0.0
        kl: Any = 0.0
        weighted: Any = 0.0
        for site in sample_sites(model_trace):
            name = site["name"]
            if site["is_observed"]:
                reconstruction = reconstruction + site["log_prob_sum"]
                weighted = weighted + site["log_prob_sum"]
                continue
            check_proposed(name, guide_trace)
            guide_site = guide_trace.nodes[name]
            site_kl, site_penalty = self._kl(site, guide_site, kl_holds(name, model_trace, guide_trace))
            kl = kl + site_kl
            weighted = weighted - guide_site["scale"] * site_penalty
        for site in sample_sites(guide_trace):  # auxiliary sites
            if site["name"] not in model_trace.nodes:
                kl = kl + site["fn"].log_prob(site["value"]).sum()
                weighted = weighted - site["log_prob_sum"]
        # Pyro itself divides what is returned by the number of particles
        particles = self.num_particles
        self.terms = Terms(
            torch.as_tensor(reconstruction).detach() / particles, torch.as_tensor(kl).detach() / particles
        )
        return -weighted.item(), -weighted

    def _kl(self, model_site: Any, guide_site: Any, holds: bool) -> tuple[Tensor, Tensor]:
        """KL of one site summed over the batch, and what the objective charges for it."""
        q, p = guide_site["fn"], model_site["fn"]
        if not q.has_rsample:
            raise ConfigurationError(
                f"site {model_site['name']!r}: {type(q).__name__} cannot be reparametrised, so this objective has no "
                f"gradient for its guide; use Pyro's TraceGraph_ELBO, or enumerate it with TraceEnum_ELBO"
            )
        if self.free_bits and self.groups != 1:
            dimensions = kl_per_dimension(q, p) if holds else None
            if dimensions is None:
                raise ConfigurationError(
                    f"free_bits for each dimension of site {model_site['name']!r} needs a KL that comes dimension by "
                    f"dimension; with this prior and posterior it does not: use ELBO(free_bits=..., groups=1)"
                )
            groups = self._grouped(dimensions, str(model_site["name"]))
        else:
            whole = kl_exact(q, p) if holds else None
            if whole is None:
                whole = q.log_prob(guide_site["value"]) - p.log_prob(model_site["value"])
            groups = whole.expand(q.batch_shape)[..., None]
        total = groups.sum()
        if not self.free_bits:
            return total, total
        batch = groups[..., 0].numel()
        means = groups.reshape(batch, -1).mean(0)
        return total, batch * means.clamp(min=self.free_bits).sum()

    def _grouped(self, dimensions: Tensor, name: str) -> Tensor:
        size = dimensions.shape[-1]
        groups = self.groups or size
        if size % groups:
            raise ConfigurationError(
                f"groups={groups} does not divide the {size} dimensions of site {name!r} into equal groups"
            )
        return dimensions.unflatten(-1, (groups, size // groups)).sum(-1)

    def formula(self, likelihood: str, divergences: Sequence[tuple[str, str]]) -> str:
        """The objective as LaTeX.

        Args:
            likelihood: the reconstruction term.
            divergences: for each latent site the weight and the divergence that the objective charges.
        """
        text = likelihood
        for weight, divergence in divergences:
            if self.free_bits and self.groups == 1:
                divergence = rf"\max({self.free_bits:g},\, {divergence})"
            elif self.free_bits:
                divergence = rf"\sum_j \max({self.free_bits:g},\, {divergence}_j)"
            # minus a negative divergence, which is what the KL from a delta is
            negative = divergence.startswith("-")
            text += rf" + {weight}{divergence[1:]}" if negative else rf" - {weight}{divergence}"
        return text

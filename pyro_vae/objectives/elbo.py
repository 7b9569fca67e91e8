"""The evidence lower bound, its terms apart, with the KL in closed form where there is one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from pyro.distributions import Unit
from pyro.infer import TraceEnum_ELBO
from torch import Tensor, nn

from pyro_vae.configured import Configured
from pyro_vae.errors import ConfigurationError, check_positive
from pyro_vae.objectives.account import Account, Terms, per_particle
from pyro_vae.objectives.enumeration import enumerated_traces, is_enumerated, log_density
from pyro_vae.objectives.kl import check_proposed, kl_exact, kl_holds, kl_per_dimension
from pyro_vae.parts import Shape
from pyro_vae.program import LABEL, sample_sites, without_group

__all__ = ["ELBO", "check_reparametrised", "family_name", "passes_gradients"]


class ELBO(Configured, TraceEnum_ELBO):
    """E_q[log p(x | z)] - beta KL(q(z | x) || p(z)), with the KL exact where a closed form is known.

    A Pyro objective like any other: ``SVI(vae.model, vae.guide, optim, loss=ELBO())``.  The weight beta belongs to
    the programs (:class:`pyro_vae.program.Program`), so that every Pyro objective sees it.  After each evaluation
    ``terms`` holds the reconstruction and the KL apart and unweighted.

    **Enumeration.** Sites of the guide with ``infer={"enumerate": "parallel"}``, such as a missing class, are summed
    over as Pyro's ``TraceEnum_ELBO`` does; every term is an exact expectation over them.

    **Factors.** ``pyro.factor`` adds a term to the model's log-density, or (with its sign changed, as Pyro has it)
    to the guide's; in the guide it must come from reparametrised draws.  They are no part of the bound, and are
    reported apart.

    **Free bits** give each latent dimension, or each group of them, an allowance: the objective has
    max(free_bits, KL_g) in place of KL_g, which is averaged over the batch, and where only some data have labels over
    those of each kind.  Below the floor the gradient of the KL is exactly zero, so a dimension need not collapse at the
    start of training.  Labels, the site y, have no allowance.

    Args:
        num_particles: draws from the guide per datum, vectorised.
        free_bits: allowance in nats for each group.
        groups: number of groups of equal size that the latent dimensions are cut into, in order; by default each
            dimension is its own.  Where the KL does not come dimension by dimension (VampPrior, flows), only
            ``groups=1``, the whole code, is possible.

    Raises:
        ConfigurationError: for a negative allowance; when training starts, for groups that do not fit.

    References:
        Kingma & Welling, 2014, equation 7 (https://arxiv.org/abs/1312.6114); Kingma et al., 2014, equations 6 to 8,
        on missing labels (https://arxiv.org/abs/1406.5298); Kingma et al., 2016, equation 15, on free bits
        (https://arxiv.org/abs/1606.04934)
    """

    reparametrised = True
    """Whether gradients pass through the guide's draws."""

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
        self.auxiliary: nn.Module | None = None

    def connect(self, shape: Shape, prepare: Callable[[Tensor], Tensor] | None = None) -> nn.Module | None:
        """What the objective trains or remembers beside the programs, for a variant to keep; nothing here.

        Args:
            shape: event shape of the data that the programs are given first.
            prepare: applied to data before a network sees them.

        Raises:
            ConfigurationError: when it belongs to another variant already.
        """
        return None

    # -- what it is, in words

    @property
    def target(self) -> str:
        """What the gradients are estimates for: objectives with the same target have the same true gradient."""
        return repr(self) if self.free_bits else "ELBO"

    @property
    def notes(self) -> list[str]:
        """What a reader of the story should know beyond the formula."""
        return ["below its allowance of free bits a KL costs nothing more and has no gradient"] * bool(self.free_bits)

    # -- Pyro's interface

    def loss(self, model: Any, guide: Any, *args: Any) -> float:
        """Minus the objective, in nats, summed over the batch."""
        with torch.no_grad():
            return self._minus_objective(model, guide, args).item()

    def differentiable_loss(self, model: Any, guide: Any, *args: Any) -> Tensor:
        """Minus the objective as a tensor (), to be differentiated."""
        return self._minus_objective(model, guide, args)

    def loss_and_grads(self, model: Any, guide: Any, *args: Any) -> float:
        """Minus the objective; its gradients are added to the parameters'."""
        loss = self._minus_objective(model, guide, args)
        if loss.requires_grad:
            loss.backward()
        return loss.item()

    # -- the objective

    def _minus_objective(self, model: Any, guide: Any, arguments: tuple[Any, ...]) -> Tensor:
        if self.num_particles > 1:
            model, guide = self._vectorized_num_particles(model), self._vectorized_num_particles(guide)
        model_trace, guide_trace = enumerated_traces(model, guide, arguments, self.max_plate_nesting)
        account = self._account(model_trace, guide_trace)
        # Pyro's vectorised particles are draws of the same data: average over them
        self.terms = account.terms(self.num_particles)
        return per_particle(account.loss, self.num_particles)

    def _account(self, model_trace: Any, guide_trace: Any) -> Account:
        """All terms of the ELBO, summed over the batch and the particles."""
        account = Account(guide_trace, self.max_plate_nesting)
        account.factors(model_trace, guide_trace)
        for site in sample_sites(model_trace):
            name = site["name"]
            if isinstance(site["fn"], Unit):
                continue
            if site["is_observed"]:
                account.observed(site)
            else:
                check_proposed(name, guide_trace)
                account.latent(guide_trace.nodes[name], *self._kl(site, guide_trace, account, model_trace))
        for site in sample_sites(guide_trace):
            if not (site["name"] in model_trace.nodes or isinstance(site["fn"], Unit)):  # auxiliary sites
                if self.reparametrised and not site["is_observed"]:
                    check_reparametrised(site)
                plain = account.summed(log_density(site), site)
                account.latent(site, plain, plain)
        return account

    def _kl(self, site: Any, guide_trace: Any, account: Account, model_trace: Any) -> tuple[Tensor, Tensor]:
        """KL of one latent site summed over the batch, and what the objective charges for it."""
        guide_site = guide_trace.nodes[site["name"]]
        q, p = guide_site["fn"], site["fn"]
        if self.reparametrised:
            check_reparametrised(guide_site)
        holds = kl_holds(site["name"], model_trace, guide_trace)
        free_bits = 0.0 if without_group(site["name"]) == LABEL else self.free_bits
        if free_bits and self.groups != 1:
            dimensions = kl_per_dimension(q, p) if holds else None
            if dimensions is None:
                raise ConfigurationError(
                    f"free_bits for each dimension of site {site['name']!r} needs a KL that comes dimension by "
                    f"dimension; with this prior and posterior it does not: use ELBO(free_bits=..., groups=1)"
                )
            groups = self._grouped(dimensions, str(site["name"])).unbind(-1)
        else:
            whole = kl_exact(q, p) if holds else None
            if whole is None:
                whole = log_density(guide_site) - log_density(site)
            if whole.shape != q.batch_shape:  # a KL that is the same for all data
                whole = whole.expand(torch.broadcast_shapes(whole.shape, q.batch_shape))
            groups = (whole,)
        expected = [account.expected(values, guide_site) for values in groups]
        total = sum(values.sum() for values in expected)
        if not free_bits:
            return total, total  # type: ignore[return-value]
        return total, sum(values.numel() * values.mean().clamp(min=free_bits) for values in expected)  # type: ignore[return-value]

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


def family_name(distribution: Any) -> str:
    """The name of a distribution's family, without what makes its dimensions an event."""
    return type(getattr(distribution, "base_dist", distribution)).__name__


def passes_gradients(site: Any) -> bool:
    """Whether a site of the guide is enumerated, or drawn so that gradients pass."""
    return is_enumerated(site) or site["fn"].has_rsample


def check_reparametrised(site: Any) -> None:
    """Check that a site of the guide is enumerated, or drawn so that gradients pass.

    Raises:
        ConfigurationError: when it is neither.
    """
    if not passes_gradients(site):
        raise ConfigurationError(
            f"site {site['name']!r}: {family_name(site['fn'])} cannot be reparametrised, so this objective has no "
            f"gradient for its guide. Give the variant an objective that needs none: objectives.VIMCO(5), "
            f"objectives.ScoreFunction(), objectives.ReweightedWakeSleep(5) or Pyro's TraceGraph_ELBO(). "
            f"Or give the posterior one: posteriors.Bernoulli(gradient='straight_through'), or for small codes "
            f"enumerate=True, in a guide of your own pyro.sample(..., infer={{'enumerate': 'parallel'}})"
        )

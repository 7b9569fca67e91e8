"""log p(x, z) of a variant at given values of its latents."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from pyro import poutine
from pyro.distributions import Unit
from torch import Tensor

from pyro_vae.errors import ConfigurationError, DataError
from pyro_vae.evaluation.elbo import PLATES, alike, repeated
from pyro_vae.evaluation.latents import Latent
from pyro_vae.objectives.enumeration import enumerated_trace, is_enumerated, log_density
from pyro_vae.objectives.kl import check_proposed
from pyro_vae.program import sample_sites
from pyro_vae.variants.base import Variant
from pyro_vae.variants.contexts import evaluating

__all__ = ["Latents", "LogJoint", "log_joint", "summed_out"]

Latents = dict[str, Tensor]
"""Values (K, N, \\*event) of latent sites by name."""


def log_joint(trace: Any, *, observed_only: bool = False) -> Tensor:
    """Sum of the sites' log-probabilities, (\\*enumerated, K, N), without the weights of training.

    What programs add by ``pyro.factor`` is part of training, not of the density.
    """
    total: Any = 0.0
    for site in sample_sites(trace):
        if (site["is_observed"] or not observed_only) and not isinstance(site["fn"], Unit):
            total = total + log_density(site)
    return total


def summed_out(log_p: Tensor) -> Tensor:
    """log of the sum of p (\\*enumerated, K, N) over enumerated values, (K, N)."""
    enumerated = tuple(range(log_p.dim() - PLATES))
    return log_p.logsumexp(enumerated) if enumerated else log_p


class LogJoint:
    """log p(x, z) of given data, as a function of the latents z.

    ``joint(latents)`` takes K values of all latents for each of N data, a dict of tensors (K, N, \\*event) by the
    names of the model's sites, and gives log p(x, z) (K, N) in nats, differentiable in real latents.  A latent that is
    one choice among few, such as a missing class, is no argument: p is summed over it.  It is the density of the model
    itself, in evaluation mode, without the weights of training.

    Where the story starts from something given (the label in a conditional variant), it is the density given that;
    known labels that the story explains belong to what is observed.

    Args:
        variant: any variant whose model has a density.
        x: data (N, \\*shape).
        y: labels, in variants that have them; known for all of these data, or for none.
        sums: whether single choices are summed over; if not, they are arguments like the other latents.

    Raises:
        DataError: when the data do not fit, or only some labels are known.
        ConfigurationError: for latents that are neither real nor discrete with finitely many values.

    Example:
        >>> import pyro_vae as pv
        >>> from pyro_vae import evaluation, likelihoods, priors
        >>> vae = pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(5))
        >>> joint = evaluation.LogJoint(vae, torch.zeros(7, 5))
        >>> joint({"z": torch.zeros(100, 7, 2)}).shape
        torch.Size([100, 7])
    """

    def __init__(self, variant: Variant, x: Any, y: Any = None, *, sums: bool = True) -> None:
        x, y = variant.batch(x, y)
        if len(alike(variant, y, len(x))) > 1:
            raise DataError("y: some labels are known and some are missing; give these two kinds of data one by one")
        self.variant = variant
        self.n = len(x)
        self.arguments = variant.program_arguments(x, y)
        with torch.no_grad(), evaluating(variant):
            trace = poutine.trace(repeated(variant.model, 1)).get_trace(*self.arguments)
        latent = [site for site in sample_sites(trace) if not site["is_observed"]]
        found = {site["name"]: Latent.of(site) for site in latent}
        self.listed = tuple(
            site["name"] for site in latent if sums and found[site["name"]].is_one_choice and _can_be_listed(site["fn"])
        )
        """Sites that are summed over."""
        self.latents = {name: kind for name, kind in found.items() if name not in self.listed}
        """The arguments."""

    # -- densities

    def __call__(self, latents: Mapping[str, Tensor]) -> Tensor:
        """log p(x, z), (K, N).

        Raises:
            DataError: when the latents are not those of the model, or have other shapes.
        """
        return self.with_prior(latents)[1]

    def with_prior(self, latents: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """log p(z) and log p(x, z), (K, N) each, from one run of the model."""
        with evaluating(self.variant):
            trace = self._trace(self.variant.model, latents)
        prior: Any = 0.0
        for name in [*self.latents, *self.listed]:
            prior = prior + log_density(trace.nodes[name])
        return self._of_data(prior, latents), self._of_data(log_joint(trace), latents)

    def log_guide(self, latents: Mapping[str, Tensor]) -> Tensor:
        """log q(z | x), (K, N).

        Raises:
            ConfigurationError: when the guide does not propose these latents and no others.
        """
        with evaluating(self.variant):
            trace = self._trace(self.variant.guide, latents)
        for name in self.latents:
            check_proposed(name, trace)
        for site in sample_sites(trace):
            if not (isinstance(site["fn"], Unit) or site["name"] in self.latents or is_enumerated(site)):
                raise ConfigurationError(
                    f"site {site['name']!r} is drawn in the guide alone, so that q(z | x) is an integral over it; "
                    f"start from the prior"
                )
        return self._of_data(log_joint(trace), latents)

    # -- draws

    def from_prior(self, num_samples: int) -> Latents:
        """Draws of the latents from the prior."""
        return self._drawn(self.variant.model, num_samples)

    def from_guide(self, num_samples: int) -> Latents:
        """Draws of the latents from the guide.

        Raises:
            ConfigurationError: when it does not propose one of them.
        """
        return self._drawn(self.variant.guide, num_samples)

    @torch.no_grad()
    def draw_listed(self, latents: Mapping[str, Tensor]) -> Latents:
        """Draws of what is summed over from its exact posterior given the latents, p(y | x, z)."""
        if not self.listed:
            return {}
        with evaluating(self.variant):
            trace = self._trace(self.variant.model, latents)
        sites = [trace.nodes[name] for name in self.listed]
        sizes = [len(site["fn"].enumerate_support(expand=False)) for site in sites]
        dims = [site["infer"]["_enumerate_dim"] for site in sites]
        log_p = log_joint(trace)
        # one dimension for each site, in the order of sites, then one for all of them
        log_p = log_p.movedim(dims, tuple(range(len(dims)))).flatten(0, log_p.dim() - PLATES - 1)
        log_p = log_p.expand(math.prod(sizes), _draws(latents), self.n)
        chosen = torch.distributions.Categorical(logits=log_p.movedim(0, -1)).sample()
        found = {}
        for site, places in zip(sites, torch.unravel_index(chosen, tuple(sizes)), strict=True):
            values = site["fn"].enumerate_support(expand=False)
            found[site["name"]] = values.reshape(len(values), *site["fn"].event_shape)[places]
        return found

    # -- all real latents as one vector

    @property
    def real(self) -> dict[str, Latent]:
        """The real latents."""
        return {name: latent for name, latent in self.latents.items() if latent.is_real}

    @property
    def discrete(self) -> dict[str, Latent]:
        """The others."""
        return {name: latent for name, latent in self.latents.items() if not latent.is_real}

    @property
    def size(self) -> int:
        """How many real numbers are latent for each datum."""
        return sum(latent.places for latent in self.real.values())

    def pack(self, latents: Mapping[str, Tensor]) -> Tensor:
        """The real latents side by side, (K, N, size)."""
        sized = ((latents[name], latent.places) for name, latent in self.real.items())
        return torch.cat([values.reshape(*values.shape[:PLATES], places) for values, places in sized], -1)

    def unpack(self, vector: Tensor) -> Latents:
        """The inverse of :meth:`pack`."""
        pieces = vector.split([latent.places for latent in self.real.values()], -1)
        named = zip(self.real.items(), pieces, strict=True)
        return {name: piece.reshape(*piece.shape[:-1], *latent.shape) for (name, latent), piece in named}

    # -- running programs

    def _check(self, latents: Mapping[str, Tensor]) -> None:
        if set(latents) != set(self.latents):
            raise DataError(
                f"latents: wanted values of {', '.join(self.latents) or 'nothing'}, got {', '.join(latents) or 'none'}"
            )
        draws = _draws(latents)
        for name, values in latents.items():
            wanted = (draws, self.n, *self.latents[name].shape)
            if tuple(values.shape) != wanted:
                raise DataError(f"latents: {name} has shape {tuple(values.shape)}, wanted {wanted}: (K, N, *event)")

    def _trace(self, program: Any, latents: Mapping[str, Tensor]) -> Any:
        self._check(latents)

        def infer(site: Any) -> Any:
            return {"enumerate": "parallel" if site["name"] in self.listed else None}

        conditioned = poutine.condition(repeated(program, _draws(latents)), data=dict(latents))
        return enumerated_trace(poutine.infer_config(conditioned, infer), self.arguments, PLATES)

    def _of_data(self, log_p: Any, latents: Mapping[str, Tensor]) -> Tensor:
        """Densities, summed over what is listed, as (K, N); 0 where there are none."""
        of_each = torch.as_tensor(log_p, dtype=self.variant.dtype, device=self.variant.device)
        return summed_out(of_each).expand(_draws(latents), self.n)

    def _drawn(self, program: Any, num_samples: int) -> Latents:
        with torch.no_grad(), evaluating(self.variant):
            trace = poutine.trace(repeated(program, num_samples)).get_trace(*self.arguments)
        found = {}
        for name, latent in self.latents.items():
            check_proposed(name, trace)
            site: Any = trace.nodes[name]
            found[name] = site["value"].expand(num_samples, self.n, *latent.shape)
        return found


def _can_be_listed(fn: Any) -> bool:
    """Whether Pyro can enumerate the values of a distribution."""
    try:
        return bool(fn.has_enumerate_support and len(fn.enumerate_support(expand=False)))
    except NotImplementedError:  # torch's Independent has none, even of one element
        return False


def _draws(latents: Mapping[str, Tensor]) -> int:
    return next((len(values) for values in latents.values()), 1)

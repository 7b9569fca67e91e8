"""The terms of an objective, added up site by site with their weights and without."""

from __future__ import annotations

import functools
import operator
from dataclasses import dataclass, field
from typing import Any

import torch
from pyro.distributions import Unit
from pyro.distributions.util import scale_and_mask
from torch import Tensor

from pyro_vae.objectives.enumeration import expectation, joint_probability, log_density
from pyro_vae.program import group_of, sample_sites, without_group

__all__ = ["Account", "Terms", "per_particle"]


@dataclass
class Terms:
    """The terms of one evaluated objective, unweighted, in nats, summed over the batch (0-d tensors).

    Attributes:
        reconstruction: log-probability of all that was observed.
        kl: of all latent sites.
        factors: what the programs' ``pyro.factor`` statements add, by name.
        bound: the objective without factors, with the weights of training, where it is not made of the other terms.
    """

    reconstruction: Tensor
    kl: Tensor
    factors: dict[str, Tensor] = field(default_factory=dict)
    bound: Tensor | None = None

    @property
    def elbo(self) -> Tensor:
        """reconstruction - kl."""
        return self.reconstruction - self.kl


class Account:
    """Adds up the terms of one pair of traces, with their weights and without."""

    def __init__(self, guide_trace: Any, plates: int) -> None:
        self.plates = plates
        self.probability = functools.cache(functools.partial(joint_probability, guide_trace))
        self._gains: list[Tensor] = []
        self._costs: list[Tensor] = []
        self._reconstruction: list[Tensor] = []
        self._kl: list[Tensor] = []
        self._factors: dict[str, Any] = {}

    @property
    def objective(self) -> Any:
        """What is maximised; 0 where nothing was added."""
        return _total(self._gains) - _total(self._costs)

    @property
    def loss(self) -> Any:
        """What is minimised."""
        return _total(self._costs) - _total(self._gains)

    def expected(self, values: Tensor, site: Any) -> Tensor:
        """E_q over enumerated sites of a term of ``site``, without the data that its mask takes out."""
        probability = self.probability(group_of(site["name"]))
        return expectation(scale_and_mask(values, 1.0, site["mask"]), probability, self.plates)

    def summed(self, values: Tensor, site: Any) -> Tensor:
        return self.expected(values, site).sum()

    def observed(self, site: Any) -> None:
        plain = self.summed(log_density(site), site)
        self._reconstruction.append(plain)
        self._gains.append(_weighed(plain, site))

    def latent(self, guide_site: Any, kl: Tensor, charged: Tensor) -> None:
        self._kl.append(kl)
        self._costs.append(_weighed(charged, guide_site))

    def factors(self, model_trace: Any, guide_trace: Any) -> None:
        """What ``pyro.factor`` statements add in the model, and subtract in the guide."""
        for sign, side, trace in ((1.0, self._gains, model_trace), (-1.0, self._costs, guide_trace)):
            for site in sample_sites(trace):
                if isinstance(site["fn"], Unit):
                    plain = self.summed(log_density(site), site)
                    side.append(_weighed(plain, site))
                    name = without_group(site["name"])
                    self._factors[name] = self._factors.get(name, 0.0) + sign * plain

    def terms(self, particles: int) -> Terms:
        reconstruction, kl = (
            per_particle(torch.as_tensor(_total(values)).detach(), particles)
            for values in (self._reconstruction, self._kl)
        )
        factors = {name: per_particle(value.detach(), particles) for name, value in self._factors.items()}
        return Terms(reconstruction, kl, factors)


# a tensor operation that changes nothing costs a small network as much as one that does


def _total(values: list[Tensor]) -> Any:
    return functools.reduce(operator.add, values) if values else 0.0


def _weighed(value: Tensor, site: Any) -> Tensor:
    scale = site["scale"]
    return value if type(scale) is float and scale == 1.0 else scale * value


def per_particle(total: Any, particles: int) -> Any:
    """A sum over draws of the same data as their average."""
    return total if particles == 1 else total / particles

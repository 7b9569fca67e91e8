"""zuko's normalising flows as Pyro distributions."""

from __future__ import annotations

from typing import Any

import torch
from pyro.contrib.zuko import ZukoToPyro
from torch import Tensor
from torch.distributions import constraints

from pyro_vae.errors import check_choice

__all__ = ["FLOWS", "FlowDistribution", "import_zuko", "make_flow"]

FLOWS = {"maf": "MAF", "realnvp": "RealNVP", "nice": "NICE", "nsf": "NSF"}
"""Names of zuko's flows that are accepted where a flow is asked for."""


class FlowDistribution(ZukoToPyro):
    """A flow's distribution, with the methods that other distributions have.

    Pyro's wrapper offers only what an SVI step needs, and remembers the density of whatever it drew for as long as it
    lives.  Here only the last draw of :meth:`rsample` is remembered, which spares a step the way back through the
    flow, and only until it is changed.
    """

    support = constraints.real_vector
    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012

    def __call__(self, shape: Any = torch.Size()) -> Tensor:
        self.cache = {}
        x = super().__call__(shape)
        self._version = x._version
        return x

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:
        return self(sample_shape)

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
        with torch.no_grad():
            return self.dist.sample(sample_shape)

    def log_prob(self, x: Tensor) -> Tensor:
        if x in self.cache and x._version != self._version:
            self.cache = {}
        return super().log_prob(x)

    def expand(self, *args: Any, **kwargs: Any) -> FlowDistribution:
        return FlowDistribution(self.dist.expand(*args, **kwargs))

    def __repr__(self) -> str:
        return f"FlowDistribution({self.dist!r})"


def import_zuko() -> Any:
    """zuko, without the switch that it throws: importing it turns torch's validation off for the whole process."""
    before = torch.distributions.Distribution._validate_args
    import zuko

    torch.distributions.Distribution.set_default_validate_args(before)
    return zuko


def make_flow(name: str, features: int, transforms: int, hidden: list[int], context: int = 0) -> Any:
    """One of zuko's flows: lazy, so that called with a context it gives a torch distribution."""
    check_choice("flow", name, FLOWS)
    return getattr(import_zuko().flows, FLOWS[name])(features, context, transforms=transforms, hidden_features=hidden)

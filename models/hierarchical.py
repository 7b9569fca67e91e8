"""The story of the hierarchical variational autoencoder: a code is drawn for the code below it, down to the datum."""

from __future__ import annotations

from collections.abc import Sequence

import pyro
from torch import Tensor, nn

from pyro_vae.parts import Part
from pyro_vae.program import Program

__all__ = ["HierarchicalVAE"]


class HierarchicalVAE(Program):
    """p(x, z1, ..., zL) = p(zL) ... p(z1 | z2) p(x | z1)  (Rezende et al. 2014, https://arxiv.org/abs/1401.4082).

    Args:
        priors: p(z1 | z2), ..., p(zL), parts, the one nearest to the data first.
        likelihood: p(x | z1), a part.
    """

    def __init__(self, priors: Sequence[Part], likelihood: Part) -> None:
        super().__init__()
        self.priors = nn.ModuleList(priors)
        self.likelihood = likelihood

    def forward(self, x: Tensor | None = None, *, size: int = 1) -> Tensor:
        """Observe ``x`` (B, \\*shape), or draw ``size`` new data."""
        with pyro.plate("data", size if x is None else x.shape[0], dim=-1):
            *below, top = self.priors
            z = pyro.sample(f"z{len(self.priors)}", top())  # zL ~ p(zL)
            for layer in range(len(below), 0, -1):
                z = pyro.sample(f"z{layer}", below[layer - 1](z))  # zl ~ p(zl | zl+1)
            return pyro.sample("x", self.likelihood(z), obs=x)  # x ~ p(x | z1)

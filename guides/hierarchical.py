"""The guide of the hierarchical variational autoencoder: each code is proposed from the one below it."""

from __future__ import annotations

from collections.abc import Sequence

import pyro
from torch import Tensor, nn

from pyro_vae.posteriors import Posterior
from pyro_vae.program import Program

__all__ = ["HierarchicalVAE"]


class HierarchicalVAE(Program):
    """q(z1, ..., zL | x) = q(z1 | x) q(z2 | z1) ... q(zL | zL-1), bottom up.

    Args:
        posteriors: q(z1 | x), q(z2 | z1), ..., parts.
    """

    def __init__(self, posteriors: Sequence[Posterior]) -> None:
        super().__init__()
        self.posteriors = nn.ModuleList(posteriors)

    def forward(self, x: Tensor) -> Tensor:
        """Propose z1, ..., zL for each datum of ``x`` (B, \\*shape)."""
        with pyro.plate("data", x.shape[0], dim=-1):
            z = x
            for layer, posterior in enumerate(self.posteriors, start=1):
                # zl ~ q(zl | zl-1), with z0 = x
                z = pyro.sample(f"z{layer}", posterior(z), infer=posterior.infer)  # type: ignore[arg-type]
            return z

"""The guide of a model without latents: it has nothing to propose."""

from __future__ import annotations

from torch import Tensor

from pyro_vae.program import Program

__all__ = ["Discriminative"]


class Discriminative(Program):
    """Nothing is latent, so the bound is log p(y | x) itself."""

    def forward(self, x: Tensor, y: Tensor | None = None) -> None:
        """Propose nothing."""

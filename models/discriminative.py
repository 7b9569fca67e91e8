"""The story without a latent: the network that a variational autoencoder of labels is to be compared with."""

from __future__ import annotations

import pyro
from torch import Tensor

from pyro_vae.parts import Part
from pyro_vae.program import Program

__all__ = ["Discriminative"]


class Discriminative(Program):
    """p(y | x) from a network; x has no story of its own.

    Args:
        predictor: p(y | x), a part.
    """

    def __init__(self, predictor: Part) -> None:
        super().__init__()
        self.predictor = predictor

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Observe the labels ``y`` (B, \\*label) of ``x`` (B, \\*shape), or draw them."""
        with pyro.plate("data", x.shape[0], dim=-1):
            return pyro.sample("y", self.predictor(x), obs=y)  # y ~ p(y | x)

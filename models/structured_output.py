"""The story of the structured-output variational autoencoder: the input sets the prior of the code."""

from __future__ import annotations

import pyro
from torch import Tensor

from pyro_vae.parts import Part
from pyro_vae.program import Program

__all__ = ["StructuredOutputVAE"]


class StructuredOutputVAE(Program):
    """p(y, z | x) = p(z | x) p(y | x, z)  (Sohn, Lee & Yan 2015, section 4, https://papers.nips.cc/paper/5775).

    Args:
        prior: p(z | x), a part.
        likelihood: p(y | x, z), a part.
    """

    def __init__(self, prior: Part, likelihood: Part) -> None:
        super().__init__()
        self.prior = prior
        self.likelihood = likelihood

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Observe ``y`` (B, \\*shape) that belongs to ``x`` (B, \\*input), or draw it."""
        with pyro.plate("data", x.shape[0], dim=-1):
            z = pyro.sample("z", self.prior(x))  # z ~ p(z | x)
            return pyro.sample("y", self.likelihood(z, x), obs=y)  # y ~ p(y | x, z)

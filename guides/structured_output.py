"""The guide of the structured-output variational autoencoder: the recognition network sees input and output."""

from __future__ import annotations

import pyro
from torch import Tensor

from pyro_vae.posteriors import Posterior
from pyro_vae.program import Program

__all__ = ["StructuredOutputVAE"]


class StructuredOutputVAE(Program):
    """q(z | x, y)  (Sohn, Lee & Yan 2015, equation 4).

    Args:
        posterior: q(z | x, y), a part.
    """

    def __init__(self, posterior: Posterior) -> None:
        super().__init__()
        self.posterior = posterior

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Propose z for each pair of ``x`` (B, \\*input) and ``y`` (B, \\*shape)."""
        with pyro.plate("data", x.shape[0], dim=-1):
            return pyro.sample("z", self.posterior(y, x), infer=self.posterior.infer)  # z ~ q(z | x, y)

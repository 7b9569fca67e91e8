"""The guide of the conditional variational autoencoder: the encoder reads the datum and its label."""

from __future__ import annotations

import pyro
from torch import Tensor

from pyro_vae.posteriors import Posterior
from pyro_vae.program import Program

__all__ = ["ConditionalVAE"]


class ConditionalVAE(Program):
    """q(z | x, y), amortised: the code need not hold what the label says.

    Args:
        posterior: q(z | x, y), a part.
    """

    def __init__(self, posterior: Posterior) -> None:
        super().__init__()
        self.posterior = posterior

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Propose z for each datum of ``x`` (B, \\*shape) with labels ``y`` (B, \\*label)."""
        with pyro.plate("data", x.shape[0], dim=-1):
            return pyro.sample("z", self.posterior(x, y), infer=self.posterior.infer)  # z ~ q(z | x, y)

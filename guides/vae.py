"""The guide of the variational autoencoder: an encoder reads the datum and proposes its code."""

from __future__ import annotations

import pyro
from torch import Tensor

from pyro_vae.posteriors import Posterior
from pyro_vae.program import Program

__all__ = ["VAE"]


class VAE(Program):
    """q(z | x), amortised: one encoder serves every datum  (Kingma & Welling 2014, section 2.3).

    Args:
        posterior: q(z | x), a part.
    """

    def __init__(self, posterior: Posterior) -> None:
        super().__init__()
        self.posterior = posterior

    def forward(self, x: Tensor) -> Tensor:
        """Propose z for each datum of ``x`` (B, \\*shape)."""
        with pyro.plate("data", x.shape[0], dim=-1):
            return pyro.sample("z", self.posterior(x), infer=self.posterior.infer)  # z ~ q(z | x)

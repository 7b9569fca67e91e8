"""The story of the variational autoencoder: a code is drawn, and the datum from it."""

from __future__ import annotations

import pyro
from torch import Tensor

from pyro_vae.parts import Part
from pyro_vae.program import Program

__all__ = ["VAE"]


class VAE(Program):
    """p(x, z) = p(z) p(x | z)  (Kingma & Welling 2014, https://arxiv.org/abs/1312.6114).

    Args:
        prior: p(z), a part.
        likelihood: p(x | z), a part.
    """

    def __init__(self, prior: Part, likelihood: Part) -> None:
        super().__init__()
        self.prior = prior
        self.likelihood = likelihood

    def forward(self, x: Tensor | None = None, *, size: int = 1) -> Tensor:
        """Observe ``x`` (B, \\*shape), or draw ``size`` new data."""
        with pyro.plate("data", size if x is None else x.shape[0], dim=-1):
            z = pyro.sample("z", self.prior())  # z ~ p(z)
            return pyro.sample("x", self.likelihood(z), obs=x)  # x ~ p(x | z)

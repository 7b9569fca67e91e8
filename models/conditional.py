"""The story of the conditional variational autoencoder: the label is given, a code is drawn, the datum from both."""

from __future__ import annotations

import pyro
from torch import Tensor

from pyro_vae.parts import Part
from pyro_vae.program import Program, number_of_data

__all__ = ["ConditionalVAE"]


class ConditionalVAE(Program):
    """p(x, z | y) = p(z) p(x | z, y)  (Kingma et al. 2014, https://arxiv.org/abs/1406.5298, with y always known).

    Args:
        prior: p(z), a part.
        likelihood: p(x | z, y), a part.
    """

    def __init__(self, prior: Part, likelihood: Part) -> None:
        super().__init__()
        self.prior = prior
        self.likelihood = likelihood

    def forward(self, x: Tensor | None = None, y: Tensor | None = None, *, size: int = 1) -> Tensor:
        """Observe ``x`` (B, \\*shape), or draw one datum for each label of ``y`` (B, \\*label)."""
        with pyro.plate("data", number_of_data(x, y, size), dim=-1):
            z = pyro.sample("z", self.prior())  # z ~ p(z)
            return pyro.sample("x", self.likelihood(z, y), obs=x)  # x ~ p(x | z, y)

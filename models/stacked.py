"""The story of M1+M2: label and style make a code, and the code makes the datum."""

from __future__ import annotations

import pyro
from torch import Tensor

from pyro_vae.parts import Part
from pyro_vae.program import PartlyLabelled, number_of_data

__all__ = ["M1M2"]


class M1M2(PartlyLabelled):
    """p(x, y, z1, z2) = p(y) p(z2) p(z1 | z2, y) p(x | z1)  (Kingma et al. 2014, https://arxiv.org/abs/1406.5298).

    Args:
        label: p(y), a part.
        prior: p(z2), a part.
        middle: p(z1 | z2, y), a part.
        likelihood: p(x | z1), a part.
    """

    def __init__(self, label: Part, prior: Part, middle: Part, likelihood: Part) -> None:
        super().__init__()
        self.label = label
        self.prior = prior
        self.middle = middle
        self.likelihood = likelihood

    def forward(self, x: Tensor | None = None, y: Tensor | None = None, *, size: int = 1) -> Tensor:
        """Observe ``x`` (B, \\*shape) and, where they are known, labels ``y`` (B, \\*label); draw what is not given."""
        with pyro.plate("data", number_of_data(x, y, size), dim=-1):
            y = pyro.sample("y", self.label(), obs=y)  # y ~ p(y)
            z2 = pyro.sample("z2", self.prior())  # z2 ~ p(z2)
            z1 = pyro.sample("z1", self.middle(z2, y))  # z1 ~ p(z1 | z2, y)
            return pyro.sample("x", self.likelihood(z1), obs=x)  # x ~ p(x | z1)

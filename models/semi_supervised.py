"""The story of semi-supervised learning: every datum has a label and a style, even where nobody wrote the label down.

Classes (M2) and continuous properties are the same story with another ``label`` part.
"""

from __future__ import annotations

import pyro
from torch import Tensor

from pyro_vae.parts import Part
from pyro_vae.program import PartlyLabelled, number_of_data

__all__ = ["SemiSupervisedVAE"]


class SemiSupervisedVAE(PartlyLabelled):
    """p(x, y, z) = p(y) p(z) p(x | z, y)  (Kingma et al. 2014, equation 2, https://arxiv.org/abs/1406.5298).

    Args:
        label: p(y), a part.
        prior: p(z), a part.
        likelihood: p(x | z, y), a part.
    """

    def __init__(self, label: Part, prior: Part, likelihood: Part) -> None:
        super().__init__()
        self.label = label
        self.prior = prior
        self.likelihood = likelihood

    def forward(self, x: Tensor | None = None, y: Tensor | None = None, *, size: int = 1) -> Tensor:
        """Observe ``x`` (B, \\*shape) and, where they are known, labels ``y`` (B, \\*label); draw what is not given."""
        with pyro.plate("data", number_of_data(x, y, size), dim=-1):
            y = pyro.sample("y", self.label(), obs=y)  # y ~ p(y)
            z = pyro.sample("z", self.prior())  # z ~ p(z)
            return pyro.sample("x", self.likelihood(z, y), obs=x)  # x ~ p(x | z, y)

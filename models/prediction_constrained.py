"""The story of the prediction-constrained variational autoencoder: datum and label both come from the code."""

from __future__ import annotations

import pyro
from torch import Tensor

from pyro_vae.parts import Part
from pyro_vae.program import PartlyLabelled, number_of_data

__all__ = ["PredictionConstrainedVAE"]


class PredictionConstrainedVAE(PartlyLabelled):
    """p(x, y, z) = p(z) p(x | z) p(y | z)  (Hope et al. 2020, section 3, https://arxiv.org/abs/2012.06718).

    The site ``y`` has the weight lambda, the multiplier of the constraint that predictions be good.  A label that is
    missing is left out: integrated over, p(y | z) is 1.

    Args:
        prior: p(z), a part.
        likelihood: p(x | z), a part.
        predictor: p(y | z), a part.
    """

    def __init__(self, prior: Part, likelihood: Part, predictor: Part) -> None:
        super().__init__()
        self.prior = prior
        self.likelihood = likelihood
        self.predictor = predictor

    def forward(self, x: Tensor | None = None, y: Tensor | None = None, *, size: int = 1) -> Tensor:
        """Observe ``x`` (B, \\*shape) and, where they are known, labels ``y`` (B, \\*label); draw new pairs without."""
        with pyro.plate("data", number_of_data(x, y, size), dim=-1):
            z = pyro.sample("z", self.prior())  # z ~ p(z)
            if y is not None or x is None:
                pyro.sample("y", self.predictor(z), obs=y)  # y ~ p(y | z)
            return pyro.sample("x", self.likelihood(z), obs=x)  # x ~ p(x | z)

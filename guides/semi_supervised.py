"""The guide of semi-supervised learning: a classifier proposes the missing label, an encoder the style given it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pyro
from torch import Tensor

from pyro_vae.parts import Part
from pyro_vae.posteriors import Posterior
from pyro_vae.program import PartlyLabelled

__all__ = ["SemiSupervisedVAE"]


class SemiSupervisedVAE(PartlyLabelled):
    """q(y, z | x) = q(y | x) q(z | x, y)  (Kingma et al. 2014, equation 4, https://arxiv.org/abs/1406.5298).

    Where y is known the classifier plays no part in the bound; the term ``prediction`` trains it on the known labels
    all the same, with the weight alpha of equation 9.

    Args:
        classifier: q(y | x), a part.
        posterior: q(z | x, y), a part.
        infer: how a missing y is treated: ``{"enumerate": "parallel"}`` sums over its values, ``{}`` draws it.
    """

    factors: ClassVar[Mapping[str, str]] = {"prediction": r"\log q(y \mid x)"}

    def __init__(self, classifier: Part, posterior: Posterior, infer: dict[str, Any]) -> None:
        super().__init__()
        self.classifier = classifier
        self.posterior = posterior
        self.infer: Any = infer

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Propose z, and y where it is not given, for each datum of ``x`` (B, \\*shape)."""
        with pyro.plate("data", x.shape[0], dim=-1):
            label = self.classifier(x)  # q(y | x)
            if y is None:
                y = pyro.sample("y", label, infer=self.infer)
            else:
                # the bound subtracts what a guide adds: minus here makes it + alpha log q(y | x) there
                pyro.factor("prediction", -label.log_prob(y), has_rsample=True)
            return pyro.sample("z", self.posterior(x, y), infer=self.posterior.infer)  # z ~ q(z | x, y)

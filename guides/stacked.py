"""The guide of M1+M2: M1's encoder proposes the code, M2's guide reads the code as if it were the datum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pyro
from torch import Tensor

from pyro_vae.parts import Part
from pyro_vae.posteriors import Posterior
from pyro_vae.program import PartlyLabelled

__all__ = ["M1M2"]


class M1M2(PartlyLabelled):
    """q(z1, y, z2 | x) = q(z1 | x) q(y | z1) q(z2 | z1, y), z1 drawn anew each time.

    Args:
        bottom: q(z1 | x), a part.
        classifier: q(y | z1), a part.
        posterior: q(z2 | z1, y), a part.
        infer: how a missing y is treated: ``{"enumerate": "parallel"}`` sums over its values, ``{}`` draws it.
    """

    factors: ClassVar[Mapping[str, str]] = {"prediction": r"\log q(y \mid z_{1})"}

    def __init__(self, bottom: Part, classifier: Part, posterior: Posterior, infer: dict[str, Any]) -> None:
        super().__init__()
        self.bottom = bottom
        self.classifier = classifier
        self.posterior = posterior
        self.infer: Any = infer

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Propose z1 and z2, and y where it is not given, for each datum of ``x`` (B, \\*shape)."""
        with pyro.plate("data", x.shape[0], dim=-1):
            z1 = pyro.sample("z1", self.bottom(x))  # z1 ~ q(z1 | x)
            label = self.classifier(z1)  # q(y | z1)
            if y is None:
                y = pyro.sample("y", label, infer=self.infer)
            else:
                # the bound subtracts what a guide adds: minus here makes it + alpha log q(y | z1) there
                pyro.factor("prediction", -label.log_prob(y), has_rsample=True)
            return pyro.sample("z2", self.posterior(z1, y), infer=self.posterior.infer)  # z2 ~ q(z2 | z1, y)

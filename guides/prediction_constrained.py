"""Guides of prediction-constrained variational autoencoders: the code is proposed without a look at the label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pyro
from torch import Tensor

from pyro_vae.parts import Part
from pyro_vae.posteriors import Posterior
from pyro_vae.program import PartlyLabelled

__all__ = ["ConsistencyConstrainedVAE", "PredictionConstrainedVAE"]


class PredictionConstrainedVAE(PartlyLabelled):
    """q(z | x): predictions must be possible where there is no label, so the encoder never sees one.

    Args:
        posterior: q(z | x), a part.
    """

    def __init__(self, posterior: Posterior) -> None:
        super().__init__()
        self.posterior = posterior

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Propose z for each datum of ``x`` (B, \\*shape)."""
        with pyro.plate("data", x.shape[0], dim=-1):
            return pyro.sample("z", self.posterior(x), infer=self.posterior.infer)  # z ~ q(z | x)


class ConsistencyConstrainedVAE(PartlyLabelled):
    """q(z | x), with two terms that hold the model to its own predictions (Hope et al. 2020, sections 3.2 and 3.3).

    ``consistency``: a datum that is decoded and encoded again must be predicted to have the same label: the known
    one, or else the one predicted the first time.  ``aggregate``: over the data without labels, predictions must be
    as frequent as the classes are.

    Args:
        posterior: q(z | x), a part.
        likelihood: p(x | z), the model's part.
        predictor: p(y | z), the model's part.
        label: p(y), the frequencies that predictions must have.
    """

    factors: ClassVar[Mapping[str, str]] = {
        "labelled/consistency": r"\mathbb{E}_{q(z' \mid \mathbb{E}[x \mid z])}[\log p(y \mid z')]",
        "unlabelled/consistency": (
            r"\mathbb{E}_{q(z' \mid \mathbb{E}[x \mid z])}[\sum_y\, p(y \mid z)\, \log p(y \mid z')]"
        ),
        "aggregate": r"\sum_y\, p(y)\, \log \mathbb{E}_{\mathrm{batch}}[p(y \mid z)]",
    }

    def __init__(self, posterior: Posterior, likelihood: Part, predictor: Part, label: Part) -> None:
        super().__init__()
        self.posterior = posterior
        self.likelihood = likelihood
        self.predictor = predictor
        self.label = label

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Propose z for each datum of ``x`` (B, \\*shape), and add the two terms."""
        with pyro.plate("data", x.shape[0], dim=-1):
            z = pyro.sample("z", self.posterior(x), infer=self.posterior.infer)  # z ~ q(z | x)
            first = self.predictor(z).probs
            # the mean of p(x | z), not a draw: a draw of pixels would stop the gradient on its way through x
            again = self.predictor(self.posterior(self.likelihood(z).mean).rsample()).logits.log_softmax(-1)
            if y is not None:
                agreement = again.gather(-1, y.expand(again.shape[:-1])[..., None])[..., 0]
            else:
                agreement = (first * again).sum(-1)
            # the bound subtracts what a guide adds, so what is to grow has a minus here
            pyro.factor("consistency", -agreement, has_rsample=True)
            if y is None:
                # one term of the whole batch, shared out among its data
                shares = first.mean(-2, keepdim=True).clamp(min=1e-8)
                # the frequencies are what predictions are held to: they must not follow them
                agreement = (self.label().probs.detach() * shares.log()).sum(-1).expand(first.shape[:-1])
                pyro.factor("aggregate", -agreement, has_rsample=True)
            return z

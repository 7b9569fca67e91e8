"""What a variant says of labels: predictions, how good they are, and labels filled in where they are missing."""

from __future__ import annotations

from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor

from pyro_vae.errors import ConfigurationError
from pyro_vae.program import labelled
from pyro_vae.variants.inputs import Inputs

__all__ = ["Predictions"]


class Predictions(Inputs):
    """The side of a variant that labels come out of; :class:`pyro_vae.Variant` is built on it.

    A subclass that predicts labels has a :meth:`predict` of its own.
    """

    @property
    def predicts(self) -> bool:
        """Whether :meth:`predict` gives anything."""
        return type(self).predict is not Predictions.predict

    def predict(self, x: Any, *, num_samples: int = 100) -> TorchDistribution:
        """The distribution of the label of each datum (N, \\*shape), as the variant predicts it.

        Args:
            x: data.
            num_samples: draws of latents to average over, where the prediction depends on any.

        Raises:
            ConfigurationError: in a variant that predicts no labels.
            DataError: when the data do not fit.
        """
        raise ConfigurationError(f"{type(self).__name__} predicts no labels")

    def _average(self, code: TorchDistribution, predictor: Any, num_samples: int) -> TorchDistribution:
        """E over ``code``, with batch shape (N,), of what ``predictor`` says of y given a code."""
        assert self.label is not None
        return self.label.average(predictor(code.sample((num_samples,)).transpose(0, 1)))

    def score(self, x: Any, y: Any = None) -> dict[str, float]:
        """How good predictions of known labels are: ``accuracy`` of classes, ``mean_absolute_error`` of properties.

        Empty in a variant that predicts nothing, and where no label is known.

        Raises:
            DataError: when the data do not fit.
        """
        if not self.predicts or (self.label is not None and not self.label.scored):
            return {}
        if (known := self.with_known_labels(x, y)) is None:
            return {}
        assert self.label is not None
        return self.label.score(self.predict(known[0]), known[1])

    def completed(self, x: Tensor, y: Tensor | None) -> Tensor | None:
        """Labels ``y`` of data ``x`` with the missing ones filled in, as :meth:`encode` wants them."""
        if self.labels == "none" or (y is not None and labelled(y).all()):
            return y
        assert self.label is not None
        predicted = self.label.estimate(self.predict(x))
        if y is None:
            return predicted
        known = labelled(y)
        return torch.where(known.reshape(-1, *[1] * (y.dim() - 1)), y, predicted)

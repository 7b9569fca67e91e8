"""An image or a vector that is to be predicted, in the place of a label."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from pyro_vae.errors import DataError
from pyro_vae.labels.base import Label, equal_mixture
from pyro_vae.likelihoods import Likelihood

__all__ = ["Output"]


class Output(Label):
    """A structured y, described by the likelihood p(y | ...) that predicts it; it has no p(y) of its own.

    Args:
        likelihood: of y.
    """

    scored = False

    def __init__(self, likelihood: Likelihood) -> None:
        super().__init__()
        self.infer = {}
        self.likelihood = likelihood
        self.shape = likelihood.shape
        self.input_shape = likelihood.shape

    def own_parameters(self) -> Iterator[nn.Parameter]:
        return iter(())  # the likelihood's are those of p(y | x)

    def as_input(self, y: Tensor) -> Tensor:
        return self.likelihood.as_input(y)

    def predictor(self) -> Likelihood:  # type: ignore[override]
        return self.likelihood

    def check(self, y: Tensor, n: int) -> Tensor:
        if len(y) != n:
            raise DataError(f"y: {len(y):,} outputs for {n:,} data")
        try:
            self.likelihood.check(y)
        except DataError as error:
            raise DataError(f"y{str(error).removeprefix('x')}") from None
        return y.to(next(self.parameters()).dtype) if y.is_floating_point() else y

    def initialise_from(self, y: Tensor) -> None:
        self.likelihood.initialise(y)

    def example(self, n: int) -> Tensor:
        like = next(self.parameters())
        fallback = torch.zeros(n, *self.shape, dtype=like.dtype, device=like.device)
        for value in (fallback, fallback + 0.5, fallback + 1.0, fallback.long()):
            try:
                self.likelihood.check(value)
            except DataError:
                continue
            return value
        return fallback

    def average(self, predictions: TorchDistribution) -> TorchDistribution:
        return equal_mixture(predictions)

    def estimate(self, prediction: TorchDistribution) -> Tensor:
        return prediction.mean

    def words(self) -> str:
        return self.likelihood.words()

    def latex(self) -> str:
        return self.likelihood.latex()

"""What every kind of label offers."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, ClassVar

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from pyro_vae.parts import Conditional, Owned, Shape

__all__ = ["Label", "Predictor", "equal_mixture"]


class Predictor(Conditional):
    """q(y | x) or p(y | z): a network's prediction of the label, as a distribution."""


class Label(Owned):
    """The label y of a datum; ``forward()`` returns p(y), with no batch shape.

    A missing label is -1, or NaN where labels are real.
    """

    shape: Shape
    """Event shape of y: ``()`` for classes, ``(P,)`` for P properties."""

    input_shape: Shape
    """Event shape of what a network sees of y."""

    classes: int | None = None
    """Number of classes; ``None`` where labels are no classes."""

    scored: ClassVar[bool] = True
    """Whether :meth:`score` says anything of predictions."""

    infer: dict[str, Any]
    """How a guide treats a missing y: ``{"enumerate": "parallel"}`` sums over its values, ``{}`` draws it."""

    initialised: Tensor
    """Whether known labels have been seen."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn = True
        self.register_buffer("initialised", torch.zeros((), dtype=torch.bool))

    def meet(self, *, drawn: bool) -> None:
        """Become the label of a variant.

        Args:
            drawn: whether the variant's story draws y from p(y), and so trains it.

        Raises:
            ConfigurationError: when it is another variant's already and keeps something of it.

        Warns:
            UserWarning: when p(y) is to be learned and nothing would train it.
        """
        self.take()
        self.drawn = drawn
        if not drawn and self.learns:
            warnings.warn(
                f"{self!r}: this variant's story has no p(y), so nothing trains its frequencies; they stay as given",
                stacklevel=4,
            )

    @property
    def learns(self) -> bool:
        """Whether p(y) has something to be trained."""
        return any(parameter.requires_grad for parameter in self.own_parameters())

    def own_parameters(self) -> Iterator[nn.Parameter]:
        """What p(y) learns."""
        return self.parameters()

    def as_input(self, y: Tensor) -> Tensor:
        """What a network sees of labels (\\*batch, \\*shape): numbers (\\*batch, \\*input_shape)."""
        raise NotImplementedError

    def predictor(self) -> Predictor:
        """A family for q(y | x) or p(y | z), with no network yet."""
        raise NotImplementedError

    def check(self, y: Tensor, n: int) -> Tensor:
        """Check the labels of ``n`` data, missing ones among them or not, and give them the type that they need.

        Raises:
            DataError: wrong shape or type, or values that are no such labels.
        """
        raise NotImplementedError

    def check_known(self, y: Tensor) -> None:
        """Check before each training what is known of y, the labels (N, \\*shape) that are not missing, one at least.

        Raises:
            DataError: when nothing can be learned from them.

        Warns:
            UserWarning: when something cannot.
        """

    def initialise_from(self, y: Tensor) -> None:
        """Choose starting values that fit the known labels (N, \\*shape); by default none."""

    def example(self, n: int) -> Tensor:
        """Some labels (n, \\*shape)."""
        raise NotImplementedError

    def missing(self, n: int) -> Tensor:
        """The labels of ``n`` data that have none."""
        raise NotImplementedError

    def average(self, predictions: TorchDistribution) -> TorchDistribution:
        """The mixture of predictions with batch shape (N, S), equally weighted, as one prediction for each datum."""
        raise NotImplementedError

    def estimate(self, prediction: TorchDistribution) -> Tensor:
        """The one label (N, \\*shape) to name for a prediction: the most probable class, the mean property."""
        raise NotImplementedError

    def score(self, prediction: TorchDistribution, y: Tensor) -> dict[str, float]:
        """How good predictions of known labels (N, \\*shape) are, by name."""
        raise NotImplementedError


def equal_mixture(components: TorchDistribution) -> TorchDistribution:
    """The mixture of components with batch shape (N, S), equally weighted; batch shape (N,)."""
    weights = dist.Categorical(logits=components.mean.new_zeros(components.batch_shape), validate_args=False)
    return dist.MixtureSameFamily(weights, components, validate_args=False)

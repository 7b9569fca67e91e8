"""Priors over discrete codes."""

from __future__ import annotations

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from pyro_vae import discrete
from pyro_vae.errors import ConfigurationError, check_positive
from pyro_vae.parts import Shape
from pyro_vae.priors.base import Prior

__all__ = ["Bernoulli", "Categorical", "check_classes"]


class Bernoulli(Prior):
    """p(z) = prod_d Bernoulli(z_d; pi_d): a code of bits, 0 or 1.

    Args:
        size: number of bits.
        probs: pi, of all bits alike; where they start if they are learned.
        learned: whether each bit's own pi_d is trained.

    Raises:
        ConfigurationError: for a size below 1, or a probability that is not between 0 and 1.

    Example:
        >>> from pyro_vae import priors
        >>> priors.Bernoulli(3)().log_prob(torch.tensor([0.0, 1.0, 1.0]))  # 3 log(1/2)
        tensor(-2.0794, grad_fn=<SumBackward1>)

    References:
        Neal, Connectionist learning of belief networks, 1992 (https://doi.org/10.1016/0004-3702(92)90065-6)
    """

    logits: Tensor

    def __init__(self, size: int, probs: float = 0.5, learned: bool = True) -> None:
        super().__init__(size)
        if not 0 < probs < 1:
            raise ConfigurationError(f"probs is the probability that a bit is 1, between 0 and 1, got {probs!r}")
        self.probs = float(probs)
        self.learned = learned
        _keep(self, torch.full((self.size,), self.probs).logit(), learned)

    def forward(self) -> TorchDistribution:  # type: ignore[override]
        return discrete.Vector(discrete.Bernoulli(self.logits), 1)

    def words(self) -> str:
        told = "learned probabilities" if self.learned else f"probability {self.probs:g} of a 1"
        return f"{self.size} bits with {told}"

    def latex(self) -> str:
        pi = r"\pi" if self.learned else f"{self.probs:g}"
        return rf"\mathrm{{Bernoulli}}({pi})"


class Categorical(Prior):
    """p(z) = prod_d Cat(z_d; pi_d): a code of D classes, each a one-hot vector of K.

    Args:
        size: D, number of classes in a code.
        classes: K, number of values of each.
        learned: whether the probabilities are trained; all values are alike at first, or for good.

    Raises:
        ConfigurationError: for a size below 1, or fewer than 2 values.

    Example:
        >>> from pyro_vae import priors
        >>> priors.Categorical(20, classes=10)().sample().shape
        torch.Size([20, 10])
    """

    logits: Tensor

    def __init__(self, size: int, classes: int, learned: bool = True) -> None:
        super().__init__(size)
        self.classes = check_classes(classes)
        self.learned = learned
        _keep(self, torch.zeros(self.size, self.classes), learned)

    @property
    def shape(self) -> Shape:
        """Event shape of z."""
        return (self.size, self.classes)

    def forward(self) -> TorchDistribution:  # type: ignore[override]
        return discrete.Vector(discrete.OneHotCategorical(self.logits), 1)

    def words(self) -> str:
        told = "learned probabilities" if self.learned else "equal probabilities"
        return f"{self.size} variables of {self.classes} classes with {told}"

    def latex(self) -> str:
        pi = r"\pi" if self.learned else f"1/{self.classes}"
        return rf"\mathrm{{Cat}}({pi})"


def check_classes(classes: int) -> int:
    """Return the number of values of a class if it is a whole number of at least 2.

    Raises:
        ConfigurationError: when it is not.
    """
    if check_positive("classes, the number of values of each,", classes) < 2:
        raise ConfigurationError(f"classes must be at least 2, got {classes}")
    return int(classes)


def _keep(prior: Prior, logits: Tensor, learned: bool) -> None:
    if learned:
        prior.logits = nn.Parameter(logits)
    else:
        prior.register_buffer("logits", logits)

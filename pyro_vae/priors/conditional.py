"""Priors that depend on what is given: on data, or on the code of the layer above."""

from __future__ import annotations

import pyro.distributions as dist
from pyro.distributions import TorchDistribution
from torch import Tensor

from pyro_vae import discrete
from pyro_vae.errors import check_positive
from pyro_vae.parts import Conditional, Shape, positive
from pyro_vae.priors.discrete import check_classes

__all__ = ["ConditionalBernoulli", "ConditionalCategorical", "ConditionalNormal", "ConditionalPrior"]


class ConditionalPrior(Conditional):
    """p(z | v) over codes of ``size`` dimensions, v being data or another code.

    Args:
        size: number of latent dimensions.

    Raises:
        ConfigurationError: for a size below 1.
    """

    shape: Shape

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = check_positive("the prior's size (number of latent dimensions)", size)
        self.shape = (self.size,)


class ConditionalNormal(ConditionalPrior):
    """p(z | v) = prod_d N(z_d; mu_d(v), sigma_d(v)^2), with a network of v.

    Args:
        size: number of latent dimensions.

    Raises:
        ConfigurationError: for a size below 1.

    Example:
        >>> import torch
        >>> from pyro_vae import networks, priors
        >>> prior = priors.ConditionalNormal(3)
        >>> prior.connect(networks.MLP([16]), (5,))
        >>> prior(torch.zeros(7, 5)).sample().shape
        torch.Size([7, 3])

    References:
        Sohn, Lee & Yan, 2015, section 4.1 (https://papers.nips.cc/paper/5775)
    """

    def parameter_shape(self, shape: Shape) -> Shape:
        return (2, *shape)

    def distribution(self, parameters: Tensor) -> TorchDistribution:
        loc, raw_scale = parameters.unbind(-2)
        return dist.Normal(loc, positive(raw_scale), validate_args=False).to_event(1)

    def words(self) -> str:
        return f"a normal in {self.size} dimensions with means and scales from the decoder"

    def latex(self) -> str:
        return r"\mathcal{N}(\mu_\theta(z), \mathrm{diag}\,\sigma_\theta^2(z))"


class ConditionalBernoulli(ConditionalPrior):
    """p(z | v) = prod_d Bernoulli(z_d; sigmoid(f_d(v))): bits, with a network of v.

    Args:
        size: number of bits.

    Raises:
        ConfigurationError: for a size below 1.

    References:
        Neal, Connectionist learning of belief networks, 1992 (https://doi.org/10.1016/0004-3702(92)90065-6)
    """

    def parameter_shape(self, shape: Shape) -> Shape:
        return shape

    def distribution(self, parameters: Tensor) -> TorchDistribution:
        return discrete.Vector(discrete.Bernoulli(parameters), 1)

    def words(self) -> str:
        return f"{self.size} bits with logits from the decoder"

    def latex(self) -> str:
        return r"\mathrm{Bernoulli}(\sigma(f_\theta(z)))"


class ConditionalCategorical(ConditionalPrior):
    """p(z | v) = prod_d Cat(z_d; softmax(f_d(v))): D one-hot vectors of K, with a network of v.

    Args:
        size: D, number of classes in a code.
        classes: K, number of values of each.

    Raises:
        ConfigurationError: for a size below 1, or fewer than 2 values.
    """

    def __init__(self, size: int, classes: int) -> None:
        super().__init__(size)
        self.classes = check_classes(classes)
        self.shape = (self.size, self.classes)

    def parameter_shape(self, shape: Shape) -> Shape:
        return shape

    def distribution(self, parameters: Tensor) -> TorchDistribution:
        return discrete.Vector(discrete.OneHotCategorical(parameters), 1)

    def words(self) -> str:
        return f"{self.size} variables of {self.classes} classes with logits from the decoder"

    def latex(self) -> str:
        return r"\mathrm{Cat}(\mathrm{softmax}(f_\theta(z)))"

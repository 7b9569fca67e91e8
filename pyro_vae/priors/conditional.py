"""Priors that depend on what is given."""

from __future__ import annotations

import pyro.distributions as dist
from pyro.distributions import TorchDistribution
from torch import Tensor

from pyro_vae.errors import check_positive
from pyro_vae.parts import Conditional, Shape, positive

__all__ = ["ConditionalNormal"]


class ConditionalNormal(Conditional):
    """p(z | x) = prod_d N(z_d; mu_d(x), sigma_d(x)^2), with a network of x.

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

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = check_positive("the prior's size (number of latent dimensions)", size)
        self.shape: Shape = (size,)

    def parameter_shape(self, shape: Shape) -> Shape:
        return (2, *shape)

    def distribution(self, parameters: Tensor) -> TorchDistribution:
        loc, raw_scale = parameters.unbind(-2)
        return dist.Normal(loc, positive(raw_scale), validate_args=False).to_event(1)

    def words(self) -> str:
        return f"a normal in {self.size} dimensions with means and scales from a network of x"

    def latex(self) -> str:
        return r"\mathcal{N}(\mu_\theta(x), \mathrm{diag}\,\sigma_\theta^2(x))"

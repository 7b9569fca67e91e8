"""Posteriors with a density in closed form."""

from __future__ import annotations

from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import kl_divergence
from torch.distributions.kl import register_kl

from pyro_vae.errors import ConfigurationError
from pyro_vae.parts import Conditional, Shape, positive, positive_inverse

__all__ = ["Delta", "FullCovarianceNormal", "Normal", "Posterior", "vector_size"]


class Posterior(Conditional):
    """q(z | x): a family whose parameters the encoder computes, so that one network serves every datum."""

    infer: Any = {}  # noqa: RUF012 (never written to)
    """How a guide treats z: ``{"enumerate": "parallel"}`` sums over its values, ``{}`` draws it."""

    relaxed = False
    """Whether training uses values in place of z that are no draws of it, so that what it climbs bounds nothing."""

    @property
    def values_at_once(self) -> int:
        """How many values of z the networks see at once for each datum: more than one where they are summed over."""
        return 1

    def starting_parameters(self, mean: Tensor, scale: Tensor) -> Tensor:
        """Parameters with which the distribution has about these means and scales (\\*batch, \\*shape).

        Zeros in a family that has neither; (\\*batch, \\*parameter_shape).
        """
        assert self.shape is not None
        batch = mean.shape[: mean.dim() - len(self.shape)]
        return mean.new_zeros((*batch, *self.parameter_shape(self.shape)))


def vector_size(posterior: Posterior, shape: Shape) -> int:
    """The number D of dimensions of codes (D,).

    Raises:
        ConfigurationError: for codes that are no vectors.
    """
    if len(shape) != 1:
        raise ConfigurationError(
            f"posterior {posterior!r} is over vectors of real numbers, and the prior's codes have shape {shape}; "
            f"one-hot codes want posteriors.Categorical()"
        )
    return shape[0]


class Normal(Posterior):
    """q(z | x) = prod_d N(z_d; mu_d(x), sigma_d(x)^2), the mean-field normal.

    Example:
        >>> from pyro_vae import networks, posteriors
        >>> posterior = posteriors.Normal()
        >>> posterior.connect(networks.MLP([16]), (1, 8, 8), shape=(3,))
        >>> posterior(torch.zeros(5, 1, 8, 8)).mean.shape
        torch.Size([5, 3])

    References:
        Kingma & Welling, 2014, equation 9 (https://arxiv.org/abs/1312.6114)
    """

    def parameter_shape(self, shape: Shape) -> Shape:
        return (2, *shape)

    def distribution(self, parameters: Tensor) -> TorchDistribution:
        assert self.shape is not None
        loc, raw_scale = parameters.unbind(-1 - len(self.shape))
        return dist.Normal(loc, positive(raw_scale), validate_args=False).to_event(len(self.shape))

    def starting_parameters(self, mean: Tensor, scale: Tensor) -> Tensor:
        assert self.shape is not None
        return torch.stack([mean, positive_inverse(scale)], dim=-1 - len(self.shape))

    def words(self) -> str:
        return "a normal with means and scales from the encoder"

    def latex(self) -> str:
        return r"\mathcal{N}(\mu_\phi(x), \mathrm{diag}\,\sigma_\phi^2(x))"


class FullCovarianceNormal(Posterior):
    """q(z | x) = N(z; mu(x), L(x) L(x)^T) with the Cholesky factor L from the encoder.

    Can follow the correlations between codes that explain each other away; costs D(D + 3) / 2 outputs.

    References:
        Rezende, Mohamed & Wierstra, 2014, on structured covariances (https://arxiv.org/abs/1401.4082)
    """

    def parameter_shape(self, shape: Shape) -> Shape:
        d = vector_size(self, shape)
        return (2 * d + d * (d - 1) // 2,)

    def distribution(self, parameters: Tensor) -> TorchDistribution:
        assert self.shape is not None
        (d,) = self.shape
        loc, diagonal, below = parameters.split([d, d, d * (d - 1) // 2], dim=-1)
        row, column = torch.tril_indices(d, d, offset=-1, device=parameters.device)
        scale_tril = torch.diag_embed(positive(diagonal))
        scale_tril[..., row, column] = below
        return dist.MultivariateNormal(loc, scale_tril=scale_tril, validate_args=False)

    def starting_parameters(self, mean: Tensor, scale: Tensor) -> Tensor:
        d = mean.shape[-1]
        uncorrelated = mean.new_zeros((*mean.shape[:-1], d * (d - 1) // 2))
        return torch.cat([mean, positive_inverse(scale), uncorrelated], dim=-1)

    def words(self) -> str:
        return "a normal with means and a full covariance from the encoder"

    def latex(self) -> str:
        return r"\mathcal{N}(\mu_\phi(x), L_\phi(x) L_\phi(x)^\top)"


class Delta(Posterior):
    """q(z | x) = delta(z - e(x)): the encoder's output itself, without uncertainty.

    The guide of the plain autoencoder.  Its entropy is minus infinity, which Pyro counts as 0: with a prior that
    has a density the objective is the penalised reconstruction of a MAP estimate and no bound on log p(x).
    """

    has_density = False

    def parameter_shape(self, shape: Shape) -> Shape:
        return shape

    def distribution(self, parameters: Tensor) -> TorchDistribution:
        assert self.shape is not None
        return dist.Delta(parameters, event_dim=len(self.shape), validate_args=False)

    def words(self) -> str:
        return "exactly what the encoder says, without uncertainty"

    def latex(self) -> str:
        return r"\delta(e_\phi(x))"


@register_kl(dist.MultivariateNormal, dist.Independent)
def _kl_full_factorised(q: dist.MultivariateNormal, p: dist.Independent) -> Tensor:
    # torch knows this KL only between two MultivariateNormals
    if not isinstance(p.base_dist, dist.Normal) or p.reinterpreted_batch_ndims != 1:
        raise NotImplementedError
    scale_tril = torch.diag_embed(p.base_dist.scale)
    return kl_divergence(q, dist.MultivariateNormal(p.base_dist.loc, scale_tril=scale_tril, validate_args=False))

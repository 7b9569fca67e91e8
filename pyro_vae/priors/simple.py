"""Priors that are one distribution."""

from __future__ import annotations

import copy
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn
from torch.distributions import constraints

from pyro_vae.errors import ConfigurationError
from pyro_vae.parts import positive
from pyro_vae.priors.base import Prior

__all__ = ["Fixed", "Improper", "Normal", "StandardNormal"]


class StandardNormal(Prior):
    """p(z) = N(0, I).

    Args:
        size: number of latent dimensions.

    Example:
        >>> from pyro_vae import priors
        >>> priors.StandardNormal(3)().log_prob(torch.zeros(2, 3))  # -3/2 log(2 pi)
        tensor([-2.7568, -2.7568])
    """

    zero: Tensor

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.register_buffer("zero", torch.zeros(self.size), persistent=False)

    def forward(self) -> TorchDistribution:  # type: ignore[override]
        return dist.Normal(self.zero, torch.ones_like(self.zero), validate_args=False).to_event(1)

    def words(self) -> str:
        return f"a standard normal in {self.size} dimension{'s' * (self.size > 1)}"

    def latex(self) -> str:
        return rf"\mathcal{{N}}(0, I_{{{self.size}}})"


class Normal(Prior):
    """p(z) = N(mu, diag sigma^2) with learned mu and sigma.

    With a decoder that is affine at its input this adds nothing that the decoder could not do; it is of use where
    other parts share the code, and as a first step away from N(0, I).

    Args:
        size: number of latent dimensions.
    """

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.loc = nn.Parameter(torch.zeros(self.size))
        self.raw_scale = nn.Parameter(torch.zeros(self.size))

    def forward(self) -> TorchDistribution:  # type: ignore[override]
        return dist.Normal(self.loc, positive(self.raw_scale), validate_args=False).to_event(1)

    def words(self) -> str:
        return f"a normal in {self.size} dimensions with learned means and scales"

    def latex(self) -> str:
        return r"\mathcal{N}(\mu, \mathrm{diag}\,\sigma^2)"


class Fixed(Prior):
    """Any fixed Pyro distribution as p(z).

    Args:
        distribution: over one dimension (then each of the ``size`` dimensions follows it independently), or
            over a vector.
        size: number of latent dimensions; needed for a distribution over one dimension.

    Raises:
        ConfigurationError: for distributions with a batch shape or of matrices, or without a size.

    Example:
        >>> import pyro.distributions as dist
        >>> from pyro_vae import priors
        >>> priors.Fixed(dist.Laplace(0.0, 1.0), size=8)().event_shape
        torch.Size([8])
    """

    def __init__(self, distribution: torch.distributions.Distribution, size: int | None = None) -> None:
        if not isinstance(distribution, TorchDistributionMixin):
            raise ConfigurationError(f"Fixed wants a distribution of pyro.distributions, got {distribution!r}")
        event, batch = tuple(distribution.event_shape), tuple(distribution.batch_shape)
        if event == () and len(batch) == 1:  # Laplace(zeros(8), ones(8)): the user meant a vector
            distribution, event, batch = distribution.to_event(1), batch, ()
        if len(event) > 1 or batch:
            raise ConfigurationError(
                f"Fixed wants a distribution over numbers or vectors, got batch shape {batch} and event shape {event}"
            )
        if event == () and size is None:
            raise ConfigurationError("Fixed wants size=, the number of latent dimensions, for this distribution")
        if event and size not in (None, event[0]):
            raise ConfigurationError(f"Fixed: size={size}, but the distribution is over {event[0]} dimensions")
        far = torch.tensor([-1e6, 1e6]).reshape(2, *[1] * len(event)).expand(2, *event)
        support: Any = distribution.support
        if not support.check(far).all():
            raise ConfigurationError(
                f"Fixed wants a distribution over all real numbers, since q(z | x) proposes any; {distribution} is not"
            )
        super().__init__(event[0] if event else size)  # type: ignore[arg-type]
        distribution = _moved(distribution, lambda tensor: tensor.to(torch.get_default_dtype()))  # NumPy's are doubles
        self.distribution: Any = distribution if event else distribution.expand([self.size]).to_event(1)
        base = getattr(distribution, "base_dist", distribution)
        self._family = type(base).__name__

    def _apply(self, fn, recurse: bool = True):  # type: ignore[no-untyped-def]
        # a distribution is no module: its tensors must be moved along by hand
        super()._apply(fn, recurse)
        self.distribution = _moved(self.distribution, fn)
        return self

    def forward(self) -> TorchDistribution:  # type: ignore[override]
        return self.distribution

    def words(self) -> str:
        return f"a fixed {self._family} in {self.size} dimensions"

    def latex(self) -> str:
        return rf"\mathrm{{{self._family}}}_{{{self.size}}}"


def _moved(distribution: Any, fn):  # type: ignore[no-untyped-def]
    """A copy of the distribution with ``fn`` applied to its tensors; the user's own stays where it is."""
    moved = copy.copy(distribution)
    for name, value in list(vars(moved).items()):
        if isinstance(value, Tensor) and value.is_floating_point():
            setattr(moved, name, fn(value))
        elif name == "transforms":
            moved.transforms = [_moved(transform, fn) for transform in value]  # type: ignore[attr-defined]
        elif isinstance(value, torch.distributions.Distribution):
            setattr(moved, name, _moved(value, fn))
    return moved


class Improper(Prior):
    """No preference among codes: log p(z) = 0 everywhere.

    This is no distribution: codes cannot be drawn from it, and what is trained with it is no bound on log p(x).
    It is the "prior" of the plain autoencoder, said openly.

    Args:
        size: number of latent dimensions.
    """

    has_density = False

    def forward(self) -> TorchDistribution:  # type: ignore[override]
        return _Improper(constraints.real_vector, torch.Size(), torch.Size([self.size]))

    def words(self) -> str:
        return f"anything in {self.size} dimensions, none preferred: there is no density to draw from"

    def latex(self) -> str:
        return rf"\mathrm{{ImproperUniform}}(\mathbb{{R}}^{{{self.size}}})"


class _Improper(dist.ImproperUniform):
    def log_prob(self, value: Tensor) -> Tensor:
        # Pyro's are on the CPU wherever the value is
        return value.new_zeros(torch.broadcast_shapes(self.batch_shape, value.shape[:-1]))

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
        raise NotImplementedError(
            "there is no p(z) to draw from: the prior is improper, as in every plain autoencoder. "
            "Give a VAE a prior (pv.VAE(prior=priors.StandardNormal(8), ...)) to generate data"
        )

    def expand(self, batch_shape, _instance=None):  # type: ignore[no-untyped-def]
        return super().expand(batch_shape, self._get_checked_instance(_Improper, _instance))

"""Priors with several components."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from pyro_vae.errors import ConfigurationError, check_positive
from pyro_vae.parts import Conditional, Shape, in_evaluation, positive
from pyro_vae.priors.base import Prior

__all__ = ["MixtureOfNormals", "Vamp"]


class MixtureOfNormals(Prior):
    """p(z) = sum_k w_k N(z; mu_k, diag sigma_k^2), with learned weights, means and scales.

    Args:
        size: number of latent dimensions.
        components: number of normals.

    Example:
        >>> from pyro_vae import priors
        >>> priors.MixtureOfNormals(2, components=3)().sample().shape
        torch.Size([2])

    References:
        Dilokthanakul et al., 2016, on mixtures in the latent space (https://arxiv.org/abs/1611.02648)
    """

    def __init__(self, size: int, components: int = 10) -> None:
        super().__init__(size)
        self.components = check_positive("components", components)
        self.logits = nn.Parameter(torch.zeros(self.components))
        # equal components would get equal gradients for ever
        self.loc = nn.Parameter(torch.randn(self.components, self.size))
        self.raw_scale = nn.Parameter(torch.zeros(self.components, self.size))

    def forward(self) -> TorchDistribution:  # type: ignore[override]
        normals = dist.Normal(self.loc, positive(self.raw_scale), validate_args=False).to_event(1)
        return _mixture(self.logits, normals)

    def words(self) -> str:
        return f"a learned mixture of {self.components} normals in {self.size} dimensions"

    def latex(self) -> str:
        return rf"\sum_{{k=1}}^{{{self.components}}} w_k\, \mathcal{{N}}(\mu_k, \mathrm{{diag}}\,\sigma_k^2)"


class Vamp(Prior):
    """The variational mixture of posteriors: p(z) = sum_k w_k q(z | u_k), with learned pseudo-inputs u_k.

    The guide's own encoder reads the pseudo-inputs, which start at data when training starts.

    Args:
        size: number of latent dimensions.
        components: number of pseudo-inputs.

    References:
        Tomczak & Welling, VAE with a VampPrior, 2018, equation 9 (https://arxiv.org/abs/1705.07120); the weights
        w_k are learned here, the paper's are equal.
    """

    reads_data = True

    def __init__(self, size: int, components: int = 50) -> None:
        super().__init__(size)
        self.components = check_positive("components", components)
        self.logits = nn.Parameter(torch.zeros(self.components))
        # a tuple keeps the guide's posterior from being registered (and saved) a second time
        self._posterior: tuple[Conditional, ...] = ()

    def meet(self, posterior: Conditional, data_shape: Shape) -> None:
        super().meet(posterior, data_shape)
        if not posterior.has_density:
            raise ConfigurationError(
                f"the VampPrior is a mixture of the guide's q(z | u) and needs its density, but {posterior!r} has "
                f"none; use posteriors.Normal(), or another prior"
            )
        self._posterior = (posterior,)
        self.pseudo_inputs = nn.Parameter(torch.rand(self.components, *data_shape))

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Start the pseudo-inputs at random training data, with a little noise to tell copies apart."""
        chosen = x[torch.randint(len(x), (self.components,))]
        self.pseudo_inputs.copy_(chosen + 0.01 * torch.randn_like(self.pseudo_inputs))

    def forward(self) -> TorchDistribution:  # type: ignore[override]
        if not self._posterior:
            raise ConfigurationError("the VampPrior has no encoder yet: give it to a variant, pv.VAE(prior=...)")
        (posterior,) = self._posterior
        with _settled_batch_norms(posterior):
            return _mixture(self.logits, posterior(self.pseudo_inputs))

    def words(self) -> str:
        return (
            f"a mixture in {self.size} dimensions of the guide's own q(z | u) at {self.components} learned "
            f"pseudo-inputs u"
        )

    def latex(self) -> str:
        return rf"\sum_{{k=1}}^{{{self.components}}} w_k\, q_\phi(z \mid u_k)"


@contextlib.contextmanager
def _settled_batch_norms(module: nn.Module) -> Iterator[None]:
    """Batch norms use, and do not move, their running statistics: those are of data, pseudo-inputs are not.

    Else training and evaluation would see two different priors.
    """
    with in_evaluation(*(m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm))):
        yield


def _mixture(logits: Tensor, components: TorchDistribution) -> TorchDistribution:
    return dist.MixtureSameFamily(dist.Categorical(logits=logits, validate_args=False), components, validate_args=False)

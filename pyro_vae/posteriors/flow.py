"""Posteriors whose density a normalising flow bends into shape."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor

from pyro_vae.errors import check_positive
from pyro_vae.flows import FlowDistribution, import_zuko
from pyro_vae.networks import Network
from pyro_vae.parts import Shape, positive, positive_inverse
from pyro_vae.posteriors.families import Posterior, vector_size

__all__ = ["Flow"]


class Flow(Posterior):
    """q(z | x): a normal from the encoder, bent by inverse autoregressive transformations.

    Each transformation is z <- mu(z) + sigma(z) z with autoregressive mu and sigma that also see a context
    h(x) from the encoder; drawing z with its density costs one pass.  Scoring a z that came from elsewhere
    costs as many passes as z has dimensions.  There is no mean in closed form.

    Args:
        transforms: number of transformations.
        hidden: widths of the hidden layers of each transformation.
        context: size of h(x), further outputs of the encoder.

    Raises:
        ConfigurationError: for sizes below 1.

    References:
        Kingma et al., Improving Variational Inference with Inverse Autoregressive Flow, 2016, algorithm 1
        (https://arxiv.org/abs/1606.04934)
    """

    def __init__(self, transforms: int = 2, hidden: Sequence[int] = (64,), context: int = 16) -> None:
        super().__init__()
        self.transforms = check_positive("transforms", transforms)
        self.hidden = [check_positive("a hidden width of Flow", width) for width in hidden]
        self.context = check_positive("context", context)

    def parameter_shape(self, shape: Shape) -> Shape:
        return (2 * vector_size(self, shape) + self.context,)

    def connect(self, network: Network, *inputs: Shape, shape: Shape | None = None, prepare=()) -> None:  # type: ignore[no-untyped-def]
        super().connect(network, *inputs, shape=shape, prepare=prepare)
        zuko = import_zuko()

        assert self.shape is not None
        (d,) = self.shape
        orders = [torch.arange(d) if i % 2 == 0 else torch.arange(d).flip(0) for i in range(self.transforms)]
        # zuko's masked transforms go from data to noise in one pass; their inverse draws in one pass
        self.bend = zuko.lazy.LazyComposedTransform(
            *(
                zuko.flows.MaskedAutoregressiveTransform(d, self.context, order=order, hidden_features=self.hidden)
                for order in orders
            )
        )

    def distribution(self, parameters: Tensor) -> TorchDistribution:
        zuko = import_zuko()
        assert self.shape is not None
        (d,) = self.shape
        loc, raw_scale, context = parameters.split([d, d, self.context], dim=-1)
        base = zuko.distributions.DiagNormal(loc, positive(raw_scale))
        return FlowDistribution(zuko.distributions.NormalizingFlow(self.bend(context).inv, base))

    def starting_parameters(self, mean: Tensor, scale: Tensor) -> Tensor:
        no_context = mean.new_zeros((*mean.shape[:-1], self.context))
        return torch.cat([mean, positive_inverse(scale), no_context], dim=-1)

    def words(self) -> str:
        return (
            f"a normal from the encoder, bent by {self.transforms} inverse autoregressive "
            f"transformation{'s' * (self.transforms > 1)}"
        )

    def latex(self) -> str:
        return rf"\mathrm{{IAF}}_{{{self.transforms}}}(\mu_\phi(x), \sigma_\phi(x), h_\phi(x))"

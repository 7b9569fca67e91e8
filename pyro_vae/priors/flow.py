"""Priors that a normalising flow bends into shape."""

from __future__ import annotations

from collections.abc import Sequence

from pyro.distributions import TorchDistribution

from pyro_vae.errors import check_positive
from pyro_vae.flows import FlowDistribution, make_flow
from pyro_vae.priors.base import Prior

__all__ = ["Flow"]


class Flow(Prior):
    """p(z) from a normalising flow of zuko's over a standard normal.

    Args:
        size: number of latent dimensions; at least 2 for the coupling flows ``realnvp`` and ``nice``.
        flow: ``maf`` (fast density, sampling as slow as z has dimensions), ``realnvp`` (affine couplings; ``nice`` is
            the same in zuko, though the couplings of that paper only added), or ``nsf`` (neural splines,
            autoregressive, on [-5, 5] in each dimension).
        transforms: number of transformations.
        hidden: widths of the hidden layers of each.

    Raises:
        ConfigurationError: for an unknown flow or sizes below 1.

    Example:
        >>> from pyro_vae import priors
        >>> priors.Flow(2)().sample((5,)).shape
        torch.Size([5, 2])

    References:
        Papamakarios, Pavlakou & Murray, Masked Autoregressive Flow, 2017 (https://arxiv.org/abs/1705.07057);
        Chen et al., Variational Lossy Autoencoder, 2017, on flows as priors (https://arxiv.org/abs/1611.02731)
    """

    def __init__(self, size: int, flow: str = "maf", transforms: int = 3, hidden: Sequence[int] = (64, 64)) -> None:
        super().__init__(size)
        self.transforms = check_positive("transforms", transforms)
        self.kind = flow
        self.flow = make_flow(flow, self.size, transforms, [check_positive("a hidden width", h) for h in hidden])

    def forward(self) -> TorchDistribution:  # type: ignore[override]
        return FlowDistribution(self.flow())

    def words(self) -> str:
        return f"a normalising flow ({self.kind}, {self.transforms} transformations) in {self.size} dimensions"

    def latex(self) -> str:
        return rf"\mathrm{{{self.kind.upper()}}}_{{{self.transforms}}}(\mathcal{{N}}(0, I_{{{self.size}}}))"

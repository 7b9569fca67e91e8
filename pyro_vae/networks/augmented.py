"""Networks that see their input changed at random while they are trained."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from pyro_vae.errors import ConfigurationError
from pyro_vae.networks.base import Network
from pyro_vae.parts import Shape

__all__ = ["Augmented"]


class Augmented(Network):
    """A network whose first input is changed at random, anew each time, while it is trained.

    As ``classifier`` it teaches q(y | x) which changes leave the label as it is; the story of x itself stays that of
    the data.  (A ``transform`` of :func:`pyro_vae.fit` changes the data for all networks alike.)

    Args:
        network: the network itself.
        transform: from data (N, \\*shape) to data of the same shape, such as :class:`pyro_vae.data.RandomAffine`.

    Raises:
        ConfigurationError: when ``network`` is no specification of a network, or ``transform`` cannot be called.

    Example:
        >>> from pyro_vae import data, networks
        >>> specification = networks.Augmented(networks.MLP([16]), data.RandomAffine(degrees=10))
        >>> network = specification.build((1, 8, 8), output=(3,))
        >>> x = data.load("digits").train.x[:2]
        >>> bool((network(x) == network(x)).all()), bool((network.eval()(x) == network(x)).all())
        (False, True)
    """

    def __init__(self, network: Network, transform: Callable[[Tensor], Tensor]) -> None:
        if not isinstance(network, Network):
            raise ConfigurationError(f"network must be a specification such as networks.MLP([128]), got {network!r}")
        if not callable(transform):
            raise ConfigurationError(f"transform is called with data, such as data.RandomAffine(), got {transform!r}")
        self.network = network
        self.transform = transform
        self.prepares = network.prepares

    def build(self, *inputs: Shape, output: Shape) -> nn.Module:
        return _Augmented(self.network.build(*inputs, output=output), self.transform, inputs[0])

    def mirrored(self) -> Network:
        return self.network.mirrored()


class _Augmented(nn.Module):
    def __init__(self, network: nn.Module, transform: Callable[[Tensor], Tensor], shape: Shape) -> None:
        super().__init__()
        self.network = network
        self.transform = transform
        self.shape = shape

    def forward(self, first: Tensor, *others: Tensor) -> Tensor:
        if self.training:
            flat = first.reshape(-1, *self.shape)
            first = self.transform(flat).to(flat).reshape(first.shape)
        return self.network(first, *others)

    def scale_output(self, factor: float) -> None:
        """Make what the input contributes to the output smaller or larger."""
        self.network.scale_output(factor)  # type: ignore[operator]

    def set_output(self, values: Tensor) -> None:
        """Make a zero input to the last layer give ``values``."""
        self.network.set_output(values)  # type: ignore[operator]

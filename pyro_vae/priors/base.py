"""What every prior offers."""

from __future__ import annotations

from pyro_vae.errors import check_positive
from pyro_vae.parts import Conditional, Owned, Shape

__all__ = ["Prior"]


class Prior(Owned):
    """p(z) over codes of ``size`` dimensions; ``forward()`` returns it, with no batch shape.

    Args:
        size: number of latent dimensions.

    Raises:
        ConfigurationError: for a size below 1.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = check_positive("the prior's size (number of latent dimensions)", size)

    @property
    def shape(self) -> Shape:
        """Event shape of z."""
        return (self.size,)

    reads_data = False
    """Whether it is made of the guide's q(z | x), which then must be one of x alone."""

    def meet(self, posterior: Conditional, data_shape: Shape) -> None:
        """Become the prior of a variant, and get to know its q(z | x) and the data's shape.

        Raises:
            ConfigurationError: when it is another variant's already and has weights.
        """
        self.take()

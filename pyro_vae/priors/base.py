"""What every prior offers."""

from __future__ import annotations

from pyro_vae.errors import check_positive
from pyro_vae.parts import Conditional, Part, Shape

__all__ = ["Prior"]


class Prior(Part):
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

    def meet(self, posterior: Conditional, data_shape: Shape) -> None:
        """Get to know the guide's q(z | x) and the data's shape, for priors that are made from them."""

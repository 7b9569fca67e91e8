"""What every prior offers."""

from __future__ import annotations

from pyro_vae.errors import ConfigurationError, check_positive
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
        self._met = False
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
        self.check_free()
        self._met = True

    def check_free(self) -> None:
        """Check that the prior belongs to no variant yet, or has no weights.

        Raises:
            ConfigurationError: when it does.
        """
        if self._met and any(True for _ in self.parameters()):
            raise ConfigurationError(
                f"this {self!r} already belongs to a variant and holds its weights; make a new one for another"
            )

    def release(self) -> None:
        """Belong to no variant again."""
        self._met = False

"""What values a latent takes: real numbers, or one of finitely many at each of its places."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import constraints

from pyro_vae.errors import ConfigurationError
from pyro_vae.parts import Shape, numel, support_of

__all__ = ["Latent"]


@dataclass(frozen=True)
class Latent:
    """A latent site of a model: its event shape and its values.

    A discrete latent is made of ``places``, each of which holds one of ``levels``: bits, classes as numbers, or
    classes as one-hot vectors.

    Attributes:
        shape: event shape.
        kind: ``"real"``, ``"bits"``, ``"numbers"`` or ``"one_hot"``.
        levels: how many values each place can have; 0 where they are real.
        lowest: the first of them, for numbers.
        dtype: of the values.
    """

    shape: Shape
    kind: str
    levels: int
    lowest: int
    dtype: torch.dtype

    @staticmethod
    def of(site: Any) -> Latent:
        """The latent of a traced site.

        Raises:
            ConfigurationError: when it is neither real nor discrete with finitely many values.

        Example:
            >>> import pyro.distributions as dist
            >>> bits = dist.Bernoulli(torch.full((3,), 0.5)).to_event(1)
            >>> Latent.of({"name": "z", "fn": bits, "value": torch.ones(3)}).kind
            'bits'
        """
        support: Any = support_of(site["fn"])
        shape, dtype = tuple(site["fn"].event_shape), site["value"].dtype
        if isinstance(support, type(constraints.real)):
            return Latent(shape, "real", 0, 0, dtype)
        if support is constraints.boolean:
            return Latent(shape, "bits", 2, 0, dtype)
        if isinstance(support, constraints.integer_interval):
            low, high = int(support.lower_bound), int(support.upper_bound)
            return Latent(shape, "numbers", high - low + 1, low, dtype)
        if support is constraints.one_hot:
            return Latent(shape, "one_hot", shape[-1], 0, dtype)
        raise ConfigurationError(
            f"site {site['name']!r}: latents here are real, or discrete with finitely many values (bits, classes); "
            f"{type(site['fn']).__name__} has the support {support}"
        )

    @property
    def is_real(self) -> bool:
        """Whether its values are real numbers."""
        return self.kind == "real"

    @property
    def is_one_choice(self) -> bool:
        """Whether it is a single bit or class."""
        return not self.is_real and self.places == 1

    @property
    def places(self) -> int:
        """How many numbers it is made of, or how many choices."""
        return numel(self.shape) // (self.levels if self.kind == "one_hot" else 1)

    def from_choices(self, choices: Tensor) -> Tensor:
        """Values (\\*batch, \\*shape) of choices (\\*batch, places), numbers from 0 to ``levels`` - 1."""
        values = nn.functional.one_hot(choices, self.levels) if self.kind == "one_hot" else choices + self.lowest
        return values.reshape(*choices.shape[:-1], *self.shape).to(self.dtype)

    def to_choices(self, values: Tensor) -> Tensor:
        """The inverse of :meth:`from_choices`."""
        choices = values.argmax(-1) if self.kind == "one_hot" else values.long() - self.lowest
        return choices.reshape(*values.shape[: values.dim() - len(self.shape)], self.places)

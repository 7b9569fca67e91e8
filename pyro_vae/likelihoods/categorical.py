"""A likelihood for values on a finite scale: quantised pixels, categories."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from pyro_vae.errors import ConfigurationError, check_positive
from pyro_vae.likelihoods.base import Likelihood
from pyro_vae.parts import Shape

__all__ = ["Categorical"]


class _Levels(dist.Categorical):
    """A categorical over ordered levels 0 ... K - 1, which therefore has a mean and a variance."""

    def _levels(self) -> Tensor:
        return torch.arange(self._num_events, dtype=self.probs.dtype, device=self.probs.device)

    @property
    def mean(self) -> Tensor:
        return (self.probs * self._levels()).sum(-1)

    @property
    def variance(self) -> Tensor:
        return (self.probs * (self._levels() - self.mean[..., None]) ** 2).sum(-1)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        return super().expand(batch_shape, self._get_checked_instance(_Levels, _instance))


class Categorical(Likelihood):
    """p(x | z) = prod_i Cat(x_i; softmax(f_i(z))) for whole numbers 0, ..., levels - 1.

    For pixels quantised to ``levels`` grey values: ``(x * (levels - 1)).round()``.  The mean is the expected
    level, a real number.  The encoder sees x / (levels - 1).

    Args:
        shape: event shape of one datum.
        levels: number of values that an element can take, at least 2.

    Raises:
        ConfigurationError: for fewer than 2 levels.

    References:
        van den Oord, Kalchbrenner & Kavukcuoglu, Pixel Recurrent Neural Networks, 2016, section 3.3
        (https://arxiv.org/abs/1601.06759)
    """

    def __init__(self, shape: int | Iterable[int], levels: int = 256) -> None:
        super().__init__(shape)
        self.levels = check_positive("levels", levels)
        if levels < 2:
            raise ConfigurationError(f"levels must be at least 2, got {levels}")
        self.support = constraints.integer_interval(0, levels - 1)
        self.support_words = f"the whole numbers 0 to {levels - 1}"
        self.remedy = f"for grey values in [0, 1] quantise them: (x * {levels - 1}).round()"

    def parameter_shape(self, shape: Shape) -> Shape:
        return (self.levels, *shape)

    def distribution(self, parameters: Tensor) -> TorchDistribution:
        logits = parameters.movedim(-1 - len(self.shape), -1)
        return _Levels(logits=logits, validate_args=False).to_event(len(self.shape))

    def as_input(self, x: Tensor) -> Tensor:
        if not x.is_floating_point():
            weights = next(self.parameters(), None)
            x = x.to(torch.get_default_dtype() if weights is None else weights.dtype)
        return x / (self.levels - 1)

    def check_dtype(self, x: Tensor) -> None:
        """Whole numbers may come as integers or as floating point numbers."""

    def starting_parameters(self, x: Tensor) -> Tensor:
        frequencies = torch.stack([(x == level).to(torch.get_default_dtype()).mean(0) for level in range(self.levels)])
        return torch.log(frequencies + 1e-3 / self.levels)  # levels that were never seen stay possible

    def words(self) -> str:
        size = "x".join(map(str, self.shape))
        return f"a categorical over {self.levels} levels, for each of {size} values, with logits from the decoder"

    def latex(self) -> str:
        return r"\mathrm{Cat}(\mathrm{softmax}(f_\theta(z)))"

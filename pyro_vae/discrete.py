"""Distributions of discrete codes, vectors of bits or of classes, whose draws can be relaxed or enumerated."""

from __future__ import annotations

from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions.kl import register_kl
from torch.nn import functional

from pyro_vae.parts import numel

__all__ = ["Bernoulli", "OneHotCategorical", "Vector"]


class _Relaxable:
    """A discrete distribution whose draws gradients can pass through, if it has a ``temperature``.

    The gradient of a draw is that of a continuous one that it rounds: of the binary Concrete or Gumbel-softmax
    distribution.  Densities stay those of the discrete distribution; between its values log p is continued linearly,
    as cross-entropy is, so that gradients pass through it too.
    """

    temperature: float | None = None
    soft = False
    """Whether the continuous draw itself is given."""

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:
        if self.temperature is None:
            raise NotImplementedError(f"{type(self).__name__} without a temperature has no draws that gradients pass")
        relaxed = self.relaxed(self._extended_shape(sample_shape), self.temperature)  # type: ignore[attr-defined]
        if self.soft:
            return relaxed
        # what is added is 0 in value, so that the draw is exactly discrete, and not in its gradient
        return self.nearest(relaxed) + (relaxed - relaxed.detach())

    def relaxed(self, shape: torch.Size, temperature: float) -> Tensor:
        """A continuous draw (\\*shape)."""
        raise NotImplementedError

    def nearest(self, relaxed: Tensor) -> Tensor:
        """The discrete value that a continuous one is nearest to: together a draw of this distribution."""
        raise NotImplementedError

    def _relax(self, temperature: float | None, soft: bool) -> Any:
        self.temperature, self.soft = temperature, soft
        self.has_rsample = temperature is not None
        return self


class Bernoulli(_Relaxable, dist.Bernoulli):
    """Pyro's Bernoulli, whose draws can be relaxed by the binary Concrete distribution.

    Args:
        logits: (\\*batch).
        temperature: of the relaxation; ``None`` for draws without a gradient.
        soft: whether draws with a gradient are the continuous ones.

    Example:
        >>> Bernoulli(torch.tensor([-1.0, 0.0, 2.0])).mode
        tensor([0., 0., 1.])

    References:
        Maddison, Mnih & Teh, The Concrete Distribution, 2017, appendix B (https://arxiv.org/abs/1611.00712)
    """

    def __init__(self, logits: Tensor, temperature: float | None = None, soft: bool = False) -> None:
        super().__init__(logits=logits, validate_args=False)
        self._relax(temperature, soft)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = super().expand(batch_shape, self._get_checked_instance(Bernoulli, _instance))
        return new._relax(self.temperature, self.soft)

    @property
    def mode(self) -> Tensor:
        # torch's is NaN where both are as probable
        return (self.logits > 0).to(self.logits.dtype)

    def relaxed(self, shape: torch.Size, temperature: float) -> Tensor:
        uniform = torch.rand(shape, dtype=self.logits.dtype, device=self.logits.device)
        noise = torch.logit(uniform, eps=torch.finfo(uniform.dtype).eps)
        return torch.sigmoid((self.logits + noise) / temperature)

    def nearest(self, relaxed: Tensor) -> Tensor:
        return (relaxed > 0.5).to(relaxed.dtype)


class OneHotCategorical(_Relaxable, dist.OneHotCategorical):
    """Pyro's categorical of one-hot vectors, whose draws can be relaxed by the Gumbel-softmax distribution.

    Args:
        logits: (\\*batch, K), unnormalised.
        temperature: of the relaxation; ``None`` for draws without a gradient.
        soft: whether draws with a gradient are the continuous ones.

    Example:
        >>> OneHotCategorical(torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 3.0]])).mode
        tensor([[1., 0., 0.],
                [0., 0., 1.]])

    References:
        Jang, Gu & Poole, Categorical Reparameterization with Gumbel-Softmax, 2017, equations 1 and 2
        (https://arxiv.org/abs/1611.01144)
    """

    def __init__(self, logits: Tensor, temperature: float | None = None, soft: bool = False) -> None:
        # not torch's own constructor, which looks at every value of the logits
        self._categorical = dist.Categorical(logits=logits, validate_args=False)
        torch.distributions.Distribution.__init__(self, logits.shape[:-1], logits.shape[-1:], validate_args=False)
        self._relax(temperature, soft)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = super().expand(batch_shape, self._get_checked_instance(OneHotCategorical, _instance))
        return new._relax(self.temperature, self.soft)

    def log_prob(self, value: Tensor) -> Tensor:
        # torch's looks up the largest entry, which has no gradient
        return (value * self.logits).sum(-1)

    def relaxed(self, shape: torch.Size, temperature: float) -> Tensor:
        return functional.gumbel_softmax(self.logits.expand(shape), temperature)

    def nearest(self, relaxed: Tensor) -> Tensor:
        return functional.one_hot(relaxed.argmax(-1), relaxed.shape[-1]).to(relaxed.dtype)


class Vector(dist.Independent):
    """Independent discrete elements, whose joint values can all be listed: K^D of D elements with K values each.

    Torch's ``Independent`` refuses to enumerate a product.

    Args:
        base_distribution: of the elements, discrete.
        reinterpreted_batch_ndims: how many dimensions of its batch shape belong to the vector.

    Example:
        >>> Vector(Bernoulli(torch.zeros(5, 2)), 1).enumerate_support(expand=False)
        tensor([[[0., 0.]],
        <BLANKLINE>
                [[0., 1.]],
        <BLANKLINE>
                [[1., 0.]],
        <BLANKLINE>
                [[1., 1.]]])
    """

    @property
    def has_enumerate_support(self) -> bool:  # type: ignore[override]
        return self.base_dist.has_enumerate_support

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All values, (K^D, \\*batch, \\*event), or (K^D, 1, ..., \\*event) if not expanded."""
        of_one = self.base_dist.enumerate_support(expand=False)
        of_one = of_one.reshape(len(of_one), *self.base_dist.event_shape)
        size = numel(tuple(self.event_shape[: self.reinterpreted_batch_ndims]))
        which = torch.cartesian_prod(*[torch.arange(len(of_one), device=of_one.device)] * size).reshape(-1, size)
        values = of_one[which].reshape(len(which), *[1] * len(self.batch_shape), *self.event_shape)
        return values.expand(len(which), *self.batch_shape, *self.event_shape) if expand else values


@register_kl(Bernoulli, Bernoulli)
def _kl_bernoulli(q: Bernoulli, p: Bernoulli) -> Tensor:
    # torch's wants equal batch shapes
    one = functional.logsigmoid(q.logits) - functional.logsigmoid(p.logits)
    zero = functional.logsigmoid(-q.logits) - functional.logsigmoid(-p.logits)
    return q.probs * one + (1 - q.probs) * zero


@register_kl(OneHotCategorical, OneHotCategorical)
def _kl_one_hot(q: OneHotCategorical, p: OneHotCategorical) -> Tensor:
    return (q.probs * (q.logits - p.logits)).sum(-1)

"""Baselines: what is taken off a learning signal, so that the gradient that it makes has less variance."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable

import pyro
import torch
from torch import Tensor, nn

from pyro_vae.configured import Configured
from pyro_vae.errors import ConfigurationError
from pyro_vae.networks import MLP, Network
from pyro_vae.parts import Shape
from pyro_vae.program import GROUPS

__all__ = ["Centring", "LearnedBaseline", "leave_one_out", "sum_of_others"]

_KINDS = ["", *(f"{group}/" for group in GROUPS)]
"""The kinds of data that have averages of their own, by what the names of their sites begin with."""

_serial = itertools.count(1)
_names: weakref.WeakKeyDictionary[nn.Module, str] = weakref.WeakKeyDictionary()


class LearnedBaseline(Configured):
    """b(x) + c: a network that learns to foresee the signal of each datum, and a decaying average of what it misses.

    The network is trained by the squares of what it misses; its gradient and that of model and guide are computed in
    one step.  A constant c is quick where b(x) would be long on its way: log w of an image starts at some -500 nats.

    Args:
        network: from x to a number; ``MLP([100])`` if not given.

    Raises:
        ConfigurationError: for what is no network.

    Example:
        >>> from pyro_vae import networks, objectives
        >>> objectives.ScoreFunction(baseline=objectives.LearnedBaseline(networks.MLP([50])))
        ScoreFunction(baseline=LearnedBaseline(MLP([50])))

    References:
        Mnih & Gregor, Neural Variational Inference and Learning in Belief Networks, 2014, section 2.3
        (https://arxiv.org/abs/1402.0030)
    """

    def __init__(self, network: Network | None = None) -> None:
        if network is not None and not isinstance(network, Network):
            raise ConfigurationError(
                f"network of LearnedBaseline is a specification such as networks.MLP([100]), got {network!r}"
            )
        self.network = MLP([100]) if network is None else network

    def build(self, shape: Shape) -> nn.Module:
        """The network for data of event shape ``shape``: (\\*batch, \\*shape) to (\\*batch, 1)."""
        return self.network.build(shape, output=(1,))


class Centring(nn.Module):
    """Foresees the learning signals of data: b(x) + c, and how far they spread.

    Averages are those of the steps before: what is foreseen depends on no draw of this step, which keeps the gradient
    unbiased.  They are kept as buffers, one for each kind of data.

    Args:
        network: b(x), or ``None``.
        averages: whether c is a decaying average, or 0.
        spread: whether signals are divided by their standard deviation where that exceeds 1.
        prepare: applied to x before the network sees it.
        decay: of the averages, for each step.
    """

    mean: Tensor
    variance: Tensor
    seen: Tensor

    def __init__(
        self,
        network: nn.Module | None = None,
        averages: bool = False,
        spread: bool = False,
        prepare: Callable[[Tensor], Tensor] | None = None,
        decay: float = 0.9,
    ) -> None:
        super().__init__()
        self.network = network
        self.averages = averages
        self.spread = spread
        self.decay = decay
        self.prepare = prepare
        if averages or spread:
            for name in ("mean", "variance", "seen"):
                self.register_buffer(name, torch.zeros(len(_KINDS)))

    def foreseen(self, x: Tensor) -> Tensor:
        """b(x) of data (B, \\*shape), (B,), with its gradient."""
        assert self.network is not None
        pyro.module(_names.setdefault(self, f"baseline_{next(_serial)}"), self.network)  # where SVI looks for weights
        return self.network(x if self.prepare is None else self.prepare(x))[..., 0]

    def forward(self, signal: Tensor, x: Tensor, group: str) -> tuple[Tensor, Tensor, Tensor | None]:
        """What to take off the signal, what to divide the rest by, and what trains the network.

        Args:
            signal: (K, B), without a gradient.
            x: data (B, \\*shape).
            group: the kind of data.

        Returns:
            The baseline, of a shape that broadcasts to (K, B); the spread (); and, where there is a network, a number
            whose gradient, upwards, is that of minus half the squares of what is missed, averaged over draws.
        """
        place, b = _KINDS.index(group), self.foreseen(x) if self.network is not None else None
        rest = signal if b is None else signal - b.detach()
        c, spread = signal.new_zeros(()), signal.new_ones(())
        if self.averages or self.spread:
            # averages that began at 0 are as short as what they have seen; nothing seen, nothing foreseen
            seen = self.seen[place].clamp(min=1e-6)
            c = self.mean[place] / seen if self.averages else c
            spread = (self.variance[place] / seen).sqrt().clamp(min=1.0) if self.spread else spread
            self._remember(place, rest.mean(), rest.var(correction=0))
        missed = (rest - c) / spread
        baseline = c if b is None else b.detach() + c
        return baseline, spread, None if b is None else (missed * b).sum() / len(signal)

    @torch.no_grad()
    def _remember(self, place: int, mean: Tensor, variance: Tensor) -> None:
        for average, value in ((self.mean, mean), (self.variance, variance), (self.seen, torch.ones_like(mean))):
            average[place] = self.decay * average[place] + (1 - self.decay) * value


def leave_one_out(values: Tensor) -> Tensor:
    """The mean of the other draws of the same datum, for each of (K, \\*), K at least 2.

    Example:
        >>> leave_one_out(torch.tensor([[1.0], [2.0], [6.0]])).flatten()
        tensor([4.0000, 3.5000, 1.5000])
    """
    return (values.sum(0) - values) / (len(values) - 1)


def sum_of_others(log_w: Tensor) -> Tensor:
    """log of the sum of w of the other draws of the same datum, for each of (K, \\*).

    From sums over the draws before and after each: a difference from the whole sum would be lost where one dominates.

    Example:
        >>> sum_of_others(torch.tensor([[1.0], [2.0], [5.0]]).log()).exp().flatten()
        tensor([7.0000, 6.0000, 3.0000])
    """
    nothing = torch.full_like(log_w[:1], -torch.inf)
    before = torch.cat([nothing, log_w[:-1].logcumsumexp(0)])
    after = torch.cat([log_w[1:].flip(0).logcumsumexp(0).flip(0), nothing])
    return torch.logaddexp(before, after)

"""Families of distributions whose parameters are each datum's own, instead of what an encoder computes from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pyro
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.func import functional_call, vmap

from pyro_vae.flows import FlowDistribution
from pyro_vae.parts import Conditional

__all__ = ["Local", "LocalFamily", "LocalOffset"]


class Local:
    """What is each datum's own in one part of the guide, and is optimised for it."""

    def hook(self, part: Conditional) -> tuple[nn.Module, Callable[[Any], Any]]:
        """The module, ``part`` or its network, whose result is changed, and how."""
        raise NotImplementedError

    def groups(self, lr: float) -> list[dict[str, Any]]:
        """All that is to be optimised, with learning rates."""
        raise NotImplementedError


class LocalOffset(Local):
    """Numbers of each datum's own that are added to what the part's network gives; the network stays.

    For a part that is computed from a draw of another latent, such as q(z2 | z1): it is moved and widened for a datum,
    and how it depends on z1 is the network's affair.

    Args:
        part: of the guide, with a network.
        output: what its network gave, (\\*batch, \\*parameter_shape).
        draws: which dimension of ``batch``, from its end, runs over draws; they share the numbers.
    """

    def __init__(self, part: Conditional, output: Tensor, draws: int) -> None:
        assert part.shape is not None
        dim = -draws - len(part.parameter_shape(part.shape))
        self.offset = torch.zeros_like(output.narrow(dim, 0, 1)).requires_grad_()

    def hook(self, part: Conditional) -> tuple[nn.Module, Callable[[Any], Any]]:
        """More of what the network gives."""
        assert part.network is not None
        return part.network, lambda output: output + self.offset

    def groups(self, lr: float) -> list[dict[str, Any]]:
        """The numbers."""
        return [{"params": [self.offset], "lr": lr}]


class LocalFamily(Local):
    """A family of distributions with parameters, and weights if it has any, of its own for each datum.

    Args:
        family: that makes a distribution of parameters.
        parameters: where they start, (\\*batch, \\*parameter_shape).
        weights: whether the family's own weights, such as those of a flow, are each datum's own as well; else they
            stay as they are.
    """

    def __init__(self, family: Conditional, parameters: Tensor, *, weights: bool = False) -> None:
        self.family = family
        self.parameters = parameters.detach().clone().requires_grad_()
        assert family.shape is not None
        self.batch = parameters.shape[: parameters.dim() - len(family.parameter_shape(family.shape))]
        own = dict(family.named_parameters()) if weights else {}
        self.weights = {
            f"family.{name}": weight.detach().expand(self.batch.numel(), *weight.shape).clone().requires_grad_()
            for name, weight in own.items()
            if not name.startswith("network.")
        }

    def distribution(self) -> TorchDistribution:
        """The distribution of all data, with batch shape (\\*batch,)."""
        if not self.weights:
            return self.family.distribution(self.parameters)
        assert self.family.shape is not None
        return FlowDistribution(_Drawn(self._draw, self.batch, self.batch, torch.Size(self.family.shape)))

    def hook(self, part: Conditional) -> tuple[nn.Module, Callable[[Any], Any]]:
        """The distribution in place of the part's."""
        return part, lambda _: self.distribution()

    def groups(self, lr: float) -> list[dict[str, Any]]:
        """The parameters, and the weights: networks want smaller steps than parameters do."""
        groups = [{"params": [self.parameters], "lr": lr}]
        return [*groups, {"params": list(self.weights.values()), "lr": lr / 10}] if self.weights else groups

    def _draw(self, count: int) -> tuple[Tensor, Tensor]:
        """``count`` draws for each element of the batch, (M, count, \\*shape), and their log-densities (M, count)."""
        one = _DrawAndScore(self.family, count)

        def of_one(weights: Mapping[str, Tensor], parameters: Tensor) -> tuple[Tensor, Tensor]:
            return functional_call(one, dict(weights), (parameters,))

        flat = self.parameters.flatten(0, len(self.batch) - 1)
        with pyro.validation_enabled(False):  # it looks at values, which vmap cannot
            if torch.is_grad_enabled():
                # all data see the same noise: under vmap torch's normal distribution cannot draw different noise
                return vmap(of_one, randomness="same")(self.weights, flat)
            each = [of_one({n: w[i] for n, w in self.weights.items()}, flat[i]) for i in range(len(flat))]
        z, log_q = (torch.stack(values) for values in zip(*each, strict=True))
        return z, log_q


class _DrawAndScore(nn.Module):
    """Draws of a family and their densities, as a function of its weights."""

    def __init__(self, family: Conditional, count: int) -> None:
        super().__init__()
        self.family = family
        self.count = count

    def forward(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        q: Any = self.family.distribution(parameters)
        z = q.rsample((self.count,))
        return z, q.log_prob(z)


class _Drawn(Distribution):
    """What can be drawn together with its density, and is scored at its own draws only.

    Args:
        draw: gives so many draws for each element of ``base``, flattened, and their log-densities.
        base: batch shape of different distributions.
        batch: batch shape, to which it is expanded.
        event: event shape.
    """

    has_rsample = True
    arg_constraints: dict[str, Any] = {}  # noqa: RUF012

    def __init__(
        self, draw: Callable[[int], tuple[Tensor, Tensor]], base: torch.Size, batch: torch.Size, event: torch.Size
    ) -> None:
        self.draw, self.base = draw, base
        super().__init__(batch, event, validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> _Drawn:
        return _Drawn(self.draw, self.base, torch.Size(batch_shape), self.event_shape)

    def rsample_and_log_prob(self, sample_shape: Any = ()) -> tuple[Tensor, Tensor]:
        """Draws and their log-densities; zuko's distributions have the same method."""
        target = (*sample_shape, *self.batch_shape)
        base = (1,) * (len(target) - len(self.base)) + tuple(self.base)
        more = [size if own == 1 else 1 for own, size in zip(base, target, strict=True)]
        z, log_q = self.draw(torch.Size(more).numel())

        def arranged(values: Tensor, event: torch.Size) -> Tensor:
            # (M, count) as (*base, *more), the two sizes of each dimension then side by side
            apart = values.reshape(*base, *more, *event)
            pairs = [place for dim in range(len(base)) for place in (dim, len(base) + dim)]
            return apart.permute(*pairs, *range(2 * len(base), apart.dim())).reshape(*target, *event)

        return arranged(z, self.event_shape), arranged(log_q, torch.Size())

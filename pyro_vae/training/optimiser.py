"""One torch optimiser over all parameters, in the form that Pyro's SVI wants."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from pyro.optim import PyroOptim
from torch import Tensor

__all__ = ["JointOptim", "adam"]


def adam(parameters: Iterable[torch.nn.Parameter], lr: float) -> torch.optim.Optimizer:
    """torch's Adam in its fused form: the same arithmetic in one kernel, several times faster on the CPU too."""
    return torch.optim.Adam(parameters, lr=lr, fused=True)


class JointOptim(PyroOptim):
    """Steps one torch optimiser over all parameters.

    Pyro's own optimisers make one torch optimiser for each parameter, which costs more at each step and spreads
    their state over as many places.  Gradients are divided by ``batch``, so that the optimiser sees nats per datum
    whatever the batch size: Adam's epsilon and clipping then mean the same everywhere.

    Args:
        parameters: all that may be trained.
        make: ``make(parameters, lr=...)`` gives the torch optimiser.
        lr: learning rate.
        clip: largest allowed norm of the gradient in nats per datum, or ``None``.
    """

    def __init__(
        self,
        parameters: Iterable[torch.nn.Parameter],
        make: Callable[..., torch.optim.Optimizer],
        lr: float,
        clip: float | None = None,
    ) -> None:
        self.parameters = [p for p in parameters if p.requires_grad]
        self.torch_optimiser = make(self.parameters, lr=lr)
        self.clip = clip
        self.batch = 1.0

    def __call__(self, params: Iterable[Tensor], *args: Any, **kwargs: Any) -> None:
        """Take a step, and forget the gradients; SVI names the parameters that it saw, but here all are known."""
        for parameter in self.parameters:
            if parameter.grad is None and parameter in self.torch_optimiser.state:
                # one that plays no part in this step has a gradient of zero, and momentum
                parameter.grad = torch.zeros_like(parameter)
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        if self.batch != 1:
            torch._foreach_mul_(gradients, 1.0 / self.batch)
        if self.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.clip)
        self.torch_optimiser.step()
        for parameter in self.parameters:
            parameter.grad = None  # nothing to fill with zeros, and nothing to add the next one to

    def set_lr(self, lr: float) -> None:
        """Set the learning rate of all parameters."""
        for group in self.torch_optimiser.param_groups:
            group["lr"] = lr

"""Multilayer perceptrons."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pyro_vae.networks.base import (
    AffineOfAll,
    Network,
    activation,
    affine,
    check_layer_options,
    normalisation,
    widths_of,
)
from pyro_vae.parts import Shape, numel

__all__ = ["MLP"]


class MLP(Network):
    """Fully connected layers, from input to output.

    Args:
        hidden: widths of the hidden layers; ``[]`` makes the network linear.
        activation: ``relu``, ``tanh``, ``gelu``, ``silu``, ``elu``, ``leaky_relu``, ``softplus``, ``sigmoid``
            or ``identity``.
        norm: ``"batch"``, ``"layer"`` or ``None``, after each hidden affine map.
        dropout: probability of dropping a hidden unit during training.

    Raises:
        ConfigurationError: for unknown names, widths below 1 or a dropout outside [0, 1).

    Example:
        >>> network = MLP([64, 32], activation="tanh").build((1, 8, 8), output=(2, 5))
        >>> network(torch.zeros(7, 3, 1, 8, 8)).shape  # any batch shape in front
        torch.Size([7, 3, 2, 5])
    """

    def __init__(
        self,
        hidden: int | Sequence[int] = (128,),
        activation: str = "relu",
        norm: str | None = None,
        dropout: float = 0.0,
    ) -> None:
        check_layer_options(activation, norm, dropout)
        self.hidden = widths_of(hidden, "a hidden width of MLP")
        self.activation = activation
        self.norm = norm
        self.dropout = dropout

    def build(self, *inputs: Shape, output: Shape) -> nn.Module:
        return _Perceptron(self, inputs, output)

    def mirrored(self) -> MLP:
        return MLP(self.hidden[::-1], self.activation, self.norm, self.dropout)


class _Perceptron(nn.Module):
    def __init__(self, spec: MLP, inputs: tuple[Shape, ...], output: Shape) -> None:
        super().__init__()
        widths = [*spec.hidden, numel(output)]
        self.first = AffineOfAll(*inputs, width=widths[0])
        layers: list[nn.Module] = []
        for width, following in itertools.pairwise(widths):
            layers += normalisation(spec.norm, width)
            layers.append(activation(spec.activation))
            if spec.dropout:
                layers.append(nn.Dropout(spec.dropout))
            layers.append(affine(width, following))
        self.rest = nn.Sequential(*layers)
        self.output = output

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.rest(self.first(*inputs)).unflatten(-1, self.output)

    @torch.no_grad()
    def scale_output(self, factor: float) -> None:
        last: Any = self.rest[-1] if len(self.rest) else self.first
        for weight in last.weights if isinstance(last, AffineOfAll) else [last.weight]:
            weight.mul_(factor)

    @torch.no_grad()
    def set_output(self, values: Tensor) -> None:
        last: Any = self.rest[-1] if len(self.rest) else self.first
        last.bias.copy_(values.flatten())

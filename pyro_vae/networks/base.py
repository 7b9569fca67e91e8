"""What every network specification offers, and the layers they share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pyro_vae.configured import Configured
from pyro_vae.errors import ConfigurationError, check_choice, check_positive
from pyro_vae.parts import Shape, numel

__all__ = [
    "AffineOfAll",
    "Network",
    "activation",
    "affine",
    "check_layer_options",
    "flat_batch",
    "normalisation",
    "widths_of",
]

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "identity": nn.Identity,
    "leaky_relu": nn.LeakyReLU,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
}


class Network(Configured):
    """A specification of a network: no sizes, no weights."""

    prepares = False
    """Whether it takes its first input as the data are, where others take what the likelihood makes of them."""

    def build(self, *inputs: Shape, output: Shape) -> nn.Module:
        """Make the layers for inputs and an output of the given event shapes.

        The module takes one tensor (\\*batch, \\*input) for each input, any batch shape in front (shapes of
        different inputs are broadcast), and returns (\\*batch, \\*output), which is checked on zeros.  It may have two
        methods that let training begin at a better place: ``set_output(values)``, which makes a zero input to its last
        layer give ``values``, of shape ``output``, and ``scale_output(factor)``, which multiplies the weights of its
        last layer.
        """
        raise NotImplementedError

    def mirrored(self) -> Network:
        """The same network in the opposite direction, for the decoder that belongs to this encoder."""
        return self


def activation(name: str) -> nn.Module:
    """The activation of that name."""
    return _ACTIVATIONS[check_choice("activation", name, _ACTIVATIONS)]()


def widths_of(hidden: int | Sequence[int], what: str) -> list[int]:
    """Layer widths as a list; one number is one layer."""
    return [check_positive(what, width) for width in ([hidden] if isinstance(hidden, int) else hidden)]


def check_layer_options(name: str, norm: str | None, dropout: float) -> None:
    """Check the options that all networks share, where the user wrote them."""
    if not isinstance(name, str):
        raise ConfigurationError(f"activation must be a name, got {name!r}; several layers are a list: MLP([128, 64])")
    activation(name)
    if norm is not None:
        check_choice("norm", norm, ["batch", "layer"])
    if not 0 <= dropout < 1:
        raise ConfigurationError(f"dropout is a probability below 1, got {dropout!r}")


def flat_batch(module: nn.Module, x: Tensor, event_dim: int) -> Tensor:
    """Apply a module that wants one batch dimension to any batch shape.

    Particles and enumeration put dimensions in front, where torch's convolutions and batch norms want none.
    """
    batch = x.shape[: x.dim() - event_dim]
    y = module(x.reshape(-1, *x.shape[x.dim() - event_dim :]))
    return y.reshape(*batch, *y.shape[1:])


def _by_running_statistics(norm: nn.BatchNorm1d | nn.BatchNorm2d, x: Tensor) -> Tensor:
    """What a batch norm gives for a single value (1, C, ...) of each feature.

    It has no spread (the only datum with a label in a batch, say): the running one stands in.
    """
    return nn.functional.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)


class BatchNorm1d(nn.BatchNorm1d):
    """Batch norm of features (\\*batch, C)."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.numel() == self.num_features:
            return _by_running_statistics(self, x.reshape(1, -1)).reshape(x.shape)
        return flat_batch(super().forward, x, 1)  # type: ignore[arg-type]


class BatchNorm2d(nn.BatchNorm2d):
    """Batch norm of images (N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.numel() == self.num_features:
            return _by_running_statistics(self, x)
        return super().forward(x)


def normalisation(name: str | None, width: int) -> list[nn.Module]:
    """The normalisation layer of that name over the last dimension; none for ``None``."""
    if name is None:
        return []
    return [BatchNorm1d(width) if name == "batch" else nn.LayerNorm(width)]


def affine(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer that keeps the scale of what passes through it (Glorot & Bengio 2010, equation 16)."""
    layer = nn.Linear(inputs, outputs)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class AffineOfAll(nn.Module):
    """W_1 a + W_2 b + ... + bias for several inputs, each flattened, their batch shapes broadcast.

    A sum of products instead of the product of a concatenation: when b is enumerated over classes, the large
    product W_1 a is done once, not once a class.
    """

    def __init__(self, *inputs: Shape, width: int) -> None:
        super().__init__()
        self.event_dims = [len(shape) for shape in inputs]
        total = sum(numel(shape) for shape in inputs)
        reference = affine(total, width)  # initialised as one layer over the concatenation would be
        weights = reference.weight.detach().split([numel(shape) for shape in inputs], dim=1)
        self.weights = nn.ParameterList(nn.Parameter(weight.clone()) for weight in weights)
        self.bias = reference.bias

    def forward(self, *inputs: Tensor) -> Tensor:
        result: Tensor | None = None
        for x, event_dim, weight in zip(inputs, self.event_dims, self.weights, strict=True):
            x = x.flatten(x.dim() - event_dim) if event_dim != 1 else x
            x = x.to(weight.dtype) if not torch.is_floating_point(x) else x
            part = nn.functional.linear(x, weight, self.bias if result is None else None)
            result = part if result is None else result + part
        assert result is not None
        return result

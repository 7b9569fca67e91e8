"""Convolutional networks for images."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pyro_vae.errors import ConfigurationError, check_positive
from pyro_vae.networks.base import (
    AffineOfAll,
    BatchNorm2d,
    Network,
    activation,
    affine,
    check_layer_options,
    flat_batch,
    normalisation,
    widths_of,
)
from pyro_vae.parts import Shape, numel

__all__ = ["Conv"]


class Conv(Network):
    """Strided convolutions between an image and hidden units; the side that the image is on gives the direction.

    Towards a code, each stage halves the image (3x3 convolution, stride 2); towards an image, each stage doubles
    it (4x4 transposed convolution, stride 2), cropped to the exact size, so any height and width are possible.
    Inputs other than the image (a label, say) join at the dense layers.

    Args:
        channels: channels of the stages, counted from the image inwards in both directions.
        hidden: widths of the dense layers between the last stage and the code, counted from the image inwards.
        activation: as for :class:`MLP`.
        norm: ``"batch"``, ``"layer"`` (group normalisation with one group, in the stages) or ``None``.
        dropout: probability of dropping a unit of the dense layers during training.

    Raises:
        ConfigurationError: for unknown names or sizes below 1, and on ``build`` when no side is an image.

    Example:
        >>> encoder = Conv([16, 32]).build((1, 28, 28), output=(2, 10))
        >>> decoder = Conv([16, 32]).build((10,), output=(1, 28, 28))
        >>> decoder(encoder(torch.zeros(5, 1, 28, 28))[:, 0]).shape
        torch.Size([5, 1, 28, 28])
    """

    def __init__(
        self,
        channels: Sequence[int] = (32, 64),
        hidden: Sequence[int] = (128,),
        activation: str = "relu",
        norm: str | None = None,
        dropout: float = 0.0,
    ) -> None:
        check_layer_options(activation, norm, dropout)
        if not channels:
            raise ConfigurationError("Conv needs at least one stage in channels; for none use MLP")
        self.channels = [check_positive("a number of channels of Conv", c) for c in channels]
        self.hidden = widths_of(hidden, "a hidden width of Conv")
        self.activation = activation
        self.norm = norm
        self.dropout = dropout

    def build(self, *inputs: Shape, output: Shape) -> nn.Module:
        if inputs and len(inputs[0]) == 3:
            return _Inwards(self, inputs, output)
        if len(output) >= 3:
            return _Outwards(self, inputs, output)
        raise ConfigurationError(
            f"Conv maps from or to an image of shape (channels, height, width), but was asked to map "
            f"{', '.join(map(str, inputs))} to {output}; use MLP for data that are no images"
        )

    def stage_sizes(self, height: int, width: int) -> list[tuple[int, int]]:
        """Height and width before the first stage and after each, from the image inwards."""
        sizes = [(height, width)]
        for _ in self.channels:
            height, width = (height + 1) // 2, (width + 1) // 2
            sizes.append((height, width))
        return sizes

    def dense(self, widths: Sequence[int]) -> list[nn.Module]:
        """Normalisation, activation and dropout after a layer of ``widths[0]``, then the layers that follow."""
        layers: list[nn.Module] = []
        for width, following in itertools.zip_longest(widths, widths[1:]):
            layers += normalisation(self.norm, width)
            layers.append(activation(self.activation))
            if self.dropout:
                layers.append(nn.Dropout(self.dropout))
            if following is not None:
                layers.append(affine(width, following))
        return layers

    def stage(self, convolution: nn.Module, channels: int) -> list[nn.Module]:
        """A convolution with its normalisation and activation."""
        norms = {"batch": BatchNorm2d(channels), "layer": nn.GroupNorm(1, channels)}
        norm = [norms[self.norm]] if self.norm else []
        return [convolution, *norm, activation(self.activation)]


class _Inwards(nn.Module):
    def __init__(self, spec: Conv, inputs: tuple[Shape, ...], output: Shape) -> None:
        super().__init__()
        image, *others = inputs
        channels = [image[0], *spec.channels]
        stages: list[nn.Module] = []
        for before, after in itertools.pairwise(channels):
            stages += spec.stage(nn.Conv2d(before, after, 3, stride=2, padding=1), after)
        height, width = spec.stage_sizes(*image[1:])[-1]
        self.stages = nn.Sequential(*stages)
        widths = [*spec.hidden, numel(output)]
        self.join = AffineOfAll((channels[-1], height, width), *others, width=widths[0])
        self.dense = nn.Sequential(*spec.dense(widths[:-1]))
        self.last = affine(widths[-2], widths[-1]) if spec.hidden else nn.Identity()
        self.output = output

    def forward(self, image: Tensor, *others: Tensor) -> Tensor:
        features = flat_batch(self.stages, image, 3)
        return self.last(self.dense(self.join(features, *others))).unflatten(-1, self.output)

    @torch.no_grad()
    def scale_output(self, factor: float) -> None:
        for weight in self.join.weights if isinstance(self.last, nn.Identity) else [self.last.weight]:
            weight.mul_(factor)

    @torch.no_grad()
    def set_output(self, values: Tensor) -> None:
        bias = self.join.bias if isinstance(self.last, nn.Identity) else self.last.bias
        bias.copy_(values.flatten())


class _Outwards(nn.Module):
    def __init__(self, spec: Conv, inputs: tuple[Shape, ...], output: Shape) -> None:
        super().__init__()
        sizes = spec.stage_sizes(*output[-2:])
        self.start = (spec.channels[-1], *sizes[-1])
        widths = [*spec.hidden[::-1], numel(self.start)]
        self.join = AffineOfAll(*inputs, width=widths[0])
        self.dense = nn.Sequential(*spec.dense(widths))
        channels = [numel(output[:-2]), *spec.channels]
        self.sizes = sizes[-2::-1]
        self.stages = nn.ModuleList()
        for i in reversed(range(len(spec.channels))):
            up = nn.ConvTranspose2d(channels[i + 1], channels[i], 4, stride=2, padding=1)
            self.stages.append(up if i == 0 else nn.Sequential(*spec.stage(up, channels[i])))
        # pixels differ in their mean, which a bias per channel cannot say
        self.bias = nn.Parameter(torch.zeros(output))
        self.output = output

    def _image(self, features: Tensor) -> Tensor:
        for stage, (height, width) in zip(self.stages, self.sizes, strict=True):
            features = stage(features)[..., :height, :width]
        return features

    def forward(self, *inputs: Tensor) -> Tensor:
        features = self.dense(self.join(*inputs)).unflatten(-1, self.start)
        image = flat_batch(self._image, features, 3)  # type: ignore[arg-type]
        return image.unflatten(-3, self.output[:-2]) + self.bias

    @torch.no_grad()
    def scale_output(self, factor: float) -> None:
        for parameter in self.stages[-1].parameters():
            parameter.mul_(factor)

    @torch.no_grad()
    def set_output(self, values: Tensor) -> None:
        self.bias.copy_(values)

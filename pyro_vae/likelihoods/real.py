"""Likelihoods for real values."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.distributions import constraints
from torch.distributions.utils import broadcast_all

from pyro_vae.errors import ConfigurationError, check_choice
from pyro_vae.likelihoods.base import Likelihood
from pyro_vae.parts import Shape, positive, positive_inverse

__all__ = ["Laplace", "Normal"]

_LARGE = 100.0


class _LocationScale(Likelihood):
    """A location from the decoder and a scale that is a number, a parameter, or from the decoder too."""

    family: Callable[..., TorchDistribution]
    name: str
    support = constraints.real
    support_words = "the real numbers"

    def __init__(self, shape: int | Iterable[int], scale: str | float = "shared") -> None:
        super().__init__(shape)
        if isinstance(scale, str):
            check_choice("scale", scale, ["fixed", "shared", "per_dimension", "predicted"])
        elif not (scale > 0 and scale < float("inf")):
            raise ConfigurationError(f"scale must be a positive number or a name, got {scale!r}")
        self.scale = 1.0 if scale == "fixed" else scale
        sizes = {"shared": (), "per_dimension": self.shape}
        if self.scale in sizes:
            self.raw_scale = nn.Parameter(torch.zeros(sizes[str(self.scale)]))

    def parameter_shape(self, shape: Shape) -> Shape:
        return (2 if self.scale == "predicted" else 1, *shape)

    def distribution(self, parameters: Tensor) -> TorchDistribution:
        loc, *predicted = self.split(parameters)
        if predicted:
            scale = positive(predicted[0])
        elif isinstance(self.scale, str):
            scale = positive(self.raw_scale.to(loc.dtype))
        else:
            scale = loc.new_full((), self.scale)
        return self.family(loc, scale, validate_args=False).to_event(len(self.shape))

    def starting_parameters(self, x: Tensor) -> Tensor:
        mean = x.mean(0, keepdim=True)
        if self.scale != "predicted":
            return mean
        return torch.cat([mean, positive_inverse(self._starting_scales(x))[None]])

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Start the mean and the scale at the data's: a scale that is far off would be thousands of steps away."""
        super().initialise(x)
        if (largest := x.abs().amax().item()) > _LARGE:
            warnings.warn(
                f"x reaches {largest:.3g}, and networks learn badly from numbers far from one: standardise the data, "
                f"(x - x.mean(0)) / x.std(0)",
                stacklevel=2,
            )
        if self.scale in ("shared", "per_dimension"):
            scales = self._starting_scales(x)
            scales = scales.square().mean().sqrt() if self.scale == "shared" else scales
            self.raw_scale.copy_(positive_inverse(scales))

    def _starting_scales(self, x: Tensor) -> Tensor:
        """Scales (\\*shape) that give the data's standard deviations; where they hardly vary, a tenth of all."""
        deviations = (x - x.mean(0)).square().mean(0).sqrt()
        overall = deviations.square().mean().sqrt()
        return deviations.clamp(min=max(0.1 * overall.item(), 1e-3))

    def words(self) -> str:
        scales = {
            "shared": "means from the decoder and one learned scale shared by all",
            "per_dimension": "means from the decoder and a learned scale for each",
            "predicted": "means and scales from the decoder",
        }
        parameters = scales.get(str(self.scale), f"means from the decoder and scale {self.scale}")
        return f"{self.name}, for each of {'x'.join(map(str, self.shape))} values, with {parameters}"

    def scale_latex(self, symbol: str) -> str:
        """The scale in a formula, as the given symbol or its number."""
        forms = {"shared": symbol, "per_dimension": f"{symbol}_d", "predicted": rf"{symbol}_\theta(z)"}
        return forms.get(str(self.scale), str(self.scale))


class _Normal(dist.Normal):
    """torch's, whose density does with a scale that many values share what is to be done once, not for each of them.

    The gradient of a shared scale alone would be half of a training step on colour images.
    """

    def __init__(self, loc: Tensor, scale: Tensor, validate_args: bool | None = None) -> None:
        self.shared = scale  # as it came, before it is broadcast
        super().__init__(loc, scale, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = self._get_checked_instance(_Normal, _instance)
        new.shared = self.shared
        return super().expand(batch_shape, _instance=new)

    def log_prob(self, value: Tensor) -> Tensor:
        loc, value = broadcast_all(self.loc, value)
        errors = nn.functional.mse_loss(loc, value, reduction="none")  # (x - f)^2, with one pass of its own back
        return -(self.shared.log() + math.log(2 * math.pi) / 2) - errors * (0.5 / self.shared**2)


class Normal(_LocationScale):
    """p(x | z) = prod_i N(x_i; f_i(z), sigma_i^2) for real values.

    Args:
        shape: event shape of one datum.
        scale: sigma. A number; ``"fixed"``, which is 1; ``"shared"``, one learned sigma for all dimensions;
            ``"per_dimension"``, a learned sigma for each; or ``"predicted"`` by the decoder for each datum and
            dimension (beware: the likelihood is then unbounded, a pixel that never changes drives its sigma to 0).

    Raises:
        ConfigurationError: for an unknown name or a scale that is not positive.

    Example:
        >>> from pyro_vae import likelihoods, networks
        >>> likelihood = likelihoods.Normal(3, scale=0.5)
        >>> likelihood.connect(networks.MLP([]), (2,))
        >>> likelihood(torch.zeros(4, 2)).stddev[0]
        tensor([0.5000, 0.5000, 0.5000])

    References:
        Rybkin, Daniilidis & Levine, Simple and Effective VAE Training with Calibrated Decoders, 2021, on the
        shared scale (https://arxiv.org/abs/2006.13202)
    """

    family = _Normal
    name = "a normal"

    def latex(self) -> str:
        scale = self.scale_latex(r"\sigma")
        return rf"\mathcal{{N}}(f_\theta(z), {scale}^2)"


class Laplace(_LocationScale):
    """p(x | z) = prod_i Laplace(x_i; f_i(z), b_i): absolute instead of squared error, forgiving of outliers.

    Args:
        shape: event shape of one datum.
        scale: b, as for :class:`Normal`.

    Raises:
        ConfigurationError: for an unknown name or a scale that is not positive.
    """

    family = dist.Laplace
    name = "a Laplace"

    def _starting_scales(self, x: Tensor) -> Tensor:
        return super()._starting_scales(x) / math.sqrt(2)  # a Laplace has the standard deviation b sqrt(2)

    def latex(self) -> str:
        return rf"\mathrm{{Laplace}}(f_\theta(z), {self.scale_latex('b')})"

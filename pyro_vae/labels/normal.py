"""Continuous properties."""

from __future__ import annotations

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor

from pyro_vae.errors import DataError, check_positive
from pyro_vae.labels.base import Label, Predictor, equal_mixture
from pyro_vae.parts import Shape
from pyro_vae.posteriors import FullCovarianceNormal

__all__ = ["Normal"]


class Normal(Label):
    """p(y) = N(mu, Sigma) over P real properties, with mean and covariance of the known labels.

    Mean and covariance are taken from the labelled data when training starts and stay; networks see the properties
    standardised by them.  Where y is missing it is drawn from the guide's normal, reparametrised.

    Args:
        size: P, the number of properties.

    Example:
        >>> from pyro_vae import labels
        >>> label = labels.Normal(2)
        >>> label.initialise_from(torch.tensor([[1.0, 10.0], [3.0, 10.0], [2.0, 13.0]]))
        >>> label().mean
        tensor([ 2., 11.])

    References:
        Kang & Cho, Conditional Molecular Design with Deep Generative Models, 2019, equation 6
        (https://doi.org/10.1021/acs.jcim.8b00263)
    """

    loc: Tensor
    scale_tril: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.infer = {}
        self.size = check_positive("the number of properties", size)
        self.shape: Shape = (size,)
        self.input_shape: Shape = (size,)
        self.register_buffer("loc", torch.zeros(size))
        self.register_buffer("scale_tril", torch.eye(size))

    @property
    def keeps(self) -> str:
        return "mean and covariance"

    @property
    def scale(self) -> Tensor:
        """Standard deviation of each property, (P,)."""
        return self.scale_tril.square().sum(-1).sqrt()

    def forward(self) -> TorchDistribution:  # type: ignore[override]
        return dist.MultivariateNormal(self.loc, scale_tril=self.scale_tril, validate_args=False)

    def as_input(self, y: Tensor) -> Tensor:
        return (y - self.loc) / self.scale

    def predictor(self) -> Predictor:
        return _Regressor(self)

    def check(self, y: Tensor, n: int) -> Tensor:
        if y.is_complex() or y.dtype == torch.bool:
            raise DataError(f"y: {self!r} takes real properties, NaN where they are missing, got {y.dtype}")
        if tuple(y.shape) != (n, self.size):
            hint = "; for one property: y[:, None]" if self.size == 1 and tuple(y.shape) == (n,) else ""
            raise DataError(
                f"y: {self.size} properties of {n} data have shape ({n}, {self.size}), got {tuple(y.shape)}{hint}"
            )
        y = y.to(self.loc.dtype)
        if y.isinf().any():
            raise DataError(f"y: {int(y.isinf().sum()):,} of {y.numel():,} properties are infinite")
        some = y.isnan().any(-1) & ~y.isnan().all(-1)
        if some.any():
            raise DataError(
                f"y: {int(some.sum()):,} data have some of their {self.size} properties and miss others (the first is "
                f"datum {int(some.nonzero()[0])}); give all properties of a datum, or NaN for all of them"
            )
        return y

    def check_known(self, y: Tensor) -> None:
        y = y.to(self.loc.dtype)
        spread = y.std(0, correction=0)
        if not y.square().sum().isfinite():
            raise DataError(
                f"y: properties reach {y.abs().max().item():.3g}, and their squares are no numbers; rescale"
            )
        flat = (spread <= 8 * torch.finfo(y.dtype).eps * y.abs().amax(0)).nonzero().flatten()
        if len(y) > 1 and flat.numel():
            raise DataError(
                f"y: property {int(flat[0])} is {y[0, flat[0]].item():g} for all {len(y)} labelled data (zero "
                f"variance); there is nothing to learn about it: leave it out"
            )

    def initialise_from(self, y: Tensor) -> None:
        """Mean and covariance of the known labels.

        Of few labels N the correlations of P properties are taken to be weaker than they look, by the share
        P / N - 1/2, at most all and at least a ten thousandth.

        Raises:
            DataError: when there are too few of them.
        """
        y = y.to(self.loc.dtype)
        if len(y) < 2:
            raise DataError(f"y: mean and covariance of the properties need at least 2 labelled data, got {len(y)}")
        spread = y.std(0)
        correlation = torch.corrcoef(y.T).reshape(self.size, self.size)
        # few labels, or properties that follow from each other, give no positive definite matrix
        shrinkage = min(1.0, max(1e-4, self.size / len(y) - 0.5))
        correlation = (1 - shrinkage) * correlation + shrinkage * torch.eye(self.size).to(correlation)
        self.loc.copy_(y.mean(0))
        self.scale_tril.copy_(spread[:, None] * torch.linalg.cholesky(correlation))

    def example(self, n: int) -> Tensor:
        steps = torch.linspace(-1.0, 1.0, n, device=self.loc.device).to(self.loc.dtype)
        return self.loc + steps[:, None] * self.scale

    def missing(self, n: int) -> Tensor:
        return self.loc.new_full((n, self.size), float("nan"))

    def average(self, predictions: TorchDistribution) -> TorchDistribution:
        return equal_mixture(predictions)

    def estimate(self, prediction: TorchDistribution) -> Tensor:
        return prediction.mean

    def score(self, prediction: TorchDistribution, y: Tensor) -> dict[str, float]:
        return {"mean_absolute_error": (self.estimate(prediction) - y).abs().mean().item()}

    def words(self) -> str:
        return f"a normal with the mean and covariance of the known labels, in {self.size} dimensions"

    def latex(self) -> str:
        return r"\mathcal{N}(\mu_y, \Sigma_y)"


class _Regressor(Predictor):
    """N(y; mu(.), L(.) L(.)^T), from a network whose outputs are in units of the known labels' spread."""

    def __init__(self, label: Normal) -> None:
        super().__init__()
        self.shape = label.shape
        self._standard = FullCovarianceNormal()
        self._standard.shape = label.shape
        self._label = [label]  # in a list: its buffers belong to the variant's label, not to this part as well

    def parameter_shape(self, shape: Shape) -> Shape:
        return self._standard.parameter_shape(shape)

    def distribution(self, parameters: Tensor) -> TorchDistribution:
        label = self._label[0]
        standard = self._standard.distribution(parameters)
        return dist.MultivariateNormal(
            label.loc + label.scale * standard.loc,
            scale_tril=label.scale[:, None] * standard.scale_tril,
            validate_args=False,
        )

    def words(self) -> str:
        return "a normal with means and a full covariance from the classifier"

    def latex(self) -> str:
        return r"\mathcal{N}(\mu_\phi(x), L_\phi(x) L_\phi(x)^\top)"

"""How good predictions of labels are: accuracy, confusion, calibration, and the error of properties.

All of them take data whose labels are known, and leave out those whose labels are missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyro_vae.errors import DataError, check_positive
from pyro_vae.evaluation.tables import aligned
from pyro_vae.variants.base import Variant

__all__ = [
    "Calibration",
    "Confusion",
    "accuracy",
    "calibration",
    "class_probabilities",
    "confusion",
    "mean_absolute_error",
    "predicted_properties",
]

_BATCH = 1000


@dataclass(frozen=True, eq=False)
class Confusion:
    """Which classes were taken for which.

    Attributes:
        counts: (K, K) numbers of data: rows are true classes, columns predicted ones.
    """

    counts: Tensor

    @property
    def accuracy(self) -> float:
        """Share of data whose class was predicted."""
        return self.counts.trace().item() / self.counts.sum().item()

    def __repr__(self) -> str:
        classes = range(len(self.counts))
        rows = [("true \\ predicted", *classes), *((k, *self.counts[k].tolist()) for k in classes)]
        right, n = int(self.counts.trace()), int(self.counts.sum())
        return f"{aligned(rows)}\naccuracy {self.accuracy:.3f} ({right:,} of {n:,})"


@dataclass(frozen=True, eq=False)
class Calibration:
    """How often predictions of a given confidence are right.

    Attributes:
        edges: (M + 1,) between the bins of confidence; bin m is (edges[m], edges[m + 1]].
        confidence: (M,) mean probability of the predicted class in each bin; NaN in an empty one.
        accuracy: (M,) share of data in each bin whose class was predicted; NaN in an empty one.
        count: (M,) number of data in each bin.
    """

    edges: Tensor
    confidence: Tensor
    accuracy: Tensor
    count: Tensor

    @property
    def ece(self) -> float:
        """Expected calibration error: sum_m (n_m / n) |accuracy_m - confidence_m| (Guo et al. 2017, equation 3)."""
        gap = (self.accuracy - self.confidence).abs().nan_to_num()
        return (gap * self.count).sum().item() / self.count.sum().item()

    def __repr__(self) -> str:
        rows: list[tuple[Any, ...]] = [("confidence", "mean", "accuracy", "data")]
        for m in self.count.nonzero().flatten().tolist():
            span = f"{self.edges[m]:.2f} to {self.edges[m + 1]:.2f}"
            rows.append((span, f"{self.confidence[m]:.3f}", f"{self.accuracy[m]:.3f}", int(self.count[m])))
        return f"{aligned(rows)}\nexpected calibration error {self.ece:.3f} ({int(self.count.sum()):,} data)"


def accuracy(variant: Variant, x: Any, y: Any = None) -> float:
    """Share of data whose most probable class is the true one.

    Args:
        variant: any variant that predicts classes.
        x: data (N, \\*shape), or a split.
        y: classes (N,), -1 where missing; those of the split if not given.

    Raises:
        DataError: when data or labels do not fit, no label is known, or the variant predicts no classes.

    Example:
        >>> import pyro_vae as pv
        >>> from pyro_vae import evaluation, labels
        >>> classifier = pv.Discriminative(labels.Categorical(2), 3)
        >>> 0 <= evaluation.accuracy(classifier, torch.randn(10, 3), torch.arange(10) % 2) <= 1
        True
    """
    probs, y = class_probabilities(variant, x, y)
    return (probs.argmax(-1) == y).double().mean().item()


def confusion(variant: Variant, x: Any, y: Any = None) -> Confusion:
    """Counts of true against predicted classes, by scikit-learn's ``confusion_matrix``.

    Args:
        variant: any variant that predicts classes.
        x: data (N, \\*shape), or a split.
        y: classes (N,), -1 where missing; those of the split if not given.

    Raises:
        DataError: when data or labels do not fit, no label is known, or the variant predicts no classes.

    Example:
        >>> Confusion(torch.tensor([[9, 1], [2, 8]]))
        true \\ predicted  0  1
                       0  9  1
                       1  2  8
        accuracy 0.850 (17 of 20)
    """
    from sklearn.metrics import confusion_matrix  # imported where it is used

    probs, y = class_probabilities(variant, x, y)
    classes = range(probs.shape[-1])
    return Confusion(torch.from_numpy(confusion_matrix(y.cpu(), probs.argmax(-1).cpu(), labels=classes)))


def calibration(variant: Variant, x: Any, y: Any = None, bins: int = 15) -> Calibration:
    """The reliability table: in bins of confidence of equal width, how often the prediction is right.

    Confidence is the probability of the most probable class; a calibrated variant is right in 80 of 100 predictions
    that it makes with a confidence of 0.8.

    Args:
        variant: any variant that predicts classes.
        x: data (N, \\*shape), or a split.
        y: classes (N,), -1 where missing; those of the split if not given.
        bins: M, number of bins.

    Raises:
        DataError: when data or labels do not fit, no label is known, or the variant predicts no classes.
        ConfigurationError: for fewer than one bin.

    Example:
        >>> Calibration(torch.tensor([0.0, 0.5, 1.0]), torch.tensor([0.4, 0.9]), torch.tensor([0.5, 0.7]),
        ...             torch.tensor([10, 30]))
          confidence   mean  accuracy  data
        0.00 to 0.50  0.400     0.500    10
        0.50 to 1.00  0.900     0.700    30
        expected calibration error 0.175 (40 data)

    References:
        Guo, Pleiss, Sun & Weinberger, On Calibration of Modern Neural Networks, 2017
        (https://arxiv.org/abs/1706.04599)
    """
    check_positive("bins", bins)
    probs, y = class_probabilities(variant, x, y)
    confidence, predicted = probs.double().max(-1)
    place = ((confidence * bins).ceil().long() - 1).clamp(0, bins - 1)
    count = torch.bincount(place, minlength=bins)

    def averaged(values: Tensor) -> Tensor:
        return torch.zeros(bins).to(values).index_add(0, place, values) / count

    right = (predicted == y).double()
    table = (averaged(confidence), averaged(right), count)
    return Calibration(torch.linspace(0, 1, bins + 1, dtype=torch.double), *(column.cpu() for column in table))


def mean_absolute_error(variant: Variant, x: Any, y: Any = None) -> Tensor:
    """Mean of \\|predicted - true\\| of each property, (P,), in the property's own unit.

    Args:
        variant: any variant that predicts properties.
        x: data (N, \\*shape), or a split.
        y: properties (N, P), NaN where missing; those of the split if not given.

    Raises:
        DataError: when data or labels do not fit, no label is known, or the variant predicts no properties.

    Example:
        >>> import pyro_vae as pv
        >>> from pyro_vae import evaluation, labels
        >>> regressor = pv.Discriminative(labels.Normal(2), 3)
        >>> evaluation.mean_absolute_error(regressor, torch.randn(10, 3), torch.randn(10, 2)).shape
        torch.Size([2])
    """
    predicted, y = predicted_properties(variant, x, y)
    return (predicted - y).abs().mean(0)


def class_probabilities(variant: Variant, x: Any, y: Any = None) -> tuple[Tensor, Tensor]:
    """Predicted probabilities (N, K) and true classes (N,) of the data whose class is known.

    Raises:
        DataError: when data or labels do not fit, no label is known, or the variant predicts no classes.
    """
    x, y = _known(variant, x, y, classes=True)
    return torch.cat([variant.predict(some).probs for some in x.split(_BATCH)]), y


def predicted_properties(variant: Variant, x: Any, y: Any = None) -> tuple[Tensor, Tensor]:
    """Predicted and true properties, (N, P) each, of the data whose properties are known.

    Raises:
        DataError: when data or labels do not fit, no label is known, or the variant predicts no properties.
    """
    x, y = _known(variant, x, y, classes=False)
    assert variant.label is not None
    return torch.cat([variant.label.estimate(variant.predict(some)) for some in x.split(_BATCH)]), y


def _known(variant: Variant, x: Any, y: Any, *, classes: bool) -> tuple[Tensor, Tensor]:
    """The data whose labels are known, checked, where the variant predicts labels of the kind wanted."""
    name = type(variant).__name__
    if not variant.predicts or variant.label is None:
        raise DataError(f"{name} predicts no labels, so there is nothing to compare with y")
    if (variant.label.classes is not None) != classes:
        kinds = ("classes", "properties") if classes else ("properties", "classes")
        hint = "mean_absolute_error" if classes else "accuracy, confusion or calibration"
        raise DataError(f"{name} with {variant.label!r} predicts no {kinds[0]} but {kinds[1]}; use {hint}")
    known = variant.with_known_labels(x, y)
    if known is None:
        raise DataError("y: no label is known, so predictions cannot be compared with any; give y, or a split with y")
    return known

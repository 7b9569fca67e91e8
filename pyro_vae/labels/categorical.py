"""Classes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from pyro_vae.errors import ConfigurationError, DataError, check_positive
from pyro_vae.labels.base import Label, Predictor
from pyro_vae.parts import Shape

__all__ = ["Categorical", "as_classes"]

_NAMED = 10
"""Up to so many classes are named in a warning."""


class Categorical(Label):
    """p(y) = Cat(pi) over the classes 0, ..., K - 1.

    Where y is missing it is summed over, all K values at once, exactly; or drawn.

    Args:
        classes: K, the number of classes.
        probs: pi, K frequencies; all alike if not given.
        learned: whether pi is trained, from ``probs`` on, or if they are not given from the known labels'.  It tends to
            the frequencies in what training sees: where each batch has labelled data added (``labelled_batch_size`` of
            :func:`pyro_vae.fit`), to those of the labels rather than of the data.
        enumerate: whether a missing y is summed over.  With ``False`` the guide draws it, and its gradient needs
            :class:`pyro_vae.objectives.ScoreFunction` or VIMCO: what M2 would be without the sum, to be compared.

    Raises:
        ConfigurationError: for fewer than 2 classes, or frequencies that are no probabilities of K classes.

    Example:
        >>> from pyro_vae import labels
        >>> label = labels.Categorical(3, probs=[0.5, 0.25, 0.25])
        >>> label().probs
        tensor([0.5000, 0.2500, 0.2500])
        >>> label.as_input(torch.tensor([2, 0]))
        tensor([[0, 0, 1],
                [1, 0, 0]])
    """

    classes: int
    logits: Tensor

    def __init__(
        self, classes: int, probs: Sequence[float] | None = None, learned: bool = False, enumerate: bool = True
    ) -> None:
        super().__init__()
        self.infer = {"enumerate": "parallel"} if enumerate else {}
        self.classes = check_positive("the number of classes", classes)
        if classes < 2:
            raise ConfigurationError(f"labels need at least 2 classes, got {classes}")
        self.shape: Shape = ()
        self.input_shape: Shape = (classes,)
        self.learned = learned
        self.uniform = probs is None
        pi = torch.as_tensor([1 / classes] * classes if probs is None else probs, dtype=torch.get_default_dtype())
        if tuple(pi.shape) != (classes,) or not (pi > 0).all() or abs(pi.sum().item() - 1) > 1e-4:
            raise ConfigurationError(
                f"probs are {classes} positive frequencies that add up to 1, one for each class, got {probs!r}"
            )
        logits = (pi / pi.sum()).log()
        if learned:
            self.logits = nn.Parameter(logits)
        else:
            self.register_buffer("logits", logits)

    def forward(self) -> TorchDistribution:  # type: ignore[override]
        return dist.Categorical(logits=self.logits, validate_args=False)

    def as_input(self, y: Tensor) -> Tensor:
        return nn.functional.one_hot(y, self.classes)

    def predictor(self) -> Predictor:
        return _Classifier(self.classes)

    def check(self, y: Tensor, n: int) -> Tensor:
        broken = y[~y.isnan() & (y != y.round())] if y.is_floating_point() else y.new_empty(0)
        if y.dtype == torch.bool or y.is_complex() or len(broken):
            examples = f" such as {broken[0].item():g}" if len(broken) else ""
            raise DataError(
                f"y: {self!r} takes integer classes, -1 where one is missing, got {y.dtype}{examples}; y.long() "
                f"makes whole numbers integers; properties that are real are labels.Normal(P)"
            )
        if y.is_floating_point() and y.isnan().any():  # integers with gaps, as pandas has them
            raise DataError(
                f"y: {self!r} takes integer classes, -1 where one is missing, got {y.dtype} with "
                f"{int(y.isnan().sum()):,} NaN; take torch.nan_to_num(y, nan=-1).long(), of a pandas column "
                f"y.fillna(-1).astype(int)"
            )
        if tuple(y.shape) != (n,):
            hint = ""
            if tuple(y.shape) == (n, self.classes):
                hint = "; of one-hot vectors take y.argmax(-1)"
            elif tuple(y.shape) == (n, 1):
                hint = "; take y.long()" if y.is_floating_point() else "; take y[:, 0]"
            raise DataError(f"y: classes for {n} data have shape ({n},), got {tuple(y.shape)}{hint}")
        y = y.long()
        outside = (y < -1) | (y >= self.classes)
        if outside.any():
            place = int(outside.nonzero()[0])
            raise DataError(
                f"y: {int(outside.sum()):,} of {n:,} labels lie outside the {self.classes} classes "
                f"0..{self.classes - 1} (y[{place}] is {int(y[place])}); a missing label is -1"
            )
        return y

    def check_known(self, y: Tensor) -> None:
        unseen = sorted(set(range(self.classes)) - set(y.unique().tolist()))
        if unseen:
            names = ", ".join(map(str, unseen[:_NAMED])) + (f", ... ({len(unseen)})" if unseen[_NAMED:] else "")
            which, it = (f"class {names}", "it") if len(unseen) == 1 else (f"any of the classes {names}", "them")
            warnings.warn(
                f"no datum is labelled as {which}: the model may use {it} for anything, and the classifier is never "
                f"told when to predict {it}; label some such data, or leave {it} out of the classes",
                stacklevel=2,
            )

    def initialise_from(self, y: Tensor) -> None:
        """Start learned frequencies that were not given at those of the known labels, each class counted once more."""
        if self.learned and self.uniform and self.drawn:
            counts = torch.bincount(y, minlength=self.classes) + 1.0
            with torch.no_grad():
                self.logits.copy_((counts / counts.sum()).log())

    def example(self, n: int) -> Tensor:
        return torch.arange(n, device=self.logits.device) % self.classes

    def missing(self, n: int) -> Tensor:
        return torch.full((n,), -1, device=self.logits.device)

    def average(self, predictions: TorchDistribution) -> TorchDistribution:
        return dist.Categorical(probs=predictions.probs.mean(-2), validate_args=False)

    def estimate(self, prediction: TorchDistribution) -> Tensor:
        return prediction.probs.argmax(-1)

    def score(self, prediction: TorchDistribution, y: Tensor) -> dict[str, float]:
        return {"accuracy": (self.estimate(prediction) == y).float().mean().item()}

    def words(self) -> str:
        kind = "learned" if self.learned else "" if self.uniform else "given"
        return (
            f"{self.classes} classes, all equally frequent"
            if not kind
            else (f"{self.classes} classes with {kind} frequencies")
        )

    def latex(self) -> str:
        frequencies = f"1/{self.classes}" if self.uniform and not self.learned else r"\pi"
        return rf"\mathrm{{Cat}}({frequencies})"


class _Classifier(Predictor):
    """Cat(y; softmax(f(.))) over K classes."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.shape = ()

    def parameter_shape(self, shape: Shape) -> Shape:
        return (self.classes,)

    def distribution(self, parameters: Tensor) -> TorchDistribution:
        return dist.Categorical(logits=parameters, validate_args=False)

    def words(self) -> str:
        return f"{self.classes} classes with probabilities from the classifier"

    def latex(self) -> str:
        return r"\mathrm{Cat}(\pi_\phi(x))"


def as_classes(classes: int | Categorical) -> Categorical:
    """Classes that may be given as their number, where a label cannot be anything else.

    Example:
        >>> from pyro_vae.labels.categorical import as_classes
        >>> as_classes(10)
        Categorical(10)
    """
    return Categorical(int(classes)) if isinstance(classes, (int, np.integer)) else classes

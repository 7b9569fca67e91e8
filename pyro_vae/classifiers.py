"""Classifiers of codes, for M1: scikit-learn's, described so that they can be written to a configuration.

Codes are taken as they are: a dimension that the autoencoder does not use has codes close to the prior's mean, and one
that it uses has codes spread like the prior.  Standardised, the noise of the first would count as much as the second.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pyro_vae.configured import Configured
from pyro_vae.errors import ConfigurationError

__all__ = ["SVM", "Classifier", "Logistic"]


class Classifier(Configured):
    """A description of one of scikit-learn's classifiers."""

    def make(self) -> Any:
        """A new classifier with ``fit(X, y)`` and ``predict_proba(X)``."""
        raise NotImplementedError


class Logistic(Classifier):
    """Logistic regression.

    Args:
        C: inverse strength of the quadratic penalty on the weights.
        standardise: bring all inputs to mean 0 and variance 1 first; for what is no code, such as pixels.

    Example:
        >>> Logistic().make().fit([[0.0], [1.0]], [0, 1]).predict([[2.0]])
        array([1])
    """

    def __init__(self, C: float = 1.0, standardise: bool = False) -> None:  # noqa: N803 (scikit-learn's name)
        if not C > 0:
            raise ConfigurationError(f"C is an inverse strength, a positive number, got {C!r}")
        self.C = C
        self.standardise = standardise

    def make(self) -> Any:
        from sklearn.linear_model import LogisticRegression

        return _standardised(LogisticRegression(C=self.C, max_iter=2000), self.standardise)


class SVM(Classifier):
    """A support vector machine with a radial kernel.

    Its decision values are turned into probabilities by a logistic curve fitted in cross-validation (Platt 1999), in
    five parts, or as many as the rarest class has data.  Where that is one there is nothing to validate with: the curve
    is fitted to the data that the machine was, and too sure of itself.

    Args:
        C: inverse strength of the penalty.
        gamma: of the kernel exp(-gamma |a - b|^2); ``"scale"`` is 1 / (number of inputs x their variance).
        standardise: bring all inputs to mean 0 and variance 1 first; for what is no code, such as pixels.
    """

    def __init__(
        self,
        C: float = 1.0,  # noqa: N803 (scikit-learn's name)
        gamma: float | str = "scale",
        standardise: bool = False,
    ) -> None:
        if not C > 0:
            raise ConfigurationError(f"C is an inverse strength, a positive number, got {C!r}")
        self.C = C
        self.gamma = gamma
        self.standardise = standardise

    def make(self) -> Any:
        from sklearn.calibration import CalibratedClassifierCV
        from sklearn.svm import SVC

        machine = _standardised(SVC(C=self.C, gamma=self.gamma), self.standardise)
        return CalibratedClassifierCV(machine, ensemble=False, cv=_Folds())


class _Folds:
    """Five parts for cross-validation, or as many as the rarest class has data; all data at once where that is one."""

    def _number(self, y: Any) -> int:
        return min(5, int(np.unique(y, return_counts=True)[1].min()))

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:  # noqa: N803 (scikit-learn's name)
        return self._number(y)

    def split(self, X: Any, y: Any, groups: Any = None) -> Any:  # noqa: N803 (scikit-learn's name)
        from sklearn.model_selection import StratifiedKFold

        if (number := self._number(y)) < 2:
            return iter([(np.arange(len(y)), np.arange(len(y)))])
        return StratifiedKFold(number).split(X, y)


def _standardised(classifier: Any, wanted: bool) -> Any:
    if not wanted:
        return classifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), classifier)

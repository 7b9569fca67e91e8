"""Classifiers of codes, for M1: scikit-learn's, described so that they can be written to a configuration."""

from __future__ import annotations

from typing import Any

from pyro_vae.configured import Configured
from pyro_vae.errors import ConfigurationError

__all__ = ["SVM", "Classifier", "Logistic"]


class Classifier(Configured):
    """A description of one of scikit-learn's classifiers."""

    def make(self) -> Any:
        """A new classifier with ``fit(X, y)`` and ``predict_proba(X)``."""
        raise NotImplementedError


class Logistic(Classifier):
    """Logistic regression on standardised inputs.

    Args:
        C: inverse strength of the quadratic penalty on the weights.

    Example:
        >>> Logistic().make().fit([[0.0], [1.0]], [0, 1]).predict([[2.0]])
        array([1])
    """

    def __init__(self, C: float = 1.0) -> None:  # noqa: N803 (scikit-learn's name)
        if not C > 0:
            raise ConfigurationError(f"C is an inverse strength, a positive number, got {C!r}")
        self.C = C

    def make(self) -> Any:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        return make_pipeline(StandardScaler(), LogisticRegression(C=self.C, max_iter=2000))


class SVM(Classifier):
    """A support vector machine with a radial kernel on standardised inputs.

    Its decision values are turned into probabilities by a logistic curve fitted in cross-validation (Platt 1999).

    Args:
        C: inverse strength of the penalty.
        gamma: of the kernel exp(-gamma |a - b|^2); ``"scale"`` is 1 / (number of inputs x their variance).
    """

    def __init__(self, C: float = 1.0, gamma: float | str = "scale") -> None:  # noqa: N803 (scikit-learn's name)
        if not C > 0:
            raise ConfigurationError(f"C is an inverse strength, a positive number, got {C!r}")
        self.C = C
        self.gamma = gamma

    def make(self) -> Any:
        from sklearn.calibration import CalibratedClassifierCV
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import SVC

        machine = make_pipeline(StandardScaler(), SVC(C=self.C, gamma=self.gamma))
        return CalibratedClassifierCV(machine, ensemble=False)

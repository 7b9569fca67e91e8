"""The systems that are compared: each learns from a task and then names classes."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyro_vae.classifiers import SVM, Logistic
from pyro_vae.comparison.tasks import Task
from pyro_vae.data import labelled_subset
from pyro_vae.labels import Categorical
from pyro_vae.networks import MLP, Augmented, Network
from pyro_vae.objectives import Linear, Ramp
from pyro_vae.priors import StandardNormal
from pyro_vae.training import fit
from pyro_vae.variants import (
    M1,
    M1M2,
    M2,
    VAE,
    ConsistencyConstrainedVAE,
    Discriminative,
    PredictionConstrainedVAE,
    Variant,
)

__all__ = ["SYSTEMS", "System"]

Predictor = Callable[[Tensor], Tensor]

_CHUNK = 2_000  # data whose classes are predicted at once: systems that average over 100 codes hold as many of each
_STEPS = 600  # that a network is trained at least: few labels make short epochs
_MACHINE = 5_000  # labels that a support vector machine can be fitted to in seconds


@dataclass(frozen=True)
class System:
    """One row of a comparison.

    Attributes:
        name: short.
        words: what it is.
        learn: from a task to a function from data (N, \\*shape) to classes (N,).
        augmented: whether it sees data that the recipe's moves have changed a little.
    """

    name: str
    words: str
    learn: Callable[[Task], Predictor]
    augmented: bool = False


def _label(task: Task) -> Categorical:
    return Categorical(task.classes)


def _trained(variant: Variant, task: Task, num_samples: int = 100, **options: Any) -> Predictor:
    _fit_on(variant, task, **options)

    def predict(x: Tensor) -> Tensor:
        parts = (variant.predict(part, num_samples=num_samples) for part in x.split(_CHUNK))
        return torch.cat([part.probs.argmax(-1).cpu() for part in parts])

    return predict


def _fit_on(variant: Variant, task: Task, **options: Any) -> None:
    recipe = task.recipe
    data = task.labelled if variant.labels == "all" else task.train
    settings: dict[str, Any] = {
        "epochs": recipe.epochs,
        "batch_size": recipe.batch_size,
        "lr": recipe.lr,
        "seed": task.seed,
        "precision": recipe.precision,
        "progress": "auto",
    }
    fit(variant, data, **(settings | options))


def _parts(task: Task, encoder: Network | None = None) -> dict[str, Any]:
    recipe = task.recipe
    return {
        "prior": StandardNormal(recipe.size),
        "likelihood": recipe.likelihood(task.shape),
        "encoder": recipe.encoder() if encoder is None else encoder,
        "decoder": None if recipe.decoder is None else recipe.decoder(),
    }


def _pixels(task: Task) -> Predictor:
    return _scikit(Logistic(standardise=True).make(), task.labelled.x, task.labelled.y)


def _spreading(task: Task) -> Predictor:
    from sklearn.decomposition import PCA
    from sklearn.pipeline import make_pipeline
    from sklearn.semi_supervised import LabelSpreading

    # neighbours of all data, found among a few directions: at 784 pixels in a fifth of the time
    fewer = PCA(min(64, math.prod(task.shape), len(task.train)), svd_solver="covariance_eigh")
    spreading = LabelSpreading(kernel="knn", n_neighbors=7, alpha=0.2, max_iter=200, tol=0.0)
    with warnings.catch_warnings():  # that it has not converged: data far from all labels hear of them late
        warnings.simplefilter("ignore")
        return _scikit(make_pipeline(fewer, spreading), task.train.x, task.train.y)


def _scikit(classifier: Any, x: Tensor, y: Tensor | None) -> Predictor:
    def flat(values: Tensor) -> np.ndarray:
        return values.flatten(1).cpu().numpy()

    assert y is not None
    classifier.fit(flat(x), y.cpu().numpy())
    return lambda values: torch.as_tensor(classifier.predict(flat(values)))


def _network(task: Task) -> Predictor:
    return _supervised(task, task.recipe.network())


def _supervised(task: Task, network: Network) -> Predictor:
    steps = math.ceil(len(task.labelled) / task.recipe.batch_size)
    epochs = max(task.recipe.epochs, math.ceil(_STEPS / steps))
    return _trained(Discriminative(_label(task), task.shape, network), task, epochs=epochs, lr=1e-3)


def _codes(task: Task) -> Predictor:
    return _trained(M1(_label(task), **_parts(task), classifier=Logistic()), task)


def _m1(task: Task) -> Predictor:
    if len(task.labelled) > _MACHINE:
        task = dataclasses.replace(task, train=labelled_subset(task.train, _MACHINE, seed=task.seed))
    variant = M1(_label(task), **_parts(task), classifier=SVM(), codes="sampled")
    return _trained(variant, task, num_samples=10)  # each a look at all support vectors


def _m2(task: Task) -> Predictor:
    return _trained(M2(task.classes, **_parts(task), classifier=task.recipe.network()), task)


def _moved(task: Task) -> Network:
    assert task.recipe.moves is not None
    return Augmented(task.recipe.network(), task.recipe.moves)


def _network_moved(task: Task) -> Predictor:
    return _supervised(task, _moved(task))


def _m2_moved(task: Task) -> Predictor:
    return _trained(M2(task.classes, **_parts(task), classifier=_moved(task)), task)


def _m1m2(task: Task) -> Predictor:
    m1 = VAE(**_parts(task))
    _fit_on(m1, task)
    alpha = Ramp(40.0, 4.0, share=0.8)
    stacked = M1M2(m1, _label(task), StandardNormal(task.recipe.size // 2), encoder=MLP([128]), alpha=alpha)
    return _trained(stacked, task)


def _pc(task: Task) -> Predictor:
    # here the encoder is what classifies
    parts = _parts(task, task.recipe.network())
    return _trained(PredictionConstrainedVAE(_label(task), **parts, multiplier=_multiplier(task)), task)


def _cpc(task: Task) -> Predictor:
    weight = _multiplier(task)
    late = Linear(
        0.0, weight / 2, epochs=task.recipe.epochs / 2
    )  # the reconstruction says something about the datum only after a while
    vae = ConsistencyConstrainedVAE(
        _label(task),
        **_parts(task, task.recipe.network()),
        multiplier=weight,
        consistency=late,
        aggregate=weight / 2,
    )
    return _trained(vae, task)


def _multiplier(task: Task) -> float:
    """A nat of a label must count against the hundreds of nats of a datum."""
    return math.prod(task.shape) / 4


_ALL = [
    System("pixels", "logistic regression on raw data", _pixels),
    System("network", "a network of the encoder's shape on raw data", _network),
    System("network+", "the network, with data augmentation", _network_moved, augmented=True),
    System("spreading", "label spreading on principal components of the data", _spreading),
    System("codes", "logistic regression on the codes of a VAE", _codes),
    System("M1", "M1: a support vector machine on sampled codes", _m1),
    System("PC", "prediction-constrained VAE", _pc),
    System("CPC", "consistency-constrained VAE", _cpc),
    System("M2", "M2", _m2),
    System("M2+", "M2, its classifier with data augmentation", _m2_moved, augmented=True),
    System("M1+M2", "M2 on the codes of a VAE", _m1m2),
]
SYSTEMS = {system.name: system for system in _ALL}
"""All systems by name, in the order of the table."""

"""Values of options that the data decide: what a variant's constructor requires and nobody typed."""

from __future__ import annotations

import inspect
import re
from typing import Any

from pyro_vae.cli.catalogue import KINDS, exported, kind_of
from pyro_vae.data import Dataset
from pyro_vae.errors import ConfigurationError
from pyro_vae.variants import Variant

__all__ = ["LIKELIHOODS", "SIZE", "check_possible", "part_defaults", "required", "runs_wanted"]

SIZE = 8
"""Latent dimensions where none are asked for."""

_LAYERS = [
    {"class_path": "pyro_vae.priors.ConditionalNormal", "init_args": {"size": 2 * SIZE}},
    {"class_path": "pyro_vae.priors.StandardNormal", "init_args": {"size": SIZE}},
]
"""The priors of codes in layers, the nearest to the data first."""

LIKELIHOODS = {"binary": "Bernoulli", "grey": "ContinuousBernoulli", "real": "Normal"}
"""By the kind of the data."""


def required(cls: type[Variant]) -> dict[str, str]:
    """The arguments that a constructor requires, with their annotations."""
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    return {p.name: str(p.annotation) for p in parameters if p.default is p.empty}


def runs_wanted(cls: type[Variant]) -> list[str]:
    """The arguments that are variants themselves; the command line takes the folders of their runs."""
    return [name for name, annotation in required(cls).items() if kind_of(annotation) == "variants"]


def check_possible(cls: type[Variant], dataset: Dataset, *, quadrants: bool = False) -> None:
    """Check that a variant can be made for a data set from words alone.

    Args:
        cls: the variant's class.
        dataset: that it is made for.
        quadrants: whether y of the data set is the rest of an image.

    Raises:
        ConfigurationError: when it needs labels that the data do not have, or parts that no option can give.
    """
    for name, annotation in required(cls).items():
        parts = {part for package, _ in KINDS.values() for part in exported(package)}
        if kind_of(annotation) is None and parts & set(re.findall(r"\w+", annotation)):
            raise ConfigurationError(
                f"{cls.__name__} cannot be made on the command line: its data and its {name} ({annotation}) have no "
                f"options; make it in Python, as in help(pyro_vae.{cls.__name__})"
            )
    outputs = [name for name, annotation in required(cls).items() if "Likelihood" in annotation]
    if quadrants and (cls.explains_data or not outputs):
        raise ConfigurationError(f"--quadrants: {cls.__name__} predicts no image; that is for StructuredOutputVAE")
    if not (quadrants or cls.explains_data) and "Label" not in "".join(required(cls).values()):
        raise ConfigurationError(
            f"{cls.__name__} predicts data from data: give --quadrants 1, 2 or 3, so many quadrants of an image to "
            f"predict the others from; for other data make it in Python, as in help(pyro_vae.{cls.__name__})"
        )
    if cls.labels != "none" and dataset.train.y is None:
        raise ConfigurationError(f"{cls.__name__} has labels in its story, and data set {dataset.name!r} has none")


def part_defaults(cls: type[Variant], dataset: Dataset, *, quadrants: bool = False) -> dict[str, Any]:
    """Values for the arguments that a constructor requires.

    Args:
        cls: the variant's class.
        dataset: that it is made for.
        quadrants: whether y of the data set is the rest of an image.

    Raises:
        ConfigurationError: for a variant of classes and data whose labels are real.
    """
    found: dict[str, Any] = {}
    for name, annotation in required(cls).items():
        wanted = kind_of(annotation)
        if wanted == "priors" and "Sequence" in annotation:
            found[name] = _LAYERS
        elif wanted == "conditional_priors":
            found[name] = {"class_path": "pyro_vae.priors.ConditionalNormal", "init_args": {"size": SIZE}}
        elif wanted == "priors":
            found[name] = {"class_path": "pyro_vae.priors.StandardNormal", "init_args": {"size": SIZE}}
        elif wanted == "likelihoods" and dataset.kind in LIKELIHOODS:
            found[name] = {"class_path": f"pyro_vae.likelihoods.{LIKELIHOODS[dataset.kind]}"}
        elif wanted == "labels":
            found[name] = _label(cls, annotation, dataset, quadrants)
        elif name == "size":
            found[name] = SIZE
    return found


def _label(cls: type[Variant], annotation: str, dataset: Dataset, quadrants: bool) -> Any:
    """Classes or properties, as the data set has them; of data that are to be predicted, their likelihood."""
    if quadrants and "Likelihood" in annotation:
        if dataset.kind not in LIKELIHOODS:
            raise ConfigurationError(
                f"--quadrants: no likelihood is known for {dataset.kind}, which {dataset.name!r} holds"
            )
        assert dataset.train.y is not None
        shape = list(dataset.train.y.shape[1:])
        return {"class_path": f"pyro_vae.likelihoods.{LIKELIHOODS[dataset.kind]}", "init_args": {"shape": shape}}
    if dataset.num_classes is not None:
        path, arguments = "pyro_vae.labels.Categorical", {"classes": dataset.num_classes}
        return dataset.num_classes if "int" in annotation else {"class_path": path, "init_args": arguments}
    assert dataset.train.y is not None
    if "Label" not in annotation:
        raise ConfigurationError(
            f"{cls.__name__} takes classes, and the labels of data set {dataset.name!r} are real; "
            f"for those there is SemiSupervisedVAE"
        )
    return {"class_path": "pyro_vae.labels.Normal", "init_args": {"size": dataset.train.y.shape[-1]}}

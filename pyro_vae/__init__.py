"""Pyro-VAE: the family of variational autoencoders as readable Pyro model/guide pairs.

Every part is a module whose ``forward`` returns a distribution: a prior returns p(z), a likelihood p(x | z), a
guide's posterior q(z | x).  The ELBO, the sampler, the estimators, the plots and the printed story all read those
same objects, so that a swapped part changes all of them together.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from pyro_vae import (
        classifiers,
        data,
        evaluation,
        guides,
        labels,
        likelihoods,
        models,
        networks,
        objectives,
        plots,
        posteriors,
        priors,
    )
    from pyro_vae.errors import CheckpointError, ConfigurationError, DataError, NonFiniteLossError
    from pyro_vae.evaluation.arviz import to_arviz
    from pyro_vae.stories import story  # type: ignore[no-redef]
    from pyro_vae.training import fit  # type: ignore[no-redef]
    from pyro_vae.variants import (
        M1,
        M1M2,
        M2,
        VAE,
        Autoencoder,
        ConditionalVAE,
        ConsistencyConstrainedVAE,
        Discriminative,
        HierarchicalVAE,
        PredictionConstrainedVAE,
        SemiSupervisedVAE,
        StructuredOutputVAE,
        Variant,
        load,
    )

__all__ = [
    "M1",
    "M1M2",
    "M2",
    "VAE",
    "Autoencoder",
    "CheckpointError",
    "ConditionalVAE",
    "ConfigurationError",
    "ConsistencyConstrainedVAE",
    "DataError",
    "Discriminative",
    "HierarchicalVAE",
    "NonFiniteLossError",
    "PredictionConstrainedVAE",
    "SemiSupervisedVAE",
    "StructuredOutputVAE",
    "Variant",
    "classifiers",
    "data",
    "evaluation",
    "fit",
    "guides",
    "labels",
    "likelihoods",
    "load",
    "models",
    "networks",
    "objectives",
    "plots",
    "posteriors",
    "priors",
    "story",
    "to_arviz",
]

# Everything is imported when it is first used: the command line answers `--help` without waiting for torch and
# Pyro, and what draws in matplotlib, ignite or scikit-learn costs nothing until it is wanted.
_HOMES = {
    "pyro_vae.errors": ["CheckpointError", "ConfigurationError", "DataError", "NonFiniteLossError"],
    "pyro_vae.evaluation.arviz": ["to_arviz"],
    "pyro_vae.stories": ["story"],
    "pyro_vae.training": ["fit"],
    "pyro_vae.variants": [
        "M1",
        "M1M2",
        "M2",
        "VAE",
        "Autoencoder",
        "ConditionalVAE",
        "ConsistencyConstrainedVAE",
        "Discriminative",
        "HierarchicalVAE",
        "PredictionConstrainedVAE",
        "SemiSupervisedVAE",
        "StructuredOutputVAE",
        "Variant",
        "load",
    ],
}
_SUBPACKAGES = ["report"]  # reachable as attributes, beside those in __all__


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            module = importlib.import_module(home)
            globals().update({each: getattr(module, each) for each in names})
            return globals()[name]
    if name in __all__ or name in _SUBPACKAGES:
        return importlib.import_module(f"pyro_vae.{name}")
    raise AttributeError(f"module 'pyro_vae' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

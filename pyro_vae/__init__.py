"""Pyro-VAE: the family of variational autoencoders as readable Pyro model/guide pairs.

Every part is a module whose ``forward`` returns a distribution: a prior returns p(z), a likelihood p(x | z), a
guide's posterior q(z | x).  The ELBO, the sampler, the estimators, the plots and the printed story all read those
same objects, so that a swapped part changes all of them together.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

from pyro_vae import likelihoods, networks, objectives, posteriors, priors
from pyro_vae.errors import CheckpointError, ConfigurationError, DataError, NonFiniteLossError
from pyro_vae.variants import VAE, Autoencoder, Variant, load

if TYPE_CHECKING:
    from pyro_vae import data, evaluation, plots
    from pyro_vae.stories import story
    from pyro_vae.training import fit

__all__ = [
    "VAE",
    "Autoencoder",
    "CheckpointError",
    "ConfigurationError",
    "DataError",
    "NonFiniteLossError",
    "Variant",
    "data",
    "evaluation",
    "fit",
    "likelihoods",
    "load",
    "networks",
    "objectives",
    "plots",
    "posteriors",
    "priors",
    "story",
]

# what draws in matplotlib, ignite or scikit-learn is imported when it is first used
_LAZY = {"fit": "pyro_vae.training", "story": "pyro_vae.stories"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        value = getattr(importlib.import_module(_LAZY[name]), name)
    elif name in __all__:
        return importlib.import_module(f"pyro_vae.{name}")
    else:
        raise AttributeError(f"module 'pyro_vae' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

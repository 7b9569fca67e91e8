"""Priors p(z): how codes are distributed before a datum is seen."""

from pyro_vae.priors.base import Prior
from pyro_vae.priors.conditional import (
    ConditionalBernoulli,
    ConditionalCategorical,
    ConditionalNormal,
    ConditionalPrior,
)
from pyro_vae.priors.discrete import Bernoulli, Categorical
from pyro_vae.priors.flow import Flow
from pyro_vae.priors.mixtures import MixtureOfNormals, Vamp
from pyro_vae.priors.simple import Fixed, Improper, Normal, StandardNormal

__all__ = [
    "Bernoulli",
    "Categorical",
    "ConditionalBernoulli",
    "ConditionalCategorical",
    "ConditionalNormal",
    "ConditionalPrior",
    "Fixed",
    "Flow",
    "Improper",
    "MixtureOfNormals",
    "Normal",
    "Prior",
    "StandardNormal",
    "Vamp",
]

"""Families of q(z | x): what an encoder's output means."""

from pyro_vae.posteriors.discrete import Bernoulli, Categorical
from pyro_vae.posteriors.families import Delta, FullCovarianceNormal, Normal, Posterior
from pyro_vae.posteriors.flow import Flow

__all__ = ["Bernoulli", "Categorical", "Delta", "Flow", "FullCovarianceNormal", "Normal", "Posterior"]

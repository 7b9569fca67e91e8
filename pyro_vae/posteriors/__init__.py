"""Families of q(z | x): what an encoder's output means."""

from pyro_vae.posteriors.families import Delta, FullCovarianceNormal, Normal, Posterior
from pyro_vae.posteriors.flow import Flow

__all__ = ["Delta", "Flow", "FullCovarianceNormal", "Normal", "Posterior"]

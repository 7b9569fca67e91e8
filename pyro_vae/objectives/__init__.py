"""Objectives beyond Pyro's own, and schedules for what changes during training."""

from pyro_vae.objectives.elbo import ELBO, Terms
from pyro_vae.objectives.hybrid import Hybrid
from pyro_vae.objectives.importance import IWAE, Renyi
from pyro_vae.objectives.kl import kl_per_dimension
from pyro_vae.objectives.schedules import Constant, Cosine, Cyclical, Geometric, Linear, Ramp, Schedule, Sigmoid

__all__ = [
    "ELBO",
    "IWAE",
    "Constant",
    "Cosine",
    "Cyclical",
    "Geometric",
    "Hybrid",
    "Linear",
    "Ramp",
    "Renyi",
    "Schedule",
    "Sigmoid",
    "Terms",
    "kl_per_dimension",
]

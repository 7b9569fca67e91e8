"""Objectives beyond Pyro's own, and schedules for what changes during training."""

from pyro_vae.objectives.elbo import ELBO, Terms
from pyro_vae.objectives.kl import kl_per_dimension
from pyro_vae.objectives.schedules import Constant, Cosine, Cyclical, Linear, Schedule, Sigmoid

__all__ = [
    "ELBO",
    "Constant",
    "Cosine",
    "Cyclical",
    "Linear",
    "Schedule",
    "Sigmoid",
    "Terms",
    "kl_per_dimension",
]

"""Objectives beyond Pyro's own, and schedules for what changes during training."""

from pyro_vae.objectives.account import Terms
from pyro_vae.objectives.baselines import LearnedBaseline
from pyro_vae.objectives.compiled import Compiled
from pyro_vae.objectives.elbo import ELBO
from pyro_vae.objectives.hybrid import Hybrid
from pyro_vae.objectives.importance import IWAE, Renyi
from pyro_vae.objectives.kl import kl_per_dimension
from pyro_vae.objectives.schedules import Constant, Cosine, Cyclical, Geometric, Linear, Ramp, Schedule, Sigmoid
from pyro_vae.objectives.score_function import VIMCO, ScoreFunction
from pyro_vae.objectives.wake_sleep import ReweightedWakeSleep, WakeSleep

__all__ = [
    "ELBO",
    "IWAE",
    "VIMCO",
    "Compiled",
    "Constant",
    "Cosine",
    "Cyclical",
    "Geometric",
    "Hybrid",
    "LearnedBaseline",
    "Linear",
    "Ramp",
    "Renyi",
    "ReweightedWakeSleep",
    "Schedule",
    "ScoreFunction",
    "Sigmoid",
    "Terms",
    "WakeSleep",
    "kl_per_dimension",
]

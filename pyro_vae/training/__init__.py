"""Training: Pyro's SVI in an Ignite engine."""

from pyro_vae.training.fit import fit
from pyro_vae.training.history import History

__all__ = ["History", "fit"]

"""The generative stories, one file each: Pyro programs that say how the data came about."""

from pyro_vae.models.vae import VAE

__all__ = ["VAE"]

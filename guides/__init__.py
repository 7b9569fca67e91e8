"""The amortised encoders that match the stories of :mod:`pyro_vae.models`, one file each."""

from pyro_vae.guides.vae import VAE

__all__ = ["VAE"]

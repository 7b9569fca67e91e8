"""The family: each variant puts a model, a guide and an objective together."""

from pyro_vae.variants.autoencoder import Autoencoder
from pyro_vae.variants.base import Variant, load
from pyro_vae.variants.vae import VAE

__all__ = ["VAE", "Autoencoder", "Variant", "load"]

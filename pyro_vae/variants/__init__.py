"""The family: each member a model and a guide with the objective that trains them."""

from pyro_vae.variants.autoencoder import Autoencoder
from pyro_vae.variants.base import Variant
from pyro_vae.variants.conditional import ConditionalVAE
from pyro_vae.variants.discriminative import Discriminative
from pyro_vae.variants.hierarchical import HierarchicalVAE
from pyro_vae.variants.m1 import M1
from pyro_vae.variants.prediction_constrained import ConsistencyConstrainedVAE, PredictionConstrainedVAE
from pyro_vae.variants.semi_supervised import M2, SemiSupervisedVAE
from pyro_vae.variants.stacked import M1M2
from pyro_vae.variants.stored import load
from pyro_vae.variants.structured_output import StructuredOutputVAE
from pyro_vae.variants.vae import VAE

__all__ = [
    "M1",
    "M1M2",
    "M2",
    "VAE",
    "Autoencoder",
    "ConditionalVAE",
    "ConsistencyConstrainedVAE",
    "Discriminative",
    "HierarchicalVAE",
    "PredictionConstrainedVAE",
    "SemiSupervisedVAE",
    "StructuredOutputVAE",
    "Variant",
    "load",
]

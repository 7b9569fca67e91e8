"""The generative stories, one file each: Pyro programs that say how the data came about."""

from pyro_vae.models.conditional import ConditionalVAE
from pyro_vae.models.discriminative import Discriminative
from pyro_vae.models.hierarchical import HierarchicalVAE
from pyro_vae.models.prediction_constrained import PredictionConstrainedVAE
from pyro_vae.models.semi_supervised import SemiSupervisedVAE
from pyro_vae.models.stacked import M1M2
from pyro_vae.models.structured_output import StructuredOutputVAE
from pyro_vae.models.vae import VAE

__all__ = [
    "M1M2",
    "VAE",
    "ConditionalVAE",
    "Discriminative",
    "HierarchicalVAE",
    "PredictionConstrainedVAE",
    "SemiSupervisedVAE",
    "StructuredOutputVAE",
]

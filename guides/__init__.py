"""The amortised encoders that match the stories of :mod:`pyro_vae.models`, one file each."""

from pyro_vae.guides.conditional import ConditionalVAE
from pyro_vae.guides.discriminative import Discriminative
from pyro_vae.guides.hierarchical import HierarchicalVAE
from pyro_vae.guides.prediction_constrained import ConsistencyConstrainedVAE, PredictionConstrainedVAE
from pyro_vae.guides.semi_supervised import SemiSupervisedVAE
from pyro_vae.guides.stacked import M1M2
from pyro_vae.guides.structured_output import StructuredOutputVAE
from pyro_vae.guides.vae import VAE

__all__ = [
    "M1M2",
    "VAE",
    "ConditionalVAE",
    "ConsistencyConstrainedVAE",
    "Discriminative",
    "HierarchicalVAE",
    "PredictionConstrainedVAE",
    "SemiSupervisedVAE",
    "StructuredOutputVAE",
]

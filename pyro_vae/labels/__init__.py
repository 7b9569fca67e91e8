"""Labels y as parts: what they are, how they are distributed, and how networks read and predict them."""

from pyro_vae.labels.base import Label, Predictor
from pyro_vae.labels.categorical import Categorical
from pyro_vae.labels.normal import Normal
from pyro_vae.labels.output import Output

__all__ = ["Categorical", "Label", "Normal", "Output", "Predictor"]

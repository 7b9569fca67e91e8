"""Networks as specifications: a size-free description that a part turns into layers.

The same specification can be given to an encoder and a decoder, and to several variants: weights are made only
when a part asks for them, for the shapes that it knows.
"""

from pyro_vae.networks.augmented import Augmented
from pyro_vae.networks.base import Network
from pyro_vae.networks.conv import Conv
from pyro_vae.networks.mlp import MLP
from pyro_vae.networks.on_codes import OnCodes

__all__ = ["MLP", "Augmented", "Conv", "Network", "OnCodes"]

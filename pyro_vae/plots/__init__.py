"""Pictures of a variant and of what it makes of data, each one call that returns a matplotlib figure.

Every plot reads the variant's own distributions (``generate``, ``encode``, ``decode``, the prior), so that a
swapped part changes the picture.  A figure shows itself in a notebook; elsewhere ``figure.savefig(path)``.  Neither
pyplot nor matplotlib's settings are touched.

Training: :func:`losses`.  Data: :func:`samples`, :func:`reconstructions`, :func:`interpolation`, :func:`images`.
Dimensions: :func:`manifold`, :func:`traversal`.  Codes: :func:`latent`, :func:`histograms`, :func:`kl`.
Labels: :func:`conditional_samples`, :func:`styles`.  Predictions: :func:`confusion`, :func:`reliability`,
:func:`properties`.  Systems: :func:`comparison`.
"""

from pyro_vae.plots.classes import conditional_samples, styles
from pyro_vae.plots.comparisons import comparison
from pyro_vae.plots.curves import kl, losses
from pyro_vae.plots.pictures import images, interpolation, reconstructions, samples
from pyro_vae.plots.planes import manifold, traversal
from pyro_vae.plots.predictions import confusion, properties, reliability
from pyro_vae.plots.scatters import histograms, latent
from pyro_vae.plots.style import Figure

__all__ = [
    "Figure",
    "comparison",
    "conditional_samples",
    "confusion",
    "histograms",
    "images",
    "interpolation",
    "kl",
    "latent",
    "losses",
    "manifold",
    "properties",
    "reconstructions",
    "reliability",
    "samples",
    "styles",
    "traversal",
]

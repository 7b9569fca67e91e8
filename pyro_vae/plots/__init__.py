"""Pictures of a variant and of what it makes of data, each one call that returns a matplotlib figure.

Every plot reads the variant's own distributions (``generate``, ``encode``, ``decode``, the prior), so that a
swapped part changes the picture.  A figure shows itself in a notebook; elsewhere ``figure.savefig(path)``.  Neither
pyplot nor matplotlib's settings are touched.

Training: :func:`losses`.  Data: :func:`samples`, :func:`reconstructions`, :func:`interpolation`, :func:`images`.
Dimensions: :func:`manifold`, :func:`traversal`.  Codes: :func:`latent`, :func:`histograms`, :func:`kl`.
Labels: :func:`conditional_samples`, :func:`styles`.  Predictions: :func:`confusion`, :func:`reliability`,
:func:`properties`.  Systems: :func:`comparison`.  Estimators: :func:`gradient_variance`.
Results of :mod:`pyro_vae.evaluation`: :func:`elbo_terms`, :func:`active_units`, :func:`mutual_information`,
:func:`aggregate_posterior`, :func:`pareto_k`, :func:`simulation_based_calibration`, :func:`amortisation_gap`,
:func:`posterior_predictive_check`.
"""

from pyro_vae.plots.checks import posterior_predictive_check
from pyro_vae.plots.classes import conditional_samples, styles
from pyro_vae.plots.codes import active_units, aggregate_posterior, elbo_terms, mutual_information
from pyro_vae.plots.comparisons import comparison
from pyro_vae.plots.curves import kl, losses
from pyro_vae.plots.gradients import gradient_variance
from pyro_vae.plots.guides import amortisation_gap, pareto_k, simulation_based_calibration
from pyro_vae.plots.pictures import images, interpolation, reconstructions, samples
from pyro_vae.plots.planes import manifold, traversal
from pyro_vae.plots.predictions import confusion, properties, reliability
from pyro_vae.plots.scatters import histograms, latent
from pyro_vae.plots.style import Figure

__all__ = [
    "Figure",
    "active_units",
    "aggregate_posterior",
    "amortisation_gap",
    "comparison",
    "conditional_samples",
    "confusion",
    "elbo_terms",
    "gradient_variance",
    "histograms",
    "images",
    "interpolation",
    "kl",
    "latent",
    "losses",
    "manifold",
    "mutual_information",
    "pareto_k",
    "posterior_predictive_check",
    "properties",
    "reconstructions",
    "reliability",
    "samples",
    "simulation_based_calibration",
    "styles",
    "traversal",
]

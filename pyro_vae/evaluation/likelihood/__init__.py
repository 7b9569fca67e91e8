"""log p(x) of a variant: estimates by sampling, bounds from both sides, and the exact value where there is one."""

from pyro_vae.evaluation.likelihood.annealed import AIS
from pyro_vae.evaluation.likelihood.bidirectional import Bounds, bidirectional
from pyro_vae.evaluation.likelihood.estimate import Estimate, Method, Weighted, at_once, check_density
from pyro_vae.evaluation.likelihood.exact import Exact
from pyro_vae.evaluation.likelihood.interface import log_likelihood, log_likelihood_per_class
from pyro_vae.evaluation.likelihood.sampled import Importance, Prior

__all__ = [
    "AIS",
    "Bounds",
    "Estimate",
    "Exact",
    "Importance",
    "Method",
    "Prior",
    "Weighted",
    "at_once",
    "bidirectional",
    "check_density",
    "log_likelihood",
    "log_likelihood_per_class",
]

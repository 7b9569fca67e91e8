"""Numbers about a trained variant: the ELBO term by term, log p(x), the KL of each dimension, its predictions."""

from pyro_vae.evaluation.elbo import ELBOTerms, SiteTerm, elbo, kl_per_dimension, site_terms
from pyro_vae.evaluation.likelihood import Estimate, log_likelihood
from pyro_vae.evaluation.prediction import (
    Calibration,
    Confusion,
    accuracy,
    calibration,
    confusion,
    mean_absolute_error,
)

__all__ = [
    "Calibration",
    "Confusion",
    "ELBOTerms",
    "Estimate",
    "SiteTerm",
    "accuracy",
    "calibration",
    "confusion",
    "elbo",
    "kl_per_dimension",
    "log_likelihood",
    "mean_absolute_error",
    "site_terms",
]

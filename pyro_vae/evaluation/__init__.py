"""Numbers about a trained variant: the ELBO term by term, log p(x), the KL of each dimension."""

from pyro_vae.evaluation.elbo import ELBOTerms, SiteTerm, elbo, kl_per_dimension, site_terms
from pyro_vae.evaluation.likelihood import Estimate, log_likelihood

__all__ = [
    "ELBOTerms",
    "Estimate",
    "SiteTerm",
    "elbo",
    "kl_per_dimension",
    "log_likelihood",
    "site_terms",
]

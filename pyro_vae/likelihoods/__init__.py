"""Likelihoods p(x | z): what kind of data x are, and how they scatter around what the decoder says."""

from pyro_vae.likelihoods.base import Likelihood
from pyro_vae.likelihoods.binary import Bernoulli, ContinuousBernoulli, UnnormalisedBernoulli
from pyro_vae.likelihoods.categorical import Categorical
from pyro_vae.likelihoods.real import Laplace, Normal

__all__ = [
    "Bernoulli",
    "Categorical",
    "ContinuousBernoulli",
    "Laplace",
    "Likelihood",
    "Normal",
    "UnnormalisedBernoulli",
]

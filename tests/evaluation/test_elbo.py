"""The ELBO of data, printed."""

import torch

import pyro_vae as pv
from pyro_vae import evaluation, likelihoods, priors
from pyro_vae.evaluation.elbo import ELBOTerms


def test_it_prints_averages_with_standard_errors():
    terms = ELBOTerms(torch.tensor([-3.0, -5.0]), torch.tensor([-2.0, -2.0]), torch.tensor([1.0, 3.0]))
    # standard deviations sqrt(2), 0, sqrt(2); over sqrt(2) data
    assert repr(terms) == "elbo -4.00 ± 1.00, reconstruction -2.00 ± 0.00, kl 2.00 ± 1.00 nats per datum (2 data)"


def test_a_single_datum_has_no_standard_error():
    vae = pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(5))
    assert "±" not in str(evaluation.elbo(vae, torch.zeros(1, 5)))

"""The variational autoencoder, and with ``beta`` and ``objective`` its nearest relatives."""

from __future__ import annotations

import torch
from pyro.infer.elbo import ELBO as PyroELBO

from pyro_vae import guides, models
from pyro_vae.likelihoods import Likelihood
from pyro_vae.networks import Network
from pyro_vae.objectives import Schedule
from pyro_vae.posteriors import Posterior
from pyro_vae.priors import Prior
from pyro_vae.variants.assembly import assembling, check_kinds, check_part, check_proposes, chosen
from pyro_vae.variants.base import Variant

__all__ = ["VAE"]


class VAE(Variant):
    """p(x, z) = p(z) p(x | z) with the amortised guide q(z | x).

    A beta-VAE is a VAE with ``beta=4``; KL annealing is ``beta=objectives.Linear(0, 1, epochs=10)``; free bits are
    ``objective=objectives.ELBO(free_bits=0.5)``.

    Args:
        prior: p(z); its size is the number of latent dimensions.
        likelihood: p(x | z); its shape is that of the data.
        posterior: the family of q(z | x); a diagonal normal if not given.
        encoder: network from x to the posterior's parameters; ``MLP([128])`` if not given.
        decoder: network from z to the likelihood's parameters; the encoder mirrored if not given.
        beta: weight of the KL, a number or a schedule over epochs.
        objective: one of Pyro's, or of :mod:`pyro_vae.objectives`; ``objectives.ELBO()`` if not given.

    Raises:
        ConfigurationError: when the parts do not fit together.

    Example:
        >>> import torch
        >>> import pyro_vae as pv
        >>> from pyro_vae import likelihoods, networks, priors
        >>> vae = pv.VAE(priors.StandardNormal(8), likelihoods.Bernoulli((1, 8, 8)), encoder=networks.MLP([64]))
        >>> vae.encode(torch.zeros(5, 1, 8, 8)).mean.shape, vae.generate(3).shape
        (torch.Size([5, 8]), torch.Size([3, 1, 8, 8]))

    References:
        Kingma & Welling, Auto-Encoding Variational Bayes, 2014 (https://arxiv.org/abs/1312.6114);
        Rezende, Mohamed & Wierstra, 2014 (https://arxiv.org/abs/1401.4082);
        Higgins et al., beta-VAE, 2017 (https://openreview.net/forum?id=Sy2fzU9gl)
    """

    def __init__(
        self,
        prior: Prior,
        likelihood: Likelihood,
        posterior: Posterior | None = None,
        encoder: Network | None = None,
        decoder: Network | None = None,
        beta: float | Schedule = 1.0,
        objective: PyroELBO | None = None,
    ) -> None:
        posterior, encoder, decoder = chosen(posterior, encoder, decoder)
        check_kinds(
            prior=(prior, Prior),
            likelihood=(likelihood, Likelihood),
        )
        prior = prior.own()
        with assembling(prior, posterior, likelihood):
            prior.meet(posterior, likelihood.shape)
            posterior.connect(encoder, likelihood.shape, shape=prior.shape, prepare=[likelihood.as_input])
            likelihood.connect(decoder, prior.shape)
            p = check_part("prior", prior, prior.shape)
            q = check_part("posterior", posterior, prior.shape, torch.zeros(2, *likelihood.shape))
            check_proposes(posterior, q, prior, p)
            check_part("likelihood", likelihood, likelihood.shape, torch.zeros(2, *prior.shape))
            super().__init__(models.VAE(prior, likelihood), guides.VAE(posterior), beta=beta, objective=objective)

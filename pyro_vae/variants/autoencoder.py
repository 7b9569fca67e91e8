"""The plain autoencoder, as what it is: a VAE without a prior and without uncertainty."""

from __future__ import annotations

from pyro_vae.likelihoods import Likelihood
from pyro_vae.networks import Network
from pyro_vae.posteriors import Delta
from pyro_vae.priors import Improper
from pyro_vae.variants.vae import VAE

__all__ = ["Autoencoder"]


class Autoencoder(VAE):
    """z = e(x), x ~ p(x | z): a code that is a point, trained on reconstruction alone.

    In the terms of the family: the prior is improper (every code as good as any other) and the guide is a delta, so
    that the ELBO is log p(x | z = e(x)).  There is no p(z) to draw from, and ``generate`` says so.

    Args:
        size: number of latent dimensions.
        likelihood: p(x | z); its shape is that of the data.
        encoder: network from x to z; ``MLP([128])`` if not given.
        decoder: network from z to the likelihood's parameters; the encoder mirrored if not given.

    Raises:
        ConfigurationError: when the parts do not fit together.

    Example:
        >>> import torch
        >>> import pyro_vae as pv
        >>> from pyro_vae import likelihoods
        >>> autoencoder = pv.Autoencoder(2, likelihoods.Normal((1, 8, 8), scale=1.0))
        >>> autoencoder.reconstruct(torch.zeros(5, 1, 8, 8)).shape
        torch.Size([5, 1, 8, 8])

    References:
        Hinton & Salakhutdinov, Reducing the Dimensionality of Data with Neural Networks, 2006
        (https://doi.org/10.1126/science.1127647)
    """

    def __init__(
        self,
        size: int,
        likelihood: Likelihood,
        encoder: Network | None = None,
        decoder: Network | None = None,
    ) -> None:
        super().__init__(Improper(size), likelihood, Delta(), encoder, decoder)

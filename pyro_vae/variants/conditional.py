"""The conditional variational autoencoder."""

from __future__ import annotations

import torch
from pyro.infer.elbo import ELBO as PyroELBO

from pyro_vae import guides, models
from pyro_vae.errors import ConfigurationError
from pyro_vae.labels import Label
from pyro_vae.likelihoods import Likelihood
from pyro_vae.networks import Network
from pyro_vae.objectives import Schedule
from pyro_vae.posteriors import Posterior
from pyro_vae.priors import Prior
from pyro_vae.variants.assembly import assembling, check_kinds, check_part, check_proposes, chosen
from pyro_vae.variants.base import Variant

__all__ = ["ConditionalVAE"]


class ConditionalVAE(Variant):
    """p(x, z | y) = p(z) p(x | z, y) with the guide q(z | x, y): a VAE that knows the label.

    What the label says the code need not say: z is left with the style, and ``generate(n, y=3)`` draws threes.

    Args:
        label: what y is, ``labels.Categorical(10)`` or ``labels.Normal(3)``.  Its distribution plays no part: y is
            given, the bound is one on log p(x | y).
        prior: p(z); its size is the number of latent dimensions.
        likelihood: p(x | z, y); its shape is that of the data.
        posterior: the family of q(z | x, y); a diagonal normal if not given.
        encoder: network from x and y to the posterior's parameters; ``MLP([128])`` if not given.
        decoder: network from z and y to the likelihood's parameters; the encoder mirrored if not given.
        beta: weight of the KL, a number or a schedule over epochs.
        objective: one of Pyro's, or of :mod:`pyro_vae.objectives`; ``objectives.ELBO()`` if not given.

    Raises:
        ConfigurationError: when the parts do not fit together.

    Example:
        >>> import torch
        >>> import pyro_vae as pv
        >>> from pyro_vae import labels, likelihoods, priors
        >>> cvae = pv.ConditionalVAE(labels.Categorical(10), priors.StandardNormal(4), likelihoods.Bernoulli((1, 8, 8)))
        >>> cvae.generate(5, y=3).shape
        torch.Size([5, 1, 8, 8])
        >>> cvae.encode(torch.zeros(2, 1, 8, 8), torch.tensor([0, 7])).mean.shape
        torch.Size([2, 4])

    References:
        Kingma, Rezende, Mohamed & Welling, 2014, with every label known (https://arxiv.org/abs/1406.5298);
        Sohn, Lee & Yan, 2015 (https://papers.nips.cc/paper/5775)
    """

    labels = "all"
    decodes_label = True

    def __init__(
        self,
        label: Label,
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
            label=(label, Label),
            prior=(prior, Prior),
            likelihood=(likelihood, Likelihood),
        )
        label, prior = label.own(), prior.own()
        with assembling(label, prior, likelihood, posterior):
            label.meet(drawn=False)
            connect_style(label, prior, likelihood, posterior, encoder, decoder)
            super().__init__(
                models.ConditionalVAE(prior, likelihood),
                guides.ConditionalVAE(posterior),
                label=label,
                beta=beta,
                objective=objective,
            )


def connect_style(
    label: Label, prior: Prior, likelihood: Likelihood, posterior: Posterior, encoder: Network, decoder: Network
) -> None:
    """Build the networks of p(x | z, y) and q(z | x, y).

    Raises:
        ConfigurationError: when the parts do not fit together.
    """
    if prior.reads_data:
        raise ConfigurationError(
            f"{prior!r} is a mixture of the guide's q(z | u) at pseudo-inputs u, and here q(z | x, y) wants a label "
            f"too; use priors.MixtureOfNormals({prior.size})"
        )
    prior.meet(posterior, likelihood.shape)
    posterior.connect(
        encoder,
        likelihood.shape,
        label.input_shape,
        shape=prior.shape,
        prepare=[likelihood.as_input, label.as_input],
    )
    likelihood.connect(decoder, prior.shape, label.input_shape, prepare=[None, label.as_input])
    x, y, z = torch.zeros(2, *likelihood.shape), label.example(2), torch.zeros(2, *prior.shape)
    p = check_part("prior", prior, prior.shape)
    q = check_part("posterior", posterior, prior.shape, x, y)
    check_proposes(posterior, q, prior, p)
    check_part("likelihood", likelihood, likelihood.shape, z, y)

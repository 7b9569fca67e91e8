"""Prediction of images and other things of many parts."""

from __future__ import annotations

from typing import Any

import torch
from pyro.distributions import TorchDistribution
from pyro.infer.elbo import ELBO as PyroELBO
from torch import Tensor

from pyro_vae import guides, models
from pyro_vae.errors import ConfigurationError, check_positive
from pyro_vae.labels import Output
from pyro_vae.likelihoods import Likelihood
from pyro_vae.networks import Network
from pyro_vae.objectives import Schedule
from pyro_vae.parts import Shape, as_shape
from pyro_vae.posteriors import Posterior
from pyro_vae.priors import ConditionalNormal
from pyro_vae.variants.assembly import assembling, check_kinds, check_part, check_proposes, chosen
from pyro_vae.variants.contexts import evaluating
from pyro_vae.variants.given import GivenData

__all__ = ["StructuredOutputVAE"]


class StructuredOutputVAE(GivenData):
    """p(y, z | x) = p(z | x) p(y | x, z) with the guide q(z | x, y): y is an image or a vector, x is given.

    A network that predicts y from x alone gives one blurred answer where several are possible; here each draw of
    z is an answer of its own.

    Args:
        prior: p(z | x), ``priors.ConditionalNormal(size)``.
        likelihood: p(y | x, z); its shape is that of y.
        shape: event shape of x.
        posterior: the family of q(z | x, y); a diagonal normal if not given.
        encoder: network from y and x to the parameters of q(z | x, y), and from x to those of p(z | x);
            ``MLP([128])`` if not given.
        decoder: network from z and x to the likelihood's parameters; the encoder mirrored if not given.
        beta: weight of the KL, a number or a schedule over epochs.
        objective: one of Pyro's, or of :mod:`pyro_vae.objectives`; ``objectives.ELBO()`` if not given.
            ``objectives.Hybrid(alpha)`` also trains z drawn from p(z | x), which is where predictions draw it.

    Raises:
        ConfigurationError: when the parts do not fit together.

    Example:
        >>> import torch
        >>> import pyro_vae as pv
        >>> from pyro_vae import likelihoods, priors
        >>> vae = pv.StructuredOutputVAE(priors.ConditionalNormal(4), likelihoods.Bernoulli(48), shape=16)
        >>> vae.predict(torch.zeros(5, 16)).sample().shape
        torch.Size([5, 48])

    References:
        Sohn, Lee & Yan, Learning Structured Output Representation using Deep Conditional Generative Models, 2015
        (https://papers.nips.cc/paper/5775); Doersch, Tutorial on Variational Autoencoders, 2016, section 3
        (https://arxiv.org/abs/1606.05908)
    """

    def __init__(
        self,
        prior: ConditionalNormal,
        likelihood: Likelihood,
        shape: Shape | int,
        posterior: Posterior | None = None,
        encoder: Network | None = None,
        decoder: Network | None = None,
        beta: float | Schedule = 1.0,
        objective: PyroELBO | None = None,
    ) -> None:
        posterior, encoder, decoder = chosen(posterior, encoder, decoder)
        check_kinds(
            prior=(prior, ConditionalNormal),
            likelihood=(likelihood, Likelihood),
        )
        given, code = as_shape(shape), prior.shape
        with assembling(prior, likelihood, posterior):
            prior.connect(encoder, given)
            posterior.connect(encoder, likelihood.shape, given, shape=code, prepare=[likelihood.as_input])
            likelihood.connect(decoder, code, given)
            x, y, z = torch.zeros(2, *given), torch.zeros(2, *likelihood.shape), torch.zeros(2, *code)
            p = check_part("prior", prior, code, x)
            q = check_part("posterior", posterior, code, y, x)
            check_proposes(posterior, q, prior, p)
            check_part("likelihood", likelihood, likelihood.shape, z, x)
            super().__init__(
                models.StructuredOutputVAE(prior, likelihood),
                guides.StructuredOutputVAE(posterior),
                label=Output(likelihood),
                beta=beta,
                objective=objective,
            )
        self._given(given)

    def code_prior(self) -> TorchDistribution:
        """Not possible without x: the prior of the code depends on it.

        Raises:
            ConfigurationError: always; says what to call.
        """
        raise ConfigurationError(f"{type(self).__name__} has no p(z), only p(z | x): model.prior(x)")

    def decode(self, z: Any, y: Any = None) -> TorchDistribution:
        """Not possible without x; see :meth:`answers` and :meth:`reconstruct`.

        Raises:
            ConfigurationError: always; says what to call.
        """
        raise ConfigurationError(f"{type(self).__name__} decodes z together with x: answers(x, n), or likelihood(z, x)")

    def answers(self, x: Any, n: int = 1) -> Tensor:
        """``n`` different answers to each datum: E[y | x, z] for z drawn from p(z | x); (n, N, \\*shape of y).

        Args:
            x: what is given, (N, \\*shape).
            n: how many.

        Raises:
            DataError: when the data do not fit.
        """
        x = self.as_data(x)
        check_positive("n, the number of answers,", n)
        with torch.no_grad(), evaluating(self):
            z = self.model.prior(x).sample((n,))  # type: ignore[union-attr, operator]
            return self.likelihood(z, x).mean

    def reconstruct(self, x: Any, y: Any = None, *, mean: bool = True) -> Tensor:
        """y (N, \\*shape of y) passed through code and back, x being known on both ways.

        Args:
            x: what is given, (N, \\*shape).
            y: what is to be reconstructed.
            mean: E[y | x, z] at the mean of q(z | x, y); with ``False`` draw both z and y.

        Raises:
            DataError: when the data do not fit.
        """
        return super().reconstruct(x, y, mean=mean)

    def _decoded(self, z: Tensor, x: Tensor, y: Tensor | None) -> TorchDistribution:
        with torch.no_grad(), evaluating(self):
            return self.likelihood(z, x)

    def predict(self, x: Any, *, num_samples: int = 100) -> TorchDistribution:
        """p(y | x) for data (N, \\*shape): a mixture of p(y | x, z) for draws of z from p(z | x).

        Args:
            x: what is given.
            num_samples: draws of z.

        Raises:
            DataError: when the data do not fit.
        """
        x = self.as_data(x)
        check_positive("num_samples", num_samples)
        assert self.label is not None
        with torch.no_grad(), evaluating(self):
            z = self.model.prior(x[:, None]).expand((len(x), num_samples)).sample()  # type: ignore[union-attr, operator]
            return self.label.average(self.likelihood(z, x[:, None]))

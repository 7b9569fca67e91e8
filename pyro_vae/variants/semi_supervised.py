"""Semi-supervised learning: labels that are known for some data, and latent for the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pyro.distributions import TorchDistribution
from pyro.infer.elbo import ELBO as PyroELBO
from torch import Tensor

from pyro_vae import guides, models
from pyro_vae.errors import DataError
from pyro_vae.labels import Categorical, Label
from pyro_vae.labels.categorical import as_classes
from pyro_vae.likelihoods import Likelihood
from pyro_vae.networks import Network
from pyro_vae.objectives import Ramp, Schedule
from pyro_vae.objectives.schedules import as_schedule
from pyro_vae.posteriors import Posterior
from pyro_vae.priors import Prior
from pyro_vae.program import labelled
from pyro_vae.variants.assembly import assembling, check_kinds, check_part, chosen
from pyro_vae.variants.base import Variant
from pyro_vae.variants.conditional import connect_style
from pyro_vae.variants.contexts import evaluating

__all__ = ["M2", "SemiSupervisedVAE"]


class SemiSupervisedVAE(Variant):
    """p(x, y, z) = p(y) p(z) p(x | z, y) with the guide q(y | x) q(z | x, y); y latent where it is missing.

    With ``labels.Categorical(K)`` this is M2 (:class:`M2`): a missing class is summed over exactly.  With
    ``labels.Normal(P)`` it is the model of Kang & Cho for P continuous properties: missing ones are drawn.  q(y | x)
    is the classifier, trained on known labels by the term alpha log q(y | x), and on all data by the bound.

    All weights are 1 here.  Where z can explain everything, y is left idle, or used for something else than the label;
    see :class:`M2` for weights that let y explain what it can before z does.  They help here too:
    ``beta=objectives.Ramp(10, 1)``, and for properties an ``alpha`` of some hundreds.

    Args:
        label: p(y), and what y is.
        prior: p(z); its size is the number of latent dimensions.
        likelihood: p(x | z, y); its shape is that of the data.
        posterior: the family of q(z | x, y); a diagonal normal if not given.
        encoder: network from x and y to the posterior's parameters; ``MLP([128])`` if not given.
        decoder: network from z and y to the likelihood's parameters; the encoder mirrored if not given.
        classifier: network from x to the parameters of q(y | x); like the encoder if not given.
        alpha: weight of log q(y | x) of a known label, a number or a schedule over epochs.
        beta: weight of the KL of z, a number or a schedule over epochs.
        objective: one of Pyro's, or of :mod:`pyro_vae.objectives`; ``objectives.ELBO()`` if not given.

    Raises:
        ConfigurationError: when the parts do not fit together.

    Example:
        >>> import torch
        >>> import pyro_vae as pv
        >>> from pyro_vae import labels, likelihoods, priors
        >>> vae = pv.SemiSupervisedVAE(labels.Normal(3), priors.StandardNormal(4), likelihoods.Bernoulli((1, 8, 8)))
        >>> vae.predict(torch.zeros(5, 1, 8, 8)).mean.shape
        torch.Size([5, 3])

    References:
        Kingma, Rezende, Mohamed & Welling, Semi-supervised Learning with Deep Generative Models, 2014
        (https://arxiv.org/abs/1406.5298); Kang & Cho, Conditional Molecular Design with Deep Generative Models, 2019
        (https://doi.org/10.1021/acs.jcim.8b00263)
    """

    labels = "some"
    decodes_label = True
    warmup = 100
    letters: ClassVar[Mapping[str, str]] = {"prediction": r"\alpha"}

    def __init__(
        self,
        label: Label,
        prior: Prior,
        likelihood: Likelihood,
        posterior: Posterior | None = None,
        encoder: Network | None = None,
        decoder: Network | None = None,
        classifier: Network | None = None,
        alpha: float | Schedule = 1.0,
        beta: float | Schedule = 1.0,
        objective: PyroELBO | None = None,
    ) -> None:
        posterior, encoder, decoder = chosen(posterior, encoder, decoder)
        classifier = encoder if classifier is None else classifier
        check_kinds(
            label=(label, Label),
            prior=(prior, Prior),
            likelihood=(likelihood, Likelihood),
            classifier=(classifier, Network),
        )
        label, prior = label.own(), prior.own()
        with assembling(label, prior, likelihood, posterior):
            label.meet(drawn=True)
            connect_style(label, prior, likelihood, posterior, encoder, decoder)
            predictor = label.predictor()
            predictor.connect(classifier, likelihood.shape, prepare=[likelihood.as_input])
            check_part("classifier", predictor, label.shape, torch.zeros(2, *likelihood.shape))
            # q(z | x, y) begins close to N(0, I): where z is expensive, a random start would drive it out for good
            if hasattr(posterior.network, "scale_output"):  # a network of the user's own need not have it
                posterior.network.scale_output(0.1)  # type: ignore[union-attr, operator]
            super().__init__(
                models.SemiSupervisedVAE(label, prior, likelihood),
                guides.SemiSupervisedVAE(predictor, posterior, label.infer),
                label=label,
                beta=beta,
                weights={"prediction": as_schedule(alpha, "alpha")},
                objective=objective,
            )

    def predict(self, x: Any, *, num_samples: int = 100) -> TorchDistribution:
        """q(y | x) for data (N, \\*shape).

        Args:
            x: data.
            num_samples: plays no part here: the prediction does not depend on a draw.

        Raises:
            DataError: when the data do not fit.
        """
        x = self.as_data(x)
        with torch.no_grad(), evaluating(self):
            return self.guide.classifier(x)  # type: ignore[union-attr, operator]

    def initialise(self, x: Tensor, y: Tensor | None = None) -> None:
        if y is None or not labelled(y).any():
            raise DataError(
                f"y: no label is known, so nothing tells {type(self).__name__} what y means; give some labels "
                f"(data.labelled_subset keeps some of a split's), or train a VAE with a MixtureOfNormals prior"
            )
        super().initialise(x, y)


class M2(SemiSupervisedVAE):
    """M2 of Kingma et al. (2014): classes y and style z make the datum; a missing class is summed over exactly.

    A :class:`SemiSupervisedVAE` with ``labels.Categorical(classes)``, and with weights that keep it from the failure
    that M2 is known for: z learns to explain everything, y becomes idle, and the classifier is left with the few
    labels that it memorises.  Here z is expensive at first (``beta`` falls from 10 to 1), so that y must explain what
    it can, and the known labels count for much while it is decided which class is which (``alpha`` falls from 40
    to 2).  Both arrive after four fifths of the training; in the end it is the plain bound that is trained.

    Args:
        classes: how many, or a ``labels.Categorical``, whose frequencies may be given or learned.
        prior: p(z); its size is the number of latent dimensions.
        likelihood: p(x | z, y); its shape is that of the data.
        posterior: the family of q(z | x, y); a diagonal normal if not given.
        encoder: network from x and y to the posterior's parameters; ``MLP([128])`` if not given.
        decoder: network from z and y to the likelihood's parameters; the encoder mirrored if not given.
        classifier: network from x to the parameters of q(y | x); like the encoder if not given.  With few labels
            dropout and batch norm help: ``MLP([500, 500], norm="batch", dropout=0.5)``.
        alpha: weight of log q(y | x) of a known label, a number or a schedule over epochs.
        beta: weight of the KL of z, a number or a schedule over epochs.
        objective: one of Pyro's, or of :mod:`pyro_vae.objectives`; ``objectives.ELBO()`` if not given.

    Raises:
        ConfigurationError: when the parts do not fit together.

    Example:
        >>> import pyro_vae as pv
        >>> from pyro_vae import data, likelihoods, priors
        >>> digits = data.load("digits")
        >>> m2 = pv.M2(10, priors.StandardNormal(8), likelihoods.ContinuousBernoulli(digits.shape))
        >>> history = pv.fit(m2, data.labelled_subset(digits.train, 100), epochs=2)
        >>> m2.predict(digits.test).probs.shape
        torch.Size([270, 10])

    References:
        Kingma, Rezende, Mohamed & Welling, 2014, section 3 (https://arxiv.org/abs/1406.5298)
    """

    def __init__(
        self,
        classes: int | Categorical,
        prior: Prior,
        likelihood: Likelihood,
        posterior: Posterior | None = None,
        encoder: Network | None = None,
        decoder: Network | None = None,
        classifier: Network | None = None,
        alpha: float | Schedule = Ramp(40.0, 2.0, share=0.8),
        beta: float | Schedule = Ramp(10.0, 1.0, share=0.8),
        objective: PyroELBO | None = None,
    ) -> None:
        label = as_classes(classes)
        check_kinds(classes=(label, Categorical))
        super().__init__(label, prior, likelihood, posterior, encoder, decoder, classifier, alpha, beta, objective)

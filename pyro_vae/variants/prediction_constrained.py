"""Variational autoencoders whose codes must predict the label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pyro.distributions import TorchDistribution
from pyro.infer.elbo import ELBO as PyroELBO
from torch import Tensor

from pyro_vae import guides, models
from pyro_vae.errors import ConfigurationError
from pyro_vae.labels import Categorical, Label
from pyro_vae.labels.categorical import as_classes
from pyro_vae.likelihoods import Likelihood
from pyro_vae.networks import MLP, Network
from pyro_vae.objectives import Schedule
from pyro_vae.objectives.schedules import as_schedule
from pyro_vae.posteriors import Posterior
from pyro_vae.priors import Prior
from pyro_vae.variants.assembly import assembling, check_kinds, check_part, check_proposes, chosen
from pyro_vae.variants.base import Variant
from pyro_vae.variants.contexts import evaluating

__all__ = ["ConsistencyConstrainedVAE", "PredictionConstrainedVAE"]


class PredictionConstrainedVAE(Variant):
    """p(x, y, z) = p(z) p(x | z) p(y | z) with the guide q(z | x): one code explains the datum and predicts its label.

    The objective is the bound with log p(y | z) weighed by lambda: the Lagrangian of "explain the data as well as you
    can, subject to predicting known labels well from q(z | x)".  Unlike in M2, the classifier cannot come loose from
    the code.

    Args:
        label: what y is; its predictor is p(y | z).
        prior: p(z); its size is the number of latent dimensions.
        likelihood: p(x | z); its shape is that of the data.
        posterior: the family of q(z | x); a diagonal normal if not given.
        encoder: network from x to the posterior's parameters; ``MLP([128])`` if not given.
        decoder: network from z to the likelihood's parameters; the encoder mirrored if not given.
        classifier: network from z to the parameters of p(y | z); linear if not given.
        multiplier: lambda, the weight of log p(y | z) of a known label, a number or a schedule over epochs.
        beta: weight of the KL, a number or a schedule over epochs.
        objective: one of Pyro's, or of :mod:`pyro_vae.objectives`; ``objectives.ELBO()`` if not given.

    Raises:
        ConfigurationError: when the parts do not fit together.

    Example:
        >>> import torch
        >>> import pyro_vae as pv
        >>> from pyro_vae import labels, likelihoods, priors
        >>> vae = pv.PredictionConstrainedVAE(
        ...     labels.Categorical(10), priors.StandardNormal(4), likelihoods.Bernoulli((1, 8, 8)), multiplier=50
        ... )
        >>> vae.predict(torch.zeros(5, 1, 8, 8)).probs.shape
        torch.Size([5, 10])

    References:
        Hope et al., Learning Consistent Deep Generative Models from Sparse Data via Prediction Constraints, 2020,
        section 3 (https://arxiv.org/abs/2012.06718); Hughes et al., Semi-Supervised Prediction-Constrained Topic
        Models, 2018 (https://proceedings.mlr.press/v84/hughes18a.html)
    """

    labels = "some"
    letters: ClassVar[Mapping[str, str]] = {"y": r"\lambda"}

    def __init__(
        self,
        label: Label,
        prior: Prior,
        likelihood: Likelihood,
        posterior: Posterior | None = None,
        encoder: Network | None = None,
        decoder: Network | None = None,
        classifier: Network | None = None,
        multiplier: float | Schedule = 10.0,
        beta: float | Schedule = 1.0,
        objective: PyroELBO | None = None,
    ) -> None:
        posterior, encoder, decoder = chosen(posterior, encoder, decoder)
        classifier = MLP([]) if classifier is None else classifier
        check_kinds(
            label=(label, Label),
            prior=(prior, Prior),
            likelihood=(likelihood, Likelihood),
            classifier=(classifier, Network),
        )
        label, prior = label.own(), prior.own()
        with assembling(label, prior, likelihood, posterior):
            label.meet(drawn=False)
            prior.meet(posterior, likelihood.shape)
            posterior.connect(encoder, likelihood.shape, shape=prior.shape, prepare=[likelihood.as_input])
            likelihood.connect(decoder, prior.shape)  # type: ignore[arg-type]
            predictor = label.predictor()
            predictor.connect(classifier, prior.shape)
            x, z = torch.zeros(2, *likelihood.shape), torch.zeros(2, *prior.shape)
            p = check_part("prior", prior, prior.shape)
            q = check_part("posterior", posterior, prior.shape, x)
            check_proposes(posterior, q, prior, p)
            check_part("likelihood", likelihood, likelihood.shape, z)
            check_part("classifier", predictor, label.shape, z)
            super().__init__(
                models.PredictionConstrainedVAE(prior, likelihood, predictor),
                guides.PredictionConstrainedVAE(posterior),
                label=label,
                beta=beta,
                weights={"y": as_schedule(multiplier, "multiplier")},
                objective=objective,
            )

    def completed(self, x: Tensor, y: Tensor | None) -> Tensor | None:
        return None  # the encoder never looks at labels

    def predict(self, x: Any, *, num_samples: int = 100) -> TorchDistribution:
        """E over q(z | x) of p(y | z), for data (N, \\*shape).

        Args:
            x: data.
            num_samples: draws of z.

        Raises:
            DataError: when the data do not fit.
        """
        x = self.as_data(x)
        posterior, predictor = self.guide.posterior, self.model.predictor  # type: ignore[union-attr]
        with torch.no_grad(), evaluating(self):
            return self._average(posterior(x), predictor, num_samples)  # type: ignore[operator]


class ConsistencyConstrainedVAE(PredictionConstrainedVAE):
    """A prediction-constrained VAE that must also agree with itself, on data with labels and without.

    Two more terms train it: ``consistency``, a datum that is decoded and encoded again must be predicted to have the
    same label, and ``aggregate``, the predictions on data without labels must be as frequent as the classes are.

    Args:
        label: classes, ``labels.Categorical(K)`` or K; p(y) are the frequencies that predictions must have.
        prior: p(z); its size is the number of latent dimensions.
        likelihood: p(x | z); its shape is that of the data.
        posterior: the family of q(z | x); a diagonal normal if not given.
        encoder: network from x to the posterior's parameters; ``MLP([128])`` if not given.
        decoder: network from z to the likelihood's parameters; the encoder mirrored if not given.
        classifier: network from z to the parameters of p(y | z); linear if not given.
        multiplier: lambda, the weight of log p(y | z) of a known label, a number or a schedule over epochs.
        consistency: weight of the agreement with the reconstruction, a number or a schedule over epochs.
        aggregate: weight of the agreement with the classes' frequencies, a number or a schedule over epochs.
        beta: weight of the KL, a number or a schedule over epochs.
        objective: one of Pyro's, or of :mod:`pyro_vae.objectives`; ``objectives.ELBO()`` if not given.

    Raises:
        ConfigurationError: when the parts do not fit together.

    References:
        Hope et al., 2020, sections 3.2 and 3.3 (https://arxiv.org/abs/2012.06718)
    """

    def __init__(
        self,
        label: int | Categorical,
        prior: Prior,
        likelihood: Likelihood,
        posterior: Posterior | None = None,
        encoder: Network | None = None,
        decoder: Network | None = None,
        classifier: Network | None = None,
        multiplier: float | Schedule = 10.0,
        consistency: float | Schedule = 1.0,
        aggregate: float | Schedule = 1.0,
        beta: float | Schedule = 1.0,
        objective: PyroELBO | None = None,
    ) -> None:
        label = as_classes(label)
        check_kinds(label=(label, Categorical))
        # before any part is taken
        weights = {
            "consistency": as_schedule(consistency, "consistency"),
            "aggregate": as_schedule(aggregate, "aggregate"),
        }
        posterior, encoder, decoder = chosen(posterior, encoder, decoder)
        check_kinds(prior=(prior, Prior), likelihood=(likelihood, Likelihood))
        label, prior = label.own(), prior.own()
        with assembling(label, prior, likelihood, posterior):
            super().__init__(
                label, prior, likelihood, posterior, encoder, decoder, classifier, multiplier, beta, objective
            )
            q = check_part("posterior", posterior, prior.shape, torch.zeros(2, *likelihood.shape))
            if not q.has_rsample:
                raise ConfigurationError(
                    f"posterior {posterior!r} has no draws that gradients pass through, and a datum that is decoded "
                    f"and encoded again needs one; give it gradient='straight_through'"
                )
        self.guide = guides.ConsistencyConstrainedVAE(
            self.guide.posterior,
            likelihood,
            self.model.predictor,
            label,  # type: ignore[union-attr, arg-type]
        )
        self.weigh(**weights)

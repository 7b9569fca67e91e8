"""M1+M2: the semi-supervised model on the codes of a VAE."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pyro.distributions import TorchDistribution
from pyro.infer.elbo import ELBO as PyroELBO
from torch import Tensor
from torch.distributions import constraints

from pyro_vae import guides, likelihoods, models
from pyro_vae.errors import ConfigurationError, DataError
from pyro_vae.labels import Label
from pyro_vae.labels.base import equal_mixture
from pyro_vae.networks import Network
from pyro_vae.objectives import Schedule
from pyro_vae.objectives.schedules import as_schedule
from pyro_vae.parts import Shape, support_of
from pyro_vae.posteriors import Posterior
from pyro_vae.priors import Prior
from pyro_vae.program import labelled
from pyro_vae.variants.assembly import assembling, check_kinds, check_part, chosen
from pyro_vae.variants.base import Variant
from pyro_vae.variants.conditional import connect_style
from pyro_vae.variants.contexts import evaluating
from pyro_vae.variants.vae import VAE

__all__ = ["M1M2"]


class M1M2(Variant):
    """p(y) p(z2) p(z1 | z2, y) p(x | z1): M2, whose data are the codes z1 of a trained VAE, drawn anew at each step.

    The parts of M1 are copied and stay as they are; what is trained is M2 on top of them.

    Args:
        m1: a VAE trained on all data, with labels or without.
        label: p(y), and what y is.
        prior: p(z2).
        posterior: the family of q(z2 | z1, y); a diagonal normal if not given.
        encoder: network from z1 and y to the posterior's parameters; ``MLP([128])`` if not given.
        decoder: network from z2 and y to p(z1 | z2, y); the encoder mirrored if not given.
        classifier: network from z1 to q(y | z1); like the encoder if not given.
        alpha: weight of log q(y | z1) of a known label, a number or a schedule over epochs.
        beta: weight of the KL of z2, a number or a schedule over epochs.
        objective: one of Pyro's, or of :mod:`pyro_vae.objectives`; ``objectives.ELBO()`` if not given.

    Raises:
        ConfigurationError: when the parts do not fit together.

    References:
        Kingma, Rezende, Mohamed & Welling, 2014, section 2.1, "stacked generative semi-supervised model"
        (https://arxiv.org/abs/1406.5298)
    """

    labels = "some"
    code = "z1"
    estimates_code_prior = True
    letters: ClassVar[Mapping[str, str]] = {"prediction": r"\alpha"}

    def __init__(
        self,
        m1: VAE,
        label: Label,
        prior: Prior,
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
            m1=(m1, VAE),
            label=(label, Label),
            prior=(prior, Prior),
            classifier=(classifier, Network),
        )
        # together, because the encoder prepares its input as the likelihood says
        likelihood, bottom = copy.deepcopy((m1.likelihood, m1.guide.posterior))  # type: ignore[union-attr]
        for part in (likelihood, bottom):  # m1 may be on a GPU since it was trained; this variant is not yet
            part.to("cpu", torch.get_default_dtype())
        middle = likelihoods.Normal(m1.latent_size, scale="predicted")
        codes = check_part("m1", bottom, m1.code_shape, torch.zeros(2, *likelihood.shape))
        if not isinstance(support_of(codes), type(constraints.real)):
            raise ConfigurationError(f"M1M2 explains codes that are real numbers, and those of {bottom!r} are discrete")
        label, prior = label.own(), prior.own()
        with assembling(label, prior, posterior):
            label.meet(drawn=True)
            connect_style(label, prior, middle, posterior, encoder, decoder)
            predictor = label.predictor()
            predictor.connect(classifier, middle.shape)
            check_part("classifier", predictor, label.shape, torch.zeros(2, *middle.shape))
            super().__init__(
                models.M1M2(label, prior, middle, likelihood),
                guides.M1M2(bottom, predictor, posterior, label.infer),
                label=label,
                latents=("z2",),
                beta=beta,
                weights={"prediction": as_schedule(alpha, "alpha")},
                objective=objective,
            )
        self.register_buffer("m1_was_trained", m1.initialised.clone())
        for part in (likelihood, bottom):
            part.requires_grad_(False)
        self.train(self.training)  # a model that was loaded comes in training mode

    @property
    def generates_from_label(self) -> bool:
        """Yes: through z1, though ``decode(z1)`` itself does not take y."""
        return True

    @property
    def code_shape(self) -> Shape:
        """Event shape of z1."""
        return self.model.middle.shape  # type: ignore[union-attr, return-value]

    def train(self, mode: bool = True) -> M1M2:
        super().train(mode)
        for part in (self.model.likelihood, self.guide.bottom):  # type: ignore[union-attr]
            part.train(False)  # what is not trained has no dropout, and its batch norms hold still
        return self

    def initialise(self, x: Tensor, y: Tensor | None = None) -> None:
        if not self.m1_was_trained:
            raise ConfigurationError("M1M2 builds on a trained M1: call pyro_vae.fit on it first, then make the M1M2")
        if y is None or not labelled(y).any():
            raise DataError("y: no label is known, so nothing tells M1M2 what y means; give some labels")
        self.meet_labels(y)
        self.model.middle.initialise(self.encode(x).sample())  # type: ignore[union-attr, operator]
        self.initialised.fill_(True)

    def code_prior(self, num_samples: int = 200) -> TorchDistribution:
        """p(z1) = E p(z1 | z2, y) over p(y) and p(z2), as the mixture of p(z1 | z2, y) for some draws of y and z2.

        Args:
            num_samples: how many.
        """
        assert self.label is not None
        model: Any = self.model
        with torch.no_grad(), evaluating(self):
            z2, y = (part().sample((num_samples,)) for part in (model.prior, self.label))
            return equal_mixture(model.middle(z2, y))

    def completed(self, x: Tensor, y: Tensor | None) -> Tensor | None:
        return None  # z1 is proposed without a look at labels

    def predict(self, x: Any, *, num_samples: int = 100) -> TorchDistribution:
        """E over q(z1 | x) of q(y | z1), for data (N, \\*shape).

        Args:
            x: data.
            num_samples: draws of z1.

        Raises:
            DataError: when the data do not fit.
        """
        x = self.as_data(x)
        guide: Any = self.guide
        with torch.no_grad(), evaluating(self):
            return self._average(guide.bottom(x), guide.classifier, num_samples)

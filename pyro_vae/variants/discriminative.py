"""A network that predicts, as the member of the family that has no latent."""

from __future__ import annotations

from typing import Any

import torch
from pyro.distributions import TorchDistribution
from pyro.infer.elbo import ELBO as PyroELBO

from pyro_vae import guides, models
from pyro_vae.labels import Label
from pyro_vae.likelihoods import Likelihood
from pyro_vae.networks import MLP, Network
from pyro_vae.parts import Shape, as_shape
from pyro_vae.variants.assembly import assembling, check_kinds, check_part
from pyro_vae.variants.contexts import evaluating
from pyro_vae.variants.given import GivenData, as_label

__all__ = ["Discriminative"]


class Discriminative(GivenData):
    """p(y | x) from one network: what a variational autoencoder that predicts y is to be measured against.

    Args:
        output: what y is: classes or properties (:mod:`pyro_vae.labels`), or an image or a vector, by its likelihood
            p(y | x) (the deterministic baseline of Sohn et al.).
        shape: event shape of x.
        network: from x to the parameters of p(y | x); ``MLP([128])`` if not given.
        objective: ``objectives.ELBO()`` if not given, which is log p(y | x) here.

    Raises:
        ConfigurationError: when the parts do not fit together.

    Example:
        >>> import pyro_vae as pv
        >>> from pyro_vae import data, labels, networks
        >>> digits = data.load("digits")
        >>> classifier = pv.Discriminative(labels.Categorical(10), digits.shape, networks.MLP([64]))
        >>> history = pv.fit(classifier, digits, epochs=2)
        >>> classifier.predict(digits.test).probs.shape
        torch.Size([270, 10])
    """

    has_code = False

    def __init__(
        self,
        output: Label | Likelihood,
        shape: Shape | int,
        network: Network | None = None,
        objective: PyroELBO | None = None,
    ) -> None:
        network = MLP() if network is None else network
        check_kinds(network=(network, Network))
        label: Any = as_label(output)
        check_kinds(output=(label, Label))
        input_shape = as_shape(shape)
        label = label.own()
        with assembling(label if isinstance(output, Label) else output):
            label.meet(drawn=False)
            predictor = label.predictor()
            predictor.connect(network, input_shape)
            check_part("output", predictor, label.shape, torch.zeros(2, *input_shape))
            super().__init__(
                models.Discriminative(predictor), guides.Discriminative(), label=label, objective=objective, latents=()
            )
        self._given(input_shape)

    @property
    def code_shape(self) -> Shape:
        """(0,): nothing is latent."""
        return (0,)

    def predict(self, x: Any, *, num_samples: int = 100) -> TorchDistribution:
        """p(y | x) for data (N, \\*shape).

        Args:
            x: data.
            num_samples: plays no part here: the prediction does not depend on a draw.

        Raises:
            DataError: when the data do not fit.
        """
        x = self.as_data(x)
        with torch.no_grad(), evaluating(self):
            return self.model.predictor(x)  # type: ignore[union-attr, operator]

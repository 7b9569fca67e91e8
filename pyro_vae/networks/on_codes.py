"""Networks that begin with the encoder of a trained VAE."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from pyro_vae.errors import ConfigurationError
from pyro_vae.networks.base import Network
from pyro_vae.parts import Shape

__all__ = ["OnCodes"]


class OnCodes(Network):
    """A network on the codes E[z | x] of a VAE, whose encoder is copied and trained on together with it.

    As ``classifier`` it lets data without labels choose what q(y | x) looks at: M1 where labels then change the
    encoder too.  With an untrained VAE it is the same network from random weights, to compare with.

    Args:
        vae: whose encoder to begin with, trained on all data; it stays as it is.
        network: from codes to the output.

    Raises:
        ConfigurationError: when ``vae`` has no encoder of x alone, or its posterior no mean in closed form (a flow), or
            ``network`` is no specification of a network.

    Example:
        >>> import pyro_vae as pv
        >>> from pyro_vae import data, labels, likelihoods, networks, priors
        >>> digits = data.load("digits")
        >>> vae = pv.VAE(priors.StandardNormal(8), likelihoods.ContinuousBernoulli(digits.shape))
        >>> history = pv.fit(vae, digits, epochs=2)  # all images
        >>> few = data.labelled_subset(digits.train, 100)
        >>> network = networks.OnCodes(vae, networks.MLP([64]))
        >>> classifier = pv.Discriminative(labels.Categorical(10), digits.shape, network)
        >>> history = pv.fit(classifier, few[few.labelled], epochs=2)

    References:
        Kingma, Rezende, Mohamed & Welling, 2014, section 2.1, on codes as features (https://arxiv.org/abs/1406.5298);
        Erhan et al., Why Does Unsupervised Pre-training Help Deep Learning?, 2010, on training on from there
        (https://jmlr.org/papers/v11/erhan10a.html)
    """

    prepares = True

    def __init__(self, vae: Any, network: Network) -> None:
        posterior = getattr(getattr(vae, "guide", None), "posterior", None)
        if getattr(posterior, "network", None) is None or getattr(vae, "decodes_label", False):
            raise ConfigurationError(
                f"vae must be a variant with an encoder q(z | x) of x alone, such as pv.VAE(...), got {vae!r}"
            )
        if not _has_mean(posterior):
            raise ConfigurationError(
                f"codes are means here, and {posterior!r} has none in closed form; take a vae with posteriors.Normal()"
            )
        if not isinstance(network, Network):
            raise ConfigurationError(f"network must be a specification such as networks.MLP([128]), got {network!r}")
        self.vae = vae
        self.network = network

    def build(self, *inputs: Shape, output: Shape) -> nn.Module:
        if inputs[0] != self.vae.shape:
            raise ConfigurationError(f"the encoder of OnCodes takes data of shape {self.vae.shape}, got {inputs[0]}")
        return _OnCodes(self.vae, self.network.build(self.vae.code_shape, *inputs[1:], output=output))

    def mirrored(self) -> Network:
        return self.network.mirrored()


@torch.no_grad()
def _has_mean(posterior: Any) -> bool:
    weight = next(posterior.network.parameters())
    parameters = weight.new_zeros(1, *posterior.parameter_shape(posterior.shape))
    try:
        posterior.distribution(parameters).mean  # noqa: B018
    except (NotImplementedError, AttributeError):
        return False
    return True


class _OnCodes(nn.Module):
    def __init__(self, vae: Any, network: nn.Module) -> None:
        super().__init__()
        posterior = vae.guide.posterior
        encoder = copy.deepcopy(posterior.network).requires_grad_(True)
        self.encoder = encoder.to("cpu", torch.get_default_dtype())  # the VAE may be on a GPU since it was trained
        self.network = network
        # in a list: what makes a distribution of the encoder's output is the VAE's, and its weights are no part of this
        self._posterior = [posterior]

    def forward(self, first: Tensor, *others: Tensor) -> Tensor:
        posterior = self._posterior[0]
        codes = posterior.distribution(self.encoder(*posterior.prepared(first)))
        return self.network(codes.mean, *others)

    def scale_output(self, factor: float) -> None:
        """Make what the input contributes to the output smaller or larger."""
        self.network.scale_output(factor)  # type: ignore[operator]

    def set_output(self, values: Tensor) -> None:
        """Make a zero input to the last layer give ``values``."""
        self.network.set_output(values)  # type: ignore[operator]

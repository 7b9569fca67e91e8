"""The hierarchical variational autoencoder: several layers of codes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from pyro.distributions import TorchDistribution
from pyro.infer.elbo import ELBO as PyroELBO

from pyro_vae import guides, models
from pyro_vae.errors import ConfigurationError
from pyro_vae.labels.base import equal_mixture
from pyro_vae.likelihoods import Likelihood
from pyro_vae.networks import MLP, Network
from pyro_vae.objectives import Schedule
from pyro_vae.parts import Shape
from pyro_vae.posteriors import Normal, Posterior
from pyro_vae.priors import ConditionalPrior, Prior
from pyro_vae.variants.assembly import assembling, check_kinds, check_part, check_proposes
from pyro_vae.variants.base import Variant
from pyro_vae.variants.contexts import evaluating

__all__ = ["HierarchicalVAE"]


class HierarchicalVAE(Variant):
    """p(x, z1, ..., zL) = p(zL) ... p(z1 | z2) p(x | z1) with the guide q(z1 | x) q(z2 | z1) ... q(zL | zL-1).

    The codes of one layer are explained by those of the next; ``z1`` is the nearest to the data.  With bits in every
    layer and linear networks it is a deep sigmoid belief network.

    The guide goes the opposite way from the model: the term of each layer but the last, log p(zl | zl+1) -
    log q(zl | zl-1), has no closed form and is sampled.

    Args:
        priors: of the layers, the nearest to the data first: p(z1 | z2), such as ``priors.ConditionalNormal(100)``, ...
            and last p(zL), such as ``priors.StandardNormal(50)``.
        likelihood: p(x | z1); its shape is that of the data.
        posteriors: the families of q(z1 | x), q(z2 | z1), ...; diagonal normals if not given.
        encoders: networks from x to z1, from z1 to z2, ...; ``MLP([128])`` if not given.
        decoders: networks from z1 to x, from z2 to z1, ..., in the same order; the encoders mirrored if not given.
        beta: weight of the terms of all codes, a number or a schedule over epochs.
        objective: one of Pyro's, or of :mod:`pyro_vae.objectives`; ``objectives.ELBO()`` if not given.

    Raises:
        ConfigurationError: when the parts do not fit together.

    Example:
        >>> import torch
        >>> import pyro_vae as pv
        >>> from pyro_vae import likelihoods, priors
        >>> vae = pv.HierarchicalVAE(
        ...     [priors.ConditionalNormal(8), priors.StandardNormal(4)], likelihoods.Bernoulli((1, 8, 8))
        ... )
        >>> vae.encode(torch.zeros(5, 1, 8, 8)).mean.shape, vae.generate(3).shape
        (torch.Size([5, 8]), torch.Size([3, 1, 8, 8]))

    References:
        Rezende, Mohamed & Wierstra, Stochastic Backpropagation and Approximate Inference in Deep Generative Models,
        2014 (https://arxiv.org/abs/1401.4082); Burda, Grosse & Salakhutdinov, 2016, section 5, with two stochastic
        layers (https://arxiv.org/abs/1509.00519); Mnih & Gregor, Neural Variational Inference and Learning in Belief
        Networks, 2014 (https://arxiv.org/abs/1402.0030)
    """

    code = "z1"

    def __init__(
        self,
        priors: Sequence[ConditionalPrior | Prior],
        likelihood: Likelihood,
        posteriors: Sequence[Posterior] | None = None,
        encoders: Sequence[Network] | None = None,
        decoders: Sequence[Network] | None = None,
        beta: float | Schedule = 1.0,
        objective: PyroELBO | None = None,
    ) -> None:
        check_kinds(priors=(priors, Sequence), likelihood=(likelihood, Likelihood))
        layers = len(priors)
        posteriors = _of_layers("posteriors", posteriors or [Normal() for _ in priors], Posterior, layers)
        encoders = _of_layers("encoders", encoders or [MLP()] * layers, Network, layers)
        _check_enumerated(posteriors)
        decoders = _of_layers("decoders", decoders or [e.mirrored() for e in encoders], Network, layers)
        *below, top = _checked_priors(priors)
        top = top.own()
        priors = [*below, top]
        shapes: list[Shape] = [prior.shape for prior in priors]
        with assembling(*priors, likelihood, *posteriors):
            top.meet(posteriors[-1], likelihood.shape)
            parts = [likelihood, *below]  # what each decoder belongs to
            for part, decoder, shape in zip(parts, decoders, shapes, strict=True):
                part.connect(decoder, shape)
            inputs = [likelihood.shape, *shapes]
            for layer, (posterior, encoder) in enumerate(zip(posteriors, encoders, strict=True)):
                prepare = [] if layer else [likelihood.as_input]
                posterior.connect(encoder, inputs[layer], shape=shapes[layer], prepare=prepare)
            check_part("likelihood", likelihood, likelihood.shape, torch.zeros(2, *shapes[0]))
            for layer, (prior, posterior) in enumerate(zip(priors, posteriors, strict=True)):
                above = () if prior is top else (torch.zeros(2, *shapes[layer + 1]),)
                p = check_part(f"priors[{layer}]", prior, shapes[layer], *above)
                q = check_part(f"posteriors[{layer}]", posterior, shapes[layer], torch.zeros(2, *inputs[layer]))
                check_proposes(posterior, q, prior, p)
            super().__init__(
                models.HierarchicalVAE(priors, likelihood),
                guides.HierarchicalVAE(posteriors),
                latents=tuple(f"z{layer}" for layer in range(1, layers + 1)),
                beta=beta,
                objective=objective,
            )

    @property
    def code_shape(self) -> Shape:
        """Event shape of z1."""
        return self.model.priors[0].shape  # type: ignore[union-attr, index, return-value]

    @property
    def estimates_code_prior(self) -> bool:  # type: ignore[override]
        """Of more than one layer."""
        return len(self.model.priors) > 1  # type: ignore[arg-type, union-attr]

    def code_prior(self, num_samples: int = 200) -> TorchDistribution:
        """p(z1) = E p(z1 | z2) over p(z2), as the mixture of p(z1 | z2) for some draws of z2.

        Of a single layer it is p(z1) itself; of more it has no closed form, and the mixture's density is an estimate,
        too low where the draws leave gaps.

        Args:
            num_samples: how many draws of z2.
        """
        *below, top = self.model.priors  # type: ignore[misc, union-attr]
        with torch.no_grad(), evaluating(self):
            if not below:
                return top()
            z: Any = top().sample((num_samples,))
            for prior in below[:0:-1]:
                z = prior(z).sample()
            return equal_mixture(below[0](z))


def _checked_priors(priors: Sequence[Any]) -> Sequence[Any]:
    """The priors of the layers: all are conditional but the last, which is not.

    Raises:
        ConfigurationError: naming the place of one that is of the wrong kind.
    """
    if not priors:
        raise ConfigurationError("priors are those of the layers, at least one, p(zL), such as StandardNormal(8)")
    last = len(priors) - 1
    check_kinds(**{f"priors[{place}]": (prior, ConditionalPrior) for place, prior in enumerate(priors[:-1])})
    check_kinds(**{f"priors[{last}], that of the last layer,": (priors[-1], Prior)})
    if last and priors[-1].reads_data:
        raise ConfigurationError(
            f"{priors[-1]!r} is a mixture of the guide's q(z | u) at pseudo-inputs u that are data, and here "
            f"q(z{last + 1} | u) reads the code z{last}; use priors.MixtureOfNormals({priors[-1].size})"
        )
    return priors


def _check_enumerated(posteriors: Sequence[Posterior]) -> None:
    """Check that no layer is drawn above one that is summed over.

    Its draws would differ between the values of the layer below, and so would that layer's own prior.

    Raises:
        ConfigurationError: naming the two.
    """
    for layer, (lower, upper) in enumerate(itertools.pairwise(posteriors), start=1):
        if lower.infer and not upper.infer:
            raise ConfigurationError(
                f"posteriors: z{layer} is summed over, {lower!r}, and z{layer + 1} above it is drawn, {upper!r}; sum "
                f"over z{layer + 1} too (enumerate=True), or draw z{layer}"
            )


def _of_layers(what: str, given: Any, kind: type, layers: int) -> list[Any]:
    """What was given for each layer, as a list.

    Raises:
        ConfigurationError: when there is not one for each, or it is of the wrong kind.
    """
    check_kinds(**{what: (given, Sequence)})
    if len(given) != layers:
        raise ConfigurationError(f"{what}: wanted one for each of the {layers} layers that have priors, got {given!r}")
    check_kinds(**{f"{what}[{place}]": (part, kind) for place, part in enumerate(given)})
    return list(given)

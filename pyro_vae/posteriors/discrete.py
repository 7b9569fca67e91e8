"""Posteriors over discrete codes, and where the gradient of their draws comes from."""

from __future__ import annotations

from typing import Any

from pyro.distributions import TorchDistribution
from torch import Tensor

from pyro_vae import discrete
from pyro_vae.errors import ConfigurationError, check_choice
from pyro_vae.parts import Shape, numel
from pyro_vae.posteriors.families import Posterior

__all__ = ["Bernoulli", "Categorical"]

_GRADIENTS = ("straight_through", "soft")
_MOST = 2**12
"""Up to so many codes can be summed over."""


class _Discrete(Posterior):
    """What posteriors over discrete codes share; the logits are the encoder's output."""

    def __init__(self, gradient: str | None = None, temperature: float = 0.5, enumerate: bool = False) -> None:
        super().__init__()
        self.gradient = None if gradient is None else check_choice("gradient", gradient, _GRADIENTS)
        if not temperature > 0:
            raise ConfigurationError(f"temperature must be a positive number, got {temperature!r}")
        if gradient is not None and enumerate:
            raise ConfigurationError(
                f"gradient={gradient!r} is one of draws, and enumerate=True sums over all codes; leave one of them out"
            )
        self.temperature = float(temperature)
        self.relaxed = gradient == "soft"
        if enumerate:
            self.infer = {"enumerate": "parallel"}

    def codes(self, shape: Shape) -> int:
        """How many different codes of event shape ``shape`` there are.

        Raises:
            ConfigurationError: for a shape that such codes cannot have.
        """
        raise NotImplementedError

    @property
    def values_at_once(self) -> int:
        """How many codes the networks see at once for each datum: all of them where they are summed over."""
        return self.codes(self.shape) if self.infer and self.shape is not None else 1

    def parameter_shape(self, shape: Shape) -> Shape:
        if (codes := self.codes(shape)) > _MOST and self.infer:
            raise ConfigurationError(
                f"posterior {self!r}: of shape {shape} there are {_many(codes)} codes, and at most {_MOST:,} can be "
                f"summed over; draw them, with gradient='straight_through' or an objective such as objectives.VIMCO(5)"
            )
        return shape

    @property
    def _relaxation(self) -> dict[str, Any]:
        if self.gradient is None:
            return {}
        return {"temperature": self.temperature, "soft": self.relaxed and self.training}

    def words(self) -> str:
        told = {
            None: "",
            "straight_through": f", with the gradient of draws relaxed at temperature {self.temperature:g}",
            "soft": f", relaxed at temperature {self.temperature:g} in training",
        }
        return f"{self._family()} with logits from the encoder{told[self.gradient]}"

    def _family(self) -> str:
        raise NotImplementedError


class Bernoulli(_Discrete):
    """q(z | x) = prod_d Bernoulli(z_d; sigmoid(f_d(x))), bits that are independent given x.

    A draw of bits has no gradient, and there are four ways to one.

    - ``gradient=None``: none.  The objective must do without: ``objectives.VIMCO``, ``objectives.ScoreFunction``,
      ``objectives.ReweightedWakeSleep``, or Pyro's ``TraceGraph_ELBO``.  With ``objectives.ELBO()`` training stops
      at once and says so.
    - ``"straight_through"``: the decoder sees bits, and the gradient is that of the continuous draw that was rounded
      to them, sigmoid((f_d(x) + logistic noise) / temperature).  Low variance, but **biased**: the decoder's slope is
      taken where it is not evaluated.  A low temperature has less bias and more variance.
    - ``"soft"``: in training the decoder sees the continuous draw itself, in evaluation bits.  The gradient is that of
      what training computes, but this is **no bound on log p(x)**: the decoder is trained on codes that the prior
      never draws.  A low temperature brings them close to bits.
    - ``enumerate=True``: the expectation is a sum over all 2^D codes, exact, with an exact gradient; for up to 12
      bits.

    The KL is that of the discrete distributions in all of them, exact where prior and posterior both factorise.  Where
    it is not (a hierarchy of codes), log q(z | x) and log p(z) are taken at the draws, continued linearly between 0
    and 1.

    Args:
        gradient: of draws: ``None``, ``"straight_through"`` or ``"soft"``.
        temperature: of the continuous draws of the last two.
        enumerate: whether all codes are summed over.

    Raises:
        ConfigurationError: for an unknown gradient, a temperature that is not positive, a gradient of draws where
            there are none; when it becomes part of a variant, for too many codes to sum over.

    Example:
        >>> import torch
        >>> import pyro_vae as pv
        >>> from pyro_vae import likelihoods, posteriors, priors
        >>> vae = pv.VAE(priors.Bernoulli(8), likelihoods.Bernoulli(5), posteriors.Bernoulli("straight_through"))
        >>> vae.encode(torch.zeros(2, 5)).sample().unique()
        tensor([0., 1.])

    References:
        Bengio, Leonard & Courville, Estimating or Propagating Gradients Through Stochastic Neurons, 2013, on straight
        through (https://arxiv.org/abs/1308.3432); Maddison, Mnih & Teh, The Concrete Distribution, 2017
        (https://arxiv.org/abs/1611.00712); Jang, Gu & Poole, 2017 (https://arxiv.org/abs/1611.01144)
    """

    def codes(self, shape: Shape) -> int:
        return 2 ** numel(shape)

    def distribution(self, parameters: Tensor) -> TorchDistribution:
        assert self.shape is not None
        return discrete.Vector(discrete.Bernoulli(parameters, **self._relaxation), len(self.shape))

    def _family(self) -> str:
        return "bits"

    def latex(self) -> str:
        return r"\mathrm{Bernoulli}(\sigma(f_\phi(x)))"


class Categorical(_Discrete):
    """q(z | x) = prod_d Cat(z_d; softmax(f_d(x))), one-hot vectors that are independent given x.

    Gradients come as in :class:`Bernoulli`; the continuous draws are Gumbel-softmax ones, softmax((f_d(x) + Gumbel
    noise) / temperature).  All codes can be summed over where there are at most 4,096, such as 3 variables of 10
    classes.

    Args:
        gradient: of draws: ``None``, ``"straight_through"`` or ``"soft"``.
        temperature: of the continuous draws of the last two.
        enumerate: whether all codes are summed over.

    Raises:
        ConfigurationError: as :class:`Bernoulli`.

    Example:
        >>> import torch
        >>> import pyro_vae as pv
        >>> from pyro_vae import evaluation, likelihoods, posteriors, priors
        >>> vae = pv.VAE(
        ...     priors.Categorical(1, classes=10), likelihoods.Bernoulli(5), posteriors.Categorical(enumerate=True)
        ... )
        >>> evaluation.log_likelihood(vae, torch.zeros(2, 5), num_samples=1).shape  # exact: a sum over ten codes
        torch.Size([2])

    References:
        Jang, Gu & Poole, Categorical Reparameterization with Gumbel-Softmax, 2017
        (https://arxiv.org/abs/1611.01144); Maddison, Mnih & Teh, 2017 (https://arxiv.org/abs/1611.00712)
    """

    def codes(self, shape: Shape) -> int:
        if len(shape) != 2:
            raise ConfigurationError(
                f"posterior {self!r} is over one-hot codes, and the prior's codes have shape {shape}; it wants "
                f"priors.Categorical(size, classes)"
            )
        return shape[1] ** shape[0]

    def distribution(self, parameters: Tensor) -> TorchDistribution:
        return discrete.Vector(discrete.OneHotCategorical(parameters, **self._relaxation), 1)

    def _family(self) -> str:
        return "classes"

    def latex(self) -> str:
        return r"\mathrm{Cat}(\mathrm{softmax}(f_\phi(x)))"


def _many(number: int) -> str:
    """A number of any size, short."""
    return f"{number:,}" if number < 1e9 else f"about 10^{len(str(number)) - 1}"

"""The bound mixed with what happens when predictions are made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyro import poutine
from torch import Tensor

from pyro_vae.errors import ConfigurationError
from pyro_vae.objectives.elbo import ELBO
from pyro_vae.objectives.enumeration import log_density
from pyro_vae.program import sample_sites

__all__ = ["Hybrid"]


class Hybrid(ELBO):
    """alpha ELBO + (1 - alpha) E_p(z | x)[log p(y | x, z)]: the bound, and the fit when z comes from the prior.

    The bound trains the decoder on codes of the guide, which has seen y; predictions draw codes from p(z | x), which
    has not.  The second term, the objective of the Gaussian stochastic network, trains for that: it pays where
    predictions are made from few draws, and costs log p(y | x) where they are made from many.  With alpha 0 the guide
    is not trained, so estimates that draw from it (importance sampling) say nothing: use ``predict(x).log_prob(y)``.

    Args:
        alpha: share of the bound, between 0 and 1.
        num_particles: draws per datum, vectorised, from the guide and from the prior.

    Raises:
        ConfigurationError: for an alpha outside [0, 1].

    References:
        Sohn, Lee & Yan, 2015, equation 7 (https://papers.nips.cc/paper/5775)
    """

    def __init__(self, alpha: float = 0.5, num_particles: int = 1) -> None:
        if not 0 <= alpha <= 1:
            raise ConfigurationError(f"alpha of Hybrid is a share between 0 and 1, got {alpha!r}")
        super().__init__(num_particles=num_particles)
        self.alpha = float(alpha)

    @property
    def target(self) -> str:
        return repr(self)

    def _minus_objective(self, model: Any, guide: Any, arguments: tuple[Any, ...]) -> Tensor:
        bound = super()._minus_objective(model, guide, arguments)
        if self.num_particles > 1:
            model = self._vectorized_num_particles(model)
        trace = poutine.trace(model).get_trace(*arguments)
        fits = (site["scale"] * log_density(site).sum() for site in sample_sites(trace) if site["is_observed"])
        return self.alpha * bound - (1 - self.alpha) * sum(fits) / self.num_particles

    def formula(self, likelihood: str, divergences: Sequence[tuple[str, str]]) -> str:
        bound = super().formula(likelihood, divergences)
        inside = likelihood[likelihood.find("[") : likelihood.rfind("]") + 1] or f"[{likelihood}]"
        terms = [(self.alpha, rf"({bound})"), (1 - self.alpha, rf"\mathbb{{E}}_{{p(z \mid x)}}{inside}")]
        return " + ".join((rf"{weight:g}\," if weight != 1 else "") + term for weight, term in terms if weight)

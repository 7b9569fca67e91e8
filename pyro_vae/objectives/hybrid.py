"""The bound mixed with what happens when predictions are made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pyro import poutine
from pyro.distributions.util import scale_and_mask
from torch import Tensor, nn

from pyro_vae.errors import ConfigurationError
from pyro_vae.objectives.elbo import ELBO, family_name
from pyro_vae.objectives.enumeration import log_density
from pyro_vae.parts import Shape
from pyro_vae.program import sample_sites

__all__ = ["Hybrid"]


class Hybrid(ELBO):
    """alpha ELBO + (1 - alpha) E_p(z | x)[log p(y | x, z)]: the bound, and the fit when z comes from the prior.

    For variants that explain y from x, such as :class:`pyro_vae.StructuredOutputVAE`.

    The bound trains the decoder on codes of the guide, which has seen y; predictions draw codes from p(z | x), which
    has not.  The second term, the objective of the Gaussian stochastic network, trains for that: it pays where
    predictions are made from few draws, and costs log p(y | x) where they are made from many.  With alpha 0 the guide
    is not trained, so estimates that draw from it (importance sampling) say nothing: use ``predict(x).log_prob(y)``.

    Args:
        alpha: share of the bound, between 0 and 1.
        num_particles: draws per datum, vectorised, from the guide and from the prior.

    Raises:
        ConfigurationError: for an alpha outside [0, 1]; for a variant that explains x; when training starts, for a
            prior whose draws have no gradient.

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

    def connect(self, shape: Shape, prepare: Callable[[Tensor], Tensor] | None = None) -> nn.Module | None:
        if prepare is not None:
            raise ConfigurationError(
                f"{self!r} is for variants that explain y from x, such as StructuredOutputVAE: where the story "
                f"explains x, codes drawn from the prior say nothing of a datum; use objectives.ELBO()"
            )
        return None

    def _minus_objective(self, model: Any, guide: Any, arguments: tuple[Any, ...]) -> Tensor:
        bound = super()._minus_objective(model, guide, arguments)
        if self.num_particles > 1:
            model = self._vectorized_num_particles(model)
        trace = poutine.trace(model).get_trace(*arguments)
        fit: Any = 0.0
        for site in sample_sites(trace):
            if site["is_observed"]:
                fit = fit + scale_and_mask(log_density(site), site["scale"], site["mask"]).sum()
            elif not site["fn"].has_rsample:
                raise ConfigurationError(
                    f"site {site['name']!r}: {family_name(site['fn'])} cannot be reparametrised, so Hybrid has no "
                    f"gradient for the model's prior; use ConditionalNormal, or objectives.ELBO()"
                )
        loss = self.alpha * bound - (1 - self.alpha) * fit / self.num_particles
        assert self.terms is not None
        self.terms.bound = -loss.detach()
        return loss

    def formula(self, likelihood: str, divergences: Sequence[tuple[str, str]]) -> str:
        bound = super().formula(likelihood, divergences)
        inside = likelihood[likelihood.find("[") : likelihood.rfind("]") + 1] or f"[{likelihood}]"
        terms = [(self.alpha, rf"({bound})"), (1 - self.alpha, rf"\mathbb{{E}}_{{p(z \mid x)}}{inside}")]
        return " + ".join((rf"{weight:g}\," if weight != 1 else "") + term for weight, term in terms if weight)

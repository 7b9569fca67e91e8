"""Estimates of p(x) as the mean of weights of independent draws."""

from __future__ import annotations

from typing import Any

from pyro import poutine
from pyro.distributions import Unit
from torch import Tensor

from pyro_vae.evaluation.elbo import repeated, traces
from pyro_vae.evaluation.joint import log_joint, summed_out
from pyro_vae.evaluation.likelihood.estimate import Weighted
from pyro_vae.evaluation.progress import Advance
from pyro_vae.objectives.enumeration import is_enumerated, log_density
from pyro_vae.program import sample_sites
from pyro_vae.variants.base import Variant

__all__ = ["Importance", "Prior"]


class Importance(Weighted):
    """Importance sampling from the guide: p(x) = E_q[p(x, z) / q(z | x)].

    What the guide enumerates, such as a missing class, is summed over inside the weight.

    References:
        Burda, Grosse & Salakhutdinov, Importance Weighted Autoencoders, 2016, equation 8
        (https://arxiv.org/abs/1509.00519)
    """

    def log_weights(self, variant: Variant, x: Tensor, y: Tensor | None, num_samples: int, advance: Advance) -> Tensor:
        guide_trace, model_trace = traces(variant, x, y, num_samples)
        log_q: Any = 0.0
        for site in sample_sites(guide_trace):
            # enumerated values are no draws: p(x) sums over them with the weight 1
            if not isinstance(site["fn"], Unit) and not is_enumerated(site):
                log_q = log_q + log_density(site)
        advance(num_samples * len(x))
        return summed_out(log_joint(model_trace) - log_q)


class Prior(Weighted):
    """Direct Monte Carlo: p(x) = E_p(z)[p(x | z)], with draws that know nothing of the datum.

    The number of draws that it needs grows exponentially with the number of latent dimensions.
    """

    reads_guide = False

    def log_weights(self, variant: Variant, x: Tensor, y: Tensor | None, num_samples: int, advance: Advance) -> Tensor:
        trace = poutine.trace(repeated(variant.model, num_samples)).get_trace(*variant.program_arguments(x, y))
        advance(num_samples * len(x))
        return log_joint(trace, observed_only=True)

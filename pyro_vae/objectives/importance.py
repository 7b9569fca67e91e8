"""Bounds on log p(x) from several draws that are weighed against each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from pyro.distributions import Unit
from torch import Tensor

from pyro_vae.errors import ConfigurationError, check_choice
from pyro_vae.objectives.account import Account
from pyro_vae.objectives.elbo import ELBO
from pyro_vae.objectives.enumeration import enumerated_traces
from pyro_vae.objectives.gates import Gate, drop_score, put_gates, set_ratios
from pyro_vae.objectives.rerun import random_state
from pyro_vae.objectives.weights import log_weights
from pyro_vae.program import sample_sites

__all__ = ["IWAE", "Renyi", "renyi_formula"]

_GRADIENTS = {
    "reparametrised": "",
    "stl": "the guide's gradient leaves out the score of q (sticking the landing)",
    "dreg": "the guide's gradient is doubly reparametrised: without the score of q, and unbiased",
}


class Renyi(ELBO):
    """E_q[log((1/K) sum_k w_k^(1 - alpha)) / (1 - alpha)] with w_k = p(x, z_k) / q(z_k | x), z_k ~ q(z | x).

    Of each datum: K draws of its latents are weighed against each other, never data against data.  A lower bound on
    log p(x) for any alpha >= 0; ``alpha=0`` is :class:`IWAE`, ``alpha=1`` the ELBO.  The smaller alpha, the higher the
    bound, and for alpha < 1 the larger K too (for alpha > 1 it falls with K).  A negative alpha may exceed log p(x).

    **Gradients.**  That of the model's parameters is the bound's own.  For those of the guide there are

    - ``"reparametrised"``: the bound's own, through z = z(phi, noise).  Its signal-to-noise ratio falls as K grows
      (Rainforth et al. 2018).
    - ``"stl"``, sticking the landing: without the score, the derivative of log q(z | x) at a fixed z.  Zero for
      every draw where q is the posterior.  Unbiased for one draw and for alpha = 1, biased otherwise.
    - ``"dreg"``, doubly reparametrised: without the score, each draw's share of the gradient v_k, the normalised
      w_k^(1 - alpha), replaced by v_k (alpha + (1 - alpha) v_k).  Unbiased, zero where q is the posterior, and with a
      signal-to-noise ratio that grows like the root of K while the bound is loose; where it is tight nothing is left
      to gain.  (Tucker et al. have alpha = 0; the same argument gives the others.)

    The last two run the guide a second time, once for each datum and not for each draw, which is little beside K
    decoders.  With ``posteriors.Flow`` it is much: scoring draws anew takes as many passes as z has dimensions (3.5
    times the step at 16 dimensions and K = 50).  Parameters that the model shares with the guide, such as the encoder
    that a VampPrior reads, keep the model's gradient and get the guide's.

    **Enumerated sites** of the guide, such as a missing class, are summed over inside the weight: w_k =
    sum_y p(x, y, z_k) / q(z_k | x, y).  The bound then does not depend on q(y | x): without labels the classifier of
    M2 is trained by nothing but the factor ``prediction``, on the data that have labels; and with alpha = 1 it lies
    above the ELBO, which q(y | x) is part of.

    **Weights and factors.**  A weight beta multiplies the latent terms inside log w:
    log w = log p(x | z) + beta (log p(z) - log q(z | x)), no bound unless beta is 1.  ``pyro.factor`` adds its term,
    averaged over the draws, outside the logarithm.  After each evaluation ``terms`` holds the reconstruction and the
    KL of the ELBO on the same draws, unweighted, and ``terms.bound`` the bound.

    Args:
        alpha: the order.
        num_particles: K, draws from the guide per datum, vectorised.
        gradient: ``"reparametrised"``, ``"stl"`` or ``"dreg"``.

    Raises:
        ConfigurationError: for an alpha that is not finite, or an unknown gradient; when training starts, for a guide
            without a density or that cannot be reparametrised, latents that several data share, and with ``"dreg"``
            for factors of the model, and for several latents of which not all have the same weight beta, or not all
            are drawn for each enumerated value.

    References:
        Li & Turner, Renyi Divergence Variational Inference, 2016, equation 9 (https://arxiv.org/abs/1602.02311);
        Roeder, Wu & Duvenaud, Sticking the Landing, 2017 (https://arxiv.org/abs/1703.09194); Tucker et al., Doubly
        Reparameterized Gradient Estimators for Monte Carlo Objectives, 2019, equation 8
        (https://arxiv.org/abs/1810.04152); Rainforth et al., Tighter Variational Bounds are Not Necessarily Better,
        2018 (https://arxiv.org/abs/1802.04537)
    """

    weighs_draws = True
    """Whether draws of one datum are weighed against each other, so that the objective is no sum of terms."""

    summed = "inside w: how the guide proposes it plays no part"
    """How enumerated sites are summed over."""

    def __init__(self, alpha: float, num_particles: int = 5, gradient: str = "reparametrised") -> None:
        super().__init__(num_particles)
        if not math.isfinite(alpha):
            raise ConfigurationError(f"alpha of a Renyi bound is a finite number, got {alpha!r}")
        self.alpha = float(alpha)
        self.gradient = check_choice("gradient", gradient, _GRADIENTS)

    @property
    def target(self) -> str:
        bound = f"Renyi bound of order {self.alpha:g}" if self.alpha else "IWAE bound"
        return f"{bound}, K = {self.num_particles}"

    @property
    def notes(self) -> list[str]:
        return [_GRADIENTS[self.gradient]] * (self.gradient != "reparametrised")

    # -- the objective

    def _minus_objective(self, model: Any, guide: Any, arguments: tuple[Any, ...]) -> Tensor:
        drops = self.gradient != "reparametrised" and torch.is_grad_enabled()
        repeat = random_state(guide, arguments) if drops else None
        if self.num_particles > 1:
            model, guide = self._vectorized_num_particles(model), self._vectorized_num_particles(guide)
        gates: list[Gate] = []

        def prepare(guide_trace: Any) -> None:
            if repeat is not None:
                drop_score(guide, guide_trace, arguments, self.max_plate_nesting, repeat)
                gates.extend(put_gates(guide_trace) if self.gradient == "dreg" else [])

        traces = enumerated_traces(model, guide, arguments, self.max_plate_nesting, prepare)
        bound: Any = 0.0
        for group, weights in log_weights(*traces, self.max_plate_nesting).items():
            log_w = weights.summed(self.num_particles)
            bound = bound + weights.share * self._bound(log_w).sum()
            set_ratios([gate for gate in gates if gate.group == group], weights, self._ratios(log_w.detach()))
        factors = self._factors(*traces, doubly=bool(gates))
        self._report(traces, bound)
        return -(bound + factors)

    def _report(self, traces: tuple[Any, Any], bound: Any) -> None:
        """Set the terms; last of all, for what is computed here stays in the traces, without gradients."""
        with torch.no_grad():
            self.terms = self._account(*traces).terms(self.num_particles)
        self.terms.bound = torch.as_tensor(bound).detach()

    def _bound(self, log_w: Tensor) -> Tensor:
        """The bound of each datum, (B,), from log w (K, B)."""
        if self.alpha == 1:  # the limit
            return log_w.mean(0)
        power = 1 - self.alpha
        if abs(power) < 1e-3:  # log(1 + ...) of what is small, not the difference of what is nearly equal
            mean = log_w.mean(0)
            return mean + torch.log1p(torch.expm1(power * (log_w - mean)).mean(0)) / power
        return ((power * log_w).logsumexp(0) - math.log(self.num_particles)) / power

    def _ratios(self, log_w: Tensor) -> Tensor:
        """What the doubly reparametrised gradient of each draw is multiplied by, (K, B): alpha + (1 - alpha) v_k."""
        return self.alpha + (1 - self.alpha) * ((1 - self.alpha) * log_w).softmax(0)

    def _factors(self, model_trace: Any, guide_trace: Any, *, doubly: bool = False) -> Any:
        """What ``pyro.factor`` statements add, weighed, summed over the batch and averaged over the draws."""
        for site in sample_sites(model_trace):
            if doubly and isinstance(site["fn"], Unit):
                raise ConfigurationError(
                    f"gradient='dreg' changes what passes from the model to the guide, and the model's factor "
                    f"{site['name']!r} would be changed with it; put pyro.factor in the guide, or use another "
                    f"gradient"
                )
        account = Account(guide_trace, self.max_plate_nesting)
        account.factors(model_trace, guide_trace)
        return account.objective / self.num_particles

    def formula(self, likelihood: str, divergences: Sequence[tuple[str, str]]) -> str:
        """The objective as LaTeX, in the weights w_k; what the terms of the ELBO are plays no part."""
        return renyi_formula(self.alpha)


class IWAE(Renyi):
    """E_q[log (1/K) sum_k p(x, z_k) / q(z_k | x)], z_k ~ q(z | x): the importance-weighted bound on log p(x).

    One draw gives the ELBO; with more the bound rises towards log p(x), and the guide need no longer be close to the
    posterior for the model to be learned well.  The bound is that of each datum by itself.  Gradients, missing
    classes, weights and factors are as in :class:`Renyi`, of which this is alpha = 0.

    Args:
        num_particles: K, draws from the guide per datum, vectorised.
        gradient: that of the guide's parameters: ``"reparametrised"``, the bound's own; ``"stl"``, sticking the
            landing; ``"dreg"``, doubly reparametrised, the best choice for a large K.

    Raises:
        ConfigurationError: as :class:`Renyi`.

    Example:
        >>> import pyro_vae as pv
        >>> from pyro_vae import likelihoods, objectives, priors
        >>> vae = pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(5), objective=objectives.IWAE(50, "dreg"))
        >>> history = pv.fit(vae, torch.ones(16, 5), epochs=1)
        >>> vae.objective
        IWAE(50, gradient='dreg')

    References:
        Burda, Grosse & Salakhutdinov, Importance Weighted Autoencoders, 2016, equation 8
        (https://arxiv.org/abs/1509.00519)
    """

    def __init__(self, num_particles: int = 5, gradient: str = "reparametrised") -> None:
        super().__init__(0.0, num_particles, gradient)


def renyi_formula(alpha: float) -> str:
    """The bound of order alpha in the weights w_k of K draws, LaTeX.

    Example:
        >>> print(renyi_formula(0.5))
        2\\,\\mathbb{E}_q[\\log\\, \\frac{1}{K} \\,\\sum_{k=1}^{K} w_k^{0.5}]
    """
    if alpha == 1:
        return r"\mathbb{E}_q[\frac{1}{K} \,\sum_{k=1}^{K} \log w_k]"
    power = "" if alpha == 0 else rf"^{{{1 - alpha:g}}}"
    front = "" if alpha == 0 else rf"{1 / (1 - alpha):g}\,"
    return rf"{front}\mathbb{{E}}_q[\log\, \frac{{1}}{{K}} \,\sum_{{k=1}}^{{K}} w_k{power}]"

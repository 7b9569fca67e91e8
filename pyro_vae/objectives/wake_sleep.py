"""Model and guide with objectives of their own: the model explains the data, the guide follows the model."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pyro_vae.errors import check_choice
from pyro_vae.objectives.account import Account, per_particle
from pyro_vae.objectives.detached import carrying, detached_traces
from pyro_vae.objectives.dreams import dream, log_guide
from pyro_vae.objectives.elbo import ELBO
from pyro_vae.objectives.enumeration import expectation, joint_probability
from pyro_vae.objectives.importance import Renyi
from pyro_vae.objectives.weights import Densities, densities

__all__ = ["ReweightedWakeSleep", "WakeSleep"]

_SHARES = {"wake": (1.0, 0.0), "sleep": (0.0, 1.0), "both": (0.5, 0.5)}
"""What wake and sleep count for in the gradient of the guide."""

_FOLLOWS = {
    "wake": "log q of the same draws, weighed like the model's (wake)",
    "sleep": "log q of latents that the model dreamed together with data (sleep)",
    "both": "in equal shares log q of the same draws, weighed alike (wake), and of what the model dreamed (sleep)",
}


class ReweightedWakeSleep(Renyi):
    """The model climbs the bound of IWAE; the guide learns to propose what the model thinks of the data.

    With v_k, the weights w_k = p(x, z_k) / q(z_k | x) of K draws of one datum over their sum, there are three
    gradients, and draws pass none, so that they may be discrete:

    - wake, model: sum_k v_k d log p(x, z_k), that of the bound;
    - wake, guide: sum_k v_k d log q(z_k | x), which lowers KL(p(z | x) || q(z | x)) on the data;
    - sleep, guide: d log q(z | x) at (x, z) ~ p(x, z), one dream in place of each datum, which lowers
      KL(p(z | x) || q(z | x)) on data as the model has them.

    The guide needs no gradient with a large variance, and both programs are better off with more draws.  There is no
    one function that both climb: v_k estimates the posterior with a bias that falls as 1 / K.  Weights are those of
    each datum (Pyro's ``ReweightedWakeSleep`` normalises them over the batch).  A parameter that both programs use,
    such as the encoder that a VampPrior reads, gets the sum of its two gradients.

    **Enumerated sites** of the guide, such as a missing class, are summed over inside the weight, and the guide learns
    log q of each of their values with the part that it has of w_k: without labels too, q(y | x) is trained.

    **Weights and factors.**  A weight beta multiplies the latent terms of log w, p(x | z) (p(z) / q(z | x))^beta: it
    says which draws count.  The guide's log q itself is not weighed, and dreams are those of the plain model.  Where
    q is p(x | z)^(1 / beta) p(z) over its sum, the posterior that a beta-VAE wants, the wake gradient is at rest.
    ``pyro.factor`` adds its term, averaged over the draws, with its gradient at fixed draws.  The loss is minus the
    bound; after each evaluation ``terms`` holds reconstruction and KL of the draws, unweighted, and ``terms.bound``
    the bound, which for a single draw is the ELBO.

    Args:
        num_particles: K, draws from the guide per datum, vectorised.
        phi: what the guide learns from: ``"wake"``, ``"sleep"``, or ``"both"`` in equal shares.

    Raises:
        ConfigurationError: for an unknown phi; when training starts, for a guide without a density, latents that
            several data share; with dreams, for batches of which only some data have labels, models that cannot be
            drawn from, latents that only one program has.

    Example:
        >>> import torch
        >>> import pyro_vae as pv
        >>> from pyro_vae import likelihoods, objectives, priors
        >>> objective = objectives.ReweightedWakeSleep(10)
        >>> vae = pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(5), objective=objective)
        >>> history = pv.fit(vae, torch.ones(16, 5), epochs=1)

    References:
        Bornschein & Bengio, Reweighted Wake-Sleep, 2015, section 2.2 (https://arxiv.org/abs/1406.2751); Le et al.,
        Revisiting Reweighted Wake-Sleep for Models with Stochastic Control Flow, 2019
        (https://arxiv.org/abs/1805.10469)
    """

    reparametrised = False
    summed = "inside w"

    def __init__(self, num_particles: int = 5, phi: str = "wake") -> None:
        super().__init__(0.0, num_particles)
        self.phi = check_choice("phi", phi, _SHARES)

    @property
    def target(self) -> str:
        return repr(self)

    @property
    def notes(self) -> list[str]:
        return [f"the model climbs this; the guide does not, it climbs {_FOLLOWS[self.phi]}"]

    def _minus_objective(self, model: Any, guide: Any, arguments: tuple[Any, ...]) -> Tensor:
        traces = detached_traces(model, guide, arguments, self)
        wake, sleep = _SHARES[self.phi]
        bound: Any = 0.0
        follows: Any = 0.0
        for found in densities(*traces, self.max_plate_nesting).values():
            bound = bound + found.share * self._bound(found.weights(guide=False).summed(self.num_particles)).sum()
            follows = follows + wake * found.share * _weighed_guide(found)
        if sleep and torch.is_grad_enabled():
            follows = follows + sleep * log_guide(guide, *dream(model, arguments))
        value = bound + self._factors(*traces)
        self._report(traces, bound)
        return carrying(-value, -(value + follows))


def _weighed_guide(found: Densities) -> Any:
    """sum_k v_k log q(z_k | x), enumerated values with their parts of v_k, summed over data; 0 without latents."""
    log_w = found.weights().log_w.detach()
    among = tuple(range(log_w.dim() - 1))  # all but data: enumerated values, and draws where there are several
    v = (log_w - log_w.logsumexp(among, keepdim=True)).exp() if among else torch.ones_like(log_w)
    return sum((v * log_q).sum() for log_q in [*found.scores, *found.choices])


class WakeSleep(ELBO):
    """Wake-sleep: the model climbs the ELBO, and the guide learns from what the model dreams.

    - wake, model: d log p(x, z) at z ~ q(z | x), the gradient of the ELBO;
    - sleep, guide: d log q(z | x) at (x, z) ~ p(x, z), one dream in place of each datum, which lowers
      KL(p(z | x) || q(z | x)), and not the KL the other way round that the ELBO has.

    Draws pass no gradients, so that they may be discrete.  There is no one function that both programs climb, and at
    first the guide learns from dreams that are unlike the data: :class:`ReweightedWakeSleep` mends both.  Enumerated
    sites, such as a missing class, are summed over in the wake phase; dreams have one of their values.  A weight beta
    multiplies the latents' part of the model's gradient, and has no part in sleep; ``pyro.factor`` adds its term with
    its gradient at fixed draws.  The loss is minus the ELBO, the same number as that of :class:`ELBO` for the same
    draws, and ``terms`` are its terms.

    Args:
        num_particles: draws from the guide per datum in the wake phase, vectorised.

    Raises:
        ConfigurationError: when training starts, as :class:`ReweightedWakeSleep` with dreams.

    Example:
        >>> import torch
        >>> import pyro_vae as pv
        >>> from pyro_vae import likelihoods, objectives, priors
        >>> vae = pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(5), objective=objectives.WakeSleep())
        >>> history = pv.fit(vae, torch.ones(16, 5), epochs=1)

    References:
        Hinton, Dayan, Frey & Neal, The wake-sleep algorithm for unsupervised neural networks, 1995
        (https://doi.org/10.1126/science.7761831)
    """

    reparametrised = False

    def __init__(self, num_particles: int = 1) -> None:
        super().__init__(num_particles)

    @property
    def target(self) -> str:
        return repr(self)

    @property
    def notes(self) -> list[str]:
        return [f"the model climbs this; the guide does not, it climbs {_FOLLOWS['sleep']}"]

    def _minus_objective(self, model: Any, guide: Any, arguments: tuple[Any, ...]) -> Tensor:
        model_trace, guide_trace = detached_traces(model, guide, arguments, self)
        account = Account(guide_trace, self.max_plate_nesting)
        account.factors(model_trace, guide_trace)
        surrogate = account.objective
        for group, found in densities(model_trace, guide_trace, self.max_plate_nesting).items():
            probability = joint_probability(guide_trace, group)
            probability = None if probability is None else probability.detach()
            surrogate = surrogate + found.share * expectation(sum(found.model), probability, found.plates).sum()  # type: ignore[arg-type]
        surrogate = surrogate / self.num_particles
        if torch.is_grad_enabled():
            surrogate = surrogate + log_guide(guide, *dream(model, arguments))
        with torch.no_grad():
            account = self._account(model_trace, guide_trace)
        self.terms = account.terms(self.num_particles)
        return carrying(per_particle(account.loss, self.num_particles), -surrogate)

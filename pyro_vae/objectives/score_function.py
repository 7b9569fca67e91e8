"""Gradients for guides whose draws cannot be reparametrised: the score function, with and without several draws."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pyro_vae.errors import ConfigurationError, check_choice
from pyro_vae.objectives.account import Account, per_particle
from pyro_vae.objectives.baselines import Centring, LearnedBaseline, leave_one_out, sum_of_others
from pyro_vae.objectives.detached import carrying, detached_traces
from pyro_vae.objectives.elbo import ELBO
from pyro_vae.objectives.enumeration import expectation, joint_probability
from pyro_vae.objectives.importance import Renyi
from pyro_vae.objectives.weights import Densities, densities, factors_of
from pyro_vae.parts import Shape
from pyro_vae.program import Program

__all__ = ["VIMCO", "ScoreFunction"]

_BASELINES = ("decaying", "leave_one_out")

_TOLD = {
    None: "",
    "decaying": ", less a decaying average",
    "leave_one_out": ", less the mean over the other draws of the datum",
}
_LEARNED = ", less what a network foresees of it"


class ScoreFunction(ELBO):
    """E_q[log p(x, z) - log q(z | x)], the ELBO, with a gradient that asks nothing of the draws but log q(z | x).

    The gradient of the guide's parameters phi is E_q[(log w - b) d log q(z | x) / d phi], with log w =
    log p(x, z) - log q(z | x): REINFORCE, or black-box variational inference.  Draws may be discrete; those that could
    be reparametrised are treated like the others, so that the two gradients can be put side by side
    (:func:`pyro_vae.evaluation.gradient_variance`).  The signal log w of each datum is its own: other data of the
    batch add no noise to it.  The gradient of the model's parameters is the plain one.  A parameter that both use,
    such as the encoder that a VampPrior reads, gets both.

    **Baselines** b take off what can be foreseen of the signal.  They leave the mean of the gradient as it is, for
    none depends on the draw that it is for, and lower its variance, which without one is too large for most uses.

    - ``None``: 0.
    - ``"decaying"``: an average over the steps before (over data that have labels and those that have none apart).
    - ``"leave_one_out"``: the mean over the other draws of the same datum; needs ``num_particles`` of 2 or more.
    - :class:`LearnedBaseline`: a network b(x) and a decaying average, together NVIL with ``normalise=True``.

    The averages and the network are kept and saved with the variant, as its ``auxiliary`` part.

    **Enumerated sites** of the guide, such as a missing class, are summed over exactly, in the signal too.  A weight
    beta multiplies the latent terms inside log w.  ``pyro.factor`` is part of the signal of the datum that it is for.
    Nothing may mix data after they were drawn for: no batch norm in the decoder.  After each evaluation ``terms``
    holds the reconstruction and the KL of the draws, unweighted; the loss is the same number as that of :class:`ELBO`
    for the same draws.

    Args:
        num_particles: K, draws from the guide per datum, vectorised.
        baseline: ``None``, ``"decaying"``, ``"leave_one_out"`` or a :class:`LearnedBaseline`.
        normalise: divide what is left of the signal by a decaying standard deviation where that exceeds 1.  The
            guide's gradient is then shorter than the ELBO's; in the same direction where no site of the guide is
            enumerated and the data are of one kind, all with labels or all without.

    Raises:
        ConfigurationError: for an unknown baseline, or ``"leave_one_out"`` with a single draw; when training starts,
            for a guide without a density, latents that several data share, and what mixes data.

    Example:
        >>> import torch
        >>> import pyro_vae as pv
        >>> from pyro_vae import likelihoods, objectives, priors
        >>> objective = objectives.ScoreFunction(5, baseline="leave_one_out")
        >>> vae = pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(5), objective=objective)
        >>> history = pv.fit(vae, torch.ones(16, 5), epochs=1)

    References:
        Williams, Simple statistical gradient-following algorithms, 1992 (https://doi.org/10.1007/BF00992696);
        Ranganath, Gerrish & Blei, Black Box Variational Inference, 2014, equation 3 (https://arxiv.org/abs/1401.0118);
        Mnih & Gregor, Neural Variational Inference and Learning in Belief Networks, 2014, section 2.3
        (https://arxiv.org/abs/1402.0030); Kool, van Hoof & Welling, Buy 4 REINFORCE Samples, Get a Baseline for Free!,
        2019 (https://openreview.net/forum?id=r1lgTGL5DE)
    """

    reparametrised = False

    def __init__(
        self, num_particles: int = 1, baseline: LearnedBaseline | str | None = None, normalise: bool = False
    ) -> None:
        super().__init__(num_particles)
        if isinstance(baseline, str):
            check_choice("baseline", baseline, _BASELINES)
        elif not (baseline is None or isinstance(baseline, LearnedBaseline)):
            raise ConfigurationError(
                f"baseline must be None, 'decaying', 'leave_one_out' or objectives.LearnedBaseline(...), "
                f"got {baseline!r}"
            )
        if baseline == "leave_one_out" and self.num_particles < 2:
            raise ConfigurationError(
                "baseline='leave_one_out' is made of the other draws of a datum: num_particles must be at least 2"
            )
        self.baseline = baseline
        self.normalise = bool(normalise)

    # -- what it keeps

    def connect(self, shape: Shape, prepare: Callable[[Tensor], Tensor] | None = None) -> nn.Module | None:
        learned = isinstance(self.baseline, LearnedBaseline)
        if not (learned or self.baseline == "decaying" or self.normalise):
            return None
        if self.auxiliary is not None:
            raise ConfigurationError(
                f"this {self!r} already belongs to a variant and holds its baseline; make a new one for another"
            )
        network = self.baseline.build(shape) if isinstance(self.baseline, LearnedBaseline) else None
        averages = learned or self.baseline == "decaying"
        self.auxiliary = Centring(network, averages, self.normalise, prepare)
        return self.auxiliary

    @property
    def target(self) -> str:
        return repr(self) if self.normalise else "ELBO"

    @property
    def notes(self) -> list[str]:
        told = _TOLD[self.baseline] if self.baseline is None or isinstance(self.baseline, str) else _LEARNED
        scaled = ", and the rest is divided by its spread" * self.normalise
        return [f"the guide's gradient is the score of each draw, d log q, times its signal log w{told}{scaled}"]

    # -- the objective

    def _minus_objective(self, model: Any, guide: Any, arguments: tuple[Any, ...]) -> Tensor:
        if isinstance(model, Program):  # so that a baseline sees the data that its signals are of
            arguments, _ = model.arranged(*arguments)
        traces = detached_traces(model, guide, arguments, self, separate=True)
        surrogate = self._surrogate(*traces, arguments) if torch.is_grad_enabled() else 0.0
        with torch.no_grad():
            account = self._account(*traces)
        self.terms = account.terms(self.num_particles)
        return carrying(per_particle(account.loss, self.num_particles), -surrogate)

    def _surrogate(self, model_trace: Any, guide_trace: Any, arguments: tuple[Any, ...]) -> Any:
        """What has the estimated gradient, summed over the batch and averaged over draws."""
        account = Account(guide_trace, self.max_plate_nesting)
        account.factors(model_trace, guide_trace)
        total = account.objective
        start = 0
        for group, found in densities(model_trace, guide_trace, self.max_plate_nesting).items():
            probability = joint_probability(guide_trace, group)
            terms = found.terms()
            size = terms.shape[-1]
            total = total + found.share * expectation(terms, probability, found.plates).sum()
            # E_q over enumerated values of the signal times the score: a draw made for all of them gets their average
            terms = (terms + factors_of(model_trace, guide_trace, group, found.share)).detach()
            probability = None if probability is None else probability.detach()
            signal = expectation(terms, probability, found.plates).reshape(self.num_particles, size)
            baseline, spread, trains = self._centre(signal, arguments, slice(start, start + size), group)
            rest = (terms - baseline.expand_as(signal).reshape(terms.shape[-found.plates :])) / spread
            rest = rest if probability is None else probability * rest
            total = total + found.share * sum((rest * score).sum() for score in found.scores)
            total = total if trains is None else total + trains * self.num_particles
            start += size
        return total / self.num_particles

    def _centre(
        self, signal: Tensor, arguments: tuple[Any, ...], rows: slice, group: str
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """The baseline of a signal (K, B), the spread of the rest, and what trains b(x)."""
        baseline, spread, trains = signal.new_zeros(()), signal.new_ones(()), None
        if self.baseline == "leave_one_out":
            baseline = leave_one_out(signal)
        if self.auxiliary is None and (self.normalise or self.baseline not in (None, "leave_one_out")):
            # used by itself: no variant has said what data look like
            auxiliary = self.connect(tuple(_data(arguments).shape[1:]))
            assert auxiliary is not None
            auxiliary.to(signal)
        if self.auxiliary is not None:
            x = _data(arguments)[rows]
            foreseen, spread, trains = self.auxiliary(signal - baseline, x, group)
            baseline = baseline + foreseen
        return baseline, spread, trains


def _data(arguments: tuple[Any, ...]) -> Tensor:
    if not (arguments and isinstance(arguments[0], Tensor)):
        raise ConfigurationError(
            "a baseline that learns is one of the data: model and guide must have them as their first argument, a "
            "tensor (B, *shape)"
        )
    return arguments[0]


class VIMCO(Renyi):
    """E_q[log (1/K) sum_k p(x, z_k) / q(z_k | x)], the bound of IWAE, for draws that may be discrete.

    The guide's gradient is that of the score: each draw's log q(z_k | x) has as its signal what z_k adds to the bound
    of its datum, L minus the same bound with w_k replaced by the geometric mean of the other weights.  To this comes
    the plain gradient of the bound at fixed draws.  Unbiased, and without anything to learn or tune.

    Enumerated sites, weights, factors, shared parameters and ``terms`` are as in :class:`Renyi`; ``pyro.factor`` has
    the mean over the other draws as its baseline.  Nothing may mix data after they were drawn for.

    Args:
        num_particles: K, draws from the guide per datum, vectorised; at least 2.

    Raises:
        ConfigurationError: for a single draw; when training starts, as :class:`ScoreFunction`.

    Example:
        >>> import torch
        >>> import pyro_vae as pv
        >>> from pyro_vae import likelihoods, objectives, priors
        >>> vae = pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(5), objective=objectives.VIMCO(10))
        >>> history = pv.fit(vae, torch.ones(16, 5), epochs=1)

    References:
        Mnih & Rezende, Variational Inference for Monte Carlo Objectives, 2016, equations 5 to 8
        (https://arxiv.org/abs/1602.06725)
    """

    reparametrised = False

    def __init__(self, num_particles: int = 5) -> None:
        super().__init__(0.0, num_particles)
        if self.num_particles < 2:
            raise ConfigurationError(
                "VIMCO compares draws of one datum with each other: num_particles must be at least 2; for a single "
                "draw use objectives.ScoreFunction(baseline='decaying')"
            )

    @property
    def notes(self) -> list[str]:
        return ["the guide's gradient is that of the score, d log q; each draw's signal is what it adds to the bound"]

    def _minus_objective(self, model: Any, guide: Any, arguments: tuple[Any, ...]) -> Tensor:
        traces = detached_traces(model, guide, arguments, self, separate=True)
        bound: Any = 0.0
        scores: Any = 0.0
        for group, found in densities(*traces, self.max_plate_nesting).items():
            log_w = found.weights().summed(self.num_particles)
            bound = bound + found.share * self._bound(log_w).sum()
            signal = self._signal(log_w.detach()) + self._signal_of_factors(*traces, group, found)
            scores = scores + found.share * sum((signal * score).sum() for score in found.scores)
        value = bound + self._factors(*traces)
        self._report(traces, bound)
        return carrying(-value, -(value + scores))

    def _signal(self, log_w: Tensor) -> Tensor:
        """What each draw adds to the bound of its datum, (K, B): beside a draw of the others' geometric mean."""
        others = torch.logaddexp(sum_of_others(log_w), leave_one_out(log_w))
        return self._bound(log_w) - (others - math.log(self.num_particles))

    def _signal_of_factors(self, model_trace: Any, guide_trace: Any, group: str, found: Densities) -> Any:
        """What each draw adds by factors, beside the mean of the others, (K, B); 0 where there are none."""
        factors = factors_of(model_trace, guide_trace, group, found.share)
        if not isinstance(factors, Tensor):
            return 0.0
        probability = joint_probability(guide_trace, group)
        each = expectation(factors, probability, found.plates).detach()
        return (each - leave_one_out(each)) / self.num_particles

"""A laboratory for gradient estimators: how much their gradients vary at fixed weights, and whether they are biased."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyro
import torch
from pyro.infer import config_enumerate
from torch import Tensor

from pyro_vae.configured import show
from pyro_vae.errors import ConfigurationError, check_positive
from pyro_vae.evaluation.tables import aligned
from pyro_vae.objectives import ELBO, IWAE, Compiled
from pyro_vae.objectives.enumeration import enumerated_trace
from pyro_vae.objectives.weights import drawn
from pyro_vae.parts import in_evaluation
from pyro_vae.randomness import seeded
from pyro_vae.variants.base import Variant

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["GradientVariance", "gradient_variance"]

_OF_THE_ELBO = ("Trace_ELBO", "TraceGraph_ELBO", "TraceEnum_ELBO", "TraceMeanField_ELBO")
"""Pyro's objectives whose gradient is an estimate of the ELBO's."""

_SETTLING = 50
"""Evaluations that a decaying average is given before anything is measured."""


@dataclass(frozen=True, eq=False)
class GradientVariance:
    """What :func:`gradient_variance` found.

    Attributes:
        frame: a pandas table, one row for each estimator and group of parameters, with columns

            - ``estimator`` and ``group``, their names, ``parameters``, how many numbers the group has, ``target``, what
              the gradient is an estimate for;
            - ``norm``: length of the mean gradient;
            - ``variance``: of one evaluation, summed over the group, and ``variance_error``, its standard error, from
              the variances of ten parts of the evaluations; NaN where they are fewer than four;
            - ``snr``: norm over the square root of the variance, the signal-to-noise ratio; infinite without noise;
            - ``bias``: length of the difference of the mean from the reference's, ``bias_error``, what length chance
              alone would give it, and ``z``, the root mean square of each parameter's difference over its standard
              error: about 1 where there is no bias.  NaN for the reference itself and for other targets than its.

            Lengths are of gradients in nats per datum, and have what noise adds to their squares taken off.
        reference: what the bias was measured against, in words.
        num_draws: evaluations of each estimator.
        size: number of data.
    """

    frame: DataFrame
    reference: str
    num_draws: int
    size: int

    def __repr__(self) -> str:
        columns = ["norm", "variance", "variance_error", "snr", "bias", "bias_error", "z"]
        rows: list[tuple[Any, ...]] = [("estimator", "group", "parameters", *columns)]
        for row in self.frame.to_dict("records"):
            names = (row["estimator"], row["group"], row["parameters"])
            rows.append((*names, *("" if row[c] != row[c] else f"{row[c]:.3g}" for c in columns)))
        told = f"{self.num_draws} evaluations each on {self.size:,} data; bias against {self.reference}"
        return f"{aligned(rows)}\n{told}"

    def _repr_html_(self) -> str:
        return self.frame.to_html(index=False, float_format=lambda value: f"{value:.3g}", na_rep="", border=0)


@dataclass
class _Moments:
    """Mean and variance of draws of vectors, one at a time (Welford 1962); of parts of the draws too, in turn."""

    count: int = 0
    mean: Any = 0.0
    squares: Any = 0.0
    parts: tuple[_Moments, ...] = ()

    def add(self, values: Tensor) -> None:
        self.count += 1
        difference = values - self.mean
        self.mean = self.mean + difference / self.count
        self.squares = self.squares + difference * (values - self.mean)
        if self.parts:
            self.parts[self.count % len(self.parts)].add(values)

    @property
    def variance(self) -> Tensor:
        """Of one draw, (P,)."""
        return self.squares / max(self.count - 1, 1)

    @property
    def error(self) -> Tensor:
        """Variance of the mean, (P,)."""
        return self.variance / self.count

    def error_of_variance(self, places: Tensor) -> float:
        """Standard error of the sum of variances of some parameters, by how it differs between the parts."""
        if len(self.parts) < 2:
            return math.nan
        sums = torch.stack([part.variance[places].sum() for part in self.parts])
        return sums.std().item() / math.sqrt(len(sums))


def gradient_variance(
    variant: Variant,
    x: Any,
    y: Any = None,
    *,
    estimators: Mapping[str, Any] | Sequence[Any] | None = None,
    num_draws: int = 100,
    reference: Any = None,
    depth: int = 2,
    seed: int = 0,
) -> GradientVariance:
    """Compare estimators of a variant's gradient: their variance, signal-to-noise ratio and bias, at its weights.

    Each estimator is evaluated ``num_draws`` times on the same data, in evaluation mode (no dropout), as a whole
    batch.  The gradient is that of what is minimised, in nats per datum.  Nothing is trained, and weights, gradients,
    averages and random state are left as they are.  A decaying average starts with 50 evaluations that are not
    counted; a learned baseline is taken as it is: ``variant.objective`` has a trained one.

    **Bias** is measured between objectives of the same target only.  The ELBO and the importance-weighted bounds of
    K = 5 and of K = 50 draws are three functions with three gradients, none of which is a biased version of another;
    wake-sleep's updates are the gradient of no function at all, and are compared with nothing but themselves.  ``z``,
    the root mean square of the parameters' z-scores, is near 1 without a bias; the gradients of one group rise and
    fall together, and those of a plain score function have heavy tails, so that 2 is no evidence: see whether
    ``bias`` exceeds ``bias_error``, and draw more.

    Args:
        variant: any variant.
        x: data (N, \\*shape), or a split.
        y: labels, in variants that have them; those of the split if not given.
        estimators: objectives of :mod:`pyro_vae.objectives` or of Pyro, by name, or a list of them that go by what they
            are; the variant's own if not given.
        num_draws: evaluations of each.
        reference: what has the true gradient: an objective, such as ``objectives.ELBO(num_particles=1000)``, which is
            evaluated as often and whose own noise is accounted for; ``"exact"``, the gradient of the ELBO with every
            latent summed over, where all are discrete; or gradients by the names of the parameters, each of minus
            the objective per datum.  If not given, the first estimator of each target.
        depth: how many words of a parameter's name make a group: 2 for ``model.likelihood``.
        seed: of the draws.

    Raises:
        DataError: when the data do not fit.
        ConfigurationError: for estimators that are no objectives, fewer than two draws, ``"exact"`` where a latent
            cannot be summed over, or what an estimator refuses.

    Example:
        >>> import pyro_vae as pv
        >>> from pyro_vae import evaluation, likelihoods, objectives, priors
        >>> vae = pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(5))
        >>> estimators = {"reparametrised": objectives.ELBO(), "score function": objectives.ScoreFunction()}
        >>> table = evaluation.gradient_variance(vae, torch.ones(7, 5), estimators=estimators)
        >>> table.frame["group"].tolist()
        ['model.likelihood', 'guide.posterior', 'model.likelihood', 'guide.posterior']

    References:
        Rainforth et al., Tighter Variational Bounds are Not Necessarily Better, 2018, equation 5, on the
        signal-to-noise ratio of gradients (https://arxiv.org/abs/1802.04537)
    """
    if check_positive("num_draws", num_draws) < 2:
        raise ConfigurationError("num_draws must be at least 2: a single gradient has no variance")
    check_positive("depth", depth)
    estimators = _named({"objective": variant.objective} if estimators is None else estimators)
    for name, objective in estimators.items():
        _check_objective(f"estimators[{name!r}]", objective)
    x, y = variant.batch(x, y)
    arguments = variant.program_arguments(x, y)
    twin = copy.deepcopy(variant)
    with seeded(seed, variant.device):  # independent draws: estimators are compared as if they had nothing in common
        seeds = torch.randint(2**31, (len(estimators) + 1,)).tolist()
    found = {
        name: (_target(objective), _measured(objective, twin, arguments, num_draws, each))
        for (name, objective), each in zip(estimators.items(), seeds, strict=False)
    }
    true, told = _reference(reference, estimators, found, twin, arguments, num_draws, seeds[-1])
    groups = _groups(twin, depth)
    rows = [
        {"estimator": name, "group": group, "parameters": len(places), "target": target}
        | _row(moments, true.get(target), places, variant.dtype)
        for name, (target, moments) in found.items()
        for group, places in groups.items()
    ]
    from pandas import DataFrame  # imported where it is used

    return GradientVariance(DataFrame(rows), told, num_draws, len(x))


def _named(estimators: Any) -> dict[str, Any]:
    if isinstance(estimators, Mapping):
        return dict(estimators)
    if not isinstance(estimators, Sequence):
        raise ConfigurationError(f"estimators must be objectives by name, or a list of them, got {estimators!r}")
    found = {show(objective): objective for objective in estimators}
    if len(found) < len(estimators):
        raise ConfigurationError(
            "estimators: two of the list are alike; give them names, {'first': ..., 'second': ...}"
        )
    return found


def _check_objective(what: str, objective: Any) -> None:
    if not hasattr(objective, "loss_and_grads"):
        raise ConfigurationError(
            f"{what} must be an objective of Pyro's or of pyro_vae.objectives, such as ScoreFunction(5), got "
            f"{objective!r}"
        )


def _target(objective: Any) -> str:
    """What an objective's gradient is an estimate for."""
    if isinstance(objective, Compiled):
        objective = objective.objective
    if isinstance(objective, ELBO):
        return objective.target
    kind = type(objective).__name__.removeprefix("Jit")  # itself: what is built on it may have another target
    if kind == "RenyiELBO" and objective.alpha == 0:
        return IWAE(objective.num_particles).target
    return "ELBO" if kind in _OF_THE_ELBO else show(objective)


def _trained(variant: Variant) -> Iterator[tuple[str, Tensor]]:
    """The parameters of model and guide by name; not those that belong to an objective."""
    for program in ("model", "guide"):
        for name, parameter in getattr(variant, program).named_parameters():
            if parameter.requires_grad:
                yield f"{program}.{name}", parameter


def _groups(variant: Variant, depth: int) -> dict[str, Tensor]:
    """Where in the vector of all gradients those of each group are."""
    places: dict[str, list[Tensor]] = {}
    start = 0
    for name, parameter in _trained(variant):
        group = ".".join(name.split(".")[:depth])
        places.setdefault(group, []).append(torch.arange(start, start + parameter.numel()))
        start += parameter.numel()
    return {group: torch.cat(some) for group, some in places.items()}


def _measured(
    objective: Any, twin: Variant, arguments: tuple[Any, ...], num_draws: int, seed: int, guide: Any = None
) -> _Moments:
    """Moments of an objective's gradient at the twin's weights, of the twin's guide or of another one."""
    parts = min(10, num_draws // 2)
    objective, moments = copy.deepcopy(objective), _Moments(parts=tuple(_Moments() for _ in range(parts)))
    guide = twin.guide if guide is None else guide
    size = next(len(argument) for argument in arguments if isinstance(argument, Tensor))

    def gradient() -> Tensor:
        twin.zero_grad()
        objective.loss_and_grads(twin.model, guide, *arguments)
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for _, p in _trained(twin)]
        return torch.cat([each.flatten() for each in gradients]).double().cpu() / size

    store = pyro.get_param_store().scope()
    with store, seeded(seed, twin.device), torch.enable_grad(), in_evaluation(twin):
        gradient()  # with Pyro's checks
        with pyro.validation_enabled(False):
            auxiliary = getattr(objective, "auxiliary", None)
            if auxiliary is not None and next(auxiliary.buffers(), None) is not None:
                for _ in range(_SETTLING):
                    gradient()
            for _ in range(num_draws):
                moments.add(gradient())
    return moments


def _reference(
    reference: Any,
    estimators: Mapping[str, Any],
    found: Mapping[str, tuple[str, _Moments]],
    twin: Variant,
    arguments: tuple[Any, ...],
    num_draws: int,
    seed: int,
) -> tuple[dict[str, _Moments], str]:
    """The moments of the true gradient of each target that there is one of, and what they are, in words."""
    if reference is None:
        first: dict[str, tuple[str, _Moments]] = {}
        for name, (target, moments) in found.items():
            first.setdefault(target, (name, moments))
        told = ", ".join(f"{name} ({target})" for target, (name, _) in first.items())
        return {target: moments for target, (_, moments) in first.items()}, told
    if isinstance(reference, Mapping):
        exact = _given(reference, twin)
        return {target: exact for target, _ in found.values()}, "the gradients that were given"
    if reference == "exact":
        return {"ELBO": _exact(twin, arguments)}, "the exact gradient of the ELBO, summed over all latents"
    _check_objective("reference", reference)
    target = _target(reference)
    return {target: _measured(reference, twin, arguments, num_draws, seed)}, f"{show(reference)} ({target})"


def _given(gradients: Mapping[str, Any], twin: Variant) -> _Moments:
    names = dict(_trained(twin))
    if wrong := gradients.keys() ^ names.keys():
        raise ConfigurationError(
            f"reference: gradients are wanted of {', '.join(names)}; missing or unknown: {', '.join(sorted(wrong))}"
        )
    moments = _Moments()
    moments.add(torch.cat([torch.as_tensor(gradients[name]).detach().flatten().double().cpu() for name in names]))
    return moments


def _exact(twin: Variant, arguments: tuple[Any, ...]) -> _Moments:
    """The gradient of the ELBO with all latents summed over."""
    guide: Any = config_enumerate(twin.guide, default="parallel")
    objective = ELBO()
    with pyro.get_param_store().scope(), seeded(0, twin.device), torch.no_grad(), in_evaluation(twin):
        trace = enumerated_trace(guide, arguments, objective.max_plate_nesting)
    for site in drawn(trace):
        raise ConfigurationError(
            f"reference='exact' sums over all latents, and {site['name']!r}, a {type(site['fn']).__name__}, cannot be "
            f"summed over; give an objective with many draws, such as objectives.ELBO(1000), as the reference"
        )
    return _measured(objective, twin, arguments, 1, 0, guide)


def _row(moments: _Moments, true: _Moments | None, places: Tensor, dtype: torch.dtype) -> dict[str, float]:
    mean, variance, error = moments.mean[places], moments.variance[places], moments.error[places]
    norm = (mean.square().sum() - error.sum()).clamp(min=0).sqrt().item()
    total = variance.sum().item()
    row = {
        "norm": norm,
        "variance": total,
        "variance_error": moments.error_of_variance(places),
        "snr": norm / total**0.5 if total else torch.inf if norm else torch.nan,
        **dict.fromkeys(("bias", "bias_error", "z"), torch.nan),
    }
    if true is None or true is moments:
        return row
    difference, chance = mean - true.mean[places], error + true.error[places]
    # what cannot be told from rounding is no difference
    rounding = 100 * torch.finfo(dtype).eps * (mean.abs() + true.mean[places].abs()).max()
    z = (difference.square() / (chance + rounding.square()))[(chance > 0) | (difference != 0)]
    bias = (difference.square().sum() - chance.sum()).clamp(min=0).sqrt()
    return row | {
        "bias": bias.item(),
        "bias_error": chance.sum().sqrt().item(),
        "z": z.mean().sqrt().item() if len(z) else 0.0,
    }

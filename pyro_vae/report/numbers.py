"""The numbers that say how good a variant is, each with its standard error over data."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pyro_vae.errors import ConfigurationError, DataError
from pyro_vae.evaluation import calibration, elbo, log_likelihood
from pyro_vae.evaluation.elbo import traces
from pyro_vae.evaluation.prediction import class_probabilities, predicted_properties
from pyro_vae.likelihoods import Likelihood
from pyro_vae.parts import numel
from pyro_vae.program import labelled, sample_sites
from pyro_vae.randomness import seeded
from pyro_vae.variants import Variant
from pyro_vae.variants.contexts import evaluating

__all__ = ["Number", "Numbers", "Score", "numbers"]


_PROPERTIES = 12
"""Up to so many properties are counted one by one."""


@dataclass(frozen=True)
class Number:
    """A mean over data, in nats per datum.

    Attributes:
        name: ``elbo``, ``reconstruction``, ``kl`` or ``log_likelihood``.
        label: how a table calls it.
        mean: nats per datum.
        standard_error: of the mean, over data.
        bits_per_dimension: the cost in bits of each dimension of x (of y, where it is y that is explained): minus
            the mean (the KL itself), divided by D log 2.
        data: number of data that the mean is over.
    """

    name: str
    label: str
    mean: float
    standard_error: float
    bits_per_dimension: float
    data: int


@dataclass(frozen=True)
class Score:
    """How good predictions of known labels are.

    Attributes:
        name: ``accuracy``, ``expected_calibration_error`` or ``mean_absolute_error``, with the number of the property
            where there are several.
        label: how a table calls it.
        mean: over data, in the label's own unit.
        standard_error: of the mean, over data; NaN where it is no mean.
        data: number of data with a known label.
    """

    name: str
    label: str
    mean: float
    standard_error: float
    data: int


@dataclass(frozen=True)
class Numbers:
    """What :func:`numbers` found out.

    Attributes:
        rows: by name.
        notes: a sentence on each number that does not exist for this variant, and on how it was estimated.
        num_samples: draws per datum for log p(x).
        scores: of predictions, by name; empty where nothing is predicted or no label is known.
    """

    rows: dict[str, Number]
    notes: list[str]
    num_samples: int
    scores: dict[str, Score] = field(default_factory=dict)


def numbers(
    variant: Variant, x: Any, y: Any = None, *, num_samples: int = 1000, max_data: int = 1000, seed: int = 0
) -> Numbers:
    """ELBO, reconstruction, KL and log p(x) of data, and how good predictions are, with standard errors over the data.

    Args:
        variant: any variant.
        x: data (N, \\*shape), or a split.
        y: labels, in variants that have them; those of the split if not given.
        num_samples: draws per datum from the guide, for log p(x).
        max_data: log p(x) is estimated for so many data, drawn at random, at most: it costs ``num_samples`` times
            as much as the ELBO.
        seed: of all draws; the random stream outside is left alone.

    Raises:
        DataError: when the data do not fit.
    """
    x, y = variant.batch(x, y)
    density, shape = _density(variant, x, y)
    with seeded(seed, variant.device):
        terms = elbo(variant, x, y, num_samples=10)
        names = {"elbo": "ELBO", "reconstruction": "reconstruction", "kl": "KL"}
        rows = {name: _number(name, names[name], getattr(terms, name), shape) for name in names}
        notes = []
        some = max_data if variant.has_code else len(x)  # where nothing is latent there is nothing to draw
        chosen = torch.randperm(len(x))[:some].sort().values.to(x.device)
        try:
            log_p = log_likelihood(
                variant, x[chosen], None if y is None else y[chosen], num_samples=num_samples if variant.has_code else 1
            )
        except (ConfigurationError, DataError) as error:
            notes.append(str(error))
            if not terms.kl.any() or not _has_kl(variant):
                rows = {"reconstruction": rows["reconstruction"]}
        else:
            found = _number("log_likelihood", density, log_p.as_subclass(Tensor), shape)
            rows = {**rows, "log_likelihood": found} if variant.has_code else {"log_likelihood": found}
            notes.append(_how(variant, density, y, len(chosen), len(x), num_samples))
        try:
            scores = _scores(variant, x, y)
        except (ConfigurationError, DataError) as error:  # no classifier yet
            notes.append(str(error))
            scores = {}
    return Numbers(rows, notes, num_samples, scores)


def _has_kl(variant: Variant) -> bool:
    """Whether prior and guide have densities; what the likelihood lacks is no matter."""
    parts = variant.model.parts_without_density() + variant.guide.parts_without_density()
    return all(isinstance(part, Likelihood) for part in parts)


def _density(variant: Variant, x: Tensor, y: Tensor | None) -> tuple[str, tuple[int, ...]]:
    """The density that the bound is one of, ``log p(x)`` or ``log p(x, y)`` or ..., and the shape of what it explains.

    It is that of what the model observes, given what else it is told.
    """
    if y is not None and (known := labelled(y)).any():
        x, y = x[known], y[known]
    first = x[:1], None if y is None else y[:1]
    with torch.no_grad(), evaluating(variant), seeded(0, variant.device):
        _, trace = traces(variant, *first, 1)
    arguments = variant.program_arguments(*first)
    observed = {site["name"]: site["fn"] for site in sample_sites(trace) if site["is_observed"]}
    told = [name for name, value in zip("xy", arguments, strict=False) if value is not None]
    explained = [name for name in told if name in observed]
    given = [name for name in told if name not in observed]
    condition = f" | {', '.join(given)}" if given else ""
    return f"log p({', '.join(explained)}{condition})", tuple(observed[explained[0]].event_shape)


def _how(variant: Variant, density: str, y: Tensor | None, some: int, n: int, num_samples: int) -> str:
    """How log p(x) was computed, in a sentence."""
    data = f"{n:,} data" if some == n else f"{some:,} of the {n:,} data"
    if not variant.has_code:
        return f"{density} of {data}; nothing is latent, so it is exact"
    missing = 0 if y is None else int((~labelled(y)).sum())
    marginal = f" ({missing:,} labels are missing and summed out)" if missing else ""
    return (
        f"{density} by importance sampling, {num_samples:,} draws from the guide for each of {data}{marginal}; "
        f"an estimate from below."
    )


def _number(name: str, label: str, values: Tensor, shape: tuple[int, ...]) -> Number:
    mean, error = _mean(values)
    bits = (mean if name == "kl" else -mean) / (numel(shape) * math.log(2))
    return Number(name, label, mean, error, bits, len(values))


def _mean(values: Tensor) -> tuple[float, float]:
    """Mean over data, and its standard error."""
    values = values.double()
    return values.mean().item(), values.std().item() / math.sqrt(len(values)) if len(values) > 1 else float("nan")


def _scores(variant: Variant, x: Tensor, y: Tensor | None) -> dict[str, Score]:
    if not variant.predicts or variant.label is None or y is None or not labelled(y).any():
        return {}
    if variant.label.classes is None:
        predicted, true = (values.flatten(1) for values in predicted_properties(variant, x, y))
        return _errors((predicted - true).abs())
    probs, true = class_probabilities(variant, x, y)
    right = Score("accuracy", "accuracy", *_mean(probs.argmax(-1) == true), len(true))
    error = calibration(variant, x, y).ece
    name = "expected_calibration_error"
    return {
        "accuracy": right,
        name: Score(name, "expected calibration error", error, float("nan"), len(true)),
    }


def _errors(errors: Tensor) -> dict[str, Score]:
    """The mean absolute error of each property, from errors (N, P); of very many, such as pixels, their mean."""
    size = errors.shape[1]
    if size > _PROPERTIES:
        label = f"mean absolute error, over {size} values"
        return {"mean_absolute_error": Score("mean_absolute_error", label, *_mean(errors.mean(1)), len(errors))}
    found = {}
    for p, of_property in enumerate(errors.unbind(1)):
        several = size > 1
        name = f"mean_absolute_error_{p}" if several else "mean_absolute_error"
        label = f"mean absolute error of property {p}" if several else "mean absolute error"
        found[name] = Score(name, label, *_mean(of_property), len(errors))
    return found

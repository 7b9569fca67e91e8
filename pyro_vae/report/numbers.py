"""The numbers that say how good a variant is, each with its standard error over data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyro_vae.errors import ConfigurationError, DataError
from pyro_vae.evaluation import elbo, log_likelihood
from pyro_vae.parts import numel
from pyro_vae.variants import Variant

__all__ = ["Number", "Numbers", "numbers"]


@dataclass(frozen=True)
class Number:
    """A mean over data, in nats per datum.

    Attributes:
        name: ``elbo``, ``reconstruction``, ``kl`` or ``log_likelihood``.
        label: how a table calls it.
        mean: nats per datum.
        standard_error: of the mean, over data.
        bits_per_dimension: the cost in bits of each dimension of x: minus the mean (the KL itself), divided by
            D log 2.
        data: number of data that the mean is over.
    """

    name: str
    label: str
    mean: float
    standard_error: float
    bits_per_dimension: float
    data: int


@dataclass(frozen=True)
class Numbers:
    """What :func:`numbers` found out.

    Attributes:
        rows: by name.
        notes: a sentence on each number that does not exist for this variant, and on how it was estimated.
        num_samples: draws per datum for log p(x).
    """

    rows: dict[str, Number]
    notes: list[str]
    num_samples: int


def numbers(variant: Variant, x: Any, *, num_samples: int = 1000, max_data: int = 1000, seed: int = 0) -> Numbers:
    """ELBO, reconstruction, KL and log p(x) of data, with standard errors over the data.

    Args:
        variant: any variant.
        x: data (N, \\*shape).
        num_samples: draws per datum from the guide, for log p(x).
        max_data: log p(x) is estimated for so many data, drawn at random, at most: it costs ``num_samples`` times
            as much as the ELBO.
        seed: of all draws; the random stream outside is left alone.

    Raises:
        DataError: when the data do not fit.
    """
    x = variant.as_data(x)
    cuda = [variant.device] if variant.device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.manual_seed(seed)
        terms = elbo(variant, x, num_samples=10)
        labels = {"elbo": "ELBO", "reconstruction": "reconstruction", "kl": "KL"}
        rows = {name: _number(variant, name, labels[name], getattr(terms, name)) for name in labels}
        notes = []
        chosen = torch.randperm(len(x))[:max_data].sort().values.to(x.device)
        try:
            log_p = log_likelihood(variant, x[chosen], num_samples=num_samples)
        except (ConfigurationError, DataError) as error:
            notes.append(str(error))
            rows = {"reconstruction": rows["reconstruction"]} if not terms.kl.any() else rows
        else:
            rows["log_likelihood"] = _number(variant, "log_likelihood", "log p(x)", log_p.as_subclass(Tensor))
            some = "" if len(chosen) == len(x) else f" {len(chosen):,} of the"
            notes.append(
                f"log p(x) by importance sampling, {num_samples:,} draws from the guide for each of{some} "
                f"{len(x):,} data; an estimate from below."
            )
    return Numbers(rows, notes, num_samples)


def _number(variant: Variant, name: str, label: str, values: Tensor) -> Number:
    mean = values.double().mean().item()
    error = values.double().std().item() / math.sqrt(len(values)) if len(values) > 1 else float("nan")
    bits = (mean if name == "kl" else -mean) / (numel(variant.shape) * math.log(2))
    return Number(name, label, mean, error, bits, len(values))

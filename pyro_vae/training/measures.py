"""What is measured on data that come in pieces, or that several processes share."""

from __future__ import annotations

from typing import Any

import torch

from pyro_vae.evaluation import elbo, kl_per_dimension
from pyro_vae.program import labelled
from pyro_vae.training.processes import Processes
from pyro_vae.training.sources import Source
from pyro_vae.variants.base import Variant

__all__ = ["measured", "summed"]


def measured(variant: Variant, source: Source, processes: Processes) -> dict[str, Any]:
    """Averages over data: ``elbo``, ``reconstruction``, ``kl``, what the variant's ``score`` says of its predictions,
    and ``kl_per_dimension``, a list, where there is one.

    Args:
        variant: to be measured.
        source: of the data, of which each process takes its share.
        processes: that measure together; all get the same averages.
    """
    pieces: list[dict[str, tuple[float | list[float], int]]] = []
    for x, y in source.chunks(processes.share):
        terms = elbo(variant, x, y)
        piece: dict[str, tuple[Any, int]] = {
            name: (value.mean().item(), len(x)) for name, value in zip(terms._fields, terms, strict=True)
        }
        for name, value in variant.score(x, y).items():
            assert y is not None
            piece[name] = value, int(labelled(y).sum())
        dimensions = kl_per_dimension(variant, x, y)
        if dimensions is not None:
            piece["kl_per_dimension"] = dimensions.tolist(), len(x)
        pieces.append(piece)
    everywhere = [piece for theirs in processes.gather(pieces) for piece in theirs]
    names = dict.fromkeys(name for piece in everywhere for name in piece)
    return {name: _average([piece[name] for piece in everywhere if name in piece]) for name in names}


def _average(parts: list[tuple[Any, int]]) -> Any:
    """The average of averages over so many data each."""
    if len(parts) == 1:
        return parts[0][0]
    values, weights = (torch.tensor(each, dtype=torch.float64) for each in zip(*parts, strict=True))
    return (torch.einsum("p...,p->...", values, weights) / weights.sum()).tolist()


def summed(mine: dict[str, float], processes: Processes) -> dict[str, float]:
    """Sums over processes, name by name."""
    total: dict[str, float] = {}
    for theirs in processes.gather(mine):
        for name, value in theirs.items():
            total[name] = total.get(name, 0.0) + value
    return total

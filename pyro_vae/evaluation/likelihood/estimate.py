"""Estimates with their standard errors, and what every way to make them has in common."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from pyro_vae.configured import Configured
from pyro_vae.errors import DataError
from pyro_vae.evaluation.progress import Advance
from pyro_vae.variants.base import Variant

__all__ = ["Estimate", "Method", "Weighted", "at_once", "check_density", "log_mean"]


class Estimate(Tensor):
    """A tensor of estimates with the ``standard_error`` of each beside it.

    Arithmetic on it gives plain tensors.
    """

    standard_error: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def of(cls, values: Tensor, errors: Tensor) -> Estimate:
        """Values and their standard errors."""
        estimate = values.as_subclass(cls)
        estimate.standard_error = errors
        return estimate

    def __deepcopy__(self, memo: dict[int, Any]) -> Estimate:
        return self.of(self.as_subclass(Tensor).clone(), self.standard_error.clone())

    def __reduce_ex__(self, protocol: Any) -> Any:  # torch's would leave the errors out
        return self.of, (self.as_subclass(Tensor), self.standard_error)


class Method(Configured):
    """A way to compute or estimate log p(x)."""

    num_samples = 1000
    """Draws per datum where the user does not say how many."""

    reads_guide = True
    """Whether it needs the guide's density."""

    def estimate(
        self, variant: Variant, x: Tensor, y: Tensor | None, num_samples: int, chunk: int, advance: Advance
    ) -> tuple[Tensor, Tensor]:
        """log p of each datum and its standard error, (N,) each, in double precision, on the CPU.

        Args:
            variant: any variant, in evaluation mode, its gradients off.
            x: checked data (N, \\*shape), all with labels or all without.
            y: their labels, in variants that have them.
            num_samples: K, draws per datum.
            chunk: how many draws (data times samples) are held in memory at once.
            advance: called with the number of draws that have been made since the last time.
        """
        raise NotImplementedError


class Weighted(Method):
    """The log of the mean of weights of draws, each of which has the mean p(x)."""

    def log_weights(self, variant: Variant, x: Tensor, y: Tensor | None, num_samples: int, advance: Advance) -> Tensor:
        """The logs of the weights of K draws for each datum, (K, N), or (1, N) where all draws share them."""
        raise NotImplementedError

    def estimate(
        self, variant: Variant, x: Tensor, y: Tensor | None, num_samples: int, chunk: int, advance: Advance
    ) -> tuple[Tensor, Tensor]:
        # a guide that sums over codes or classes runs the networks for all of them
        data_at_once, samples_at_once = at_once(len(x), num_samples, max(1, chunk // variant.values_at_once(y)))
        found = []
        for rows in torch.arange(len(x), device=x.device).split(data_at_once):
            some = x[rows], None if y is None else y[rows]
            pieces = []
            for start in range(0, num_samples, samples_at_once):
                draws = min(samples_at_once, num_samples - start)
                log_w = self.log_weights(variant, *some, draws, advance).double().expand(draws, len(rows))
                pieces.append((log_w.logsumexp(0), (2 * log_w).logsumexp(0)))
            log_sum, log_squares = (torch.stack(sums).logsumexp(0) for sums in zip(*pieces, strict=True))
            found.append(log_mean(log_sum, log_squares, num_samples))
        values, errors = (torch.cat(of_all).cpu() for of_all in zip(*found, strict=True))
        return values, errors


def log_mean(log_sum: Tensor, log_squares: Tensor, num_samples: int) -> tuple[Tensor, Tensor]:
    """The log of the mean of K weights w, and its standard error by the delta method, sd(w) / (mean(w) sqrt(K)).

    Args:
        log_sum: log of the sum of w, (N,).
        log_squares: log of the sum of w^2, (N,).
        num_samples: K.

    Example:
        >>> log_w = torch.tensor([[1.0, 3.0], [3.0, 3.0]]).log()
        >>> log_mean(log_w.logsumexp(0), (2 * log_w).logsumexp(0), 2)
        (tensor([0.6931, 1.0986]), tensor([0.5000, 0.0000]))
    """
    # variance of the mean over its square: sum w^2 / (sum w)^2 - 1 / K, with K - 1 in place of one K
    relative = ((log_squares - 2 * log_sum).exp() - 1 / num_samples) * num_samples / max(1, num_samples - 1)
    unknown = torch.full_like(relative, math.nan)  # one draw says nothing about its spread
    return log_sum - math.log(num_samples), relative.clamp(min=0).sqrt() if num_samples > 1 else unknown


def check_density(variant: Variant, *, guide: bool = True) -> None:
    """Check that all parts have a density.

    Args:
        variant: any variant.
        guide: whether those of the guide need one.

    Raises:
        DataError: naming those that have none.
    """
    missing = variant.model.parts_without_density() + (variant.guide.parts_without_density() if guide else [])
    if missing:
        names = ", ".join(map(repr, missing))
        raise DataError(f"log p(x) cannot be estimated: {names} {'have' if missing[1:] else 'has'} no density")


def at_once(n: int, num_samples: int, chunk: int) -> tuple[int, int]:
    """How many of ``n`` data, and of ``num_samples`` draws for each, go through the networks together.

    Args:
        n: number of data.
        num_samples: draws per datum.
        chunk: the most draws (data times samples) that may be in memory at once.

    Example:
        >>> at_once(64, 100, 1000), at_once(64, 100, 30)
        ((10, 100), (1, 30))
    """
    data = max(1, min(n, chunk // min(num_samples, chunk)))
    return data, max(1, min(num_samples, chunk // data))

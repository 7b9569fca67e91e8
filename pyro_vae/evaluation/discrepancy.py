"""Whether two samples are from one distribution: the maximum mean discrepancy, and its permutation test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_vae.errors import DataError, check_positive

__all__ = ["Discrepancy", "maximum_mean_discrepancy"]


@dataclass(frozen=True)
class Discrepancy:
    """The squared maximum mean discrepancy of two samples.

    Attributes:
        mmd2: its unbiased estimate, 0 on average for samples of one distribution; it may be negative.
        p_value: how often it is as large if the two samples are mixed up; NaN without permutations.
        bandwidths: of the kernels, whose mean is taken.
    """

    mmd2: float
    p_value: float
    bandwidths: tuple[float, ...]


def maximum_mean_discrepancy(
    first: Tensor, second: Tensor, *, bandwidths: Sequence[float] | None = None, permutations: int = 500
) -> Discrepancy:
    """MMD^2 of two samples, with Gaussian kernels exp(-|a - b|^2 / 2 h^2), and a permutation test.

    E k(a, a') + E k(b, b') - 2 E k(a, b), each mean over pairs of different draws.  It is 0 in the limit only if the
    two distributions are one.

    Args:
        first: independent draws (n, D).
        second: independent draws (m, D).
        bandwidths: h, one or several; the median distance between any two draws of both samples if not given.
        permutations: of the draws among the two samples, by torch's random state; 0 for no test.

    Raises:
        DataError: for samples of fewer than two draws, of different sizes of draws, or that are not finite; for
            bandwidths that are not positive.

    Example:
        >>> found = maximum_mean_discrepancy(torch.zeros(50, 2), torch.ones(50, 2), permutations=99)
        >>> round(found.mmd2, 3), found.p_value, found.bandwidths
        (0.787, 0.01, (1.4142135623730951,))

    References:
        Gretton et al., A Kernel Two-Sample Test, 2012, lemma 6 (https://jmlr.org/papers/v13/gretton12a.html)
    """
    n, m = len(first), len(second)
    if n < 2 or m < 2 or first.shape[1:] != second.shape[1:] or first.dim() != 2:
        raise DataError(
            f"the maximum mean discrepancy wants two samples (n, D) and (m, D) of at least two draws each, got shapes "
            f"{tuple(first.shape)} and {tuple(second.shape)}"
        )
    pooled = torch.cat([first, second]).double()
    if not pooled.isfinite().all():
        raise DataError("the maximum mean discrepancy wants finite draws; some are NaN or infinite")
    if bandwidths is not None and (not len(bandwidths) or not all(0 < h < float("inf") for h in bandwidths)):
        raise DataError(f"bandwidths must be positive numbers, at least one, got {list(bandwidths)}")
    # not by products: far from the origin they would cancel
    distances = torch.cdist(pooled, pooled, compute_mode="donot_use_mm_for_euclid_dist")
    chosen = _median_of_pairs(distances) if bandwidths is None else tuple(map(float, bandwidths))
    kernel = sum(torch.exp(-0.5 * (distances / h) ** 2) for h in chosen) / len(chosen)
    assert isinstance(kernel, Tensor)
    kernel.fill_diagonal_(0.0)  # pairs of different draws only
    belongs = torch.zeros(1, n + m).to(kernel)
    belongs[:, :n] = 1.0
    observed = _mmd2(kernel, belongs)
    if not permutations:
        return Discrepancy(observed.item(), float("nan"), chosen)
    check_positive("permutations", permutations)
    shuffled = belongs.expand(permutations, -1).gather(1, torch.rand_like(belongs.expand(permutations, -1)).argsort(1))
    # the given order is one of the orders, so that a test at level a is wrong a of the time at most
    as_large = (_mmd2(kernel, shuffled) >= observed).sum().item()
    return Discrepancy(observed.item(), (1 + as_large) / (1 + permutations), chosen)


def _mmd2(kernel: Tensor, belongs: Tensor) -> Tensor:
    """MMD^2 (P,) for each way to part the draws in two, from the kernel (M, M) with a diagonal of 0.

    Args:
        kernel: of all pairs of draws.
        belongs: (P, M), 1 for draws of the first sample and 0 for those of the second.
    """
    n = belongs[0].sum()
    m = belongs.shape[1] - n
    inside = ((belongs @ kernel) * belongs).sum(1)
    across = belongs @ kernel.sum(1) - inside
    outside = kernel.sum() - inside - 2 * across
    return inside / (n * (n - 1)) + outside / (m * (m - 1)) - 2 * across / (n * m)


def _median_of_pairs(distances: Tensor) -> tuple[float]:
    """The median distance of different draws, from all (M, M); 1 where most draws are one and the same."""
    size = len(distances)
    row, column = torch.triu_indices(size, size, offset=1, device=distances.device)
    return (distances[row, column].median().item() or 1.0,)

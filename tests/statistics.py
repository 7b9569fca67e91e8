"""Comparison of an average of draws with what it should be."""

import torch


def z_score(draws, expected, dim=0):
    """How many standard errors the mean of draws lies from the expectation; 0 where nothing varies and all agree."""
    draws = torch.as_tensor(draws, dtype=torch.float64).detach()
    expected = torch.as_tensor(expected, dtype=torch.float64).detach()
    difference = draws.mean(dim) - expected
    error = draws.std(dim) / draws.shape[dim] ** 0.5
    negligible = difference.abs() <= 1e-9 * (1 + expected.abs())
    return torch.where(negligible, torch.zeros_like(difference), difference / error)


def assert_mean(draws, expected, limit=4.0, dim=0):
    """The mean of independent draws is what is expected, within ``limit`` standard errors."""
    z = z_score(draws, expected, dim)
    assert z.abs().max() < limit, f"z-scores up to {z.abs().max():.1f}: {z}"

"""log p(x) itself, where the integral over the latents is known: of linear-Gaussian stories, and of few codes."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

import torch
from pyro import poutine
from torch import Tensor

from pyro_vae.errors import ConfigurationError
from pyro_vae.evaluation.elbo import repeated
from pyro_vae.evaluation.joint import Latents, LogJoint
from pyro_vae.evaluation.likelihood.estimate import Method, at_once
from pyro_vae.evaluation.progress import Advance
from pyro_vae.program import sample_sites
from pyro_vae.randomness import seeded
from pyro_vae.variants.base import Variant
from pyro_vae.variants.contexts import evaluating

__all__ = ["Exact"]

_MOST = 2**12
_CHECKS = 8
_TOLERANCE = 1e-6


class Exact(Method):
    """log p(x) without an error, where it can be had.

    - **Discrete latents** with at most 4,096 joint values: p(x) is the sum of p(x, z) over all of them.
    - **Real latents** in a linear-Gaussian story, probabilistic PCA and its relatives: every latent is normal, and so
      is what depends on it, with a mean that is affine and a scale that is the same for all values of the latents.
      log p(x, z) is then a quadratic function of z, and the integral of its exponential is known from its value, its
      gradient and its second derivatives at one point.  Whether it is quadratic is checked at draws from the prior.
    - **Both**: a sum of such integrals.

    It is computed in double precision.

    References:
        Tipping & Bishop, Probabilistic Principal Component Analysis, 1999 (https://doi.org/10.1111/1467-9868.00196)
    """

    num_samples = 1
    reads_guide = False

    def estimate(
        self, variant: Variant, x: Tensor, y: Tensor | None, num_samples: int, chunk: int, advance: Advance
    ) -> tuple[Tensor, Tensor]:
        twin = copy.deepcopy(variant).double()
        x = x.double() if x.is_floating_point() else x
        y = y.double() if y is not None and y.is_floating_point() else y
        with evaluating(twin), seeded(0, variant.device):
            first = LogJoint(twin, x[:1], None if y is None else y[:1], sums=False)
            _check_story(twin, first)
            data_at_once, _ = at_once(len(x), _values_of(first) * _points(first.size), chunk)
            found = []
            for rows in torch.arange(len(x), device=x.device).split(data_at_once):
                joint = LogJoint(twin, x[rows], None if y is None else y[rows], sums=False)
                found.append(_exact(joint, max(1, chunk // (len(rows) * _points(joint.size)))))
                advance(num_samples * len(rows))
        values = torch.cat(found).cpu()
        return values, torch.zeros_like(values)


def _check_story(variant: Variant, joint: LogJoint) -> None:
    """Check that the latents can be integrated over, as far as the kinds of distributions tell.

    Raises:
        ConfigurationError: when they cannot.
    """
    if _values_of(joint) > _MOST:
        raise ConfigurationError(
            f"method='exact' sums over all values of discrete latents, of which there are more than {_MOST:,} here; "
            f"use 'importance' or 'ais'"
        )
    trace = poutine.trace(repeated(variant.model, 1)).get_trace(*joint.arguments)
    for site in sample_sites(trace):
        of_reals = site["name"] in joint.real or (site["is_observed"] and site["value"].is_floating_point())
        if joint.size and of_reals and not _is_normal(site["fn"]):
            raise ConfigurationError(
                f"method='exact' with real latents is for linear-Gaussian stories, and site {site['name']!r} is a "
                f"{_plain(site['fn'])}, not a normal; use 'importance' or 'ais'"
            )


def _base(fn: Any) -> Any:
    while isinstance(fn, torch.distributions.Independent):
        fn = fn.base_dist
    return fn


def _is_normal(fn: Any) -> bool:
    normals = torch.distributions.Normal, torch.distributions.MultivariateNormal
    return isinstance(_base(fn), (*normals, torch.distributions.LowRankMultivariateNormal))


def _plain(fn: Any) -> str:
    return type(_base(fn)).__name__.lstrip("_")


def _points(size: int) -> int:
    """At how many points log p(x, z) is looked at to integrate over real latents."""
    return 1 + size + _CHECKS if size else 1


def _values_of(joint: LogJoint) -> int:
    """How many joint values the discrete latents have."""
    return math.prod(latent.levels**latent.places for latent in joint.discrete.values())


def _listed(joint: LogJoint, some: int) -> Iterator[Latents]:
    """All joint values (M, \\*event) of the discrete latents, ``some`` of them at a time."""
    levels = [latent.levels for latent in joint.discrete.values() for _ in range(latent.places)]
    for numbers in torch.arange(math.prod(levels), device=joint.variant.device).split(some):
        digits = torch.stack(torch.unravel_index(numbers, tuple(levels)), -1) if levels else numbers[:, None]
        places = [latent.places for latent in joint.discrete.values()]
        pieces = digits.split(places, -1) if levels else ()
        yield {
            name: latent.from_choices(piece)
            for (name, latent), piece in zip(joint.discrete.items(), pieces, strict=True)
        }


def _exact(joint: LogJoint, some: int) -> Tensor:
    """log p(x), (N,), with at most ``some`` of the discrete latents' values at once."""
    terms = []
    for values in _listed(joint, some):
        count = next((len(value) for value in values.values()), 1)
        if joint.size:
            terms.append(_integrated(joint, values, count))
        else:
            given = {name: _for_each(value, joint.n) for name, value in values.items()}
            terms.append(joint(given).logsumexp(0))
    return torch.stack(terms).logsumexp(0)


def _for_each(values: Tensor, n: int) -> Tensor:
    """Values (M, \\*event) for each of n data, (M, n, \\*event)."""
    return values[:, None].expand(len(values), n, *values.shape[1:])


def _integrated(joint: LogJoint, values: Latents, count: int) -> Tensor:
    """The log of p(x, z) integrated over the real latents, and summed over the given values of the others, (N,).

    With g and -A the gradient and the second derivatives of log p(x, z) at z = 0, the integral over z is
    log p(x, 0) + g' A^-1 g / 2 + D log(2 pi) / 2 - log det(A) / 2.
    """
    size, points = joint.size, _points(joint.size)
    # the origin, a step along each dimension (the gradients' differences are the second derivatives), and checks
    look = joint.pack(joint.from_prior(1)).new_zeros(points, joint.n, size)
    look[1 : 1 + size] = torch.eye(size).to(look)[:, None]
    look[1 + size :] = joint.pack(joint.from_prior(_CHECKS))
    everywhere = look.expand(count, points, joint.n, size).reshape(-1, joint.n, size).requires_grad_()
    others = {name: _for_each(value.repeat_interleave(points, 0), joint.n) for name, value in values.items()}
    with torch.enable_grad():
        log_p = joint({**joint.unpack(everywhere), **others})
        (gradient,) = torch.autograd.grad(log_p.sum(), everywhere)
    log_p, gradient = (found.detach().unflatten(0, (count, points)) for found in (log_p, gradient))
    start, slope = log_p[:, 0], gradient[:, 0]  # (M, N), (M, N, D)
    precision = -(gradient[:, 1 : 1 + size] - slope[:, None]).movedim(1, -1)  # (M, N, D, D)
    checks = look[1 + size :]
    expected = slope[:, None] - torch.einsum("mnde,cne->mcnd", precision, checks)
    scale = gradient.abs().amax((1, 3), keepdim=True) + 1
    if not ((gradient[:, 1 + size :] - expected).abs() <= _TOLERANCE * scale).all():
        raise ConfigurationError(
            "method='exact' with real latents is for linear-Gaussian stories, and log p(x, z) is no quadratic function "
            "of z here: its decoder must be linear (networks.MLP([])), with a scale that does not depend on z; use "
            "'importance' or 'ais'"
        )
    root = torch.linalg.cholesky(precision)
    shift = torch.linalg.solve_triangular(root, slope[..., None], upper=False)[..., 0]
    log_det = root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    log_integral = start + 0.5 * shift.square().sum(-1) + 0.5 * size * math.log(2 * math.pi) - log_det
    return log_integral.logsumexp(0)

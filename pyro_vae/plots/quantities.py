"""What plots read off a variant: codes, draws and quantiles of the prior.

Everything comes from the variant's own distributions.  Random numbers are drawn with a fixed seed, and the global
random state is left as it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Independent

from pyro_vae.errors import ConfigurationError, DataError
from pyro_vae.randomness import seeded
from pyro_vae.variants.base import Variant
from pyro_vae.variants.codes import point_estimate, representative
from pyro_vae.variants.contexts import evaluating

__all__ = [
    "as_batch",
    "as_xy",
    "check_dimensions",
    "check_real",
    "code_draws",
    "code_points",
    "codes",
    "colours_and_batch",
    "label_of_all",
    "labels",
    "posterior_name",
    "prior_draws",
    "prior_log_density",
    "prior_quantiles",
    "quietly",
]

_DRAWS = 20_000


@contextmanager
def quietly(variant: Variant, seed: int = 0) -> Iterator[None]:
    """No gradients, evaluation mode, and a random state that is seeded inside and restored afterwards."""
    with torch.no_grad(), evaluating(variant), seeded(seed, variant.device):
        yield


# -- arguments


def as_xy(x: Any, y: Any = None) -> tuple[Any, Any]:
    """Data and labels; those of a split, where x is one and no others are given."""
    if hasattr(x, "x") and hasattr(x, "y"):
        return x.x, x.y if y is None else y
    return x, y


def as_batch(variant: Variant, x: Any, y: Any = None, n: int | None = None) -> tuple[Tensor, Tensor | None]:
    """The first ``n`` data (all if not given) with their labels, checked, as the variant takes them.

    Args:
        variant: any variant; the labels of a split are left aside where its story has none.
        x: data, or a split.
        y: labels: one for each, or one for all.
        n: how many.

    Raises:
        DataError: when data or labels do not fit.
    """
    if variant.labels == "none" and y is None:
        x = as_xy(x)[0]
    x, y = as_xy(x, y)
    if y is not None and variant.label is not None:
        y = torch.as_tensor(y)
        if y.shape == variant.label.shape:
            y = y.expand(len(x), *y.shape)
    return variant.batch(x[:n], None if y is None else y[:n])


def label_of_all(variant: Variant, y: Any, plot: str) -> Any:
    """The one label that all codes of a picture are decoded with, or ``None`` where codes are decoded alone.

    Raises:
        DataError: when there must be one and it is not given, or the other way round.
    """
    if variant.decodes_label and y is None:
        raise DataError(
            f"{type(variant).__name__} decodes a code together with a label; say which one: plots.{plot}(..., y=3)"
        )
    if y is not None and not variant.decodes_label:
        raise DataError(f"the data of {type(variant).__name__} do not depend on labels; leave y out of plots.{plot}")
    return y


def colours_and_batch(variant: Variant, x: Any, y: Any) -> tuple[Tensor, Tensor | None, np.ndarray | None]:
    """Data and labels as the variant takes them, and what their codes are coloured by.

    Where the story has labels those are the colours (of several properties the first); where it has none, any y is.

    Raises:
        DataError: when data or labels do not fit.
    """
    variant.check_code()
    if variant.labels == "none":
        x, y = as_xy(x, y)
        x = variant.as_data(x)
        return x, None, labels(y, len(x))
    x, y = as_batch(variant, x, y)
    return x, y, labels(y if y is None or y.dim() == 1 else y.flatten(1)[:, 0], len(x))


def labels(y: Any, n: int) -> np.ndarray | None:
    """Labels (N,): whole numbers are classes (-1 where missing), floating point numbers reals (NaN where missing).

    Raises:
        DataError: when there is not one label for each datum.
    """
    if y is None:
        return None
    y = y.detach().cpu().numpy() if isinstance(y, Tensor) else np.asarray(y)
    if y.dtype.kind not in "biuf":
        raise DataError(f"y: wanted whole numbers (classes) or real numbers, got {y.dtype}")
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.shape != (n,):
        hint = "; choose one column, y[:, 0]" if y.ndim == 2 and len(y) == n else ""
        raise DataError(f"y: wanted one label for each of {n} data, got shape {tuple(y.shape)}{hint}")
    return y.astype(float) if y.dtype.kind == "f" else y.astype(int)


def check_dimensions(variant: Variant, dimensions: int | Sequence[int]) -> list[int]:
    """Latent dimensions, counted from 0, as a list.

    Raises:
        ConfigurationError: when the variant has no such dimension.
    """
    variant.check_code()
    chosen = [dimensions] if isinstance(dimensions, int) else [int(d) for d in dimensions]
    size = variant.latent_size
    if not chosen or any(not 0 <= d < size for d in chosen):
        raise ConfigurationError(f"the latent dimensions are 0 to {size - 1}, got {dimensions!r}")
    return chosen


def check_real(variant: Variant, plot: str, instead: str) -> None:
    """Check that codes are real, where a picture shows what lies between them.

    Args:
        variant: any variant with codes.
        plot: what is to be drawn.
        instead: what there is for discrete codes.

    Raises:
        ConfigurationError: when they are discrete.
    """
    if variant.discrete_code:
        raise ConfigurationError(
            f"{plot} goes through real codes, and those of this {type(variant).__name__} are discrete, with nothing "
            f"between them; {instead}"
        )


# -- the guide


def posterior_name(variant: Variant) -> str:
    """``q(z | x)``, or ``q(z | x, y)`` where the guide reads the label."""
    return f"q({variant.code} | {'x, y' if variant.decodes_label or not variant.explains_data else 'x'})"


def _encoded(variant: Variant, x: Any, y: Any, read: Any) -> Tensor:
    x, y = as_batch(variant, x, y)
    with quietly(variant):
        return torch.cat(
            [
                read(variant.encode(x[start : start + 1000], None if y is None else y[start : start + 1000]))
                for start in range(0, len(x), 1000)
            ]
        )


def codes(variant: Variant, x: Any, y: Any = None) -> Tensor:
    """Means of q(z | x), (N, \\*code_shape), or of q(z | x, y); one draw of z where the mean has no closed form.

    Of discrete codes they are probabilities, and no codes.

    Raises:
        DataError: when data or labels do not fit.
    """
    return _encoded(variant, x, y, representative)


def code_points(variant: Variant, x: Any, y: Any = None) -> Tensor:
    """The code of each datum that is to be decoded, (N, \\*code_shape): the mean, or the mode of a discrete one.

    Raises:
        DataError: when data or labels do not fit.
    """
    return _encoded(variant, x, y, point_estimate)


def code_draws(variant: Variant, x: Any, y: Any = None) -> Tensor:
    """One draw from q(z | x) for each datum, (N, \\*code_shape): together a sample of the aggregate posterior.

    Raises:
        DataError: when data or labels do not fit.
    """
    return _encoded(variant, x, y, lambda q: q.sample())


# -- the prior


def prior_draws(variant: Variant, n: int = _DRAWS) -> Tensor:
    """Draws from p(z), (n, \\*code_shape).

    Raises:
        ConfigurationError: when the prior cannot be drawn from.
    """
    with quietly(variant):
        return variant.draw_codes(n)


def prior_log_density(variant: Variant, z: Tensor) -> Tensor | None:
    """log p(z) of codes (\\*batch, D) in nats, or ``None`` where the prior has no density."""
    with quietly(variant):
        try:
            return variant.code_prior().log_prob(z)
        except NotImplementedError:
            return None


def prior_quantiles(variant: Variant, probabilities: Sequence[float], x: Any = None, y: Any = None) -> Tensor:
    """Quantiles of each latent dimension, (P, D), at P probabilities.

    They come from the inverse distribution function where the prior factorises over the dimensions and has one,
    else from draws; and where there is no prior to draw from, from the codes of the data ``x`` with labels ``y``.

    Raises:
        ConfigurationError: when the prior cannot be drawn from and no data are given.
        DataError: when they are too few to have quantiles.
    """
    p = torch.as_tensor(list(probabilities), dtype=variant.dtype, device=variant.device)
    with quietly(variant):
        exact = _inverse(variant.code_prior(), p)
    if exact is not None:
        return exact
    try:
        z = prior_draws(variant, _DRAWS // 2)
    except ConfigurationError as error:
        if x is None:
            raise ConfigurationError(
                f"{error}. Where data are given (plots.traversal(variant, x)), the quantiles are those of their codes"
            ) from None
        z = codes(variant, x, y)
        if len(z) < 10:
            raise DataError(
                f"x: {type(variant).__name__} has no prior to draw from, so quantiles are those of the codes of x, "
                f"and {len(z)} {'data are' if len(z) > 1 else 'datum is'} too few; give at least 10"
            ) from None
    # torch.quantile refuses large tensors
    return torch.from_numpy(np.quantile(z.double().cpu().numpy(), p.double().cpu().numpy(), axis=0)).to(p)


def _inverse(prior: Any, p: Tensor) -> Tensor | None:
    if not isinstance(prior, Independent) or prior.reinterpreted_batch_ndims != 1:
        return None
    try:
        return prior.base_dist.icdf(p[:, None].expand(-1, *prior.event_shape))
    except NotImplementedError:
        return None

"""What labels do to data: samples of each class, and one style in every class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pyro_vae.errors import ConfigurationError, check_count
from pyro_vae.plots.grids import is_image, shortened, show
from pyro_vae.plots.pictures import as_array
from pyro_vae.plots.quantities import as_batch, code_points
from pyro_vae.plots.style import Figure
from pyro_vae.variants.base import Variant

__all__ = ["conditional_samples", "styles"]

_LEVELS = 7
"""Of properties so many values are shown, from low to high."""

_MOST = 20
"""Of more classes so many are shown, from the first to the last."""


def conditional_samples(
    variant: Variant,
    n_per_class: int = 10,
    *,
    class_names: Sequence[str] | None = None,
    feature_names: Sequence[str] | None = None,
) -> Figure:
    """New data of each class, a row for each: what ``variant.generate(n, y)`` gives.

    Of more than 20 classes 20 are shown, at equal distances.  Properties take seven values, from one standard deviation
    below the mean of the known ones to one above.  Draws follow torch's global random state.

    Args:
        variant: any variant that generates data for a given label.
        n_per_class: how many data of each.
        class_names: one for each class.
        feature_names: of vectors.

    Raises:
        ConfigurationError: in a variant whose data do not depend on labels, or when data of this shape cannot be drawn.

    Example:
        >>> import pyro_vae as pv
        >>> from pyro_vae import labels, likelihoods, plots, priors
        >>> cvae = pv.ConditionalVAE(labels.Categorical(3), priors.StandardNormal(2), likelihoods.Bernoulli((1, 8, 8)))
        >>> figure = plots.conditional_samples(cvae, 4)
    """
    check_count("n_per_class", n_per_class, 1)
    if not variant.generates_from_label:
        raise ConfigurationError(f"the data of {type(variant).__name__} do not depend on labels; use plots.samples")
    is_image(variant.shape)
    values, names = _values(variant, class_names)
    x = variant.generate(len(values) * n_per_class, values.repeat_interleave(n_per_class, 0))
    which = _some_of(variant, len(values)) or "each label"
    title = f"{n_per_class} sample{'s' * (n_per_class > 1)} for {which}: E[x | {_decoded(variant)}]"
    title += f" with {variant.code} from the prior"
    rows = names if _classes(variant) else [f"y = {name}" for name in names]
    return show(variant, as_array(x.unflatten(0, (len(values), -1))), title, rows=rows, names=feature_names)


def styles(
    variant: Variant,
    x: Any,
    y: Any = None,
    n: int = 8,
    *,
    class_names: Sequence[str] | None = None,
    feature_names: Sequence[str] | None = None,
) -> Figure:
    """One style in every class: each datum, then E[x | z, y] with its own code z and each class y in turn.

    Where label and style are told apart, a row keeps slant and stroke while the class changes.  Of more than 20 classes
    20 are shown, at equal distances.  Properties take
    seven values, from one standard deviation below the mean of the known ones to one above.

    Args:
        variant: any variant that decodes codes together with labels.
        x: data (N, \\*shape), or a split.
        y: labels, which the encoder reads; one that is missing is replaced by its prediction.
        n: how many data.
        class_names: one for each class.
        feature_names: of vectors.

    Raises:
        DataError: when data or labels do not fit.
        ConfigurationError: in a variant that decodes codes alone, or when data of this shape cannot be drawn.

    Example:
        >>> import torch
        >>> import pyro_vae as pv
        >>> from pyro_vae import labels, likelihoods, plots, priors
        >>> m2 = pv.M2(3, priors.StandardNormal(2), likelihoods.Bernoulli((1, 8, 8)))
        >>> figure = plots.styles(m2, torch.zeros(4, 1, 8, 8))

    References:
        Kingma, Rezende, Mohamed & Welling, 2014, figure 1b (https://arxiv.org/abs/1406.5298)
    """
    variant.check_code()
    if not variant.decodes_label:
        raise ConfigurationError(
            f"{type(variant).__name__} decodes codes without labels, so no style can be shown in every class"
        )
    is_image(variant.shape)
    x, y = as_batch(variant, x, y, check_count("n", n, 1))
    z = code_points(variant, x, y)
    values, names = _values(variant, class_names)
    made = torch.stack([variant.decode(z, value).mean for value in values], 1)
    data = torch.cat([x[:, None].to(made.dtype), made], 1)
    some = _some_of(variant, len(values))
    which = f"in {some or 'every class'}" if _classes(variant) else "with each label"
    title = f"One style {which}: E[x | {_decoded(variant)}]"
    rows = [f"datum {i}" for i in range(len(data))] if not is_image(variant.shape) else []
    return show(variant, as_array(data), title, rows=rows, columns=["datum", *names], names=feature_names)


def _decoded(variant: Variant) -> str:
    return f"{variant.code}, y" if variant.decodes_label else variant.code


def _some_of(variant: Variant, shown: int) -> str:
    """How many classes are shown, if not all."""
    classes = _classes(variant)
    return f"{shown} of {classes} classes" if classes is not None and shown < classes else ""


def _classes(variant: Variant) -> int | None:
    assert variant.label is not None
    return variant.label.classes


def _values(variant: Variant, class_names: Sequence[str] | None) -> tuple[Tensor, list[str]]:
    """The labels to show, and what to call them."""
    assert variant.label is not None
    classes = _classes(variant)
    values = variant.label.example(_LEVELS if classes is None else classes)
    if classes is not None:
        known = class_names or ()
        values = values[torch.linspace(0, classes - 1, min(classes, _MOST)).long()]
        return values, [shortened(known[k]) if k < len(known) else str(k) for k in values.tolist()]
    return values, [", ".join(f"{number:.3g}" for number in row) for row in values.flatten(1).tolist()]

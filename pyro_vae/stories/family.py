"""What can be read off a distribution object: its family, its parameters, whether it is a distribution at all."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from pyro.distributions import Delta, ExpandedDistribution, ImproperUniform, Independent, MaskedDistribution, Unit
from pyro.ops.provenance import detach_provenance
from torch import Tensor

from pyro_vae.parts import Shape, support_of

__all__ = ["Family", "alike", "innermost", "read_family"]


_FORMS = {name: {"logits", "probs"} for name in ("logits", "probs")}
"""What torch computes from each other when it needs them."""


@dataclass(frozen=True)
class Family:
    """A site's distribution, read off the object that the program drew from.

    Attributes:
        name: of the class, without what wraps it.
        event_shape: shape of one value.
        support: torch's constraint, or ``None`` where the distribution does not say.
        parameters: names of its parameters, each with its value where that is one fixed number.
        computed: names of the parameters that are functions of other sites or of the programs' arguments.
        learned: names of the other parameters that are trained.
        improper: log p is 0 everywhere.
        point: a delta whose place is a function of the parents alone, not itself random.
        factor: no distribution but a ``pyro.factor``, a term that the program adds to its log-density.
    """

    name: str
    event_shape: Shape
    support: Any
    parameters: dict[str, float | None]
    computed: tuple[str, ...]
    learned: tuple[str, ...]
    improper: bool
    point: bool
    factor: bool


def innermost(distribution: Any) -> Any:
    """The distribution inside all that expands, masks or declares dimensions."""
    while isinstance(
        distribution, Independent | torch.distributions.Independent | ExpandedDistribution | MaskedDistribution
    ):
        distribution = distribution.base_dist
    return distribution


def alike(one: Any, other: Any) -> bool:
    """Whether one distribution is the other, up to the expansion by a plate."""
    if type(innermost(one)) is not type(innermost(other)) or one.event_shape != other.event_shape:
        return False
    # an expanded parameter shares its storage with the original
    places = [{v.data_ptr() for v in vars(innermost(d)).values() if isinstance(v, Tensor)} for d in (one, other)]
    return not all(places) or bool(places[0] & places[1])


def read_family(fn: Any, computed: Collection[str], value: Any, again: Any) -> Family:
    """The family of a distribution.

    Args:
        fn: the distribution.
        computed: names of parameters that are computed from parents.
        value: a draw.
        again: another draw with the same parents, to know a point by.
    """
    inner = innermost(fn)
    constraints = inner.arg_constraints if isinstance(inner.arg_constraints, dict) else {}
    parameters: dict[str, float | None] = {}
    from_parents, learned = [], []
    given = [name for name in constraints if name in vars(inner)]
    # torch computes the other forms of a parameter when it needs them; one is enough
    if "logits" in given or "probs" in given:
        told = "logits" if not _FORMS["logits"].isdisjoint(computed) or inner.logits.requires_grad else "probs"
        given = [name for name in given if name not in ("logits", "probs")] + [told]
    if "scale_tril" in given:
        given = [name for name in given if not name.endswith("_matrix")]
    for name in given:
        tensor = torch.as_tensor(detach_provenance(getattr(inner, name)))
        parameters[name] = None
        if not _FORMS.get(name, {name}).isdisjoint(computed):
            from_parents.append(name)
        elif tensor.requires_grad:
            learned.append(name)
        elif tensor.numel() and bool((tensor == tensor.flatten()[0]).all()):
            parameters[name] = tensor.flatten()[0].item()
    value, again = detach_provenance(value), detach_provenance(again)
    point = isinstance(inner, Delta) and value.shape == again.shape and bool(torch.equal(value, again))
    return Family(
        type(inner).__name__.lstrip("_"),
        tuple(fn.event_shape),
        support_of(fn),
        parameters,
        tuple(from_parents),
        tuple(learned),
        isinstance(inner, ImproperUniform),
        point,
        isinstance(inner, Unit),
    )

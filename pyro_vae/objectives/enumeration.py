"""Traces in which discrete sites take all their values at once, and expectations over them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyro import poutine
from pyro.infer.util import is_validation_enabled
from pyro.poutine.enum_messenger import EnumMessenger
from pyro.util import check_model_guide_match, check_site_shape
from torch import Tensor

from pyro_vae.program import sample_sites

__all__ = [
    "enumerated_trace",
    "enumerated_traces",
    "expectation",
    "is_enumerated",
    "joint_probability",
    "log_density",
]


def enumerated_traces(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    arguments: tuple[Any, ...],
    plates: int,
    between: Callable[[Any], None] | None = None,
) -> tuple[Any, Any]:
    """Traces of model and guide, the model run against the guide.

    Sites of the guide with ``infer={"enumerate": "parallel"}`` take all their values at once, each in a dimension of
    its own in front of the ``plates`` dimensions of plates.

    Args:
        model: the program that is run against the guide.
        guide: the program that is run first.
        arguments: of both.
        plates: number of dimensions of plates.
        between: called with the guide's trace before the model runs against it.
    """
    guide_trace = enumerated_trace(guide, arguments, plates)
    if between is not None:
        between(guide_trace)
    model_trace = poutine.trace(poutine.replay(model, trace=guide_trace)).get_trace(*arguments)
    if is_validation_enabled():
        check_model_guide_match(model_trace, guide_trace, plates)
        for site in [*sample_sites(model_trace), *sample_sites(guide_trace)]:
            site["log_prob"] = log_density(site)
            check_site_shape(site, plates)
    return model_trace, guide_trace


def enumerated_trace(guide: Callable[..., Any], arguments: tuple[Any, ...], plates: int) -> Any:
    """Trace of a guide alone, enumerated as by :func:`enumerated_traces`."""
    return poutine.trace(EnumMessenger(first_available_dim=-1 - plates)(guide)).get_trace(*arguments)


def log_density(site: Any) -> Tensor:
    """log p of a traced site's value, unweighted, computed once."""
    if "unscaled_log_prob" not in site:
        site["unscaled_log_prob"] = site["fn"].log_prob(site["value"])
    return site["unscaled_log_prob"]


def is_enumerated(site: Any) -> bool:
    """Whether a site of a trace holds all its values, in a dimension of their own."""
    return "_enumerate_dim" in site["infer"]


def joint_probability(guide_trace: Any, group: str = "") -> Tensor | None:
    """q of all combinations of the enumerated values, or ``None`` where nothing is enumerated.

    Args:
        guide_trace: of an enumerated guide.
        group: only sites whose names begin with it.
    """
    total: Any = None
    for site in sample_sites(guide_trace):
        if is_enumerated(site) and site["name"].startswith(group):
            log_q = log_density(site)
            total = log_q if total is None else total + log_q
    return None if total is None else total.exp()


def expectation(values: Tensor, probability: Tensor | None, plates: int) -> Tensor:
    """E_q over the enumerated sites of ``values`` (\\*enumerated, \\*plates), as (\\*plates).

    Args:
        values: a term of the objective, for all combinations of enumerated values that it depends on.
        probability: of the combinations, from :func:`joint_probability`.
        plates: number of dimensions of plates.
    """
    extra = values.dim() - plates
    if probability is None or extra <= 0:
        return values
    # what the term does not depend on sums to one
    total = probability * values
    return total.sum(tuple(range(total.dim() - plates)))

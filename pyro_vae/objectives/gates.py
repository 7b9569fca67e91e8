"""Gradients of importance weights that reach the guide by a path, and not by its score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pyro_vae.errors import ConfigurationError
from pyro_vae.objectives.enumeration import enumerated_trace, log_density
from pyro_vae.objectives.rerun import Held
from pyro_vae.objectives.weights import Weights, drawn, plates_of
from pyro_vae.program import group_of

__all__ = ["Gate", "drop_score", "put_gates", "set_ratios"]


@dataclass
class Gate:
    """Lets values pass as they are and multiplies their gradients by ``ratio``, to be set before they are computed.

    Attributes:
        group: of the site whose values pass.
        shape: of the site's densities, and of ``ratio``.
        scale: the weight of the site.
        ratio: of the same shape.
    """

    group: str
    shape: torch.Size
    scale: Any
    ratio: Tensor | None = field(default=None)

    def __call__(self, values: Tensor, event_dim: int = 0) -> Tensor:
        """The same ``values`` (\\*shape, \\*event)."""
        if not values.requires_grad:
            return values
        # a view: what the guide goes on to do with the tensor itself is not behind this gate
        same = values.view_as(values)

        def multiplied(gradient: Tensor) -> Tensor:
            assert self.ratio is not None
            return gradient * self.ratio.reshape(*self.ratio.shape, *[1] * event_dim)

        same.register_hook(multiplied)
        return same


def put_gates(guide_trace: Any) -> list[Gate]:
    """Gates before what the model sees of a guide's draws, and before their densities under the guide.

    The guide itself has drawn, so that what it made of its own earlier draws is not behind a gate.
    """
    gates = []
    for site in drawn(guide_trace):
        log_q = log_density(site)
        if site["value"].requires_grad:
            gate = Gate(group_of(site["name"]), log_q.shape, site["scale"] / plates_of(site)[1])
            site["unscaled_log_prob"] = gate(log_q)
            site["value"] = gate(site["value"], site["fn"].event_dim)
            gates.append(gate)
    return gates


def set_ratios(gates: list[Gate], weights: Weights, ratios: Tensor) -> None:
    """Let gates multiply gradients so that those of a reparametrised bound become doubly reparametrised.

    The score of a draw's log q, as it stands in log w, has the expectation of a path through z.  Put in its place it
    leaves of the path through log w the ratio 1 - beta + beta s_y (alpha + (1 - alpha) v_k), with s_y the part of w_k
    that belongs to the enumerated value y which this z was drawn for, and beta the weight of the site.

    Args:
        gates: of one kind of data.
        weights: of the same data.
        ratios: alpha + (1 - alpha) v_k, (K, B).

    Raises:
        ConfigurationError: for sites, one drawn from the other perhaps, that would need different ratios.
    """
    for gate in gates:
        if gate.shape != gates[0].shape or (gate.scale is not gates[0].scale and gate.scale != gates[0].scale):
            raise ConfigurationError(
                "gradient='dreg' needs latents that are all drawn for each enumerated value, or all for none, and "
                "that all have the same weight; use gradient='reparametrised'"
            )
        part = weights.shares() * ratios.reshape(weights.log_w.shape[-weights.plates :])
        gate.ratio = 1 - gate.scale + gate.scale * part.sum_to_size(gate.shape)


def drop_score(
    guide: Callable[..., Any], guide_trace: Any, arguments: tuple[Any, ...], plates: int, repeat: Any
) -> None:
    """Take the score out of the gradients of log q(z | x) in a guide's trace; the values stay.

    d log q(z(phi); phi) / d phi is a path through z plus the score, the derivative at a fixed z.  The guide is run
    again on its own draws, held fixed, and the score of that run is subtracted: exact for any distribution, a flow's
    or of several latents one after the other, and for parameters that the model uses too.

    Args:
        guide: the program.
        guide_trace: of its first run.
        arguments: of the program.
        plates: dimensions of plates.
        repeat: a context in which random numbers are those of the first run, from :func:`random_state`.
    """
    values = {site["name"]: site["value"].detach() for site in drawn(guide_trace)}
    with repeat, Held(values):
        again = enumerated_trace(guide, arguments, plates)
    for name in values:
        score, site = log_density(again.nodes[name]), guide_trace.nodes[name]
        site["unscaled_log_prob"] = log_density(site) - (score - score.detach())

"""Importance weights of draws from the guide, one for each datum, and the gradients that pass through them."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from pyro.distributions import Delta, Unit
from pyro.distributions.util import scale_and_mask
from pyro.poutine.messenger import Messenger
from torch import Tensor, nn

from pyro_vae.errors import ConfigurationError
from pyro_vae.objectives.elbo import check_reparametrised
from pyro_vae.objectives.enumeration import enumerated_trace, is_enumerated, log_density
from pyro_vae.objectives.kl import check_proposed
from pyro_vae.program import group_of, sample_sites

__all__ = ["Gate", "Weights", "drop_score", "log_weights", "put_gates", "random_state", "set_ratios"]


@dataclass
class Weights:
    """log w of data of one kind.

    Attributes:
        log_w: (\\*enumerated, K, B), or (\\*enumerated, B) without a plate of particles.
        plates: dimensions of plates.
        share: what Pyro's subsampling plates multiply densities by: all data over those of the batch.
    """

    log_w: Tensor
    plates: int
    share: float = 1.0

    @property
    def enumerated(self) -> tuple[int, ...]:
        """The dimensions of enumerated values."""
        return tuple(range(self.log_w.dim() - self.plates))

    def summed(self, particles: int) -> Tensor:
        """log w with enumerated values summed over, (K, B)."""
        whole = self.log_w.logsumexp(self.enumerated) if self.enumerated else self.log_w
        return whole.reshape(particles, -1)

    def shares(self) -> Tensor:
        """Which part of w each enumerated value has, (\\*enumerated, K, B), without a gradient."""
        log_w = self.log_w.detach()
        if not self.enumerated:  # torch takes no dimensions for all of them
            return torch.ones_like(log_w)
        return (log_w - log_w.logsumexp(self.enumerated, keepdim=True)).exp()


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
            gate = Gate(group_of(site["name"]), log_q.shape, site["scale"] / _plates(site)[1])
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


def drawn(guide_trace: Any) -> Iterator[Any]:
    """The sites of a guide's trace whose values are draws, not enumerated ones and not data."""
    for site in sample_sites(guide_trace):
        if not (site["is_observed"] or isinstance(site["fn"], Unit) or is_enumerated(site)):
            yield site


def log_weights(model_trace: Any, guide_trace: Any, plates: int) -> dict[str, Weights]:
    """log w = log p(x, z) - log q(z | x) of each draw and each datum, for each kind of data.

    A site's weight multiplies its log-density: w is a product of powers.  Enumerated values are no draws: log w is
    that of each, without their log q, and w is the sum.  What is added by ``pyro.factor`` is left out.

    Raises:
        ConfigurationError: when the guide has no density of that kind, or data share a latent.
    """
    totals: dict[str, Any] = {}
    found: dict[str, tuple[set[int], float]] = {}

    def add(site: Any, sign: int, values: Tensor) -> None:
        group, (where, share) = group_of(site["name"]), _plates(site)
        if found.setdefault(group, (where, share)) != (where, share):
            raise ConfigurationError(
                f"site {site['name']!r} is not in the same plates as the sites before it: a latent that several data "
                f"share has no importance weight of each datum; use Pyro's RenyiELBO, which weighs whole batches"
            )
        totals[group] = totals.get(group, 0.0) + sign * scale_and_mask(values, site["scale"] / share, site["mask"])

    for site in sample_sites(model_trace):
        if not isinstance(site["fn"], Unit):
            if not site["is_observed"]:
                check_proposed(site["name"], guide_trace)
            add(site, 1, log_density(site))
    for site in sample_sites(guide_trace):
        if isinstance(site["fn"], Unit):
            continue
        if not site["is_observed"]:
            _check_weighable(site, model_trace)
        if not is_enumerated(site):
            add(site, -1, log_density(site))
        elif site["mask"] is not None:  # a datum that is taken out has one value, not many
            count = log_density(site).new_full((), math.log(site["value"].shape[site["infer"]["_enumerate_dim"]]))
            group, out = group_of(site["name"]), ~torch.as_tensor(site["mask"], device=count.device)
            totals[group] = totals[group] - scale_and_mask(count, 1.0, out)
    return {group: Weights(log_w, plates, found[group][1]) for group, log_w in totals.items()}


def _plates(site: Any) -> tuple[set[int], float]:
    """The dimensions of a site's plates, and what they multiply its density by because they subsample."""
    frames = [frame for frame in site["cond_indep_stack"] if frame.vectorized]
    return {frame.dim for frame in frames}, math.prod((frame.full_size or frame.size) / frame.size for frame in frames)


def _check_weighable(site: Any, model_trace: Any) -> None:
    """Check that a latent site of the guide can be part of an importance weight."""
    check_reparametrised(site)
    if isinstance(site["fn"], Delta):
        raise ConfigurationError(
            f"site {site['name']!r}: the guide's Delta has no density, so its draws have no importance weights; "
            f"use objectives.ELBO()"
        )
    if is_enumerated(site) and site["name"] not in model_trace.nodes:
        raise ConfigurationError(
            f"site {site['name']!r} is enumerated in the guide and not in the model, so that summing over it gives no "
            f"importance weight; draw it in the model too"
        )


class _Held(Messenger):
    """Gives sites of a program these values after they were drawn.

    Not by replaying: a program that draws less sees other random numbers, in its dropout too.
    """

    def __init__(self, values: dict[str, Tensor]) -> None:
        super().__init__()
        self.values = values

    def _pyro_post_sample(self, msg: Any) -> None:
        if msg["name"] in self.values:
            msg["value"] = self.values[msg["name"]]


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
    with repeat, _Held(values):
        again = enumerated_trace(guide, arguments, plates)
    for name in values:
        score, site = log_density(again.nodes[name]), guide_trace.nodes[name]
        site["unscaled_log_prob"] = log_density(site) - (score - score.detach())


def random_state(guide: Any, arguments: tuple[Any, ...]) -> contextlib.AbstractContextManager[None]:
    """A context in which torch's random numbers start where they are now, for a second run of a guide.

    Batch norms do not move their statistics in it: they have seen the data once.
    """
    devices = list({a.device for a in arguments if isinstance(a, Tensor) and a.is_cuda})
    states = torch.get_rng_state(), [torch.cuda.get_rng_state(device) for device in devices]

    @contextlib.contextmanager
    def repeated() -> Iterator[None]:
        modules = guide.modules() if isinstance(guide, nn.Module) else ()
        norms = [m for m in modules if isinstance(m, nn.modules.batchnorm._NormBase) and m.track_running_stats]
        norms = [norm for norm in norms if norm.training]
        with torch.random.fork_rng(devices):
            torch.set_rng_state(states[0])
            for device, state in zip(devices, states[1], strict=True):
                torch.cuda.set_rng_state(state, device)
            for norm in norms:
                norm.track_running_stats = False
            try:
                yield
            finally:
                for norm in norms:
                    norm.track_running_stats = True

    return repeated()

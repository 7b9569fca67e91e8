"""Draws that carry no gradients, and what must hold of programs that are trained with them."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from pyro.infer.util import is_validation_enabled
from pyro.poutine.messenger import Messenger
from torch import Tensor
from torch.distributions import constraints

from pyro_vae.errors import ConfigurationError
from pyro_vae.objectives.enumeration import enumerated_traces, log_density
from pyro_vae.objectives.rerun import Held, norms_held, random_state
from pyro_vae.objectives.weights import drawn
from pyro_vae.parts import support_of
from pyro_vae.program import sample_sites

__all__ = ["carrying", "check_draws", "detached_traces"]


class _Detached(Messenger):
    """Cuts draws off from the parameters that they were made with, before the program goes on with them."""

    def _pyro_post_sample(self, msg: Any) -> None:
        if not msg["is_observed"] and isinstance(msg["value"], Tensor):
            msg["value"] = msg["value"].detach()


_separate: weakref.WeakKeyDictionary[Any, set[bool]] = weakref.WeakKeyDictionary()
"""Models whose data were found to be independent given their draws, and whether they were being trained then."""


def detached_traces(
    model: Any, guide: Any, arguments: tuple[Any, ...], objective: Any, *, separate: bool = False
) -> tuple[Any, Any]:
    """Traces as of :func:`enumerated_traces`, of draws without gradients: what is left of log q(z | x) is the score.

    Draws that could be reparametrised are made in the same way, of the same random numbers.

    Args:
        model: the program.
        guide: the program.
        arguments: of both.
        objective: Pyro's, for its particles.
        separate: whether what there is for one datum must not depend on what was drawn for another.  Checked once for
            each model, where Pyro validates.

    Raises:
        ConfigurationError: when it does; for relaxed draws, which have no density.
    """
    plates = objective.max_plate_nesting
    checks = is_validation_enabled()
    mode = getattr(getattr(model, "__self__", model), "training", False)
    checks_data = checks and separate and mode not in _separate.get(model, ())
    repeat = random_state(guide, arguments) if checks_data else None
    many = objective._vectorized_num_particles(model), objective._vectorized_num_particles(guide)
    with _Detached():  # outermost: the trace is to see what the program goes on with
        traces = enumerated_traces(*many, arguments, plates, check_draws if checks else None)
    if repeat is not None:
        others = {site["name"]: _with_another_draw(site) for site in drawn(traces[1])}
        with torch.no_grad(), norms_held(model), repeat, Held(others):
            again = enumerated_traces(*many, arguments, plates)
        for trace, other in zip(traces, again, strict=True):
            _check_separate(trace, other)
        if all(_of_several_data(site) for site in drawn(traces[1])):  # else there was nothing to compare
            _separate.setdefault(model, set()).add(mode)
    return traces


def _of_several_data(site: Any) -> bool:
    return site["value"].shape[-1 - site["fn"].event_dim] > 1


def check_draws(guide_trace: Any) -> None:
    """Check that a guide draws what its densities are of: a draw between the values of a class is none of these.

    Raises:
        ConfigurationError: when it does not.
    """
    for site in drawn(guide_trace):
        support = support_of(site["fn"])
        if support is not None and not support.check(site["value"]).all():
            raise ConfigurationError(
                f"site {site['name']!r}: draws of {type(site['fn']).__name__} lie outside its support, so their log q "
                f"is no log-density and has no score; draw them unrelaxed, as posteriors.Bernoulli() does"
            )


def _with_another_draw(site: Any) -> Tensor:
    """The values of a site with others in place of the last datum's."""
    values = site["value"].detach().clone()
    place = values.dim() - 1 - site["fn"].event_dim
    last = values.select(place, -1)
    support: Any = support_of(site["fn"])
    # opposite bits, the next class, or a number further on: what another datum drew may be the same
    if support is constraints.boolean:
        last.copy_(1 - last)
    elif support is constraints.one_hot:
        last.copy_(last.roll(1, -1))
    elif support is constraints.real:
        last.add_(1)
    else:
        last.copy_(values.select(place, 0))
    return values


def _check_separate(trace: Any, other: Any) -> None:
    """Check that the densities of all data but the last are the same, where that one's draws are others."""
    for site in sample_sites(trace):
        if not log_density(site).dim():
            continue  # of the whole batch, and said to be
        first, second = (log_density(each).detach()[..., :-1] for each in (site, other.nodes[site["name"]]))
        if not torch.allclose(first, second, rtol=1e-3, atol=1e-4, equal_nan=True):
            raise ConfigurationError(
                f"site {site['name']!r}: what one datum adds to the objective depends on what was drawn for another, "
                f"by a batch norm after the draws perhaps (norm='layer' does not mix data), and this gradient would be "
                f"wrong; use objectives.ELBO(), IWAE() or ReweightedWakeSleep()"
            )


def carrying(value: Tensor, surrogate: Any) -> Tensor:
    """A tensor with this value and with the gradient of ``surrogate``, whose own value says nothing.

    Example:
        >>> import torch
        >>> theta = torch.tensor(3.0, requires_grad=True)
        >>> loss = carrying(torch.tensor(7.0), theta**2)
        >>> loss.backward()
        >>> loss.item(), theta.grad
        (7.0, tensor(6.))
    """
    value = value.detach()
    return value + (surrogate - surrogate.detach()) if isinstance(surrogate, Tensor) else value

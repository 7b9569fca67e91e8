"""Data and latents drawn together from the model, for a guide to learn from."""

from __future__ import annotations

from typing import Any

import torch
from pyro import poutine
from pyro.distributions import Unit
from pyro.distributions.util import scale_and_mask
from torch import Tensor

from pyro_vae.errors import ConfigurationError
from pyro_vae.objectives.enumeration import log_density
from pyro_vae.objectives.rerun import norms_held
from pyro_vae.objectives.weights import plates_of
from pyro_vae.program import sample_sites

__all__ = ["dream", "log_guide"]

_INSTEAD = "use objectives.ReweightedWakeSleep(..., phi='wake'), which needs no dreams"


@torch.no_grad()
def dream(model: Any, arguments: tuple[Any, ...]) -> tuple[tuple[Any, ...], dict[str, Tensor]]:
    """Draw everything that the model observes, and its latents, from the model itself: (x, z) ~ p(x, z).

    The model runs with its observations forgotten.  Of its arguments those that it observes are replaced by what was
    drawn in their place; others, such as labels that a conditional model is given, stay.  Where only some data have
    labels, each kind is dreamed in its own rows.

    Args:
        model: the program.
        arguments: of model and guide.

    Returns:
        The dreamed arguments, in the order that the model wants them, and the dreamed latents by site.

    Raises:
        ConfigurationError: when the model cannot be drawn from, or observes what is no argument.
    """
    if hasattr(model, "arranged"):  # what it would put in order is not what it was given
        arguments, _ = model.arranged(*arguments)
    try:
        with norms_held(model):
            trace = poutine.trace(poutine.uncondition(model)).get_trace(*arguments)
    except NotImplementedError as error:
        raise ConfigurationError(f"{str(error).splitlines()[0]}, so there are no dreams of it; {_INSTEAD}") from None
    latents, dreamed = {}, list(arguments)
    for site in sample_sites(trace):
        if isinstance(site["fn"], Unit):
            continue
        if not site["infer"].get("was_observed"):
            latents[site["name"]] = site["value"]
            continue
        seen = site["infer"]["obs"]
        places = [i for i, argument in enumerate(arguments) if argument is seen] or [
            i for i, argument in enumerate(arguments) if _rows(seen, argument) is not None
        ]
        if not places:
            raise ConfigurationError(
                f"the model's site {site['name']!r} observes what is not one of the program's arguments as it stands, "
                f"nor some of its rows, so that no guide can be shown a dream in its place; {_INSTEAD}"
            )
        if len(places) > 1:
            raise ConfigurationError(
                f"arguments {' and '.join(map(str, places))} of the programs are one tensor, and the model observes "
                f"it as {site['name']!r}: which of them a dream is to replace cannot be told; give one as a clone()"
            )
        (place,) = places
        if arguments[place] is seen:
            dreamed[place] = site["value"]
            continue
        if dreamed[place] is arguments[place]:
            dreamed[place] = arguments[place].clone()
        dreamed[place][_rows(seen, arguments[place])] = site["value"]
    return tuple(dreamed), latents


def _rows(seen: Tensor, argument: Any) -> slice | None:
    """Which rows of an argument these are a view of, if they are neighbours."""
    if not isinstance(argument, Tensor) or argument.dim() != seen.dim() or not argument.dim():
        return None
    alike = argument.shape[1:] == seen.shape[1:] and argument.stride() == seen.stride()
    if not alike or not argument.stride(0) or argument.dtype != seen.dtype:
        return None
    if argument.untyped_storage().data_ptr() != seen.untyped_storage().data_ptr():
        return None
    start, rest = divmod(int(seen.storage_offset()) - int(argument.storage_offset()), argument.stride(0))
    within = rest == 0 and start >= 0 and start + len(seen) <= len(argument)
    return slice(start, start + len(seen)) if within else None


def log_guide(guide: Any, arguments: tuple[Any, ...], latents: dict[str, Tensor]) -> Any:
    """log q(z | x) of given latents, unweighed, summed over the batch.

    Args:
        guide: the program.
        arguments: of the program.
        latents: the values of its sites.

    Raises:
        ConfigurationError: when the guide draws what there is no value of, or there is a value that it does not draw.
    """
    with norms_held(guide):
        trace = poutine.trace(poutine.condition(guide, data=latents)).get_trace(*arguments)
    sites = [site for site in sample_sites(trace) if not isinstance(site["fn"], Unit)]
    names = {site["name"] for site in sites}
    for name in names ^ latents.keys():
        lacking = "guide" if name in latents else "model"
        raise ConfigurationError(f"the latent site {name!r} is not in the {lacking}, and dreams need it; {_INSTEAD}")
    return sum(scale_and_mask(log_density(site), plates_of(site)[1], site["mask"]).sum() for site in sites)

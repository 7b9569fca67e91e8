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
    drawn in their place; others, such as labels that a conditional model is given, stay.

    Args:
        model: the program.
        arguments: of model and guide.

    Returns:
        The dreamed arguments, and the dreamed latents by site.

    Raises:
        ConfigurationError: when the model cannot be drawn from, or observes what is no argument.
    """
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
        places = [i for i, argument in enumerate(arguments) if argument is site["infer"]["obs"]]
        if not places:
            raise ConfigurationError(
                f"the model's site {site['name']!r} observes what is not one of the program's arguments as it stands "
                f"(a batch of which only some data have labels is taken apart), so that no guide can be shown a dream "
                f"in its place; {_INSTEAD}"
            )
        if len(places) > 1:
            raise ConfigurationError(
                f"arguments {' and '.join(map(str, places))} of the programs are one tensor, and the model observes "
                f"it as {site['name']!r}: which of them a dream is to replace cannot be told; give one as a clone()"
            )
        dreamed[places[0]] = site["value"]
    return tuple(dreamed), latents


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

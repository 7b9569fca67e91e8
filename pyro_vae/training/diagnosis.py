"""Finding the site at which a loss went wrong."""

from __future__ import annotations

from typing import Any

import pyro
import torch
from pyro import poutine

from pyro_vae.program import sample_sites
from pyro_vae.variants.base import Variant

__all__ = ["find_culprit"]


def find_culprit(variant: Variant, *arguments: Any) -> str:
    """Say which parameter or sample site of a variant is not finite for a batch.

    Parameters come first, then the guide's sites, then the model's: the first in that order caused the others.
    """
    for name, parameter in variant.named_parameters():
        if not torch.isfinite(parameter).all():
            return f"parameter {name!r} is no longer finite (a gradient overflowed; lower lr, or set clip=)"
    with torch.no_grad(), pyro.validation_enabled(False):
        guide_trace = poutine.trace(variant.guide).get_trace(*arguments)
        model_trace = poutine.trace(poutine.replay(variant.model, trace=guide_trace)).get_trace(*arguments)
        for program, trace in (("guide", guide_trace), ("model", model_trace)):
            for site in sample_sites(trace):
                where = f"site {site['name']!r} of the {program}, {site['fn']}"
                if not torch.isfinite(site["value"]).all():
                    return f"{where}: its value is not finite"
                if not torch.isfinite(site["fn"].log_prob(site["value"])).all():
                    return f"{where}: its log-probability is not finite"
    return "every site is finite when evaluated again, so it was a rare draw; lower lr, or set clip="

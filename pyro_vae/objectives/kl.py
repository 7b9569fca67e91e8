"""KL divergences, exact where they are known."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.distributions import Distribution, Independent, kl_divergence

from pyro_vae.errors import ConfigurationError
from pyro_vae.program import sample_sites

__all__ = ["check_proposed", "kl_exact", "kl_holds", "kl_per_dimension"]


def kl_holds(name: str, model_trace: Any, guide_trace: Any) -> bool:
    """Whether KL(q || p) of a latent site, averaged over the sites before it, is its term of the ELBO.

    It is not when p depends on a latent that the guide draws after this one (a model z2 -> z1, a guide z1 -> z2):
    p then is no fixed distribution when q is integrated over.  Decided from the order of the statements, which may
    say no where a closer look would say yes; sampling the term is right in either case.
    """

    def latents(trace: Any) -> list[str]:
        return [site["name"] for site in sample_sites(trace) if not site["is_observed"]]

    model, guide = latents(model_trace), latents(guide_trace)
    before = model[: model.index(name)]
    return not set(before) & set(guide[guide.index(name) + 1 :])


def check_proposed(name: str, guide_trace: Any) -> None:
    """Check that the guide draws a latent site of the model.

    Raises:
        ConfigurationError: when it does not.
    """
    if name not in guide_trace.nodes:
        known = ", ".join(repr(site["name"]) for site in sample_sites(guide_trace)) or "none"
        raise ConfigurationError(
            f"the model's latent site {name!r} is not in the guide, which has {known}; draw it there too, or observe it"
        )


def kl_exact(q: Distribution, p: Distribution) -> Tensor | None:
    """KL(q || p) of shape (\\*batch,) in nats, or ``None`` where no closed form is known.

    Example:
        >>> import torch
        >>> from pyro.distributions import Normal
        >>> kl_exact(Normal(torch.ones(3), 1.0).to_event(1), Normal(torch.zeros(3), 1.0).to_event(1))
        tensor(1.5000)
    """
    try:
        return kl_divergence(q, p)
    except NotImplementedError:
        return None


def kl_per_dimension(q: Distribution, p: Distribution) -> Tensor | None:
    """KL(q || p) dimension by dimension, (\\*batch, D), or ``None`` unless both factorise over the dimensions.

    The sum over the last dimension is the whole KL (Kingma & Welling 2014, appendix B).
    """
    if not (isinstance(q, Independent) and isinstance(p, Independent)):
        return None
    if q.reinterpreted_batch_ndims != 1 or p.reinterpreted_batch_ndims != 1:
        return None
    return kl_exact(q.base_dist, p.base_dist)

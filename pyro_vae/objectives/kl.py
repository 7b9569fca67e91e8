"""KL divergences, exact where they are known."""

from __future__ import annotations

from torch import Tensor
from torch.distributions import Distribution, Independent, kl_divergence

__all__ = ["kl_exact", "kl_per_dimension"]


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

"""log p(x) of simulated data between two bounds: bidirectional Monte Carlo."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyro_vae.errors import DataError, check_positive
from pyro_vae.evaluation.joint import Latents, LogJoint
from pyro_vae.evaluation.likelihood.annealed import AIS, Ladder
from pyro_vae.evaluation.likelihood.estimate import Estimate, at_once, check_density, log_mean
from pyro_vae.evaluation.progress import Advance, progress_bar
from pyro_vae.randomness import seeded
from pyro_vae.variants.base import Variant
from pyro_vae.variants.contexts import evaluating

__all__ = ["Bounds", "bidirectional"]


@dataclass(frozen=True, eq=False)
class Bounds:
    """What AIS says of simulated data from below and from above.

    Attributes:
        x: simulated data (N, \\*shape), or those that were given.
        y: their labels, if any are known.
        lower: estimates of log p(x), (N,), too low in expectation.
        upper: estimates of log p(x), (N,), too high in expectation.
    """

    x: Tensor
    y: Tensor | None
    lower: Estimate
    upper: Estimate

    @property
    def gaps(self) -> Tensor:
        """upper - lower of each datum, (N,), in nats; noisy, and of either sign where the bounds are tight."""
        return self.upper - self.lower

    @property
    def gap(self) -> float:
        """Mean of the gaps: on average over data like these, no estimate is further off than this."""
        return self.gaps.mean().item()

    @property
    def gap_error(self) -> float:
        """Standard error of :attr:`gap` over data."""
        return self.gaps.std().item() / math.sqrt(len(self.gaps))

    def __repr__(self) -> str:
        lower, upper = (bound.as_subclass(Tensor).mean().item() for bound in (self.lower, self.upper))
        return (
            f"log p between {lower:.3f} and {upper:.3f} nats, mean of {len(self.gaps):,} simulated data\n"
            f"gap {self.gap:.3f} ± {self.gap_error:.3f}"
        )


def bidirectional(
    variant: Variant,
    num_data: int = 100,
    *,
    x: Any = None,
    y: Any = None,
    method: AIS | None = None,
    num_samples: int | None = None,
    seed: int = 0,
    chunk: int = 10_000,
    progress: bool | str = "auto",
) -> Bounds:
    """How far AIS is from log p(x), on data drawn from the variant itself.

    The model draws z and x together, so that each z is an exact draw from the posterior of its x.  Chains from the
    prior (or guide) to the posterior give a stochastic lower bound on log p(x), as in :func:`log_likelihood`; chains
    back from the exact draw give a stochastic upper bound.  What lies between them bounds the error of both.  It says
    that the number of steps is enough, for data that look like the model's own; for real data it is good evidence
    where the two are alike.

    All chains back from a datum begin at one draw, so that they are not independent: the standard error of ``upper``
    is too small.  Averages over data, and :attr:`Bounds.gap_error`, are not concerned.

    Labels that are given (one for each datum) are simulated for, and known to the estimator; where the story explains
    labels and none are given, they are drawn, and summed out.

    Args:
        variant: any variant whose prior has a density.
        num_data: N, data to simulate, where neither x nor y is given.
        x: what is given in variants that explain y from x, (N, \\*shape).
        y: labels to simulate data for, (N, \\*label), or one for all: needed where the story is conditional on them.
        method: the chains; ``AIS()`` if not given.
        num_samples: chains in each direction per datum; 16 if not given.
        seed: of the data and the chains; the random stream outside is left alone.
        chunk: how many chains (data times samples) are held in memory at once.
        progress: show a progress bar; ``"auto"`` shows it on terminals.

    Raises:
        DataError: for a part without a density, or where something is given that does not fit, or is missing.
        ConfigurationError: for latents that AIS cannot move.

    Example:
        >>> import pyro_vae as pv
        >>> from pyro_vae import evaluation, likelihoods, priors
        >>> vae = pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(5))
        >>> bounds = evaluation.bidirectional(vae, 3, method=evaluation.AIS(steps=20, leapfrog=5), num_samples=4)
        >>> bounds.lower.shape, bounds.upper.shape
        (torch.Size([3]), torch.Size([3]))

    References:
        Grosse, Ghahramani & Adams, Sandwiching the marginal likelihood using bidirectional Monte Carlo, 2015
        (https://arxiv.org/abs/1511.02543); Wu, Burda, Salakhutdinov & Grosse, 2017, section 4.2
        (https://arxiv.org/abs/1611.04273)
    """
    method = AIS() if method is None else method
    num_samples = check_positive("num_samples", method.num_samples if num_samples is None else num_samples)
    num_data, chunk = check_positive("num_data", num_data), check_positive("chunk", chunk)
    check_density(variant, guide=method.reads_guide)
    with seeded(seed, variant.device), torch.no_grad(), evaluating(variant):
        x, y, latents = _simulated(variant, num_data, x, y)
        data_at_once, samples = at_once(len(x), num_samples, max(1, chunk // variant.values_at_once(y)))
        found = []
        total = len(x) * (2 * num_samples + samples)  # up, down, and the search for step sizes
        with progress_bar(f"bounds by {method!r}", total, progress) as advance:
            for some in torch.arange(len(x), device=x.device).split(data_at_once):
                joint = LogJoint(variant, x[some], None if y is None else y[some])
                exact = {name: latents[name][some] for name in joint.latents}
                found.append(_bounds(method, joint, exact, num_samples, samples, advance))
    together = (torch.cat(of_all).to(variant.device, variant.dtype) for of_all in zip(*found, strict=True))
    lower, lower_error, upper, upper_error = together
    return Bounds(x, y, Estimate.of(lower, lower_error), Estimate.of(upper, upper_error))


def _simulated(variant: Variant, n: int, x: Any, y: Any) -> tuple[Tensor, Tensor | None, Latents]:
    """Data from the model, the labels that are known of them, and the latents (N, \\*event) that they came from."""
    name = type(variant).__name__
    if not variant.explains_data:
        if x is None:
            raise DataError(f"{name} explains y from x; give x, the data to simulate y for")
        x = variant.as_data(x)
        arguments: dict[str, Any] = {"x": x}
    elif x is not None:
        raise DataError(f"{name} explains x, so it is simulated; leave x out")
    else:
        if y is None and variant.labels == "all":
            raise DataError(f"{name} simulates data for given labels; give y, a label for each datum")
        if y is not None and not variant.generates_from_label:
            # where z does not depend on y, what the model draws beside a given y is no draw from p(z | x, y)
            raise DataError(f"the data of {name} do not depend on labels; leave y out")
        if y is not None:
            y = variant.labels_for(y, n)
        arguments = {"size": n} if y is None else {"y": y}
    trace = variant.simulate(**arguments)
    values: Any = {site: trace.nodes[site]["value"] for site in trace.stochastic_nodes}
    if not variant.explains_data:
        return x, values["y"], values
    return values["x"], y, values


def _bounds(
    method: AIS, joint: LogJoint, exact: Latents, num_samples: int, at_once: int, advance: Advance
) -> tuple[Tensor, ...]:
    """Lower and upper bound of each datum with their standard errors, (N,) each."""
    ladder = Ladder(method, joint, at_once, advance)
    sums: list[list[Tensor]] = []
    for start in range(0, num_samples, at_once):
        draws = min(at_once, num_samples - start)
        begin = {name: value.expand(draws, *value.shape) for name, value in exact.items()}
        both = ladder.up(draws, advance), ladder.down(begin, advance)
        whole = (log_w.expand(draws, joint.n) for log_w in both)
        sums.append([log_sum for log_w in whole for log_sum in (log_w.logsumexp(0), (2 * log_w).logsumexp(0))])
    up, up_squares, down, down_squares = (torch.stack(pieces).logsumexp(0) for pieces in zip(*sums, strict=True))
    lower, lower_error = log_mean(up, up_squares, num_samples)
    minus_upper, upper_error = log_mean(down, down_squares, num_samples)
    return lower, lower_error, -minus_upper, upper_error

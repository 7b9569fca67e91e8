"""The posterior of the latents by Markov chain Monte Carlo, beside which the guide's can be laid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from pyro.infer import MCMC, NUTS
from torch import Tensor

from pyro_vae.errors import ConfigurationError, check_count, check_positive
from pyro_vae.evaluation.arviz import attributes
from pyro_vae.evaluation.coordinates import Layout
from pyro_vae.evaluation.draws import Draws, Piece
from pyro_vae.evaluation.inference_data import inference_data
from pyro_vae.evaluation.joint import LogJoint
from pyro_vae.evaluation.likelihood import check_density
from pyro_vae.evaluation.progress import Advance, progress_bar
from pyro_vae.randomness import seeded
from pyro_vae.variants.base import Variant
from pyro_vae.variants.contexts import evaluating

__all__ = ["posterior_mcmc"]


def posterior_mcmc(
    variant: Variant,
    x: Any,
    y: Any = None,
    *,
    num_samples: int = 500,
    warmup_steps: int = 500,
    num_chains: int = 2,
    target_accept: float = 0.8,
    max_tree_depth: int = 10,
    seed: int = 0,
    coords: Mapping[str, Sequence[Any]] | None = None,
    progress: bool | str = "auto",
) -> Any:
    """Draws from the exact posterior p(z | x) of each datum, by Pyro's No-U-Turn sampler.

    Codes of different data are independent given the weights of the networks, so that each datum gets chains of its
    own: a step size and a mass matrix that fit its posterior, diverging transitions that are its own, and trajectories
    that need not wait for the slowest.  It takes from seconds to minutes for a datum, most of it Pyro's handlers, so
    this is for a few data, not for thousands; ``num_samples=100, warmup_steps=100`` gives a first look.

    Chains start at draws from the prior, which are spread wider than the posterior, so that R-hat can tell whether
    they have forgotten it.  The guide plays no part.  A missing class is summed over while the chains run, and then
    drawn from p(y | x, z).

    ``az.summary``, ``az.rhat`` and ``az.ess`` work on what is returned; ``pv.to_arviz(variant, x, posterior=...)``
    adds the groups that need the model, and ``pv.to_arviz(variant, x)`` has the guide's draws to compare with.

    Args:
        variant: any variant with real latents whose model has a density.
        x: data (N, \\*shape), or a split.
        y: labels, in variants that have them; -1 or NaN where they are missing.
        num_samples: draws per chain and datum that are kept.
        warmup_steps: draws before them, in which step size and mass matrix are adapted.
        num_chains: chains per datum, one after the other.
        target_accept: acceptance that the step size is adapted to; nearer to 1 where transitions diverge.
        max_tree_depth: a trajectory has at most 2^max_tree_depth steps.
        seed: of all draws; the random stream outside is left alone.
        coords: names along dimensions, as for :func:`pyro_vae.to_arviz`.
        progress: show a progress bar; ``"auto"`` shows it on terminals.

    Returns:
        ``InferenceData`` or ``DataTree`` with ``posterior`` (chain, draw, datum, latent), and ``sample_stats``
        (chain, draw, datum): ``diverging``, ``acceptance_rate``, ``lp`` (log p(x, z) in nats) and ``step_size``.

    Raises:
        ConfigurationError: for discrete latents that cannot be summed over, or where nothing real is latent.
        DataError: when the data do not fit, or a part of the model has no density.

    Example:
        >>> import pyro_vae as pv
        >>> from pyro_vae import evaluation, likelihoods, priors
        >>> vae = pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(5))
        >>> draws = evaluation.posterior_mcmc(vae, torch.zeros(1, 5), num_samples=20, warmup_steps=20)
        >>> draws["posterior"]["z"].dims, draws["posterior"]["z"].shape
        (('chain', 'draw', 'datum', 'latent'), (2, 20, 1, 2))

    References:
        Hoffman & Gelman, The No-U-Turn Sampler, 2014 (https://arxiv.org/abs/1111.4246)
    """
    check_count("num_samples", num_samples, 4)  # what Pyro's diagnostics of a chain need
    numbers = {"warmup_steps": warmup_steps, "num_chains": num_chains}
    for name, number in {**numbers, "max_tree_depth": max_tree_depth}.items():
        check_positive(name, number)
    if not 0 < target_accept < 1:
        raise ConfigurationError(f"target_accept is a probability between 0 and 1, got {target_accept!r}")
    check_density(variant, guide=False)
    x, y = variant.batch(x, y)
    latents = Draws(num_chains * num_samples, len(x))
    statistics: dict[str, np.ndarray] = {}
    total = len(x) * num_chains * (num_samples + warmup_steps)
    bar = progress_bar("posterior by NUTS", total, progress)
    with seeded(seed, variant.device), evaluating(variant), bar as advance:
        for datum in range(len(x)):
            some = slice(datum, datum + 1)
            joint = LogJoint(variant, x[some], None if y is None else y[some])
            _check_real(joint)
            for chain in range(num_chains):
                nuts = NUTS(
                    potential_fn=_Potential(joint),
                    target_accept_prob=target_accept,
                    max_tree_depth=max_tree_depth,
                )
                values, found = _chain(joint, nuts, num_samples, warmup_steps, advance)
                draws = slice(chain * num_samples, (chain + 1) * num_samples)
                for name, value in {**values, **joint.draw_listed(values)}.items():
                    latents.put(name, value, Piece(torch.tensor([datum]), draws, x[some], joint.arguments))
                for name, numbers_of in found.items():
                    column = statistics.setdefault(name, np.zeros((latents.num_samples, len(x)), numbers_of.dtype))
                    column[draws, datum] = numbers_of
    layout = Layout(variant, latents, x, y, coords or {}, num_chains)
    settings = {**numbers, "max_tree_depth": max_tree_depth, "target_accept": target_accept, "seed": seed}
    attrs = attributes(variant, posterior="NUTS", num_samples=latents.num_samples, **settings)
    return inference_data({"posterior": layout.draws(latents), "sample_stats": layout.statistics(statistics)}, attrs)


def _check_real(joint: LogJoint) -> None:
    if joint.discrete:
        names = ", ".join(map(repr, joint.discrete))
        raise ConfigurationError(
            f"NUTS moves real latents, and {names} is a discrete code of more than one place, which is not summed "
            f"over here; evaluation.log_likelihood(..., method='exact') sums over small ones, and "
            f"importance weights bring the guide's draws to the posterior: pv.to_arviz(variant, x, resample=True)"
        )
    if not joint.size:
        raise ConfigurationError(f"nothing real is latent in {type(joint.variant).__name__}, so NUTS has no work to do")


class _Potential:
    """-log p(x, z) of one datum, of its latents side by side: {"latents": (D,)} -> ()."""

    def __init__(self, joint: LogJoint) -> None:
        self.joint = joint

    def __call__(self, parameters: Mapping[str, Tensor]) -> Tensor:
        # a trajectory that has diverged is somewhere too, and will be rejected
        position = parameters["latents"].nan_to_num()
        return -self.joint(self.joint.unpack(position[None, None]))[0, 0]


def _chain(
    joint: LogJoint, nuts: NUTS, num_samples: int, warmup_steps: int, advance: Advance
) -> tuple[dict[str, Tensor], dict[str, np.ndarray]]:
    """One chain of one datum: draws (S, 1, \\*event) of its latents, and numbers (S,) about them."""
    means: list[float] = []  # of the acceptance so far, which is what Pyro keeps
    log_p: list[float] = []
    step_sizes: list[float] = []

    def watch(kernel: Any, parameters: Any, stage: str, number: int) -> None:
        advance(1)
        if stage == "Sample":
            means.append(kernel._mean_accept_prob)
            log_p.append(-float(kernel._potential_energy_last))
            step_sizes.append(float(kernel.step_size))

    start = joint.pack(joint.from_prior(1))[0, 0].clone()
    mcmc = MCMC(nuts, num_samples, warmup_steps, {"latents": start}, hook_fn=watch, disable_progbar=True)
    mcmc.run()
    drawn = mcmc.get_samples()["latents"].detach()
    diverging = np.zeros(num_samples, dtype=bool)
    diverging[mcmc.diagnostics()["divergences"]["chain 0"]] = True
    statistics = {
        "diverging": diverging,
        "acceptance_rate": np.diff(np.asarray(means) * np.arange(1, num_samples + 1), prepend=0.0).clip(0, 1),
        "lp": np.asarray(log_p),
        "step_size": np.asarray(step_sizes),
    }
    return joint.unpack(drawn[:, None]), statistics

"""Moves of Markov chains that leave a distribution between two others as it is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_vae.evaluation.joint import Latents, LogJoint
from pyro_vae.evaluation.latents import Latent

__all__ = ["Path", "State", "hamiltonian", "metropolis"]


@dataclass(frozen=True)
class State:
    """Where chains are, and the densities there.

    Attributes:
        latents: of K chains for each of N data.
        log_start: log p_0(z), (K, N).
        log_joint: log p(x, z), (K, N).
    """

    latents: Latents
    log_start: Tensor
    log_joint: Tensor

    def log_density(self, b: float) -> Tensor:
        """log f_b(z), (K, N)."""
        return (1 - b) * self.log_start + b * self.log_joint

    def replaced(self, other: State, where: Tensor) -> State:
        """The other state in the chains (K, N) that are named, this one in the rest."""
        latents = {}
        for name, value in self.latents.items():
            chosen = where.reshape(*where.shape, *[1] * (value.dim() - where.dim()))
            latents[name] = torch.where(chosen, other.latents[name], value)
        return State(
            latents,
            torch.where(where, other.log_start, self.log_start),
            torch.where(where, other.log_joint, self.log_joint),
        )


class Path:
    """The distributions f_b(z) = p_0(z)^(1 - b) p(x, z)^b, from p_0 at b = 0 to the posterior at b = 1.

    Args:
        joint: log p(x, z).
        start: p_0, ``"prior"`` or ``"guide"``.
    """

    def __init__(self, joint: LogJoint, start: str) -> None:
        self.joint = joint
        self.start = start

    def at(self, latents: Latents) -> State:
        """The state at these latents."""
        log_prior, log_joint = self.joint.with_prior(latents)
        return State(latents, log_prior if self.start == "prior" else self.joint.log_guide(latents), log_joint)

    def draw(self, num_samples: int) -> Latents:
        """Draws from p_0."""
        return (self.joint.from_prior if self.start == "prior" else self.joint.from_guide)(num_samples)


def hamiltonian(path: Path, state: State, b: float, step: Tensor, leapfrog: int) -> tuple[State, Tensor]:
    """A transition of Hamiltonian Monte Carlo at f_b, of all real latents together.

    Args:
        path: to which f_b belongs.
        state: of the chains.
        b: which f_b.
        step: step sizes of the latents side by side, (K, N, D) or what broadcasts to it.
        leapfrog: number of steps.

    Returns:
        The next state, and the probability (K, N) with which the move was accepted.

    References:
        Neal, MCMC using Hamiltonian dynamics, 2011, figure 2 (https://arxiv.org/abs/1206.1901)
    """
    others = {name: state.latents[name] for name in path.joint.discrete}

    def look(position: Tensor) -> tuple[State, Tensor]:
        """The state at a position, and the gradient of log f_b."""
        # a trajectory that has diverged is somewhere too, and will be rejected
        position = position.nan_to_num().requires_grad_()
        with torch.enable_grad():
            found = path.at({**others, **path.joint.unpack(position)})
            (gradient,) = torch.autograd.grad(found.log_density(b).sum(), position)
        latents = {name: value.detach() for name, value in found.latents.items()}
        return State(latents, found.log_start.detach(), found.log_joint.detach()), gradient

    position = path.joint.pack(state.latents)
    momentum = torch.randn_like(position)
    energy = state.log_density(b) - 0.5 * momentum.square().sum(-1)
    proposed, gradient = look(position)
    for _ in range(leapfrog):
        momentum = momentum + 0.5 * step * gradient
        position = position + step * momentum
        proposed, gradient = look(position)
        momentum = momentum + 0.5 * step * gradient
    gain = proposed.log_density(b) - 0.5 * momentum.square().sum(-1) - energy
    return _accepted(state, proposed, gain)


def metropolis(path: Path, state: State, b: float, name: str) -> State:
    """A Metropolis transition at f_b, of a discrete latent: one of its places, drawn at random, gets another value.

    Args:
        path: to which f_b belongs.
        state: of the chains.
        b: which f_b.
        name: of the latent.
    """
    proposal = {**state.latents, name: _changed(state.latents[name], path.joint.latents[name])}
    proposed = path.at(proposal)
    return _accepted(state, proposed, proposed.log_density(b) - state.log_density(b))[0]


def _changed(values: Tensor, latent: Latent) -> Tensor:
    """Values (K, N, \\*event) with another one at a random place; as probable there as back."""
    choices = latent.to_choices(values)
    place = torch.randint(latent.places, (*choices.shape[:-1], 1), device=values.device)
    shift = torch.randint(1, max(latent.levels, 2), place.shape, device=values.device)
    return latent.from_choices(choices.scatter(-1, place, (choices.gather(-1, place) + shift) % latent.levels))


def _accepted(state: State, proposed: State, gain: Tensor) -> tuple[State, Tensor]:
    """The proposed state where it is accepted, with probability min(1, exp(gain)); a NaN is rejected."""
    probability = gain.exp().clamp(max=1.0).nan_to_num(0.0)
    return state.replaced(proposed, torch.rand_like(probability) < probability), probability

"""Annealed importance sampling: weights of chains that walk from the prior, or the guide, to the posterior."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from pyro_vae.errors import check_choice, check_positive
from pyro_vae.evaluation.joint import Latents, LogJoint
from pyro_vae.evaluation.likelihood.estimate import Weighted
from pyro_vae.evaluation.likelihood.moves import Path, State, hamiltonian, metropolis
from pyro_vae.evaluation.progress import Advance
from pyro_vae.variants.base import Variant

__all__ = ["AIS", "Ladder"]

_ACCEPTANCE = 0.65  # that of HMC which costs least in many dimensions (Neal 2011, section 4.4)
_GAIN = 0.2
_SCALE_DRAWS = 100


class AIS(Weighted):
    """Annealed importance sampling: w is the product over t of f_{b_t}(z_{t-1}) / f_{b_{t-1}}(z_{t-1}).

    A chain starts at z_0 ~ p_0(z) and walks through the distributions f_b(z) = p_0(z)^(1 - b) p(x, z)^b, with a move
    at each b_t that leaves f_{b_t} as it is.  E[w] = p(x) whatever the moves, so that the estimate of log p(x) is a
    stochastic lower bound; it rises to log p(x) with the number of steps, also where the guide is far from the
    posterior.

    **Moves.**  Real latents move by Hamiltonian Monte Carlo, discrete ones by proposals to change one bit or class; a
    missing class is summed over.  Step sizes are relative to the spread of p_0 in each dimension.  They are found by
    pilot chains, for each datum and each b apart, which aim at an acceptance of 0.65 and are then thrown away: sizes
    that were adapted to the very chains whose weights are taken, as is often done, would make E[w] differ from p(x).

    One chain costs about ``steps`` times ``leapfrog`` evaluations of log p(x, z) and its gradient.

    Args:
        steps: T, number of temperatures.
        leapfrog: leapfrog steps of each move; for discrete latents as many proposals.
        start: p_0, ``"prior"`` or ``"guide"``.  From the guide fewer steps are enough where it is good; modes of the
            posterior that it misses are as far away as from anywhere.
        schedule: of b, ``"sigmoid"``, which takes small steps at both ends, or ``"linear"``.
        pilot: chains for each datum that find the step sizes.

    Raises:
        ConfigurationError: for numbers below 1 or unknown names.

    References:
        Neal, Annealed Importance Sampling, 2001 (https://arxiv.org/abs/physics/9803008); Wu, Burda, Salakhutdinov &
        Grosse, On the Quantitative Analysis of Decoder-Based Generative Models, 2017
        (https://arxiv.org/abs/1611.04273)
    """

    num_samples = 16

    def __init__(
        self, steps: int = 1000, leapfrog: int = 10, start: str = "prior", schedule: str = "sigmoid", pilot: int = 4
    ) -> None:
        self.steps = check_positive("steps", steps)
        self.leapfrog = check_positive("leapfrog", leapfrog)
        self.start = check_choice("start", start, ["prior", "guide"])
        self.schedule = check_choice("schedule", schedule, ["sigmoid", "linear"])
        self.pilot = check_positive("pilot", pilot)

    @property
    def reads_guide(self) -> bool:  # type: ignore[override]
        """Whether it needs the guide's density."""
        return self.start == "guide"

    def temperatures(self) -> list[float]:
        """b_0 = 0, ..., b_T = 1.

        Example:
            >>> AIS(steps=4, schedule="linear").temperatures()
            [0.0, 0.25, 0.5, 0.75, 1.0]
            >>> [round(b, 3) for b in AIS(steps=4).temperatures()]
            [0.0, 0.105, 0.5, 0.895, 1.0]
        """
        even = torch.linspace(0, 1, self.steps + 1, dtype=torch.double)
        if self.schedule == "sigmoid":  # Wu et al. 2017, section 5
            even = torch.sigmoid(8 * even - 4)
            even = (even - even[0]) / (even[-1] - even[0])
        return even.tolist()

    def log_weights(self, variant: Variant, x: Tensor, y: Tensor | None, num_samples: int, advance: Advance) -> Tensor:
        ladder = Ladder(self, LogJoint(variant, x, y), num_samples, lambda share: advance(0.5 * share))
        return ladder.up(num_samples, lambda share: advance(0.5 * share))


class Ladder:
    """The distributions between p_0 and the posterior of given data, with moves whose step sizes are fixed.

    Args:
        settings: the number of distributions, and the kind of moves.
        joint: log p(x, z).
        at_once: how many chains for each datum fit into memory.
        advance: told how far the search for step sizes is, in draws.
    """

    def __init__(self, settings: AIS, joint: LogJoint, at_once: int, advance: Advance) -> None:
        self.settings = settings
        self.joint = joint
        self.path = Path(joint, settings.start)
        self.temperatures = settings.temperatures()
        inner = len(self.temperatures) - 2
        self.sizes = [torch.ones(joint.n, device=joint.variant.device, dtype=joint.variant.dtype)] * inner
        """Step sizes (N,) at all temperatures but the first and the last, in units of the spread of p_0."""
        if not joint.size or not inner:
            advance(at_once * joint.n)
            return
        self.spread = self._spread(at_once)
        # at b = 0 the target has about this spread, and the best step shrinks with the dimension as D^(-1/4)
        log_size = self.sizes[0].log() - 0.25 * math.log(joint.size)
        state = self.path.at(self.path.draw(min(settings.pilot, at_once)))
        for place, b in enumerate(self.temperatures[1:-1]):
            self.sizes[place] = log_size.exp()
            state, acceptance = self._move(state, b, self.sizes[place])
            log_size = log_size + _GAIN * (acceptance.mean(0) - _ACCEPTANCE)
            advance(at_once * joint.n / inner)

    def up(self, num_samples: int, advance: Advance) -> Tensor:
        """Log-weights (K, N) of chains from p_0 to the posterior: the mean of the weights is p(x)."""
        return self._walk(self.path.draw(num_samples), self.temperatures, self.sizes, advance)

    def down(self, latents: Latents, advance: Advance) -> Tensor:
        """Log-weights (K, N) of chains from exact draws from the posterior to p_0: the mean is 1 / p(x)."""
        return self._walk(latents, self.temperatures[::-1], self.sizes[::-1], advance)

    def _walk(self, latents: Latents, temperatures: list[float], sizes: list[Tensor], advance: Advance) -> Tensor:
        state = self.path.at(latents)
        log_w = torch.zeros_like(state.log_joint, dtype=torch.double)
        for (here, there), size in itertools.zip_longest(itertools.pairwise(temperatures), sizes):
            log_w = log_w + (there - here) * (state.log_joint - state.log_start).double()
            if size is not None:  # at the last temperature nothing depends on where the chain goes
                state, _ = self._move(state, there, size)
            advance(log_w.numel() / (len(temperatures) - 1))
        return log_w

    def _move(self, state: State, b: float, size: Tensor) -> tuple[State, Tensor]:
        """A move of all latents, and the probability that that of the real ones was accepted."""
        acceptance = torch.ones_like(state.log_joint)
        if self.joint.size:
            # trajectories of one length could come back to where they began
            jittered = size * (0.8 + 0.4 * torch.rand_like(state.log_joint))
            step = jittered[..., None] * self.spread
            state, acceptance = hamiltonian(self.path, state, b, step, self.settings.leapfrog)
        for name in self.joint.discrete:
            for _ in range(self.settings.leapfrog):
                state = metropolis(self.path, state, b, name)
        return state, acceptance

    def _spread(self, at_once: int) -> Tensor:
        """Half the width of p_0 that holds 68 %, (N, D); a normal's scale, and finite where there are no moments."""
        rounds = math.ceil(_SCALE_DRAWS / at_once)
        draws = torch.cat([self.joint.pack(self.path.draw(at_once))[:_SCALE_DRAWS] for _ in range(rounds)])
        ordered = draws.sort(0).values
        low, high = (ordered[round(share * (len(draws) - 1))] for share in (0.16, 0.84))
        return (0.5 * (high - low)).clamp(min=1e-6)

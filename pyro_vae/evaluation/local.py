"""Guides without an encoder: each datum's q(z | x) has parameters of its own, found by optimisation."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyro
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.func import functional_call, vmap

from pyro_vae.errors import ConfigurationError, NonFiniteLossError
from pyro_vae.evaluation.elbo import PLATES, batch_terms, repeated
from pyro_vae.flows import FlowDistribution
from pyro_vae.objectives.elbo import check_reparametrised
from pyro_vae.objectives.enumeration import enumerated_trace
from pyro_vae.parts import Conditional
from pyro_vae.program import sample_sites
from pyro_vae.variants.base import Variant, evaluating

__all__ = ["LocalFamily", "encoder_outputs", "optimised", "proposing"]

_WINDOW = 50
"""Steps whose ELBOs are averaged before they are compared with those before."""

_PATIENCE = 2
"""Windows without a better ELBO, after which the learning rate falls."""

_FALLS = (0.2, 0.01)
"""What the learning rate is multiplied by then, and the share of it below which the optimum is reached."""


class LocalFamily:
    """A family of distributions with parameters, and weights if it has any, of its own for each datum.

    Args:
        family: that makes a distribution of parameters.
        parameters: where they start, (\\*batch, \\*parameter_shape).
        weights: whether the family's own weights, such as those of a flow, are each datum's own as well; else they
            stay as they are.
    """

    def __init__(self, family: Conditional, parameters: Tensor, *, weights: bool = False) -> None:
        self.family = family
        self.parameters = parameters.detach().clone().requires_grad_()
        assert family.shape is not None
        self.batch = parameters.shape[: parameters.dim() - len(family.parameter_shape(family.shape))]
        own = dict(family.named_parameters()) if weights else {}
        self.weights = {
            f"family.{name}": weight.detach().expand(self.batch.numel(), *weight.shape).clone().requires_grad_()
            for name, weight in own.items()
            if not name.startswith("network.")
        }

    def distribution(self) -> TorchDistribution:
        """The distribution of all data, with batch shape (\\*batch,)."""
        if not self.weights:
            return self.family.distribution(self.parameters)
        assert self.family.shape is not None
        return FlowDistribution(_Drawn(self._draw, self.batch, self.batch, torch.Size(self.family.shape)))

    def groups(self, lr: float) -> list[dict[str, Any]]:
        """All that is to be optimised, with learning rates: networks want smaller steps than parameters do."""
        groups = [{"params": [self.parameters], "lr": lr}]
        return [*groups, {"params": list(self.weights.values()), "lr": lr / 10}] if self.weights else groups

    def _draw(self, count: int) -> tuple[Tensor, Tensor]:
        """``count`` draws for each element of the batch, (M, count, \\*shape), and their log-densities (M, count)."""
        one = _DrawAndScore(self.family, count)

        def of_one(weights: Mapping[str, Tensor], parameters: Tensor) -> tuple[Tensor, Tensor]:
            return functional_call(one, dict(weights), (parameters,))

        flat = self.parameters.flatten(0, len(self.batch) - 1)
        with pyro.validation_enabled(False):  # it looks at values, which vmap cannot
            if torch.is_grad_enabled():
                # all data see the same noise: under vmap torch's normal distribution cannot draw different noise
                return vmap(of_one, randomness="same")(self.weights, flat)
            each = [of_one({n: w[i] for n, w in self.weights.items()}, flat[i]) for i in range(len(flat))]
        z, log_q = (torch.stack(values) for values in zip(*each, strict=True))
        return z, log_q


class _DrawAndScore(nn.Module):
    """Draws of a family and their densities, as a function of its weights."""

    def __init__(self, family: Conditional, count: int) -> None:
        super().__init__()
        self.family = family
        self.count = count

    def forward(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        q: Any = self.family.distribution(parameters)
        z = q.rsample((self.count,))
        return z, q.log_prob(z)


class _Drawn(Distribution):
    """What can be drawn together with its density, and is scored at its own draws only.

    Args:
        draw: gives so many draws for each element of ``base``, flattened, and their log-densities.
        base: batch shape of different distributions.
        batch: batch shape, to which it is expanded.
        event: event shape.
    """

    has_rsample = True
    arg_constraints: dict[str, Any] = {}  # noqa: RUF012

    def __init__(
        self, draw: Callable[[int], tuple[Tensor, Tensor]], base: torch.Size, batch: torch.Size, event: torch.Size
    ) -> None:
        self.draw, self.base = draw, base
        super().__init__(batch, event, validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> _Drawn:
        return _Drawn(self.draw, self.base, torch.Size(batch_shape), self.event_shape)

    def rsample_and_log_prob(self, sample_shape: Any = ()) -> tuple[Tensor, Tensor]:
        """Draws and their log-densities; zuko's distributions have the same method."""
        target = (*sample_shape, *self.batch_shape)
        base = (1,) * (len(target) - len(self.base)) + tuple(self.base)
        more = [size if own == 1 else 1 for own, size in zip(base, target, strict=True)]
        z, log_q = self.draw(torch.Size(more).numel())

        def arranged(values: Tensor, event: torch.Size) -> Tensor:
            # (M, count) as (*base, *more), the two sizes of each dimension then side by side
            apart = values.reshape(*base, *more, *event)
            pairs = [place for dim in range(len(base)) for place in (dim, len(base) + dim)]
            return apart.permute(*pairs, *range(2 * len(base), apart.dim())).reshape(*target, *event)

        return arranged(z, self.event_shape), arranged(log_q, torch.Size())


class _Calls:
    """Sees the guide run: which of its parts were called first, and what their networks gave."""

    def __init__(self, variant: Variant) -> None:
        shared = set(variant.model.modules())
        self.guide = variant.guide
        self.parts = [part for part in self.guide.modules() if isinstance(part, Conditional) and part not in shared]
        self.seen: set[Conditional] = set()
        self.running = False

    def first(self, part: Conditional) -> bool:
        """Whether this is the first call of a part in a run of the guide.

        Later ones, and those from the model (a VampPrior asks the guide's encoder), propose nothing.
        """
        if not self.running or part in self.seen:
            return False
        self.seen.add(part)
        return True

    @contextlib.contextmanager
    def watched(self, hooks: Mapping[Conditional, tuple[nn.Module, Callable[[Any], Any]]]) -> Iterator[None]:
        """Within it, for each part, what a module of it gives is passed through a function at the first call."""

        def begin(*_: Any) -> None:
            self.running = True
            self.seen.clear()

        def end(*_: Any) -> None:
            self.running = False

        def hook(part: Conditional, change: Callable[[Any], Any]) -> Callable[..., Any]:
            return lambda module, inputs, output: change(output) if self.first(part) else output

        with contextlib.ExitStack() as stack:
            stack.callback(self.guide.register_forward_pre_hook(begin).remove)
            stack.callback(self.guide.register_forward_hook(end, always_call=True).remove)
            for part, (module, change) in hooks.items():
                stack.callback(module.register_forward_hook(hook(part, change)).remove)
            yield


def encoder_outputs(variant: Variant, x: Tensor, y: Tensor | None) -> dict[Conditional, Tensor]:
    """What the guide's networks give for data of one kind: the parameters (\\*batch, \\*parameter_shape) of each part.

    Raises:
        ConfigurationError: when a part of the guide depends on a draw of another latent, so that a datum has no one
            value of its parameters; when nothing is computed; or when draws have no gradient.
    """
    calls = _Calls(variant)
    found: dict[Conditional, Tensor] = {}

    def kept(part: Conditional) -> Callable[[Tensor], Tensor]:
        return lambda output: found.setdefault(part, output)

    hooks = {part: (part.network, kept(part)) for part in calls.parts if part.network is not None}
    with torch.no_grad(), evaluating(variant), calls.watched(hooks):
        trace = enumerated_trace(repeated(variant.guide, 2), variant.program_arguments(x, y), PLATES)
    for part, output in found.items():
        assert part.shape is not None
        batch = output.shape[: output.dim() - len(part.parameter_shape(part.shape))]
        if len(batch) >= PLATES and batch[-PLATES] > 1:
            raise ConfigurationError(
                f"{type(variant).__name__}: its guide computes {part!r} from a draw of another latent, so a datum has "
                f"no parameters of q of its own to optimise; known labels (y) may help, and a guide of several codes "
                f"cannot be taken apart like this"
            )
    if not found:
        raise ConfigurationError(f"{type(variant).__name__}: its guide computes no distribution from data by a network")
    for site in sample_sites(trace):
        if not site["is_observed"]:
            check_reparametrised(site)
    return found


@contextlib.contextmanager
def proposing(variant: Variant, families: Mapping[Conditional, LocalFamily]) -> Iterator[None]:
    """A context in which the guide proposes by these families in place of its own parts.

    It must be run on the very data that their parameters are for, in the same order.
    """

    def replaced(local: LocalFamily) -> Callable[[Any], TorchDistribution]:
        return lambda _: local.distribution()

    hooks = {part: (part, replaced(local)) for part, local in families.items()}
    with _Calls(variant).watched(hooks):  # type: ignore[arg-type]
        yield


def optimised(
    variant: Variant,
    x: Tensor,
    y: Tensor | None,
    families: Mapping[Conditional, LocalFamily],
    *,
    num_particles: int,
    steps: int,
    lr: float,
) -> tuple[int, bool]:
    """Maximise the ELBO of each datum in the parameters of its own, all data at once, by Adam.

    Where the ELBO has not risen for two windows of 50 steps the learning rate falls; when it has fallen to a hundredth
    the optimum is taken to be reached.  What is maximised is the bound itself, without the weights of training.

    Args:
        variant: whose model stays as it is.
        x: checked data (N, \\*shape), of one kind.
        y: their checked labels.
        families: in place of the guide's parts; their parameters are moved.
        num_particles: draws per datum and step.
        steps: at most so many.
        lr: learning rate.

    Returns:
        How many steps were taken, and whether the optimum was reached.

    Raises:
        NonFiniteLossError: when the ELBO is no longer finite.
    """
    optimiser = torch.optim.Adam([group for local in families.values() for group in local.groups(lr)])
    tensors = [tensor for group in optimiser.param_groups for tensor in group["params"]]
    factor, least = _FALLS
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimiser, "max", factor=factor, patience=_PATIENCE, threshold=0.0
    )
    risen = 0.0
    with torch.enable_grad(), evaluating(variant), proposing(variant, families):
        for step in range(1, steps + 1):
            terms = batch_terms(variant, x, y, num_particles)
            bound = torch.stack([term.contribution.sum() for term in terms if not term.factor]).sum()
            optimiser.zero_grad()
            (-bound).backward(inputs=tensors)
            optimiser.step()
            risen += bound.item() / (_WINDOW * len(x))
            if step % _WINDOW == 0:
                if risen != risen or abs(risen) == float("inf"):
                    raise NonFiniteLossError(
                        f"the ELBO of guides optimised for each datum became {risen} at step {step} with lr={lr:g}; "
                        f"take a smaller one"
                    )
                schedule.step(risen)
                risen = 0.0
                if optimiser.param_groups[0]["lr"] < least * lr:
                    return step, True
    return steps, False

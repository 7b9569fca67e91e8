"""Guides without an encoder: each datum's q(z | x) has parameters of its own, found by optimisation."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pyro_vae.errors import ConfigurationError, NonFiniteLossError
from pyro_vae.evaluation.elbo import PLATES, batch_terms, repeated
from pyro_vae.evaluation.of_each_datum import Local, LocalFamily, LocalOffset
from pyro_vae.objectives.elbo import passes_gradients
from pyro_vae.objectives.enumeration import enumerated_trace
from pyro_vae.parts import Conditional
from pyro_vae.program import sample_sites
from pyro_vae.variants.base import Variant
from pyro_vae.variants.contexts import evaluating

__all__ = ["local_families", "optimised", "proposing"]

_WINDOW = 50
"""Steps whose ELBOs are averaged before they are compared with those before."""

_PATIENCE = 2
"""Windows without a better ELBO, after which the learning rate falls."""

_FALLS = (0.2, 0.01)
"""What the learning rate is multiplied by then, and the share of it below which the optimum is reached."""


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


def local_families(variant: Variant, x: Tensor, y: Tensor | None) -> dict[Conditional, Local]:
    """For each part of the guide what can be each datum's own, to begin with as the guide is.

    A part that is computed from data and known labels alone gets a family with parameters of each datum's own; one that
    is computed from a draw of another latent an offset.

    Args:
        variant: whose guide proposes.
        x: checked data (N, \\*shape), of one kind.
        y: their checked labels.

    Raises:
        ConfigurationError: when nothing is computed by a network; or when draws have no gradient.
    """
    calls = _Calls(variant)
    outputs: dict[Conditional, Tensor] = {}

    def kept(part: Conditional) -> Callable[[Tensor], Tensor]:
        return lambda output: outputs.setdefault(part, output)

    hooks = {part: (part.network, kept(part)) for part in calls.parts if part.network is not None}
    with torch.no_grad(), evaluating(variant), calls.watched(hooks):
        trace = enumerated_trace(repeated(variant.guide, 2), variant.program_arguments(x, y), PLATES)
    if not outputs:
        raise ConfigurationError(f"{type(variant).__name__}: its guide computes no distribution from data by a network")
    for site in sample_sites(trace):
        if not (site["is_observed"] or passes_gradients(site)):
            raise ConfigurationError(
                f"the guide is optimised for each datum by gradients that pass through its draws, and those of "
                f"{site['name']!r} let none through; for small codes sum over them (enumerate=True), or give the "
                f"posterior gradient='straight_through'"
            )
    return {part: _of_its_own(part, output) for part, output in outputs.items()}


def _of_its_own(part: Conditional, output: Tensor) -> Local:
    assert part.shape is not None
    batch = output.shape[: output.dim() - len(part.parameter_shape(part.shape))]
    if len(batch) >= PLATES and batch[-PLATES] > 1:
        return LocalOffset(part, output, PLATES)
    return LocalFamily(part, output)


@contextlib.contextmanager
def proposing(variant: Variant, families: Mapping[Conditional, Local]) -> Iterator[None]:
    """A context in which the guide proposes with what is each datum's own.

    It must be run on the very data that this is for, in the same order.
    """
    with _Calls(variant).watched({part: local.hook(part) for part, local in families.items()}):
        yield


def optimised(
    variant: Variant,
    x: Tensor,
    y: Tensor | None,
    families: Mapping[Conditional, Local],
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

"""An objective that runs the programs once, and from then on what they did to tensors."""

from __future__ import annotations

import contextlib
import traceback
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyro
import torch
from pyro.infer.elbo import ELBO as PyroELBO
from pyro.poutine.runtime import am_i_wrapped
from torch import Tensor

from pyro_vae.configured import Configured
from pyro_vae.errors import ConfigurationError
from pyro_vae.objectives.compiled.backends import backend_named, one_by_one
from pyro_vae.objectives.compiled.step import Arguments, CompilerError, Step, make_step
from pyro_vae.objectives.compiled.surroundings import NotReadyError, Surroundings

__all__ = ["Compiled"]

_MOST_STEPS = 8


@dataclass
class _Pair:
    """A model and a guide, and the steps that were compiled for them."""

    around: Surroundings
    checked: bool
    steps: dict[Any, list[Step]] = field(default_factory=dict)
    made: int = 0
    abandoned: bool = False
    warned: bool = False

    def warn(self, why: str) -> None:
        """Say, once, why calls run as ever."""
        if not self.warned:
            self.warned = True
            warnings.warn(f"not compiled, so that steps are as slow as without Compiled: {why}", stacklevel=2)


@dataclass
class _Call:
    step: Step
    inputs: list[Tensor]
    captured: list[Tensor]


class Compiled(Configured, PyroELBO):
    """An objective whose evaluation and gradient are compiled: a step of SVI without the Python of the programs.

    The first step runs as ever, with Pyro's checks.  The second runs the programs on tensors without data, under all
    of Pyro's handlers, and keeps the tensor operations of the loss and of its gradients as one graph, which
    ``torch.compile``'s backend makes machine code of.  Later steps run that code alone.  Losses, terms and gradients
    are those of the objective itself, for the same random numbers, but for the last digits.

    **Always anew** in each step: parameters, buffers (batch norms move their statistics), weights of sites, random
    numbers.  **A graph of its own** has each kind of data (types, dimensions, whether there are labels), training and
    evaluation mode, and whatever numbers, names and switches the modules hold as attributes.  Batches of another size
    get a second graph, which then serves any size.  After 8 graphs further ones run as ever, with a warning.

    **Not seen** are numbers that the programs read from elsewhere, such as a global variable or a list: they stay what
    they were.  Give them as arguments, or keep them as attributes or (where they change often) as buffers of the
    module.  Numbers among the arguments are part of the graph too; give as a tensor what changes in each step.

    Where a program decides by values what to do next, or changes attributes, it runs as ever, with one warning that
    says where.  Machine code needs a compiler, on a CPU one for C++; without one the operations of the
    graph run one by one, also after one warning.

    Args:
        objective: one of Pyro's or of :mod:`pyro_vae.objectives`, with ``differentiable_loss``.
        backend: ``"inductor"`` makes machine code, ``"eager"`` runs the graph's operations one by one, without a
            compiler and with the same numbers to the last digit.
        dynamic: whether graphs serve batches of any size; by default from the second size on.
        quiet: whether to say nothing where there is no compiler.
        options: settings of ``torch.compile(options=...)`` for ``"inductor"``: ``{"triton.cudagraphs": True}`` records
            a step on a GPU once and replays it, ``{"max_autotune": True}`` tries several kernels.

    Attributes:
        checks_first: whether the first call runs as ever.  Programs that make parameters by ``pyro.param`` need it.
        announces: whether Pyro's handlers are told of the parameters, as SVI with an optimiser of Pyro's needs it.

    Raises:
        ConfigurationError: for an objective without a differentiable loss, or an unknown backend.

    Example:
        >>> import pyro_vae as pv
        >>> from pyro.infer import SVI
        >>> from pyro.optim import Adam
        >>> from pyro_vae import likelihoods, objectives, priors
        >>> vae = pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(5))
        >>> compiled = objectives.Compiled(objectives.ELBO(), backend="eager")
        >>> with pyro.get_param_store().scope():
        ...     svi = SVI(vae.model, vae.guide, Adam({"lr": 1e-3}), loss=compiled)
        ...     losses = [svi.step(torch.ones(16, 5)) for _ in range(3)]
        >>> compiled.graphs
        1
    """

    def __init__(
        self,
        objective: PyroELBO,
        backend: str = "inductor",
        dynamic: bool | None = None,
        quiet: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        # Pyro's constructor would hide the numbers of particles and plates of the objective itself
        if not callable(getattr(objective, "differentiable_loss", None)):
            raise ConfigurationError(
                f"Compiled needs an objective with a differentiable_loss, such as ELBO(), IWAE(5) or Trace_ELBO(), and "
                f"{type(objective).__name__} has none; use its relative in pyro_vae.objectives, or do not compile it"
            )
        self.objective: Any = objective
        self.backend = backend
        self.dynamic = dynamic
        self.quiet = quiet
        self.checks_first = True
        self.announces = True
        self.options = dict(options or {})
        self._compile = backend_named(backend, self.options)
        self._pairs: dict[Any, _Pair] = {}
        self._weights: tuple[Any, list[Tensor]] = (None, [])

    def __getattr__(self, name: str) -> Any:
        if name == "objective" or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.objective, name)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pairs": {}}  # machine code is not copied, it is made again

    @property
    def graphs(self) -> int:
        """How many graphs were compiled so far."""
        return sum(pair.made for pair in self._pairs.values())

    # -- Pyro's interface

    def loss(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> float:
        """The loss, without gradients; not compiled."""
        return self.objective.loss(model, guide, *args, **kwargs)

    def differentiable_loss(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> Tensor:
        """The loss as a tensor (), to be differentiated once."""
        call = self._call(model, guide, args, kwargs) if torch.is_grad_enabled() else None
        if call is None:
            return self.objective.differentiable_loss(model, guide, *args, **kwargs)
        loss, gradients = self._run(call)
        return _WithGradients.apply(loss, gradients, *call.step.parameters())  # type: ignore[no-any-return]

    def loss_and_grads(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> float:
        """The loss; its gradients are added to the parameters'."""
        call = self._call(model, guide, args, kwargs)
        if call is None:
            return self.objective.loss_and_grads(model, guide, *args, **kwargs)
        loss, gradients = self._run(call)
        for parameter, gradient in zip(call.step.parameters(), gradients, strict=True):
            parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)
        return loss.item()

    def _get_trace(self, *args: Any) -> Any:
        return self.objective._get_trace(*args)  # Pyro's base class wants it to be here

    def _run(self, call: _Call) -> tuple[Tensor, list[Tensor]]:
        with contextlib.ExitStack() as stack:
            for device, _ in _autocast():  # the graph has the casts already
                stack.enter_context(torch.autocast(device, enabled=False))
            loss, gradients, terms = call.step(call.inputs, call.captured)
        if terms is not None:
            self.objective.terms = terms
        return loss, gradients

    # -- finding the graph for a call

    def _call(self, model: Any, guide: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Call | None:
        """The compiled step for a call, or ``None`` where it is to run as ever."""
        pair = self._pairs.get((model, guide))
        if pair is None or not pair.around.same_structure():
            around = Surroundings(self.objective, model, guide, results=("terms",))
            pair = self._pairs[model, guide] = _Pair(around, checked=not self.checks_first)
        if pair.abandoned or not pair.checked:
            pair.checked = True
            return None
        arguments, weights = Arguments(*pair.around.arranged(args, kwargs)), pair.around.weights()
        try:
            kind = (arguments.fixed, pair.around.settings(), pair.around.weighed_sites(), _autocast())
            hash(kind)
        except (KeyError, TypeError):
            pair.warn("an argument, or an attribute of a module, is neither a tensor nor a number, a name or a switch")
            return None
        # where a weight moves, one graph serves all its values; where all are one from first to last, it has none
        weighed = (kind, True) in pair.steps or any(weight != 1.0 for weight in weights)
        inputs = [*(self._as_tensor(weights, pair) if weighed else []), *arguments.tensors]
        steps = pair.steps.setdefault((kind, weighed), [])
        for step in steps:
            if step.fits(inputs):
                if (captured := step.captured_now()) is not None:
                    return _Call(step, inputs, captured) if self._announced(step) else None
                steps.remove(step)  # its parameters went elsewhere: another device, another type
                break
        made = self._make(pair, (model, guide), arguments, inputs, bool(steps))
        if made is None or not made.fits(inputs):
            return None
        steps.append(made)
        captured = made.captured_now()
        return _Call(made, inputs, captured) if captured is not None and self._announced(made) else None

    def _make(
        self, pair: _Pair, programs: tuple[Any, Any], arguments: Arguments, inputs: list[Tensor], another: bool
    ) -> Step | None:
        """A step for a kind of call that there is none for, or ``None`` and a warning."""
        if any(tensor.requires_grad for tensor in arguments.tensors):
            pair.warn("an argument requires a gradient, and only those of parameters are computed")
            return None
        if pair.made >= _MOST_STEPS:
            pair.warn(
                f"{_MOST_STEPS} graphs were made already, for as many kinds of calls or settings of modules; a number "
                f"that changes from call to call must be a tensor, as an argument or as a buffer of a module"
            )
            return None
        dynamic = another if self.dynamic is None else self.dynamic
        weights = inputs[: len(inputs) - len(arguments.tensors)]
        compiler_failed = failed = ""
        # not all of Pyro can do with sizes that are not known
        for any_size in [True, False] if dynamic else [False]:
            try:
                evaluated = (self.objective, *programs)
                made = make_step(evaluated, arguments, weights, pair.around, self._compile, any_size)
            except NotReadyError:
                return None
            except CompilerError as error:
                compiler_failed = _first_line(error)
            except Exception as error:
                failed = (
                    f"a program decides by values what to do next, or does what cannot be traced{_place(error)}: "
                    f"{type(error).__name__}: {_first_line(error)}"
                )
            else:
                pair.made += 1
                return made
        if compiler_failed and self._compile is not one_by_one:
            if not self.quiet:
                warnings.warn(
                    f"no machine code, so that the operations of a step run one by one: the compiler failed "
                    f"({compiler_failed}); on a CPU backend='inductor' needs one for C++",
                    stacklevel=2,
                )
            self._compile = one_by_one
            return self._make(pair, programs, arguments, inputs, another)
        pair.abandoned = True
        pair.warn(failed or compiler_failed)
        return None

    def _announced(self, step: Step) -> bool:
        """Tell Pyro's handlers of the parameters, as the programs would, unless its store does not have them all.

        Where it was emptied the programs must run as ever, and fill it.
        """
        if not (self.announces and am_i_wrapped()):
            return True
        store = pyro.get_param_store()
        if not all(name in store for name in step.names):
            return False
        for name in step.names:
            pyro.param(name)
        return True

    def _as_tensor(self, weights: list[float], pair: _Pair) -> list[Tensor]:
        """The weights as one tensor, made anew only where they moved."""
        like = pair.around.like
        wanted = (weights, None if like is None else (like.dtype, like.device))
        if self._weights[0] != wanted:
            made = (
                torch.tensor(weights) if like is None else torch.tensor(weights, dtype=like.dtype, device=like.device)
            )
            self._weights = wanted, [made]
        return self._weights[1]


class _WithGradients(torch.autograd.Function):
    """A loss that is given together with its gradients."""

    @staticmethod
    def forward(context: Any, loss: Tensor, gradients: list[Tensor], *parameters: Tensor) -> Tensor:
        context.gradients = gradients
        return loss

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, factor: Tensor) -> Any:
        return None, None, *(factor * gradient for gradient in context.gradients)


def _autocast() -> tuple[tuple[str, torch.dtype], ...]:
    """The devices that compute in another precision at the moment, and which."""
    devices = (device for device in ("cpu", "cuda") if torch.is_autocast_enabled(device))
    return tuple([(device, torch.get_autocast_dtype(device)) for device in devices])


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), "")


def _place(error: BaseException) -> str:
    """Where in the user's own code an error arose."""
    others = (*torch.__path__, *pyro.__path__, str(Path(__file__).parents[1]))
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith((*others, "<")):
            return f" ({Path(frame.filename).name}, line {frame.lineno}: {frame.line})"
    return ""

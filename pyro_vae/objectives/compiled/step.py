"""One evaluation of an objective with its gradients, as a compiled graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyro
import torch
from pyro import poutine
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from pyro_vae.objectives.compiled.backends import Backend
from pyro_vae.objectives.compiled.surroundings import Surroundings

if TYPE_CHECKING:
    from pyro_vae.objectives.compiled.tracing import Graph

__all__ = ["Arguments", "CompilerError", "Step", "make_step"]


class CompilerError(RuntimeError):
    """A graph could not be compiled."""


class Arguments:
    """The arguments of a call: the tensors among them, and what is to be the same for a graph to serve again.

    Attributes:
        tensors: in order.
        fixed: all else that a graph depends on but for the first dimensions of tensors.
    """

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._leaves, self._structure = list(args), None
        if kwargs or not all(isinstance(each, Tensor) or each is None for each in args):
            self._leaves, self._structure = tree_flatten((args, kwargs))
        self.tensors = [each.contiguous() for each in self._leaves if isinstance(each, Tensor)]
        leaves = [_kind(each) if isinstance(each, Tensor) else (type(each), each) for each in self._leaves]
        self.fixed = (None if self._structure is None else repr(self._structure), *leaves)

    def with_tensors(self, tensors: Sequence[Tensor]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments, positional and named, with these in place of :attr:`tensors`."""
        given = iter(tensors)
        leaves = [next(given) if isinstance(each, Tensor) else each for each in self._leaves]
        return (tuple(leaves), {}) if self._structure is None else tree_unflatten(leaves, self._structure)


def _kind(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.dtype, tensor.device, tensor.requires_grad, tensor.dim(), tensor.shape[1:]


@dataclass
class _Found:
    """What was learned while an objective ran."""

    parameters: list[Tensor] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    terms: _Terms | None = None


class Step:
    """A compiled graph: from weights of sites, data and parameters to the loss, its gradients and its terms.

    Attributes:
        names: of the parameters in Pyro's store that the programs asked for.
    """

    def __init__(self, graph: Graph, run: Callable[..., Sequence[Tensor]], found: _Found, around: Surroundings) -> None:
        self._graph = graph
        self._run = run
        self._captured = around.places(graph.captured)
        self._kinds = [(t.dtype, t.device, t.requires_grad, t.shape) for t in graph.captured]
        self._parameters = around.places(found.parameters)
        self._terms = found.terms
        self._sizes: dict[tuple[torch.Size, ...], list[int] | None] = {}
        self.names = found.names

    def fits(self, inputs: Sequence[Tensor]) -> bool:
        """Whether the step is right for inputs of these sizes."""
        key = tuple([tensor.shape[:1] for tensor in inputs])
        if key not in self._sizes:
            self._sizes[key] = self._graph.sizes(inputs)
        return self._sizes[key] is not None

    def captured_now(self) -> list[Tensor] | None:
        """The tensors outside as they are now, or ``None`` where one is gone, or of another kind."""
        store = pyro.get_param_store()._params
        captured = []
        try:
            for (held, name), (dtype, device, trained, shape) in zip(self._captured, self._kinds, strict=True):
                tensor = (store if held is None else held)[name]
                if tensor.dtype is not dtype or tensor.device != device or tensor.shape != shape:
                    return None
                if tensor.requires_grad is not trained:
                    return None
                captured.append(tensor)
        except KeyError:
            return None
        return captured

    def __call__(self, inputs: Sequence[Tensor], captured: Sequence[Tensor]) -> tuple[Tensor, list[Tensor], Any]:
        """The loss (), the gradients of :meth:`parameters`, and the terms of the objective, if it has any."""
        sizes = self._sizes[tuple([tensor.shape[:1] for tensor in inputs])]
        assert sizes is not None
        with torch.no_grad():
            loss, *results = self._run(*sizes, *inputs, *captured)
        count = len(self._parameters)
        terms = None if self._terms is None else self._terms.of(results[count:])
        return loss, results[:count], terms

    def parameters(self) -> list[Tensor]:
        """The parameters that have gradients."""
        store = pyro.get_param_store()._params
        return [(store if held is None else held)[name] for held, name in self._parameters]


class _Terms:
    """How an objective's terms, an object with tensors and dicts of tensors, are made of the tensors alone.

    Args:
        terms: the object; ``tensors`` are its tensors in order.
    """

    def __init__(self, terms: Any) -> None:
        self._made_by = type(terms)
        self._plain = {name: value for name, value in vars(terms).items() if not isinstance(value, Tensor | dict)}
        self._single = [name for name, value in vars(terms).items() if isinstance(value, Tensor)]
        self._dicts = {name: list(value) for name, value in vars(terms).items() if isinstance(value, dict)}
        self.tensors = [vars(terms)[name] for name in self._single]
        self.tensors += [value for name in self._dicts for value in vars(terms)[name].values()]

    def of(self, tensors: Sequence[Tensor]) -> Any:
        """The same terms with other tensors."""
        given = iter(tensors)
        fields = self._plain | {name: next(given) for name in self._single}
        fields |= {name: {key: next(given) for key in keys} for name, keys in self._dicts.items()}
        return self._made_by(**fields)


def make_step(
    evaluated: tuple[Any, Any, Any],
    arguments: Arguments,
    weights: Sequence[Tensor],
    around: Surroundings,
    backend: Backend,
    dynamic: bool,
) -> Step:
    """Run an objective once on tensors without data, and compile what it did and what its gradients take.

    Args:
        evaluated: the objective, which has a ``differentiable_loss``, model and guide.
        arguments: of the programs.
        weights: one tensor with the weights of all sites in ``around``; nothing where they are all one.
        around: what the objective and the programs read.
        backend: compiles the graph.
        dynamic: whether the first dimensions of arguments may have other sizes later.

    Raises:
        CompilerError: when the backend fails.
        Exception: whatever the programs raise where they cannot do with tensors without data.
    """
    from pyro_vae.objectives.compiled.tracing import trace  # symbolic algebra, which takes long to import

    found = _Found()
    objective, *programs = evaluated

    def evaluate(*inputs: Tensor) -> list[Tensor]:
        args, kwargs = arguments.with_tensors(inputs[len(weights) :])
        numbers = iter(inputs[0].unbind()) if weights else None
        with around.given(numbers), poutine.trace(param_only=True) as asked:
            loss = objective.differentiable_loss(*programs, *args, **kwargs)
        found.names = list(asked.trace.nodes)
        sites: list[Any] = list(asked.trace.nodes.values())
        unconstrained = [site["value"].unconstrained() for site in sites]
        wanted = list({id(p): p for p in [*around.parameters(), *unconstrained] if p.requires_grad}.values())
        if loss.requires_grad:
            gradients = torch.autograd.grad(loss, wanted, allow_unused=True)
            found.parameters = [p for p, gradient in zip(wanted, gradients, strict=True) if gradient is not None]
        else:
            gradients = ()
        results = [loss.detach(), *_own([g for g in gradients if g is not None], found.parameters)]
        terms = getattr(objective, "terms", None)
        if terms is not None:
            found.terms = _Terms(terms)
            results += found.terms.tensors
            found.terms.tensors = []
        return results

    any_size = [False] * len(weights) + [dynamic and t.dim() > 0 for t in arguments.tensors]
    with around.untouched():
        graph = trace(evaluate, [*weights, *arguments.tensors], any_size)
    try:
        with torch.no_grad():
            run = backend(graph.module, graph.examples)
    except Exception as error:
        raise CompilerError(f"{type(error).__name__}: {error}") from error
    return Step(graph, run, found, around)


def _own(gradients: list[Tensor], parameters: list[Tensor]) -> list[Tensor]:
    """Gradients that lie in memory as their parameters do, each in a place of its own.

    Autograd may give two parameters one tensor, and ones that are broadcast; optimisers change gradients in place.
    """
    seen: set[int] = set()
    owned = []
    for gradient, parameter in zip(gradients, parameters, strict=True):
        place = gradient.untyped_storage()._cdata
        if place in seen or gradient.stride() != parameter.stride():
            gradient = torch.empty_like(parameter).copy_(gradient)
        seen.add(place)
        owned.append(gradient)
    return owned

"""Running Python once and keeping the tensor operations that it made, those of gradients too."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest import mock

import pyro
import torch
from pyro.infer import util as pyro_util
from pyro.util import warn_if_nan
from torch import Tensor, fx
from torch._dispatch.python import enable_python_dispatcher
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext
from torch.overrides import TorchFunctionMode

from pyro_vae.randomness import Tape

__all__ = ["Graph", "trace"]


class Graph:
    """The tensor operations of a function, as an ``fx`` graph without any tensors of its own.

    Attributes:
        module: takes the sizes that may differ, the arguments, and ``captured``; gives the function's results.
        examples: for each of these a tensor without data that says its shape, for compilers.
        captured: the tensors outside that the function read or changed: weights, buffers, what a closure holds.
    """

    def __init__(self, module: fx.GraphModule, fakes: FakeTensorMode, sizes: list[Any], arguments: Sequence[Tensor]):
        self.module = module
        self.captured = _lift(module)
        # what a compiler sees has no gradients left to compute
        captured = [fakes.from_tensor(tensor.detach(), static_shapes=True) for tensor in self.captured]
        self.examples = [*sizes, *arguments, *captured]
        self._shapes: Any = fakes.shape_env
        self._symbols = sizes
        # a size of one is never taken for any other: it broadcasts
        self.firsts = [argument.shape[0] if argument.dim() else None for argument in arguments]

    def sizes(self, arguments: Sequence[Tensor]) -> list[int] | None:
        """What the graph takes before its arguments, or ``None`` where it is not right for arguments of their sizes.

        What Python and the compiler asked about sizes while they worked, such as whether there is more than one
        datum, must have the same answers.
        """
        sizes: list[int] = []
        for first, argument in zip(self.firsts, arguments, strict=True):
            if first is not None and not isinstance(first, int):
                sizes.append(argument.shape[0])
            elif first is not None and first != argument.shape[0]:
                return None
        if not sizes:
            return sizes
        code = self._shapes.produce_guards_expression(self._symbols, ignore_static=False)
        return sizes if code is None or self._shapes.evaluate_guards_expression(code, sizes) else None


def trace(function: Callable[..., Sequence[Tensor]], arguments: Sequence[Tensor], any_size: Sequence[bool]) -> Graph:
    """The operations of ``function(*arguments)``.

    Nothing is computed, no random number is drawn, and nothing is changed: the function runs on tensors that have
    shapes and no data.  Where it asks for a value, to decide what to do next, an error says so.

    Args:
        function: from tensors to tensors.  It may compute gradients on its way.
        arguments: of the function.
        any_size: for each argument, whether its first dimension may have other sizes later.
    """
    fakes = FakeTensorMode(allow_non_fake_inputs=True, shape_env=ShapeEnv())
    faked = [
        fakes.from_tensor(argument, symbolic_context=_symbols(argument, any_))
        for argument, any_ in zip(arguments, any_size, strict=True)
    ]
    # sizes are inputs too: compilers want them so
    sizes = [argument.shape[0] for argument in faked if argument.dim() and not isinstance(argument.shape[0], int)]

    def flat(*inputs: Any) -> Sequence[Tensor]:
        with Tape():
            return function(*inputs[len(sizes) :])

    with _values_not_asked(), enable_python_dispatcher():
        module = make_fx(flat, tracing_mode="fake")(*sizes, *faked)
    return Graph(module, fakes, sizes, faked)


def _symbols(argument: Tensor, any_size: bool) -> StatelessSymbolicContext:
    dimensions = [DimDynamic.STATIC] * argument.dim()
    if any_size:
        dimensions[0] = DimDynamic.DYNAMIC
    return StatelessSymbolicContext(dynamic_sizes=dimensions)


def _lift(module: fx.GraphModule) -> list[Tensor]:
    """Turn tensors that a graph holds into further inputs of it, and return them.

    Literals, tensors that the function made of numbers, stay: nobody else can change them.
    """
    graph, found = module.graph, dict[str, fx.Node]()
    last = [node for node in graph.nodes if node.op == "placeholder"][-1]
    for node in [node for node in graph.nodes if node.op == "get_attr"]:
        literals = (torch.ops.aten.lift_fresh_copy.default, torch.ops.aten.lift_fresh.default)
        if all(user.target in literals for user in node.users):
            continue
        if node.target not in found:
            with graph.inserting_after(last):
                last = found[node.target] = graph.placeholder(f"captured_{len(found)}")
            last.meta = dict(node.meta)
        node.replace_all_uses_with(found[node.target])
        graph.erase_node(node)
    captured = [getattr(module, name) for name in found]
    for name in found:
        delattr(module, name)
    module.recompile()
    return captured


# -- what stands in the way of running Pyro on tensors without data


class _Items(TorchFunctionMode):
    """Lets ``tensor.item()`` give the tensor itself, without its gradient: as a number it takes part in arithmetic."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.item:
            return args[0].detach()
        return func(*args, **(kwargs or {}))


class _AllTrue(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.all:
            return True
        return func(*args, **(kwargs or {}))


def _compute_expectation(self: Any, costs: Any, original: Any = pyro_util.Dice.compute_expectation) -> Any:
    """As Pyro's, which leaves out values of probability 0 by a look at them: here their costs are made 0."""

    def dot(probability: Tensor, cost: Tensor) -> Tensor:
        return (probability * torch.where(probability > 0, cost, 0.0)).sum()

    with _AllTrue(), mock.patch.object(pyro_util, "_fulldot", dot):
        return original(self, costs)


def _unchanged(value: Any, *_: Any, **__: Any) -> Any:
    return value


@contextlib.contextmanager
def _values_not_asked() -> Iterator[None]:
    """A context in which Pyro does not look at the values that it computes with."""
    with contextlib.ExitStack() as stack:
        for name, module in list(sys.modules.items()):
            if name.startswith("pyro.infer") and getattr(module, "warn_if_nan", None) is warn_if_nan:
                stack.enter_context(mock.patch.object(module, "warn_if_nan", _unchanged))
        stack.enter_context(mock.patch.object(pyro_util.Dice, "compute_expectation", _compute_expectation))
        stack.enter_context(pyro.validation_enabled(False))
        stack.enter_context(_Items())
        yield

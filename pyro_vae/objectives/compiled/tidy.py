"""Less to do for a graph whose operations run one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.experimental.symbolic_shapes import statically_known_true, sym_eq

__all__ = ["tidy"]

_aten = torch.ops.aten
_COMMUTES = {_aten.add.Tensor, _aten.mul.Tensor}


def tidy(module: fx.GraphModule) -> fx.GraphModule:
    """Take out of a graph what changes nothing, and let results take the place of what is not needed any more.

    Every number that is computed afterwards was computed before, from the same numbers and in the same way, and the
    random numbers are the same.

    Args:
        module: the graph, with tensors without data in ``meta["val"]`` of its nodes; changed in place.
    """
    graph = module.graph
    for node in list(graph.nodes):
        if (same := _unchanged(node)) is not None:
            node.replace_all_uses_with(same)
    graph.eliminate_dead_code(_must_run)
    for node in list(graph.nodes):
        _into_its_argument(node)
    module.recompile()
    return module


def _unchanged(node: fx.Node) -> fx.Node | None:
    """The node that this one is only another view of, with the same sizes and strides."""
    source: Any = node.args[0] if node.args else None
    if node.target is _aten.t.default and source.target is _aten.t.default:
        same: Any = source.args[0]
    elif node.target in (_aten.alias.default, _aten.view.default, _aten.expand.default):
        same = source
    else:
        return None
    # where one of the two is given another shape later, they differ after all
    reshaped = any(_reshapes(user) for each in (node, same) for user in each.users)
    return same if not reshaped and _alike(node.meta.get("val"), same.meta.get("val")) else None


def _reshapes(node: fx.Node) -> bool:
    return isinstance(node.target, torch._ops.OpOverload) and torch.Tag.inplace_view in node.target.tags


def _must_run(node: fx.Node) -> bool:
    """Whether a node does something beside giving a result: changes a tensor, checks one, or draws random numbers."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return bool(node.is_impure())
    schema = node.target._schema
    return schema.is_mutable or not schema.returns or torch.Tag.nondeterministic_seeded in node.target.tags


def _into_its_argument(node: fx.Node) -> None:
    """Make an elementwise operation write over an argument that nobody else reads, in place of new memory.

    Memory that is not asked for is most of what a large elementwise operation costs.
    """
    inplace = _in_place(node)
    # vectorised complex arithmetic has other last digits where its arguments lie elsewhere
    if inplace is None or node.meta["val"].is_complex():
        return
    places = [0, 1] if node.target in _COMMUTES and len(node.args) == 2 and not node.kwargs else [0]
    for place in places:
        argument = node.args[place]
        if isinstance(argument, fx.Node) and _its_own(argument) and _alike(node.meta["val"], argument.meta["val"]):
            others = [each for i, each in enumerate(node.args) if i != place]
            node.args = (argument, *others)
            node.target = inplace
            return


def _in_place(node: fx.Node) -> Callable[..., Any] | None:
    """The form of an elementwise operation that changes its first argument, if there is one."""
    operation = node.target
    if not isinstance(operation, torch._ops.OpOverload) or torch.Tag.pointwise not in operation.tags:
        return None
    if operation._schema.is_mutable or not operation._schema.name.startswith("aten::"):
        return None
    packet = getattr(_aten, operation._schema.name.removeprefix("aten::") + "_", None)
    return getattr(packet, operation._schema.overload_name or "default", None)


def _its_own(node: fx.Node) -> bool:
    """Whether the tensor of a node is in memory of its own, and is read but once."""
    if not isinstance(node.target, torch._ops.OpOverload) or len(node.users) != 1:
        return False
    if node.target is _aten._unsafe_view.default:  # a view that does not say so
        return False
    (user,) = node.users
    return _mentions(user, node) == 1 and all(returned.alias_info is None for returned in node.target._schema.returns)


def _mentions(user: fx.Node, node: fx.Node) -> int:
    count = 0

    def see(each: fx.Node) -> fx.Node:
        nonlocal count
        count += each is node
        return each

    fx.node.map_arg((user.args, user.kwargs), see)
    return count


def _alike(first: Any, second: Any) -> bool:
    """Whether two tensors surely have the same type, sizes and strides."""
    return (
        isinstance(first, Tensor)
        and isinstance(second, Tensor)
        and first.dtype is second.dtype
        and first.device == second.device
        and first.layout is second.layout is torch.strided
        and first.dim() == second.dim()
        and statically_known_true(sym_eq(tuple(first.shape), tuple(second.shape)))
        and statically_known_true(sym_eq(first.stride(), second.stride()))
    )

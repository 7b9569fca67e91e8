"""What turns a graph of tensor operations into code that runs."""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, fx

from pyro_vae.errors import ConfigurationError, check_choice

__all__ = ["Backend", "backend_named", "one_by_one"]

Backend = Callable[[fx.GraphModule, list[Any]], Callable[..., Sequence[Tensor]]]
"""Compiles a graph, given examples of its inputs."""


def backend_named(name: str, options: Mapping[str, Any] | None = None) -> Backend:
    """One of torch.compile's backends.

    They are used without the rest of torch.compile: there is no Python left to look at, and its guards would take
    longer than a small network.

    Args:
        name: of the backend.
        options: for ``"inductor"``, settings of ``torch.compile(options=...)``.

    Raises:
        ConfigurationError: when there is none of that name, or it takes no options.
    """
    if options and name != "inductor":
        raise ConfigurationError(f"options are those of the backend 'inductor', {name!r} takes none")
    if name == "eager":
        return one_by_one
    if name == "inductor":
        return functools.partial(_inductor, options=options or {})
    from torch._dynamo import list_backends, lookup_backend

    return lookup_backend(check_choice("backend", name, [*list_backends(exclude_tags=()), "inductor", "eager"]))


def one_by_one(module: fx.GraphModule, examples: list[Any]) -> Callable[..., Sequence[Tensor]]:
    """The operations of a graph themselves, without those that change nothing."""
    from pyro_vae.objectives.compiled.tidy import tidy  # symbolic algebra, which takes long to import

    return tidy(module)


def _inductor(
    module: fx.GraphModule, examples: list[Any], options: Mapping[str, Any]
) -> Callable[..., Sequence[Tensor]]:
    from torch._inductor import compile as compile_graph

    # the generator's numbers, in the order of the programs: those of a run that is not compiled
    chosen = {"fallback_random": True, **options}
    if all(each.device.type == "cpu" for each in examples if isinstance(each, Tensor)) and "cpp_wrapper" not in options:
        # kernels and what calls them in one file of C++: a third less to compile, and no Python between kernels
        with contextlib.suppress(Exception):  # not all versions of torch can do it with all operations
            return compile_graph(copy.deepcopy(module), examples, options=chosen | {"cpp_wrapper": True})
    return compile_graph(module, examples, options=chosen)

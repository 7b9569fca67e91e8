"""What turns a graph of tensor operations into code that runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, fx

from pyro_vae.errors import check_choice

__all__ = ["Backend", "backend_named"]

Backend = Callable[[fx.GraphModule, list[Any]], Callable[..., Sequence[Tensor]]]
"""Compiles a graph, given examples of its inputs."""


def backend_named(name: str) -> Backend:
    """One of torch.compile's backends.

    They are used without the rest of torch.compile: there is no Python left to look at, and its guards would take
    longer than a small network.

    Raises:
        ConfigurationError: when there is none of that name.
    """
    if name == "eager":
        return lambda module, examples: module
    if name == "inductor":
        return _inductor
    from torch._dynamo import list_backends, lookup_backend

    return lookup_backend(check_choice("backend", name, [*list_backends(exclude_tags=()), "inductor", "eager"]))


def _inductor(module: fx.GraphModule, examples: list[Any]) -> Callable[..., Sequence[Tensor]]:
    from torch._inductor import compile as compile_graph

    # the generator's numbers, in the order of the programs: those of a run that is not compiled
    return compile_graph(module, examples, options={"fallback_random": True})

"""What a run of an objective reads beside its arguments: modules, their weights and settings."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any

import pyro
from torch import Tensor, nn

from pyro_vae.program import Program

__all__ = ["NotReadyError", "Place", "Surroundings"]


class NotReadyError(RuntimeError):
    """Parameters are to be made by ``pyro.param``, and have values only where a program runs on data."""


Place = tuple[dict[str, Any] | None, str]
"""Where a tensor is to be found at each step: in a dict under a name, or (``None``) in Pyro's parameter store."""


class Surroundings:
    """The modules of a model, a guide and an objective.

    Args:
        objects: modules, methods of modules, functions and objectives.
        results: attributes that are made to be assigned to, and that nothing reads.
    """

    def __init__(self, *objects: Any, results: tuple[str, ...] = ()) -> None:
        self._results = results
        found: dict[nn.Module, None] = {}
        owners: list[Any] = []
        for each in map(_owner, objects):
            if isinstance(each, nn.Module):
                found.update(dict.fromkeys(each.modules()))
            else:
                owners.append(each)
                inside = (value for value in getattr(each, "__dict__", {}).values() if isinstance(value, nn.Module))
                for module in inside:
                    found.update(dict.fromkeys(module.modules()))
        self.modules = list(found)
        self.programs = [module for module in self.modules if isinstance(module, Program)]
        self.called = [each for each in objects if isinstance(each, Program)]
        self._dicts = [vars(each) for each in [*self.modules, *owners] if hasattr(each, "__dict__")]
        self._children = [(each._modules, tuple(each._modules.values())) for each in self.modules if each._modules]
        self._some = next(
            ((m._parameters, n) for m in self.modules for n, p in m._parameters.items() if _floats(p)), None
        )
        self._settings = list(self._getters(lambda value: isinstance(value, bool | int | float | str)))
        self._nothings = [(get, held, get(held)) for get, held in self._getters(lambda value: value is None)]
        self._sizes = [(vars(each), len(vars(each))) for each in self.modules]

    def _getters(self, of: Callable[[Any], bool]) -> Iterator[tuple[Callable[[Any], Any], dict[str, Any]]]:
        """Functions that give the attributes of some kind, and the dicts to apply them to."""
        for held in self._dicts:
            names = [name for name, value in held.items() if of(value) and name not in self._results]
            if names:
                yield itemgetter(*names), held

    # -- what a graph holds as constants

    def settings(self) -> tuple[Any, ...]:
        """Numbers, names and switches that programs may read: training or not, the rate of a dropout.

        Raises:
            KeyError: when one of them is gone.
        """
        return tuple([get(settings) for get, settings in self._settings])

    def same_structure(self) -> bool:
        """Whether modules are the same and have the same attributes, and what was ``None`` still is."""
        return (
            all(tuple(now.values()) == then for now, then in self._children)
            and all(get(held) == nothing for get, held, nothing in self._nothings)
            and all(len(held) == size for held, size in self._sizes)
        )

    # -- what it is given anew at each step

    def weights(self) -> list[float]:
        """The weights of sites, program by program."""
        return [weight for program in self.programs for weight in program.weights.values()]

    def weighed_sites(self) -> tuple[tuple[str, ...], ...]:
        """The names of the sites that :meth:`weights` are of."""
        return tuple([tuple(program.weights) for program in self.programs])

    def arranged(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments in such an order that the programs need not look at their values."""
        for program in self.called:
            args, kwargs = program.arranged(*args, **kwargs)
        return args, kwargs

    @contextlib.contextmanager
    def given(self, weights: Iterator[Tensor] | None) -> Iterator[None]:
        """A context in which arguments are arranged, and the weights of sites are these tensors (), if any."""
        before = [program.weights for program in self.programs]
        for program in self.programs:
            program.in_order = True
            if weights is not None:
                program.weights = {site: next(weights) for site in program.weights}  # type: ignore[misc]
        try:
            yield
        finally:
            for program, numbers in zip(self.programs, before, strict=True):
                program.in_order, program.weights = False, numbers

    @property
    def like(self) -> Tensor | None:
        """One of the parameters, for its type and device."""
        return None if self._some is None else self._some[0][self._some[1]]

    def parameters(self) -> list[Tensor]:
        """The weights of all modules that are to be trained."""
        return [p for module in self.modules for p in module._parameters.values() if p is not None and p.requires_grad]

    def places(self, tensors: Sequence[Tensor]) -> list[Place]:
        """Where tensors come from: what stands there at a later step is meant.  What comes from nowhere is itself."""
        known: dict[int, Place] = {}
        for each in self._dicts:
            for held in (each, each.get("_buffers") or {}, each.get("_parameters") or {}):
                known |= {id(value): (held, name) for name, value in held.items() if isinstance(value, Tensor)}
        for name, tensor in pyro.get_param_store()._params.items():
            known.setdefault(id(tensor), (None, name))
        return [known.get(id(tensor), ({"itself": tensor}, "itself")) for tensor in tensors]

    # -- what must not happen while a graph is made

    @contextlib.contextmanager
    def untouched(self) -> Iterator[None]:
        """A context whose assignments to attributes are undone, and changes of what buffers hold.

        Raises:
            NotReadyError: at its end, when programs made parameters, which are gone again.
            RuntimeError: at its end, for tensors assigned to attributes, and for numbers, names and switches that were
                changed: with a graph that would happen but once.
        """
        store = pyro.get_param_store()
        known = set(store._params)
        held = [d for each in self._dicts for d in (each, each.get("_buffers"), each.get("_parameters")) if d]
        before = [dict(each) for each in held]
        # what is made of tensors outside alone, such as the number of batches that a norm has seen, really happens
        buffers = [b for module in self.modules for b in module._buffers.values() if b is not None]
        values = [(buffer, buffer._version, buffer.detach().clone()) for buffer in buffers]
        changed = None
        try:
            yield
        finally:
            new = [(name, parameter) for name, parameter in store._params.items() if name not in known]
            made = [name for name, parameter in new if type(parameter) not in (Tensor, nn.Parameter)]
            for name in made:
                del store[name]
            for buffer, version, value in values:
                if buffer._version != version:
                    buffer.detach().copy_(value)
            for now, then in zip(held, before, strict=True):
                for name, value in now.items():
                    if then.get(name) is value or name in self._results:
                        continue
                    if isinstance(value, Tensor):
                        changed = name, "given a new tensor"
                    elif isinstance(value, bool | int | float | str) and name in then and then[name] != value:
                        changed = name, f"changed from {then[name]!r} to {value!r}"
                if len(now) != len(then) or any(now.get(name) is not value for name, value in then.items()):
                    now.clear()
                    now.update(then)
        if made:
            raise NotReadyError(f"parameters {made} have no values yet")
        if changed is not None:
            name, how = changed
            raise RuntimeError(f"the attribute {name!r} is {how}; change a buffer in place: self.{name}.copy_(...)")


def _owner(each: Any) -> Any:
    """The object that a method is of, or what a partial function is of."""
    while isinstance(each, functools.partial):
        each = each.func
    return getattr(each, "__self__", each)


def _floats(parameter: Tensor | None) -> bool:
    return parameter is not None and parameter.is_floating_point()

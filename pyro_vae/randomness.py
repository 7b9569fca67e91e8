"""Random draws that repeat, and that nobody outside notices."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["Tape", "generator_states", "repeatable", "seeded", "set_generator_states"]


@contextlib.contextmanager
def seeded(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """A context whose draws follow from ``seed``; the random state outside is as before when it ends.

    The states of the CPU and of ``device`` are saved, seeded and restored; other devices are left alone.

    Args:
        seed: of the draws inside.
        device: where, beside the CPU, they are made.

    Example:
        >>> before = torch.get_rng_state()
        >>> with seeded(0):
        ...     first = torch.rand(3)
        >>> with seeded(0):
        ...     torch.equal(torch.rand(3), first)
        True
        >>> torch.equal(torch.get_rng_state(), before)
        True
    """
    cuda = _cuda([torch.device(device)])
    with torch.random.fork_rng(devices=cuda):
        # torch.manual_seed would seed devices whose state is not restored
        torch.default_generator.manual_seed(seed)
        for each in cuda:
            with torch.cuda.device(each):
                torch.cuda.manual_seed(seed)
        yield


def generator_states(devices: Iterable[torch.device] = ()) -> list[Tensor]:
    """Where the generators of the CPU and of those of ``devices`` that have one of their own stand."""
    return [torch.get_rng_state(), *map(torch.cuda.get_rng_state, _cuda(devices))]


def set_generator_states(states: list[Tensor], devices: Iterable[torch.device] = ()) -> None:
    """Put generators back where :func:`generator_states` found them, as far as they are there now.

    Example:
        >>> states = generator_states()
        >>> first = torch.rand(3)
        >>> set_generator_states(states)
        >>> torch.equal(torch.rand(3), first)
        True
    """
    torch.set_rng_state(states[0])
    for device, state in zip(_cuda(devices), states[1:], strict=False):
        torch.cuda.set_rng_state(state, device)


def _cuda(devices: Iterable[torch.device]) -> list[torch.device]:
    return [device for device in devices if device.type == "cuda"]


def repeatable(devices: list[torch.device]) -> contextlib.AbstractContextManager[None]:
    """A context whose random draws are, from its start, the draws made from now on; they are made but once.

    Args:
        devices: where, beside the CPU, draws are made.

    Example:
        >>> again = repeatable([])
        >>> first, second = torch.rand(3), torch.rand(3)
        >>> with again:
        ...     torch.equal(torch.rand(3), first)
        True
    """
    if Tape.running is not None:
        return Tape.running.repeatable()
    states = generator_states(devices)

    @contextlib.contextmanager
    def repeated() -> Iterator[None]:
        with torch.random.fork_rng(devices):
            set_generator_states(states, devices)
            yield

    return repeated()


class Tape(TorchDispatchMode):
    """A context in which :func:`repeatable` keeps the random numbers themselves, not the state that they follow from.

    Where operations are only written down, to be run later, there is no state to go back to.
    """

    running: ClassVar[Tape | None] = None

    def __init__(self) -> None:
        super().__init__()
        self._keeps = False
        self._kept: list[Tensor] = []
        self._given: Iterator[Tensor] | None = None

    def __enter__(self) -> Tape:
        Tape.running = self
        return super().__enter__()  # type: ignore[no-any-return]

    def __exit__(self, *error: Any) -> None:
        Tape.running = None
        super().__exit__(*error)

    def repeatable(self) -> contextlib.AbstractContextManager[None]:
        self._keeps, start = True, len(self._kept)

        @contextlib.contextmanager
        def repeated() -> Iterator[None]:
            self._given = iter(self._kept[start:])
            try:
                yield
            finally:
                self._given = None

        return repeated()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        draws = torch.Tag.nondeterministic_seeded in func.tags
        if not (draws and self._keeps):
            return func(*args, **(kwargs or {}))
        if self._given is None:
            result = func(*args, **(kwargs or {}))
            # dropout goes on to scale the very tensor that it has drawn
            self._kept.extend(each.clone() for each in (result if isinstance(result, tuple) else (result,)))
            return result
        if func._schema.is_mutable:  # such as normal_
            return args[0].copy_(next(self._given))
        given = tuple(next(self._given).clone() for _ in func._schema.returns)
        return given if len(given) > 1 else given[0]

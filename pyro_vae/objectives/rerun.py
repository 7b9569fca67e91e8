"""Running a program a second time on the draws of the first."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from pyro.poutine.messenger import Messenger
from torch import Tensor, nn

from pyro_vae.randomness import repeatable

__all__ = ["Held", "norms_held", "random_state"]


class Held(Messenger):
    """Gives sites of a program these values after they were drawn.

    Not by replaying: a program that draws less sees other random numbers, in its dropout too.
    """

    def __init__(self, values: dict[str, Tensor]) -> None:
        super().__init__()
        self.values = values

    def _pyro_post_sample(self, msg: Any) -> None:
        if msg["name"] in self.values:
            msg["value"] = self.values[msg["name"]]


def random_state(guide: Any, arguments: tuple[Any, ...]) -> contextlib.AbstractContextManager[None]:
    """A context in which torch's random numbers start where they are now, for a second run of a guide.

    Batch norms do not move their statistics in it: they have seen the data once.
    """
    again = repeatable(list({a.device for a in arguments if isinstance(a, Tensor) and a.is_cuda}))

    @contextlib.contextmanager
    def repeated() -> Iterator[None]:
        with norms_held(guide), again:
            yield

    return repeated()


@contextlib.contextmanager
def norms_held(*programs: Any) -> Iterator[None]:
    """A context in which the batch norms of programs do not move their statistics."""
    modules = [m for program in programs if isinstance(program, nn.Module) for m in program.modules()]
    norms = [m for m in modules if isinstance(m, nn.modules.batchnorm._NormBase) and m.track_running_stats]
    norms = [norm for norm in norms if norm.training]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True

"""Pyro programs whose sites can be weighed by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pyro.nn import PyroModule
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample

from pyro_vae.parts import Part

__all__ = ["Program", "sample_sites"]


class _Weights(Messenger):
    """Scales the log-probability of the named sites.

    Pyro's own ``poutine.scale`` weighs every site alike and refuses a weight of zero.
    """

    def __init__(self, weights: dict[str, float]) -> None:
        super().__init__()
        self.weights = weights

    def _pyro_sample(self, msg: Any) -> None:
        weight = self.weights.get(msg["name"])
        if weight is not None and not msg["is_observed"]:
            msg["scale"] = weight * msg["scale"]


class Program(PyroModule):
    """A model or a guide: its ``forward`` is a Pyro program.

    ``weights`` maps the names of latent sites to factors of their log-probability.  A weight of beta on ``z``
    in both model and guide multiplies KL(q(z | x) || p(z)) by beta under any of Pyro's ELBOs, which is how a
    beta-VAE (Higgins et al. 2017) is trained; values read off the program's distributions stay unweighted.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weights: dict[str, float] = {}

    def parts_without_density(self) -> list[Part]:
        """The parts of this program that log p(x) cannot be computed from."""
        return [part for part in self.modules() if isinstance(part, Part) and not part.has_density]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if all(weight == 1.0 for weight in self.weights.values()):
            return super().__call__(*args, **kwargs)
        with _Weights(self.weights):
            return super().__call__(*args, **kwargs)


def sample_sites(trace: Any) -> Iterator[Any]:
    """The ``pyro.sample`` statements of a trace, without those that Pyro's plates make."""
    return (site for site in trace.nodes.values() if site["type"] == "sample" and not site_is_subsample(site))

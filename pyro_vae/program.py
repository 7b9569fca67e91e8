"""Pyro programs whose sites can be weighed by name, and that take data of which some have labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import torch
from pyro.infer.util import is_validation_enabled
from pyro.nn import PyroModule
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from pyro_vae.errors import DataError
from pyro_vae.parts import Part

__all__ = [
    "GROUPS",
    "LABEL",
    "PartlyLabelled",
    "Program",
    "group_of",
    "labelled",
    "labelled_first",
    "labels_first",
    "number_of_data",
    "sample_sites",
    "without_group",
]

GROUPS = ("labelled", "unlabelled")
"""What a program run on data with and without labels puts before the names of its sites."""

LABEL = "y"
"""The site of the label, in every program that has one."""


class _Weights(Messenger):
    """Scales the log-probability of the named sites.

    Pyro's own ``poutine.scale`` weighs every site alike and refuses a weight of zero.
    """

    def __init__(self, weights: dict[str, Any]) -> None:
        super().__init__()
        self.weights = weights

    def _pyro_sample(self, msg: Any) -> None:
        weight = self.weights.get(msg["name"])
        if weight is not None:
            msg["scale"] = weight * msg["scale"]


class Program(PyroModule):
    """A model or a guide: its ``forward`` is a Pyro program.

    ``weights`` maps names of sites to factors of their log-probability.  A weight of beta on ``z``
    in both model and guide multiplies KL(q(z | x) || p(z)) by beta under any of Pyro's ELBOs, which is how a
    beta-VAE (Higgins et al. 2017) is trained; values read off the program's distributions stay unweighted.
    """

    factors: ClassVar[Mapping[str, str]] = {}
    """What each ``pyro.factor`` adds to the objective, LaTeX for the story, by its name or ``unlabelled/name``."""

    in_order: bool = False
    """Whether arguments are known to be as :meth:`arranged` gives them."""

    def __init__(self) -> None:
        super().__init__()
        self.weights: dict[str, float] = {}

    def parts_without_density(self) -> list[Part]:
        """The parts of this program that log p(x) cannot be computed from."""
        return [part for part in self.modules() if isinstance(part, Part) and not part.has_density]

    def arranged(self, *args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments in such an order that the program need not look at their values; by default as they are."""
        return args, kwargs

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        # what is no number yet, in a trace that is to hold for any, cannot be asked
        if all(not isinstance(weight, Tensor) and weight == 1.0 for weight in self.weights.values()):
            return super().__call__(*args, **kwargs)
        with _Weights(self.weights):
            return super().__call__(*args, **kwargs)


class _Group(Messenger):
    """Puts ``group/`` before the names of sites and plates, so that one program can run twice in a trace."""

    def __init__(self, group: str) -> None:
        super().__init__()
        self.group = group

    def _pyro_sample(self, msg: Any) -> None:
        msg["name"] = f"{self.group}/{msg['name']}"
        # only plates inside the program are here already: those outside, of particles, keep their names
        msg["cond_indep_stack"] = tuple(
            frame._replace(name=f"{self.group}/{frame.name}") for frame in msg["cond_indep_stack"]
        )


class PartlyLabelled(Program):
    """A program with arguments ``x`` and ``y`` whose labels may be missing.

    ``forward(x, y)`` is written for data that all have labels, ``forward(x)`` for data that have none.  Called with
    a mixture, it runs once for each kind, in plates and with sites of its own, ``labelled/x`` and ``unlabelled/x``:
    the two bounds add up in one step of SVI.  Without a mixture the names are the plain ones.

    Labels are given for all data, with -1 or NaN where they are missing, or for the first ``len(y)`` data only, none
    of them missing.

    Raises:
        DataError: for labels that are neither, where Pyro's validation is on.
    """

    def arranged(
        self, x: Tensor | None = None, y: Tensor | None = None, **kwargs: Any
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if not (self.in_order or x is None or y is None):
            if y.shape[0] == x.shape[0] and not labelled(y).all():
                x, y = labels_first(x, y)
            elif is_validation_enabled() and (y.shape[0] > x.shape[0] or not labelled(y).all()):
                raise DataError(
                    f"y: wanted the labels of all {x.shape[0]} data, with -1 or NaN where they are missing, or "
                    f"those of the first data alone with none missing; got {y.shape[0]}, "
                    f"{int((~labelled(y)).sum())} of them missing"
                )
            y = y if y.shape[0] else None
        return (x, y), kwargs

    def __call__(self, x: Tensor | None = None, y: Tensor | None = None, **kwargs: Any) -> Any:
        (x, y), kwargs = self.arranged(x, y, **kwargs)
        if x is None or y is None or y.shape[0] == x.shape[0]:
            return super().__call__(x, y, **kwargs)
        known = y.shape[0]
        results = []
        for group, arguments in zip(GROUPS, [(x[:known], y), (x[known:], None)], strict=True):
            with _Group(group):
                results.append(super().__call__(*arguments, **kwargs))
        return tuple(results)


def labelled(y: Tensor) -> Tensor:
    """Which labels (N, \\*shape) are there, neither -1 nor NaN in any place; (N,) booleans."""
    missing = y.isnan() if y.is_floating_point() else y < 0
    return ~(missing.flatten(1).any(-1) if y.dim() > 1 else missing)


def labelled_first(y: Tensor) -> Tensor:
    """The order (N,) that puts data with labels before those without, each kind in its own order."""
    return torch.argsort(~labelled(y), stable=True)


def labels_first(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Data (N, \\*shape) with the labelled ones first, and the labels of these alone."""
    order = labelled_first(y)
    return x[order], y[order[: int(labelled(y).sum())]]


def number_of_data(x: Tensor | None, y: Tensor | None, size: int) -> int:
    """How many data a program is to run for: those that it is given, else ``size``."""
    return x.shape[0] if x is not None else y.shape[0] if y is not None else size


def without_group(name: str) -> str:
    """A site's name in the program that was written.

    Example:
        >>> without_group("labelled/x"), without_group("x")
        ('x', 'x')
    """
    group, _, plain = name.partition("/")
    return plain if group in GROUPS else name


def group_of(name: str) -> str:
    """What :data:`GROUPS` puts before the name of a site, with the slash; nothing where there is one kind of data.

    Example:
        >>> group_of("labelled/x"), group_of("x")
        ('labelled/', '')
    """
    return name.removesuffix(without_group(name))


def sample_sites(trace: Any) -> Iterator[Any]:
    """The ``pyro.sample`` statements of a trace, without those that Pyro's plates make."""
    return (site for site in trace.nodes.values() if site["type"] == "sample" and not site_is_subsample(site))

"""The matrix products of a training step of ``speed.py``, and nothing else: no way of writing it can do without."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from speed import Case

__all__ = ["Layer", "layers", "products"]


@dataclass
class Layer:
    """``rows`` vectors through a layer; those that are data need no gradient."""

    rows: int
    inputs: int
    outputs: int
    of_data: bool = False

    def products(self) -> Callable[[], None]:
        """Forward x W', backward g' x for the weights and g W for the inputs, laid out as autograd has them."""
        x, w = torch.randn(self.rows, self.inputs), torch.randn(self.outputs, self.inputs)
        g, g_x, g_w = torch.randn(self.rows, self.outputs), torch.empty_like(x), torch.empty_like(w)
        y = torch.empty_like(g)

        def multiply() -> None:
            torch.mm(x, w.T, out=y)
            torch.mm(g.T, x, out=g_w)
            if not self.of_data:
                torch.mm(g, w, out=g_x)

        return multiply


def layers(case: Case) -> list[Layer]:
    """Each once, with all its rows; a label needs no product, it picks one of the weights."""
    width, hidden, size, batch = case.width, case.hidden, case.size, case.batch
    unlabelled = batch // 2
    coded = batch - unlabelled + unlabelled * case.classes if case.classes else batch  # pairs of x and y
    decoded = coded * (case.draws or 1)
    found = [
        Layer(batch, width, hidden, of_data=True),
        Layer(coded, hidden, 2 * size),
        Layer(decoded, size, hidden),
        Layer(decoded, hidden, width),
    ]
    if case.classes:
        found += [Layer(batch, width, hidden, of_data=True), Layer(batch, hidden, case.classes)]
    return found


def products(case: Case) -> Callable[[], float]:
    """A step of them."""
    every = [layer.products() for layer in layers(case)]

    def step() -> float:
        for multiply in every:
            multiply()
        return 0.0

    return step

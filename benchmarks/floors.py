"""The matrix products of a training step of ``speed.py``, and nothing else: no way of writing it can do without."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from speed import Case

__all__ = ["Convolution", "Layer", "layers", "products"]


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


@dataclass
class Convolution:
    """A convolution that halves the side of its images, or a transposed one that doubles it."""

    rows: int
    inputs: int
    outputs: int
    side: int
    transposed: bool = False
    of_data: bool = False

    def products(self) -> Callable[[], None]:
        """As :meth:`Layer.products`, by torch's own convolutions."""
        kernel = 4 if self.transposed else 3
        x = torch.randn(self.rows, self.inputs, self.side, self.side)
        shape = (self.inputs, self.outputs) if self.transposed else (self.outputs, self.inputs)
        w = torch.randn(*shape, kernel, kernel)
        options = ([2, 2], [1, 1], [1, 1], self.transposed, [0, 0], 1)
        g = torch.randn_like(torch.ops.aten.convolution(x, w, None, *options))

        def multiply() -> None:
            torch.ops.aten.convolution(x, w, None, *options)
            torch.ops.aten.convolution_backward(g, x, w, None, *options, [not self.of_data, True, False])

        return multiply


def layers(case: Case) -> list[Layer | Convolution]:
    """Each once, with all its rows; a label needs no product, it picks one of the weights."""
    if case.channels:
        return _convolutional(case)
    width, hidden, size, batch = case.width, case.hidden, case.size, case.batch
    unlabelled = batch // 2
    coded = batch - unlabelled + unlabelled * case.classes if case.classes else batch  # pairs of x and y
    decoded = coded * (case.draws or 1)
    found: list[Layer | Convolution] = [
        Layer(batch, width, hidden, of_data=True),
        Layer(coded, hidden, 2 * size),
        Layer(decoded, size, hidden),
        Layer(decoded, hidden, width),
    ]
    if case.classes:
        found += [Layer(batch, width, hidden, of_data=True), Layer(batch, hidden, case.classes)]
    return found


def _convolutional(case: Case) -> list[Layer | Convolution]:
    batch, hidden, side, (first, second) = case.batch, case.hidden, math.isqrt(case.width), case.channels
    flat = second * (side // 4) ** 2
    return [
        Convolution(batch, 1, first, side, of_data=True),
        Convolution(batch, first, second, side // 2),
        Layer(batch, flat, hidden),
        Layer(batch, hidden, 2 * case.size),
        Layer(batch, case.size, hidden),
        Layer(batch, hidden, flat),
        Convolution(batch, second, first, side // 4, transposed=True),
        Convolution(batch, first, 1, side // 2, transposed=True),
    ]


def products(case: Case) -> Callable[[], float]:
    """A step of them."""
    every = [layer.products() for layer in layers(case)]

    def step() -> float:
        for multiply in every:
            multiply()
        return 0.0

    return step

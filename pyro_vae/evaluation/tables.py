"""Tables in plain text, for what results print."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["aligned"]


def aligned(rows: Sequence[Sequence[Any]]) -> str:
    """Rows of cells, each column flush right.

    Args:
        rows: of equal length; whole numbers get commas between thousands.

    Example:
        >>> print(aligned([("datum", "nats"), (1200, "-3.5")]))
        datum  nats
        1,200  -3.5
    """
    cells = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)) for row in cells)

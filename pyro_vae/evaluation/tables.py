"""Tables in plain text, for what results print."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["aligned", "shortened"]

_SHOWN = 16
"""Up to so many rows are listed one by one."""


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


def shortened(rows: Sequence[Sequence[Any]], others: str) -> str:
    """A table of the header and the first 16 rows below it, and how many others there are.

    Args:
        rows: the header first.
        others: what those that are left out are.

    Example:
        >>> shortened([("dimension",), *((d,) for d in range(20))], "of no interest").splitlines()[-2:]
        ['       15', '... and 4 of no interest']
    """
    left = len(rows) - 1 - _SHOWN
    return aligned(rows[: 1 + _SHOWN]) + (f"\n... and {left} {others}" if left > 0 else "")

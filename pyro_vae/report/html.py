"""Small pieces of HTML."""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["card", "definitions", "escape", "linked", "missing", "note", "picture", "section", "table"]

escape = html.escape


def section(anchor: str, heading: str, *content: str) -> str:
    """A section with a heading that the table of contents points to."""
    return f'<section id="{anchor}">\n<h2>{escape(heading)}</h2>\n' + "\n".join(content) + "\n</section>"


def picture(figure: Any, alt: str) -> str:
    """A matplotlib figure inside the page itself, sharp on dense screens."""
    with io.BytesIO() as file:
        figure.savefig(file, format="png", dpi=160)
        encoded = base64.b64encode(file.getvalue()).decode()
    width, height = (round(inches * 100) for inches in figure.get_size_inches())
    kind = "paper broad" if width > 1.8 * height else "paper"
    return (
        f'<div class="{kind}"><img src="data:image/png;base64,{encoded}" width="{width}" height="{height}" '
        f'alt="{escape(alt)}"></div>'
    )


def card(label: str, value: str, error: str, below: str) -> str:
    """A number to be seen from afar."""
    return (
        f'<div class="card"><div class="label">{escape(label)}</div><div class="value">{value}</div>'
        f'<div class="error">{error}</div><div class="below">{escape(below)}</div></div>'
    )


def missing(error: Exception) -> str:
    """Why something is not there, in the words of the error that said so."""
    return note(str(error)[:1].upper() + str(error)[1:])


def note(text: str) -> str:
    """A quiet remark."""
    return f'<p class="note">{escape(text.rstrip("."))}.</p>'


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose first column is text and whose others are numbers."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def definitions(pairs: Iterable[tuple[str, str]]) -> str:
    """Terms and what they are; the values are HTML."""
    return "<dl>" + "".join(f"<dt>{escape(term)}</dt><dd>{value}</dd>" for term, value in pairs) + "</dl>"


def linked(text: str) -> str:
    """Text with its web addresses as links to follow; nothing is loaded from them."""
    return re.sub(r"(https?://[^\s,;)]+[^\s,;).])", r'<a href="\1">\1</a>', escape(text))

"""Names of sites as symbols, and LaTeX as plain text for terminals."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from torch.distributions import constraints

from pyro_vae.parts import Shape

__all__ = ["conditional", "joined", "natural", "space", "symbol", "to_text"]

_NAMES = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi "
    "psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega"
)
_GREEK = dict(zip(_NAMES.split(), "αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΥΦΨΩ", strict=True))
_COMMANDS = {
    **_GREEK,
    "ell": "ℓ",
    "sum": "Σ",
    "prod": "Π",
    "mid": " | ",
    "Vert": " ‖ ",
    "sim": " ~ ",
    "in": " ∈ ",
    "times": " × ",
    "cdot": "·",
    "cdots": "⋯",
    "ldots": "…",
    "dots": "…",
    "top": "ᵀ",
    "infty": "∞",
    "geq": "≥",
    "leq": "≤",
    "approx": "≈",
    "propto": "∝",
    "to": "→",
    "log": "log",
    "max": "max",
    "min": "min",
    "exp": "exp",
    "left": "",
    "right": "",
    "quad": " ",
    ",": " ",
    ";": " ",
    " ": " ",
    "!": "",
    "{": "{",
    "}": "}",
    "|": "‖",
}
_BELOW = dict(zip("0123456789aehijklmnoprstuvx+-=()", "₀₁₂₃₄₅₆₇₈₉ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ₊₋₌₍₎", strict=True))
_ABOVE = dict(zip("0123456789in+-=()KNTᵀ", "⁰¹²³⁴⁵⁶⁷⁸⁹ⁱⁿ⁺⁻⁼⁽⁾ᴷᴺᵀᵀ", strict=True))
_BLACKBOARD = {"R": "ℝ", "E": "E", "N": "ℕ", "Z": "ℤ"}


def natural(name: str) -> list[Any]:
    """A key that sorts ``z2`` before ``z10``."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def symbol(name: str) -> str:
    r"""A site's name as LaTeX.

    Example:
        >>> symbol("z"), symbol("z1"), symbol("theta"), symbol("label"), symbol("y_unlabelled")
        ('z', 'z_{1}', '\\theta', '\\mathrm{label}', 'y_{\\mathrm{unlabelled}}')
    """
    if match := re.fullmatch(r"([A-Za-z]+?)_?(\d+)", name):
        return rf"{symbol(match[1])}_{{{match[2]}}}"
    head, _, tail = name.partition("_")
    if tail and head and (len(head) == 1 or head in _GREEK):
        below = tail.replace("_", r"\ ")
        below = below if len(below) == 1 else rf"\mathrm{{{below}}}"
        return rf"{symbol(head)}_{{{below}}}"
    if name in _GREEK:
        return rf"\{name}"
    if len(name) == 1 and name.isalpha():
        return name
    plain = re.sub(r"[^A-Za-z0-9.-]", r"\\ ", name)
    return rf"\mathrm{{{plain}}}"


def joined(names: Iterable[str]) -> str:
    """Several symbols with commas, in natural order."""
    return ", ".join(symbol(name) for name in sorted(names, key=natural))


def conditional(letter: str, names: Iterable[str], parents: Iterable[str] = ()) -> str:
    r"""A density as LaTeX.

    Example:
        >>> conditional("p", ["x"], ["z", "y"])
        'p(x \\mid y, z)'
    """
    given = joined(parents)
    return rf"{letter}({joined(names)} \mid {given})" if given else rf"{letter}({joined(names)})"


def space(support: Any, shape: Shape) -> str | None:
    r"""The set that a value lies in, as LaTeX; ``None`` where it has no short name.

    Example:
        >>> space(constraints.real, (8,)), space(constraints.boolean, (1, 8, 8))
        ('\\mathbb{R}^{8}', '\\{0, 1\\}^{1 \\times 8 \\times 8}')
    """
    upper = getattr(support, "upper_bound", None)
    lower = getattr(support, "lower_bound", None)
    power = r" \times ".join(map(str, shape))
    if support is None or isinstance(upper, constraints.Constraint):
        return None
    name = type(support).__name__
    if name == "_Real":
        base = r"\mathbb{R}"
    elif name == "_Boolean":
        base = r"\{0, 1\}"
    elif name in ("_Interval", "_HalfOpenInterval"):
        base = rf"[{float(lower):g}, {float(upper):g}]"  # type: ignore[arg-type]
    elif name == "_IntegerInterval":
        base = (
            rf"\{{{int(lower)}, \ldots, {int(upper)}\}}"  # type: ignore[arg-type]
            if upper - lower > 2  # type: ignore[operator]
            else rf"\{{{', '.join(map(str, range(int(lower), int(upper) + 1)))}\}}"  # type: ignore[arg-type]
        )
    elif name in ("_GreaterThan", "_GreaterThanEq") and float(lower) == 0:  # type: ignore[arg-type]
        base = r"\mathbb{R}_{+}"
    elif name == "_IntegerGreaterThan":
        base = r"\mathbb{N}"
    elif name == "_OneHot":
        base = rf"\{{e_1, \ldots, e_{{{shape[-1]}}}\}}"
        power = r" \times ".join(map(str, shape[:-1]))
    elif name == "_Simplex":
        return rf"\Delta^{{{shape[-1] - 1}}}"
    else:
        return None
    return rf"{base}^{{{power}}}" if power else base


def to_text(latex: str) -> str:
    r"""LaTeX of the kind that stories are made of, as one line of unicode.

    Example:
        >>> to_text(r"\mathbb{E}_{q(z \mid x)}[\log p(x \mid z)] - 4\,\mathrm{KL}(q(z \mid x) \,\Vert\, p(z))")
        'E_q(z|x)[log p(x | z)] − 4 KL(q(z | x) ‖ p(z))'
        >>> to_text(r"\mathcal{N}(\mu_\phi(x), \mathrm{diag}\,\sigma_\phi^2(x)),\; z \in \mathbb{R}^{8}")
        'N(μ_φ(x), diag σ_φ²(x)), z ∈ ℝ⁸'
    """
    text, rest = _convert(latex)
    return re.sub(r" {2,}", " ", (text + rest).strip())


def _convert(source: str) -> tuple[str, str]:
    out = ""
    while source and source[0] != "}":
        token, source = _atom(source)
        out += token
    return out, source


def _group(source: str) -> tuple[str, str]:
    source = source.lstrip()
    if source.startswith("{"):
        inside, rest = _convert(source[1:])
        return inside, rest[1:]
    return _atom(source)


def _atom(source: str) -> tuple[str, str]:
    head = source[0]
    if head == "\\":
        match = re.match(r"\\([A-Za-z]+|.)", source)
        name, rest = match[1], source[match.end() :]  # type: ignore[index, union-attr]
        # TeX swallows the space after a command; operators keep theirs
        if name.isalpha() and _COMMANDS.get(name, "a")[:1].isalpha() and name not in ("log", "max", "min", "exp"):
            rest = rest.lstrip()
        if name in ("mathrm", "mathcal", "mathbf", "mathit", "operatorname", "text"):
            return _group(rest)
        if name == "mathbb":
            inside, rest = _group(rest)
            return _BLACKBOARD.get(inside, inside), rest
        if name == "frac":
            above, rest = _group(rest)
            below, rest = _group(rest)
            return f"{_bracketed(above)}/{_bracketed(below)}", rest
        return _COMMANDS.get(name, name), rest
    if head == "{":
        return _group(source)
    if head in "_^":
        inside, rest = _group(source[1:])
        table = _BELOW if head == "_" else _ABOVE
        if all(character in table for character in inside):
            return "".join(table[character] for character in inside), rest
        if head == "^":
            return f"^({inside})" if len(inside) > 1 else f"^{inside}", rest
        return f"_{inside.replace(' ', '')}", rest
    return {"-": "−", "~": " ", "'": "′"}.get(head, head), source[1:]


def _bracketed(text: str) -> str:
    return text if re.fullmatch(r"\w+|\w+\([^()]*\)", text) else f"({text})"

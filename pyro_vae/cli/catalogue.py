"""What there is to choose from, read from the source of the library without importing it.

Importing torch and Pyro takes longer than a user waits for ``--help``.  Names, signatures and docstrings stand in
the source files, and Python's own parser reads those in milliseconds.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pyro_vae.errors import nearest

__all__ = ["KINDS", "Argument", "Entry", "entries", "exported", "function", "kind_of", "suggest"]

KINDS = {
    "variants": ("pyro_vae.variants", "Variant"),
    "priors": ("pyro_vae.priors", "Prior"),
    "conditional_priors": ("pyro_vae.priors", "ConditionalPrior"),
    "labels": ("pyro_vae.labels", "Label"),
    "likelihoods": ("pyro_vae.likelihoods", "Likelihood"),
    "posteriors": ("pyro_vae.posteriors", "Posterior"),
    "networks": ("pyro_vae.networks", "Network"),
    "classifiers": ("pyro_vae.classifiers", "Classifier"),
    "objectives": ("pyro_vae.objectives", r"\w+ELBO"),
    "schedules": ("pyro_vae.objectives", "Schedule"),
}
"""Each kind: the package that exports its members, and the base class of all of them (a pattern: objectives come from
several of Pyro's)."""

_ROOT = Path(__file__).parents[1]
_Class = tuple[str, ast.ClassDef]


@dataclass
class Argument:
    """An argument of a constructor or function, as the source says it."""

    name: str
    annotation: str
    default: str | None
    help: str = ""

    @property
    def needs_code(self) -> bool:
        """Whether its value is a function or a tensor, which a command line cannot spell."""
        return re.search(r"\b(Callable|Any|Tensor)\b", self.annotation) is not None


@dataclass
class Entry:
    """A class or function: its name, the first line of its docstring, its arguments."""

    name: str
    path: str
    summary: str
    arguments: list[Argument] = field(default_factory=list)

    @property
    def signature(self) -> str:
        """The arguments with their defaults: ``size, components=50``."""
        return ", ".join(a.name if a.default is None else f"{a.name}={a.default}" for a in self.arguments)


@functools.cache
def _tree(module: str) -> ast.Module:
    # by its place on disk: importlib's find_spec would run the package that the module lies in
    place = _ROOT.joinpath(*module.split(".")[1:])
    path = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    return ast.parse(path.read_text(encoding="utf-8")) if path.is_file() else ast.Module([], [])


def _find(module: str, name: str) -> tuple[str, ast.ClassDef | ast.FunctionDef] | None:
    """The definition that ``module`` knows as ``name``, followed through ``from ... import``."""
    for node in _tree(module).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return module, node
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pyro_vae"):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _find(str(node.module), alias.name)
    return None


def exported(module: str) -> list[str]:
    """The names in ``__all__`` of a module."""
    for node in _tree(module).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return []


def _lineage(module: str, node: ast.ClassDef) -> Iterator[_Class]:
    """A class and its bases as far as they lie in this library, nearest first."""
    yield module, node
    for base in node.bases:
        found = _find(module, ast.unparse(base))
        if found is not None and isinstance(found[1], ast.ClassDef):
            yield from _lineage(found[0], found[1])


def entries(kind: str) -> list[Entry]:
    """The members of a kind, sorted by name.

    Example:
        >>> [prior.name for prior in entries("priors")][-2:]
        ['StandardNormal', 'Vamp']
        >>> entries("priors")[-1].signature
        'size, components=50'
    """
    package, base = KINDS[kind]
    found = []
    for name in exported(package):
        place = _find(package, name)
        if place is None or not isinstance(place[1], ast.ClassDef) or name == base:
            continue
        lineage = list(_lineage(place[0], place[1]))
        bases = {cls.name for _, cls in lineage[1:]} | {ast.unparse(b) for _, cls in lineage for b in cls.bases}
        if any(re.fullmatch(base, each) for each in bases):
            found.append(_entry(f"{_shortest(package, name)}.{name}", lineage))
    return sorted(found, key=lambda entry: entry.name)


def _shortest(package: str, name: str) -> str:
    return "pyro_vae" if name in exported("pyro_vae") else package


def _entry(path: str, lineage: list[_Class]) -> Entry:
    own = lineage[0][1]
    documented: dict[str, str] = {}
    for _, cls in reversed(lineage):
        documented |= _documented(ast.get_docstring(cls) or "")
    methods = [node for _, cls in lineage for node in cls.body if isinstance(node, ast.FunctionDef)]
    constructor = next((method for method in methods if method.name == "__init__"), None)
    arguments = _arguments(constructor, documented)[1:] if constructor else []
    return Entry(own.name, path, _summary(own), arguments)


def function(module: str, name: str) -> Entry:
    """A function of the library."""
    place = _find(module, name)
    assert place is not None
    node = place[1]
    assert isinstance(node, ast.FunctionDef)
    arguments = _arguments(node, _documented(ast.get_docstring(node) or ""))
    return Entry(name, f"{module}.{name}", _summary(node), arguments)


def kind_of(annotation: str) -> str | None:
    """The kind of part that an annotation asks for.

    Example:
        >>> kind_of("Network | None"), kind_of("float | Schedule"), kind_of("PyroELBO | None"), kind_of("int")
        ('networks', 'schedules', 'objectives', None)
        >>> kind_of("Label | Likelihood"), kind_of("int | Categorical"), kind_of("VAE"), kind_of("ConditionalNormal")
        ('labels', 'labels', 'variants', 'conditional_priors')
    """
    for kind, (_, base) in KINDS.items():
        if re.search(rf"\b{base}\b", annotation):
            return kind
    named = set(re.findall(r"\w+", annotation))
    for kind in ("labels", "variants", "conditional_priors"):  # of which one in particular may be asked for
        if named & set(exported(KINDS[kind][0])):
            return kind
    return "objectives" if "ELBO" in annotation else None


def _summary(node: ast.ClassDef | ast.FunctionDef) -> str:
    return (ast.get_docstring(node) or "").split("\n\n")[0].replace("\n", " ").replace("``", "").replace("\\*", "*")


def _arguments(node: ast.FunctionDef, documented: dict[str, str]) -> list[Argument]:
    spec = node.args
    positional = [*spec.posonlyargs, *spec.args]
    missing: list[ast.expr | None] = [None] * (len(positional) - len(spec.defaults))
    defaults = [*missing, *spec.defaults, *spec.kw_defaults]
    return [
        Argument(
            argument.arg,
            ast.unparse(argument.annotation) if argument.annotation else "",
            None if default is None else ast.unparse(default),
            documented.get(argument.arg, ""),
        )
        for argument, default in zip([*positional, *spec.kwonlyargs], defaults, strict=True)
    ]


def _documented(docstring: str) -> dict[str, str]:
    """The ``Args:`` section of a docstring: name to text."""
    section = re.search(r"^(?:Args|Arguments):\n((?:[ ]{4}.*\n|\n)*)", docstring + "\n", re.MULTILINE)
    found: dict[str, str] = {}
    for match in re.finditer(r"^ {4}(\w+): (.*(?:\n {5,}.*)*)", section[1] if section else "", re.MULTILINE):
        text = re.sub(r":\w+:`~?\.?([^`]*)`", r"\1", match[2]).replace("``", "").replace("\\*", "*")
        found[match[1]] = " ".join(text.split())
    return found


def suggest(name: str, known: Iterable[str], prefix: str = "") -> str:
    """A hint at the nearest known name, whatever its case, or nothing.

    Example:
        >>> suggest("VEA", ["Autoencoder", "VAE"]), suggest("foo", ["VAE"])
        ('; did you mean VAE?', '')
    """
    close = nearest(name, known, cutoff=0.5)
    return "" if close is None else f"; did you mean {prefix}{close}?"

"""The parser's complaints, which are several lines of its own words, as one line in the user's."""

from __future__ import annotations

import inspect
import pydoc
import re
from typing import Any

import pyro.infer

from pyro_vae.cli.catalogue import entries, kind_of, suggest
from pyro_vae.training import fit

__all__ = ["explain", "pyro_objectives"]

_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "Sequence": "a list [3, 4]",
}


def explain(text: str, cls: type, options: list[str]) -> str:
    """One line for a message of jsonargparse.

    Args:
        text: the message.
        cls: the variant's class, whose constructor the options belong to.
        options: names of all options there are.
    """
    keys = re.findall(r'Parser key "([^"]+)"', text)
    part = re.search(r"Problem with given class_path '([^']+)'", text)
    option = "--" + ".".join(keys)
    if match := re.search(r"unrecognized arguments: (.*)", text):
        return _unrecognised(match[1].split(), options)
    if match := re.search(r"expected (?:one|\d+) argument", text):
        named = re.search(r"argument (--?\S+?):", text)
        return f"{named[1] if named else option} needs a value"
    if match := re.search(r"Option '([^']+)' is not accepted", text):
        return _not_accepted(match[1], keys, part[1] if part else None, options)
    if match := re.search(r"Expected a dot import path string: (\S+)", text):
        return _unknown_class(option, match[1], cls, keys[0])
    if match := re.search(r"Import path (\S+) does not correspond to a subclass of (\w+)", text):
        return f"{option}: {match[1]} is no {match[2]}"
    if match := re.search(r"arguments? are required: (.*)", text):
        missing = [name.strip() for name in match[1].split(",")]
        return f"missing: {', '.join('--' + '.'.join([*keys, name]) for name in missing)}"
    if match := re.search(r"Expected an? <class '(?:[\w]+\.)*(\w+)'>(?:\. Got value: (.*))?", text):
        got = match[2] or (re.search(r"Given value: (.*)", text) or ["", "?"])[1]
        if match[1] not in _TYPES and keys:
            return _unknown_class(option, got, cls, keys[0])
        return f"{option}: wanted {_TYPES.get(match[1], match[1])}, got {got!r}"
    return " ".join(text.split())


def _unrecognised(words: list[str], options: list[str]) -> str:
    named = next((word for word in words if word.startswith("--")), None)
    if named is None:
        return f"{words[0]!r} was not expected here; the variant comes first, options follow as --name=value"
    name = named[2:].partition("=")[0]
    return f"unknown option --{name}{suggest(name.partition('.')[0], options, '--')}"


def _not_accepted(name: str, keys: list[str], path: str | None, options: list[str]) -> str:
    if path is None:
        return f"unknown option {name!r} in the configuration file{suggest(name, options)}"
    made: Any = pydoc.locate(path)
    option = "--" + ".".join([*keys, name])
    if inspect.isclass(made) and made.__subclasses__() and path.rpartition(".")[2] in _BASES:
        first = entries(kind_of(made.__name__) or "networks")[-1].name
        return f"{option}: name the class first, as in --{'.'.join(keys)}={first} {option}=..."
    taken = [n for n in list(inspect.signature(made.__init__).parameters)[1:] if n != "shape"]
    what = path.rpartition(".")[2]
    return f"unknown option {option}: {what} takes {', '.join(taken) or 'no options'}{suggest(name, taken)}"


_BASES = ("Prior", "Likelihood", "Posterior", "Network", "Schedule", "ELBO")


def pyro_objectives() -> list[str]:
    """Pyro's own objectives, without the compiled ones, which do not work with these programs.

    Example:
        >>> "Trace_ELBO" in pyro_objectives(), "JitTrace_ELBO" in pyro_objectives()
        (True, False)
    """
    found = vars(pyro.infer).items()
    return [n for n, v in found if isinstance(v, type) and issubclass(v, pyro.infer.ELBO) and not n.startswith("Jit")]


def _unknown_class(option: str, value: str, cls: Any, argument: str) -> str:
    """The message for a value that names no class which the argument takes."""
    own, ours = inspect.signature(cls.__init__).parameters, inspect.signature(fit).parameters
    parameter = own.get(argument) or ours.get(argument)
    annotation = str(parameter.annotation) if parameter else ""
    kind = kind_of(annotation)
    names = [entry.name for entry in entries(kind)] if kind else []
    if kind == "objectives":
        names += [name for name in pyro_objectives() if name not in names]
    number = "a number or one of " if "float" in annotation else ""
    return f"{option}={value} is unknown{suggest(value, names)} ({number}{', '.join(sorted(names))})"

"""Options as plain data: parts as ``{"class_path": ..., "init_args": {...}}``, and how they are read and written."""

from __future__ import annotations

import contextlib
import inspect
import itertools
import pydoc
from pathlib import Path
from typing import Any

import yaml

from pyro_vae.configured import Configured, to_config
from pyro_vae.errors import ConfigurationError

__all__ = ["minimal", "numbers", "option", "plain", "read_yaml", "underscored"]


def underscored(word: str) -> str:
    """``--batch-size=3`` as ``--batch_size=3``: both spellings are taken."""
    name, equals, value = word.partition("=")
    return f"--{name[2:].replace('-', '_')}{equals}{value}" if name.startswith("--") else word


def option(argv: list[str], name: str) -> str | None:
    """The last value given to an option, before any real parsing.

    Example:
        >>> option(["--data", "wine", "--data=digits"], "data")
        'digits'
    """
    found = None
    for word, following in itertools.zip_longest(argv, argv[1:]):
        if word.startswith(f"--{name}="):
            found = word.partition("=")[2]
        elif word == f"--{name}":
            found = following
    return found


def read_yaml(path: str | None) -> dict[str, Any]:
    """The options that a configuration file gives; none without a file.

    Raises:
        ConfigurationError: when there is no such file, or it is no mapping in YAML.
    """
    if path is None:
        return {}
    if not Path(path).is_file():
        raise ConfigurationError(f"there is no configuration file {path!r}")
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path!r} is no YAML file: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path!r} holds no options; wanted lines such as 'variant: VAE'")
    return content


def _is_part(value: Any) -> bool:
    return isinstance(value, dict) and "class_path" in value


def _parameters(part: dict[str, Any]) -> dict[str, inspect.Parameter]:
    cls: Any = pydoc.locate(part["class_path"])
    return dict(inspect.signature(cls.__init__).parameters)


def _arguments(part: dict[str, Any]) -> dict[str, Any]:
    return part.get("init_args") or {}


def numbers(value: Any) -> Any:
    """Numbers that were read as text because the argument takes text too (``scale: str | float``)."""
    if isinstance(value, Configured):  # a default that is a part
        return to_config(value)
    if not _is_part(value):
        return value
    parameters, arguments = _parameters(value), {}
    for name, argument in _arguments(value).items():
        if isinstance(argument, str) and "float" in str(parameters[name].annotation):
            with contextlib.suppress(ValueError):
                argument = float(argument)
        arguments[name] = numbers(argument)
    return {"class_path": value["class_path"], "init_args": arguments}


def minimal(value: Any) -> Any:
    """A part without the arguments that are as its constructor has them, so that its repr stays short."""
    if not _is_part(value):
        return value
    parameters = _parameters(value)
    return {
        "class_path": value["class_path"],
        "init_args": {
            name: minimal(argument)
            for name, argument in _arguments(value).items()
            if name not in parameters or plain(argument) != plain(parameters[name].default)
        },
    }


def plain(value: Any) -> Any:
    """Lists for tuples, and no shape of data."""
    if _is_part(value):
        arguments = {k: plain(v) for k, v in _arguments(value).items() if v is not None and k != "shape"}
        return {"class_path": value["class_path"], **({"init_args": arguments} if arguments else {})}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value

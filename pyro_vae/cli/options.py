"""From the words of a command line, and a YAML file, to a variant, its data and the arguments of ``fit``."""

from __future__ import annotations

import contextlib
import inspect
import itertools
import pydoc
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import ArgumentError, ArgumentParser

from pyro_vae.cli.catalogue import entries, kind_of, suggest
from pyro_vae.cli.datasets import TRANSFORMS, load
from pyro_vae.cli.explain import explain
from pyro_vae.configured import build
from pyro_vae.data import Dataset
from pyro_vae.errors import ConfigurationError
from pyro_vae.training import fit
from pyro_vae.variants import Variant

__all__ = ["Request", "parse", "variant_class"]

SIZE = 8
"""Latent dimensions where none are asked for."""

LIKELIHOODS = {"binary": "Bernoulli", "grey": "ContinuousBernoulli", "real": "Normal"}
"""By the kind of the data."""

_OWN = ("data", "root", "transform", "folder", "resume")  # options that are no argument of one constructor


@dataclass
class Request:
    """What a command line asks for, resolved and checked.

    Attributes:
        values: every option with its value, as plain data.
        cls: the variant's class.
        dataset: loaded and transformed as the options say.
    """

    values: dict[str, Any]
    cls: type[Variant]
    dataset: Dataset

    @property
    def folder(self) -> Path:
        """Where the run is written."""
        name = f"{self.values['variant'].rpartition('.')[2]}-{self.values['data']}".lower()
        return Path(self.values["folder"] or Path("runs", name))

    def variant(self) -> Variant:
        """The variant, with starting weights that depend on the seed alone."""
        names = inspect.signature(self.cls.__init__).parameters
        arguments = {name: _minimal(self.values[name]) for name in names if self.values.get(name) is not None}
        path = f"{self.cls.__module__}.{self.cls.__qualname__}"
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.values["seed"])
            return build({"class_path": path, "init_args": arguments})

    def fit_arguments(self) -> dict[str, Any]:
        """Keyword arguments for :func:`pyro_vae.fit`."""
        names = _fit_parameters()
        arguments = {name: build(_minimal(self.values[name])) for name in names if name in self.values}
        transform = self.values["transform"]
        return {
            **arguments,
            "transform": TRANSFORMS[transform] if transform else None,
            "folder": self.folder,
            "resume": self.values["resume"],
        }

    def as_yaml(self) -> str:
        """The resolved options as the text of a configuration file: ``fit --config`` repeats the run.

        Left out is what belongs to one invocation (where to write, whether to resume) and what the data say
        (the likelihood's shape).
        """
        kept = {k: _plain(v) for k, v in self.values.items() if v is not None and k not in ("folder", "resume")}
        return yaml.safe_dump(kept, sort_keys=False, allow_unicode=True)


def variant_class(name: str) -> type[Variant]:
    """The variant of that name, or of that full import path.

    Raises:
        ConfigurationError: for unknown names, with the nearest right one.
    """
    known = {entry.name: entry.path for entry in entries("variants")}
    short = list(known)
    if "." not in name and name not in known:
        raise ConfigurationError(f"variant {name!r} is unknown{suggest(name, short)} ({', '.join(short)})")
    name = known.get(name, name)
    try:
        cls = pydoc.locate(name)
    except pydoc.ErrorDuringImport as error:
        raise ConfigurationError(f"variant {name!r} cannot be imported: {error}") from None
    if not (isinstance(cls, type) and issubclass(cls, Variant)):
        raise ConfigurationError(f"variant {name!r}: there is no such subclass of Variant")
    return cls


def parse(command: str, argv: list[str], defaults: dict[str, Any] | None = None) -> Request:
    """Read ``[VARIANT] [--config FILE] [--option ...]``.

    Args:
        command: its name, for messages.
        argv: what follows the command.
        defaults: values of options that neither the file nor the command line gives.

    Raises:
        ConfigurationError: one line that says what is wrong and what would be right.
    """
    argv = [_underscored(word) for word in argv]
    name, rest = (argv[0], argv[1:]) if argv and not argv[0].startswith("-") else (None, argv)
    file = _option(rest, "config")
    folder = _option(rest, "folder")
    if name is None and file is None and folder is not None and "--resume" in rest:
        file = str(Path(folder, "run.yaml"))
        rest = ["--config", file, *rest]
    written = _read_yaml(file)
    given = defaults or {}
    name = name or written.get("variant") or given.get("variant")
    if not isinstance(name, str):
        names = ", ".join(entry.name for entry in entries("variants"))
        raise ConfigurationError(f"name a variant ({names}): pyro-vae {command} VAE, or give --config FILE")
    cls = variant_class(name)

    def chosen(option: str, default: Any = None) -> Any:
        return _option(rest, option) or written.get(option) or given.get(option) or default

    dataset = load(chosen("data", "digits"), chosen("root"), chosen("transform"))
    parser, linked = _parser(command, cls, dataset)
    for option in linked:
        if _option(rest, option) is not None:
            raise ConfigurationError(f"--{option} is not for you to give: the data set says what shape its data have")
    filled = {"data": "digits", "epochs": 30, **_part_defaults(cls, dataset.kind), **given, "variant": name}
    known = _known_options(cls)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on options of the default part that another part does not have
            parser.set_defaults({k: v for k, v in filled.items() if k in known})
            parsed = parser.parse_args(rest)
    except ArgumentError as error:
        raise ConfigurationError(explain(str(error), cls, known)) from None
    values = {k: _numbers(v) for k, v in parsed.as_dict().items() if k not in ("config", "print_config")}
    if name in argv[:1]:
        values["variant"] = name  # the word on the command line outdoes the file
    if file is not None and values["folder"] is None and values["resume"]:
        values["folder"] = str(Path(file).parent)
    return Request(values, cls, dataset)


def _parser(command: str, cls: type[Variant], dataset: Dataset) -> tuple[ArgumentParser, list[str]]:
    parser = ArgumentParser(prog=f"pyro-vae {command}", exit_on_error=False, add_help=False)
    parser.add_argument("--config", action="config")
    parser.add_argument("--variant", type=str)
    parser.add_argument("--data", type=str, default="digits")
    for option in ("root", "transform", "folder"):
        parser.add_argument(f"--{option}", type=str | None, default=None)
    parser.add_argument("--resume", action="store_true")
    parser.add_class_arguments(cls, fail_untyped=False)
    flags = [name for name, parameter in _fit_parameters().items() if parameter.annotation in (bool, "bool")]
    skipped = {*inspect.signature(fit).parameters} - {*_fit_parameters()}
    parser.add_function_arguments(fit, skip={*skipped, *flags}, fail_untyped=False)
    for flag in flags:
        parser.add_argument(f"--{flag}", action="store_true")
    shape, linked = list(dataset.shape), []
    for name, parameter in inspect.signature(cls.__init__).parameters.items():
        if kind_of(str(parameter.annotation)) == "likelihoods":
            parser.link_arguments("data", f"{name}.init_args.shape", compute_fn=lambda _: shape)
            linked.append(f"{name}.shape")
    return parser, linked


def _fit_parameters() -> dict[str, inspect.Parameter]:
    """The arguments of ``fit`` that can be typed: not the functions, and not those with options of their own."""
    own = {"variant", *_OWN}
    return {
        name: parameter
        for name, parameter in inspect.signature(fit).parameters.items()
        if name not in own and not any(word in str(parameter.annotation) for word in ("Callable", "Any"))
    }


def _known_options(cls: type[Variant]) -> list[str]:
    return [*list(inspect.signature(cls.__init__).parameters)[1:], *_fit_parameters(), *_OWN, "variant", "config"]


def _part_defaults(cls: type[Variant], kind: str) -> dict[str, Any]:
    """Values for the arguments that a constructor requires."""
    found: dict[str, Any] = {}
    for name, parameter in inspect.signature(cls.__init__).parameters.items():
        if parameter.default is not parameter.empty:
            continue
        wanted = kind_of(str(parameter.annotation))
        if wanted == "priors":
            found[name] = {"class_path": "pyro_vae.priors.StandardNormal", "init_args": {"size": SIZE}}
        elif wanted == "likelihoods" and kind in LIKELIHOODS:
            found[name] = {"class_path": f"pyro_vae.likelihoods.{LIKELIHOODS[kind]}"}
        elif name == "size":
            found[name] = SIZE
    return found


def _underscored(word: str) -> str:
    """``--batch-size=3`` as ``--batch_size=3``: both spellings are taken."""
    name, equals, value = word.partition("=")
    return f"--{name[2:].replace('-', '_')}{equals}{value}" if name.startswith("--") else word


def _option(argv: list[str], name: str) -> str | None:
    """The last value given to an option, before any real parsing."""
    found = None
    for word, following in itertools.zip_longest(argv, argv[1:]):
        if word.startswith(f"--{name}="):
            found = word.partition("=")[2]
        elif word == f"--{name}":
            found = following
    return found


def _read_yaml(path: str | None) -> dict[str, Any]:
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


def _numbers(value: Any) -> Any:
    """Numbers that were read as text because the argument takes text too (``scale: str | float``)."""
    if not _is_part(value):
        return value
    parameters, arguments = _parameters(value), {}
    for name, argument in _arguments(value).items():
        if isinstance(argument, str) and "float" in str(parameters[name].annotation):
            with contextlib.suppress(ValueError):
                argument = float(argument)
        arguments[name] = _numbers(argument)
    return {"class_path": value["class_path"], "init_args": arguments}


def _minimal(value: Any) -> Any:
    """A part without the arguments that are as its constructor has them, so that its repr stays short."""
    if not _is_part(value):
        return value
    parameters = _parameters(value)
    return {
        "class_path": value["class_path"],
        "init_args": {
            name: _minimal(argument)
            for name, argument in _arguments(value).items()
            if name not in parameters or _plain(argument) != _plain(parameters[name].default)
        },
    }


def _plain(value: Any) -> Any:
    """Lists for tuples, and no shape of data."""
    if _is_part(value):
        arguments = {k: _plain(v) for k, v in _arguments(value).items() if v is not None and k != "shape"}
        return {"class_path": value["class_path"], **({"init_args": arguments} if arguments else {})}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value

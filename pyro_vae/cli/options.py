"""From the words of a command line, and a YAML file, to a variant, its data and the arguments of ``fit``."""

from __future__ import annotations

import inspect
import pydoc
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from pyro_vae.cli.catalogue import entries, kind_of, suggest
from pyro_vae.cli.datasets import TRANSFORMS, load, with_labels, with_quadrants
from pyro_vae.cli.defaults import check_possible, part_defaults, required, runs_wanted
from pyro_vae.cli.explain import explain
from pyro_vae.cli.plain import minimal, numbers, option, plain, read_yaml, underscored
from pyro_vae.cli.runs import open_run
from pyro_vae.configured import build
from pyro_vae.data import Dataset
from pyro_vae.errors import ConfigurationError
from pyro_vae.randomness import seeded
from pyro_vae.training import fit
from pyro_vae.variants import Variant

__all__ = ["Request", "parse", "variant_class"]

# options that are no argument of one constructor
_OWN = ("data", "root", "label_column", "quadrants", "transform", "labels", "folder", "resume")


@dataclass
class Request:
    """What a command line asks for, resolved and checked.

    Attributes:
        values: every option with its value, as plain data.
        cls: the variant's class.
        dataset: loaded, with as many labels as the options say.
        file: the configuration file, if one was given.
    """

    values: dict[str, Any]
    cls: type[Variant]
    dataset: Dataset
    file: Path | None = None

    @property
    def folder(self) -> Path:
        """Where the run is written."""
        return Path(self.values["folder"] or _default_folder(self.values["variant"], self.values["data"]))

    def variant(self) -> Variant:
        """The variant, with starting weights that depend on the seed alone."""
        arguments = {}
        for name, parameter in inspect.signature(self.cls.__init__).parameters.items():
            value = self.values.get(name)
            if value is not None and plain(value) != plain(numbers(parameter.default)):
                arguments[name] = minimal(value)
        for name in runs_wanted(self.cls):
            arguments[name] = open_run(arguments[name]).variant
        path = f"{self.cls.__module__}.{self.cls.__qualname__}"
        with seeded(self.values["seed"]):
            return build({"class_path": path, "init_args": arguments})

    def fit_arguments(self) -> dict[str, Any]:
        """Keyword arguments for :func:`pyro_vae.fit`."""
        names = _fit_parameters()
        arguments = {name: build(minimal(self.values[name])) for name in names if name in self.values}
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
        kept = {k: plain(v) for k, v in self.values.items() if v is not None and k not in ("folder", "resume")}
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
    argv = [underscored(word) for word in argv]
    name, rest = (argv[0], argv[1:]) if argv and not argv[0].startswith("-") else (None, argv)
    rest = _resuming(command, name, rest)
    file, rest = _file_first(rest)
    written = read_yaml(file)
    given = defaults or {}
    name = name or written.get("variant") or given.get("variant")
    if not isinstance(name, str):
        names = ", ".join(entry.name for entry in entries("variants"))
        raise ConfigurationError(f"name a variant ({names}): pyro-vae {command} VAE, or give --config FILE")
    cls = variant_class(name)

    def chosen(name: str, default: Any = None) -> Any:
        places = option(rest, name), written.get(name), given.get(name), default
        return next((value for value in places if value is not None), None)

    dataset = load(chosen("data", "digits"), chosen("root"), chosen("transform"), chosen("label_column"))
    quadrants = chosen("quadrants")
    dataset = with_quadrants(dataset, None if quadrants is None else _number("quadrants", quadrants))
    check_possible(cls, dataset, quadrants=quadrants is not None)
    parser, linked = _parser(command, cls, dataset)
    for each in linked:
        if option(rest, each) is not None:
            raise ConfigurationError(f"--{each} is not for you to give: the data set says what shape its data have")
    filled = {
        "data": "digits",
        "epochs": 30,
        **part_defaults(cls, dataset, quadrants=quadrants is not None),
        **given,
        "variant": name,
    }
    if option(rest, "objective") is None and any(word.startswith("--objective.") for word in rest):
        # options of the default objective
        filled.setdefault("objective", {"class_path": "pyro_vae.objectives.ELBO"})
    known = _known_options(cls)
    rest = _own_objective(rest)
    _check_valued(rest)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on options of the default part that another part does not have
            parser.set_defaults({k: v for k, v in filled.items() if k in known})
            parsed = parser.parse_args(rest)
    except ArgumentError as error:
        told = explain(str(error), cls, known)
        if dataset.kind == "counts" and told == "missing: --likelihood":
            levels = int(dataset.train.x.max()) + 1
            told += (
                f"; the data are counts: --likelihood=Categorical --likelihood.levels={levels} where they are small, "
                f"Normal, or one of your own, such as the Poisson of docs/own_parts.md"
            )
        raise ConfigurationError(told) from None
    values = {k: numbers(v) for k, v in parsed.as_dict().items() if k not in ("config", "print_config")}
    if name in argv[:1]:
        values["variant"] = name  # the word on the command line outdoes the file
    if file is not None and values["folder"] is None and values["resume"]:
        values["folder"] = str(Path(file).parent)
    _check(cls, values)
    dataset = with_labels(dataset, cls, values["labels"], values["seed"])
    return Request(values, cls, dataset, None if file is None else Path(file))


def _file_first(rest: list[str]) -> tuple[str | None, list[str]]:
    """The configuration file, and the words with it in front: what is typed holds, wherever it stands.

    Raises:
        ConfigurationError: when there is more than one.
    """
    file = option(rest, "config")
    others, previous, count = [], "", 0
    for word in rest:
        named = word == "--config" or word.startswith("--config=")
        count += named
        if not named and previous != "--config":
            others.append(word)
        previous = word
    if count > 1:
        raise ConfigurationError("there is more than one --config; write what they hold into one file")
    return file, others if file is None else [f"--config={file}", *others]


def _own_objective(rest: list[str]) -> list[str]:
    """The words, with the objective's name in full: some of Pyro's are called alike."""
    ours = {entry.name: entry.path for entry in entries("objectives")}
    before = ("", *rest)
    return [
        ours.get(word, word)
        if previous == "--objective"
        else f"--objective={ours.get(word[12:], word[12:])}"
        if word.startswith("--objective=")
        else word
        for previous, word in zip(before, rest, strict=False)
    ]


def _check_valued(rest: list[str]) -> None:
    """Check that an option of a part has a value; the parser would name the part alone.

    Raises:
        ConfigurationError: for the first that has none.
    """
    for word, following in zip(rest, [*rest, "--"][1:], strict=True):
        if word.startswith("--") and "." in word and "=" not in word and following.startswith("--"):
            raise ConfigurationError(f"{word} needs a value")


def _resuming(command: str, name: str | None, rest: list[str]) -> list[str]:
    """The words, with the ``run.yaml`` of a run that is to be resumed: its options hold unless others are typed.

    Raises:
        ConfigurationError: when the run is one of another variant than the one named.
    """
    if "--resume" not in rest or option(rest, "config") is not None:
        return rest
    folder = option(rest, "folder")
    if folder is None and name is not None and command == "fit":
        folder = str(_default_folder(name, option(rest, "data") or "digits"))
    file = Path(folder or "", "run.yaml")
    if folder is None or (name is not None and not file.is_file()):  # nothing to resume yet
        return rest
    began_as = read_yaml(str(file)).get("variant")
    if name is not None and began_as != name:
        raise ConfigurationError(f"the run in {folder!r} is one of {began_as}, not of {name}; leave the name out")
    return ["--config", str(file), *rest]


def _default_folder(variant: str, data: str) -> Path:
    name = Path(data).stem  # of a file, or of a known set
    return Path("runs", f"{variant.rpartition('.')[2]}-{name}".lower())


def _check(cls: type[Variant], values: dict[str, Any]) -> None:
    """Check what the parser cannot know.

    Raises:
        ConfigurationError: without a run that the variant is built on, and for objectives that cannot work.
    """
    for name in runs_wanted(cls):
        if values[name] is None:
            raise ConfigurationError(
                f"{cls.__name__} is built on a trained {required(cls)[name]}: give the folder of its run, --{name} RUN"
            )
    objective = (values.get("objective") or {}).get("class_path", "").rpartition(".")[2]
    if objective.startswith("Jit"):
        raise ConfigurationError(
            f"--objective={objective}: Pyro's compiled objectives do not work with these programs; "
            f"use --objective={objective.removeprefix('Jit')}"
        )


def _parser(command: str, cls: type[Variant], dataset: Dataset) -> tuple[ArgumentParser, list[str]]:
    parser = ArgumentParser(prog=f"pyro-vae {command}", exit_on_error=False, add_help=False, allow_abbrev=False)
    parser.add_argument("--config", action="config")
    parser.add_argument("--variant", type=str)
    parser.add_argument("--data", type=str, default="digits")
    runs = runs_wanted(cls)
    for name in ("root", "label_column", "transform", "folder", *runs):
        parser.add_argument(f"--{name}", type=str | None, default=None)
    for name in ("labels", "quadrants"):
        parser.add_argument(f"--{name}", type=int | None, default=None)
    parser.add_argument("--resume", action="store_true")
    parser.add_class_arguments(cls, fail_untyped=False, skip=set(runs))
    flags = [name for name, parameter in _fit_parameters().items() if parameter.annotation in (bool, "bool")]
    skipped = {*inspect.signature(fit).parameters} - {*_fit_parameters()}
    parser.add_function_arguments(fit, skip={*skipped, *flags}, fail_untyped=False)
    for flag in flags:
        parser.add_argument(f"--{flag}", action="store_true")
    shape, linked = list(dataset.shape), []
    explained = shape
    if not cls.explains_data and dataset.train.y is not None:
        explained = list(dataset.train.y.shape[1:])
    for name, parameter in inspect.signature(cls.__init__).parameters.items():
        if kind_of(str(parameter.annotation)) == "likelihoods":
            parser.link_arguments("data", f"{name}.init_args.shape", compute_fn=lambda _: explained)
            linked.append(f"{name}.shape")
        elif name == "shape":
            parser.link_arguments("data", name, compute_fn=lambda _: shape)
            linked.append(name)
    return parser, linked


def _fit_parameters() -> dict[str, inspect.Parameter]:
    """The arguments of ``fit`` that can be typed: not the functions, and not those with options of their own."""
    own = {"variant", *_OWN}
    return {
        name: parameter
        for name, parameter in inspect.signature(fit).parameters.items()
        if name not in own and not any(word in str(parameter.annotation) for word in ("Callable", "Any"))
    }


def _number(name: str, word: Any) -> int:
    if not str(word).isdigit():
        raise ConfigurationError(f"--{name}: wanted a whole number, got {word!r}")
    return int(word)


def _known_options(cls: type[Variant]) -> list[str]:
    return [*list(inspect.signature(cls.__init__).parameters)[1:], *_fit_parameters(), *_OWN, "variant", "config"]

"""The help texts, made from the source of constructors and of ``fit`` without importing them."""

from __future__ import annotations

import re
import shutil
import textwrap

from pyro_vae.cli.catalogue import KINDS, Argument, Entry, entries, function, kind_of, suggest
from pyro_vae.errors import ConfigurationError

__all__ = ["of", "overview"]

_OVERVIEW = """\
usage: pyro-vae COMMAND ...

The family of variational autoencoders as readable Pyro model/guide pairs.

commands:
  demo      train a VAE on handwritten digits and write its report page (under a minute)
  fit       train a variant: pyro-vae fit VAE --data digits --prior=Vamp --prior.components=50
  show      the generative story of a run, or of what fit would train with the same options
  evaluate  ELBO, reconstruction, KL and log p(x) of a run
  generate  new data from a run, as a picture or as numbers
  report    one self-contained HTML page on a run
  compare   accuracy of logistic regression, networks, M1, M2, ... with few labels and with many
  list      the variants, parts and data sets there are; pyro-vae list priors lists one kind

pyro-vae COMMAND --help tells more; pyro-vae fit VAE --help lists every option of a variant and its parts.
Errors are one line; PYRO_VAE_DEBUG=1 shows tracebacks.  PYRO_VAE_DATA names the folder with data sets."""

_DESCRIPTIONS = {
    "fit": "Train a variant. Options are the arguments of its constructor, of its parts' and of pyro_vae.fit.",
    "show": "The generative story, the parts and their sizes: of a run, or of what fit would train.",
    "demo": "Train on digits, then write runs/demo/report.html. Takes the options of fit, with its own defaults.",
}

_USAGE = {
    "fit": "pyro-vae fit VARIANT [--config FILE] [--option=value ...]",
    "show": "pyro-vae show RUN | pyro-vae show VARIANT [--config FILE] [--option=value ...]",
    "demo": "pyro-vae demo [VARIANT] [--option=value ...]",
}

_OWN = [
    ("--config FILE", "options from a YAML file, such as the run.yaml that fit writes; options after it count more"),
    ("--data NAME", "the data set (digits); pyro-vae list names them; or a file of your own, .npz, .npy or .csv"),
    ("--root FOLDER", "where its files are"),
    ("--label-column NAME", "of a .csv file: the column of the labels, if it is not called y"),
    ("--transform NAME", "binarize (drawn anew for each batch) or threshold"),
    ("--quadrants N", "of StructuredOutputVAE: 1, 2 or 3 quadrants of an image are given, the others predicted"),
    ("--labels N", "keep N labels of the training data, as many of each class; all if not given"),
    ("--folder FOLDER", "where to write checkpoints, history.csv and run.yaml; runs/VARIANT-DATA if not given"),
    ("--processes N", "of fit: train in so many processes together, on as many GPUs where there are some (1)"),
    ("--resume", "go on with the run in the folder; --folder FOLDER --resume alone is enough"),
]

# what pyro_vae.cli.options fills in; that module imports torch, this one must not
_DEFAULTS = {
    "priors": "StandardNormal(8)",
    "likelihoods": "by the data: Bernoulli, ContinuousBernoulli or Normal",
    "labels": "by the data: Categorical or Normal",
    "classes": "those of the data",
    "variants": "",
    "size": "8",
    "layers": "ConditionalNormal(16), StandardNormal(8)",
    "epochs": "30",
}


def overview() -> str:
    """What ``pyro-vae --help`` says."""
    return _OVERVIEW


def of(command: str, words: list[str]) -> str:
    """The help of a command; ``words`` may name a variant, whose options are then listed."""
    if command == "list":
        kinds = f"KIND is one of {', '.join((*KINDS, 'data'))}; without it all are listed."
        told = "The variants, parts and data sets there are, each with a line on what it is."
        return "\n".join(["usage: pyro-vae list [KIND]", "", told, *_wrap(kinds, 0)])
    if command not in _USAGE:
        from pyro_vae.cli.parsers import parser_of

        return parser_of(command).format_help().rstrip()
    named = next((word for word in words if not word.startswith("-")), "VAE" if command == "demo" else None)
    variants = entries("variants")
    variant = next((entry for entry in variants if entry.name == named), None)
    usage = _USAGE[command] if variant is None else _USAGE[command].replace("VARIANT", variant.name)
    lines = [f"usage: {usage}", "", *_wrap(_DESCRIPTIONS[command], 0)]
    if variant is None:
        known = [entry.name for entry in variants]
        if named is not None and "." not in named and command == "fit":
            hint = suggest(named, known)
            raise ConfigurationError(f"variant {named!r} is unknown{hint} ({', '.join(known)})")
        lines += ["", "variants:", *(line for entry in variants for line in _row(entry.name, entry.summary))]
        lines += ["", f"The parts of each, with their options: pyro-vae {command} {known[-1]} --help"]
    else:
        lines += _variant(variant)
    lines += ["", "data and run:", *(line for name, text in _OWN for line in _row(name, text))]
    skipped = ("variant", "folder", "resume")
    training = [a for a in function("pyro_vae.training", "fit").arguments if a.name not in skipped and not a.needs_code]
    lines += ["", "training:", *(line for argument in training for line in _argument(argument))]
    return "\n".join(lines)


def _variant(variant: Entry) -> list[str]:
    lines = ["", f"{variant.name}:"]
    kinds: dict[str, list[str]] = {}
    for argument in variant.arguments:
        lines += _argument(argument)
        kind = kind_of(argument.annotation)
        if kind is not None and kind != "variants":  # of which the command line takes runs
            kinds.setdefault(kind, []).append(f"--{argument.name}")
    if any("ConditionalPrior" in argument.annotation for argument in variant.arguments):
        kinds = {"conditional_priors": kinds["priors"], **kinds}
    for kind, options in kinds.items():
        shown = [(entry, [a for a in entry.arguments if a.name != "shape"]) for entry in entries(kind)]
        lines += ["", f"{kind.replace('_', ' ')}, for {', '.join(options)}:"]
        for entry, arguments in shown:
            given = ", ".join(a.name if a.default is None else f"{a.name}={a.default}" for a in arguments)
            lines += _row(f"{entry.name}({given})" if given else entry.name, entry.summary)
    example = "--prior=Vamp --prior.components=50" if "priors" in kinds else "--encoder=MLP --encoder.hidden=[64,32]"
    if any("Sequence" in argument.annotation for argument in variant.arguments):
        example = "--encoders+=MLP --encoders.hidden=[200] --encoders+=MLP --encoders.hidden=[100], one for each layer"
    return [*lines, "", f"The options of a part follow its name: {example}"]


def _argument(argument: Argument) -> list[str]:
    kind = kind_of(argument.annotation)
    wanted = re.sub(r" \| None$", "", argument.annotation)
    wanted = re.sub(r"\b(torch\.\w+|os\.PathLike\[str\])", "", wanted).strip(" |")
    if kind is not None:
        number = "float" in wanted or re.search(r"\bint\b", wanted)
        wanted = "NUMBER|CLASS" if number else "NAME|CLASS" if "str" in wanted else "CLASS"
        wanted = "RUN" if kind == "variants" else wanted
        wanted = "[CLASS, ...]" if "Sequence" in argument.annotation else wanted
    plain = {"int": "N", "float": "NUMBER", "str": "NAME", "bool | str": "NAME"}
    value = "" if wanted == "bool" else f" {plain.get(wanted, wanted)}"
    default = argument.default if argument.default not in (None, "None", "False") else None
    if argument.default is None:  # required by the constructor, but not here
        several = "Sequence" in argument.annotation
        default = _DEFAULTS["layers"] if several else _DEFAULTS.get(argument.name) or _DEFAULTS.get(kind or "")
    shown = f" ({default.strip(chr(39))})" if default else ""
    return _row(f"--{argument.name}{value}", argument.help + shown)


def _wrap(text: str, indent: int) -> list[str]:
    width = min(shutil.get_terminal_size().columns, 100)
    margin = " " * indent
    return textwrap.wrap(text, width, initial_indent=margin, subsequent_indent=margin, break_on_hyphens=False)


def _row(name: str, text: str, column: int = 26) -> list[str]:
    lines = _wrap(text, column) or [""]
    if len(name) + 4 <= column:
        return [f"  {name:<{column - 2}}{lines[0].lstrip()}", *lines[1:]]
    return [f"  {name}", *lines]

"""The options of the commands that work on a run that is there."""

from __future__ import annotations

import argparse
import re
from typing import NoReturn

from pyro_vae.errors import ConfigurationError

__all__ = ["parsed", "parser_of"]


class _Parser(argparse.ArgumentParser):
    """Errors become exceptions, which ``main`` tells in one line."""

    def error(self, message: str) -> NoReturn:
        message = re.sub(r"^argument ([^:]+): invalid int value: (.*)$", r"\1: wanted a whole number, got \2", message)
        message = message.replace("the following arguments are required: RUN", "name a run, as in runs/demo")
        raise ConfigurationError(f"{message} (pyro-vae {self.prog.split()[-1]} --help)")


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"wanted a whole number of at least 1, got {text!r}")
    return int(text)


def _evaluate(parser: _Parser) -> None:
    parser.add_argument("--num-samples", type=_positive, default=1000, metavar="K", help="draws per datum for log p(x)")
    parser.add_argument(
        "--max-data", type=_positive, default=1000, metavar="N", help="estimate log p(x) for at most so many data"
    )
    parser.add_argument("--split", choices=["train", "valid", "test"], default="test", help="which data (test)")
    parser.add_argument("--json", metavar="FILE", help="also write the numbers to FILE")


def _generate(parser: _Parser) -> None:
    parser.add_argument("-n", type=_positive, default=64, metavar="N", help="how many (64)")
    parser.add_argument(
        "--out", default="samples.png", metavar="FILE", help=".png (or .svg, .pdf): a picture; .npy, .npz, .pt: numbers"
    )
    parser.add_argument("--y", metavar="LABEL", help="for which label: a class, or properties with commas between them")
    parser.add_argument("--draw", action="store_true", help="draw x too, instead of the mean E[x | z] of each code")


def _report(parser: _Parser) -> None:
    parser.add_argument("--out", metavar="FILE", help="the page; report.html in the run's folder if not given")
    parser.add_argument("--num-samples", type=_positive, default=500, metavar="K", help="draws per datum for log p(x)")
    parser.add_argument(
        "--max-data", type=_positive, default=500, metavar="N", help="estimate log p(x) for at most so many data"
    )


def _compare(parser: _Parser) -> None:
    parser.add_argument(
        "--data", default="digits", metavar="NAME", help="data with classes, by name or from a file (digits)"
    )
    parser.add_argument("--root", metavar="FOLDER", help="where its files are")
    parser.add_argument("--label-column", metavar="COLUMN", help="of a table's labels, where it is not called y")
    parser.add_argument(
        "--labels", default="100,all", metavar="LIST", help="numbers of labels with commas between them (100,all)"
    )
    parser.add_argument(
        "--systems", metavar="LIST", help="names with commas between them; all that the data allow if not given"
    )
    parser.add_argument("--seeds", type=_positive, default=3, metavar="N", help="repetitions of everything (3)")
    parser.add_argument("--epochs", type=_positive, metavar="N", help="in place of the data set's own")
    parser.add_argument(
        "--split",
        choices=["random", "given"],
        default="random",
        help="the test set: a fifth of all data, anew for each seed (random), or the data set's own (given)",
    )
    parser.add_argument(
        "--folder", metavar="FOLDER", help="where cells, table.txt and comparison.png go; runs/compare-DATA"
    )


_COMMANDS = {
    "compare": (
        _compare,
        "Accuracy of classifiers with and without a generative model, at few labels and at many, each in its own cell; "
        "cells that are in the folder already are not run again.",
    ),
    "evaluate": (
        _evaluate,
        "ELBO, reconstruction, KL and log p(x) of a trained run, with standard errors; how well it predicts labels.",
    ),
    "generate": (_generate, "New data from a trained run: codes from its prior, data from its likelihood."),
    "report": (_report, "One self-contained HTML page on a trained run."),
}


def parser_of(command: str) -> argparse.ArgumentParser:
    """The parser of ``compare``, ``evaluate``, ``generate`` or ``report``."""
    add, description = _COMMANDS[command]
    parser = _Parser(prog=f"pyro-vae {command}", description=description, allow_abbrev=False)
    if command == "compare":
        add(parser)
        return parser
    parser.add_argument("run", metavar="RUN", help="folder that fit wrote (runs/demo), or a saved variant's file")
    add(parser)
    parser.add_argument("--weights", choices=["best", "last"], help="of which epoch; best where the run had --patience")
    parser.add_argument("--seed", type=int, default=0, help="of all draws (0)")
    if command != "generate":
        parser.add_argument("--data", metavar="NAME", help="another data set than the run's own")
        parser.add_argument("--root", metavar="FOLDER", help="where its files are")
    return parser


def parsed(command: str, argv: list[str]) -> argparse.Namespace:
    """What the words after a command ask for; ``--num_samples`` is taken as ``--num-samples``.

    Raises:
        ConfigurationError: when they are not such as the command knows.
    """
    hyphened = []
    for word in argv:
        name, *value = word.split("=", 1)
        hyphened.append("=".join([name.replace("_", "-"), *value]) if word.startswith("--") else word)
    return parser_of(command).parse_args(hyphened)

"""What the commands do, one function each."""

from __future__ import annotations

from collections.abc import Callable

from pyro_vae.cli.commands.comparing import compare
from pyro_vae.cli.commands.listing import list_all
from pyro_vae.cli.commands.reading import evaluate, generate, report, show
from pyro_vae.cli.commands.training import demo, fit

__all__ = ["COMMANDS"]

COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "demo": demo,
    "fit": fit,
    "show": show,
    "evaluate": evaluate,
    "generate": generate,
    "report": report,
    "compare": compare,
    "list": list_all,
}
"""Each takes the words after its name."""

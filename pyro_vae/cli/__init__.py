"""The command ``pyro-vae``: train, show, evaluate and report variants without writing code.

``pyro-vae --help`` lists the commands.  Nothing heavy is imported until a command needs it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

__all__ = ["main"]

_COMMANDS = ("demo", "fit", "show", "evaluate", "generate", "report", "compare", "list")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return the exit code.

    0: done; 2: an error of use, told in one line; 1: anything else that went wrong; 130: interrupted.  With
    ``PYRO_VAE_DEBUG=1`` errors are raised with their traceback.

    Args:
        argv: the words after ``pyro-vae``; those of the process if not given.

    Example:
        >>> main(["fit", "VEA"])
        2
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(words)
    except KeyboardInterrupt as interrupt:
        hint = f"; {interrupt.args[0]}" if interrupt.args else ""
        print(f"\npyro-vae: interrupted{hint}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader (`| head`) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get("PYRO_VAE_DEBUG"):
            raise
        return _tell(error)


def _run(words: list[str]) -> int:
    from pyro_vae.cli import help as texts

    command, rest = (words[0], words[1:]) if words else ("--help", [])
    if command in ("-h", "--help", "help"):
        print(texts.overview())
    elif command in ("-V", "--version"):
        import pyro_vae

        print(f"pyro-vae {pyro_vae.__version__}")
    elif command not in _COMMANDS:
        from pyro_vae.cli.catalogue import suggest
        from pyro_vae.errors import ConfigurationError

        hint = suggest(command, _COMMANDS) or f" (commands: {', '.join(_COMMANDS)})"
        raise ConfigurationError(f"unknown command {command!r}{hint}")
    elif "-h" in rest or "--help" in rest:
        print(texts.of(command, rest))
    else:
        from pyro_vae.cli.commands import COMMANDS

        COMMANDS[command](rest)
    return 0


def _tell(error: Exception) -> int:
    """One line on what went wrong, and the exit code that belongs to it."""
    from pyro_vae import errors

    data_files = sys.modules.get("pyro_vae.data.files")
    of_use: tuple[type[Exception], ...] = (
        errors.ConfigurationError,
        errors.DataError,
        errors.CheckpointError,
        OSError,
        *((data_files.DataNotFound, data_files.DataCorrupted) if data_files else ()),
    )
    line = " ".join(str(error).split())
    if isinstance(error, of_use):
        print(f"pyro-vae: error: {line}", file=sys.stderr)
        return 2
    what = line if isinstance(error, errors.NonFiniteLossError) else f"{type(error).__name__}: {line}"
    print(f"pyro-vae: failed: {what} (PYRO_VAE_DEBUG=1 shows the traceback)", file=sys.stderr)
    return 1

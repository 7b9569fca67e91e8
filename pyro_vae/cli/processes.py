"""``fit --processes N``: one command in several processes."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from pyro_vae.cli.plain import option
from pyro_vae.errors import ConfigurationError
from pyro_vae.training.processes import TIMEOUT

__all__ = ["asked_for", "is_first", "together"]


def asked_for(argv: list[str]) -> tuple[int, list[str]]:
    """How many processes a command line asks for, and its other words.

    Raises:
        ConfigurationError: when that is no number.
    """
    wanted = option(argv, "processes")
    if wanted is None:
        return 1, argv
    if not wanted.isdigit() or int(wanted) < 1:
        raise ConfigurationError(f"--processes: wanted a whole number of at least 1, got {wanted!r}")
    words = [word for word in argv if not word.startswith("--processes=")]
    if "--processes" in words:
        at = words.index("--processes")
        words = words[:at] + words[at + 2 :]
    return int(wanted), words


def is_first() -> bool:
    """Whether this process writes and prints: of several, the first alone."""
    return os.environ.get("RANK", "0") == "0"


def together(processes: int, command: Callable[[list[str]], None], argv: list[str]) -> None:
    """Run a command in several processes, started by Ignite's launcher.

    Raises:
        Exception: what went wrong in the process that failed first, as if there were no others.
    """
    import ignite.distributed

    on_gpus = torch.cuda.is_available() and (option(argv, "device") or "auto") != "cpu"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for noisy in ("ignite", "torch.multiprocessing.spawn"):  # an error is told once, by the process that began
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        try:
            ignite.distributed.spawn(
                "nccl" if on_gpus else "gloo",
                _work,
                (command, argv, folder, processes),
                nproc_per_node=processes,
                master_addr="127.0.0.1",
                master_port=port,
                timeout=TIMEOUT,
            )
        except torch.multiprocessing.ProcessRaisedException as error:
            told = sorted(Path(folder).iterdir(), key=lambda file: file.stat().st_mtime_ns)
            if told:
                raise pickle.loads(told[0].read_bytes()) from error  # what a process of ours has just written
            raise


def _work(local_rank: int, command: Callable[[list[str]], None], argv: list[str], folder: str, of: int) -> None:
    """What each process does; its error is kept for the one that started it."""
    torch.set_num_threads(max(1, torch.get_num_threads() // of))
    with contextlib.ExitStack() as stack:
        if not is_first():
            stack.enter_context(contextlib.redirect_stdout(stack.enter_context(Path(os.devnull).open("w"))))
        try:
            command(argv)
        except Exception as error:
            try:
                content = pickle.dumps(error)
            except Exception:  # one that holds what cannot be pickled
                content = pickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))
            Path(folder, str(local_rank)).write_bytes(content)
            raise

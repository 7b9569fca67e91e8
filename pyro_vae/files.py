"""Files that are written whole or not at all; those that hold weights are read without running code from them."""

from __future__ import annotations

import contextlib
import os
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from pyro_vae.errors import CheckpointError

__all__ = ["make_folder", "read_torch", "tidy", "write_text", "write_torch", "written_whole"]

FORMAT = "pyro-vae 1"


def make_folder(folder: str | os.PathLike[str]) -> Path:
    """Create a folder and make sure that it can be written to.

    Raises:
        CheckpointError: when it cannot, with the reason.
    """
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise CheckpointError(
            f"cannot write into folder {str(path)!r} ({error.strerror or error}); name another one"
        ) from error
    return path


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A context that gives another name to write to; the file takes its place when the context ends without an error.

    So ``path`` is either the old file or the new one, whole, also for who reads it meanwhile or is killed.

    Raises:
        CheckpointError: when the file cannot be written.
    """
    make_folder(path.parent)
    # not tempfile's, whose files nobody but their owner may read
    name = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield name
        os.replace(name, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            name.unlink(missing_ok=True)
        if isinstance(error, OSError | RuntimeError):  # torch's writer reports a full disk as a RuntimeError
            raise CheckpointError(f"cannot write {str(path)!r} ({error}); what was there before is intact") from error
        raise


def tidy(path: Path) -> None:
    """Remove what processes that were killed while they wrote ``path`` have left beside it."""
    for left in path.parent.glob(f".{path.name}.*.tmp"):
        left.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write text as UTF-8, whole.

    Raises:
        CheckpointError: when the file cannot be written.
    """
    with written_whole(Path(path)) as name:
        name.write_text(text, encoding="utf-8")


def write_torch(path: str | os.PathLike[str], content: dict[str, Any]) -> None:
    """Write ``content`` (tensors, numbers, text), whole.

    Raises:
        CheckpointError: when the file cannot be written.
    """
    with written_whole(Path(path)) as name, name.open("wb") as file:
        torch.save({"format": FORMAT, **content}, file)
        file.flush()
        os.fsync(file.fileno())


def read_torch(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read what :func:`write_torch` wrote, with ``weights_only=True``.

    Raises:
        CheckpointError: when there is no such file, or it is damaged or something else.
    """
    path = Path(path)
    if path.is_dir():
        raise CheckpointError(f"{str(path)!r} is a folder; name a file in it, such as {str(path / 'last.pt')!r}")
    if not path.is_file():
        raise CheckpointError(f"there is no file {str(path)!r}")
    try:
        with zipfile.ZipFile(path) as archive:  # torch does not compare the checksums that it writes
            if broken := archive.testzip():
                raise zipfile.BadZipFile(f"{broken} fails its checksum")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damage can make torch and pickle raise anything
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise CheckpointError(f"{str(path)!r} is damaged or was not written by pyro_vae ({reason})") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{str(path)!r} was not written by this version of pyro_vae (format {FORMAT!r})")
    return content

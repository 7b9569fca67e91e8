"""Where data sets lie on disk: the folders searched, the download, and readers that name a damaged file."""

from __future__ import annotations

import gzip
import http.client
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

__all__ = ["DataCorrupted", "DataNotFound", "cache", "download", "locate", "read_idx", "reading"]


class DataNotFound(RuntimeError):  # noqa: N818
    """The files of a data set are in none of the folders searched and could not be downloaded."""


class DataCorrupted(RuntimeError):  # noqa: N818
    """A file of a data set is there but damaged, or not in the expected form."""


def cache() -> Path:
    """The folder for downloads: ``pyro_vae`` in ``$XDG_CACHE_HOME``, by default ``~/.cache/pyro_vae``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "pyro_vae"


def _folders(root: str | os.PathLike[str] | None) -> list[Path]:
    chosen, said = (root, "root") if root is not None else (os.environ.get("PYRO_VAE_DATA"), "PYRO_VAE_DATA")
    if not chosen:
        return [cache()]
    folder = Path(chosen).expanduser()
    if not folder.is_dir():
        # Going on to the cache or the network would hide a mistyped path.
        raise DataNotFound(f"{said}={str(chosen)!r} is not a folder")
    return [folder, cache()]


def _find(forms: Sequence[Sequence[str]], folders: Sequence[Path]) -> list[Path] | None:
    for folder in folders:
        for names in forms:
            paths = [folder / name for name in names]
            if all(path.is_file() for path in paths):
                return paths
    return None


def locate(
    name: str,
    forms: Sequence[Sequence[str]],
    root: str | os.PathLike[str] | None,
    *,
    download_as: str | None = None,
    published: str,
) -> list[Path]:
    """The files of a data set, downloaded into the cache when no folder has them.

    Args:
        name: the data set, for the error.
        forms: the forms it may lie in, each a list of relative paths.
        root: searched first; the environment variable PYRO_VAE_DATA if None. The cache is searched next.
        download_as: the class of ``torchvision.datasets`` that can download it, None if there is none.
        published: where a person finds the files, for the error.

    Returns:
        The paths of the first complete form in the first folder that has one.

    Raises:
        DataNotFound: if there is none, naming the files wanted, the folders searched and what to do.
    """
    folders = _folders(root)
    found = _find(forms, folders)
    if found is not None:
        return found
    failure, cause = "not possible for this data set", None
    if download_as is not None:
        try:
            download(download_as, cache())
        except (OSError, RuntimeError, http.client.HTTPException) as error:
            failure, cause = f"failed ({type(error).__name__}: {str(error).strip()})", error
        else:
            found = _find(forms, [cache()])
            if found is not None:
                return found
            failure = "finished, but without these files"
    wanted = "\n      or: ".join(", ".join(names) for names in forms)
    raise DataNotFound(
        f"the data set {name!r} was not found.\n"
        f"  wanted: {wanted}\n"
        f"  looked in: {', '.join(map(str, folders))}\n"
        f"  download: {failure}\n"
        f"  what to do: get the files from {published}, lay them out as above in a folder, "
        "and pass it as root= or set PYRO_VAE_DATA to it"
    ) from cause


def download(torchvision_class: str, into: Path) -> None:
    """Download a data set through torchvision; ``into`` receives its files only once all of them are whole."""
    import torchvision.datasets

    into.mkdir(parents=True, exist_ok=True)
    # Beside the target, so that each move is a rename within one file system and thus atomic.
    with tempfile.TemporaryDirectory(prefix=".incomplete-", dir=into, ignore_cleanup_errors=True) as temporary:
        getattr(torchvision.datasets, torchvision_class)(temporary, download=True)
        for file in sorted(Path(temporary).rglob("*")):
            if file.is_file() and not file.name.endswith(".tar.gz"):  # the tar is unpacked by now
                target = into / file.relative_to(temporary)
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(file, target)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns what readers raise on a damaged file into :class:`DataCorrupted` naming the file."""
    try:
        yield
    except (PermissionError, MemoryError):
        raise
    except Exception as error:  # gzip, numpy and scipy have no error in common, and scipy some of its own
        raise DataCorrupted(
            f"cannot read {path}: {error}. The file is damaged or not in the expected form; "
            "delete it and fetch it again"
        ) from error


def read_idx(path: Path) -> Tensor:
    """The bytes in an IDX file, plain or gzipped, as a uint8 tensor of the shape the file states.

    The format (http://yann.lecun.com/exdb/mnist/): two zero bytes, the type (8 for unsigned bytes), the
    number of dimensions, the sizes as big-endian 32-bit integers, the data.
    """
    with reading(path):
        with gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb") as file:
            content = file.read()
        if len(content) < 4 or content[:3] != b"\x00\x00\x08":
            raise ValueError("it does not start as an IDX file of unsigned bytes does")
        start = 4 + 4 * content[3]
        shape = [int.from_bytes(content[i : i + 4], "big") for i in range(4, start, 4)]
        values = torch.frombuffer(bytearray(content), dtype=torch.uint8)[start:]
        if values.numel() != torch.Size(shape).numel():
            raise ValueError(f"it states shape {tuple(shape)} but holds {values.numel()} values")
        return values.reshape(shape)

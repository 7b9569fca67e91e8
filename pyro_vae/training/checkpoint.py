"""The checkpoint of a run that is to be continued."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pyro_vae.errors import CheckpointError
from pyro_vae.files import read_torch
from pyro_vae.variants.base import Variant

__all__ = ["checkpoint_to_resume"]


def checkpoint_to_resume(folder: Path | None, resume: bool, variant: Variant, settings: str) -> dict[str, Any] | None:
    """What ``last.pt`` in ``folder`` holds, or ``None`` where there is nothing to continue.

    Args:
        folder: of the run.
        resume: whether the user asked to continue it.
        variant: what is to be trained; the checkpoint's must have the same configuration.
        settings: what else must be the same, as JSON text.

    Raises:
        ConfigurationError: when the variant cannot be written as text.
        CheckpointError: when there is a run but the user did not ask for it, or it is another one.
    """
    if folder is None:
        return None
    config = json.loads(json.dumps(variant.config))  # before an epoch is trained: not every function can be written
    if not (folder / "last.pt").exists():
        return None
    path = folder / "last.pt"
    if not resume:
        raise CheckpointError(
            f"folder {str(folder)!r} already holds a run; continue it with resume=True, or name another folder"
        )
    saved = read_torch(path)
    if "training" not in saved:
        raise CheckpointError(f"{str(path)!r} holds a variant but no run that could be resumed")
    if json.loads(saved["config"]) != config:
        raise CheckpointError(
            f"{str(path)!r} is a run of another variant; give fit the variant that it was started with: "
            f"{saved['config']}"
        )
    ours, theirs = json.loads(settings), json.loads(saved["training"])
    changed = [f"{k}={theirs.get(k)!r} (now {ours[k]!r})" for k in ours if ours[k] != theirs.get(k)]
    if changed:
        raise CheckpointError(f"{str(path)!r} was started with {', '.join(changed)}; resume with the same settings")
    return saved

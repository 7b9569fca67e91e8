"""A variant as a file, and as a copy of itself."""

from __future__ import annotations

import copy
import itertools
import json
import os
from typing import TYPE_CHECKING, Any

from pyro.nn import PyroModule

import pyro_vae
from pyro_vae.configured import Configured, build
from pyro_vae.errors import CheckpointError
from pyro_vae.files import read_torch, write_torch

if TYPE_CHECKING:
    from pyro_vae.variants.base import Variant

__all__ = ["Stored", "load"]

_serial = itertools.count(1)


class Stored(Configured, PyroModule):
    """The side of a variant that is kept: files and copies; :class:`pyro_vae.Variant` is built on it."""

    def __init__(self) -> None:
        super().__init__(name=self._new_name())

    @classmethod
    def _new_name(cls) -> str:
        """Pyro's parameter store tells parameters apart by name only: two variants must never share a root."""
        return f"{cls.__name__}_{next(_serial)}"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write weights and configuration (as text) to one file; :func:`pyro_vae.load` reads it.

        Raises:
            ConfigurationError: when a part cannot be described as text.
            CheckpointError: when the file cannot be written.
        """
        write_torch(path, self.to_content())

    def to_content(self) -> dict[str, Any]:
        """What a file holds of this variant: configuration as text, weights, the library's version."""
        return {
            "config": json.dumps(self.config, indent=1),
            "weights": dict(self.state_dict()),
            "version": pyro_vae.__version__,
        }

    @staticmethod
    def from_content(content: dict[str, Any], path: object = "") -> Variant:
        """The variant that :meth:`to_content` described.

        Raises:
            CheckpointError: when the weights do not fit the configuration.
            ConfigurationError: when the configuration names unknown parts.
        """
        variant = build(json.loads(content["config"]))
        if not isinstance(variant, Stored):
            raise CheckpointError(f"{str(path)!r} holds no variant")
        try:
            floating = [w for w in content["weights"].values() if w.is_floating_point()]
            variant.to(floating[0].dtype).load_state_dict(content["weights"])
        except (RuntimeError, IndexError) as error:
            raise CheckpointError(f"{str(path)!r}: its weights do not fit its configuration: {error}") from error
        return variant  # type: ignore[return-value]

    def __deepcopy__(self, memo: dict[int, Any]) -> Stored:
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        twin.__dict__.update(copy.deepcopy(self.__dict__, memo))
        twin._rename()
        return twin

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._rename()

    def _rename(self) -> None:
        """Become a root of its own."""
        context = type(self._pyro_context)()
        for module in self.modules():
            if isinstance(module, PyroModule):
                module._pyro_context = context
        self._pyro_set_supermodule(self._new_name(), context)


def load(path: str | os.PathLike[str]) -> Variant:
    """Read a variant that ``variant.save(path)`` or a training run's checkpoint wrote.

    The file's configuration is built from known classes only, and its weights are read with
    ``weights_only=True``: a file from a stranger cannot run code.

    Raises:
        CheckpointError: no such file, damaged, or something else.
        ConfigurationError: the file names parts that are not known here.
    """
    return Stored.from_content(read_torch(path), path)

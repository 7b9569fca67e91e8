"""Objects that remember how they were made, so that they can be printed, saved and made again."""

from __future__ import annotations

import copy
import functools
import inspect
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from pyro.nn import PyroModule

from pyro_vae.errors import ConfigurationError

__all__ = ["Configured", "build", "show", "to_config"]


class Configured:
    """Remembers the arguments of its constructor.

    ``config`` gives them as plain text data in the form that jsonargparse, YAML and JSON files use, and
    :func:`build` makes the same object again.  Weights are not part of it.

    Example:
        >>> from pyro_vae import priors
        >>> prior = priors.MixtureOfNormals(2, components=5)
        >>> prior
        MixtureOfNormals(2, components=5)
        >>> prior.config
        {'class_path': 'pyro_vae.priors.MixtureOfNormals', 'init_args': {'size': 2, 'components': 5}}
        >>> build(prior.config)
        MixtureOfNormals(2, components=5)
    """

    _arguments: dict[str, Any] = {}  # noqa: RUF012 (of a class without a constructor; never written to)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in vars(cls):
            cls.__init__ = _remembering(cls.__init__)  # type: ignore[method-assign]

    @property
    def config(self) -> dict[str, Any]:
        """The class and its arguments as nested dicts, lists, numbers and strings."""
        return to_config(self)

    def __repr__(self) -> str:
        parameters = list(inspect.signature(type(self).__init__).parameters.values())[1:]
        shown = []
        for position, parameter in enumerate(parameters):
            if parameter.name not in self._arguments:
                continue
            value = self._arguments[parameter.name]
            if value is parameter.default or (isinstance(value, str | float) and value == parameter.default):
                continue
            plain = position == 0 and parameter.kind is not parameter.KEYWORD_ONLY
            shown.append(show(value) if plain else f"{parameter.name}={show(value)}")
        return f"{type(self).__name__}({', '.join(shown)})"


def show(value: Any) -> str:
    """``repr``, with Pyro's objectives by their arguments instead of their address."""
    if type(value).__module__.startswith("pyro.infer"):
        arguments = _objective_config(value)["init_args"].items()
        return f"{type(value).__name__}({', '.join(f'{name}={argument!r}' for name, argument in arguments)})"
    return repr(value)


def _remembering(init: Any) -> Any:
    signature = inspect.signature(init)

    @functools.wraps(init)
    def remembering(self: Any, *args: Any, **kwargs: Any) -> None:
        # the outermost constructor is the one the user called; nn.Module is not ready for setattr yet
        if "_arguments" not in self.__dict__:
            try:
                bound = signature.bind(self, *args, **kwargs)
            except TypeError as error:
                raise TypeError(f"{type(self).__name__}: {error}; it takes {signature}") from None
            arguments = dict(list(bound.arguments.items())[1:])
            for parameter in signature.parameters.values():
                if parameter.kind is parameter.VAR_KEYWORD:
                    arguments.update(arguments.pop(parameter.name, {}))
            # as they were: the caller's own list may change later
            self.__dict__["_arguments"] = {
                name: copy.copy(value) if type(value) in (list, dict) else value for name, value in arguments.items()
            }
        init(self, *args, **kwargs)

    return remembering


def _public_path(cls: type) -> str:
    """The shortest importable name: ``pyro_vae.priors.Vamp``, not the file that defines it."""
    module, name = cls.__module__, cls.__qualname__
    parts = module.split(".")
    for length in range(1, len(parts) + 1):
        candidate = ".".join(parts[:length])
        if getattr(sys.modules.get(candidate), name, None) is cls:
            return f"{candidate}.{name}"
    return f"{module}.{name}"


def to_config(value: Any) -> Any:
    """A value as plain data; the inverse of :func:`build`.

    Raises:
        ConfigurationError: when a value (a function, say) cannot be written as text.
    """
    if isinstance(value, Configured):
        arguments = {name: to_config(argument) for name, argument in value._arguments.items()}
        return {"class_path": _public_path(type(value)), "init_args": arguments}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, torch.Tensor | np.generic):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [to_config(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): to_config(item) for key, item in value.items()}
    if isinstance(value, torch.distributions.Distribution):
        return _distribution_config(value)
    if type(value).__module__.startswith("pyro.infer"):  # one of Pyro's own objectives
        return _objective_config(value)
    mend = "write a subclass of the part with numbers and strings as arguments instead"
    if isinstance(value, PyroModule):
        mend = "write a subclass of Variant that makes it from numbers, strings and parts (docs/own_parts.md)"
    raise ConfigurationError(f"{value!r} cannot be written as text, so the object made with it cannot be saved; {mend}")


def _distribution_config(value: torch.distributions.Distribution) -> dict[str, Any]:
    cls = type(value)
    if isinstance(value, torch.distributions.Independent):
        arguments = {
            "base_distribution": to_config(value.base_dist),
            "reinterpreted_batch_ndims": value.reinterpreted_batch_ndims,
        }
        return {"class_path": "pyro.distributions.Independent", "init_args": arguments}
    constraints: Any = cls.arg_constraints
    parameters = inspect.signature(cls.__init__).parameters
    given = [name for name in vars(value) if name in constraints and name in parameters]
    # of alternatives (probs or logits) one was given, and torch may since have computed the others from it
    alternatives = [name for name in given if parameters[name].default is None]
    arguments = {name: getattr(value, name).tolist() for name in given if name not in alternatives[1:]}
    needed = {name for name, parameter in parameters.items() if parameter.default is parameter.empty} - {"self"}
    if not isinstance(constraints, Mapping) or not arguments or not needed <= set(arguments):
        raise ConfigurationError(
            f"{cls.__name__} cannot be written as text, so a part made with it cannot be saved; "
            f"write a short subclass of Prior with numbers as arguments instead"
        )
    return {"class_path": f"pyro.distributions.{cls.__name__}", "init_args": arguments}


def _objective_config(value: Any) -> dict[str, Any]:
    names = list(inspect.signature(type(value).__init__).parameters)[1:]
    default = type(value)()
    arguments = {
        name: getattr(value, name)
        for name in names
        if hasattr(value, name) and getattr(value, name) != getattr(default, name)
    }
    return {"class_path": f"pyro.infer.{type(value).__name__}", "init_args": arguments}


def build(config: Any) -> Any:
    """Make the object that a configuration describes.

    Only classes of ``pyro_vae``, Pyro's distributions and objectives, and :class:`Configured` classes of
    modules that are already imported are made: reading a file never imports or runs code that it names.

    Args:
        config: ``{"class_path": ..., "init_args": {...}}``, nested at will; anything else is returned as is.

    Raises:
        ConfigurationError: when a class is unknown or does not accept the arguments.
    """
    if isinstance(config, list):
        return [build(item) for item in config]
    if not isinstance(config, Mapping):
        return config
    if "class_path" not in config:
        return {key: build(item) for key, item in config.items()}
    cls = _find_class(config["class_path"])
    arguments = build(config.get("init_args") or {})
    if issubclass(cls, torch.distributions.Distribution):
        arguments = {k: torch.tensor(v) if isinstance(v, float | list) else v for k, v in arguments.items()}
    try:
        return cls(**arguments)
    except TypeError as error:
        raise ConfigurationError(f"{config['class_path']} does not take these arguments: {error}") from error


def _find_class(path: str) -> type:
    module_name, _, name = str(path).rpartition(".")
    module = sys.modules.get(module_name)
    if module is None and module_name.split(".")[0] == "pyro_vae":
        raise ConfigurationError(f"there is no {path!r}: this version of pyro_vae has no module {module_name}")
    if module is None:
        raise ConfigurationError(
            f"{path!r} lies in a module that is not imported; import {module_name or path} first, then try again"
        )
    cls = getattr(module, name, None)
    if not isinstance(cls, type):
        hint = " (define it in a module of its own, and import that before loading)" * (module_name == "__main__")
        raise ConfigurationError(f"there is no class {name!r} in {module_name}{hint}")
    trusted = Configured, torch.distributions.Distribution
    if not (issubclass(cls, trusted) or cls.__module__.startswith("pyro.infer")):
        raise ConfigurationError(f"{path!r} is no part, variant, objective or distribution")
    return cls

"""The contexts that a variant's programs are run in when they are not trained."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pyro
import torch

from pyro_vae.errors import ConfigurationError
from pyro_vae.parts import in_evaluation

__all__ = ["drawing", "evaluating"]


@contextlib.contextmanager
def evaluating(variant: torch.nn.Module) -> Iterator[None]:
    """A context in which a variant is in evaluation mode (dropout off, batch norm fixed).

    Running a program registers its parameters in Pyro's store; what is only evaluated leaves none there.
    """
    with pyro.get_param_store().scope(), in_evaluation(variant):
        yield


@contextlib.contextmanager
def drawing() -> Iterator[None]:
    """A context in which a prior that cannot be drawn from is an error that says so.

    Raises:
        ConfigurationError: when what is drawn inside has no draws.
    """
    try:
        yield
    except NotImplementedError as error:
        reason = str(error) or "the prior cannot be drawn from"
        raise ConfigurationError(reason.splitlines()[0]) from None

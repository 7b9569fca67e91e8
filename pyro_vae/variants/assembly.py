"""What constructors of variants share: checking what they were given, and putting parts together or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from pyro_vae.errors import ConfigurationError
from pyro_vae.networks import MLP, Network
from pyro_vae.parts import Part, check_distribution, in_evaluation
from pyro_vae.posteriors import Normal, Posterior

__all__ = ["assembling", "check_kinds", "check_part", "chosen"]


def chosen(
    posterior: Posterior | None, encoder: Network | None, decoder: Network | None
) -> tuple[Posterior, Network, Network]:
    """What the user gave, or the defaults: a diagonal normal, ``MLP([128])``, and the encoder mirrored.

    Raises:
        ConfigurationError: naming what is of the wrong kind.
    """
    posterior = Normal() if posterior is None else posterior
    encoder = MLP() if encoder is None else encoder
    check_kinds(posterior=(posterior, Posterior), encoder=(encoder, Network))
    decoder = encoder.mirrored() if decoder is None else decoder
    check_kinds(decoder=(decoder, Network))
    return posterior, encoder, decoder


def check_kinds(**given: tuple[object, type]) -> None:
    """Check that each argument is of its kind.

    Raises:
        ConfigurationError: naming the argument that is not.
    """
    for what, (value, kind) in given.items():
        if not isinstance(value, kind):
            raise ConfigurationError(f"{what} must be a {kind.__name__}, got {value!r}")


@contextlib.contextmanager
def assembling(*parts: Any) -> Iterator[None]:
    """A context in which parts become those of a variant; if that fails they are as free as they were.

    Raises:
        ConfigurationError: when one belongs to a variant already.
    """
    for part in parts:
        part.check_free()  # of all, before any is taken: one that belongs elsewhere must not be released here
    try:
        yield
    except Exception:
        for part in parts:
            part.release()
        raise


@torch.no_grad()
def check_part(what: str, part: Part, event: tuple[int, ...], *inputs: Tensor) -> None:
    """Ask a part once for its distribution, so that one that is wrong is named where it was given.

    Args:
        what: the argument that it was given as.
        part: to be asked.
        event: event shape that its distribution must have.
        inputs: two of each, (2, \\*shape).

    Raises:
        ConfigurationError: when the distribution has other shapes.
    """
    with in_evaluation(part):
        check_distribution(f"{what} {part!r}", part(*inputs), event, (2,) if inputs else ())

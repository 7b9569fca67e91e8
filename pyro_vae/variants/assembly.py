"""What constructors of variants share: checking what they were given, and putting parts together or not at all."""

from __future__ import annotations

import contextlib
import math
import traceback
from collections.abc import Iterator
from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.distributions import constraints

from pyro_vae import labels, likelihoods, networks, objectives, posteriors, priors
from pyro_vae.errors import ConfigurationError, nearest
from pyro_vae.labels import Label
from pyro_vae.networks import MLP, Network
from pyro_vae.parts import Part, check_distribution, in_evaluation, support_of
from pyro_vae.posteriors import Normal, Posterior

__all__ = ["as_meant", "assembling", "check_kinds", "check_part", "check_proposes", "chosen"]


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
            raise ConfigurationError(f"{what} must be a {kind.__name__}, got {value!r}{as_meant(value, kind)}")


def as_meant(value: object, kind: type) -> str:
    """How to write what was probably meant by a value that is not of its kind; empty where that cannot be seen."""
    known = {
        name: f"{folder.__name__.rpartition('.')[-1]}.{name}"
        for folder in (priors, likelihoods, posteriors, networks, labels, objectives)
        for name, member in vars(folder).items()
        if isinstance(member, type) and issubclass(member, kind) and name in folder.__all__
        if member is not kind or not kind.__subclasses__()  # what the others are made of is not meant
    }
    if isinstance(value, type) and issubclass(value, kind):
        return f"; that is the class, make one of it: {known.get(value.__name__, value.__name__)}(...)"
    if isinstance(value, str) and known:
        close = nearest(value, known)
        return f"; give an object, not a name: {', '.join(known.values()) if close is None else known[close] + '(...)'}"
    if isinstance(value, torch.distributions.Distribution) and issubclass(kind, priors.Prior):
        return f"; as a prior that is not trained: priors.Fixed({type(value).__name__}(...))"
    if isinstance(value, list | tuple) and issubclass(kind, Network):
        return f"; for a perceptron with these hidden layers: networks.MLP({list(value)})"
    if isinstance(value, int) and issubclass(kind, Label):
        ways = {"Categorical": f"{value} classes", "Normal": f"{value} real properties"}
        return "; " + ", ".join(f"for {ways[name]} labels.{name}({value})" for name in ways if name in known)
    if isinstance(value, nn.Module) and issubclass(kind, Network):
        return (
            "; a Network makes its layers when it is told the shapes, such as networks.MLP([128]); for a torch module "
            "of your own write one whose build returns it: docs/own_parts.md"
        )
    return ""


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
def check_part(what: str, part: Part, event: tuple[int, ...], *inputs: Tensor) -> TorchDistribution:
    """Ask a part once for its distribution, so that one that is wrong is named where it was given.

    Args:
        what: the argument that it was given as.
        part: to be asked.
        event: event shape that its distribution must have.
        inputs: two of each, (2, \\*shape).

    Returns:
        The distribution.

    Raises:
        ConfigurationError: when the distribution has other shapes, or cannot be made.
    """
    try:
        with in_evaluation(part):
            made = part(*inputs)
    except ConfigurationError:
        raise
    except Exception as error:
        given = f", given {' and '.join(str(tuple(value.shape)) for value in inputs)}," if inputs else ""
        why = f"{type(error).__name__}: {error}"
        if isinstance(error, NotImplementedError) and not str(error):
            why = f"{type(part).__name__} lacks a method {traceback.extract_tb(error.__traceback__)[-1].name}"
        raise ConfigurationError(f"{what} {part!r}{given} made no distribution: {why}") from error
    check_distribution(f"{what} {part!r}", made, event, (2,) if inputs else ())
    return made


_WORDS = {
    type(constraints.real): "real numbers",
    type(constraints.boolean): "bits, 0 or 1",
    type(constraints.one_hot): "one-hot vectors",
}
_POSTERIORS = {
    type(constraints.real): "posteriors.Normal()",
    type(constraints.boolean): "posteriors.Bernoulli()",
    type(constraints.one_hot): "posteriors.Categorical()",
}


def _within(inner: constraints.Constraint, outer: constraints.Constraint) -> bool:
    """Whether one set lies in another, as far as intervals and sets of the same kind go."""
    if type(inner) is type(outer):
        return True
    if inner.is_discrete or outer.is_discrete:
        return False
    (low, high), (lowest, highest) = (
        (float(getattr(each, "lower_bound", -math.inf)), float(getattr(each, "upper_bound", math.inf)))
        for each in (inner, outer)
    )
    bounded = isinstance(outer, type(constraints.real)) or (lowest, highest) != (-math.inf, math.inf)
    return bounded and lowest <= low and high <= highest


def check_proposes(posterior: Part, q: TorchDistribution, prior: Part, p: TorchDistribution) -> None:
    """Check that the values which a posterior proposes are such as the prior has.

    Where they are not, log p(z) is of values that p never has, and a bound made with it bounds nothing.

    Args:
        posterior: the part.
        q: its distribution.
        prior: the part.
        p: its distribution.

    Raises:
        ConfigurationError: when they are of another kind.
    """
    wanted, got = support_of(p), support_of(q)
    if wanted is None or got is None or _within(got, wanted):
        return
    named = [_WORDS.get(type(support), f"values in {support}") for support in (got, wanted)]
    remedy = _POSTERIORS.get(type(wanted), "a posterior over the same values")
    raise ConfigurationError(
        f"posterior {posterior!r} proposes {named[0]}, and the codes of prior {prior!r} are {named[1]}; use {remedy}"
    )

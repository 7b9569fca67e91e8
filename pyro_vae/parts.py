"""What priors, likelihoods and posteriors have in common: a module whose ``forward`` returns a distribution."""

from __future__ import annotations

import contextlib
import copy
import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Self

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.distributions import constraints

from pyro_vae.configured import Configured
from pyro_vae.errors import ConfigurationError, check_positive

if TYPE_CHECKING:
    from pyro_vae.networks import Network

__all__ = [
    "Conditional",
    "Owned",
    "Part",
    "Shape",
    "as_shape",
    "check_distribution",
    "in_evaluation",
    "numel",
    "positive",
    "positive_inverse",
    "support_of",
]

Shape = tuple[int, ...]


def as_shape(shape: int | Iterable[int], what: str = "shape") -> Shape:
    """A size or sizes as a tuple of positive integers.

    Example:
        >>> as_shape(5), as_shape([1, 8, 8])
        ((5,), (1, 8, 8))
    """
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    return tuple(check_positive(f"every size in {what} {tuple(sizes)}", size) for size in sizes)


def numel(shape: Shape) -> int:
    """The number of elements of a shape."""
    return math.prod(shape)


_UNIT_SOFTPLUS = math.log(math.e - 1)


def positive(raw: Tensor) -> Tensor:
    """A scale from an unconstrained number: softplus, shifted so that 0 gives 1.

    Unlike ``exp`` it cannot overflow and grows linearly, which keeps the first steps of training tame.
    """
    return nn.functional.softplus(raw + _UNIT_SOFTPLUS) + 1e-6


def positive_inverse(scale: Tensor) -> Tensor:
    """The unconstrained number that :func:`positive` makes ``scale`` of.

    Example:
        >>> positive_inverse(positive(torch.tensor([-1.0, 2.0])))
        tensor([-1.,  2.])
    """
    # log(e^s - 1), written so that a large s does not overflow
    scale = scale - 1e-6
    return scale + torch.log(-torch.expm1(-scale)) - _UNIT_SOFTPLUS


@contextlib.contextmanager
def in_evaluation(*modules: nn.Module) -> Iterator[None]:
    """Evaluation mode (dropout off, batch norm fixed) for modules and all below them; each gets its own mode back."""
    modes = {below: below.training for module in modules for below in module.modules()}
    for module in modes:
        module.training = False
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def check_distribution(what: str, made: object, event: Shape, batch: Shape) -> None:
    """Check that a part returned a distribution of the given shapes.

    A part of the user's own may forget ``to_event``; a batch shape that is wrong but broadcasts would then train on
    wrong numbers without a word.

    Raises:
        ConfigurationError: when it did not.
    """
    if not isinstance(made, torch.distributions.Distribution):
        raise ConfigurationError(f"{what}: forward must return a distribution, got a {type(made).__name__}")
    got = tuple(made.batch_shape), tuple(made.event_shape)
    if got != (batch, event):
        hint = ""
        if got[0] == (*batch, *event) and not got[1]:
            hint = f"; end it with .to_event({len(event)})"
        elif got[0][:1] == batch and len(got[0]) + len(got[1]) > len(batch) + len(event):
            hint = "; a network's output (*batch, n, *shape) is split into its n parameters by self.split(parameters)"
        raise ConfigurationError(
            f"{what}: wanted a distribution with batch shape {batch} and event shape {event}, got batch shape "
            f"{got[0]} and event shape {got[1]}{hint}"
        )


def support_of(distribution: torch.distributions.Distribution) -> constraints.Constraint | None:
    """The set that each element of a value lies in, or ``None`` where the distribution does not say.

    Example:
        >>> import pyro.distributions as dist
        >>> support_of(dist.Normal(0.0, 1.0).expand([5]).to_event(1))
        Real()
    """
    support: Any
    try:
        support = distribution.support
    except NotImplementedError:
        return None
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    return support


@torch.no_grad()
def _check_network(what: str, built: object, inputs: tuple[Shape, ...], output: Shape) -> None:
    """Run a network once on zeros: one of the user's own may return something else than it was asked for.

    Raises:
        ConfigurationError: when it does, or cannot be run.
    """
    if not isinstance(built, nn.Module):
        raise ConfigurationError(f"{what}: build must return a torch.nn.Module, got a {type(built).__name__}")
    # any batch shapes must do, and be broadcast: particles and enumeration put dimensions in front of some inputs
    zeros = [torch.zeros(*((3,) if place else (2, 1)), *shape) for place, shape in enumerate(inputs)]
    batch = (2, 3) if len(inputs) > 1 else (2, 1)
    asked = f"{what} is to map {' and '.join(map(str, inputs))} to {output}, with any batch shapes in front"
    given = f"given {' and '.join(str(tuple(zero.shape)) for zero in zeros)}"
    try:
        with in_evaluation(built):
            made = built(*zeros)
    except Exception as error:
        raise ConfigurationError(f"{asked}; {given} it failed: {error}") from error
    got = tuple(made.shape) if isinstance(made, Tensor) else type(made).__name__
    if got != (*batch, *output):
        raise ConfigurationError(f"{asked}; {given} it must return {(*batch, *output)}, got {got}")


class Part(Configured, nn.Module):
    """A module whose ``forward`` returns a distribution.

    Everything that needs the distribution (the ELBO, the sampler, estimators, plots, the printed story) calls
    this same object, so that a swapped part changes all of them together.

    A subclass says how it reads in the story through :meth:`words` and :meth:`latex`.
    """

    has_density = True
    """Whether the distribution has a density that log p(x) can be computed from."""

    def forward(self, *inputs: Tensor) -> TorchDistribution:
        """The distribution given ``inputs``."""
        raise NotImplementedError

    def words(self) -> str:
        """The family, as the story tells it: ``"a standard normal in 8 dimensions"``."""
        return repr(self)

    def latex(self) -> str:
        """The family as a formula, without the variable: ``\\mathcal{N}(0, I)``."""
        return rf"\mathrm{{{type(self).__name__}}}"

    def initialise(self, x: Tensor) -> None:
        """Choose starting values that fit the training data ``x`` (N, \\*shape); by default none."""

    def __repr__(self) -> str:
        return Configured.__repr__(self)


class Owned(Part):
    """A part that becomes one variant's, and that may keep something of it."""

    def __init__(self) -> None:
        super().__init__()
        self._taken = False

    @property
    def keeps(self) -> str:
        """What it keeps of its variant, so that it cannot serve another; ``""`` for nothing."""
        return "weights" if any(True for _ in self.parameters()) else ""

    def own(self) -> Self:
        """This part, or where another variant has it already and nothing of that is kept, one like it.

        A variant that is moved to another device or precision must not take the numbers of another along.
        """
        if not self._taken or self.keeps:
            return self
        twin = copy.deepcopy(self)
        twin.release()
        return twin

    def take(self) -> None:
        """Become a variant's.

        Raises:
            ConfigurationError: when it is another's already and keeps something of it.
        """
        self.check_free()
        self._taken = True

    def check_free(self) -> None:
        """Check that the part belongs to no variant yet, or keeps nothing of it.

        Raises:
            ConfigurationError: when it does.
        """
        if self._taken and self.keeps:
            raise ConfigurationError(
                f"this {self!r} already belongs to a variant and holds its {self.keeps}; make a new one for another"
            )

    def release(self) -> None:
        """Belong to no variant again."""
        self._taken = False


class Conditional(Owned):
    """A conditional distribution p(v | inputs) whose parameters a network computes.

    The network is made by :meth:`connect`, from a specification and the shapes on both sides; no user ever
    counts them.
    """

    shape: Shape | None = None
    """Event shape of v."""

    def __init__(self) -> None:
        super().__init__()
        self.network: nn.Module | None = None
        self._prepare: tuple[Callable[[Tensor], Tensor] | None, ...] = ()

    def parameter_shape(self, shape: Shape) -> Shape:
        """Shape of the network's output for one v of event shape ``shape``."""
        raise NotImplementedError

    def distribution(self, parameters: Tensor) -> TorchDistribution:
        """The distribution with ``parameters`` (\\*batch, \\*parameter_shape)."""
        raise NotImplementedError

    def connect(
        self,
        network: Network,
        *inputs: Shape,
        shape: Shape | None = None,
        prepare: Iterable[Callable[[Tensor], Tensor] | None] = (),
    ) -> None:
        """Build the network from inputs of the given shapes to this distribution's parameters.

        Args:
            network: the specification.
            inputs: event shapes of what is conditioned on.
            shape: event shape of v, where the part does not know it by itself.
            prepare: for each input what is applied to it before the network sees it, or ``None``.

        Raises:
            ConfigurationError: when the part already belongs to a variant (it holds that one's weights), or it or the
                network has an output of another shape than it should.
        """
        self.take()
        self.shape = shape if shape is not None else self.shape
        assert self.shape is not None
        wanted = self.parameter_shape(self.shape)
        if not isinstance(wanted, tuple) or not all(isinstance(size, int) and size > 0 for size in wanted):
            raise ConfigurationError(
                f"{self!r}: parameter_shape({self.shape}) must return a tuple of sizes, got {wanted!r}; for n "
                f"parameters of each element of the shape return (n, *shape)"
            )
        built = network.build(*inputs, output=wanted)
        _check_network(f"network {network!r} of {self!r}", built, inputs, wanted)
        self.network = built
        self._prepare = (None, *list(prepare)[1:]) if network.prepares else tuple(prepare)

    def prepared(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """What the network sees of the inputs."""
        pairs = itertools.zip_longest(inputs, self._prepare)
        return tuple([x if prepare is None else prepare(x) for x, prepare in pairs])

    def split(self, parameters: Tensor) -> tuple[Tensor, ...]:
        """The parameters (\\*batch, n, \\*shape) as n tensors (\\*batch, \\*shape)."""
        assert self.shape is not None
        return parameters.unbind(-1 - len(self.shape))

    @property
    def keeps(self) -> str:
        return "weights" if self.network is not None else ""

    def release(self) -> None:
        super().release()
        self.network = None

    def forward(self, *inputs: Tensor) -> TorchDistribution:
        """p(v | inputs), each input of shape (\\*batch, \\*event)."""
        if self.network is None:
            raise ConfigurationError(
                f"{self!r} has no network yet: give it to a variant, or call its connect(network, *input_shapes)"
            )
        parameters = self.network(*self.prepared(*inputs))
        if parameters.dtype in (torch.bfloat16, torch.float16):
            # densities are computed in full precision even where autocast ran the network in half
            parameters = parameters.float()
        return self.distribution(parameters)

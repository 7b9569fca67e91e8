"""What every variant answers: the one interface that training, evaluation, story and plots work on."""

from __future__ import annotations

import contextlib
import copy
import itertools
import json
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyro
import torch
from pyro import poutine
from pyro.distributions import TorchDistribution
from pyro.infer.elbo import ELBO as PyroELBO
from pyro.nn import PyroModule
from torch import Tensor

import pyro_vae
from pyro_vae.configured import Configured, build, show
from pyro_vae.data import as_split
from pyro_vae.errors import CheckpointError, ConfigurationError, DataError, check_positive
from pyro_vae.files import read_torch, write_torch
from pyro_vae.likelihoods import Likelihood
from pyro_vae.objectives import ELBO, Schedule
from pyro_vae.objectives.schedules import as_schedule
from pyro_vae.parts import Part, in_evaluation
from pyro_vae.program import Program

__all__ = ["Variant", "load"]

_serial = itertools.count(1)


class Variant(Configured, PyroModule):
    """A model and a guide, with the objective that trains them.

    ``model`` and ``guide`` are Pyro programs and work with everything in Pyro: ``SVI(v.model, v.guide, ...)``,
    ``Trace_ELBO()(v.model, v.guide)``, ``Predictive``, NUTS.

    Args:
        model: p(x, z), a program that observes ``x`` (B, \\*shape) or draws ``size`` new data.
        guide: q(z | x), a program with the same arguments.
        beta: weight of the KL, a number or a schedule over epochs.  Without :func:`pyro_vae.fit`, which moves it
            along, a schedule stands at its final value; :meth:`anneal` sets it.
        objective: one of Pyro's or of :mod:`pyro_vae.objectives`; :class:`pyro_vae.objectives.ELBO` if not given.
        latents: names of the sites whose KL ``beta`` weighs.
    """

    def __init__(
        self,
        model: Program,
        guide: Program,
        *,
        beta: float | Schedule = 1.0,
        objective: PyroELBO | None = None,
        latents: tuple[str, ...] = ("z",),
    ) -> None:
        if objective is not None and not isinstance(objective, PyroELBO):
            raise ConfigurationError(
                f"objective must be one of Pyro's or of pyro_vae.objectives, such as ELBO(free_bits=0.5), "
                f"got {objective!r}"
            )
        # Pyro's parameter store tells parameters apart by name only: two variants must never share a root
        super().__init__(name=f"{type(self).__name__}_{next(_serial)}")
        self.model = model
        self.guide = guide
        self.objective = ELBO() if objective is None else objective
        self.beta = as_schedule(beta, "beta")
        self.latents = latents
        self.anneal(float("inf"))
        self.register_buffer("initialised", torch.zeros((), dtype=torch.bool))

    # -- what it is made of

    @property
    def likelihood(self) -> Likelihood:
        """p(x | z)."""
        return self.model.likelihood  # type: ignore[return-value]

    @property
    def shape(self) -> tuple[int, ...]:
        """Event shape of one datum x."""
        return self.likelihood.shape

    @property
    def latent_size(self) -> int:
        """Number of latent dimensions."""
        return self.model.prior.size  # type: ignore[union-attr, return-value]

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Floating point type of the weights."""
        return next(self.parameters()).dtype

    def __repr__(self) -> str:
        lines = [f"  {name}={show(value)}," for name, value in self._arguments.items() if value is not None]
        counts = [sum(p.numel() for p in program.parameters()) for program in (self.model, self.guide)]
        lines.append(f"  # {counts[0]:,} parameters in the model, {counts[1]:,} in the guide")
        return "\n".join([f"{type(self).__name__}(", *lines, ")"])

    # -- what it does

    def generate(self, n: int = 1, y: Tensor | None = None, *, mean: bool = True) -> Tensor:
        """New data (n, \\*shape) from the story: codes from the prior, data from the likelihood.

        Args:
            n: how many.
            y: labels to generate for, in variants whose story has them.
            mean: give E[x | z] of each drawn code (a clean image); with ``False`` draw x itself too.

        Raises:
            DataError: for ``y`` in a variant without labels.
            ConfigurationError: when the prior cannot be drawn from, or n is below 1.
        """
        if y is not None:
            raise DataError(f"{type(self).__name__} has no labels in its story; call generate(n) without y")
        check_positive("n, the number of data to generate,", n)
        try:
            with torch.no_grad(), evaluating(self):
                trace = poutine.trace(self.model).get_trace(size=n)
        except NotImplementedError as error:
            raise ConfigurationError(error.args[0].splitlines()[0]) from None
        site: Any = trace.nodes["x"]
        return site["fn"].mean if mean else site["value"]

    def encode(self, x: Any) -> TorchDistribution:
        """q(z | x) for data (N, \\*shape), a distribution: take its ``mean``, or ``sample()`` it.

        Raises:
            DataError: when the data do not fit.
        """
        x = self.as_data(x)
        with torch.no_grad(), evaluating(self):
            site: Any = poutine.trace(self.guide).get_trace(x).nodes["z"]
        return site["fn"]

    def decode(self, z: Any) -> TorchDistribution:
        """p(x | z) for codes (\\*batch, D), a distribution.

        Raises:
            DataError: when the codes do not have D dimensions.
        """
        z = torch.as_tensor(z, device=self.device).to(self.dtype)
        if not z.dim() or z.shape[-1] != self.latent_size:
            raise DataError(f"z: codes of shape {tuple(z.shape)}, wanted (..., {self.latent_size})")
        with torch.no_grad(), evaluating(self):
            return self.likelihood(z)

    def reconstruct(self, x: Any, *, mean: bool = True) -> Tensor:
        """Data (N, \\*shape) passed through code and back.

        Args:
            x: data (N, \\*shape).
            mean: E[x | z] at the mean of q(z | x) (one draw of z where the mean has no closed form); with
                ``False`` draw both z and x.

        Raises:
            DataError: when the data do not fit.
        """
        likelihood = self.decode(representative(self.encode(x)) if mean else self.encode(x).sample())
        return likelihood.mean if mean else likelihood.sample()

    # -- data in

    def as_data(self, x: Any) -> Tensor:
        """Check data and bring them to the weights' device and precision.

        Raises:
            DataError: wrong type, shape, dtype, NaN, or values outside the likelihood's support.
        """
        if isinstance(x, np.ndarray):
            x = torch.from_numpy(x)
        if hasattr(x, "train") and hasattr(x, "test"):
            raise DataError("x: this is a whole data set; give one of its splits: .train, .valid or .test")
        if not isinstance(x, Tensor):
            try:
                x = as_split(x).x
            except (ValueError, TypeError) as error:
                raise DataError(f"x: {error}") from error
        if x.dim() and not len(x):
            raise DataError(f"x: there are no data (shape {tuple(x.shape)})")
        self.likelihood.check(x)
        return x.to(self.device, self.dtype if x.is_floating_point() else None)

    def program_arguments(self, x: Tensor) -> tuple[Any, ...]:
        """The arguments of model and guide for a batch of data."""
        return (x,)

    def initialise(self, x: Tensor) -> None:
        """Let every part choose starting values that fit the data (N, \\*shape); done once, by ``fit``."""
        for module in self.modules():
            if isinstance(module, Part):
                module.initialise(x)
        self.initialised.fill_(True)

    def anneal(self, epoch: float) -> float:
        """Set the weight of the KL to what its schedule says for ``epoch``; returns it."""
        weight = self.beta(epoch)
        for program in (self.model, self.guide):
            program.weights = dict.fromkeys(self.latents, weight)
        return weight

    # -- files

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
        if not isinstance(variant, Variant):
            raise CheckpointError(f"{str(path)!r} holds no variant")
        try:
            floating = [w for w in content["weights"].values() if w.is_floating_point()]
            variant.to(floating[0].dtype).load_state_dict(content["weights"])
        except (RuntimeError, IndexError) as error:
            raise CheckpointError(f"{str(path)!r}: its weights do not fit its configuration: {error}") from error
        return variant

    def __deepcopy__(self, memo: dict[int, Any]) -> Variant:
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        twin.__dict__.update(copy.deepcopy(self.__dict__, memo))
        # a new root name, for the reason given in the constructor
        name = f"{type(self).__name__}_{next(_serial)}"
        context = type(self._pyro_context)()
        for module in twin.modules():
            if isinstance(module, PyroModule):
                module._pyro_context = context
        twin._pyro_set_supermodule(name, context)
        return twin


@contextlib.contextmanager
def evaluating(variant: torch.nn.Module) -> Iterator[None]:
    """A context in which a variant is in evaluation mode (dropout off, batch norm fixed).

    Running a program registers its parameters in Pyro's store; what is only evaluated leaves none there.
    """
    with pyro.get_param_store().scope(), in_evaluation(variant):
        yield


def representative(distribution: TorchDistribution) -> Tensor:
    """The mean, or a draw where it has no closed form."""
    try:
        return distribution.mean
    except (NotImplementedError, AttributeError):
        return distribution.sample()


def load(path: str | os.PathLike[str]) -> Variant:
    """Read a variant that ``variant.save(path)`` or a training run's checkpoint wrote.

    The file's configuration is built from known classes only, and its weights are read with
    ``weights_only=True``: a file from a stranger cannot run code.

    Raises:
        CheckpointError: no such file, damaged, or something else.
        ConfigurationError: the file names parts that are not known here.
    """
    return Variant.from_content(read_torch(path), path)

"""What every variant answers: the one interface that training, evaluation, story and plots work on."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pyro import poutine
from pyro.infer.elbo import ELBO as PyroELBO
from torch import Tensor

from pyro_vae.configured import show
from pyro_vae.errors import ConfigurationError, check_choice
from pyro_vae.labels import Label
from pyro_vae.likelihoods import Likelihood
from pyro_vae.objectives import ELBO, Compiled, Schedule
from pyro_vae.objectives.schedules import as_schedule
from pyro_vae.program import Program, sample_sites, without_group
from pyro_vae.randomness import seeded
from pyro_vae.variants.assembly import as_meant
from pyro_vae.variants.codes import Codes
from pyro_vae.variants.contexts import evaluating

__all__ = ["Variant"]


class Variant(Codes):
    """A model and a guide, with the objective that trains them.

    ``model`` and ``guide`` are Pyro programs and work with everything in Pyro: ``SVI(v.model, v.guide, ...)``,
    ``Trace_ELBO()(v.model, v.guide)``, ``Predictive``, NUTS.

    A subclass says what it does with labels: ``labels`` is ``"none"`` where its story has none, ``"all"`` where every
    datum needs one, ``"some"`` where labels may be missing.  Data are x (N, \\*shape) and y (N, \\*label.shape), with
    -1 or NaN for a label that is missing.

    Args:
        model: p(x, z), a program that observes ``x`` (B, \\*shape) or draws ``size`` new data from its ``likelihood``.
        guide: q(z | x), a program with the same arguments.
        beta: weight of the KL, a number or a schedule over epochs.  Without :func:`pyro_vae.fit`, which moves it
            along, a schedule stands at its final value; :meth:`anneal` sets it.
        objective: one of Pyro's or of :mod:`pyro_vae.objectives`; :class:`pyro_vae.objectives.ELBO` if not given.
        latents: names of the sites whose KL ``beta`` weighs.
        label: what y is, in variants that have one.
        weights: of other sites by name, numbers or schedules over epochs.
    """

    explains_data = True
    """Whether x has a story; where it has none it is given, and y is what the likelihood explains."""

    letters: ClassVar[Mapping[str, str]] = {}
    """What formulas call the weights of sites, LaTeX by the site's name."""

    def __init__(
        self,
        model: Program,
        guide: Program,
        *,
        beta: float | Schedule = 1.0,
        objective: PyroELBO | None = None,
        latents: tuple[str, ...] = ("z",),
        label: Label | None = None,
        weights: Mapping[str, float | Schedule] | None = None,
    ) -> None:
        objective = ELBO() if objective is None else _checked(objective)
        super().__init__()
        self.model = model
        self.guide = guide
        self.beta = as_schedule(beta, "beta")
        self.latents = latents
        self.label = label
        self.schedules: dict[str, Schedule] = {}
        self._weigh(weights or {})
        self.register_buffer("initialised", torch.zeros((), dtype=torch.bool))
        self._objective = objective
        self._connect_objective()

    @property
    def objective(self) -> PyroELBO:
        """What trains the programs; another one can be put in its place, and is saved with the variant."""
        return self._objective

    @objective.setter
    def objective(self, objective: PyroELBO) -> None:
        before, self._objective = self._objective, _checked(objective)
        try:
            self._connect_objective()
        except ConfigurationError:
            self._objective = before
            raise
        if "objective" in inspect.signature(type(self).__init__).parameters:
            self._arguments["objective"] = objective.objective if isinstance(objective, Compiled) else objective

    def _connect_objective(self) -> None:
        """Keep what the objective trains or remembers beside the programs, such as a baseline of its gradients."""
        auxiliary = getattr(self._objective, "auxiliary", None)
        if auxiliary is not None and auxiliary is getattr(self, "auxiliary", None):
            return  # the same in another form, such as compiled
        connect = getattr(self._objective, "connect", None)  # Pyro's own have none
        made: torch.nn.Module | None = None
        if connect is not None and hasattr(self.model, "likelihood"):  # programs of the user's own need not have one
            made = connect(self.shape, self.likelihood.as_input if self.explains_data else None)
        self.auxiliary = None if made is None else made.to(self.device, self.dtype)

    # -- what it is made of

    @property
    def likelihood(self) -> Likelihood:
        """p(x | z).

        Raises:
            ConfigurationError: in a variant of one's own whose model has no such part.
        """
        for name, program in (("model", self.model), ("guide", self.guide)):
            if not isinstance(program, Program):
                raise ConfigurationError(
                    f"the {name} of {type(self).__name__} must be a pyro_vae.program.Program, which is a PyroModule "
                    f"whose sites can be weighed, got {type(program).__name__}"
                )
        found = getattr(self.model, "likelihood", None)
        if not isinstance(found, Likelihood):
            raise ConfigurationError(
                f"{type(self.model).__name__}, the model of {type(self).__name__}, needs an attribute likelihood, a "
                f"part of pyro_vae.likelihoods that it draws x from: it says what shape data have and checks them "
                f"(docs/own_parts.md). Without it, train by Pyro's SVI(model, guide, optim, loss=objectives.ELBO())"
            )
        return found

    def __repr__(self) -> str:
        lines = [f"  {name}={show(value)}," for name, value in self._arguments.items() if value is not None]
        counts = [sum(p.numel() for p in program.parameters()) for program in (self.model, self.guide)]
        lines.append(f"  # {counts[0]:,} parameters in the model, {counts[1]:,} in the guide")
        return "\n".join([f"{type(self).__name__}(", *lines, ")"])

    # -- training

    transforms_labels = False
    """Whether the ``transform`` of ``fit`` is applied to labels too: where they are of the same kind as the data."""

    warmup = 0
    """Steps over which ``fit`` raises the learning rate from zero, where it is not told otherwise."""

    finishes = False
    """Whether :meth:`finish` does anything."""

    def finish(self, x: Tensor, y: Tensor | None) -> None:
        """What is left to do after the last epoch of ``fit``, such as a second stage; by default nothing."""

    def check_finish(self, y: Tensor | None) -> None:
        """Check, before training, that labels ``y`` are such as :meth:`finish` needs; by default nothing.

        Raises:
            DataError: when they are not.
        """

    def unfinish(self) -> None:
        """Undo :meth:`finish`, because training goes on; by default nothing."""

    def epilogue(self) -> str:
        """What :meth:`finish` does, as the story tells it; by default nothing."""
        return ""

    def weigh(self, **weights: float | Schedule) -> None:
        """Set the weights of sites other than those that beta weighs, numbers or schedules over epochs.

        Raises:
            ConfigurationError: for what is no site of the programs, or weighed by beta.
        """
        for site in weights:
            if site in self.latents:
                raise ConfigurationError(f"weigh: beta is the weight of site {site!r}, given when the variant is made")
        if hasattr(self.model, "likelihood"):  # else it is not known what to run the programs on
            known = self._sites()
            for site in weights:
                check_choice("site", site, known)
        self._weigh(weights)

    def _sites(self) -> list[str]:
        """The names of all sites of the programs."""
        with torch.no_grad(), evaluating(self), seeded(0, self.device):
            traces = [
                poutine.trace(program).get_trace(*arguments)
                for arguments in self.examples(2).values()
                for program in (self.model, self.guide)
            ]
        return list(dict.fromkeys(without_group(site["name"]) for trace in traces for site in sample_sites(trace)))

    def _weigh(self, weights: Mapping[str, float | Schedule]) -> None:
        self.schedules |= {site: as_schedule(weight, site) for site, weight in weights.items()}
        self.anneal(float("inf"))

    def anneal(self, epoch: float, epochs: float = 1.0) -> float:
        """Set the weights of all sites to what their schedules say for ``epoch``; returns beta.

        Args:
            epoch: time since the start of training.
            epochs: of the whole training, for schedules that stretch with it.
        """
        beta = self.beta.over(epochs)(epoch)
        weights = dict.fromkeys(self.latents, beta)
        weights |= {site: schedule.over(epochs)(epoch) for site, schedule in self.schedules.items()}
        for program in (self.model, self.guide):
            program.weights = dict(weights)
        return beta


def _checked(objective: Any) -> PyroELBO:
    """The objective, if it is one.

    Raises:
        ConfigurationError: when it is not.
    """
    if not isinstance(objective, PyroELBO):
        raise ConfigurationError(
            f"objective must be one of Pyro's or of pyro_vae.objectives, such as ELBO(free_bits=0.5), "
            f"got {objective!r}{as_meant(objective, PyroELBO)}"
        )
    return objective

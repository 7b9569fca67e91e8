"""What every variant answers: the one interface that training, evaluation, story and plots work on."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import pyro
import torch
from pyro import poutine
from pyro.distributions import TorchDistribution
from pyro.infer.elbo import ELBO as PyroELBO
from torch import Tensor

from pyro_vae.configured import show
from pyro_vae.errors import ConfigurationError, DataError, check_positive
from pyro_vae.labels import Label
from pyro_vae.likelihoods import Likelihood
from pyro_vae.objectives import ELBO, Schedule
from pyro_vae.objectives.schedules import as_schedule
from pyro_vae.parts import Shape, in_evaluation, support_of
from pyro_vae.posteriors import Posterior
from pyro_vae.program import Program, labelled
from pyro_vae.randomness import seeded
from pyro_vae.variants.assembly import as_meant
from pyro_vae.variants.inputs import Inputs

__all__ = ["Variant"]


class Variant(Inputs):
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

    code = "z"
    """The site of the guide that :meth:`encode` gives, and that :meth:`decode` takes."""

    has_code = True
    """Whether data have codes: whether anything is latent."""

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
        if objective is not None and not isinstance(objective, PyroELBO):
            raise ConfigurationError(
                f"objective must be one of Pyro's or of pyro_vae.objectives, such as ELBO(free_bits=0.5), "
                f"got {objective!r}{as_meant(objective, PyroELBO)}"
            )
        super().__init__()
        self.model = model
        self.guide = guide
        self.objective = ELBO() if objective is None else objective
        self.beta = as_schedule(beta, "beta")
        self.latents = latents
        self.label = label
        self.schedules: dict[str, Schedule] = {}
        self.weigh(**(weights or {}))
        self.register_buffer("initialised", torch.zeros((), dtype=torch.bool))
        self._connect_objective()

    def _connect_objective(self) -> None:
        """Keep what the objective trains or remembers beside the programs, such as a baseline of its gradients."""
        connect = getattr(self.objective, "connect", None)  # Pyro's own have none
        self.auxiliary: torch.nn.Module | None = None
        if connect is not None and hasattr(self.model, "likelihood"):  # programs of the user's own need not have one
            self.auxiliary = connect(self.shape, self.likelihood.as_input if self.explains_data else None)

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

    @property
    def code_shape(self) -> Shape:
        """Event shape of a code: (D,), and (D, K) for one-hot codes."""
        return self.model.prior.shape  # type: ignore[union-attr, return-value]

    @property
    def latent_size(self) -> int:
        """Number of latent dimensions."""
        return self.code_shape[0]

    @property
    def discrete_code(self) -> bool:
        """Whether codes take separate values, with nothing between two of them."""
        arguments = next(iter(self.examples(1).values()))
        with torch.no_grad(), evaluating(self), seeded(0, self.device):
            site: Any = poutine.trace(self.guide).get_trace(*arguments).nodes[self.code]
        support = support_of(site["fn"])
        return support is not None and support.is_discrete

    @property
    def values_at_once(self) -> int:
        """How many codes of each datum the networks see at once: more than one where the guide sums over codes."""
        return math.prod(part.values_at_once for part in self.guide.modules() if isinstance(part, Posterior))

    @property
    def generates_from_label(self) -> bool:
        """Whether data can be generated for a given label."""
        return self.decodes_label

    @property
    def predicts(self) -> bool:
        """Whether :meth:`predict` gives anything."""
        return type(self).predict is not Variant.predict

    def __repr__(self) -> str:
        lines = [f"  {name}={show(value)}," for name, value in self._arguments.items() if value is not None]
        counts = [sum(p.numel() for p in program.parameters()) for program in (self.model, self.guide)]
        lines.append(f"  # {counts[0]:,} parameters in the model, {counts[1]:,} in the guide")
        return "\n".join([f"{type(self).__name__}(", *lines, ")"])

    # -- what it does

    def generate(self, n: int = 1, y: Any = None, *, mean: bool = True) -> Tensor:
        """New data (n, \\*shape) from the story: codes from the prior, data from the likelihood.

        Args:
            n: how many.
            y: what labels to generate for, in variants whose story has them: one for all, or one for each.
            mean: give E[x | z] of each drawn code (a clean image); with ``False`` draw x itself too.

        Raises:
            DataError: for ``y`` in a variant whose data do not depend on labels, or without ``y`` where they cannot
                do without.
            ConfigurationError: when the prior cannot be drawn from, or n is below 1.
        """
        check_positive("n, the number of data to generate,", n)
        if y is not None and not self.generates_from_label:
            raise DataError(f"the data of {type(self).__name__} do not depend on labels; call generate(n) without y")
        arguments: dict[str, Any] = {"size": n}
        if y is not None:
            arguments["y"] = self.as_labels(self._for_each(y, n), n, complete=True)
        elif self.labels == "all":
            raise DataError(f"{type(self).__name__} generates data for given labels; call generate(n, y)")
        site = self.simulate(**arguments).nodes["x"]
        return site["fn"].mean if mean else site["value"]

    def simulate(self, **arguments: Any) -> Any:
        """Tell the story once, without data: a trace of the model, run on nothing but these arguments.

        Args:
            arguments: of the model, by name: ``size``, how many data, or what is given.

        Raises:
            ConfigurationError: when the prior cannot be drawn from.
        """
        with torch.no_grad(), evaluating(self), drawing():
            return poutine.trace(self.model).get_trace(**arguments)

    def encode(self, x: Any, y: Any = None) -> TorchDistribution:
        """q(z | x), or q(z | x, y) where the story has labels: a distribution; take its ``mean``, or ``sample()`` it.

        Args:
            x: data (N, \\*shape).
            y: labels; one that is missing is replaced by its prediction.

        Raises:
            DataError: when the data do not fit.
        """
        self.check_code()
        x, y = self.batch(x, y)
        y = self.completed(x, y)
        with torch.no_grad(), evaluating(self):
            site: Any = poutine.trace(self.guide).get_trace(*self.program_arguments(x, y)).nodes[self.code]
        return site["fn"]

    def decode(self, z: Any, y: Any = None) -> TorchDistribution:
        """p(x | z), or p(x | z, y), for codes (\\*batch, \\*code_shape): a distribution.

        Args:
            z: codes.
            y: labels (\\*batch, \\*label), or one for all, in variants whose likelihood depends on them.

        Raises:
            DataError: when the codes have another shape, or for labels that are missing or not wanted.
        """
        self.check_code()
        z = torch.as_tensor(z, device=self.device).to(self.dtype)
        batch = z.shape[: max(0, z.dim() - len(self.code_shape))]
        if z.shape != (*batch, *self.code_shape):
            raise DataError(f"z: codes of shape {tuple(z.shape)}, wanted (..., {', '.join(map(str, self.code_shape))})")
        with torch.no_grad(), evaluating(self):
            return self.likelihood(z, *self._decoded_with(batch, y))

    def code_prior(self) -> TorchDistribution:
        """p(z) of the codes that :meth:`decode` takes, with no batch shape.

        Raises:
            ConfigurationError: where codes have no prior of their own.
        """
        self.check_code()
        return self.model.prior()  # type: ignore[union-attr, operator]

    estimates_code_prior = False
    """Whether :meth:`code_prior` is no p(z) but an estimate of it, because z depends on other latents."""

    def draw_codes(self, n: int) -> Tensor:
        """Independent draws from p(z), (n, \\*code_shape).

        Raises:
            ConfigurationError: when there is no p(z), or it cannot be drawn from.
        """
        if self.estimates_code_prior:
            return self.simulate(size=n).nodes[self.code]["value"]
        with torch.no_grad(), evaluating(self), drawing():
            prior = self.code_prior()
            # in pieces: a mixture draws from every component before it chooses one
            return torch.cat([prior.sample((min(4000, n - start),)) for start in range(0, n, 4000)])

    def check_code(self) -> None:
        """Check that data have codes at all.

        Raises:
            ConfigurationError: when they do not.
        """
        if not self.has_code:
            raise ConfigurationError(f"{type(self).__name__} has no codes: nothing in it is latent")

    def reconstruct(self, x: Any, y: Any = None, *, mean: bool = True) -> Tensor:
        """Data (N, \\*shape) passed through code and back.

        Args:
            x: data (N, \\*shape).
            y: labels, in variants that have them; one that is missing is replaced by its prediction.
            mean: E[x | z] at the mean of q(z | x), and of a discrete code at its most probable value (one draw of z
                where that has no closed form); with ``False`` draw both z and x.

        Raises:
            DataError: when the data do not fit.
        """
        self.check_code()
        x, y = self.batch(x, y)
        y = self.completed(x, y)
        q = self.encode(x, y)
        likelihood = self.decode(point_estimate(q) if mean else q.sample(), y if self.decodes_label else None)
        return likelihood.mean if mean else likelihood.sample()

    def predict(self, x: Any, *, num_samples: int = 100) -> TorchDistribution:
        """The distribution of the label of each datum (N, \\*shape), as the variant predicts it.

        Args:
            x: data.
            num_samples: draws of latents to average over, where the prediction depends on any.

        Raises:
            ConfigurationError: in a variant that predicts no labels.
            DataError: when the data do not fit.
        """
        raise ConfigurationError(f"{type(self).__name__} predicts no labels")

    def _average(self, code: TorchDistribution, predictor: Any, num_samples: int) -> TorchDistribution:
        """E over ``code``, with batch shape (N,), of what ``predictor`` says of y given a code."""
        assert self.label is not None
        return self.label.average(predictor(code.sample((num_samples,)).transpose(0, 1)))

    def score(self, x: Any, y: Any = None) -> dict[str, float]:
        """How good predictions of known labels are: ``accuracy`` of classes, ``mean_absolute_error`` of properties.

        Empty in a variant that predicts nothing, and where no label is known.

        Raises:
            DataError: when the data do not fit.
        """
        if not self.predicts or (self.label is not None and not self.label.scored):
            return {}
        if (known := self.with_known_labels(x, y)) is None:
            return {}
        assert self.label is not None
        return self.label.score(self.predict(known[0]), known[1])

    def completed(self, x: Tensor, y: Tensor | None) -> Tensor | None:
        """Labels ``y`` of data ``x`` with the missing ones filled in, as :meth:`encode` wants them."""
        if self.labels == "none" or (y is not None and labelled(y).all()):
            return y
        assert self.label is not None
        predicted = self.label.estimate(self.predict(x))
        if y is None:
            return predicted
        known = labelled(y)
        return torch.where(known.reshape(-1, *[1] * (y.dim() - 1)), y, predicted)

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
        """Set the weights of sites other than those that beta weighs, numbers or schedules over epochs."""
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


def representative(distribution: TorchDistribution) -> Tensor:
    """The mean, or a draw where it has no closed form."""
    try:
        return distribution.mean
    except (NotImplementedError, AttributeError):
        return distribution.sample()


def point_estimate(distribution: TorchDistribution) -> Tensor:
    """The one value to decode: the mean, or the mode of a discrete distribution, whose mean is none of its values."""
    support = support_of(distribution)
    if support is None or not support.is_discrete:
        return representative(distribution)
    try:
        return distribution.mode
    except (NotImplementedError, AttributeError):
        return distribution.sample()

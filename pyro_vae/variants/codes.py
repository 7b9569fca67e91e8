"""What a variant does with codes: data to codes, codes to data, and new data from codes of the prior."""

from __future__ import annotations

import math
from typing import Any

import torch
from pyro import poutine
from pyro.distributions import TorchDistribution
from torch import Tensor

from pyro_vae.errors import ConfigurationError, DataError, check_positive
from pyro_vae.parts import Shape, support_of
from pyro_vae.posteriors import Posterior
from pyro_vae.program import Program, labelled
from pyro_vae.randomness import seeded
from pyro_vae.variants.contexts import drawing, evaluating
from pyro_vae.variants.predictions import Predictions

__all__ = ["Codes", "point_estimate", "representative"]


class Codes(Predictions):
    """The side of a variant that codes go in and come out by; :class:`pyro_vae.Variant` is built on it."""

    model: Program
    guide: Program

    code = "z"
    """The site of the guide that :meth:`encode` gives, and that :meth:`decode` takes."""

    has_code = True
    """Whether data have codes: whether anything is latent."""

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

    def values_at_once(self, y: Tensor | None = None) -> int:
        """How many values of each datum's latents the networks see at once: several where the guide sums over them.

        Args:
            y: labels; the classes of one that is missing may be summed over.
        """
        codes = math.prod(part.values_at_once for part in self.guide.modules() if isinstance(part, Posterior))
        infer: Any = getattr(self.guide, "infer", {})  # of a missing label
        if infer.get("enumerate") != "parallel" or (y is not None and labelled(y).all()):
            return codes
        assert self.label is not None
        return codes * (self.label.classes or 1)

    @property
    def generates_from_label(self) -> bool:
        """Whether data can be generated for a given label."""
        return self.decodes_label

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
        with torch.no_grad(), evaluating(self):
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
        z = point_estimate(q) if mean else q.sample()
        likelihood = self._decoded(z, x, y)
        return likelihood.mean if mean else likelihood.sample()

    def _decoded(self, z: Tensor, x: Tensor, y: Tensor | None) -> TorchDistribution:
        """The likelihood of codes ``z`` of data, of which ``x`` and ``y`` are there to be given."""
        return self.decode(z, y if self.decodes_label else None)


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

"""Draws from a variant's guide, its prior and its predictions, datum by datum and in batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pyro import poutine
from pyro.distributions import Unit
from torch import Tensor

from pyro_vae.errors import DataError
from pyro_vae.evaluation.elbo import alike, repeated
from pyro_vae.evaluation.joint import log_joint
from pyro_vae.evaluation.likelihood import at_once
from pyro_vae.objectives.kl import check_proposed
from pyro_vae.program import labelled, sample_sites
from pyro_vae.variants.base import Variant
from pyro_vae.variants.contexts import evaluating

__all__ = ["Draws", "Piece", "explain", "from_container", "from_guide", "from_prior", "predict_missing"]


class Draws:
    """Draws of several sites for each of N data, put together from batches.

    Args:
        num_samples: S, draws per datum.
        n: N, number of data.
    """

    def __init__(self, num_samples: int, n: int) -> None:
        self.num_samples = num_samples
        self.n = n
        self.values: dict[str, np.ndarray] = {}
        """(S, N, \\*event) of each site."""
        self.rows: dict[str, np.ndarray] = {}
        """(N,) of each site, whether a datum has it: a class, say, is drawn only for data whose class is missing."""

    def put(self, name: str, values: Tensor, piece: Piece) -> None:
        """Write the draws (k, B, \\*event) of a piece to their place."""
        found = values.cpu().numpy()
        if name not in self.values:
            self.values[name] = np.zeros((self.num_samples, self.n, *found.shape[2:]), found.dtype)
            self.rows[name] = np.zeros(self.n, dtype=bool)
        self.values[name][piece.draws, piece.rows.numpy()] = found
        self.rows[name][piece.rows.numpy()] = True

    def of(self, piece: Piece) -> dict[str, Tensor]:
        """The draws (k, B, \\*event) of all sites that the data of a piece have."""
        rows = piece.rows.numpy()
        return {
            name: torch.from_numpy(values[piece.draws, rows]).to(piece.x.device)
            for name, values in self.values.items()
            if self.rows[name][rows[0]]
        }

    def taken(self, index: np.ndarray) -> Draws:
        """The draws with these numbers (S', N), chosen for each datum apart and for all its sites alike."""
        chosen = Draws(len(index), self.n)
        chosen.rows = dict(self.rows)
        for name, values in self.values.items():
            places = index.reshape(*index.shape, *[1] * (values.ndim - 2))
            chosen.values[name] = np.take_along_axis(values, places, axis=0)
        return chosen


@dataclass(frozen=True)
class Piece:
    """Some data, all with labels or all without, and a range of their draws: what is in the networks at once.

    Attributes:
        rows: numbers (B,) of the data.
        draws: which draws.
        x: the data (B, \\*shape).
        arguments: of model and guide for them.
    """

    rows: Tensor
    draws: slice
    x: Tensor
    arguments: tuple[Any, ...]

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of draws and of data."""
        return self.draws.stop - self.draws.start, len(self.rows)


def _pieces(variant: Variant, x: Tensor, y: Tensor | None, num_samples: int, chunk: int) -> Iterator[Piece]:
    """In the order of :func:`pyro_vae.evaluation.log_likelihood`, so that a seed gives both the same draws."""
    data, samples = at_once(len(x), num_samples, chunk)
    for _, kind in alike(variant, y, len(x)):
        for rows in kind.split(data):
            arguments = variant.program_arguments(x[rows], None if y is None else y[rows])
            for start in range(0, num_samples, samples):
                draws = slice(start, min(start + samples, num_samples))
                yield Piece(rows, draws, x[rows], arguments)


def from_guide(
    variant: Variant, x: Tensor, y: Tensor | None, num_samples: int, chunk: int, *, weights: bool
) -> tuple[Draws, np.ndarray | None]:
    """Draws of all latents from the guide, z ~ q(z | x), and how well they fit the model.

    Nothing is enumerated: a missing class is drawn from q(y | x) too, so that each draw has one.

    Args:
        variant: any variant.
        x: checked data (N, \\*shape).
        y: checked labels, in variants that have them.
        num_samples: S, draws per datum.
        chunk: how many draws are in the networks at once.
        weights: whether log-weights are wanted; all parts must have a density then.

    Returns:
        The draws, and log p(x, z) - log q(z | x) (S, N) in nats, in double precision.

    Raises:
        ConfigurationError: when the model has a latent that the guide does not propose.
    """
    latents, log_weights = Draws(num_samples, len(x)), Draws(num_samples, len(x))
    with torch.no_grad(), evaluating(variant):
        for piece in _pieces(variant, x, y, num_samples, chunk):
            guide, model = (repeated(program, piece.shape[0]) for program in (variant.guide, variant.model))
            guide_trace = poutine.trace(guide).get_trace(*piece.arguments)
            model_trace = poutine.trace(poutine.replay(model, trace=guide_trace)).get_trace(*piece.arguments)
            for site in sample_sites(model_trace):
                if not site["is_observed"]:
                    check_proposed(site["name"], guide_trace)
                    latents.put(site["name"], _full(site["value"], piece, site), piece)
            if weights and latents.values:
                log_w = log_joint(model_trace) - log_joint(guide_trace)
                log_weights.put("w", log_w.double().expand(piece.shape), piece)
    return latents, log_weights.values.get("w")


def from_container(posterior: Any, x: Tensor, y: Tensor | None) -> tuple[Draws, int]:
    """The draws in the group ``posterior`` of a container of ArviZ, one chain after the other.

    Args:
        posterior: with dimensions as :func:`pyro_vae.to_arviz` names them.
        x: the data (N, \\*shape) whose latents they are.
        y: their checked labels, in variants that have them.

    Returns:
        The draws, and of how many chains.

    Raises:
        DataError: when they are of another number of data.
    """
    group = posterior["posterior"]
    chains, per_chain = group.sizes["chain"], group.sizes["draw"]
    found = Draws(chains * per_chain, len(x))
    for name, variable in group.data_vars.items():
        rows = np.ones(len(x), dtype=bool)
        if "unlabelled" in variable.dims:
            rows = np.ones(len(x), dtype=bool) if y is None else ~labelled(y).cpu().numpy()
        values = variable.values.reshape(chains * per_chain, *variable.shape[2:])
        if values.shape[1] != rows.sum():
            raise DataError(
                f"posterior: site {name!r} has draws for {values.shape[1]:,} data, and {rows.sum():,} of those given "
                f"have such a latent; give x and y as they were given to posterior_mcmc"
            )
        found.values[str(name)] = np.zeros((len(values), len(x), *values.shape[2:]), values.dtype)
        found.values[str(name)][:, rows] = values
        found.rows[str(name)] = rows
    return found, chains


def predict_missing(variant: Variant, latents: Draws, x: Tensor, y: Tensor | None, chunk: int) -> None:
    """Add to the latents what the model can draw from them where it is not known, such as y ~ p(y | z).

    This is for models that leave a missing label out, and so have no latent for it: integrated over, p(y | z) is 1.
    """
    if variant.labels != "some" or "y" in latents.values or (y is not None and labelled(y).all()):
        return
    with torch.no_grad(), evaluating(variant):
        for piece in _pieces(variant, x, y, latents.num_samples, chunk):
            if len(piece.arguments) > 1 and piece.arguments[1] is not None:
                continue
            known = latents.of(piece)
            for site in _generated(variant, piece, known):
                if site["name"] not in known and site["name"] != "x":
                    latents.put(site["name"], _full(site["value"], piece, site), piece)


def explain(
    variant: Variant, latents: Draws, x: Tensor, y: Tensor | None, chunk: int, *, draw: bool = True
) -> tuple[Draws, Draws]:
    """What the model says of the observed given each draw of the latents.

    Args:
        variant: any variant.
        latents: draws of what is latent.
        x: checked data (N, \\*shape).
        y: checked labels, in variants that have them.
        chunk: how many draws are in the networks at once.
        draw: whether new data are wanted.

    Returns:
        log p of each observed site (S, N) in nats, and new draws (S, N, \\*event) from the same distributions, whose
        other conditions (a known label) are as they were observed.
    """
    log_likelihood, predictive = (Draws(latents.num_samples, len(x)) for _ in range(2))
    with torch.no_grad(), evaluating(variant):
        for piece in _pieces(variant, x, y, latents.num_samples, chunk):
            known = latents.of(piece)
            model = poutine.condition(repeated(variant.model, piece.shape[0]), data=known)
            for site in sample_sites(poutine.trace(model).get_trace(*piece.arguments)):
                name, p = site["name"], site["fn"]
                if name in known or isinstance(p, Unit):
                    continue
                log_likelihood.put(name, p.log_prob(site["value"]).expand(piece.shape), piece)
                if draw:
                    predictive.put(name, _full(p.sample(), piece, site), piece)
    return log_likelihood, predictive


def from_prior(
    variant: Variant, latents: Draws, x: Tensor, y: Tensor | None, num_samples: int, chunk: int
) -> tuple[Draws, Draws]:
    """Data sets like the given one from the model alone: as many data, with what is given to the model as it is.

    Args:
        variant: any variant.
        latents: draws that say what is latent for which datum.
        x: checked data (N, \\*shape).
        y: checked labels, in variants that have them.
        num_samples: number of data sets.
        chunk: how many draws are in the networks at once.

    Returns:
        Draws of the latents, and of the other sites.

    Raises:
        NotImplementedError: when the prior cannot be drawn from.
    """
    prior, predictive = (Draws(num_samples, len(x)) for _ in range(2))
    with torch.no_grad(), evaluating(variant):
        for piece in _pieces(variant, x, y, num_samples, chunk):
            for site in _generated(variant, piece, {}):
                name = site["name"]
                latent = name in latents.values and latents.rows[name][piece.rows[0]]
                (prior if latent else predictive).put(name, _full(site["value"], piece, site), piece)
    return prior, predictive


def _generated(variant: Variant, piece: Piece, known: dict[str, Tensor]) -> list[Any]:
    """The sites of the model run forwards, without data, from the latents that are known."""
    if variant.labels == "all":  # something is given that the model cannot do without
        model, arguments, keywords = poutine.uncondition(variant.model), piece.arguments, {}
    else:
        model, arguments, keywords = variant.model, (), {"size": piece.shape[1]}
    model = poutine.condition(repeated(model, piece.shape[0]), data=known)
    trace = poutine.trace(model).get_trace(*arguments, **keywords)
    return [site for site in sample_sites(trace) if not isinstance(site["fn"], Unit)]


def _full(values: Tensor, piece: Piece, site: Any) -> Tensor:
    """Values of a site as (k, B, \\*event), also where all draws or data share one."""
    return values.expand(*piece.shape, *site["fn"].event_shape)

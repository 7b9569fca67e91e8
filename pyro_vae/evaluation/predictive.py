"""Posterior predictive checks: whether data sets replicated from the model look like the observed one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pyro_vae.errors import ConfigurationError, DataError, check_positive
from pyro_vae.evaluation.coordinates import event_dims
from pyro_vae.evaluation.draws import explain, from_guide, from_prior
from pyro_vae.evaluation.tables import aligned
from pyro_vae.parts import Shape
from pyro_vae.randomness import seeded
from pyro_vae.variants.base import Variant

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["PredictiveCheck", "Statistic", "default_statistics", "posterior_predictive_check"]

Statistic = Callable[[Tensor], Any]
"""Of data (N, \\*shape): a number for the data set, or (N,) numbers, one for each datum, whose mean is meant."""

MODEL, POSTERIOR = "model", "posterior"


@dataclass(frozen=True, eq=False)
class PredictiveCheck:
    """Statistics of the observed data beside those of replicated data sets.

    Attributes:
        dataset: over ``source``, ``replicate`` and ``statistic``: ``observed`` (statistic), ``replicated`` (source,
            replicate, statistic) and ``p_value`` (source, statistic).  Sources are ``model``, data sets drawn from the
            model alone, and ``posterior``, each datum drawn again from its own code.
        profiles: the same with a value for each row, column or feature, by name.
    """

    dataset: xr.Dataset
    profiles: dict[str, xr.Dataset]

    @property
    def sources(self) -> list[str]:
        """What data sets are replicated from."""
        return [str(source) for source in self.dataset["source"].values]

    def __repr__(self) -> str:
        header = ["statistic", "observed"]
        for source in self.sources:
            header += [source, "p"]
        rows: list[list[str]] = [header]
        for name in self.dataset["statistic"].values:
            of_it = self.dataset.sel(statistic=name)
            row = [str(name), f"{of_it['observed'].item():.4g}"]
            for source in self.sources:
                values, p = of_it["replicated"].sel(source=source), of_it["p_value"].sel(source=source).item()
                row += [f"{values.mean().item():.4g} ± {values.std().item():.2g}", f"{p:.3f}"]
            rows.append(row)
        lines = [aligned(rows)]
        for name, profile in self.profiles.items():
            for source in self.sources:
                p = profile["p_value"].sel(source=source).values
                outside = int(((p < 0.025) | (p > 0.975)).sum())
                lines.append(f"{name}: {outside} of {p.size} outside 95 % of those from the {source}")
        n = self.dataset.sizes["replicate"]
        lines.append(f"{n:,} replicated data sets, mean ± standard deviation; p: the share whose statistic is larger")
        return "\n".join(lines)


def posterior_predictive_check(
    variant: Variant,
    x: Any,
    y: Any = None,
    *,
    statistics: Mapping[str, Statistic] | None = None,
    num_samples: int = 100,
    chunk: int = 10_000,
    seed: int = 0,
) -> PredictiveCheck:
    """Statistics of data sets replicated from the model against those of the observed data.

    A data set of as many data is drawn in two ways: from the **model** alone, with a new code for each datum, and from
    the **posterior**, with each datum drawn again from a draw of its own q(z | x).  The p-value is the share of
    replicated data sets whose statistic is larger than the observed one (ties count half): near 0 the model's is
    too small, near 1 too large.  What only the model gets wrong lies in the prior; what both get wrong in the
    likelihood or the decoder.

    The data are used twice, to choose the codes and to be compared with, so that p-values from the posterior keep
    away from 0 and 1 (they are conservative), and those of data that were trained on keep away further.
    With many data every model is wrong in some statistic: how far, in the picture, says more than p.

    Args:
        variant: any variant; one without a prior to draw from is checked from the posterior alone, one without codes
            from the model alone.
        x: data (N, \\*shape), or a split.
        y: labels, in variants that have them; -1 or NaN where they are missing.  Where x is given and y explained,
            it is y that is checked.
        statistics: by name, functions of data (N, \\*shape) on the CPU that give a number, or (N,) numbers whose mean
            over data is taken; :func:`default_statistics` if not given.
        num_samples: number of replicated data sets.
        chunk: how many drawn data are in memory at once (a whole data set at least).
        seed: of all draws; the random stream outside is left alone.

    Raises:
        ConfigurationError: where classes are explained, or for a statistic that gives something else.
        DataError: when the data do not fit.

    Example:
        >>> import pyro_vae as pv
        >>> from pyro_vae import evaluation, likelihoods, priors
        >>> vae = pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(5))
        >>> most = {"ones in the fullest datum": lambda x: x.sum(1).max()}
        >>> found = evaluation.posterior_predictive_check(vae, torch.zeros(20, 5), statistics=most, num_samples=10)
        >>> found.dataset["observed"].item(), found.dataset["replicated"].shape
        (0.0, (2, 10, 1))

    References:
        Gelman, Meng & Stern, Posterior predictive assessment of model fitness via realized discrepancies, 1996
        (https://www3.stat.sinica.edu.tw/statistica/oldpdf/A6n41.pdf); Gelman et al., Bayesian Data Analysis, 2013,
        chapter 6
    """
    check_positive("num_samples", num_samples)
    check_positive("chunk", chunk)
    x, y = variant.batch(x, y)
    observed = _explained(variant, x, y)
    functions = dict(default_statistics(observed) if statistics is None else statistics)
    profiles = _profiles(tuple(observed.shape[1:]))
    measured: dict[str, list[dict[str, np.ndarray]]] = {}
    with seeded(seed, variant.device):
        for source, data in _replicated(variant, x, y, num_samples, chunk):
            measured.setdefault(source, []).append(_measured(data, functions, profiles))
    return _result(_measured(observed, functions, profiles), measured, functions, profiles)


def default_statistics(x: Tensor) -> dict[str, Statistic]:
    """What data (N, \\*shape) are compared by where nothing else is asked for.

    Mean, standard deviation, least and largest value; the share of zeros, if there are any; of images how much
    their ink (the sum of their pixels) varies from image to image.

    Example:
        >>> list(default_statistics(torch.zeros(3, 1, 8, 8)))
        ['mean', 'standard deviation', 'share of zeros', 'sd of ink']
        >>> list(default_statistics(torch.randn(3, 5)))
        ['mean', 'standard deviation', 'smallest', 'largest']
    """
    found: dict[str, Statistic] = {"mean": torch.mean, "standard deviation": lambda x: x.std(correction=0)}
    if (x == 0).any():
        found["share of zeros"] = lambda x: (x == 0).double().mean()
    if x.dim() > 2:
        found["sd of ink"] = lambda x: x.flatten(1).sum(1).std(correction=0)
    else:
        found |= {"smallest": torch.min, "largest": torch.max}
    return found


def _explained(variant: Variant, x: Tensor, y: Tensor | None) -> Tensor:
    """What the model explains: x, or y where x is given; (N, \\*shape) in double precision on the CPU."""
    if variant.explains_data:
        return x.double().cpu()
    assert variant.label is not None
    assert y is not None
    if variant.label.classes is not None:
        raise ConfigurationError(
            f"{type(variant).__name__} explains classes, and statistics of their numbers mean nothing; see "
            f"evaluation.calibration and evaluation.confusion"
        )
    return y.double().cpu()


def _replicated(
    variant: Variant, x: Tensor, y: Tensor | None, num_samples: int, chunk: int
) -> Iterator[tuple[str, Tensor]]:
    """Data sets (N, \\*shape) like the observed one, with where each is from."""
    site = "x" if variant.explains_data else "y"
    at_once = max(1, min(num_samples, chunk // len(x)))
    for start in range(0, num_samples, at_once):
        count = min(at_once, num_samples - start)
        latents, _ = from_guide(variant, x, y, count, chunk, weights=False)
        _, predictive = explain(variant, latents, x, y, chunk)
        for data in predictive.values[site]:
            yield POSTERIOR if variant.has_code else MODEL, torch.from_numpy(data).double()
        if not variant.has_code:
            continue
        try:
            _, predictive = from_prior(variant, latents, x, y, count, chunk)
        except NotImplementedError:  # an improper prior
            continue
        for data in predictive.values[site]:
            yield MODEL, torch.from_numpy(data).double()


def _profiles(shape: Shape) -> dict[str, tuple[str, Callable[[Tensor], Tensor]]]:
    """Statistics with a value for each row, column or feature: their dimension and the function."""
    dims = event_dims(shape)
    if dims == ("feature",):
        return {
            "mean of each feature": ("feature", lambda x: x.mean(0)),
            "sd of each feature": ("feature", lambda x: x.std(0, correction=0)),
        }

    def along(place: int) -> Callable[[Tensor], Tensor]:
        return lambda x: x.movedim(place + 1, 0).flatten(1).mean(1)

    return {f"mean of each {dim}": (dim, along(dims.index(dim))) for dim in ("row", "column") if dim in dims}


def _measured(x: Tensor, functions: Mapping[str, Statistic], profiles: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """All statistics of one data set, by name; the first is that of the data set's numbers, in order."""
    numbers = np.array([_number(name, function(x), len(x)) for name, function in functions.items()])
    return {"": numbers, **{name: function(x).numpy() for name, (_, function) in profiles.items()}}


def _number(name: str, value: Any, n: int) -> float:
    """A statistic as one number.

    Raises:
        ConfigurationError: when it is neither one number nor one for each datum.
    """
    value = torch.as_tensor(value, dtype=torch.double)
    if value.shape not in ((), (n,)):
        raise ConfigurationError(
            f"statistics: {name!r} gave numbers of shape {tuple(value.shape)} for {n} data; wanted one number, or "
            f"one for each datum, ({n},)"
        )
    if not value.isfinite().all():
        raise DataError(f"statistics: {name!r} is not finite; it cannot be compared")
    return value.mean().item()


def _result(
    observed: dict[str, np.ndarray],
    measured: dict[str, list[dict[str, np.ndarray]]],
    functions: Mapping[str, Statistic],
    profiles: Mapping[str, tuple[str, Any]],
) -> PredictiveCheck:
    sources = [source for source in (MODEL, POSTERIOR) if source in measured]

    def compared(name: str, dim: str, names: list[str] | None = None) -> xr.Dataset:
        import xarray as xr

        replicated = np.stack([[each[name] for each in measured[source]] for source in sources])
        larger = (replicated > observed[name]).mean(1) + 0.5 * (replicated == observed[name]).mean(1)
        return xr.Dataset(
            {
                "observed": ((dim,), observed[name]),
                "replicated": (("source", "replicate", dim), replicated),
                "p_value": (("source", dim), larger),
            },
            coords={"source": sources, **({dim: names} if names else {})},
        )

    return PredictiveCheck(
        compared("", "statistic", list(functions)), {name: compared(name, dim) for name, (dim, _) in profiles.items()}
    )

"""The sections that check the guide and the model: codes in use, codes and prior, the guide, replicated data."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

from pyro_vae import evaluation, plots
from pyro_vae.report.html import escape, section
from pyro_vae.report.pictures import Section, drawn, shown
from pyro_vae.variants import Variant

__all__ = ["diagnostic_sections"]

_DATA = 1000
"""Up to so many data are encoded, and compared with replicated ones."""

_WEIGHED, _DRAWS = 200, 500
"""Up to so many data have their k-hat computed, from so many draws each."""

_OPTIMISED = 8
"""So many data have a guide of their own optimised."""

_BRIEFLY: dict[str, Any] = {"steps": 100, "num_samples": 1000}
"""How, and by how many draws the gap is measured."""

_REPLICATES = 40
"""Replicated data sets."""


def diagnostic_sections(
    variant: Variant, x: Tensor, y: Tensor | None, *, max_data: int = _WEIGHED, seed: int = 0
) -> Iterator[Section]:
    """Each diagnostic that there is, or a sentence on why it is not for this variant.

    What can be no question of the variant's kind (the prior of codes, where it depends on x) is left out altogether.

    Args:
        variant: any variant.
        x: data (N, \\*shape) that it has not been trained on.
        y: their labels, if any.
        max_data: k-hat is computed for so many data at most, and for no more than 200.
        seed: of all draws; the random stream outside is left alone.
    """
    x = variant.as_data(x)[:_DATA]
    y = None if variant.labels == "none" or y is None else y[:_DATA]
    draw = functools.partial(drawn, variant, seed)
    of = f"of the trained {type(variant).__name__}"
    if variant.has_code:
        yield draw(
            "active",
            "Codes in use",
            "How much the mean of q(z | x) varies with the datum. A dimension that does not move says nothing.",
            f"Variance of the codes' means {of}",
            lambda: plots.active_units(evaluation.active_units(variant, x, y, seed=seed)),
        )
        yield draw(
            "information",
            "What the codes say",
            "How many nats the code says about which datum it is of, beside the rate that the ELBO pays for it: the "
            "difference is what a better prior would save.",
            f"Mutual information of codes and data {of}",
            lambda: plots.mutual_information(evaluation.mutual_information(variant, x, y, seed=seed)),
        )
        if variant.explains_data:
            yield draw(
                "aggregate",
                "Codes and prior",
                "The codes of all test data together beside draws from the prior. Where the prior has draws and no "
                "datum has its code, samples are like no datum.",
                f"Draws of the aggregate posterior and of the prior {of}",
                lambda: plots.aggregate_posterior(evaluation.aggregate_posterior(variant, x, y, seed=seed)),
            )
        yield _guide_section(variant, x, y, of, min(max_data, _WEIGHED), seed)
    if variant.explains_data or variant.label is None or variant.label.classes is None:
        yield draw(
            "replicated",
            "Replicated data",
            "Statistics of the test data (black) beside those of data sets of the same size that were drawn from the "
            "model, and of data sets in which each datum was drawn again from its own code.",
            f"Posterior predictive check {of}",
            lambda: plots.posterior_predictive_check(
                evaluation.posterior_predictive_check(variant, x, y, num_samples=_REPLICATES, seed=seed)
            ),
        )


def _guide_section(variant: Variant, x: Tensor, y: Tensor | None, of: str, weighed: int, seed: int) -> Section:
    """How far the guide is from the exact posterior."""
    some, few = slice(weighed), slice(min(weighed, _OPTIMISED))
    given: dict[str, Any] = {"x": None if variant.explains_data else x, "y": y} if variant.labels == "all" else {}
    parts: list[tuple[str, str, Callable[[], plots.Figure]]] = [
        (
            "k-hat says for each test datum how heavy the tail of its importance weights p(x, z) / q(z | x) is: the "
            "larger, the more of the exact posterior the guide misses.",
            f"Pareto k-hat {of}",
            lambda: plots.pareto_k(
                evaluation.pareto_k(variant, x[some], None if y is None else y[some], num_samples=_DRAWS, seed=seed)
            ),
        ),
        (
            "Simulation-based calibration: data are drawn from the model, and the code that made each is ranked among "
            "draws from its q(z | x). Uniform ranks are right; a U is a guide that is too narrow, a hump one that is "
            "too wide, a slope one that is biased.",
            f"Ranks of simulated codes {of}",
            lambda: plots.simulation_based_calibration(
                evaluation.simulation_based_calibration(variant, **given, seed=seed)
            ),
        ),
        (
            "The gap between log p(x) and the ELBO of a few test data, as what the guide's family costs and what the "
            "encoder costs on top: for these, parameters of the guide were optimised datum by datum, briefly.",
            f"Approximation and amortisation gap {of}",
            lambda: plots.amortisation_gap(
                evaluation.amortisation_gap(
                    variant, x[few], None if y is None else y[few], **_BRIEFLY, families={}, seed=seed
                )
            ),
        ),
    ]
    content = []
    for told, alt, plot in parts:
        picture = shown(variant, seed, alt, plot)
        content += [f"<p>{escape(told)}</p>", picture] if picture.startswith("<div") else [picture]
    return "guide", "The guide, checked", section("guide", "The guide, checked", *dict.fromkeys(content))

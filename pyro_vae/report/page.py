"""The page as a whole."""

from __future__ import annotations

import datetime
import os
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import yaml

from pyro_vae.data import Dataset, as_split
from pyro_vae.errors import ConfigurationError, DataError
from pyro_vae.files import make_folder, write_text
from pyro_vae.report.html import escape, missing, section
from pyro_vae.report.numbers import Numbers, numbers
from pyro_vae.report.words import (
    data_section,
    ledger_section,
    making_section,
    numbers_section,
    scores_cards,
    story_section,
)
from pyro_vae.training import History
from pyro_vae.variants import Variant

__all__ = ["write"]


def write(
    variant: Variant,
    data: Any,
    path: str | os.PathLike[str],
    history: History | None = None,
    *,
    configuration: str | None = None,
    found: Numbers | None = None,
    num_samples: int = 500,
    max_data: int = 500,
    seed: int = 0,
) -> Path:
    """Write one self-contained HTML page on a variant: its story, its numbers, its pictures.

    Everything is read off the variant's own parts, so that a swapped part changes the page.  What does not apply to
    a variant (samples of an autoencoder, say) is said in a sentence.

    Args:
        variant: any variant, trained.
        data: a data set of :func:`pyro_vae.data.load`, whose test split is used; or a split, tensor or array.
        path: of the page.
        history: what :func:`pyro_vae.fit` returned; without it there are no curves.
        configuration: text to show as the configuration; ``variant.config`` as YAML if not given.
        found: numbers that were computed before; computed here if not given.
        num_samples: draws per datum for log p(x).
        max_data: estimate log p(x), and Pareto k-hat, for at most so many data.
        seed: of all draws; the random stream outside is left alone.

    Returns:
        The path of the page.

    Raises:
        DataError: when the data do not fit the variant, or there are none.
        CheckpointError: when the page cannot be written there; its folder is tried first.
    """
    make_folder(Path(path).parent)
    # matplotlib is imported where it is used
    from pyro_vae.report.diagnostics import diagnostic_sections
    from pyro_vae.report.pictures import picture_sections

    dataset = data if isinstance(data, Dataset) else None
    try:
        split = as_split(dataset.test if dataset else data)
    except (ValueError, TypeError) as error:
        raise DataError(f"the report needs data to be about: {error}") from error
    x, name = split.x, dataset.name if dataset else "data"
    what = f"{len(x):,} test data of {name}" if dataset else f"{len(x):,} data"
    found = found or numbers(variant, split, num_samples=num_samples, max_data=max_data, seed=seed)
    if configuration is None:
        configuration = _configuration(variant)

    sections = [
        ("numbers", "Numbers", numbers_section(found, what)),
        ("story", "The story", story_section(variant)),
        ("ledger", "The ledger", _or_note("ledger", "The ledger", lambda: ledger_section(variant, split[:2000], seed))),
        *picture_sections(
            variant,
            x,
            split.y,
            history=history,
            scores=scores_cards(found),
            class_names=dataset.class_names if dataset else None,
            feature_names=dataset.feature_names if dataset else None,
            seed=seed,
        ),
        *diagnostic_sections(variant, x, split.y, max_data=max_data, seed=seed),
        ("data", "Data", data_section(dataset, x)),
    ]
    when = f"{datetime.datetime.now():%Y-%m-%d %H:%M}"
    sections.append(("making", "How it was made", making_section(variant, history, configuration, when)))
    title = f"{type(variant).__name__} on {name}"
    page = Template(_resource("page.html")).substitute(
        title=escape(title),
        style=_resource("style.css"),
        lead=escape(_lead(variant)),
        contents="\n".join(f'<li><a href="#{anchor}">{escape(heading)}</a></li>' for anchor, heading, _ in sections),
        sections="\n\n".join(text for _, _, text in sections),
    )
    write_text(path, page)
    return Path(path)


def _lead(variant: Variant) -> str:
    """The parts in one line, as the constructor got them."""
    parts = [f"{name} {value!r}" for name, value in variant._arguments.items() if value is not None]
    return " · ".join(parts)


def _configuration(variant: Variant) -> str:
    try:
        return yaml.safe_dump(variant.config, sort_keys=False, allow_unicode=True)
    except ConfigurationError as error:  # made with a function, say
        return str(error)


def _or_note(anchor: str, heading: str, make: Any) -> str:
    try:
        return make()
    except (ConfigurationError, DataError, NotImplementedError) as error:
        return section(anchor, heading, missing(error))


def _resource(name: str) -> str:
    return resources.files("pyro_vae.report").joinpath(name).read_text(encoding="utf-8")

"""The sections in words and formulas: the story, the ledger, the data, how it was made."""

from __future__ import annotations

import platform
import re
from typing import Any

import pyro
import torch
from torch import Tensor

import pyro_vae
from pyro_vae import stories
from pyro_vae.data import Dataset, Split
from pyro_vae.report.html import card, definitions, escape, linked, note, section, table
from pyro_vae.report.numbers import Numbers
from pyro_vae.training import History
from pyro_vae.variants import Variant

__all__ = [
    "data_section",
    "ledger_section",
    "making_section",
    "numbers_section",
    "scores_cards",
    "story_section",
]


def numbers_section(found: Numbers, what: str) -> str:
    """The summary: a card for each number."""
    cards = [
        card(
            row.label,
            _signed(row.mean),
            f"± {row.standard_error:.2f}" if row.standard_error == row.standard_error else "",
            f"{row.bits_per_dimension:.3f} bits per dimension".replace("-", "−"),
        )
        for row in found.rows.values()
    ]
    notes = "".join(map(note, found.notes))
    told = f"<p>Nats per datum on {what}, with standard errors over the data.</p>"
    return section("numbers", "Numbers", told, f'<div class="cards">{"".join(cards)}</div>', notes)


def scores_cards(found: Numbers) -> str:
    """A card for each number that says how good predictions are; nothing where there are none."""
    cards = []
    for score in found.scores.values():
        share = score.name == "accuracy"
        value, error = (f"{100 * v:.1f} %" if share else f"{v:.3g}" for v in (score.mean, score.standard_error))
        known = score.standard_error == score.standard_error
        cards.append(card(score.label, value, f"± {error}" if known else "", f"{score.data:,} data"))
    return f'<div class="cards">{"".join(cards)}</div>' if cards else ""


def _signed(value: float) -> str:
    return f"{value:,.2f}".replace("-", "−")


def story_section(variant: Variant) -> str:
    """The generative story: words, factorisation, graphical model, objective."""
    story = stories.story(variant)
    formulas = [f'<div class="formula">{stories.formula_svg(story.model_latex)}</div>']
    for side, factorisation in (("model", None), ("guide", story.guide_latex)):
        if factorisation:
            formulas.append(f'<div class="formula">{stories.formula_svg(factorisation)}</div>')
        formulas += [
            f'<div class="formula inner">{stories.formula_svg(line.latex)}</div>' for line in story.families[side]
        ]
    objective = [f'<div class="formula">{stories.formula_svg(line)}</div>' for line in story.objective.lines]
    notes = "".join(map(note, story.objective.notes))
    return section(
        "story",
        "The story",
        f'<div class="story">{_steps(story.words)}</div>',
        "<h3>Model and guide</h3>",
        *formulas,
        f'<div class="paper diagram">{story.diagram().svg}</div>',
        f"<h3>Objective, maximised: <code>{escape(story.objective.name)}</code></h3>",
        *objective,
        notes,
    )


def _steps(words: str) -> str:
    lines = []
    for line in words.splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        numbered = re.match(r"\d+\.", line.strip()) is not None
        kind = f"depth{depth}" + (" numbered" if numbered else "")
        lines.append(f'<div class="{kind}">{escape(line.strip())}</div>')
    return "".join(lines)


def ledger_section(variant: Variant, data: Split, seed: int) -> str:
    """The ELBO of some data, site by site."""
    ledger = stories.story(variant).ledger(data, num_samples=10, seed=seed)  # the draws that the numbers are from
    return section(
        "ledger",
        "The ledger",
        "<p>The ELBO as an account: what each site of the two programs contributes, in nats per datum. "
        "The paler rows say what a row is made of.</p>",
        f'<div class="wide">{ledger._repr_html_()}</div>',
    )


def data_section(dataset: Dataset | None, x: Tensor) -> str:
    """Where the data come from, and how many there are."""
    if dataset is None:
        pairs = [("data", f"{len(x):,} given by hand"), ("shape", _shape(x.shape[1:]))]
        return section("data", "Data", definitions(pairs))
    pairs = [
        ("data set", escape(dataset.name)),
        ("shape of a datum", _shape(dataset.shape)),
        ("kind of values", escape(dataset.kind)),
    ]
    if dataset.num_classes:
        named = f": {', '.join(dataset.class_names)}" if dataset.class_names else ""
        pairs.append(("classes", escape(f"{dataset.num_classes}{named}")))
    if dataset.source:
        pairs.append(("source", linked(dataset.source)))
    sizes = [(name, f"{len(getattr(dataset, name)):,}") for name in ("train", "valid", "test")]
    return section("data", "Data", definitions(pairs), table(("split", "data"), sizes))


def _shape(shape: Any) -> str:
    return " × ".join(str(size) for size in shape)


def making_section(variant: Variant, history: History | None, configuration: str, when: str) -> str:
    """Configuration, versions, settings and timing."""
    counts = [sum(p.numel() for p in program.parameters()) for program in (variant.model, variant.guide)]
    pairs = [("parameters", f"{counts[0]:,} in the model, {counts[1]:,} in the guide")]
    if history is not None and history.epochs:
        seconds = sum(history.get("seconds", []))
        pairs.append(
            ("training", f"{history.epochs:,} epochs in {seconds:,.1f} s ({seconds / history.epochs:.3f} s an epoch)")
        )
    pairs += [
        ("device", escape(str(variant.device))),
        ("pyro_vae", escape(pyro_vae.__version__)),
        ("pyro", escape(pyro.__version__)),
        ("torch", escape(torch.__version__)),
        ("python", escape(platform.python_version())),
        ("written", escape(when)),
    ]
    return section(
        "making",
        "How it was made",
        definitions(pairs),
        f"<details><summary>The variant</summary><pre>{escape(repr(variant))}</pre></details>",
        f"<details><summary>Configuration (YAML)</summary><pre>{escape(configuration.strip())}</pre></details>",
    )

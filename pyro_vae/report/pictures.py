"""The sections that show pictures, each drawn from the variant's own distributions."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

from pyro_vae import plots
from pyro_vae.errors import ConfigurationError, DataError
from pyro_vae.randomness import seeded
from pyro_vae.report.html import escape, missing, picture, section
from pyro_vae.training import History
from pyro_vae.variants import Variant

__all__ = ["Section", "drawn", "picture_sections", "shown"]

Section = tuple[str, str, str]
"""Anchor, heading, HTML."""


def picture_sections(
    variant: Variant,
    x: Tensor,
    y: Tensor | None,
    *,
    history: History | None = None,
    scores: str = "",
    class_names: tuple[str, ...] | None = None,
    feature_names: tuple[str, ...] | None = None,
    seed: int = 0,
) -> Iterator[Section]:
    """Each plot that there is, or a sentence on why it is not for this variant.

    What can be no question of the variant's kind (samples where x has no story) is left out altogether.

    Args:
        variant: any variant.
        x: data (N, \\*shape) that it has not been trained on.
        y: their labels, if any.
        history: of the training.
        scores: how good predictions are, in HTML.
        class_names: of the labels.
        feature_names: of the columns of tables.
        seed: of every picture's draws; the random stream outside is left alone.
    """
    x = variant.as_data(x)
    draw = functools.partial(drawn, variant, seed)
    options = _Options(variant, x, y, class_names, feature_names)
    if history is not None and history.epochs:
        yield draw(
            "training",
            "Training",
            "Nats per datum after each epoch, on training and on validation data. ELBO = reconstruction − KL.",
            f"Curves of the ELBO and its terms over {history.epochs} epochs",
            lambda: plots.losses(history),
        )
    if variant.predicts:
        yield _prediction_section(options, scores, seed)
    if variant.explains_data:
        yield from _generation_sections(options, draw)
    if variant.has_code:
        yield from _code_sections(options, draw)


class _Options:
    """What the plots of one page share."""

    def __init__(self, variant: Variant, x: Tensor, y: Tensor | None, class_names: Any, feature_names: Any) -> None:
        self.variant, self.x, self.y = variant, x, y
        self.given = None if variant.labels == "none" else y
        named = feature_names and len(variant.shape) == 1 and variant.explains_data
        self.features: dict[str, Any] = {"feature_names": feature_names} if named else {}
        self.classes: dict[str, Any] = {"class_names": class_names} if class_names else {}
        self.of = f"of the trained {type(variant).__name__}"
        self.images = len(variant.shape) > 1

    def first_label(self) -> Tensor | None:
        """The label of the first datum, predicted if it is missing, where codes are decoded with one."""
        if not self.variant.decodes_label:
            return None
        x, y = self.variant.batch(self.x[:1], None if self.given is None else self.given[:1])
        completed = self.variant.completed(x, y)
        return None if completed is None else completed[0]


def drawn(
    variant: Variant, seed: int, anchor: str, heading: str, caption: str, alt: str, plot: Callable[[], Any]
) -> Section:
    """A section with one picture, or with the reason why there is none."""
    content = shown(variant, seed, alt, plot)
    told = f"<p>{escape(caption)}</p>\n" if content.startswith("<div") else ""
    return anchor, heading, section(anchor, heading, told + content)


def shown(variant: Variant, seed: int, alt: str, plot: Callable[[], Any]) -> str:
    """A picture, or why there is none."""
    try:
        with seeded(seed, variant.device):
            return picture(plot(), alt)
    except (ConfigurationError, DataError, NotImplementedError) as error:
        return missing(error)


def _prediction_section(options: _Options, scores: str, seed: int) -> Section:
    """How good predictions of labels are; for classes how sure, and which are taken for which."""
    variant, data = options.variant, (options.x, options.y)
    assert variant.label is not None
    if variant.label.classes is None:
        told = "Predictions of the test data's properties against the true values."
        parts = [("Predicted against true values", lambda: plots.properties(variant, *data))]
    else:
        told = (
            "Which classes of test data are taken for which, and whether predictions are as often right as they say. "
            "Bars below the diagonal are overconfident."
        )
        parts = [
            ("Counts of true against predicted classes", lambda: plots.confusion(variant, *data, **options.classes)),
            ("Accuracy against confidence", lambda: plots.reliability(variant, *data)),
        ]
    pictures = [shown(variant, seed, f"{alt} {options.of}", plot) for alt, plot in parts]
    content = [scores, f"<p>{escape(told)}</p>", *dict.fromkeys(pictures)]  # one reason is said once
    return "predictions", "Predictions", section("predictions", "Predictions", *content)


def _generation_sections(options: _Options, draw: Callable[..., Section]) -> Iterator[Section]:
    variant, x, of = options.variant, options.x, options.of
    if variant.labels != "all":
        yield draw(
            "samples",
            "Samples",
            "New data from the story: a code from the prior, then the mean of p(x | z).",
            f"Samples {of}",
            lambda: plots.samples(variant, 64 if options.images else 32, **options.features),
        )
    if variant.generates_from_label:
        yield draw(
            "conditional",
            "Samples by label",
            "New data from the story with the label given: a row for each.",
            f"Samples of each label {of}",
            lambda: plots.conditional_samples(
                variant, 10 if options.images else 4, **options.classes, **options.features
            ),
        )
    if variant.decodes_label:
        yield draw(
            "styles",
            "Styles",
            "Each test datum's own code, decoded with every label in turn: what the label does not say stays.",
            f"One style in every class, {of}",
            lambda: plots.styles(
                variant, x, options.given, 8 if options.images else 3, **options.classes, **options.features
            ),
        )


def _code_sections(options: _Options, draw: Callable[..., Section]) -> Iterator[Section]:
    variant, x, y, of = options.variant, options.x, options.y, options.of
    two = variant.latent_size == 2
    yield draw(
        "reconstructions",
        "Reconstructions",
        "Test data, and what is left of them after the way through the code and back.",
        f"Test data beside their reconstructions {of}",
        lambda: plots.reconstructions(variant, x, 10, y=options.given, **options.features),
    )
    if variant.explains_data and len(x) > 1:
        apart = _classes(y) > 1 and not variant.decodes_label
        pairs = _pairs(y, len(x), 5 if options.images else 2, apart)
        yield draw(
            "interpolation",
            "Interpolation",
            "From one test datum to another: both are encoded, and the straight line between their codes is decoded."
            + (" The two are of different classes." if apart else ""),
            f"Decoded codes between pairs of test data, {of}",
            lambda: plots.interpolation(
                variant, x[pairs], y=None if options.given is None else options.given[pairs], **options.features
            ),
        )
    yield draw(
        "latent",
        "Latent space",
        "Where the guide puts the test data" + ("." if two else ", by the codes' two principal components."),
        f"Scatter plot of the codes of test data {of}",
        lambda: plots.latent(variant, x[:2000], None if y is None else y[:2000], **options.classes),
    )
    if variant.explains_data and two:
        yield draw(
            "manifold",
            "Manifold",
            "What the decoder makes of a grid of codes, spaced by the prior's quantiles.",
            f"Decoded grid of codes {of}",
            lambda: plots.manifold(variant, y=options.first_label(), **options.features),
        )
    elif variant.explains_data:
        yield draw(
            "traversal",
            "Traversal",
            "One latent dimension at a time is moved while the others stay where they are.",
            f"Decoded codes along single latent dimensions {of}",
            lambda: plots.traversal(variant, x, y=options.given, **options.features),
        )
    yield draw(
        "histograms",
        "Latent dimensions",
        "The test data's codes dimension by dimension, stacked by class. A prior that fits has the same outline.",
        f"Histograms of the latent dimensions {of}",
        lambda: plots.histograms(variant, x, y, **options.classes),
    )
    yield draw(
        "kl",
        "What the code costs",
        "KL(q(z | x) ‖ p(z)): how many nats each latent dimension says about a datum. One near 0 is not used.",
        f"KL of each latent dimension {of}",
        lambda: plots.kl(variant, x, options.given),
    )


def _classes(y: Tensor | None) -> int:
    return 0 if y is None or y.is_floating_point() else len(y[y >= 0].unique())


def _pairs(y: Tensor | None, n: int, count: int, apart: bool) -> list[int]:
    """Rows of data whose neighbours in order, first and second, third and fourth, ... are to be joined.

    The two of a pair are of different classes if ``apart``, as the way between them shows more, else of the same.
    """
    rows = list(range(min(2 * count, n)))
    if y is not None and not y.is_floating_point() and (y >= 0).any():
        of_class = [(y == c).nonzero().flatten().tolist() for c in y[y >= 0].unique()]
        if apart:
            turns = [(of_class[i % len(of_class)], i // len(of_class)) for i in range(2 * count)]
        else:
            turns = [(of_class[i // 2 % len(of_class)], i) for i in range(2 * count)]
        rows = [members[i % len(members)] for members, i in turns]
    return rows[: 2 * (len(rows) // 2)]

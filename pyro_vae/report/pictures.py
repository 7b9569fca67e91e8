"""The sections that show pictures, each drawn from the variant's own distributions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from pyro_vae import plots
from pyro_vae.errors import ConfigurationError, DataError
from pyro_vae.report.html import escape, missing, picture, section
from pyro_vae.training import History
from pyro_vae.variants import Variant

__all__ = ["picture_sections"]

Section = tuple[str, str, str]
"""Anchor, heading, HTML."""


def picture_sections(
    variant: Variant,
    x: Tensor,
    y: Tensor | None,
    *,
    history: History | None = None,
    class_names: tuple[str, ...] | None = None,
    feature_names: tuple[str, ...] | None = None,
    seed: int = 0,
) -> Iterator[Section]:
    """Each plot that there is, or a sentence on why it is not for this variant.

    Args:
        variant: any variant.
        x: data (N, \\*shape) that it has not been trained on.
        y: their labels, if any.
        history: of the training.
        class_names: of the labels.
        feature_names: of the columns of tables.
        seed: of every picture's draws; the random stream outside is left alone.
    """
    x = variant.as_data(x)
    names: dict[str, Any] = {"feature_names": feature_names} if feature_names and len(variant.shape) == 1 else {}
    labels: dict[str, Any] = {"class_names": class_names} if class_names else {}
    two = variant.latent_size == 2
    of = f"of the trained {type(variant).__name__}"

    def draw(anchor: str, heading: str, caption: str, alt: str, plot: Callable[[], Any]) -> Section:
        devices = [variant.device] if variant.device.type == "cuda" else []
        try:
            with torch.random.fork_rng(devices=devices):
                torch.manual_seed(seed)
                shown = f"<p>{escape(caption)}</p>\n{picture(plot(), alt)}"
        except (ConfigurationError, DataError, NotImplementedError) as error:
            shown = missing(error)
        return anchor, heading, section(anchor, heading, shown)

    if history is not None and history.epochs:
        yield draw(
            "training",
            "Training",
            "Nats per datum after each epoch, on training and on validation data. ELBO = reconstruction − KL.",
            f"Curves of the ELBO and its terms over {history.epochs} epochs",
            lambda: plots.losses(history),
        )
    yield draw(
        "samples",
        "Samples",
        "New data from the story: a code from the prior, then the mean of p(x | z).",
        f"Samples {of}",
        lambda: plots.samples(variant, 64 if len(variant.shape) > 1 else 32, **names),
    )
    yield draw(
        "reconstructions",
        "Reconstructions",
        "Test data, and what is left of them after the way through the code and back.",
        f"Test data beside their reconstructions {of}",
        lambda: plots.reconstructions(variant, x, 10, **names),
    )
    yield draw(
        "interpolation",
        "Interpolation",
        "From one test datum to another: both are encoded, and the straight line between their codes is decoded."
        + (" The two are of different classes." if _classes(y) > 1 else ""),
        f"Decoded codes between pairs of test data, {of}",
        lambda: plots.interpolation(variant, _pairs(x, y, 5 if len(variant.shape) > 1 else 2), **names),
    )
    yield draw(
        "latent",
        "Latent space",
        "Where the guide puts the test data" + ("." if two else ", by the codes' two principal components."),
        f"Scatter plot of the codes of test data {of}",
        lambda: plots.latent(variant, x[:2000], None if y is None else y[:2000], **labels),
    )
    if two:
        yield draw(
            "manifold",
            "Manifold",
            "What the decoder makes of a grid of codes, spaced by the prior's quantiles.",
            f"Decoded grid of codes {of}",
            lambda: plots.manifold(variant, **names),
        )
    else:
        yield draw(
            "traversal",
            "Traversal",
            "One latent dimension at a time is moved while the others stay where they are.",
            f"Decoded codes along single latent dimensions {of}",
            lambda: plots.traversal(variant, x, **names),
        )
    yield draw(
        "histograms",
        "Latent dimensions",
        "The test data's codes dimension by dimension, stacked by class. A prior that fits has the same outline.",
        f"Histograms of the latent dimensions {of}",
        lambda: plots.histograms(variant, x, y, **labels),
    )
    yield draw(
        "kl",
        "What the code costs",
        "KL(q(z | x) ‖ p(z)): how many nats each latent dimension says about a datum. One near 0 is not used.",
        f"KL of each latent dimension {of}",
        lambda: plots.kl(variant, x),
    )


def _classes(y: Tensor | None) -> int:
    return 0 if y is None or y.is_floating_point() else len(y[y >= 0].unique())


def _pairs(x: Tensor, y: Tensor | None, n: int) -> Tensor:
    """Data whose neighbours in order, first and second, third and fourth, ... are to be joined.

    Where there are classes the two of a pair are of different ones: the way between them shows more.
    """
    rows = list(range(min(2 * n, len(x))))
    if y is not None and _classes(y) > 1:
        rows = []
        of_class = [(y == c).nonzero().flatten().tolist() for c in y[y >= 0].unique()]
        for i in range(2 * n):
            members = of_class[i % len(of_class)]
            rows.append(members[(i // len(of_class)) % len(members)])
    return x[rows[: 2 * (len(rows) // 2)]] if len(rows) > 1 else x[[0, 0]]

"""What is predicted, and what is generated for a label."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from pyro_vae.comparison import Cell, Comparison
from tables.shared import exists, measured, read, table

M2_SETUPS = [
    "labels_alone",
    "labels_alone_conv",
    "plain",
    "unweighted",
    "recipe",
    "m1m2",
    "augmented",
    "m1m2_augmented",
    "conv",
]
M2_CHANGES = [
    "recipe",
    "labels_by_chance",
    "simple_classifier",
    "unweighted",
    "constant_beta",
    "constant_alpha",
    "small_weights",
    "random_start",
    "fixed_pixels",
    "grey_pixels",
]
M2_PUBLISHED = [
    "| published: Pyro's example, M2 with its auxiliary term | 6.81 | 5.63 | 5.13 | 4.18 |",
    "| published: M2 (Kingma et al. 2014, table 1) | 11.97 ± 1.71 | 4.94 ± 0.13 | 3.60 ± 0.56 | 3.92 ± 0.63 |",
    "| published: M1+M2 (Kingma et al. 2014, table 1) | 3.33 ± 0.14 | 2.59 ± 0.05 | 2.40 ± 0.02 | 2.18 ± 0.04 |",
    "| published: auxiliary deep generative model (Maaløe et al. 2016) | 0.96 ± 0.02 | | | |",
]


def mnist_labels() -> str:
    counts = (100, 600, 1000, 3000)
    head = " | ".join(f"{n:,} labels" for n in counts)
    lines = [f"| test error on MNIST, per cent | {head} |", "|---|---|---|---|---|"]
    for setup in M2_SETUPS:
        cells, words = [], ""
        for n in counts:
            if not exists(f"mnist_m2_{setup}_{n}"):
                cells.append("")
                continue
            result = read(f"mnist_m2_{setup}_{n}")
            words = result["setup"]
            cells.append(measured(result["test_error"], result["test_error_standard_error"]))
        if words:
            lines.append(f"| {words} | {' | '.join(cells)} |")
    return "\n".join([*lines, *M2_PUBLISHED])


def what_decides(n: int = 100) -> str:
    """The recipe of M2, and the same with one thing changed."""
    rows = []
    for setup in M2_CHANGES:
        result = read(f"mnist_m2_{setup}_{n}")
        elbo = statistics.mean(run["test_elbo"] for run in result["runs"])
        errors = (measured(run["test_error"], None) for run in result["runs"])
        rows.append((result["setup"], ", ".join(errors), measured(elbo, None, 1)))
    header = (f"M2 on MNIST, {n} labels, {result['epochs']} epochs", "test error, per cent, draw by draw", "test ELBO")
    return table(header, rows)


LABELS_PUBLISHED = {
    "mnist": {
        "a network on the labelled images alone": "74.19",
        "M1, a transductive support vector machine": "88.18 ± 0.25",
        "M2": "88.03 ± 1.71",
        "M1+M2": "96.67 ± 0.14",
    }
}  # 100 minus the errors of Kingma et al. 2014, table 1, at 100 labels


def labels(name: str) -> str:
    columns = [n for n in ("100", "all") if exists(f"labels_{name}_{n}")]
    files = [f"labels_{name}_{n}{suffix}" for n in columns for suffix in ("", "_slow")]
    comparison = Comparison([Cell(**cell) for file in files if exists(file) for cell in read(file)])
    header, *rows = comparison.rows()
    for words, accuracy in LABELS_PUBLISHED.get(name, {}).items():
        rows.append([f"published: {words} (Kingma et al. 2014)", accuracy, *[""] * (len(header) - 2)])
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows))


def properties() -> str:
    stem = "mnist_conditional_properties"
    seeds = [read(name) for name in (stem, f"{stem}_seed1", f"{stem}_seed2") if exists(name)]
    longer = [read(name) for name in [f"{stem}_long"] if exists(name)]
    header = [f"properties of MNIST digits: {', '.join(seeds[0]['rows'][0]['properties'])}"]
    columns = [rows for runs in (seeds, longer) for rows in zip(*(run["rows"] for run in runs), strict=True)]
    epochs = [run["epochs"] for run in [seeds[0], *longer] for _ in run["rows"]]
    header += [f"{rows[0]['percent']} % known, {n} epochs" for rows, n in zip(columns, epochs, strict=True)]
    table_rows = []
    for key, words in (
        ("vae_error", "mean absolute error, semi-supervised VAE"),
        ("alone_error", "mean absolute error, the same network on the known ones alone"),
        ("asked_and_measured", "correlation of asked for and measured"),
        ("reconstructed", "correlation of test images and their reconstructions"),
    ):
        digits = 2 if "error" in key else 3
        cells = [zip(*(row[key] for row in rows), strict=True) for rows in columns]
        means = [[statistics.mean(of_seeds) for of_seeds in cell] for cell in cells]
        table_rows.append([words, *(", ".join(f"{mean:.{digits}f}" for mean in cell) for cell in means)])
    gains = [mean_and_error([gain(row) for row in rows]) for rows in columns]
    table_rows.insert(2, ["the VAE's error is smaller by, mean of the three", *gains])
    return table(header, table_rows)


def gain(row: dict[str, Any]) -> float:
    """By how much the VAE's error is smaller than that of the network alone, mean over properties."""
    return statistics.mean(row["alone_error"]) - statistics.mean(row["vae_error"])


def mean_and_error(values: Sequence[float]) -> str:
    error = statistics.stdev(values) / len(values) ** 0.5 if values[1:] else None
    return measured(statistics.mean(values), error, 3)


def classes() -> str:
    result = read("mnist_conditional_classes")
    words = {
        "judge_on_test_images": "test images",
        "means_read_as_asked": "class-conditional samples, E[x given z, y]",
        "draws_read_as_asked": "class-conditional samples, pixels drawn too",
    }
    header = ("digits that a classifier reads", "as what they are, or were asked to be")
    return table(header, [(text, f"{100 * result[key]:.1f} %") for key, text in words.items()])

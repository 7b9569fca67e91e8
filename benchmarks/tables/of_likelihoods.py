"""Log p(x), and the bounds on it."""

from __future__ import annotations

from collections.abc import Iterator

from tables.shared import exists, measured, read, table

SETUPS = ["by_hand", "same_settings", "defaults", "flow_prior", "vamp", "flow_posterior", "conv", "best"]
PUBLISHED = "| published, IWAE paper's VAE (Burda et al. 2016, table 1) | 3,280 | | −86.76 | |"


def mnist() -> str:
    lines = [
        "| network and parts | epochs | test ELBO, 10,000 images | log p(x), the first 1,000 | training |",
        "|---|---|---|---|---|",
    ]
    for epochs in (10, 30):
        for name in SETUPS:
            if not exists(f"mnist_vae_{name}_{epochs}"):
                continue
            result = read(f"mnist_vae_{name}_{epochs}")
            elbo = measured(result["test_elbo"], result["test_elbo_standard_error"])
            log_p = measured(result["test_log_likelihood"], result["test_log_likelihood_standard_error"])
            minutes = result["training_seconds"] / 60
            lines.append(f"| {result['setup']} | {epochs} | {elbo} | {log_p} | {minutes:.1f} min |")
    return "\n".join([*lines, PUBLISHED])


IWAE_PUBLISHED = {
    (1, "vae-1"): "86.76 (19)",
    (1, "vae-5"): "86.47 (20)",
    (1, "vae-50"): "86.35 (20)",
    (1, "iwae-5"): "85.54 (22)",
    (1, "iwae-50"): "84.78 (25)",
    (2, "vae-1"): "85.33",
    (2, "vae-5"): "85.01",
    (2, "vae-50"): "84.78",
    (2, "iwae-5"): "83.89",
    (2, "iwae-50"): "82.90",
}


LONG = ("vae-1", 300, "iwae-5", 70)
"""A VAE trained on as IWAE, whose epochs take more than twice as long."""


LENGTHS = {1: (60,), 2: (12, 30)}, {1: (220, 600, 780)}
"""Epochs of the rows that are to be compared, by layers, and of longer runs."""


def iwae() -> str:
    header = (
        *("layers", "trained by", "epochs", "−log p(x)", "less the row above, image by image"),
        *("−ELBO, all 10,000 images", "active units", "published, 3,280 epochs (active units)"),
    )
    rows = [
        row
        for lengths in LENGTHS
        for layers, of_layers in lengths.items()
        for n in of_layers
        for row in block(layers, n)
    ]
    first, epochs, then, more = LONG
    if exists(name := f"mnist_iwae_1_{first}_{epochs}_then_{then}_{more}"):
        words = f"{k_words(first)}, then {k_words(then)}"
        rows.append(iwae_row(name, 1, words, f"{epochs} + {more}", IWAE_PUBLISHED[1, then]))
    return table(header, rows)


def block(layers: int, epochs: int) -> Iterator[tuple[object, ...]]:
    """The rows with as many layers and epochs, each compared with the one above it on the same images."""
    pairs = read(name) if exists(name := f"mnist_iwae_{layers}_pairs_{epochs}") else {}
    above = ""
    for which, objective in IWAE_PUBLISHED:
        if which == layers and exists(name := f"mnist_iwae_{layers}_{objective}_{epochs}"):
            less = pairs.get(f"{objective} - {above}")
            words = measured(less["mean"], less["standard_error"]) if less else ""
            yield iwae_row(name, layers, k_words(objective), epochs, IWAE_PUBLISHED[layers, objective], words)
            above = objective


def k_words(objective: str) -> str:
    kind, k = objective.upper().split("-")
    return f"{kind}, K = {k}"


def iwae_row(
    name: str, layers: int, words: str, epochs: int | str, published: str, less: str = ""
) -> tuple[object, ...]:
    result = read(name)
    nll = measured(result["negative_log_likelihood"], result["standard_error"])
    units = result.get("active_units", "")
    active = "+".join(map(str, units)) if isinstance(units, list) else units
    return layers, words, epochs, nll, less, f"{result['negative_elbo']:.2f}", active, published


def continued(epochs: int = 12, more: int = 6) -> str:
    rows = []
    for first in ("vae-1", "iwae-5"):
        for then in ("vae-1", "iwae-5"):
            result = read(f"mnist_iwae_1_{first}_{epochs}_then_{then}_{more}")
            nll = measured(result["negative_log_likelihood"], result["standard_error"])
            rows.append((k_words(first), k_words(then), nll, result["active_units"]))
    return table((f"{epochs} epochs as", f"{more} more as", "−log p(x)", "active units"), rows)


CHECKED = [("vae-1", 12), ("vae-1", 60), ("vae-1", 600), ("iwae-5", 780)]
"""Rows whose log p(x) was estimated by AIS too."""


def annealed() -> str:
    header = (
        *("one layer, trained by", "epochs", "importance sampling", "AIS", "AIS is higher by"),
        "upper less lower bound, simulated images",
    )
    rows = []
    for objective, epochs in CHECKED:
        result = read(f"mnist_iwae_1_{objective}_{epochs}")
        ais, both = result["ais"], result.get("bidirectional")
        importance, annealed_ = ais["importance_on_the_same"], ais["negative_log_likelihood"]
        gap = measured(both["gap"], both["standard_error"]) if both else ""
        cells = (f"{importance:.2f}", f"{annealed_:.2f}", f"{importance - annealed_:.2f}", gap)
        rows.append((k_words(objective), epochs, *cells))
    return table(header, rows)


def vae_600() -> tuple[str, str]:
    result = read("mnist_iwae_1_vae-1_600")
    value, error = result["negative_log_likelihood"], result["standard_error"]
    return measured(value, error, 1), IWAE_PUBLISHED[1, "vae-1"].split()[0]


SBN_PUBLISHED = {"wake_sleep": "116.3", "nvil": "113.1", "reweighted": "103.1", "vimco": "", "straight_through": ""}


def sbn(epochs: int = 20) -> str:
    rows = []
    for name, published in SBN_PUBLISHED.items():
        if exists(f"mnist_sbn_{name}_{epochs}"):
            result = read(f"mnist_sbn_{name}_{epochs}")
            nll = measured(result["negative_log_likelihood"], result["standard_error"])
            rows.append((result["setup"], nll, f"{result['negative_elbo']:.2f}", published))
    return table(("200 binary units, trained by", "−log p(x)", "−ELBO, all 10,000 images", "published"), rows)


def quadrants() -> str:
    lines = ["| −log p(y given x), nats per image | 1 quadrant | 2 quadrants | 3 quadrants |", "|---|---|---|---|"]
    results = [read(f"mnist_quadrants_{n}") for n in (1, 2, 3)]
    for name, words in (
        ("baseline", "deterministic network"),
        ("cvae_bound", "structured-output VAE, the bound"),
        ("cvae", "structured-output VAE, importance sampling"),
    ):
        cells = [measured(r[name]["mean"], r[name]["standard_error"]) for r in results]
        lines.append(f"| {words} | {' | '.join(cells)} |")
    return "\n".join(
        [
            *lines,
            "| published: baseline network (Sohn et al. 2015), rounded | 100 | 62 | 26 |",
            "| published: Pyro's tutorial, CVAE, the bound, on grey pixels | 71.8 | 51.0 | 24.2 |",
            "| published: Sohn et al. 2015, CVAE | 63.91 | 44.73 | 20.95 |",
        ]
    )

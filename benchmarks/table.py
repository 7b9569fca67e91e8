"""The tables of the documents, from the recorded results.

    python benchmarks/table.py docs/figures.md
    python benchmarks/table.py --write

prints those of one document, or puts all where they belong.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pyro_vae.comparison import Cell, Comparison

RESULTS = Path(__file__).parent / "results"
SETUPS = ["by_hand", "same_settings", "defaults", "flow_prior", "vamp", "flow_posterior", "conv", "best"]
PUBLISHED = "| published, IWAE paper's VAE (Burda et al. 2016, table 1) | 3,280 | | −86.76 | |"


def read(name: str) -> dict[str, Any]:
    return json.loads((RESULTS / f"{name}.json").read_text())["result"]


def nats(value: float, error: float) -> str:
    return f"{value:.2f} ± {error:.2f}".replace("-", "−")


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown."""
    return "\n".join(
        [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}", *(f"| {' | '.join(map(str, row))} |" for row in rows)]
    )


def mnist() -> str:
    lines = ["| network and parts | epochs | test ELBO | test log p(x) | training |", "|---|---|---|---|---|"]
    for epochs in (10, 30):
        for name in SETUPS:
            if not (RESULTS / f"mnist_vae_{name}_{epochs}.json").exists():
                continue
            result = read(f"mnist_vae_{name}_{epochs}")
            elbo = nats(result["test_elbo"], result["test_elbo_standard_error"])
            log_p = nats(result["test_log_likelihood"], result["test_log_likelihood_standard_error"])
            minutes = result["training_seconds"] / 60
            lines.append(f"| {result['setup']} | {epochs} | {elbo} | {log_p} | {minutes:.1f} min |")
    return "\n".join([*lines, PUBLISHED])


def overhead() -> str:
    result = read("overhead")
    words = {
        "with_fit/bare_loop": "`pv.fit` / a bare loop of `svi.step` with the same objective and optimiser",
        "bare_loop/by_hand": "that loop / the same network by hand in PyTorch",
        "plain_pyro/by_hand": "Pyro's own objective and optimiser / by hand",
    }
    rows = []
    for name, text in words.items():
        low, high = result[name]["quartiles"]
        rows.append((text, f"{result[name]['median']:.2f}", f"{low:.2f} to {high:.2f}"))
    return table(("time of an epoch, 784-400-20, batch 128", "median ratio", "quartiles"), rows)


STEPS = {
    "eager/hand": "`fit`, eager",
    "graph/hand": "`fit`, as a graph",
    "compiled/hand": "`fit`, compiled",
    "hand compiled/hand": "by hand, `torch.compile`",
    "pyro/hand": "plain Pyro",
}


def speed() -> str:
    rows = [[case, *ratios(result, STEPS)] for case, result in read("speed").items()]
    return table(("a step / the same by hand in PyTorch", *STEPS.values()), rows)


def ratios(result: dict[str, Any], names: Iterable[str]) -> list[str]:
    return [f"{result['ratios'][name]['median']:.2f}" for name in names]


def steps() -> str:
    """The same with the time by hand, and beside the matrix products alone where they were timed."""
    results = read("speed")
    columns = dict(STEPS)
    if all("hand/floor" in result["ratios"] for result in results.values()):
        columns |= {"compiled/floor": "`fit`, compiled / products", "hand/floor": "by hand / products"}
    rows = [[c, f"{r['milliseconds']['hand']:.1f} ms", *ratios(r, columns)] for c, r in results.items()]
    return table(("network", "by hand", *columns.values()), rows)


def compiling() -> str:
    """What machine code takes, and what a step holds in memory, beside the step by hand."""
    rows = []
    for case, result in read("speed").items():
        seconds, memory = result["compile_seconds"], result["mebibytes"]
        held = [f"{memory[way] / memory['hand']:.2f}" for way in ("eager", "graph", "compiled", "hand compiled")]
        rows.append((case, f"{seconds['cold']:.0f} s", f"{seconds['warm']:.1f} s", *held))
    ways = ("`fit`, eager", "as a graph", "compiled", "by hand, `torch.compile`")
    return table(("machine code of", "first time", "later", *(f"memory: {way}" for way in ways)), rows)


EPOCH_WAYS = {
    "fit": "`fit`, eager",
    "fit graph": "`fit`, as a graph",
    "fit compiled": "`fit`, compiled",
    "hand": "a loop by hand in PyTorch",
    "hand compiled": "that loop with `torch.compile`",
    "pyro": "plain Pyro, SVI in its example's loop",
    "pythae": "pythae's trainer",
    "pythae, fused Adam": "pythae's trainer, told to use the fused Adam",
    "pixyz": "pixyz's model in its example's loop",
    "pixyz, fused Adam": "that loop, the model told to use the fused Adam",
}


def epochs() -> str:
    """Whole epochs of ``fit`` beside those of others."""
    results = {name: result for name, result in read("epochs").items() if name != "peers"}
    ours = {"fit": "eager", "fit graph": "as a graph", "fit compiled": "compiled"}
    head = [f"{network}, {kind}" for network in results for kind in ours.values()]
    rows = []
    for name, words in EPOCH_WAYS.items():
        found = [result["ratios"].get(f"{way}/{name}") for result in results.values() for way in ours]
        if all(found):
            rows.append([words, *(f"{ratio['processor']['median']:.2f}" for ratio in found)])
    return table(("an epoch of `fit` / the same with", *head), rows)


def epochs_of(network: str) -> str:
    """Seconds and losses of every way."""
    result = read("epochs")[network]
    rows = []
    for name, words in EPOCH_WAYS.items():
        if name in result["seconds_per_epoch"]:
            seconds, loss = result["seconds_per_epoch"][name], result["loss_per_datum"][name]
            more = result["seconds_more_in_the_first_epoch"][name]["empty_cache"]
            cells = [f"{seconds['processor']:.2f}", f"{seconds['clock']:.2f}", f"{more:.1f}" * ("compiled" in name)]
            cells += [f"{loss['mean']:.2f}", "" if name == "hand" else nats(*loss["more_than_by_hand"].values())]
            rows.append([words, *cells])
    header = (network, "processor, s", "clock, s", "to compile, s", "loss, nats per datum", "more than by hand")
    return table(header, rows)


def profile() -> str:
    """Where the time of an eager step goes."""
    result = read("profile_step")
    ways = [result["eager"], result["hand"]]
    rows = []
    for owner in result["eager"]["by_owner"]:
        spent = [way["by_owner"].get(owner, {}).get("milliseconds") for way in ways]
        rows.append([owner, *("" if ms is None else f"{ms:.2f}" for ms in spent)])
    rows.append(["all", *(f"{way['milliseconds']:.2f}" for way in ways)])
    return table((f"a step of the {result['case']}, ms", "`fit`, eager", "by hand"), rows)


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


def iwae(lengths: tuple[int, ...] = (12, 220, 600, 780)) -> str:
    header = ("layers", "trained by", "epochs", "−log p(x)", "−ELBO", "active units")
    rows = [
        iwae_row(f"mnist_iwae_{layers}_{objective}_{epochs}", layers, k_words(objective), epochs, published)
        for epochs in lengths
        for (layers, objective), published in IWAE_PUBLISHED.items()
        if exists(f"mnist_iwae_{layers}_{objective}_{epochs}")
    ]
    first, epochs, then, more = LONG
    if exists(name := f"mnist_iwae_1_{first}_{epochs}_then_{then}_{more}"):
        words = f"{k_words(first)}, then {k_words(then)}"
        rows.append(iwae_row(name, 1, words, f"{epochs} + {more}", IWAE_PUBLISHED[1, then]))
    return table((*header, "published, 3,280 epochs (active units)"), rows)


def k_words(objective: str) -> str:
    kind, k = objective.upper().split("-")
    return f"{kind}, K = {k}"


def iwae_row(name: str, layers: int, words: str, epochs: int | str, published: str) -> tuple[object, ...]:
    result = read(name)
    nll = f"{result['negative_log_likelihood']:.2f} ± {result['standard_error']:.2f}"
    return layers, words, epochs, nll, f"{result['negative_elbo']:.2f}", result.get("active_units", ""), published


def continued(epochs: int = 12, more: int = 6) -> str:
    rows = []
    for first in ("vae-1", "iwae-5"):
        for then in ("vae-1", "iwae-5"):
            result = read(f"mnist_iwae_1_{first}_{epochs}_then_{then}_{more}")
            nll = f"{result['negative_log_likelihood']:.2f} ± {result['standard_error']:.2f}"
            rows.append((k_words(first), k_words(then), nll, result["active_units"]))
    return table((f"{epochs} epochs as", f"{more} more as", "−log p(x)", "active units"), rows)


SBN_PUBLISHED = {"wake_sleep": "116.3", "nvil": "113.1", "reweighted": "103.1", "vimco": "", "straight_through": ""}


def sbn(epochs: int = 20) -> str:
    rows = []
    for name, published in SBN_PUBLISHED.items():
        if exists(f"mnist_sbn_{name}_{epochs}"):
            result = read(f"mnist_sbn_{name}_{epochs}")
            nll = f"{result['negative_log_likelihood']:.2f} ± {result['standard_error']:.2f}"
            rows.append((result["setup"], nll, f"{result['negative_elbo']:.2f}", published))
    return table(("200 binary units, trained by", "−log p(x)", "−ELBO", "published"), rows)


def exists(name: str) -> bool:
    return (RESULTS / f"{name}.json").exists()


def per_cent(mean: float, error: float | None) -> str:
    return f"{mean:.2f}" if error is None else f"{mean:.2f} ± {error:.2f}"


M2_SETUPS = ["labels_alone", "labels_alone_conv", "plain", "unweighted", "recipe", "augmented", "conv"]
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
            cells.append(per_cent(result["test_error"], result["test_error_standard_error"]))
        if words:
            lines.append(f"| {words} | {' | '.join(cells)} |")
    return "\n".join([*lines, *M2_PUBLISHED])


def quadrants() -> str:
    lines = ["| −log p(y given x), nats per image | 1 quadrant | 2 quadrants | 3 quadrants |", "|---|---|---|---|"]
    results = [read(f"mnist_quadrants_{n}") for n in (1, 2, 3)]
    for name, words in (
        ("baseline", "deterministic network"),
        ("cvae_bound", "structured-output VAE, the bound"),
        ("cvae", "structured-output VAE, importance sampling"),
    ):
        cells = [f"{r[name]['mean']:.2f} ± {r[name]['standard_error']:.2f}" for r in results]
        lines.append(f"| {words} | {' | '.join(cells)} |")
    return "\n".join(
        [
            *lines,
            "| published: baseline network (Sohn et al. 2015), rounded | 100 | 62 | 26 |",
            "| published: Pyro's tutorial, CVAE | 71.8 | 51.0 | 24.2 |",
            "| published: Sohn et al. 2015, CVAE | 63.91 | 44.73 | 20.95 |",
        ]
    )


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
        means = [[sum(of_seeds) / len(of_seeds) for of_seeds in cell] for cell in cells]
        table_rows.append([words, *(", ".join(f"{mean:.{digits}f}" for mean in cell) for cell in means)])
    return table(header, table_rows)


def classes() -> str:
    result = read("mnist_conditional_classes")
    words = {
        "judge_on_test_images": "test images",
        "means_read_as_asked": "class-conditional samples, E[x given z, y]",
        "draws_read_as_asked": "class-conditional samples, pixels drawn too",
    }
    header = ("digits that a classifier reads", "as what they are, or were asked to be")
    return table(header, [(text, f"{100 * result[key]:.1f} %") for key, text in words.items()])


def highlights() -> str:
    """The few lines of the README: ours beside others."""
    m2 = {way: f"{read(f'mnist_m2_{way}_100')['test_error']:.1f} %" for way in ("recipe", "augmented")}
    answers = " / ".join(f"{read(f'mnist_quadrants_{n}')['cvae']['mean']:.1f}" for n in (1, 2, 3))
    sbn_ = " / ".join(f"{read(f'mnist_sbn_{way}_20')['negative_log_likelihood']:.0f}" for way in SBN_ORDER)
    steps_ = {
        way: " and ".join(
            f"{read('speed')[case]['ratios'][f'{way}/hand']['median']:.2f}" for case in CASES_OF_HIGHLIGHTS
        )
        for way in ("graph", "compiled")
    }
    epochs_ = [read("epochs")[case]["ratios"] for case in CASES_OF_HIGHLIGHTS.values()]

    def epoch(peer: str) -> str:
        return " and ".join(f"{ratios[f'fit compiled/{peer}']['processor']['median']:.2f}" for ratios in epochs_)

    rows = [
        ("−log p(x), MNIST, the IWAE paper's VAE, 600 epochs; 3,280 in the paper", *vae_600()),
        (
            "M2, MNIST, 100 labels, test error; with the classifier's input moved a little",
            f"{m2['recipe']}; {m2['augmented']}",
            "6.8 % (Pyro's example), 12.0 % (Kingma et al.)",
        ),
        (
            "−log p(missing quadrants given 1 / 2 / 3 quadrants)",
            answers,
            "63.9 / 44.7 / 21.0 (Sohn et al.), 71.8 / 51.0 / 24.2 (Pyro's tutorial)",
        ),
        (
            "−log p(x), sigmoid belief network, 20 epochs: wake-sleep / NVIL / reweighted wake-sleep",
            sbn_,
            "116 / 113 / 103 (Bornschein & Bengio), far longer",
        ),
        (
            "a training step as a graph, without a compiler / the same network by hand, 784 and 64 pixels",
            steps_["graph"],
            "1",
        ),
        ("a compiled training step / the same network by hand", steps_["compiled"], "1"),
        ("a compiled epoch / pythae's trainer, 784 and 64 pixels", epoch("pythae"), "1"),
        ("a compiled epoch / plain Pyro, 784 and 64 pixels", epoch("pyro"), "1"),
    ]
    return table(("", "Pyro-VAE", "others"), rows)


def vae_600() -> tuple[str, str]:
    result = read("mnist_iwae_1_vae-1_600")
    return f"{result['negative_log_likelihood']:.1f}", IWAE_PUBLISHED[1, "vae-1"].split()[0]


SBN_ORDER = ("wake_sleep", "nvil", "reweighted")
CASES_OF_HIGHLIGHTS = {"VAE 784-400-20, batch 128": "784-400-20", "VAE 64-64-8, batch 128": "64-64-8"}


def of_figures() -> list[str]:
    found = [mnist(), mnist_labels()]
    found += [quadrants()] if all(exists(f"mnist_quadrants_{n}") for n in (1, 2, 3)) else []
    found += [labels(name) for name in ("digits", "mnist", "cifar10") if exists(f"labels_{name}_100")]
    found += [classes()] if exists("mnist_conditional_classes") else []
    found += [properties()] if exists("mnist_conditional_properties") else []
    found += [iwae()] if exists("mnist_iwae_1_vae-1_12") else []
    found += [continued()] if exists("mnist_iwae_1_iwae-5_12_then_vae-1_6") else []
    found += [sbn()] if exists("mnist_sbn_wake_sleep_20") else []
    found += [speed()] if exists("speed") else []
    found += [epochs()] if exists("epochs") else []
    return [*found, overhead()]


def of_speed() -> list[str]:
    return [steps(), compiling(), epochs(), *(epochs_of(name) for name in read("epochs") if name != "peers"), profile()]


DOCUMENTS = {"README.md": lambda: [highlights()], "docs/figures.md": of_figures, "docs/speed.md": of_speed}


def written(text: str, new: str) -> str:
    """A document with a table in place of the one with the same head, or the same title of the first column."""
    head = new[: new.index("\n") + 1]
    blocks = text.split("\n\n")
    for title in (head, head[: head.index("|", 1) + 1]):
        places = [i for i, block in enumerate(blocks) if block.startswith(title)]
        if len(places) == 1:
            blocks[places[0]] = new + "\n" * blocks[places[0]].endswith("\n")
            return "\n\n".join(blocks)
    raise SystemExit(f"a document must have one table that begins with {title!r}, there are {len(places)}")


def main() -> None:
    names = [name for name in sys.argv[1:] if name != "--write"] or list(DOCUMENTS)
    for name in names:
        tables = DOCUMENTS[name]()
        if "--write" in sys.argv:
            path = RESULTS.parent.parent / name
            path.write_text(functools.reduce(written, tables, path.read_text()))
        else:
            print("\n\n".join(tables))


if __name__ == "__main__":
    main()

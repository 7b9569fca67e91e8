"""The tables of the documents, from the recorded results.

    python benchmarks/table.py docs/figures.md
    python benchmarks/table.py --write

prints those of one document, or puts all where they belong.
"""

from __future__ import annotations

import functools
import sys

from tables.of_labels import classes, labels, mnist_labels, properties, what_decides
from tables.of_likelihoods import annealed, continued, iwae, mnist, quadrants, sbn, vae_600
from tables.of_speed import (
    compile_time,
    compiling,
    epochs,
    epochs_of,
    log_likelihood,
    memory,
    overhead,
    profile,
    speed,
    steps,
)
from tables.shared import RESULTS, exists, read, table

SBN_ORDER = ("wake_sleep", "nvil", "reweighted")
CASES_OF_HIGHLIGHTS = {"VAE 784-400-20, batch 128": "784-400-20", "VAE 64-64-8, batch 128": "64-64-8"}


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
            "M2, MNIST, 100 labels, test error; with data augmentation for the classifier",
            f"{m2['recipe']}; {m2['augmented']}",
            "6.8 % (Pyro's example), 12.0 % (Kingma et al.)",
        ),
        (
            "−log p(missing quadrants given 1 / 2 / 3 quadrants)",
            answers,
            "63.9 / 44.7 / 21.0 (Sohn et al.)",
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


def of_figures() -> list[str]:
    found = [mnist(), mnist_labels(), what_decides()]
    found += [quadrants()] if all(exists(f"mnist_quadrants_{n}") for n in (1, 2, 3)) else []
    found += [labels(name) for name in ("digits", "mnist", "cifar10") if exists(f"labels_{name}_100")]
    found += [classes()] if exists("mnist_conditional_classes") else []
    found += [properties()] if exists("mnist_conditional_properties") else []
    found += [iwae()] if exists("mnist_iwae_1_vae-1_12") else []
    found += [continued()] if exists("mnist_iwae_1_iwae-5_12_then_vae-1_6") else []
    found += [annealed()] if exists("mnist_iwae_1_vae-1_12") else []
    found += [sbn()] if exists("mnist_sbn_wake_sleep_20") else []
    found += [speed()] if exists("speed") else []
    found += [epochs()] if exists("epochs") else []
    return [*found, overhead()]


def of_speed() -> list[str]:
    of_each = [epochs_of(name) for name in read("epochs") if name != "peers"]
    return [steps(), compiling(), compile_time(), memory(), epochs(), *of_each, profile(), log_likelihood()]


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

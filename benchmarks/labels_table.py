"""Accuracy with few labels and with many, system by system: the experiment that ``pyro-vae compare`` runs.

    python benchmarks/labels_table.py digits --seeds 10 --labels 100
    python benchmarks/labels_table.py digits --seeds 3 --labels 100 --systems PC CPC M1+M2 --suffix _slow
    python benchmarks/labels_table.py digits --seeds 3 --labels all
    python benchmarks/labels_table.py mnist --seeds 3 --labels 100 --precision bf16
    python benchmarks/labels_table.py mnist cifar10 --seeds 1 --labels 100 all --precision bf16

Cells that are done are kept in ``runs/``, so that a run that was stopped goes on where it was.  bf16 halves the time on
processors that multiply in it, and multiplies it on others.
"""

from __future__ import annotations

import dataclasses

import torch
from common import RESULTS, parser, record

from pyro_vae import data
from pyro_vae.comparison import SYSTEMS, Cell, compare, recipe_for


def main() -> None:
    options = parser("Accuracy with few labels and with many.")
    options.add_argument("datasets", nargs="+", metavar="DATA")
    options.add_argument("--labels", nargs="+", default=["100", "all"], metavar="N")
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--systems", nargs="+", choices=list(SYSTEMS), metavar="SYSTEM")
    options.add_argument("--precision", choices=["float32", "bf16"], default="float32")
    options.add_argument("--suffix", default="", help="of the result's name, where some systems have other seeds")
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)

    def told(cell: Cell, number: int, of: int) -> None:
        where = f"{cell.system}, {cell.labels} labels, seed {cell.seed}"
        print(f"{number} of {of}: {where}: {cell.test:.4f} in {cell.seconds:.0f} s", flush=True)

    for name in arguments.datasets:
        dataset = data.load(name)
        recipe = dataclasses.replace(recipe_for(dataset), precision=arguments.precision)
        for labels in arguments.labels:
            found = compare(
                dataset,
                labels=[None if labels == "all" else int(labels)],
                systems=arguments.systems,
                seeds=arguments.seeds,
                recipe=recipe,
                folder=RESULTS.parent / "runs",
                report=told,
            )
            print(found)
            arguments.out = RESULTS / f"labels_{name}_{labels}{arguments.suffix}.json"
            record("labels_table", arguments, found.to_json())


if __name__ == "__main__":
    main()

"""The commands that train: ``fit`` and ``demo``."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pyro_vae.cli.commands.threads import threads_for
from pyro_vae.cli.datasets import evaluated
from pyro_vae.cli.options import Request, parse
from pyro_vae.cli.output import print_numbers, summary_line
from pyro_vae.cli.processes import asked_for, is_first, together
from pyro_vae.errors import CheckpointError, ConfigurationError
from pyro_vae.files import make_folder, write_text
from pyro_vae.report.numbers import numbers
from pyro_vae.training import History
from pyro_vae.training import fit as fit_variant
from pyro_vae.variants import Variant

__all__ = ["demo", "fit"]

DEMO = {
    "variant": "VAE",
    "data": "digits",
    "likelihood": {"class_path": "pyro_vae.likelihoods.Normal", "init_args": {"scale": "shared"}},
    "encoder": {"class_path": "pyro_vae.networks.MLP", "init_args": {"hidden": [256], "dropout": 0.1}},
    "epochs": 100,
    "batch_size": 64,
    "lr": 3e-3,
}
"""The options of ``demo`` where they are not given; its folder is ``runs/demo``."""


def _train(request: Request) -> tuple[Variant, History]:
    """Fit what was asked for, with ``run.yaml`` beside its checkpoints."""
    variant, folder = request.variant(), request.folder
    if (folder / "last.pt").exists() and not request.values["resume"]:
        raise CheckpointError(
            f"folder {str(folder)!r} already holds a run; go on with it: --resume, or name another --folder"
        )
    own = folder / "run.yaml"
    if request.file is not None and not request.values["resume"] and request.file.resolve() == own.resolve():
        raise ConfigurationError(f"the run would write over its own --config {str(own)!r}; name another --folder")
    make_folder(folder)
    if is_first() and not (folder / "last.pt").exists():  # a resumed run keeps its own until it was really resumed
        write_text(own, request.as_yaml())
    size = sum(parameter.numel() for parameter in variant.parameters())
    name = type(variant).__name__
    epochs = request.values["epochs"]
    print(f"{name} on {request.dataset.name}: {size:,} parameters, {epochs} epochs, into {folder}", flush=True)
    logging.getLogger("ignite").setLevel(logging.CRITICAL)  # what stops a run is told once, by `main`
    try:
        with threads_for(size):
            history = fit_variant(variant, request.dataset, **request.fit_arguments())
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"go on with: pyro-vae fit --folder {folder} --resume") from None
    if is_first():
        write_text(own, request.as_yaml())
    print(f"trained in {sum(history['seconds']):.1f} s")
    return variant, history


def fit(argv: list[str]) -> None:
    """Train a variant, in as many processes as are asked for."""
    processes, argv = asked_for(argv)
    if processes > 1:
        together(processes, fit, argv)
        return
    request = parse("fit", argv)
    variant, _ = _train(request)
    if not is_first():
        return
    test = evaluated(request.dataset, request.values["transform"]).test
    if len(test):
        print(summary_line(variant, test))
    print(f"next: pyro-vae report {request.folder} (or evaluate, generate, show)")


def demo(argv: list[str]) -> None:
    """Train on digits and write the report."""
    from pyro_vae import stories
    from pyro_vae.report import write

    request = parse("demo", argv, DEMO)
    print(stories.story(request.variant()), end="\n\n")
    own = request.values["folder"] is None
    if own:
        request.values["folder"] = "runs/demo"
    with _set_aside(request.folder) if own and not request.values["resume"] else contextlib.nullcontext():
        variant, history = _train(request)
    dataset = evaluated(request.dataset, request.values["transform"])
    page = request.folder / "report.html"
    found = numbers(variant, dataset.test, num_samples=500, max_data=500)
    write(variant, dataset, page, history, configuration=request.as_yaml(), found=found)
    print_numbers(found)
    print("swap the prior, and everything changes with it: pyro-vae demo --prior=Vamp --prior.components=50")
    print(f"the report: {page}")


@contextlib.contextmanager
def _set_aside(folder: Path) -> Iterator[None]:
    """The files of an earlier demo out of the way of a new one; they come back where that does not get to an epoch."""
    if not folder.is_dir():
        yield
        return
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as aside:
        for name in ("last.pt", "best.pt", "history.csv", "run.yaml", "report.html"):
            if (folder / name).is_file():
                os.replace(folder / name, Path(aside, name))
        try:
            yield
        finally:
            if not (folder / "last.pt").exists():
                for path in Path(aside).iterdir():
                    os.replace(path, folder / path.name)

"""One training run: the engine, what it reports, and how it is stopped and continued."""

from __future__ import annotations

import contextlib
import copy
import functools
import hashlib
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyro
import torch
from ignite.engine import Engine, Events
from ignite.handlers import EarlyStopping, ProgressBar
from pyro.infer import SVI
from torch import Tensor

from pyro_vae.data import Split
from pyro_vae.errors import CheckpointError, ConfigurationError, DataError, NonFiniteLossError
from pyro_vae.evaluation import elbo, kl_per_dimension
from pyro_vae.files import make_folder, read_torch, write_torch
from pyro_vae.objectives.schedules import Schedule
from pyro_vae.program import labelled
from pyro_vae.randomness import seeded
from pyro_vae.training.batches import Batches
from pyro_vae.training.checkpoint import checkpoint_to_resume
from pyro_vae.training.compilation import compiled
from pyro_vae.training.diagnosis import find_culprit
from pyro_vae.training.history import History
from pyro_vae.training.optimiser import JointOptim
from pyro_vae.training.registration import unregistered
from pyro_vae.training.tensorboard import TensorBoard
from pyro_vae.variants.base import Variant

__all__ = ["Run", "Settings"]


@dataclass
class Settings:
    """The arguments of :func:`pyro_vae.fit`, checked."""

    epochs: int
    batch_size: int
    lr: Schedule
    optimizer: Callable[..., torch.optim.Optimizer]
    clip: float | None
    transform: Callable[[Tensor], Tensor] | None
    seed: int
    precision: str
    patience: int | None
    tensorboard: bool
    progress: bool | str
    compile: bool | str = "auto"
    labelled_batch_size: int | str | None = "auto"
    monitor: str | None = None
    warmup: int = 0

    def as_text(self) -> str:
        """What must be the same when a run is resumed."""
        same = ("batch_size", "clip", "seed", "precision", "patience", "labelled_batch_size", "monitor", "warmup")
        named = {"transform": _name(self.transform), "optimizer": _name(self.optimizer), "peak lr": self.lr(0.0)}
        return json.dumps({name: getattr(self, name) for name in same} | named)


def _name(function: Callable[..., Any] | None) -> str | None:
    if isinstance(function, functools.partial):
        return f"{_name(function.func)}({function.args}, {function.keywords})"
    return function if function is None else getattr(function, "__qualname__", type(function).__name__)


class Run:
    """A run of a variant; with a folder, one that survives being killed."""

    def __init__(
        self, variant: Variant, settings: Settings, folder: str | os.PathLike[str] | None, resume: bool
    ) -> None:
        self.variant = variant
        self.objective: Any = variant.objective
        self.settings = settings
        self.folder: Path | None = None if folder is None else make_folder(folder)
        self.history = History()
        self.best: dict[str, Any] | None = None
        self.saved = checkpoint_to_resume(self.folder, resume, variant, settings.as_text())
        self.optim = JointOptim(variant.parameters(), settings.optimizer, lr=settings.lr(0.0), clip=settings.clip)
        self.svi = SVI(variant.model, variant.guide, self.optim, loss=self._loss, loss_and_grads=self._loss_and_grads)
        self.engine = Engine(self._step)
        self.engine.logger.disabled = True  # an error speaks for itself
        self.writer = TensorBoard(self.folder) if self.folder and settings.tensorboard else None

    # -- one step

    def _loss(self, *args: Any) -> Any:
        return self.objective.loss(*args)

    def _loss_and_grads(self, model: Any, guide: Any, *args: Any) -> float:
        loss = self.objective.loss_and_grads(model, guide, *args)
        if isinstance(loss, tuple):  # wake and sleep
            loss = sum(float(each) for each in loss)
        if not math.isfinite(loss):  # before the optimiser can spoil the weights with it
            raise self._not_finite(f"the loss became {loss}", *args)
        return loss

    def _not_finite(self, what: str, *args: Any) -> NonFiniteLossError:
        state = self.engine.state
        kept = f"; {self.folder / 'last.pt'} holds the last good epoch" if self.folder else ""
        culprit = find_culprit(self.variant, *args)
        return NonFiniteLossError(f"{what} in epoch {state.epoch}, step {state.iteration}: {culprit}{kept}")

    def _step(self, engine: Engine, batch: tuple[Tensor, Tensor | None]) -> float:
        x, y = batch
        now = (engine.state.iteration - 1) / len(self.batches)
        self.variant.anneal(now, self.settings.epochs)
        rise = min(1.0, engine.state.iteration / self.settings.warmup) if self.settings.warmup else 1.0
        self.optim.set_lr(rise * self.settings.lr(now))
        self.optim.batch = len(x)
        with self.precision:
            loss = self.svi.step(*self.variant.program_arguments(x, y))
        terms = getattr(self.objective, "terms", None)
        if terms is not None:
            self.reported += torch.stack([terms.reconstruction, terms.kl])
            bound = {} if terms.bound is None else {"bound": terms.bound}
            for name, value in (terms.factors | bound).items():
                self.factors[name] = self.factors.get(name, 0.0) + value
        self.total += loss
        if engine.state.iteration == 1:
            # the first batch was checked in full; from here on the checks would be most of the work
            self.unchecked.enter_context(pyro.validation_enabled(False))
        return loss

    # -- the whole run

    def train(self, data: Split, valid: Split | None) -> History:
        """Train on ``data``, watching ``valid``."""
        variant, settings = self.variant, self.settings
        store = pyro.get_param_store().scope()
        with seeded(settings.seed, variant.device), store, contextlib.ExitStack() as self.unchecked:
            x, y = self._checked("data", data)
            self.valid = None if valid is None else self._checked("valid", valid)
            self.batches = Batches(x, y, settings.batch_size, settings.seed, self._seen, self._labelled_batch_size(y))
            self.precision = torch.autocast(
                variant.device.type, dtype=torch.bfloat16, enabled=settings.precision == "bf16"
            )
            if not (self.saved or variant.initialised):
                variant.initialise(*self._seen(x, y))
            self._attach()
            variant.train()
            start = self._restore() if self.saved else 0
            self.objective = compiled(
                variant.objective, settings.compile, self.batches, settings.epochs, begun=start > 0
            )
            variant.unfinish()  # what an earlier run made of the weights does not belong to those to come
            if start:
                # the first step was checked when the run began; checking another would take its densities in another
                # order, and gradients that are added up in another order differ in the last digit
                self.unchecked.enter_context(pyro.validation_enabled(False))
            try:
                stopped = self.stopper is not None and self.stopper.counter >= self.stopper.patience
                if start < settings.epochs and not stopped:
                    steps = self._stream(start + 1)
                    with unregistered(variant, variant.objective):
                        self.engine.run(steps, max_epochs=settings.epochs, epoch_length=len(self.batches))
            finally:
                variant.eval()
                variant.anneal(float("inf"))
                if self.writer is not None:
                    self.writer.close()
            if settings.patience is not None and self.best is not None:
                variant.load_state_dict(self.best)
            if variant.finishes:
                variant.finish(*self._seen(x, y))
                self._keep_finished()
        return self.history

    def _checked(self, what: str, data: Split) -> tuple[Tensor, Tensor | None]:
        """Data and labels on the device, after a check of what the variant will see of them."""
        x, y = data.x, None if self.variant.labels == "none" else data.y
        if not len(x):
            raise DataError(f"{what}: there are no data (shape {tuple(x.shape)})")
        try:
            if self.settings.transform is None:
                return self.variant.batch(x, y)
            x, y = x.to(self.variant.device, self.variant.dtype), None if y is None else y.to(self.variant.device)
            seen = self.variant.batch(*self._seen(x, y))
        except DataError as error:
            raise DataError(f"{what}: {error}") from None
        if what != "data":
            return seen
        # the labels as they were checked, except where the transform is of them too
        return x, y if self.variant.transforms_labels else seen[1]

    def _seen(self, x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """What the variant sees of data: a new draw of the transform."""
        transform = self.settings.transform
        if transform is None:
            return x, y
        if y is not None and self.variant.transforms_labels:
            y = transform(y).to(y)
        return transform(x).to(x), y

    def _labelled_batch_size(self, y: Tensor | None) -> int | None:
        """How many data with labels each batch is given in addition; ``None`` where labels come as they fall."""
        size = self.settings.labelled_batch_size
        if y is None or self.variant.labels != "some" or not self.variant.programs_see_labels or size is None:
            return None
        known = int(labelled(y).sum())
        if known in (0, len(y)):
            return None
        if size == "auto":
            # where less than a tenth has labels, a batch would hold too few of them, or none
            return min(known, self.settings.batch_size) if known < len(y) / 10 else None
        return int(size)

    def _stream(self, epoch: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        while True:
            yield from self.batches.epoch(epoch)
            epoch += 1

    def _attach(self) -> None:
        engine = self.engine
        engine.add_event_handler(Events.EPOCH_STARTED, self._begin_epoch)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._end_epoch)
        self.stopper: EarlyStopping | None = None
        if self.settings.patience is not None:
            self.stopper = EarlyStopping(self.settings.patience, lambda _: self._score(), engine)
            self.stopper.logger.disabled = True
            engine.add_event_handler(Events.EPOCH_COMPLETED, self.stopper)
        if self.folder is not None:
            engine.add_event_handler(Events.EPOCH_COMPLETED, self._write)
        shown = self.settings.progress
        if shown is True or (shown == "auto" and sys.stderr.isatty()):
            bar = ProgressBar(desc=type(self.variant).__name__, persist=True, bar_format=None)
            bar.attach(
                engine,
                event_name=Events.EPOCH_COMPLETED,
                closing_event_name=Events.COMPLETED,
                output_transform=lambda _: {
                    name: self.history[name][-1] for name in ("elbo", "valid_elbo") if name in self.history
                },
            )

    def _begin_epoch(self) -> None:
        self.started = time.perf_counter()
        self.total = 0.0
        self.reported = torch.zeros(2, device=self.variant.device)
        self.factors: dict[str, Any] = {}

    def _end_epoch(self) -> None:
        n = self.batches.data_per_epoch
        epoch = self.engine.state.epoch
        if not all(torch.isfinite(weight).all() for weight in self.variant.parameters()):
            # the loss was finite still, but the last step's gradient was not: the checkpoint must not see it
            raise self._not_finite("a weight became NaN or infinite")
        if getattr(self.objective, "terms", None) is not None:
            reconstruction, kl = (self.reported / n).tolist()
        else:  # Pyro's own objectives report only their sum
            some = elbo(self.variant, *self._seen(self.batches.x, self.batches.y))
            reconstruction, kl = some.reconstruction.mean().item(), some.kl.mean().item()
        entry: dict[str, Any] = {
            "loss": self.total / n,
            "elbo": reconstruction - kl,
            "reconstruction": reconstruction,
            "kl": kl,
            "beta": self.variant.beta.over(self.settings.epochs)(epoch - 1 / len(self.batches)),
            "lr": self.settings.lr(epoch - 1 / len(self.batches)),
            **{name: value.item() / n for name, value in self.factors.items()},
        }
        if self.valid is not None:
            terms = elbo(self.variant, *self.valid)
            for name, value in zip(terms._fields, terms, strict=True):
                entry[f"valid_{name}"] = value.mean().item()
            entry |= {f"valid_{name}": value for name, value in self.variant.score(*self.valid).items()}
            dimensions = kl_per_dimension(self.variant, *self.valid)
            if dimensions is not None:
                entry["valid_kl_per_dimension"] = dimensions.tolist()
        entry["seconds"] = time.perf_counter() - self.started
        self.history.append(**entry)
        if self._score() >= max(map(self._sign, self.history[self._scored()])):
            if self.settings.patience is not None:
                self.best = copy.deepcopy(self.variant.state_dict())
            if self.folder is not None:
                self.variant.save(self.folder / "best.pt")

    def _scored(self) -> str:
        """The quantity that says which epoch was best."""
        name = self.settings.monitor or ("elbo" if self.valid is None else "valid_elbo")
        if name not in self.history or not isinstance(self.history[name][-1], float):
            known = ", ".join(n for n, values in self.history.items() if isinstance(values[-1], float))
            raise ConfigurationError(f"monitor={name!r} is not measured in this run; there are {known}")
        return name

    def _sign(self, value: float) -> float:
        lower_is_better = any(word in self._scored() for word in ("loss", "error", "kl"))
        return -value if lower_is_better else value

    def _score(self) -> float:
        return self._sign(self.history[self._scored()][-1])

    def _keep_finished(self) -> None:
        """Write what came after the last epoch, such as M1's classifier, to the files that others load."""
        if self.folder is not None:
            content = read_torch(self.folder / "last.pt") | self.variant.to_content()
            write_torch(self.folder / "last.pt", content)
            self.variant.save(self.folder / "best.pt")

    # -- stopping and continuing

    def _restore(self) -> int:
        """Put everything back as it was at the end of the checkpoint's last epoch, and return that epoch."""
        saved = self.saved
        assert saved is not None
        if saved["data"] != self._fingerprint:
            raise CheckpointError("the run to be resumed was started with other training data")
        if saved["validated"] != (self.valid is not None):
            raise CheckpointError(
                "the run to be resumed and this one must both have validation data (valid=), or neither"
            )
        self.variant.load_state_dict(saved["weights"])
        self.optim.torch_optimiser.load_state_dict(saved["optimiser"])
        self.history.update(json.loads(saved["history"]))
        if self.stopper is not None and saved["stopper"]:
            self.stopper.load_state_dict(saved["stopper"])
        if self.folder is not None and (self.folder / "best.pt").exists():
            self.best = read_torch(self.folder / "best.pt")["weights"]
        epoch = int(saved["epoch"])
        if epoch > self.settings.epochs:
            raise CheckpointError(
                f"the run to be resumed has done {epoch} epochs already, more than epochs={self.settings.epochs}"
            )
        self.engine.load_state_dict(
            {"epoch": epoch, "epoch_length": len(self.batches), "max_epochs": self.settings.epochs}
        )
        torch.set_rng_state(saved["rng"])
        if saved["cuda_rng"] is not None and self.variant.device.type == "cuda":
            torch.cuda.set_rng_state(saved["cuda_rng"], self.variant.device)
        return epoch

    @functools.cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.blake2b(self.batches.x.cpu().numpy().tobytes(), digest_size=16)
        if self.batches.y is not None:
            digest.update(self.batches.y.cpu().numpy().tobytes())
        return digest.hexdigest()

    def _write(self) -> None:
        assert self.folder is not None
        on_cuda = self.variant.device.type == "cuda"
        write_torch(
            self.folder / "last.pt",
            {
                **self.variant.to_content(),
                "training": self.settings.as_text(),
                "data": self._fingerprint,
                "validated": self.valid is not None,
                "optimiser": self.optim.torch_optimiser.state_dict(),
                "epoch": self.engine.state.epoch,
                "history": json.dumps(self.history),
                "stopper": self.stopper.state_dict() if self.stopper is not None else None,
                "rng": torch.get_rng_state(),
                "cuda_rng": torch.cuda.get_rng_state(self.variant.device) if on_cuda else None,
            },
        )
        self.history.to_csv(self.folder / "history.csv")
        if self.writer is not None:
            self.writer.write(self.history, self.engine.state.epoch)

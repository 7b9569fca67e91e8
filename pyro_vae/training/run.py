"""One training run: the engine, what it reports, and how it is stopped and continued."""

from __future__ import annotations

import contextlib
import copy
import functools
import json
import logging
import math
import os
import sys
import time
from collections.abc import Generator
from typing import Any

import pyro
import torch
from ignite.engine import Engine, Events
from ignite.handlers import EarlyStopping, ProgressBar
from pyro.infer import SVI
from torch import Tensor

from pyro_vae.data import Split, Streamed
from pyro_vae.errors import CheckpointError, NonFiniteLossError
from pyro_vae.evaluation import elbo
from pyro_vae.randomness import generator_states, seeded, set_generator_states
from pyro_vae.training.compilation import compiled
from pyro_vae.training.diagnosis import find_culprit
from pyro_vae.training.history import History
from pyro_vae.training.kept import Kept
from pyro_vae.training.measures import measured, summed
from pyro_vae.training.monitor import Monitor
from pyro_vae.training.optimiser import JointOptim
from pyro_vae.training.processes import Processes
from pyro_vae.training.registration import unregistered
from pyro_vae.training.settings import Settings
from pyro_vae.training.sources import share_of, source_of
from pyro_vae.training.sums import Sums
from pyro_vae.variants.base import Variant

__all__ = ["Run"]


class Run:
    """A run of a variant; with a folder, one that survives being killed.

    Several processes run it together: each has the gradients of its share of every batch, and the optimiser steps with
    their sum, so that all hold the same weights.  The first writes the files.
    """

    def __init__(
        self,
        variant: Variant,
        settings: Settings,
        folder: str | os.PathLike[str] | None,
        resume: bool,
        processes: Processes,
    ) -> None:
        self.variant = variant
        self.processes = processes
        self.objective: Any = variant.objective
        self.settings = settings
        self.kept = None if folder is None else Kept(folder, variant, processes.first, settings.tensorboard)
        self.saved = None if self.kept is None else self.kept.to_resume(resume, settings.as_text())
        self.history = History()
        self.best: dict[str, Any] | None = None
        self.optim = JointOptim(variant.parameters(), settings.optimizer, lr=settings.lr(0.0), clip=settings.clip)
        self.svi = SVI(variant.model, variant.guide, self.optim, loss=self._loss, loss_and_grads=self._loss_and_grads)
        self.engine = Engine(self._step)
        self.engine.logger = _silent()  # an error speaks for itself

    # -- one step

    def _loss(self, *args: Any) -> Any:
        return self.objective.loss(*args)

    def _loss_and_grads(self, model: Any, guide: Any, *args: Any) -> float:
        loss = self.objective.loss_and_grads(model, guide, *args)
        if isinstance(loss, tuple):  # wake and sleep
            loss = sum(float(each) for each in loss)
        finite = math.isfinite(loss)
        failed, self.optim.batch = self.processes.sum_gradients(self.optim.parameters, not finite, self.optim.batch)
        if failed:  # before the optimiser can spoil the weights with it
            what = f"the loss became {loss}" if not finite else "the loss of another process became NaN or infinite"
            raise self._not_finite(what, *args)
        return loss

    def _not_finite(self, what: str, *args: Any) -> NonFiniteLossError:
        state = self.engine.state
        kept = f"; {self.kept.last} holds the last good epoch" if self.kept else ""
        culprit = find_culprit(self.variant, *args)
        return NonFiniteLossError(f"{what} in epoch {state.epoch}, step {state.iteration}: {culprit}{kept}")

    def _step(self, engine: Engine, batch: tuple[Tensor, Tensor | None]) -> float:
        x, y = batch
        now = (engine.state.iteration - 1) / len(self.batches)
        self.variant.anneal(now, self.settings.epochs)
        self.optim.set_lr(self._learning_rate())
        self.optim.batch = len(x)
        with self.precision:
            loss = self.svi.step(*self.variant.program_arguments(x, y))
        self.sums.add(loss, getattr(self.objective, "terms", None))
        if engine.state.iteration == 1:
            # the first batch was checked in full; from here on the checks would be most of the work
            self.unchecked.enter_context(pyro.validation_enabled(False))
            self._check_monitor()
        return loss

    def _check_monitor(self) -> None:
        """Check that what was asked for will be measured, now that all factors are known and before an epoch is done.

        Raises:
            ConfigurationError: when it will not.
        """
        if not self.monitor.asked_for:
            return
        names = ["loss", "elbo", "reconstruction", "kl", "beta", "lr", "seconds", *self.sums.factors]
        if self.valid is not None:
            with seeded(0, self.variant.device):  # the run's own noise stays what it is
                found = measured(self.variant, self.valid, self.processes)
            names += [f"valid_{name}" for name, value in found.items() if isinstance(value, float)]
        self.monitor.check(names)

    def _learning_rate(self) -> float:
        """Of the step that is taken, or was taken last."""
        iteration = self.engine.state.iteration
        rise = min(1.0, iteration / self.warmup) if self.warmup else 1.0
        return rise * self.settings.lr((iteration - 1) / len(self.batches))

    # -- the whole run

    def train(self, data: Split | Streamed, valid: Split | Streamed | None) -> History:
        """Train on ``data``, watching ``valid``."""
        variant, settings = self.variant, self.settings
        store = pyro.get_param_store().scope()
        # each process has noise of its own, and the order of the data is that of all
        seed = settings.seed + self.processes.rank
        with seeded(seed, variant.device), store, contextlib.ExitStack() as self.unchecked:
            self.data = source_of("data", data, variant, settings.transform)
            self.valid = None if valid is None else source_of("valid", valid, variant, settings.transform)
            self.monitor = Monitor(settings.monitor, validated=valid is not None)
            together = self.data.labelled_together(settings.labelled_batch_size, settings.batch_size)
            self.batches = self.data.batches(settings.batch_size, settings.seed, together, self.processes.share)
            self._check_same()
            self.warmup = self._warmup()
            self.precision = torch.autocast(
                variant.device.type, dtype=torch.bfloat16, enabled=settings.precision == "bf16"
            )
            if not (self.saved or variant.initialised):
                variant.initialise(*self.data.sample())
            elif not self.saved and variant.label is not None:
                variant.meet_labels(self.data.sample()[1])
            self.processes.broadcast(variant.state_dict())
            self._attach()
            start = self._restore() if self.saved else 0
            variant.train()
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
                    with unregistered(variant, variant.objective), contextlib.closing(steps):
                        self.engine.run(steps, max_epochs=settings.epochs, epoch_length=len(self.batches))
            finally:
                variant.eval()
                variant.anneal(float("inf"))
                if self.kept is not None:
                    self.kept.close()
            self._finish()
            self.processes.gather(None)  # the files are there when any process goes on
        return self.history

    def _check_same(self) -> None:
        """Check that all processes are about to do the same.

        Raises:
            ConfigurationError: when they are not.
        """
        if self.processes.size > 1:
            self.processes.check_same(
                {
                    "variant": repr(self.variant),
                    "number of data": self.batches.data_per_epoch,
                    "shape of a datum": self.data.shape,
                    "epochs": self.settings.epochs,
                    **json.loads(self.settings.as_text()),
                    "folder": str(self.kept and self.kept.folder),
                    "epochs done": self.saved["epoch"] if self.saved else 0,
                }
            )

    def _warmup(self) -> int:
        """Over how many steps the learning rate rises: the variant's number, but no more than four epochs of few data.

        It does not depend on how long the run is, so that a run that is prolonged is the same.
        """
        if self.settings.warmup is not None:
            return self.settings.warmup
        return min(self.variant.warmup, 4 * len(self.batches))

    def _stream(self, epoch: int) -> Generator[tuple[Tensor, Tensor | None], None, None]:
        while True:
            yield from self.batches.epoch(epoch)
            epoch += 1

    def _attach(self) -> None:
        engine = self.engine
        engine.add_event_handler(Events.EPOCH_STARTED, self._begin_epoch)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._end_epoch)
        self.stopper: EarlyStopping | None = None
        if self.settings.patience is not None:
            self.stopper = EarlyStopping(self.settings.patience, lambda _: self.monitor.score(self.history), engine)
            self.stopper.logger = _silent()
            engine.add_event_handler(Events.EPOCH_COMPLETED, self.stopper)
        if self.kept is not None:
            engine.add_event_handler(Events.EPOCH_COMPLETED, self._keep)
        shown = self.settings.progress
        if self.processes.first and (shown is True or (shown == "auto" and sys.stderr.isatty())):
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
        self.sums = Sums()

    def _end_epoch(self) -> None:
        if not all(torch.isfinite(weight).all() for weight in self.variant.parameters()):
            # the loss was finite still, but the last step's gradient was not: the checkpoint must not see it
            raise self._not_finite("a weight became NaN or infinite")
        # running statistics (of batch norm, of baselines) are those of the first process
        self.processes.broadcast(dict(self.variant.named_buffers()))
        entry = self._averages()
        if self.valid is not None:
            found = measured(self.variant, self.valid, self.processes)
            entry |= {f"valid_{name}": value for name, value in found.items()}
        entry["seconds"] = time.perf_counter() - self.started
        self.history.append(**entry)
        if self.monitor.improved(self.history):
            if self.settings.patience is not None:
                self.best = copy.deepcopy(self.variant.state_dict())
            if self.kept is not None:
                self.kept.keep_best()

    def _averages(self) -> dict[str, Any]:
        """What the epoch's steps come to per datum, over all processes, with the weights and the rate at its end."""
        n = self.batches.data_per_epoch
        sums = self.sums.so_far()
        if "kl" not in sums:  # Pyro's own objectives report only their sum
            x, y = share_of(self.data.sample(), self.processes.share)
            some = elbo(self.variant, x, y)
            share = n / summed({"": len(x)}, self.processes)[""]
            sums |= {"reconstruction": share * some.reconstruction.sum().item(), "kl": share * some.kl.sum().item()}
        averages = {name: value / n for name, value in summed(sums, self.processes).items()}
        loss, reconstruction, kl = (averages.pop(name) for name in ("loss", "reconstruction", "kl"))
        end = self.engine.state.epoch - 1 / len(self.batches)
        return {
            "loss": loss,
            "elbo": reconstruction - kl,
            "reconstruction": reconstruction,
            "kl": kl,
            "beta": self.variant.beta.over(self.settings.epochs)(end),
            "lr": self._learning_rate(),
            **averages,
        }

    def _finish(self) -> None:
        """Go back to the best weights, if that was asked for, and do what comes after the last epoch.

        That, such as M1's classifier, is done for each file's own weights too.
        """
        variant = self.variant
        if self.settings.patience is not None and self.best is not None:
            variant.load_state_dict(self.best)
        if not variant.finishes:
            return
        if self.kept is not None:
            self.kept.finish(self._finish_variant)
        self._finish_variant()
        self.processes.broadcast(variant.state_dict())

    def _finish_variant(self) -> None:
        with seeded(self.settings.seed, self.variant.device):  # the same for the same weights
            self.data.finish()

    # -- stopping and continuing

    def _restore(self) -> int:
        """Put everything back as it was at the end of the checkpoint's last epoch, and return that epoch."""
        saved = self.saved
        assert saved is not None
        if saved["data"] != self._fingerprint:
            raise CheckpointError("the run to be resumed was started with other training data")
        if (saved["validated"] is None) != (self.valid is None):
            raise CheckpointError(
                "the run to be resumed and this one must both have validation data (valid=), or neither"
            )
        if saved["validated"] != self._validated:
            raise CheckpointError("the run to be resumed was started with other validation data")
        epoch = int(saved["epoch"])
        if epoch > self.settings.epochs:
            raise CheckpointError(
                f"the run to be resumed has done {epoch} epochs already, more than epochs={self.settings.epochs}"
            )
        self.variant.load_state_dict(saved["weights"])
        self.optim.torch_optimiser.load_state_dict(saved["optimiser"])
        self.history.update(json.loads(saved["history"]))
        if self.stopper is not None and saved["stopper"]:
            self.stopper.load_state_dict(saved["stopper"])
        self.best = None if self.kept is None else self.kept.best_weights()
        self.engine.load_state_dict(
            {"epoch": epoch, "epoch_length": len(self.batches), "max_epochs": self.settings.epochs}
        )
        if self.processes.rank < len(saved["random"]):  # else more processes now, and this one's noise begins here
            set_generator_states(saved["random"][self.processes.rank], [self.variant.device])
        return epoch

    @functools.cached_property
    def _fingerprint(self) -> str:
        return self.data.fingerprint

    @functools.cached_property
    def _validated(self) -> str | None:
        return None if self.valid is None else self.valid.fingerprint

    def _keep(self) -> None:
        assert self.kept is not None
        states = self.processes.gather(generator_states([self.variant.device]))
        state = {
            "training": self.settings.as_text(),
            "data": self._fingerprint,
            "validated": self._validated,
            "optimiser": self.optim.torch_optimiser.state_dict(),
            "epoch": self.engine.state.epoch,
            "stopper": self.stopper.state_dict() if self.stopper is not None else None,
            "random": states,
        }
        self.kept.keep(state, self.history)


def _silent() -> logging.Logger:
    """A logger that nobody else has, and that says nothing."""
    return logging.Logger("pyro_vae.training", logging.CRITICAL + 1)

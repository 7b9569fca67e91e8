"""``pyro_vae.fit``: the one training loop, for every variant."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable
from typing import Any

import torch
from pyro.optim import PyroOptim
from torch import Tensor

from pyro_vae.data import Split, Streamed, as_split, as_stream
from pyro_vae.errors import ConfigurationError, DataError, check_choice, check_positive
from pyro_vae.objectives.schedules import Constant, Cosine, Schedule, as_schedule
from pyro_vae.training.compilation import as_compile
from pyro_vae.training.history import History
from pyro_vae.training.optimiser import adam
from pyro_vae.training.order import permutation
from pyro_vae.training.processes import Processes, device_of_process
from pyro_vae.training.run import Run
from pyro_vae.training.settings import Settings
from pyro_vae.variants.base import Variant

__all__ = ["fit"]


def fit(
    variant: Variant,
    data: Any,
    *,
    epochs: int,
    valid: Any = None,
    batch_size: int = 128,
    labelled_batch_size: int | str | None = "auto",
    lr: float | Schedule = 2e-3,
    lr_schedule: str | Schedule = "cosine",
    warmup: int | None = None,
    optimizer: Callable[..., torch.optim.Optimizer] = adam,
    clip: float | None = None,
    transform: Callable[[Tensor], Tensor] | None = None,
    seed: int = 0,
    device: str | torch.device = "auto",
    precision: str = "float32",
    compile: bool | str = "auto",
    patience: int | None = None,
    monitor: str | None = None,
    folder: str | os.PathLike[str] | None = None,
    resume: bool = False,
    tensorboard: bool = False,
    progress: bool | str = "auto",
) -> History:
    """Train a variant with Pyro's SVI.

    The data are kept as one tensor on the device and sliced, unless they are streamed.  Nothing global is touched:
    random state and Pyro's parameter store are as before when ``fit`` returns.

    **Several processes.** In a script started by ``torchrun --nproc-per-node 4 script.py`` the same call trains in all
    of them together: ``batch_size`` is that of all, each computes the gradients of its share, and the optimiser steps
    with their sum.  The history and the weights are the same in all; the first writes the files.

    Args:
        variant: what to train; it stays on the device that it was trained on.
        data: training data: a data set of :func:`pyro_vae.data.load` (its ``valid`` split is used for
            validation), one of its splits, a tensor or array (N, \\*shape), a pair of data and labels, or a
            ``torch.utils.data.Dataset``.  What does not fit in memory is read batch by batch: ``np.memmap`` arrays, a
            ``DataLoader``, :class:`pyro_vae.data.Streamed` data.  Labels are used by variants that have them in their
            story.
        epochs: passes over the data in all, those of a resumed run included.
        valid: validation data, in the same forms; or a share of ``data`` to hold out, such as ``0.1``, which ``seed``
            chooses.
        batch_size: data per step, at most: the batches of an epoch differ by one datum, if at all.
        labelled_batch_size: for variants that take data with and without labels: how many data with labels each step
            sees in addition to ``batch_size`` without; an epoch is then a pass over the data without labels.  ``None``
            passes over all data alike, ``"auto"`` does that too unless less than a tenth of the data have labels.
        lr: peak learning rate, or a schedule over epochs, which then replaces ``lr_schedule``.
        lr_schedule: ``"cosine"`` (a third of the epochs at ``lr``, then down to a hundredth of it), ``"constant"``, or
            a schedule of factors.
        warmup: steps over which the learning rate rises from zero in a straight line; the variant's own if not given
            (0 for most, 100 for M2 and SemiSupervisedVAE, whose first steps decide what y is used for, and at most
            four epochs).
        optimizer: ``optimizer(parameters, lr=...)`` gives a torch optimiser, Adam by default;
            ``functools.partial(torch.optim.Adam, eps=1e-4)`` passes options.
        clip: largest norm of the gradient of the loss per datum; no clipping if not given.
        transform: applied to each batch anew, :func:`pyro_vae.data.binarize` for dynamic binarisation; to the
            validation data once.  Labels stay as they are, except where y is data itself (structured output).
        seed: of batches, noise and starting values that are drawn from data.  The weights are drawn when the variant
            is made: call ``torch.manual_seed`` before that to repeat a whole run.
        device: ``"auto"`` (CUDA where there is one, of several processes to each its own), or any torch device.
        precision: ``"float32"``, or ``"bf16"``: networks (those inside flows too) run in bfloat16, densities in full
            precision.
        compile: ``"graph"`` runs the programs once and keeps their tensor operations, which later steps run without
            Pyro's Python, with the same results bit for bit; ``True`` makes machine code of them
            (:class:`pyro_vae.objectives.Compiled`), which takes 10 seconds to a minute, less the next time, and needs a
            C++ compiler on a CPU; ``False`` runs the programs in each step.  ``"auto"`` keeps a graph for 1,000 steps
            or more, and makes machine code of it for 10,000 or more where there is a compiler.  The random numbers
            are the same; machine code gives other last digits, in which a run that was resumed may differ from one
            that was not.
        patience: stop when the validation ELBO (the training ELBO without validation data) has not risen for so many
            epochs, and go back to the best weights.
        monitor: the quantity of the history that ``patience`` and ``best.pt`` follow in place of the ELBO, such as
            ``"valid_accuracy"``.
        folder: where to write ``last.pt`` and ``best.pt`` (each loads with :func:`pyro_vae.load`) and
            ``history.csv``, after each epoch.
        resume: continue the run in ``folder`` from its ``last.pt``, if there is one.  On the CPU the resumed run ends
            with the same weights, bit for bit, as one that was never interrupted, unless it is compiled.  (The default
            ``lr_schedule`` stretches with ``epochs``: a run prolonged beyond its first number of epochs is another
            run.)
        tensorboard: also write TensorBoard events to ``folder`` (needs the ``tensorboard`` extra).
        progress: show a progress bar; ``"auto"`` shows it on terminals.

    Returns:
        The history: lists with one entry per epoch, in nats per datum.

    Raises:
        DataError: when the data do not fit the variant; before training starts.
        ConfigurationError: for impossible settings.
        CheckpointError: when the folder cannot be written to, holds another run, or a damaged one.
        NonFiniteLossError: when the loss becomes NaN or infinite; names the site, and leaves ``last.pt`` as it
            was after the last good epoch.

    Example:
        >>> import pyro_vae as pv
        >>> from pyro_vae import data, likelihoods, priors
        >>> digits = data.load("digits")
        >>> vae = pv.VAE(priors.StandardNormal(4), likelihoods.ContinuousBernoulli(digits.shape))
        >>> history = pv.fit(vae, digits, epochs=2)
        >>> sorted(history)[:4]
        ['beta', 'elbo', 'kl', 'loss']
    """
    if not isinstance(variant, Variant):
        raise ConfigurationError(
            f"fit trains a variant such as pv.VAE(...), or one made of programs of your own, pv.Variant(model, guide), "
            f"got {variant!r}"
        )
    if not callable(optimizer) or isinstance(optimizer, torch.optim.Optimizer | PyroOptim):
        raise ConfigurationError(
            f"optimizer makes a torch optimiser from parameters and lr: give torch.optim.AdamW, or "
            f"functools.partial(torch.optim.AdamW, weight_decay=0.01), not {optimizer!r}"
        )
    train_data, valid_data = _splits(data, valid, seed)
    settings = Settings(
        epochs=check_positive("epochs", epochs),
        batch_size=check_positive("batch_size", batch_size),
        lr=_learning_rate(lr, lr_schedule, epochs),
        lr_rule=_rule(lr, lr_schedule),
        optimizer=optimizer,
        clip=None if clip is None else float(clip),
        transform=transform,
        seed=operator.index(seed) % 2**63,  # of NumPy's integers and of torch.initial_seed() too
        precision=check_choice("precision", precision, ["float32", "bf16"]),
        compile=as_compile(compile),
        patience=None if patience is None else check_positive("patience", patience),
        tensorboard=tensorboard,
        progress=progress,
        labelled_batch_size=_labelled_batch_size(labelled_batch_size),
        monitor=monitor,
        warmup=None if warmup is None else _steps(warmup),
    )
    if clip is not None and not clip > 0:
        raise ConfigurationError(f"clip is the largest allowed norm, a positive number, got {clip!r}")
    if folder is None and (resume or tensorboard):
        raise ConfigurationError("resume=True and tensorboard=True need folder=, where the run is or will be")
    variant.to(place := device_of_process(_device(device)))
    return Run(variant, settings, folder, resume, Processes(place)).train(train_data, valid_data)


def _steps(warmup: int) -> int:
    if not isinstance(warmup, int) or warmup < 0:
        raise ConfigurationError(f"warmup is a number of steps, got {warmup!r}")
    return warmup


def _labelled_batch_size(size: int | str | None) -> int | str | None:
    if isinstance(size, str):
        return check_choice("labelled_batch_size", size, ["auto"])
    return None if size is None else check_positive("labelled_batch_size", size)


def _splits(data: Any, valid: Any, seed: int) -> tuple[Split | Streamed, Split | Streamed | None]:
    if valid is None and hasattr(data, "train") and hasattr(data, "valid") and len(data.valid):
        valid = data.valid
    try:
        train = _of_any_form(data)
        others = None if valid is None or isinstance(valid, float) else _of_any_form(valid)
    except (ValueError, TypeError) as error:
        raise DataError(str(error)) from error
    return _held_out(train, valid, seed) if isinstance(valid, float) else (train, others)


def _of_any_form(data: Any) -> Split | Streamed:
    stream = as_stream(data)
    return as_split(data) if stream is None else stream


def _held_out(data: Split | Streamed, share: float, seed: int) -> tuple[Split | Streamed, Split | Streamed]:
    """The data without a share of them, and that share."""
    n = len(data)
    if not 0 < share < 1 or not 0 < round(share * n) < n:
        raise ConfigurationError(
            f"valid={share}: a share of the data to hold out lies between 0 and 1 and leaves some on both sides; "
            f"there are {n:,}"
        )
    shuffled = permutation(n, torch.Generator().manual_seed(seed))
    if isinstance(data, Streamed):
        valid, train = data.parts(share, shuffled)
        return train, valid
    rows = shuffled(torch.arange(n)).to(data.x.device)
    return data[rows[round(share * n) :]], data[rows[: round(share * n)]]


def _learning_rate(lr: float | Schedule, factor: str | Schedule, epochs: int) -> Schedule:
    schedule = as_schedule(lr, "lr")
    if isinstance(lr, Schedule):
        return schedule
    if isinstance(factor, str):
        check_choice("lr_schedule", factor, ["constant", "cosine"])
        hold = epochs / 3
        factor = Cosine(1.0, 0.01, epochs=epochs - hold, hold=hold) if factor == "cosine" else Constant(1.0)
    return _Product(schedule, as_schedule(factor, "lr_schedule"))


def _rule(lr: float | Schedule, factor: str | Schedule) -> str:
    """The learning rate as it was asked for."""
    if isinstance(lr, Schedule):
        return repr(lr)
    told = factor if isinstance(factor, str) else repr(as_schedule(factor, "lr_schedule"))
    return f"{float(lr)!r} * {told}"


class _Product(Schedule):
    def __init__(self, first: Schedule, second: Schedule) -> None:
        self.first, self.second = first, second

    def __call__(self, epoch: float) -> float:
        return self.first(epoch) * self.second(epoch)


def _device(device: str | torch.device) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise ConfigurationError(
            f"device {device!r} is not available here ({str(error).splitlines()[0]}); use 'auto' or 'cpu'"
        ) from error

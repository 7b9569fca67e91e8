"""The VAE of ``epochs.py`` in pythae: networks of one's own and its trainer, as its documentation has them.

Its progress bar and its log lines are switched off here.  What cannot be: a copy of the model after each epoch whose
loss is the lowest so far, and a file with the final one, which is written when the last epoch is over.
"""

from __future__ import annotations

import functools
import logging
import tempfile
from collections.abc import Callable
from typing import Any

import torch
from pythae.data.datasets import BaseDataset
from pythae.models import VAE as PythaeVAE
from pythae.models import VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig, training_callbacks
from torch import Tensor, nn

__all__ = ["VAE", "train"]

logging.disable(logging.INFO)  # its loggers set levels of their own
training_callbacks.tqdm = functools.partial(training_callbacks.tqdm, disable=True)


class Encoder(BaseEncoder):
    def __init__(self, width: int, hidden: int, size: int) -> None:
        BaseEncoder.__init__(self)
        self.layers = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, 2 * size))

    def forward(self, x: Tensor) -> ModelOutput:
        loc, log_variance = self.layers(x).chunk(2, -1)
        return ModelOutput(embedding=loc, log_covariance=log_variance)


class Decoder(BaseDecoder):
    def __init__(self, width: int, hidden: int, size: int) -> None:
        BaseDecoder.__init__(self)
        self.layers = nn.Sequential(nn.Linear(size, hidden), nn.ReLU(), nn.Linear(hidden, width), nn.Sigmoid())

    def forward(self, z: Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=self.layers(z))


def VAE(width: int, hidden: int, size: int) -> Any:  # noqa: N802
    config = VAEConfig(input_dim=(width,), latent_dim=size, reconstruction_loss="bce")
    return PythaeVAE(config, Encoder(width, hidden, size), Decoder(width, hidden, size))


class _Watch(training_callbacks.TrainingCallback):
    """Is told of an epoch's loss when all that the trainer does in an epoch is done."""

    def __init__(self, done: Callable[[], None]) -> None:
        self.done = done
        self.loss = float("nan")

    def on_log(self, training_config: Any, logs: dict[str, float], **kwargs: Any) -> None:
        self.loss = logs["train_epoch_loss"]
        self.done()


def train(model: Any, x: Tensor, epochs: int, batch: int, done: Callable[[], None], **adam: Any) -> float:
    """Train, with ``done()`` after each epoch and options of Adam; the loss of the last epoch, in nats per datum."""
    watch = _Watch(done)
    with tempfile.TemporaryDirectory() as folder:
        config = BaseTrainerConfig(
            output_dir=folder,
            per_device_train_batch_size=batch,
            num_epochs=epochs,
            learning_rate=1e-3,
            optimizer_params=adam or None,
            seed=torch.initial_seed(),
            no_cuda=True,
        )
        data = BaseDataset(x, x.new_zeros(len(x)))
        BaseTrainer(model, train_dataset=data, training_config=config, callbacks=[watch]).train()
    return watch.loss

"""The VAE of ``epochs.py`` in pixyz: its distributions, its model class, and the loop of its example."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from pixyz.distributions import Bernoulli, Normal
from pixyz.losses import KullbackLeibler
from pixyz.models import VAE as PixyzVAE
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

__all__ = ["VAE", "train"]


class Encoder(Normal):
    def __init__(self, width: int, hidden: int, size: int) -> None:
        super().__init__(var=["z"], cond_var=["x"], name="q")
        self.layers = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, 2 * size))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        loc, log_variance = self.layers(x).chunk(2, -1)
        return {"loc": loc, "scale": (0.5 * log_variance).exp()}


class Decoder(Bernoulli):
    def __init__(self, width: int, hidden: int, size: int) -> None:
        super().__init__(var=["x"], cond_var=["z"], name="p")
        self.layers = nn.Sequential(nn.Linear(size, hidden), nn.ReLU(), nn.Linear(hidden, width), nn.Sigmoid())

    def forward(self, z: Tensor) -> dict[str, Tensor]:
        return {"probs": self.layers(z)}


class VAE(nn.Module):
    def __init__(self, width: int, hidden: int, size: int) -> None:
        super().__init__()
        self.encoder, self.decoder = Encoder(width, hidden, size), Decoder(width, hidden, size)
        self.size = size


def train(vae: VAE, x: Tensor, epochs: int, batch: int, done: Callable[[], None], **adam: Any) -> float:
    """Train, with ``done()`` after each epoch and options of Adam; the loss of the last epoch, in nats per datum."""
    options = {"lr": 1e-3, **adam}
    at, scale = torch.tensor(0.0), torch.tensor(1.0)
    prior = Normal(loc=at, scale=scale, var=["z"], features_shape=[vae.size], name="p_{prior}")
    kl = KullbackLeibler(vae.encoder, prior)
    model: Any = PixyzVAE(vae.encoder, vae.decoder, regularizer=kl, optimizer_params=options)
    loader = DataLoader(TensorDataset(x), batch_size=batch, shuffle=True)
    loss = 0.0
    for _ in range(epochs):
        loss = 0.0
        for (some,) in loader:
            loss += model.train({"x": some}).item() * len(some)
        done()
    return loss / len(x)

"""The networks of ``speed.py`` in plain Pyro, as its examples have them: functions, ``pyro.module``, its own Adam."""

from __future__ import annotations

from typing import Any

import pyro
import pyro.distributions as dist
import torch
from by_hand import convolutions
from pyro.infer import RenyiELBO, TraceEnum_ELBO, TraceMeanField_ELBO
from torch import Tensor, nn

__all__ = ["IWAE", "M2", "VAE", "Convolutional"]


class VAE(nn.Module):
    objective: Any

    def __init__(self, width: int, hidden: int, size: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, 2 * size))
        self.decoder = nn.Sequential(nn.Linear(size, hidden), nn.ReLU(), nn.Linear(hidden, width))
        self.size = size
        self.objective = TraceMeanField_ELBO()

    def model(self, x: Tensor) -> None:
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(self.size), x.new_ones(self.size)).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=self.decoder(z)).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", len(x)):
            loc, log_variance = self.encoder(x).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, (0.5 * log_variance).exp()).to_event(1))


class Convolutional(VAE):
    def __init__(self, width: int, channels: tuple[int, int], hidden: int, size: int) -> None:
        nn.Module.__init__(self)
        self.encoder, self.decoder = convolutions(width, channels, hidden, size)
        self.size = size
        self.objective = TraceMeanField_ELBO()


class IWAE(VAE):
    def __init__(self, width: int, hidden: int, size: int, draws: int) -> None:
        super().__init__(width, hidden, size)
        self.objective = RenyiELBO(0.0, num_particles=draws, vectorize_particles=True, max_plate_nesting=1)


class M2(nn.Module):
    """Every network sees x, or z, with a one-hot y beside it, as in Pyro's example of semi-supervised learning."""

    def __init__(self, width: int, hidden: int, size: int, classes: int) -> None:
        super().__init__()
        self.classifier = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, classes))
        self.encoder = nn.Sequential(nn.Linear(width + classes, hidden), nn.ReLU(), nn.Linear(hidden, 2 * size))
        self.decoder = nn.Sequential(nn.Linear(size + classes, hidden), nn.ReLU(), nn.Linear(hidden, width))
        self.size, self.classes = size, classes
        self.objective = TraceEnum_ELBO(max_plate_nesting=1)

    def groups(self, x: Tensor, y: Tensor) -> list[tuple[str, Tensor, Tensor | None]]:
        return [("labelled", x[: len(y)], nn.functional.one_hot(y, self.classes).to(x)), ("rest", x[len(y) :], None)]

    @staticmethod
    def beside(a: Tensor, y: Tensor) -> Tensor:
        batch = torch.broadcast_shapes(a.shape[:-1], y.shape[:-1])
        return torch.cat([a.expand(*batch, -1), y.expand(*batch, -1)], -1)

    def model(self, x: Tensor, y: Tensor) -> None:
        pyro.module("decoder", self.decoder)
        for name, data, label in self.groups(x, y):
            with pyro.plate(f"{name} data", len(data)):
                one_hot = pyro.sample(f"{name} y", dist.OneHotCategorical(logits=x.new_zeros(self.classes)), obs=label)
                normal = dist.Normal(x.new_zeros(self.size), x.new_ones(self.size)).to_event(1)
                z = pyro.sample(f"{name} z", normal)
                logits = self.decoder(self.beside(z, one_hot))
                pyro.sample(f"{name} x", dist.Bernoulli(logits=logits).to_event(1), obs=data)

    def guide(self, x: Tensor, y: Tensor) -> None:
        pyro.module("classifier", self.classifier)
        pyro.module("encoder", self.encoder)
        for name, data, label in self.groups(x, y):
            with pyro.plate(f"{name} data", len(data)):
                q = dist.OneHotCategorical(logits=self.classifier(data))
                if label is None:
                    label = pyro.sample(f"{name} y", q, infer={"enumerate": "parallel"})
                else:
                    pyro.factor(f"{name} prediction", -q.log_prob(label), has_rsample=True)
                loc, log_variance = self.encoder(self.beside(data, label)).chunk(2, -1)
                pyro.sample(f"{name} z", dist.Normal(loc, (0.5 * log_variance).exp()).to_event(1))

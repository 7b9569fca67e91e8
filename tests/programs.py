"""Small Pyro programs that are no variants, as users write them."""

import pyro
import pyro.distributions as dist
import torch
from pyro.nn import PyroModule, PyroParam
from torch import nn
from torch.distributions import constraints

SIZE, DATA = 2, 3


class Model(PyroModule):
    """z ~ N(0, I), x | z ~ N(W z, s^2), with a scale of its own that must be positive."""

    def __init__(self):
        super().__init__()
        self.decoder = nn.Linear(SIZE, DATA)
        self.scale = PyroParam(torch.tensor(0.7), constraint=constraints.positive)

    def forward(self, x):
        with pyro.plate("data", x.shape[0]):
            z = pyro.sample("z", dist.Normal(torch.zeros(SIZE), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), self.scale).to_event(1), obs=x)


class Guide(PyroModule):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(DATA, 2 * SIZE), nn.Dropout(0.2))

    def forward(self, x):
        with pyro.plate("data", x.shape[0]):
            loc, log_scale = self.encoder(x).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))


class Classic(nn.Module):
    """The form of Pyro's tutorials: methods of one module, and ``pyro.module``."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(DATA, 2 * SIZE)
        self.decoder = nn.Linear(SIZE, DATA)

    def model(self, x):
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", x.shape[0]):
            z = pyro.sample("z", dist.Normal(torch.zeros(SIZE), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=x)

    def guide(self, x):
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", x.shape[0]):
            loc, log_scale = self.encoder(x).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))


def model_of_functions(x):
    scale = pyro.param("scale", torch.tensor(0.7), constraint=constraints.positive)
    with pyro.plate("data", x.shape[0]):
        z = pyro.sample("z", dist.Normal(torch.zeros(DATA), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(z, scale).to_event(1), obs=x)


def guide_of_functions(x):
    slope = pyro.param("slope", torch.full((DATA,), 0.5))
    with pyro.plate("data", x.shape[0]):
        pyro.sample("z", dist.Normal(slope * x, 0.8).to_event(1))


def closures():
    """Functions that share a network, known to nobody but them and ``pyro.module``."""
    encoder = nn.Linear(DATA, 2 * DATA)

    def guide(x):
        pyro.module("encoder", encoder)
        with pyro.plate("data", x.shape[0]):
            loc, log_scale = encoder(x).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))

    return model_of_functions, guide


def modules():
    return Model(), Guide()


def classic():
    both = Classic()
    return both.model, both.guide


PROGRAMS = {
    "modules": modules,
    "classic": classic,
    "functions": lambda: (model_of_functions, guide_of_functions),
    "closures": closures,
}

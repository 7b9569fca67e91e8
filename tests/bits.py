"""A belief network of three bits whose bounds and their gradients are sums over all codes and all tuples of draws.

b ~ one bit, a ~ two bits given b, x ~ three bits given both; the guide has b given x, and a given both.  It draws both,
or sums over b and draws a for each value of b (``enumerates="first"``), or draws a and sums over b, which then is
given x and a (``enumerates="last"``).
"""

import itertools
import math

import pyro
import pyro.distributions as dist
import torch
from torch import nn
from torch.distributions import Bernoulli

from pyro_vae.program import Program

DATA = 3
CODES_OF_A = torch.tensor(list(itertools.product((0.0, 1.0), repeat=2)), dtype=torch.float64)
CODES_OF_B = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
ALL_DATA = torch.tensor(list(itertools.product((0.0, 1.0), repeat=DATA)), dtype=torch.float64)


def parameters(**shapes):
    generator = torch.Generator().manual_seed(len(shapes))
    draw = lambda shape: torch.randn(shape, dtype=torch.float64, generator=generator)  # noqa: E731
    return nn.ParameterDict({name: nn.Parameter(draw(shape)) for name, shape in shapes.items()})


class Model(Program):
    def __init__(self, factor):
        super().__init__()
        self.theta = parameters(b=(), u=(1, 2), a=(2,), v=(2, DATA), w=(1, DATA), bias=(DATA,))
        self.factor = factor

    def of_a(self, b):
        return b @ self.theta["u"] + self.theta["a"]

    def of_x(self, a, b):
        return a @ self.theta["v"] + b @ self.theta["w"] + self.theta["bias"]

    def added(self, a, b):
        """What the factor adds, (\\*batch,)."""
        return (1.5 * a[..., 0] - b[..., 0]) * self.theta["bias"][0]

    def forward(self, x):
        with pyro.plate("data", len(x), dim=-1):
            b = pyro.sample("b", dist.Bernoulli(logits=self.theta["b"]))[..., None]
            a = pyro.sample("a", dist.Bernoulli(logits=self.of_a(b)).to_event(1))
            if self.factor:
                pyro.factor("added", self.added(a, b))
            pyro.sample("x", dist.Bernoulli(logits=self.of_x(a, b)).to_event(1), obs=x)


class Guide(Program):
    def __init__(self, enumerates):
        super().__init__()
        self.phi = parameters(b=(DATA,), a=(DATA, 2), given=(1, 2), shift=(2,))
        self.enumerates = enumerates

    def of_b(self, x, a):
        logits = x @ self.phi["b"]
        return logits + (a @ self.phi["given"].T)[..., 0] if self.enumerates == "last" else logits

    def of_a(self, x, b):
        logits = x @ self.phi["a"] + self.phi["shift"]
        return logits if self.enumerates == "last" else logits + b @ self.phi["given"]

    def forward(self, x):
        with pyro.plate("data", len(x), dim=-1):
            a = b = None
            for name in "ab" if self.enumerates == "last" else "ba":
                if name == "a":
                    a = pyro.sample("a", dist.Bernoulli(logits=self.of_a(x, b)).to_event(1))
                else:
                    infer = {"enumerate": "parallel"} if self.enumerates else {}
                    b = pyro.sample("b", dist.Bernoulli(logits=self.of_b(x, a)), infer=infer)[..., None]


class Bits:
    """The programs, and the exact answers about them, differentiable in all parameters."""

    def __init__(self, enumerates=False, factor=False):
        self.model = Model(factor)
        self.guide = Guide(enumerates)
        self.enumerates = enumerates

    def named_parameters(self):
        yield from self.model.named_parameters(prefix="model")
        yield from self.guide.named_parameters(prefix="guide")

    def densities(self, x):
        """log p(x, a, b), log q(b | x) and log q(a | b, x), (4, 2, N) each."""
        a, b = CODES_OF_A[:, None, None], CODES_OF_B[None, :, None]

        def log_prob(logits, value):
            return Bernoulli(logits=logits, validate_args=False).log_prob(value)

        model, guide = self.model, self.guide
        log_p = log_prob(model.theta["b"], b[..., 0]) + log_prob(model.of_a(b), a).sum(-1)
        log_p = log_p + log_prob(model.of_x(a, b), x).sum(-1)
        log_b, log_a = log_prob(guide.of_b(x, a), b[..., 0]), log_prob(guide.of_a(x, b), a).sum(-1)
        return tuple(torch.broadcast_tensors(log_p, log_b, log_a))

    def elbo(self, x):
        """The ELBO, (N,)."""
        log_p, log_b, log_a = self.densities(x)
        return ((log_a + log_b).exp() * (log_p - log_a - log_b)).sum((0, 1))

    def factors(self, x):
        """E_q of what the factor adds, (N,)."""
        _, log_b, log_a = self.densities(x)
        added = self.model.added(CODES_OF_A[:, None, None], CODES_OF_B[None, :, None])
        return ((log_a + log_b).exp() * added).sum((0, 1))

    def log_likelihood(self, x):
        return self.densities(x)[0].logsumexp((0, 1))

    def tuples(self, x, draws):
        """Over all T outcomes of K draws: log of their probability (T, N), and the parts of each draw, (T, K, V, N).

        The parts are log p and log q of what is drawn, and log q of what is enumerated, V values of each draw: two
        where b is enumerated, else one.
        """
        log_p, log_b, log_a = self.densities(x)
        if self.enumerates == "last":
            codes = torch.tensor(list(itertools.product(range(4), repeat=draws)))
            parts = tuple(
                values.transpose(0, 1)[:, codes].permute(1, 2, 0, 3) for values in (log_p, log_a[:, :1], log_b)
            )
        elif self.enumerates == "first":
            codes = torch.tensor(list(itertools.product(range(4), repeat=2 * draws))).reshape(-1, draws, 2)
            parts = tuple(values[codes, torch.arange(2)] for values in (log_p, log_a, log_b))
        else:
            codes = torch.tensor(list(itertools.product(range(8), repeat=draws)))[..., None]
            parts = log_p.flatten(0, 1)[codes], (log_a + log_b).flatten(0, 1)[codes], torch.zeros(())
        return parts[1].sum((1, 2)), *parts

    def bound(self, x, draws):
        """The importance-weighted bound, (N,)."""
        log_q, log_p, proposed, _ = self.tuples(x, draws)
        log_w = (log_p - proposed).logsumexp(2)
        return (log_q.exp() * (log_w.logsumexp(1) - math.log(draws))).sum(0)

    def wake(self, x, draws):
        """Numbers (N,) whose gradients are the expected wake updates of model and guide."""
        log_q, log_p, proposed, enumerated = self.tuples(x, draws)
        log_w = (log_p - proposed).detach()
        v = (log_w - log_w.logsumexp((1, 2), keepdim=True)).exp()
        outcome = log_q.detach().exp()
        return tuple((outcome * (v * log).sum((1, 2))).sum(0) for log in (log_p, proposed + enumerated))

    def sleep(self):
        """A number () whose gradient is the expected sleep update of the guide, for one dream."""
        log_p, log_b, log_a = self.densities(ALL_DATA)
        return (log_p.detach().exp() * (log_a + log_b)).sum()


def data(n=3):
    return ALL_DATA[torch.tensor([1, 4, 7, 6, 0, 3])[:n]]

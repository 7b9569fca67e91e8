"""Untrue stories that a reader found, each with the test that would have caught it."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

import pyro_vae as pv
from pyro_vae.program import Program

X = torch.zeros(6, 5)


class Model(Program):
    def __init__(self, scale):
        super().__init__()
        self.decoder = nn.Linear(2, 5)
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.scale = scale

    def forward(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            scale = {"learned": self.log_scale.exp(), "of z": z.exp().sum(-1, keepdim=True)}.get(self.scale, self.scale)
            pyro.sample("x", dist.Normal(self.decoder(z), scale).to_event(1), obs=x)


class Guide(Program):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(5, 2)

    def forward(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.encoder(x), 0.5).to_event(1))


@pytest.mark.parametrize(
    ("scale", "words", "family"),
    [
        (1.0, "with scale 1 and loc computed from z", r"\mathcal{N}(\mu_\theta(z), 1^2)"),
        (torch.tensor(0.3), "with scale 0.3 and loc computed from z", r"\mathcal{N}(\mu_\theta(z), 0.3^2)"),
        (torch.arange(1.0, 6), "with loc computed from z and given scale", r"\mathcal{N}(\mu_\theta(z), \sigma^2)"),
        ("learned", "with loc computed from z and learned scale", r"\mathcal{N}(\mu_\theta(z), \sigma^2)"),
        ("of z", "with loc and scale computed from z", r"\mathcal{N}(\mu_\theta(z), \sigma_\theta(z)^2)"),
    ],
)
@pytest.mark.parametrize("zero", [False, True])
def test_each_parameter_is_told_by_what_it_is_computed_from(scale, words, family, zero):
    variant = pv.Variant(Model(scale), Guide())
    if zero:  # a network that gives the same for all z, as yet, is a network of z
        nn.init.zeros_(variant.model.decoder.weight)
    story = pv.story(variant, X)
    assert f"draw x given z from a normal in 5 dimensions {words}" in story.words
    assert any(line.family == family for line in story.families["model"] if line.left.startswith("x"))
    assert "with scale 0.5 and loc computed from x" in story.words


class Clusters(Program):
    def __init__(self):
        super().__init__()
        self.means = nn.Parameter(torch.zeros(3, 5))

    def forward(self, x):
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Categorical(torch.ones(3) / 3))
            pyro.sample("x", dist.Normal(self.means[k], 0.5).to_event(1), obs=x)


class Chooses(Program):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(5, 3)

    def forward(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("k", dist.Categorical(logits=self.encoder(x)))


def test_a_parameter_that_a_class_chooses_is_computed_from_it():
    words = pv.story(pv.Variant(Clusters(), Chooses()), X).words
    assert "draw x given k from a normal in 5 dimensions with scale 0.5 and loc computed from k" in words
    assert "draw k from a categorical with logits computed from x" in words


def test_a_model_without_a_likelihood_is_told_what_it_lacks():
    variant = pv.Variant(Model(1.0), Guide())
    for use in (
        lambda: pv.fit(variant, X, epochs=1),
        lambda: pv.evaluation.elbo(variant, X),
        lambda: pv.evaluation.log_likelihood(variant, X, num_samples=2),
        lambda: pv.story(variant),
    ):
        with pytest.raises(pv.ConfigurationError, match=r"Model, the model of Variant, needs an attribute likelihood"):
            use()
    with pytest.raises(pv.ConfigurationError, match=r"write a subclass of Variant that makes it"):
        _ = variant.config
    with pytest.raises(pv.ConfigurationError, match=r"guide of Variant must be a pyro_vae\.program\.Program.* got Lin"):
        pv.fit(pv.Variant(Model(1.0), nn.Linear(5, 2)), X, epochs=1)


class Steps(Model):
    def forward(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal((z[:, :1] > 0).float().expand(-1, 5), 0.5).to_event(1), obs=x)


def test_a_parameter_without_a_gradient_is_computed_all_the_same():
    torch.manual_seed(0)
    words = pv.story(pv.Variant(Steps(1.0), Guide()), X + torch.randn(6, 1)).words
    assert "draw x given z from a normal in 5 dimensions with scale 0.5 and loc computed from z" in words

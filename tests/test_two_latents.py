"""Programs with more than one latent site: which KL may be taken in closed form, and what must be counted."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO

import pyro_vae as pv
from pyro_vae import evaluation, likelihoods, objectives
from pyro_vae.program import Program
from pyro_vae.variants import Variant

N = 4


class Chain(Program):
    """z2 -> z1 -> x, with fixed numbers."""

    def __init__(self, likelihood):
        super().__init__()
        self.likelihood = likelihood

    def forward(self, x=None, *, size=1):
        with pyro.plate("data", size if x is None else len(x), dim=-1):
            z2 = pyro.sample("z2", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            z1 = pyro.sample("z", dist.Normal(2 * z2, 0.5).to_event(1))
            return pyro.sample("x", self.likelihood(z1), obs=x)


class Guide(Program):
    """q(z1 | x) q(z2 | z1), against the model's order, or q(z2 | x) q(z1 | z2), along it."""

    def __init__(self, order, auxiliary=False):
        super().__init__()
        self.order, self.auxiliary = order, auxiliary
        self.shift = torch.nn.Parameter(torch.tensor(0.3))

    def forward(self, x):
        with pyro.plate("data", len(x), dim=-1):
            before = x[..., :2] + self.shift
            if self.auxiliary:
                before = before + pyro.sample(
                    "a", dist.Normal(torch.zeros(2), 0.7).to_event(1), infer={"is_auxiliary": True}
                )
            for name, scale in zip(self.order, (0.6, 0.8), strict=True):
                before = 0.5 * pyro.sample(name, dist.Normal(before, scale).to_event(1))


def make(order, auxiliary=False):
    likelihood = likelihoods.Normal(3, scale=1.0)
    likelihood.connect(pv.networks.MLP([]), (2,))
    return Variant(Chain(likelihood), Guide(order, auxiliary), objective=objectives.ELBO(), latents=("z", "z2"))


def minus_loss(objective, variant, x, draws):
    with torch.no_grad():
        losses = torch.tensor([objective.loss(variant.model, variant.guide, x) for _ in range(draws)])
    return -losses.mean() / len(x), losses.std() / len(x) / draws**0.5


@pytest.mark.parametrize("order", [("z", "z2"), ("z2", "z")])
@pytest.mark.parametrize("auxiliary", [False, True])
def test_every_elbo_is_the_same_number(order, auxiliary, own_store):
    variant = make(order, auxiliary)
    x = torch.randn(N, 3)
    truth, error = minus_loss(
        Trace_ELBO(num_particles=200, vectorize_particles=True, max_plate_nesting=1), variant, x, 20
    )
    ours, our_error = minus_loss(objectives.ELBO(num_particles=200), variant, x, 20)
    assert abs(ours - truth) < 4 * (error**2 + our_error**2).sqrt()
    values = evaluation.elbo(variant, x, num_samples=4000).elbo
    assert abs(values.mean() - truth) < 4 * (error**2 + our_error**2).sqrt()


def test_the_closed_form_is_kept_where_it_holds(own_store):
    x = torch.randn(N, 3)
    exact = {term.name: term.exact for term in evaluation.site_terms(make(("z2", "z")), x)}
    assert exact == {"z2": True, "z": True, "x": False}
    exact = {term.name: term.exact for term in evaluation.site_terms(make(("z", "z2")), x)}
    assert exact == {"z2": True, "z": False, "x": False}


def test_the_reported_terms_of_training_count_auxiliary_sites(own_store):
    variant = make(("z2", "z"), auxiliary=True)
    loss = variant.objective.loss(variant.model, variant.guide, torch.randn(N, 3))
    assert -loss == pytest.approx(variant.objective.terms.elbo.item(), abs=1e-4)


def test_a_latent_that_the_guide_forgets_is_named(own_store):
    variant = make(("z2", "z"))
    variant.guide.order = ("z2", "other")
    with pytest.raises(pv.ConfigurationError, match="latent site 'z' is not in the guide, which has 'z2', 'other'"):
        evaluation.elbo(variant, torch.randn(N, 3))

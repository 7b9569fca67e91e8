"""Bugs that a review found, each with the test that would have caught it."""

import math

import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO
from scipy import integrate

import pyro_vae as pv
from pyro_vae import data, evaluation, likelihoods, networks, posteriors, priors
from pyro_vae.likelihoods.binary import _ContinuousBernoulli
from pyro_vae.parts import positive, positive_inverse
from pyro_vae.training.batches import Batches


@pytest.mark.parametrize("logit", [-300.0, -50.0, -20.0, -3.0, -0.2, -0.05, 0.0, 0.05, 0.2, 3.0, 20.0, 50.0, 300.0])
def test_continuous_bernoulli_has_the_mean_variance_and_quantiles_of_its_density(logit):
    def weight(x, moment=0):
        return x**moment * math.exp(logit * x - max(logit, 0))

    total, mean, square = (
        integrate.quad(weight, 0, 1, args=(m,), epsabs=1e-14, limit=200, points=[0.01, 0.99])[0] for m in (0, 1, 2)
    )
    mean, square = mean / total, square / total
    ours = _ContinuousBernoulli(logits=torch.tensor(logit))
    assert ours.mean.item() == pytest.approx(mean, abs=2e-6)
    assert ours.variance.item() == pytest.approx(square - mean**2, rel=2e-3, abs=1e-7)
    for u in (0.01, 0.3, 0.9):
        x = ours.icdf(torch.tensor(u)).item()
        assert integrate.quad(weight, 0, x, epsabs=1e-14, limit=200)[0] / total == pytest.approx(u, abs=2e-4)


@pytest.mark.parametrize("scale", [1e-3, 0.5, 1.0, 100.0, 1e6])
def test_any_scale_can_be_a_starting_value(scale):
    assert positive(positive_inverse(torch.tensor(scale))).item() == pytest.approx(scale, rel=1e-3)


@pytest.mark.parametrize("scale", ["shared", "per_dimension", "predicted"])
def test_data_in_large_units_can_be_trained_on(scale):
    vae = pv.VAE(priors.StandardNormal(2), likelihoods.Normal(5, scale=scale))
    with pytest.warns(UserWarning, match=r"standardise the data, \(x - x\.mean\(0\)\) / x\.std\(0\)"):
        history = pv.fit(vae, 500 * torch.randn(64, 5), epochs=1)
    assert math.isfinite(history["elbo"][0])


def test_vamp_with_batch_norm_is_the_same_prior_in_training_and_evaluation():
    vae = pv.VAE(priors.Vamp(2, components=1), likelihoods.Normal(5), encoder=networks.MLP([16], norm="batch"))
    pv.fit(vae, torch.randn(100, 5), epochs=2)
    z = torch.randn(7, 2)
    vae.train()
    statistics = {name: buffer.clone() for name, buffer in vae.named_buffers()}
    training = vae.model.prior().log_prob(z)
    vae.eval()
    assert torch.equal(training, vae.model.prior().log_prob(z))
    assert all(torch.equal(buffer, statistics[name]) for name, buffer in vae.named_buffers())


def test_with_pyros_own_objective_the_history_is_about_all_training_data():
    x = torch.cat([torch.zeros(50, 5), torch.full((50, 5), 3.0)]) + 0.1 * torch.randn(100, 5)
    vae = pv.VAE(priors.StandardNormal(2), likelihoods.Normal(5, scale=1.0), objective=Trace_ELBO())
    history = pv.fit(vae, x, epochs=3, batch_size=10)
    assert history["elbo"][-1] == pytest.approx(evaluation.elbo(vae, x, num_samples=50).elbo.mean().item(), abs=0.5)


@pytest.mark.parametrize(
    ("make", "method", "name"),
    [
        (lambda: pv.VAE(priors.StandardNormal(2), likelihoods.UnnormalisedBernoulli(5)), "importance", "Unnormalised"),
        (lambda: pv.VAE(priors.Improper(2), likelihoods.Bernoulli(5)), "importance", "Improper"),
        (lambda: pv.VAE(priors.Improper(2), likelihoods.Bernoulli(5)), "prior", "Improper"),
        (lambda: pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(5), posteriors.Delta()), "importance", "Delta"),
    ],
)
def test_there_is_no_log_likelihood_without_densities(make, method, name):
    with pytest.raises(pv.DataError, match=f"cannot be estimated: {name}"):
        evaluation.log_likelihood(make(), torch.zeros(3, 5), method=method)


def test_a_delta_guide_is_no_obstacle_to_draws_from_the_prior():
    vae = pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(5), posteriors.Delta())
    assert evaluation.log_likelihood(vae, torch.zeros(3, 5), method="prior", num_samples=10).isfinite().all()


def test_an_improper_prior_answers_where_the_code_is():
    z = torch.zeros(4, 2, dtype=torch.float64, device="meta")
    log_p = priors.Improper(2)().expand([4]).log_prob(z)
    assert (log_p.device.type, log_p.dtype, log_p.shape) == ("meta", torch.float64, (4,))


def test_a_fixed_prior_moves_with_its_transforms():
    prior = priors.Fixed(dist.Gumbel(torch.zeros(4), torch.ones(4)))
    prior.double()
    assert prior().log_prob(torch.zeros(4, dtype=torch.float64)).dtype == torch.float64
    assert prior().sample().dtype == torch.float64


@pytest.mark.parametrize("family", [dist.Uniform(0.0, 1.0), dist.Gamma(2.0, 1.0), dist.LogNormal(0.0, 1.0)])
def test_a_fixed_prior_must_cover_what_guides_propose(family):
    with pytest.raises(pv.ConfigurationError, match="over all real numbers"):
        priors.Fixed(family, size=2)


def test_no_batch_is_left_with_a_single_datum():
    assert [len(batch) for batch, _ in Batches(torch.zeros(129, 2), None, 128, seed=0).epoch(1)] == [65, 64]
    vae = pv.VAE(priors.StandardNormal(2), likelihoods.Normal(5), encoder=networks.MLP([8], norm="batch"))
    pv.fit(vae, torch.randn(129, 5), epochs=1, batch_size=128)


@pytest.mark.parametrize("prior", [priors.Normal, priors.MixtureOfNormals, priors.Flow])
def test_a_prior_with_weights_belongs_to_one_variant(prior):
    shared = prior(2)
    pv.VAE(shared, likelihoods.Bernoulli(5))
    with pytest.raises(pv.ConfigurationError, match="already belongs to a variant"):
        pv.VAE(shared, likelihoods.Bernoulli(5))


def test_what_could_not_be_put_together_leaves_its_parts_free():
    likelihood, posterior, prior = likelihoods.Bernoulli(5), posteriors.Normal(), priors.Normal(2)
    with pytest.raises(pv.ConfigurationError, match="Vamp"):
        pv.VAE(priors.Vamp(2), likelihood, posteriors.Delta())
    with pytest.raises(pv.ConfigurationError, match="Conv maps from or to an image"):
        pv.VAE(prior, likelihood, posterior, encoder=networks.Conv())
    pv.VAE(prior, likelihood, posterior)


def test_a_transform_may_change_the_precision():
    vae = pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(5))
    pv.fit(vae, torch.rand(20, 5), epochs=1, transform=lambda x: data.binarize(x).double())


def test_evaluation_gives_each_module_its_own_mode_back():
    vae = pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(5))
    vae.train()
    vae.guide.eval()
    evaluation.elbo(vae, torch.zeros(3, 5))
    assert vae.model.training
    assert not vae.guide.training


@pytest.mark.parametrize("ask", [evaluation.elbo, evaluation.log_likelihood, evaluation.kl_per_dimension])
def test_no_data_is_said(ask):
    vae = pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(5))
    with pytest.raises(pv.DataError, match="there are no data"):
        ask(vae, torch.zeros(0, 5))


def test_evaluation_takes_data_in_all_forms_and_asks_for_a_split():
    vae = pv.VAE(priors.StandardNormal(4), likelihoods.ContinuousBernoulli((1, 8, 8)))
    digits = data.load("digits")
    assert len(evaluation.elbo(vae, torch.utils.data.TensorDataset(digits.test.x)).elbo) == len(digits.test)
    with pytest.raises(pv.DataError, match=r"give one of its splits: \.train, \.valid or \.test"):
        evaluation.elbo(vae, digits)


def test_schedules_at_their_edges():
    assert pv.objectives.Sigmoid(steepness=1000.0)(0.0) == pytest.approx(0.0)
    with pytest.raises(pv.ConfigurationError, match="cycles of Cyclical"):
        pv.objectives.Cyclical(cycles=-1)


@pytest.mark.parametrize("change", [{"lr": 0.1}, {"optimizer": torch.optim.SGD}, {"epochs": 1}])
def test_a_resumed_run_cannot_be_another_one(tmp_path, change):
    def run(**settings):
        torch.manual_seed(0)
        vae = pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(5))
        return pv.fit(vae, x, **{"epochs": 2, "lr": 1e-3, "folder": tmp_path, **settings})

    x = torch.zeros(20, 5)
    run()
    with pytest.raises(pv.CheckpointError, match=r"was started with|has done 2 epochs"):
        run(resume=True, **change)


class _Broadcasting(likelihoods.Likelihood):
    def distribution(self, parameters):
        return dist.Normal(parameters, 1.0).to_event(1)  # forgot split: (N, 1, 5) instead of (N, 5)


class _Unfinished(priors.Prior):
    def forward(self):
        return dist.Normal(torch.zeros(self.size), 1.0)  # forgot to_event


class _NoDistribution(priors.Prior):
    def forward(self):
        return torch.zeros(self.size)


@pytest.mark.parametrize(
    ("prior", "likelihood", "message"),
    [
        (priors.StandardNormal, _Broadcasting, r"likelihood .*got batch shape \(2, 1\).*self\.split\(parameters\)"),
        (_Unfinished, likelihoods.Bernoulli, r"prior .*event shape \(2,\), got batch shape \(2,\).*\.to_event\(1\)"),
        (_NoDistribution, likelihoods.Bernoulli, r"prior .*must return a distribution, got a Tensor"),
    ],
)
def test_a_part_of_ones_own_that_is_wrong_is_named_when_the_variant_is_made(prior, likelihood, message):
    with pytest.raises(pv.ConfigurationError, match=message):
        pv.VAE(prior(2), likelihood(5))


def test_making_a_variant_moves_no_statistics():
    vae = pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(5), encoder=networks.MLP([8], norm="batch"))
    assert all(int(b) == 0 for name, b in vae.named_buffers() if name.endswith("num_batches_tracked"))
    assert vae.training


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda v, x: networks.MLP(128, 64), r"several layers are a list: MLP\(\[128, 64\]\)"),
        (lambda v, x: pv.fit(pv.VAE, x, epochs=1), r"fit trains a variant such as pv\.VAE"),
        (lambda v, x: pv.fit(v, x, epochs=1, optimizer=torch.optim.Adam(v.parameters())), "optimizer makes a torch"),
    ],
)
def test_first_typos_are_answered(call, message):
    vae = pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(5))
    with pytest.raises(pv.ConfigurationError, match=message):
        call(vae, torch.zeros(4, 5))


def test_one_width_is_one_layer():
    assert networks.MLP(64).hidden == [64]


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(pv.CheckpointError, match=r"is a folder; name a file in it, such as .*last\.pt"):
        pv.load(tmp_path)

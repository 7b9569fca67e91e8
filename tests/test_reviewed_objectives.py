"""Bugs of objectives, parts and variants that a review found, each with the test that would have caught it."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import TraceTailAdaptive_ELBO

import pyro_vae as pv
from pyro_vae import evaluation, labels, likelihoods, networks, objectives, posteriors, priors
from pyro_vae.flows import FlowDistribution
from pyro_vae.program import labelled


def vae(prior=None, **options):
    torch.manual_seed(0)
    parts = prior or priors.StandardNormal(2), likelihoods.Bernoulli(5)
    return pv.VAE(*parts, encoder=networks.MLP([8]), **options)


def m2(label=None, **options):
    torch.manual_seed(0)
    parts = label or labels.Categorical(3), priors.StandardNormal(2), likelihoods.Bernoulli(5)
    return pv.SemiSupervisedVAE(*parts, encoder=networks.MLP([8]), **options)


def structured(prior=None, **options):
    torch.manual_seed(0)
    parts = prior or priors.ConditionalNormal(2), likelihoods.Bernoulli(3), 4
    return pv.StructuredOutputVAE(*parts, encoder=networks.MLP([8]), **options)


def bits(n, size=5):
    return torch.bernoulli(torch.full((n, size), 0.5))


# -- bounds from both sides


def test_labels_that_the_code_does_not_depend_on_give_no_bounds():
    variant = pv.PredictionConstrainedVAE(
        labels.Categorical(3), priors.StandardNormal(2), likelihoods.Bernoulli(5), encoder=networks.MLP([8])
    )
    with pytest.raises(pv.DataError, match="do not depend on labels; leave y out"):
        evaluation.bidirectional(variant, 3, y=1)


# -- parts


def test_predictions_are_held_to_frequencies_that_do_not_follow_them(own_store):
    with pytest.warns(UserWarning, match="nothing trains its frequencies"):
        variant = pv.ConsistencyConstrainedVAE(
            labels.Categorical(3, learned=True),
            priors.StandardNormal(2),
            likelihoods.Bernoulli(5),
            encoder=networks.MLP([8]),
            aggregate=50.0,
        )
    variant.objective.loss_and_grads(variant.model, variant.guide, bits(6), torch.tensor([0, 1]))
    gradient = variant.label.logits.grad
    assert gradient is None or not gradient.any()


def flow_posterior():
    variant = vae(posterior=posteriors.Flow())
    return variant.guide.posterior(bits(4))


def test_a_flow_computes_the_density_of_a_draw_that_was_changed():
    q = flow_posterior()
    for draw in (q.sample, q.rsample):
        z = draw().detach()
        z.mul_(3)
        torch.testing.assert_close(q.log_prob(z), q.log_prob(z.clone()))
    z = q.rsample()
    with torch.no_grad():
        z[:, 0] = 0
    torch.testing.assert_close(q.log_prob(z), q.log_prob(z.clone()))


def test_a_flow_has_a_gradient_at_a_draw_without_one_and_keeps_no_draws():
    q = flow_posterior()
    assert isinstance(q, FlowDistribution)
    assert q.log_prob(q.sample()).requires_grad
    for _ in range(3):
        q.rsample()
    assert len(q.cache) <= 1


def test_labels_have_the_default_precision():
    torch.set_default_dtype(torch.float64)
    try:
        variant = m2(labels.Categorical(3, probs=[0.2, 0.3, 0.5], learned=True))
        assert {weight.dtype for weight in variant.parameters()} == {torch.float64}
        assert evaluation.elbo(variant, bits(4)).elbo.dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("make", [vae, lambda prior: pv.ConditionalVAE(SHARED, prior, likelihoods.Bernoulli(5))])
def test_a_variant_that_is_moved_leaves_others_where_they_are(make):
    prior = priors.StandardNormal(2)
    first, second = make(prior), make(prior)
    first.double()
    y = {} if first.labels == "none" else {"y": 1}
    assert second.generate(3, **y).dtype == torch.float32
    assert first.generate(3, **y).dtype == torch.float64
    second.double()
    assert second.generate(3, **y).dtype == torch.float64


SHARED = labels.Categorical(3)


def test_the_variance_of_levels_does_not_cancel():
    torch.manual_seed(0)
    logits = 30 * torch.randn(500, 256)
    likelihood = likelihoods.Categorical(1, 256)
    found = likelihood.distribution(logits.T[:, :, None].movedim(1, 0)).variance[:, 0]
    p, levels = logits.double().softmax(-1), torch.arange(256.0, dtype=torch.float64)
    truth = (p * (levels - (p * levels).sum(-1, keepdim=True)) ** 2).sum(-1)
    torch.testing.assert_close(found.double(), truth, rtol=1e-3, atol=1e-4)
    assert (found >= 0).all()


def test_a_laplace_starts_with_the_spread_of_the_data():
    torch.manual_seed(0)
    likelihood = likelihoods.Laplace(1, scale="shared")
    pv.VAE(priors.StandardNormal(2), likelihood, encoder=networks.MLP([8]))
    likelihood.initialise(dist.Laplace(0.0, 1.0).sample((20_000, 1)))
    assert likelihood(torch.zeros(1, 2)).base_dist.scale.item() == pytest.approx(1.0, abs=0.03)


# -- codes


def test_asking_for_the_prior_of_codes_changes_nothing():
    variant = pv.HierarchicalVAE(
        [priors.ConditionalNormal(3), priors.StandardNormal(2)],
        likelihoods.Bernoulli(5),
        encoders=[networks.MLP([8], norm="batch"), networks.MLP([8], norm="batch", dropout=0.5)],
    )
    before = {name: value.clone() for name, value in variant.state_dict().items()}
    found = variant.code_prior()
    assert not found.mean.requires_grad
    for name, value in variant.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_the_prior_of_codes_has_no_dropout():
    torch.manual_seed(0)
    variant = pv.VAE(priors.Vamp(2, 5), likelihoods.Bernoulli(5), encoder=networks.MLP([32], dropout=0.5))
    densities = {variant.code_prior().log_prob(torch.zeros(2)).item() for _ in range(5)}
    assert len(densities) == 1


@pytest.mark.parametrize("mean", [True, False])
def test_structured_outputs_are_reconstructed_whatever_the_guide(mean):
    variant = structured(posterior=posteriors.Flow())
    assert variant.reconstruct(torch.randn(6, 4), bits(6, 3), mean=mean).shape == (6, 3)


# -- the hybrid objective


def test_the_hybrid_objective_is_for_variants_that_explain_y_from_x():
    with pytest.raises(pv.ConfigurationError, match="explain y from x, such as StructuredOutputVAE"):
        vae(objective=objectives.Hybrid(0.5))


def test_the_hybrid_objective_wants_priors_with_a_gradient(own_store):
    class Model(pv.program.Program):
        def forward(self, x):
            with pyro.plate("data", len(x), dim=-1):
                weights, components = dist.Categorical(torch.ones(2)), dist.Normal(torch.tensor([-1.0, 1.0]), 1.0)
                z = pyro.sample("z", dist.MixtureSameFamily(weights, components))
                pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    class Guide(pv.program.Program):
        def forward(self, x):
            with pyro.plate("data", len(x), dim=-1):
                pyro.sample("z", dist.Normal(pyro.param("loc", torch.zeros(())), 1.0))

    with pytest.raises(pv.ConfigurationError, match=r"Mixture.* cannot be reparametrised, so Hybrid has no gradient"):
        objectives.Hybrid(0.0).loss(Model(), Guide(), torch.zeros(3))


def test_the_hybrid_objective_takes_out_what_is_masked(own_store):
    variant = structured(objective=objectives.Hybrid(0.0))
    x, y = torch.randn(6, 4), bits(6, 3)
    mask = torch.tensor([True, False, True, False, False, False])

    def loss(model, guide, *arguments):
        torch.manual_seed(0)
        return variant.objective.loss(model, guide, *arguments)

    masked = [pyro.poutine.mask(program, mask=mask) for program in (variant.model, variant.guide)]
    torch.manual_seed(0)
    variant.guide(x, y)  # the draws before those of the second term
    z = variant.model.prior(x).rsample()
    truth = -variant.likelihood(z, x).log_prob(y)[mask].sum().item()
    assert loss(*masked, x, y) == pytest.approx(truth, rel=1e-5)
    assert variant.objective.terms.bound.item() == pytest.approx(-truth, rel=1e-5)


# -- baselines, free bits, targets


def test_a_learned_baseline_sees_the_data_that_its_signals_are_of(own_store):
    objective = objectives.ScoreFunction(1, objectives.LearnedBaseline(networks.MLP([4])))
    variant = m2(objective=objective)
    x, y = bits(6), torch.tensor([-1, 0, -1, 1, -1, 2])
    seen = []
    variant.auxiliary.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[1]))
    objective.loss_and_grads(variant.model, variant.guide, x, y)
    torch.testing.assert_close(torch.cat(seen), torch.cat([x[[1, 3, 5]], x[[0, 2, 4]]]))


def test_a_property_has_no_free_bits_either(own_store):
    variant = m2(labels.Normal(2))
    x = bits(6)
    losses = []
    for free_bits in (0.0, 5.0):
        torch.manual_seed(1)
        objective = objectives.ELBO(free_bits=free_bits, groups=1)
        losses.append(objective.loss(variant.model, variant.guide, x))
    torch.manual_seed(1)
    trace = pyro.poutine.trace(variant.guide).get_trace(x)
    kl = torch.distributions.kl_divergence(trace.nodes["z"]["fn"], dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    added = losses[1] - losses[0]
    assert added < 6 * 5.0, "an allowance for the code alone adds less than 5 nats a datum"
    assert added == pytest.approx(6 * 5.0 - kl.sum().item(), abs=1.0)
    objectives.ELBO(free_bits=0.5).loss(variant.model, variant.guide, x)  # dimension by dimension too


def test_objectives_that_are_built_on_the_elbo_are_not_taken_for_it():
    variant, x = vae(), bits(4)
    estimators = {
        "plain": objectives.ELBO(),
        "tail": TraceTailAdaptive_ELBO(num_particles=3, vectorize_particles=True),
        "iwae": objectives.IWAE(3),
        "compiled": objectives.Compiled(objectives.IWAE(3), backend="eager"),
    }
    frame = evaluation.gradient_variance(variant, x, estimators=estimators, num_draws=3).frame
    targets = dict(zip(frame["estimator"], frame["target"], strict=True))
    assert targets["tail"] != targets["plain"]
    assert targets["compiled"] == targets["iwae"]


# -- labels that are missing


def test_what_is_labelled_is_told_for_integers_of_any_shape():
    y = torch.zeros(4, 2, 3, dtype=torch.long)
    y[1, 0, 0] = -1
    assert labelled(y).tolist() == [True, False, True, True]
    assert labelled(torch.tensor([0.5, math.nan])).tolist() == [True, False]


@pytest.mark.parametrize("y", [[0, -1, 1], [0, 1, 2, 0, 1, 2]])
def test_labels_of_some_data_have_none_missing_and_are_not_too_many(own_store, y):
    variant = m2()
    with pytest.raises(pv.DataError, match=f"the labels of all 5 data, .* got {len(y)}"):
        variant.objective.loss(variant.model, variant.guide, bits(5), torch.tensor(y))


def test_a_dream_is_put_in_the_place_of_one_argument(own_store):
    torch.manual_seed(0)
    variant = pv.StructuredOutputVAE(priors.ConditionalNormal(2), likelihoods.Bernoulli(5), 5)
    x = bits(6)
    with pytest.raises(pv.ConfigurationError, match="0 and 1 of the programs are one tensor"):
        objectives.WakeSleep().loss_and_grads(variant.model, variant.guide, x, x)


# -- weights and objectives that are changed later


def test_weights_are_of_sites_that_there_are():
    variant = m2()
    with pytest.raises(pv.ConfigurationError, match=r"site 'alpha'.*prediction"):
        variant.weigh(alpha=100.0)
    with pytest.raises(pv.ConfigurationError, match="beta is the weight of site 'z'"):
        variant.weigh(z=2.0)
    variant.weigh(prediction=3.0, x=0.5)
    assert variant.model.weights["x"] == 0.5


def test_an_objective_that_is_put_in_place_later_learns_and_is_saved(tmp_path):
    variant, x = vae(), bits(32)
    variant.objective = objectives.ScoreFunction(1, objectives.LearnedBaseline(networks.MLP([4])))
    before = [weight.clone() for weight in variant.auxiliary.parameters()]
    pv.fit(variant, x, epochs=2)
    assert any(not torch.equal(*pair) for pair in zip(before, variant.auxiliary.parameters(), strict=True))
    variant.save(tmp_path / "v.pt")
    assert isinstance(pv.load(tmp_path / "v.pt").objective, objectives.ScoreFunction)


def test_an_objective_that_is_none_or_another_variants_leaves_the_old_one():
    taken = objectives.ScoreFunction(1, "decaying")
    vae(objective=taken)
    variant = vae(objective=objectives.ScoreFunction(1, "decaying"))
    before, kept = variant.objective, variant.auxiliary
    for wrong, said in ((taken, "already belongs"), ("ELBO", "objective must be")):
        with pytest.raises(pv.ConfigurationError, match=said):
            variant.objective = wrong
        assert variant.objective is before
        assert variant.auxiliary is kept


def test_a_compiled_objective_keeps_what_it_learned(tmp_path):
    variant = vae(objective=objectives.ScoreFunction(1, "decaying"))
    kept = variant.auxiliary
    variant.objective = objectives.Compiled(variant.objective, backend="eager")
    assert variant.auxiliary is kept
    variant.save(tmp_path / "v.pt")
    assert isinstance(pv.load(tmp_path / "v.pt").objective, objectives.ScoreFunction)


def test_chains_too_short_to_be_judged_are_refused_before_they_run():
    with pytest.raises(pv.ConfigurationError, match="num_samples must be a whole number of at least 4"):
        evaluation.posterior_mcmc(vae(), bits(1), num_samples=3)

"""Wake-sleep against updates summed over all codes, all tuples of draws, and all dreams."""

import copy

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI
from pyro.infer import ReweightedWakeSleep as PyrosWakeSleep

import pyro_vae as pv
from pyro_vae import labels, likelihoods, networks, objectives, posteriors, priors
from pyro_vae.objectives.dreams import dream
from pyro_vae.stories.symbols import to_text
from tests.bits import Bits, data
from tests.family import VARIANTS, arguments_for, data_for, randomised, steps_on, vae, weights, with_labels
from tests.ppca import PPCA
from tests.statistics import assert_mean
from tests.test_truth_score_function import exact, gradients

# -- the mean of the updates


def expected(bits, x, draws, wake, sleep):
    """The expected updates of model and guide, from shares of wake and sleep in the guide's."""
    model, guide = bits.wake(x, draws)
    return exact(bits, (model + wake * guide).sum() + sleep * len(x) * bits.sleep())


@pytest.mark.parametrize(
    ("enumerates", "draws"), [(False, 1), (False, 3), ("first", 1), ("first", 2), ("last", 1), ("last", 2)]
)
@pytest.mark.parametrize(("phi", "wake", "sleep"), [("wake", 1, 0), ("sleep", 0, 1), ("both", 0.5, 0.5)])
def test_the_mean_updates_are_the_exact_ones(phi, wake, sleep, enumerates, draws):
    bits, x = Bits(enumerates), data()
    objective = objectives.ReweightedWakeSleep(draws, phi)
    found = gradients(objective, bits.model, bits.guide, (x.repeat(200, 1),), 200, seeds=30)
    assert_mean(found, expected(bits, x, draws, wake, sleep))


@pytest.mark.parametrize("draws", [1, 3])
@pytest.mark.parametrize("enumerates", [False, "first", "last"])
def test_wake_sleep_is_the_elbo_for_the_model_and_dreams_for_the_guide(enumerates, draws):
    bits, x = Bits(enumerates), data()
    found = gradients(objectives.WakeSleep(draws), bits.model, bits.guide, (x.repeat(200, 1),), 200, seeds=30)
    of_model = exact(bits, bits.elbo(x).sum())
    of_model[sum(p.numel() for p in bits.model.parameters()) :] = 0.0
    assert_mean(found, of_model + exact(bits, len(x) * bits.sleep()))


def test_the_wake_update_comes_close_to_the_posterior_with_many_draws():
    bits, x = Bits(), data()
    log_p, log_b, log_a = bits.densities(x)
    posterior = (log_p - log_p.logsumexp((0, 1))).detach().exp()
    limit = exact(bits, bits.log_likelihood(x).sum() + (posterior * (log_a + log_b)).sum())
    distance = [(expected(bits, x, draws, 1, 0) - limit).norm().item() for draws in (1, 2, 3)]
    assert distance[0] > distance[1] > distance[2]
    found = gradients(objectives.ReweightedWakeSleep(2000), bits.model, bits.guide, (x,), 1, seeds=20).mean(0)
    assert (found - limit).norm() < 0.05 * limit.norm()


def test_a_factor_adds_its_gradient_at_fixed_draws():
    bits, x = Bits(factor=True), data()
    found = gradients(objectives.ReweightedWakeSleep(2), bits.model, bits.guide, (x.repeat(200, 1),), 200, seeds=30)
    added = exact(bits, bits.factors(x).sum())
    added[sum(p.numel() for p in bits.model.parameters()) :] = 0.0
    assert_mean(found, expected(bits, x, 2, 1, 0) + added)


def test_parameters_that_both_programs_use_get_both_gradients():
    variant = randomised(VARIANTS["prior_vamp"](), 0.1).double()
    x = data_for(variant, 6).double()
    torch.manual_seed(0)
    q = variant.guide.posterior(x)
    z = q.rsample((4,)).detach()
    log_q, log_p = q.log_prob(z), variant.model.prior().log_prob(z) + variant.likelihood(z).log_prob(x)
    v = (log_p - log_q).softmax(0).detach()
    parameters = [*variant.model.parameters(), *variant.guide.parameters()]
    by_hand = torch.autograd.grad(-(v * (log_p + log_q)).sum(), parameters)
    found = gradients(objectives.ReweightedWakeSleep(4), variant.model, variant.guide, (x,), 1, seeds=1)[0]
    torch.testing.assert_close(found, torch.cat([each.flatten() for each in by_hand]))


@pytest.mark.parametrize("beta", [0.5, 3.0])
def test_a_weight_says_which_draws_count(beta):
    ppca = PPCA("diagonal", beta=beta)
    ppca.set_wrong_guide()
    x = ppca.draw(6)
    torch.manual_seed(0)
    q = ppca.vae.guide.posterior(x)
    z = q.rsample((4,)).detach()
    reconstruction = ppca.vae.likelihood(z).log_prob(x)
    log_q, prior = q.log_prob(z), dist.Normal(0.0, 1.0).log_prob(z).sum(-1)
    v = (reconstruction + beta * (prior - log_q)).softmax(0).detach()
    parameters = [*ppca.vae.model.parameters(), *ppca.vae.guide.parameters()]
    by_hand = torch.autograd.grad(-(v * (reconstruction + log_q)).sum(), parameters)
    found = gradients(objectives.ReweightedWakeSleep(4), ppca.vae.model, ppca.vae.guide, (x,), 1, seeds=1)[0]
    torch.testing.assert_close(found, torch.cat([each.flatten() for each in by_hand]))


# -- values


@pytest.mark.parametrize("name", ["prior_vamp", "beta", "m2", "conditional", "consistency_constrained"])
def test_the_value_is_that_of_the_bound_for_the_same_draws(name, own_store):
    variant = randomised(VARIANTS[name](), 0.1).double()
    x, y = arguments_for(variant, 8)
    arguments = steps_on(variant, x.double(), y)
    for ours, theirs in (
        (objectives.ReweightedWakeSleep(3), objectives.IWAE(3)),
        (objectives.WakeSleep(3), objectives.ELBO(3)),
    ):
        found = []
        for objective in (ours, theirs):
            torch.manual_seed(3)
            found.append(objective.loss(variant.model, variant.guide, *arguments))
        assert found[0] == pytest.approx(found[1], abs=1e-9)
        for field in ("reconstruction", "kl", "bound", "factors"):
            assert getattr(ours.terms, field) == getattr(theirs.terms, field)


def test_weights_are_those_of_each_datum_and_pyros_are_not(own_store):
    ppca = PPCA("diagonal")
    ppca.set_wrong_guide()
    x = ppca.draw(50)
    pyros = PyrosWakeSleep(num_particles=200, vectorize_particles=True, max_plate_nesting=1)
    torch.manual_seed(0)
    theirs, _ = pyros.loss(ppca.vae.model, ppca.vae.guide, x)
    torch.manual_seed(0)
    ours = objectives.ReweightedWakeSleep(200).loss(ppca.vae.model, ppca.vae.guide, x)
    exactly = -ppca.log_likelihood(x).sum().item()
    assert ours == pytest.approx(exactly, abs=1.0)
    assert theirs > exactly + 5.0


def test_the_update_of_a_batch_is_the_sum_of_those_of_its_data(monkeypatch):
    ppca = PPCA("diagonal")
    ppca.set_wrong_guide()
    x, noise = ppca.draw(5), torch.randn(4, 5, 2, dtype=torch.float64)
    found = []
    for some in [slice(0, 5), *(slice(i, i + 1) for i in range(5))]:
        monkeypatch.setattr("torch.distributions.normal._standard_normal", lambda *_, some=some, **__: noise[:, some])
        objective = objectives.ReweightedWakeSleep(4)
        found.append(gradients(objective, ppca.vae.model, ppca.vae.guide, (x[some],), 1, seeds=1)[0])
    torch.testing.assert_close(found[0], sum(found[1:]))


def test_with_one_draw_the_models_update_is_that_of_wake_sleep():
    bits, x = Bits(), data(6)
    split = sum(p.numel() for p in bits.model.parameters())
    pair = objectives.ReweightedWakeSleep(1), objectives.WakeSleep()
    ours, theirs = (gradients(each, bits.model, bits.guide, (x,), 1, seeds=3) for each in pair)
    torch.testing.assert_close(ours[:, :split], theirs[:, :split])
    asleep = gradients(objectives.ReweightedWakeSleep(1, "sleep"), bits.model, bits.guide, (x,), 1, seeds=3)
    torch.testing.assert_close(asleep, theirs)


# -- dreams


def test_dreams_follow_the_model(own_store):
    variant = randomised(VARIANTS["m2"](), 0.5)
    x = data_for(variant, 4000)
    (dreamed, nothing), latents = dream(variant.model, (x, None))
    assert nothing is None
    assert latents.keys() == {"y", "z"}
    assert not torch.equal(dreamed, x)
    fresh = variant.generate(4000, mean=False)
    difference = dreamed.mean(0) - fresh.mean(0)
    assert (difference.abs() < 4.5 * (0.5 / 4000) ** 0.5).all()
    # what belongs together was drawn together
    p = variant.likelihood(latents["z"], latents["y"])
    assert p.log_prob(dreamed).mean() > p.log_prob(dreamed.roll(1, 0)).mean() + 0.1


def test_labels_are_dreamed_where_they_have_a_story_and_stay_where_they_are_given(own_store):
    for name, stays in (("conditional", True), ("m2", False)):
        variant = VARIANTS[name]()
        x, y = data_for(variant, 300), torch.zeros(300, dtype=torch.long)
        (dreamed, label), latents = dream(variant.model, (x, y))
        assert latents.keys() == {"z"}
        assert dreamed.shape == x.shape
        assert (label is y) == stays
        assert stays or label.unique().tolist() == [0, 1, 2]
    variant = VARIANTS["structured_output"]()
    x, y = arguments_for(variant, 20)
    (given, dreamed), _ = dream(variant.model, (x, y))
    assert given is x
    assert not torch.equal(dreamed, y)


def test_dreams_leave_batch_norms_and_gradients_alone(own_store):
    variant = VARIANTS["conv_with_norm"]()
    x = data_for(variant, 16)
    before = copy.deepcopy(dict(variant.named_buffers()))
    arguments, latents = dream(variant.model, (x,))
    assert not any(each.requires_grad for each in [*arguments, *latents.values()])
    assert all(torch.equal(buffer, before[name]) for name, buffer in variant.named_buffers())
    twin = copy.deepcopy(variant)
    for each, phi in ((variant, "wake"), (twin, "both")):
        torch.manual_seed(0)
        objectives.ReweightedWakeSleep(2, phi).loss_and_grads(each.model, each.guide, x)
    assert all(torch.equal(buffer, dict(twin.named_buffers())[name]) for name, buffer in variant.named_buffers())


@pytest.mark.filterwarnings("ignore:Found non-auxiliary vars")
def test_what_cannot_be_dreamed_is_refused(own_store):
    m2 = VARIANTS["m2"]()
    partly = steps_on(m2, *arguments_for(m2, 16))
    for objective in (objectives.ReweightedWakeSleep(2, "sleep"), objectives.WakeSleep()):
        with pytest.raises(pv.ConfigurationError, match=r"only some data have labels.*phi='wake'"):
            objective.loss_and_grads(m2.model, m2.guide, *partly)
        for whole in ((partly[0], None), (data_for(m2, 8), torch.tensor([0, 1] * 4))):
            objective.loss_and_grads(m2.model, m2.guide, *whole)
    objectives.ReweightedWakeSleep(2).loss_and_grads(m2.model, m2.guide, *partly)

    def model(x):
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(pyro.sample("z", dist.Normal(0.0, 1.0)), 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            extra = pyro.sample("extra", dist.Normal(pyro.param("loc", torch.tensor(0.0)), 1.0))
            pyro.sample("z", dist.Normal(extra, 1.0))

    with pytest.raises(pv.ConfigurationError, match="'extra' is not in the model"):
        objectives.WakeSleep().loss_and_grads(model, guide, torch.randn(3))
    with pytest.raises(pv.ConfigurationError, match=r"'sleeping' is unknown.*'sleep'"):
        objectives.ReweightedWakeSleep(phi="sleeping")


# -- training, story


TRAINED = {
    "wake": lambda: objectives.ReweightedWakeSleep(5),
    "both": lambda: objectives.ReweightedWakeSleep(5, "both"),
    "wake-sleep": objectives.WakeSleep,
}


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize("posterior", ["bits", "normal"])
def test_fit_trains_with_it_and_files_keep_it(posterior, name, tmp_path):
    parts = (priors.Bernoulli(3), posteriors.Bernoulli()) if posterior == "bits" else ("standard_normal", "normal")
    variant = vae(*parts, objective=TRAINED[name]())
    x = data_for(variant, 256)
    history = pv.fit(variant, x, epochs=30, batch_size=64, lr=0.02)
    found = history["elbo" if name == "wake-sleep" else "bound"]
    assert found[-1] > found[0] + 1.5
    variant.save(tmp_path / "variant.pt")
    assert repr(pv.load(tmp_path / "variant.pt").objective) == repr(variant.objective)


def test_missing_classes_train_the_classifier(own_store):
    variant = with_labels(pv.SemiSupervisedVAE, objective=objectives.ReweightedWakeSleep(4))
    x, _ = arguments_for(variant)
    before = weights(variant)
    SVI(variant.model, variant.guide, pyro.optim.Adam({"lr": 0.01}), loss=variant.objective).step(x, None)
    assert all(not torch.equal(p, before[n]) for n, p in weights(variant).items() if "classifier" in n)


def test_with_missing_classes_q_of_them_goes_to_the_posterior(own_store):
    # one latent that is summed over and one that is not: the guide's q(y | x) must find p(y | x)
    variant = pv.SemiSupervisedVAE(
        labels.Categorical(3, probs=[0.5, 0.3, 0.2]),
        priors.StandardNormal(1),
        likelihoods.Bernoulli(4),
        posteriors.Normal(),
        networks.MLP([5], activation="tanh"),
        objective=objectives.ReweightedWakeSleep(20),
    )
    randomised(variant, 0.7)
    variant.model.requires_grad_(False).eval()
    x = torch.randint(2, (6, 4)).float()
    svi = SVI(variant.model, variant.guide, pyro.optim.ClippedAdam({"lr": 0.03, "lrd": 0.99}), variant.objective)
    for _ in range(200):
        svi.step(x.repeat(10, 1), None)
    z = torch.randn(20000, 1, 1, 1)
    log_p = variant.model.label().log_prob(torch.arange(3)[:, None]) + variant.likelihood(
        z, torch.arange(3)[:, None]
    ).log_prob(x)
    posterior = log_p.exp().mean(0)
    torch.testing.assert_close(variant.predict(x).probs, (posterior / posterior.sum(0)).T, atol=0.03, rtol=0)


def test_the_story_says_who_climbs_what():
    objective = pv.story(vae(objective=objectives.ReweightedWakeSleep(7, "both"))).objective
    assert to_text(objective.lines[0]) == "L(x) = E_q[log 1/K Σₖ₌₁ᴷ wₖ]"
    assert any("the model climbs this; the guide does not" in note and "dreamed" in note for note in objective.notes)
    objective = pv.story(vae(objective=objectives.WakeSleep())).objective
    assert to_text(objective.lines[0]) == "L(x) = E_q(z|x)[log p(x | z)] − KL(q(z | x) ‖ p(z))"
    variant = vae(objective=objectives.ReweightedWakeSleep(50))
    ledger = pv.story(randomised(variant)).ledger(data_for(variant, 100), num_samples=5)
    assert ledger.objective > ledger.weighted_total

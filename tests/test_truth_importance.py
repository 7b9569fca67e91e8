"""Importance-weighted bounds and their gradients against weights by hand, exact values and each other."""

import copy
import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, RenyiELBO, Trace_ELBO
from torch.distributions import Normal

import pyro_vae as pv
from pyro_vae import labels, likelihoods, networks, objectives, posteriors, priors
from pyro_vae.objectives.enumeration import enumerated_trace, log_density
from pyro_vae.objectives.rerun import Held, random_state
from pyro_vae.objectives.weights import drawn
from pyro_vae.stories.symbols import to_text
from tests.family import VARIANTS, arguments_for, data_for, frozen, randomised, stacked, steps_on, vae, with_labels
from tests.ppca import PPCA, SIGMA, exact_terms
from tests.statistics import assert_mean, z_score

GRADIENTS = ["reparametrised", "stl", "dreg"]
TRAINED = [
    "prior_standard_normal",
    "prior_vamp",
    "posterior_full_covariance",
    "posterior_flow",
    "vamp_and_flow",
    "beta",
    "dropout_and_norm",
    "conv_with_norm",
    "conditional",
    "structured_output",
    "m2",
    "m2_norm_and_dropout",
    "m2_properties",
    "m1m2",
    "prediction_constrained",
    "consistency_constrained",
    "discriminative",
]


def wrong(posterior="full"):
    ppca = PPCA(posterior)
    ppca.set_wrong_guide()
    return ppca


def near():
    """A guide wide enough for weights of little spread, so that few draws come close to log p(x)."""
    ppca = PPCA()
    ppca.set_guide(ppca.gain * 0.97, 0.05 - ppca.gain @ ppca.mu, 1.4 * torch.linalg.cholesky(ppca.covariance))
    return ppca


def loss(objective, variant, *arguments, seed=3):
    torch.manual_seed(seed)
    return objective.loss(variant.model, variant.guide, *arguments)


def by_hand(ppca, x, draws, seed=3):
    """log w (K, B) of a linear-Gaussian VAE for the draws that the objective makes from the same seed."""
    torch.manual_seed(seed)
    q = ppca.vae.guide.posterior(x)
    z = q.rsample((draws,))
    log_p = Normal(0.0, 1.0).log_prob(z).sum(-1) + Normal(z @ ppca.w.T + ppca.mu, SIGMA).log_prob(x).sum(-1)
    return (log_p - q.log_prob(z)).detach()


def log_mean(log_w, alpha=0.0):
    power = 1 - alpha
    return ((power * log_w).logsumexp(0) - math.log(len(log_w))) / power


# -- the bound


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("posterior", ["full", "diagonal"])
@pytest.mark.parametrize("draws", [1, 2, 7])
def test_the_bound_is_the_log_of_the_mean_weight_of_each_datum(draws, posterior, gradient, own_store):
    ppca = wrong(posterior)
    x = ppca.draw(6)
    expected = log_mean(by_hand(ppca, x, draws)).sum().item()
    objective = objectives.IWAE(draws, gradient)
    assert -loss(objective, ppca.vae, x) == pytest.approx(expected, abs=1e-10)
    assert objective.terms.bound.item() == pytest.approx(expected, abs=1e-10)
    torch.manual_seed(3)
    assert -objective.loss_and_grads(ppca.vae.model, ppca.vae.guide, x) == pytest.approx(expected, abs=1e-10)


def test_data_are_not_weighed_against_each_other(own_store, monkeypatch):
    ppca = wrong("diagonal")
    x, objective = ppca.draw(5), objectives.IWAE(4)
    noise = torch.randn(4, 5, 2, dtype=torch.float64)
    rows = [slice(0, 5), *(slice(i, i + 1) for i in range(5))]
    values = []
    for some in rows:
        monkeypatch.setattr("torch.distributions.normal._standard_normal", lambda *_, some=some, **__: noise[:, some])
        values.append(loss(objective, ppca.vae, x[some]))
    assert values[0] == pytest.approx(math.fsum(values[1:]), abs=1e-10)


def test_the_bound_rises_with_every_draw_to_log_p(own_store):
    ppca = near()
    x = ppca.draw(4)
    exact = ppca.log_likelihood(x).sum()
    many = x.repeat(50, 1)
    means, errors = [], []
    for draws in (1, 2, 5, 20, 200):
        objective = objectives.IWAE(draws)
        torch.manual_seed(0)
        found = -torch.tensor([objective.loss(ppca.vae.model, ppca.vae.guide, many) / 50 for _ in range(30)])
        means.append(found.mean())
        errors.append(found.std() / 30**0.5)
    for i in range(4):
        assert (means[i + 1] - means[i]) / math.hypot(errors[i], errors[i + 1]) > 4
    assert all(mean < exact + 3 * error for mean, error in zip(means, errors, strict=True))
    assert exact - means[-1] < 0.03
    # a single draw is the ELBO
    elbo = sum(term.sum() * sign for term, sign in zip(exact_terms(ppca.vae, x), (1, -1), strict=True)).item()
    assert abs(means[0] - elbo) < 4 * errors[0]


def test_a_single_draw_is_pyros_elbo_and_many_are_pyros_renyi(own_store):
    ppca = wrong()
    x = ppca.draw(6)
    assert loss(objectives.IWAE(1), ppca.vae, x) == pytest.approx(loss(Trace_ELBO(), ppca.vae, x), abs=1e-9)
    for alpha in (0.0, 0.5, 2.0):
        pyros = RenyiELBO(alpha, num_particles=5, vectorize_particles=True, max_plate_nesting=1)
        ours = objectives.Renyi(alpha, 5)
        assert loss(ours, ppca.vae, x) == pytest.approx(loss(pyros, ppca.vae, x), abs=1e-9)
    pyros = [RenyiELBO(0.0, num_particles=3).loss(ppca.vae.model, ppca.vae.guide, x) for _ in range(300)]
    ours = [objectives.IWAE(3).loss(ppca.vae.model, ppca.vae.guide, x) for _ in range(300)]
    assert_mean(torch.tensor(pyros) - torch.tensor(ours), 0.0)


def test_orders_of_renyi(own_store):
    ppca = wrong()
    x = ppca.draw(6)
    log_w = by_hand(ppca, x, 8)
    alphas = [-1.0, 0.0, 0.5, 0.999999, 1.0, 1.000001, 2.0]
    found = [-loss(objectives.Renyi(alpha, 8), ppca.vae, x) for alpha in alphas]
    for alpha, value in zip(alphas, found, strict=True):
        expected = log_w.mean(0) if alpha == 1 else log_mean(log_w, alpha)
        assert value == pytest.approx(expected.sum().item(), abs=1e-7)
    assert found == sorted(found, reverse=True)
    assert found[1] == -loss(objectives.IWAE(8), ppca.vae, x)
    assert found[3] == pytest.approx(found[4], abs=1e-3)
    assert found[4] == pytest.approx(-loss(Trace_ELBO(8, 1, vectorize_particles=True), ppca.vae, x), abs=1e-9)


@pytest.mark.parametrize("beta", [0.5, 3.0])
def test_beta_is_inside_the_weight_and_the_terms_are_those_of_the_elbo(beta, own_store):
    ppca = PPCA("diagonal", beta=beta)
    ppca.set_wrong_guide()
    x = ppca.draw(6)
    torch.manual_seed(3)
    q = ppca.vae.guide.posterior(x)
    z = q.rsample((4,))
    reconstruction = Normal(z @ ppca.w.T + ppca.mu, SIGMA).log_prob(x).sum(-1)
    log_w = reconstruction + beta * (Normal(0.0, 1.0).log_prob(z).sum(-1) - q.log_prob(z))
    objective = objectives.IWAE(4)
    assert -loss(objective, ppca.vae, x) == pytest.approx(log_mean(log_w).sum().item(), abs=1e-10)
    assert objective.terms.reconstruction.item() == pytest.approx(reconstruction.mean(0).sum().item(), abs=1e-10)
    assert objective.terms.kl.item() == pytest.approx(exact_terms(ppca.vae, x)[1].sum().item(), abs=1e-10)
    assert not objective.terms.bound.requires_grad


# -- missing classes


def tiny_m2(objective=None, alpha=1.0, beta=1.0):
    """M2 with one latent dimension, whose log p(x) is a one-dimensional integral."""
    variant = pv.SemiSupervisedVAE(
        labels.Categorical(3, probs=[0.5, 0.3, 0.2]),
        priors.StandardNormal(1),
        likelihoods.Bernoulli(4),
        posteriors.Normal(),
        networks.MLP([5], activation="tanh"),
        alpha=alpha,
        beta=beta,
        objective=objective,
    )
    return randomised(variant, 0.5).double()


def tiny_data(n=6, known=2):
    x = torch.randint(2, (n, 4), generator=torch.Generator().manual_seed(1)).double()
    return x, torch.tensor([0, 2, 1, 1, 0][:known] + [-1] * (n - known))


def weights_by_hand(variant, x, y, draws):
    """log w (K, B) of data with labels, and (K, B) summed over classes of those without, drawn in that order."""
    model, guide, n = variant.model, variant.guide, int((y >= 0).sum())

    def weight(x, y):
        q = guide.posterior(x, y).expand((*y.shape[:-2], draws, len(x)))
        z = q.rsample()
        log_p = model.label().log_prob(y) + model.prior().log_prob(z) + model.likelihood(z, y).log_prob(x)
        return log_p - q.log_prob(z)

    known = weight(x[:n], y[:n].expand(1, n))
    missing = weight(x[n:], torch.arange(3)[:, None, None].expand(3, 1, len(x) - n))
    return known.detach(), missing.logsumexp(0).detach()


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("draws", [2, 5])
def test_missing_classes_are_summed_over_inside_the_weight(draws, gradient, own_store):
    variant = tiny_m2(alpha=2.0)
    x, y = tiny_data()
    torch.manual_seed(3)
    known, missing = weights_by_hand(variant, x, y, draws)
    bound = (log_mean(known).sum() + log_mean(missing).sum()).item()
    prediction = variant.guide.classifier(x[:2]).log_prob(y[:2]).sum().item()
    objective = objectives.IWAE(draws, gradient)
    torch.manual_seed(3)
    found = -objective.loss_and_grads(variant.model, variant.guide, *steps_on(variant, x, y))
    assert found == pytest.approx(bound + 2.0 * prediction, abs=1e-10)
    assert objective.terms.bound.item() == pytest.approx(bound, abs=1e-10)
    assert objective.terms.factors["prediction"].item() == pytest.approx(prediction, abs=1e-10)


def test_with_missing_classes_the_bound_rises_to_log_p_too(own_store):
    variant = tiny_m2()
    x, _ = tiny_data()
    nodes, weight = np.polynomial.hermite_e.hermegauss(60)
    z = torch.from_numpy(nodes)[:, None, None, None]
    y = torch.arange(3)[:, None]
    log_p = variant.model.label().log_prob(y) + variant.model.likelihood(z, y).log_prob(x)
    exact = (log_p + torch.from_numpy(np.log(weight))[:, None, None]).logsumexp((0, 1)) - 0.5 * math.log(2 * math.pi)
    many = x.repeat(20, 1)
    found = {}
    for draws in (1, 10, 300):
        objective = objectives.IWAE(draws)
        values = [objective.loss(variant.model, variant.guide, *steps_on(variant, many)) / 20 for _ in range(25)]
        found[draws] = -torch.tensor(values)
    assert z_score(found[10] - found[1], 0.0) > 4
    assert z_score(found[300] - found[10], 0.0) > 4
    assert exact.sum().item() - found[300].mean() == pytest.approx(0.0, abs=0.05)
    assert z_score(found[300], exact.sum().item()) < 3


def test_data_with_and_without_labels_add_up(own_store):
    variant = tiny_m2()
    x, y = tiny_data(8, 3)
    objective = objectives.IWAE(50)
    arguments = [(x, y), (x[:3], y[:3]), (x[3:], y[3:])]
    together, known, missing = (
        torch.tensor([objective.loss(variant.model, variant.guide, *steps_on(variant, *some)) for _ in range(200)])
        for some in arguments
    )
    assert_mean(together - known - missing, 0.0)


def test_the_classifier_of_data_without_labels_is_no_part_of_the_bound(own_store):
    variant = tiny_m2()
    x, _ = tiny_data()
    objectives.IWAE(5).loss_and_grads(variant.model, variant.guide, *steps_on(variant, x))
    assert all(p.grad is None for p in variant.guide.classifier.parameters())
    assert all(p.grad is not None for p in variant.guide.posterior.parameters())


def test_what_is_masked_counts_for_nothing(own_store):
    variant, objective = tiny_m2(), objectives.IWAE(4)
    x, _ = tiny_data()
    mask = torch.tensor([True, True, True, False, True, False])
    programs = [poutine.mask(program, mask=mask) for program in (variant.model, variant.guide)]

    def found(x, mask=mask):
        torch.manual_seed(3)
        return objective.loss(*programs, x, None)

    assert found(torch.where(mask[:, None], x, 1 - x)) == pytest.approx(found(x), abs=1e-10)
    programs = [poutine.mask(program, mask=torch.zeros(6, dtype=torch.bool)) for program in programs]
    assert found(x) == pytest.approx(0.0, abs=1e-10)


# -- gradients


def flat(parameters):
    return torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters])


def gradients(objective, variant, arguments, seeds):
    """Gradients of minus the objective for model and guide, (seeds, P) each."""
    found = []
    for seed in seeds:
        variant.zero_grad()
        torch.manual_seed(seed)
        objective.loss_and_grads(variant.model, variant.guide, *arguments)
        found.append((flat(variant.model.parameters()), flat(variant.guide.parameters())))
    return tuple(torch.stack(side) for side in zip(*found, strict=True))


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_with_one_draw_all_gradients_are_the_exact_one_of_the_elbo(gradient, own_store):
    ppca = wrong()
    x = ppca.draw(3)
    reconstruction, kl = exact_terms(ppca.vae, x)
    (kl - reconstruction).sum().backward()
    exact = [flat(program.parameters()) for program in (ppca.vae.model, ppca.vae.guide)]
    found = gradients(objectives.IWAE(1, gradient), ppca.vae, (x.repeat(100, 1),), range(100))
    for side, expected in zip(found, exact, strict=True):
        assert_mean(side / 100, expected)


def linear(alpha, beta=1.0):
    ppca = PPCA("full", beta=beta)
    ppca.set_wrong_guide()
    return objectives.Renyi(alpha, 4), ppca.vae, (ppca.draw(4).repeat(20, 1),)


def in_family(name, alpha=0.0):
    variant = randomised(VARIANTS[name](), 0.1).double()
    x, y = arguments_for(variant, 16)
    x = x.double() if x.is_floating_point() else x
    y = y.double() if y is not None and y.is_floating_point() else y
    return objectives.Renyi(alpha, 3), variant, steps_on(variant, x, y)


def partly_labelled(alpha, beta=1.0):
    variant = tiny_m2(beta=beta)
    x, y = tiny_data(6, 2)
    return objectives.Renyi(alpha, 3), variant, steps_on(variant, x.repeat(20, 1), y.repeat(20))


CASES = {
    "iwae": lambda: linear(0.0),
    "renyi 0.5": lambda: linear(0.5),
    "renyi 2": lambda: linear(2.0),
    "renyi -1": lambda: linear(-1.0),
    "beta 0.5": lambda: linear(0.0, beta=0.5),
    "beta 0.5, renyi 0.5": lambda: linear(0.5, beta=0.5),
    "m2": lambda: partly_labelled(0.0),
    "m2, renyi 0.5, beta 0.7": lambda: partly_labelled(0.5, 0.7),
    "vamp": lambda: in_family("prior_vamp"),
    "flow": lambda: in_family("posterior_flow"),
    "vamp and flow": lambda: in_family("vamp_and_flow", 0.5),
    "one latent from another": lambda: in_family("m2_properties"),
    "m1m2": lambda: in_family("m1m2"),
    "factors of the guide's own draws": lambda: in_family("consistency_constrained"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_doubly_reparametrised_gradient_is_that_of_the_bound(case, own_store):
    plain, variant, arguments = CASES[case]()
    variant.eval()
    doubly = objectives.Renyi(plain.alpha, plain.num_particles, "dreg")
    seeds = range(120)
    ours, expected = (gradients(objective, variant, arguments, seeds) for objective in (doubly, plain))
    # the model's own parameters have one gradient, draw for draw, unless the guide reads them too
    difference = torch.cat([ours[0] - expected[0], ours[1] - expected[1]], 1)
    directions = torch.randn(difference.shape[1], 12, dtype=torch.float64)
    assert difference[:, -expected[1].shape[1] :].abs().max() > 1e-6, "the gradients are the same draw for draw"
    scale = expected[1].std(0).clamp(min=1e-12)
    weighed = torch.cat([torch.ones(expected[0].shape[1], dtype=torch.float64), 1 / scale])
    # parameters that nothing moves are left out of the directions
    weighed[difference.std(0) < 1e-10] = 0.0
    assert_mean((difference * weighed) @ directions, 0.0, limit=4.5)


def test_sticking_the_landing_is_biased_beyond_one_draw_and_not_for_the_elbo(own_store):
    _, variant, arguments = linear(0.0)
    seeds = range(200)
    for alpha, biased in ((0.0, True), (1.0, False)):
        ours, expected = (
            gradients(objectives.Renyi(alpha, 4, gradient), variant, arguments, seeds)
            for gradient in ("stl", "reparametrised")
        )
        torch.testing.assert_close(ours[0], expected[0])  # the model's gradient is the bound's own
        z = z_score(ours[1] - expected[1], 0.0).abs().max()
        assert (z > 10) == biased, z
        if not biased:
            assert z < 4.5


@pytest.mark.parametrize("draws", [1, 6])
@pytest.mark.parametrize("posterior", ["full", "diagonal"])
def test_at_the_exact_posterior_nothing_moves_the_guide(posterior, draws, own_store):
    ppca = PPCA(posterior)
    x = ppca.draw(5)
    for gradient, still in (("stl", True), ("dreg", True), ("reparametrised", False)):
        found = gradients(objectives.IWAE(draws, gradient), ppca.vae, (x,), range(3))[1]
        assert (found.abs().max() < 1e-10) == still


def signal_to_noise(gradient, draws):
    """Of the guide's gradient from one batch, averaged over its parameters."""
    ppca = near()
    torch.manual_seed(0)
    found = gradients(objectives.IWAE(draws, gradient), ppca.vae, (ppca.draw(20),), range(120))[1]
    return (found.mean(0).abs() / found.std(0)).mean().item()


def test_only_the_doubly_reparametrised_gradient_keeps_its_signal(own_store):
    ratios = {name: [signal_to_noise(name, draws) for draws in (1, 8, 64)] for name in ("reparametrised", "dreg")}
    print({name: [round(value, 2) for value in values] for name, values in ratios.items()})
    plain, doubly = ratios["reparametrised"], ratios["dreg"]
    assert plain[0] > 2 * plain[1] > 3 * plain[2]
    assert doubly[0] < doubly[1] < doubly[2]


@pytest.mark.parametrize("name", ["dropout_and_norm", "m2_norm_and_dropout", "m2_properties", "conv_with_norm"])
def test_the_second_run_of_the_guide_is_the_first_again(name, own_store):
    variant = VARIANTS[name]()
    variant.train()
    arguments = steps_on(variant, *arguments_for(variant, 16))
    repeat = random_state(variant.guide, arguments)
    first = enumerated_trace(variant.guide, arguments, 1)
    state, buffers = torch.get_rng_state(), {n: b.clone() for n, b in variant.guide.named_buffers()}
    with repeat, Held({site["name"]: site["value"].detach() for site in drawn(first)}):
        again = enumerated_trace(variant.guide, arguments, 1)
    assert list(drawn(first))
    for site in drawn(first):
        torch.testing.assert_close(log_density(again.nodes[site["name"]]), log_density(site), rtol=1e-4, atol=1e-5)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(buffer, buffers[n]) for n, buffer in variant.guide.named_buffers())
    assert all(m.track_running_stats for m in variant.guide.modules() if hasattr(m, "track_running_stats"))


# -- the whole family, and training


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("name", TRAINED)
def test_every_parameter_gets_a_gradient_under_svi(name, gradient, own_store):
    variant = VARIANTS[name]()
    x, y = variant.batch(*arguments_for(variant))
    variant.initialise(x, y)
    before = {n: p.detach().clone() for n, p in variant.named_parameters()}
    svi = SVI(variant.model, variant.guide, pyro.optim.Adam({"lr": 0.01}), loss=objectives.IWAE(4, gradient))
    assert all(math.isfinite(svi.step(*steps_on(variant, x, y))) for _ in range(2))
    still = {n for n, p in variant.named_parameters() if torch.equal(p, before[n])}
    assert still == set(frozen(variant))


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("make", [vae, lambda **o: with_labels(pv.SemiSupervisedVAE, **o)])
def test_fit_trains_with_it_and_files_keep_it(make, gradient, tmp_path):
    variant = make(objective=objectives.IWAE(6, gradient))
    x, y = arguments_for(variant, 128)
    history = pv.fit(variant, x if y is None else (x, y), epochs=15, batch_size=32, lr=0.01)
    assert history["bound"][-1] > history["bound"][0] + 0.5
    assert history["bound"][-1] > history["elbo"][-1]
    factors = history.get("prediction", [0.0] * 15)
    assert history["loss"][-1] == pytest.approx(-history["bound"][-1] - factors[-1], abs=1e-3)
    variant.save(tmp_path / "variant.pt")
    again = pv.load(tmp_path / "variant.pt").objective
    assert repr(again) == repr(variant.objective) == f"IWAE(6{f', gradient={gradient!r}' * (gradient != GRADIENTS[0])})"
    renyi = vae(objective=objectives.Renyi(0.5, 3, gradient))
    renyi.save(tmp_path / "renyi.pt")
    assert pv.load(tmp_path / "renyi.pt").objective.config == renyi.objective.config


def test_subsampling_multiplies_the_bound_and_not_the_log_weights(own_store):
    x = torch.randn(40)

    def program(obs):
        def run(rows):
            with pyro.plate("data", 40, subsample=rows):
                z = pyro.sample("z", dist.Normal(0.5 * x[rows] * obs, 1.0))
                if not obs:
                    pyro.sample("x", dist.Normal(z, 1.0), obs=x[rows])

        return run

    def found(rows):
        torch.manual_seed(3)
        return objectives.IWAE(4).loss(program(0), program(1), rows)

    torch.manual_seed(3)
    z = 0.5 * x[:10] + torch.randn(4, 10)
    log_w = Normal(0.0, 1.0).log_prob(z) + Normal(z, 1.0).log_prob(x[:10]) - Normal(0.5 * x[:10], 1.0).log_prob(z)
    assert -found(torch.arange(10)) == pytest.approx(4 * log_mean(log_w).sum().item(), rel=1e-5)


def test_the_story_tells_of_weights():
    def said(**options):
        objective = pv.story(vae(**options)).objective
        return [to_text(line) for line in objective.lines], objective.notes

    lines, notes = said(objective=objectives.IWAE(7, "stl"))
    assert lines == ["L(x) = E_q[log 1/K Σₖ₌₁ᴷ wₖ]", "w = p(x, z)/q(z | x)"]
    assert "a lower bound on log p(x)" in notes
    assert "K = 7 draws from the guide for each datum are weighed against each other" in notes
    assert any("sticking the landing" in note for note in notes)
    lines, notes = said(objective=objectives.Renyi(0.5), beta=4)
    assert lines[0] == "L(x) = 2 E_q[log 1/K Σₖ₌₁ᴷ wₖ^(0.5)]"
    assert lines[1] == "log w = log p(x | z) + 4 log p(z)/q(z | x)"
    assert not any("lower bound" in note for note in notes)
    assert not any("lower bound" in note for note in said(objective=objectives.Renyi(-1.0))[1])
    objective = pv.story(tiny_m2(objectives.IWAE())).objective
    assert [to_text(line) for line in objective.lines] == [
        "J = Σ_labelled [L(x, y) + α log q(y | x)] + Σ_unlabelled U(x)",
        "L(x, y) = E_q[log 1/K Σₖ₌₁ᴷ wₖ]",
        "w = p(x, y, z)/q(z | x, y)",
        "U(x) = E_q[log 1/K Σₖ₌₁ᴷ wₖ]",
        "w = Σ_y p(x, y, z)/q(z | x, y)",
    ]
    assert any("summed over all its values, inside w" in note for note in objective.notes)
    assert "U(x), where y is missing, is a lower bound on log p(x)" in objective.notes


def test_the_ledger_shows_what_is_climbed(own_store):
    variant = vae(objective=objectives.IWAE(50))
    randomised(variant)
    ledger = pv.story(variant).ledger(data_for(variant, 200), num_samples=5)
    assert ledger.objective > ledger.weighted_total
    assert "what training climbs" in str(ledger)


# -- what cannot be


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"gradient": "score"}, "'score'.*reparametrised"),
        ({"num_particles": 0}, "num_particles"),
    ],
)
def test_impossible_settings(arguments, said):
    with pytest.raises(pv.ConfigurationError, match=said):
        objectives.IWAE(**arguments)
    with pytest.raises(pv.ConfigurationError, match="finite"):
        objectives.Renyi(math.inf)


def model_of(latent, factor=False, shared=False):
    def model(x):
        scale = pyro.sample("scale", dist.LogNormal(0.0, 1.0)) if shared else 1.0
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", latent)
            if factor:
                pyro.factor("extra", -(z**2))
            pyro.sample("x", dist.Normal(z, scale), obs=x)

    def guide(x):
        if shared:
            pyro.sample("scale", dist.LogNormal(pyro.param("loc", torch.zeros(())), 1.0))
        with pyro.plate("data", len(x)):
            shift = pyro.param("shift", torch.zeros(())) if isinstance(latent, dist.Normal) else 0.0
            pyro.sample("z", dist.Normal(shift, 1.0) if isinstance(latent, dist.Normal) else latent)

    return model, guide


def test_guides_that_have_no_weights_of_each_datum_are_refused(own_store):
    x = torch.randn(4)
    for gradient in GRADIENTS:
        objective = objectives.IWAE(3, gradient)
        with pytest.raises(pv.ConfigurationError, match=r"'z': Poisson.* cannot be reparametrised"):
            objective.loss_and_grads(*model_of(dist.Poisson(1.0)), x)
        with pytest.raises(pv.ConfigurationError, match=r"Delta has no density.*ELBO\(\)"):
            pv.fit(vae(posterior=posteriors.Delta(), objective=objective), data_for(vae()), epochs=1)
        with pytest.raises(pv.ConfigurationError, match="not in the same plates"):
            objective.loss_and_grads(*model_of(dist.Normal(0.0, 1.0), shared=True), x)
    plain = model_of(dist.Normal(0.0, 1.0), factor=True)
    objectives.IWAE(3, "stl").loss_and_grads(*plain, x)
    with pytest.raises(pv.ConfigurationError, match="factor 'extra'"):
        objectives.IWAE(3, "dreg").loss_and_grads(*plain, x)


def test_the_doubly_reparametrised_gradient_refuses_what_it_is_not_right_for(own_store):
    variant = stacked()
    arguments = steps_on(variant, *arguments_for(variant, 16))
    objectives.IWAE(3, "dreg").loss_and_grads(variant.model, variant.guide, *arguments)
    free = copy.deepcopy(variant).requires_grad_(True)
    objectives.IWAE(3, "stl").loss_and_grads(free.model, free.guide, *arguments)
    with pytest.raises(pv.ConfigurationError, match="for each enumerated value, or all for none"):
        objectives.IWAE(3, "dreg").loss_and_grads(free.model, free.guide, *arguments)

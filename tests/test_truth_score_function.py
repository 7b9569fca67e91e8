"""Score-function gradients against exact ones: sums over codes, closed forms, and the reparametrised gradient."""

import copy
import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI

import pyro_vae as pv
from pyro_vae import likelihoods, networks, objectives, posteriors, priors
from pyro_vae.stories.symbols import to_text
from tests.bits import Bits, data
from tests.family import VARIANTS, arguments_for, data_for, randomised, same_weights, steps_on, vae, weights
from tests.ppca import PPCA, exact_terms
from tests.statistics import assert_mean


def learned(width=8):
    return objectives.LearnedBaseline(networks.MLP([width], activation="tanh"))


ESTIMATORS = {
    "one draw": objectives.ScoreFunction,
    "three draws": lambda: objectives.ScoreFunction(3),
    "decaying": lambda: objectives.ScoreFunction(baseline="decaying"),
    "leave one out": lambda: objectives.ScoreFunction(3, "leave_one_out"),
    "learned": lambda: objectives.ScoreFunction(2, learned()),
}


def gradients(objective, model, guide, arguments, repeats, seeds=40):
    """Gradients of minus the objective per repetition of the data, for all parameters together, (seeds, P)."""
    parameters = [*model.parameters(), *guide.parameters()]
    found = []
    with pyro.get_param_store().scope():
        for seed in range(seeds):
            for parameter in parameters:
                parameter.grad = None
            torch.manual_seed(seed)
            objective.loss_and_grads(model, guide, *arguments)
            found.append(torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters]))
    return torch.stack(found) / repeats


def exact(bits, value):
    """The gradient of minus ``value`` for all parameters together."""
    parameters = [*bits.model.parameters(), *bits.guide.parameters()]
    found = torch.autograd.grad(-value, parameters, allow_unused=True)
    return torch.cat(
        [(torch.zeros_like(p) if g is None else g).flatten() for p, g in zip(parameters, found, strict=True)]
    )


# -- the mean of the gradient


@pytest.mark.parametrize("enumerates", [False, "first", "last"])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_mean_gradient_is_that_of_the_elbo(name, enumerates):
    bits, x = Bits(enumerates), data()
    found = gradients(ESTIMATORS[name](), bits.model, bits.guide, (x.repeat(200, 1),), 200)
    assert_mean(found, exact(bits, bits.elbo(x).sum()))


@pytest.mark.parametrize(("enumerates", "draws"), [(False, 2), (False, 3), ("first", 2), ("last", 2)])
def test_the_mean_gradient_of_vimco_is_that_of_the_importance_weighted_bound(enumerates, draws):
    bits, x = Bits(enumerates), data()
    found = gradients(objectives.VIMCO(draws), bits.model, bits.guide, (x.repeat(200, 1),), 200)
    assert_mean(found, exact(bits, bits.bound(x, draws).sum()))


@pytest.mark.parametrize("enumerates", [False, "first", "last"])
@pytest.mark.parametrize("name", ["leave one out", "vimco"])
def test_a_factor_of_the_model_is_part_of_the_signal(name, enumerates):
    bits, x = Bits(enumerates, factor=True), data()
    objective = objectives.VIMCO(2) if name == "vimco" else ESTIMATORS[name]()
    bound = bits.bound(x, 2) if name == "vimco" else bits.elbo(x)
    found = gradients(objective, bits.model, bits.guide, (x.repeat(200, 1),), 200)
    assert_mean(found, exact(bits, (bound + bits.factors(x)).sum()))


def test_what_an_enumerated_site_alone_decides_has_no_noise():
    # draws of a that change nothing: the gradient of q(b | x) is exact whatever they are
    bits, x = Bits(enumerates="first"), data()
    with torch.no_grad():
        for alike in (bits.model.theta["u"], bits.model.theta["a"], bits.model.theta["v"]):
            alike.zero_()
        for alike in (bits.guide.phi["given"], bits.guide.phi["a"], bits.guide.phi["shift"]):
            alike.zero_()
    found = gradients(objectives.ScoreFunction(), bits.model, bits.guide, (x,), 1, seeds=5)
    places = torch.cat([torch.full_like(p, name == "guide.phi.b").flatten() for name, p in bits.named_parameters()]) > 0
    expected = exact(bits, bits.elbo(x).sum())[places]
    assert expected.abs().min() > 0.01
    torch.testing.assert_close(found[:, places], expected.expand(5, 3))


@pytest.mark.parametrize(("name", "beta"), [("leave one out", 1.0), ("leave one out", 0.5), ("learned", 3.0)])
def test_draws_that_could_be_reparametrised_get_the_same_mean(name, beta):
    ppca = PPCA("full", beta=beta)
    ppca.set_wrong_guide()
    x = ppca.draw(3)
    reconstruction, kl = exact_terms(ppca.vae, x)
    parameters = [*ppca.vae.model.parameters(), *ppca.vae.guide.parameters()]
    expected = torch.autograd.grad((beta * kl - reconstruction).sum(), parameters)
    found = gradients(ESTIMATORS[name](), ppca.vae.model, ppca.vae.guide, (x.repeat(100, 1),), 100, seeds=50)
    assert_mean(found, torch.cat([each.flatten() for each in expected]))


FAMILY = [
    "prior_vamp",
    "vamp_and_flow",
    "beta",
    "conditional",
    "structured_output",
    "m2",
    "m1m2",
    "prediction_constrained",
    "hierarchical",
    "discriminative",
]


@pytest.mark.parametrize("name", FAMILY)
def test_the_mean_agrees_with_the_reparametrised_gradient_in_the_family(name):
    variant = randomised(VARIANTS[name](), 0.1).double().eval()
    x, y = arguments_for(variant, 8)
    x, y = (None if each is None else each.double() if each.is_floating_point() else each for each in (x, y))
    arguments = steps_on(
        variant, x.repeat(10, *[1] * (x.dim() - 1)), None if y is None else y.repeat(10, *[1] * (y.dim() - 1))
    )
    pairs = (
        (objectives.ScoreFunction(3, "leave_one_out"), objectives.ELBO(3)),
        (objectives.VIMCO(3), objectives.IWAE(3)),
    )
    for ours, theirs in pairs:
        found, expected = (gradients(each, variant.model, variant.guide, arguments, 10, 20) for each in (ours, theirs))
        # along some directions: thousands of parameters would have chance results among them
        directions = torch.randn(found.shape[1], 10, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        assert_mean((found - expected.flip(0)) @ directions, 0.0)  # flipped: pairs of different seeds


# -- values


def loss(objective, variant, *arguments):
    torch.manual_seed(3)
    return objective.loss(variant.model, variant.guide, *arguments)


@pytest.mark.parametrize("name", ["prior_vamp", "beta", "m2", "prediction_constrained", "conditional"])
def test_the_value_is_that_of_the_bound_for_the_same_draws(name, own_store):
    variant = randomised(VARIANTS[name](), 0.1).double()
    x, y = arguments_for(variant, 8)
    arguments = steps_on(variant, x.double(), y)
    pairs = [
        (objectives.ScoreFunction(), objectives.ELBO()),
        (objectives.ScoreFunction(3, learned(), normalise=True), objectives.ELBO(3)),
        (objectives.VIMCO(3), objectives.IWAE(3)),
    ]
    for ours, theirs in pairs:
        expected = loss(theirs, variant, *arguments)
        assert loss(ours, variant, *arguments) == pytest.approx(expected, abs=1e-9)
        for field in ("reconstruction", "kl", "bound"):
            assert getattr(ours.terms, field) == getattr(theirs.terms, field)
        torch.manual_seed(3)
        assert ours.loss_and_grads(variant.model, variant.guide, *arguments) == pytest.approx(expected, abs=1e-9)
        torch.manual_seed(3)
        surrogate = ours.differentiable_loss(variant.model, variant.guide, *arguments)
        assert surrogate.item() == pytest.approx(expected, abs=1e-9)
        assert surrogate.requires_grad


@pytest.mark.parametrize("make", [lambda: objectives.ScoreFunction(4, "leave_one_out"), lambda: objectives.VIMCO(4)])
def test_the_gradient_of_a_batch_is_the_sum_of_those_of_its_data(make, monkeypatch):
    ppca = PPCA("diagonal")
    ppca.set_wrong_guide()
    x, noise = ppca.draw(5), torch.randn(4, 5, 2, dtype=torch.float64)
    found = []
    for some in [slice(0, 5), *(slice(i, i + 1) for i in range(5))]:
        monkeypatch.setattr("torch.distributions.normal._standard_normal", lambda *_, some=some, **__: noise[:, some])
        found.append(gradients(make(), ppca.vae.model, ppca.vae.guide, (x[some],), 1, seeds=1)[0])
    torch.testing.assert_close(found[0], sum(found[1:]))


def test_vimco_by_hand():
    ppca = PPCA("diagonal")
    ppca.set_wrong_guide()
    x = ppca.draw(4)
    torch.manual_seed(0)
    q = ppca.vae.guide.posterior(x)
    z = q.rsample((5,)).detach()
    log_q = q.log_prob(z)
    p = ppca.vae.likelihood(z)
    log_w = dist.Normal(0.0, 1.0).log_prob(z).sum(-1) + p.log_prob(x) - log_q
    bound = log_w.logsumexp(0) - math.log(5)
    total = bound.sum()
    for k in range(5):  # equations 5, 7 and 8
        others = torch.cat([log_w[:k], log_w[k + 1 :]])
        without = torch.cat([others, others.mean(0, keepdim=True)]).logsumexp(0) - math.log(5)
        total = total + ((bound - without).detach() * log_q[k]).sum()
    parameters = [*ppca.vae.model.parameters(), *ppca.vae.guide.parameters()]
    expected = torch.cat([g.flatten() for g in torch.autograd.grad(-total, parameters)])
    found = gradients(objectives.VIMCO(5), ppca.vae.model, ppca.vae.guide, (x,), 1, seeds=1)[0]
    torch.testing.assert_close(found, expected)


def test_subsampling_multiplies_the_gradient_and_not_the_signal():
    x = torch.randn(40, dtype=torch.float64)
    loc = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)

    def program(obs, plate):
        def run(rows):
            with plate(rows):
                z = pyro.sample("z", dist.Normal(loc * x[rows] * (1 - obs), 1.0))
                if obs:
                    pyro.sample("x", dist.Normal(z, 1.0), obs=x[rows])

        return run

    def gradient(objective, plate):
        torch.manual_seed(3)
        loss = objective.differentiable_loss(program(1, plate), program(0, plate), torch.arange(10))
        return torch.autograd.grad(loss, loc)[0].item()

    for objective in (
        objectives.ScoreFunction(3, "leave_one_out"),
        objectives.VIMCO(3),
        objectives.ReweightedWakeSleep(3),
    ):
        whole = gradient(objective, lambda rows: pyro.plate("data", 40, subsample=rows))
        assert whole == pytest.approx(4 * gradient(objective, lambda rows: pyro.plate("data", len(rows))), rel=1e-9)


# -- baselines


def variance_of_the_guide(objective, bits, x):
    found = gradients(objective, bits.model, bits.guide, (x,), 1, seeds=100)[40:]  # averages have settled by then
    return found[:, sum(p.numel() for p in bits.model.parameters()) :].var(0).sum().item()


def test_baselines_lower_the_variance():
    bits, x = Bits(), data()
    plain, three = (variance_of_the_guide(objectives.ScoreFunction(k), bits, x) for k in (1, 3))
    assert three < 0.6 * plain
    assert variance_of_the_guide(objectives.ScoreFunction(baseline="decaying"), bits, x) < 0.6 * plain
    assert variance_of_the_guide(objectives.ScoreFunction(3, "leave_one_out"), bits, x) < 0.6 * three


def test_a_learned_baseline_learns_the_mean_signal_of_each_datum():
    bits, x = Bits(), data(6)
    with torch.no_grad():
        bits.model.theta["bias"].fill_(4.0)  # data with zeros are unlikely, whatever the code
    objective = objectives.ScoreFunction(5, learned(16))
    frozen = [*bits.model.parameters(), *bits.guide.parameters()]
    before = [p.detach().clone() for p in frozen]
    with pyro.get_param_store().scope():
        objective.loss_and_grads(bits.model, bits.guide, x)
        optimiser = torch.optim.Adam(objective.auxiliary.parameters(), lr=0.05)
        for _ in range(300):
            optimiser.zero_grad()
            objective.loss_and_grads(bits.model, bits.guide, x.repeat(20, 1))
            optimiser.step()
        with torch.no_grad():
            foreseen = objective.auxiliary.foreseen(x) + objective.auxiliary.mean[0] / objective.auxiliary.seen[0]
    torch.testing.assert_close(foreseen, bits.elbo(x).detach(), atol=0.5, rtol=0)
    assert bits.elbo(x).max() - bits.elbo(x).min() > 6
    assert all(torch.equal(p, old) for p, old in zip(frozen, before, strict=True))
    without = variance_of_the_guide(objectives.ScoreFunction(5, "decaying"), bits, x)
    assert variance_of_the_guide(objective, bits, x) < 0.8 * without


def test_averages_decay_and_are_used_a_step_later(own_store):
    bits, x = Bits(), data(4)
    plain = objectives.ScoreFunction()
    normalised, centred = (objectives.ScoreFunction(baseline="decaying", normalise=n) for n in (True, False))
    mean = variance = seen = 0.0
    split = sum(p.numel() for p in bits.model.parameters())
    parameters = [*bits.model.parameters(), *bits.guide.parameters()]
    for seed in range(6):
        found = {}
        for name, objective in (("normalised", normalised), ("centred", centred), ("plain", plain)):
            torch.manual_seed(seed)
            loss = objective.differentiable_loss(bits.model, bits.guide, x)
            each = torch.autograd.grad(loss, parameters)
            found[name] = torch.cat([g.flatten() for g in each])
        # the plain gradient is that of the signal itself: with a score of 1 for each draw it would be its sum
        torch.manual_seed(seed)
        signal = signals(bits, x)
        c, spread = (mean / seen, math.sqrt(variance / seen)) if seen else (0.0, 1.0)
        expected = found["centred"][split:] / max(1.0, spread)
        torch.testing.assert_close(found["normalised"][split:], expected)
        torch.testing.assert_close(found["normalised"][:split], found["plain"][:split])
        torch.testing.assert_close(found["plain"] - found["centred"], -c * scores(bits, x, seed))
        mean = 0.9 * mean + 0.1 * signal.mean().item()
        variance = 0.9 * variance + 0.1 * signal.var(correction=0).item()
        seen = 0.9 * seen + 0.1
    kept = centred.auxiliary
    assert [kept.mean[0].item(), kept.variance[0].item(), kept.seen[0].item()] == pytest.approx([mean, variance, seen])
    assert kept.seen[1:].tolist() == [0.0, 0.0]


def drawn(bits, x):
    """The draws that are made from the random state as it is."""
    trace = pyro.poutine.trace(bits.guide).get_trace(x)
    return trace.nodes["a"]["value"], trace.nodes["b"]["value"]


def signals(bits, x):
    """log w of those draws, (N,)."""
    a, b = drawn(bits, x)
    place = ((2 * a[:, 0] + a[:, 1]).long(), b.long(), torch.arange(len(x)))
    log_p, log_b, log_a = (values[place].detach() for values in bits.densities(x))
    return log_p - log_b - log_a


def scores(bits, x, seed):
    """The gradient of log q of those draws, summed over data, for all parameters."""
    torch.manual_seed(seed)
    a, b = drawn(bits, x)
    place = ((2 * a[:, 0] + a[:, 1]).long(), b.long(), torch.arange(len(x)))
    _, log_b, log_a = (values[place] for values in bits.densities(x))
    return exact(bits, -(log_b + log_a).sum())


def test_each_kind_of_data_has_its_own_average(own_store):
    variant = VARIANTS["m2"]().double()
    x, y = arguments_for(variant, 16)
    objective = objectives.ScoreFunction(baseline="decaying")
    torch.manual_seed(0)
    objective.loss_and_grads(variant.model, variant.guide, *steps_on(variant, x.double(), y))
    means = objective.auxiliary.mean / objective.auxiliary.seen
    assert means[0].isnan()  # nothing was seen of batches of one kind
    assert means[1:].isfinite().all()
    assert means[1] != means[2]


# -- training, files


def bit_vae(objective, **others):
    return vae(priors.Bernoulli(3), posteriors.Bernoulli(), objective=objective, **others)


TRAINED = {
    "leave one out": lambda: objectives.ScoreFunction(4, "leave_one_out"),
    "decaying": lambda: objectives.ScoreFunction(baseline="decaying", normalise=True),
    "learned": lambda: objectives.ScoreFunction(2, learned(), normalise=True),
    "vimco": lambda: objectives.VIMCO(4),
}


@pytest.mark.parametrize("name", TRAINED)
def test_fit_trains_bits(name):
    variant = bit_vae(TRAINED[name]())
    x = data_for(variant, 256)
    history = pv.fit(variant, x, epochs=30, batch_size=64, lr=0.02)
    found = history["bound" if name == "vimco" else "elbo"]
    # data of two kinds, which differ in every pixel: one bit of the code is worth log 2 and more
    assert found[-1] > found[0] + 2.0
    code = variant.encode(x).mean
    kind = torch.arange(256) % 2 == 0
    assert (code[kind].mean(0) - code[~kind].mean(0)).abs().max() > 0.5


@pytest.mark.parametrize("name", ["decaying", "learned"])
def test_what_a_baseline_has_learned_is_saved_copied_and_moved(name, tmp_path, own_store):
    variant = bit_vae(TRAINED[name]())
    x = data_for(variant, 64)
    pv.fit(variant, x, epochs=2, batch_size=16)
    kept = {n: v for n, v in variant.state_dict().items() if n.startswith("auxiliary.")}
    assert all(value.any() for value in kept.values())
    assert ("auxiliary.network.first.bias" in kept) == (name == "learned")
    variant.save(tmp_path / "variant.pt")
    for twin in (pv.load(tmp_path / "variant.pt"), copy.deepcopy(variant)):
        assert same_weights(twin.state_dict(), variant.state_dict())
        assert twin.objective.auxiliary is twin.auxiliary is not variant.auxiliary
        before = copy.deepcopy(variant.state_dict())
        pv.fit(twin, x, epochs=1, batch_size=16)
        assert same_weights(variant.state_dict(), before)
        assert not torch.equal(twin.auxiliary.mean, variant.auxiliary.mean)
    variant.double()
    assert variant.auxiliary.mean.dtype == torch.float64
    variant.objective.loss_and_grads(variant.model, variant.guide, x.double())


@pytest.mark.parametrize("name", ["decaying", "learned"])
def test_a_run_resumes_bit_for_bit_with_its_baseline(name, tmp_path):
    whole, first, resumed = (bit_vae(TRAINED[name]()) for _ in range(3))
    first.load_state_dict(whole.state_dict())
    x, settings = data_for(whole, 64), {"batch_size": 16, "lr": 1e-2, "lr_schedule": "constant"}
    pv.fit(whole, x, epochs=4, **settings)
    pv.fit(first, x, epochs=2, folder=tmp_path, **settings)
    pv.fit(resumed, x, epochs=4, folder=tmp_path, resume=True, **settings)
    assert same_weights(whole.state_dict(), resumed.state_dict())


@pytest.mark.parametrize("own", [True, False])
def test_plain_svi_finds_the_weights_of_a_baseline(own, own_store):
    objective = objectives.ScoreFunction(2, learned())
    variants = [bit_vae(objective), bit_vae(None)] if own else [bit_vae(None)]
    x = data_for(variants[0])
    svi = SVI(variants[0].model, variants[0].guide, pyro.optim.Adam({"lr": 1e-2}), loss=objective)
    svi.step(x)
    before = weights(variants[0]), weights(objective.auxiliary)
    svi.step(x)
    assert all(
        not torch.equal(p, before[0][n]) for n, p in weights(variants[0]).items() if not n.startswith("auxiliary")
    )
    assert all(not torch.equal(p, before[1][n]) for n, p in weights(objective.auxiliary).items())
    # and those of a second objective in the same process are others
    second = copy.deepcopy(objective)
    before = weights(objective.auxiliary)
    twin = copy.deepcopy(variants[0])
    SVI(twin.model, twin.guide, pyro.optim.Adam({"lr": 1e-2}), loss=second).step(x)
    assert same_weights(weights(objective.auxiliary), before)
    assert not same_weights(weights(second.auxiliary), before)


def test_data_without_gradients_leave_no_trace(own_store):
    variant = bit_vae(objectives.ScoreFunction(baseline="decaying"))
    before = copy.deepcopy(variant.state_dict())
    variant.objective.loss(variant.model, variant.guide, data_for(variant))
    pv.story(variant).ledger(data_for(variant))
    assert same_weights(variant.state_dict(), before)


@pytest.mark.parametrize("name", ["learned", "vimco"])
def test_compiled_it_is_the_same(name, own_store):
    plain = bit_vae(TRAINED[name]())
    compiled = copy.deepcopy(plain)
    x, found = data_for(plain, 16), []
    loss = objectives.Compiled(compiled.objective, backend="eager")
    for variant, objective in ((plain, plain.objective), (compiled, loss)):
        svi = SVI(variant.model, variant.guide, pyro.optim.Adam({"lr": 1e-2}), objective)
        torch.manual_seed(1)
        found.append([svi.step(some) for some in (x, x, x[:9], x, x)])
    assert loss.graphs == 2
    assert found[1] == pytest.approx(found[0], rel=1e-5)
    for each, other in zip(plain.state_dict().values(), compiled.state_dict().values(), strict=True):
        torch.testing.assert_close(each, other, rtol=1e-4, atol=1e-5)


def test_structured_output_has_baselines_of_what_is_given():
    variant = pv.StructuredOutputVAE(
        priors.ConditionalNormal(2), likelihoods.Bernoulli(6), (5,), objective=objectives.ScoreFunction(2, learned())
    )
    assert variant.auxiliary.network.first.weights[0].shape == (8, 5)
    pv.fit(variant, (torch.randn(16, 5), torch.ones(16, 6)), epochs=1)


# -- story, errors


def test_the_story_says_where_the_gradient_comes_from():
    objective = pv.story(bit_vae(objectives.ScoreFunction(4, "leave_one_out"))).objective
    assert [to_text(line) for line in objective.lines] == ["L(x) = E_q(z|x)[log p(x | z)] − KL(q(z | x) ‖ p(z))"]
    assert any("the score of each draw" in note and "other draws" in note for note in objective.notes)
    assert "a lower bound on log p(x)" in objective.notes
    objective = pv.story(bit_vae(objectives.VIMCO(7))).objective
    assert to_text(objective.lines[0]) == "L(x) = E_q[log 1/K Σₖ₌₁ᴷ wₖ]"
    assert any("what it adds to the bound" in note for note in objective.notes)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: objectives.ScoreFunction(1, "leave_one_out"), "at least 2"),
        (lambda: objectives.ScoreFunction(baseline="leave_on_out"), "did you mean 'leave_one_out'"),
        (lambda: objectives.ScoreFunction(baseline=networks.MLP([3])), r"LearnedBaseline\(\.\.\.\), got MLP"),
        (lambda: objectives.LearnedBaseline([100]), r"specification such as.*got \[100\]"),
        (lambda: objectives.VIMCO(1), "at least 2"),
    ],
)
def test_impossible_settings(make, said):
    with pytest.raises(pv.ConfigurationError, match=said):
        make()


def test_what_has_no_score_is_refused(own_store):
    for objective in (objectives.ScoreFunction(), objectives.VIMCO(2), objectives.ReweightedWakeSleep(2)):
        with pytest.raises(pv.ConfigurationError, match="Delta has no density"):
            pv.fit(vae(posterior=posteriors.Delta(), objective=objective), data_for(vae()), epochs=1)
        variant = vae(priors.Bernoulli(2), posteriors.Bernoulli("soft"), objective=objective)
        with pytest.raises(pv.ConfigurationError, match="outside its support"):
            pv.fit(variant, data_for(variant), epochs=1)


def test_what_mixes_data_is_refused_where_signals_are_of_each_datum(own_store):
    variant = VARIANTS["consistency_constrained"]()
    arguments = steps_on(variant, *arguments_for(variant, 16))
    normed = VARIANTS["conv_with_norm"]()
    for objective in (objectives.ScoreFunction(), objectives.VIMCO(2)):
        with pytest.raises(pv.ConfigurationError, match=r"'unlabelled/aggregate': what one datum adds.*for another"):
            objective.loss_and_grads(variant.model, variant.guide, *arguments)
        with pytest.raises(pv.ConfigurationError, match=r"'x': what one datum adds.*batch norm"):
            objective.loss_and_grads(normed.model, normed.guide, data_for(normed, 16))
    # in evaluation mode nothing is mixed; and wake-sleep has no such signals
    normed.eval()
    objectives.ScoreFunction().loss_and_grads(normed.model, normed.guide, data_for(normed, 16))
    objectives.ReweightedWakeSleep(2).loss_and_grads(variant.model, variant.guide, *arguments)


def test_a_baseline_belongs_to_one_variant():
    objective = objectives.ScoreFunction(baseline="decaying")
    vae(objective=objective)
    with pytest.raises(pv.ConfigurationError, match="already belongs to a variant"):
        vae(objective=objective)
    plain = objectives.ScoreFunction(2, "leave_one_out")
    vae(objective=plain)
    vae(objective=plain)

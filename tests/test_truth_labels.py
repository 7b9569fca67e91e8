"""Objectives of variants with labels against sums over classes written out by hand, with the same noise."""

import copy
from types import SimpleNamespace

import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO, TraceEnum_ELBO
from torch.utils._python_dispatch import TorchDispatchMode

import pyro_vae as pv
from pyro_vae import evaluation, labels, likelihoods, networks, objectives, posteriors, priors
from pyro_vae.program import labelled, labelled_first
from tests.family import CLASSES, D, randomised
from tests.statistics import assert_mean, z_score

PIXELS, N = 5, 8
Y = torch.tensor([0, -1, 2, -1, -1, 1, 0, -1])
KNOWN = {"labelled": Y.clamp(min=0), "unlabelled": None, "mixed": Y}
SPEC = networks.MLP([6], activation="tanh")


def data():
    return torch.bernoulli(torch.full((N, PIXELS), 0.5)).double()


def make(variant=pv.SemiSupervisedVAE, label=None, prior=None, posterior=None, **options):
    """A small variant in double precision, with weights that are nowhere special."""
    label = labels.Categorical(CLASSES, probs=[0.5, 0.3, 0.2]) if label is None else label
    prior = priors.StandardNormal(D) if prior is None else prior
    made = variant(label, prior, likelihoods.Bernoulli(PIXELS), posterior, SPEC, **options)
    return randomised(made).double()


class Recorded:
    """A program that keeps the trace of its last run, whatever runs it."""

    def __init__(self, program):
        self.program = program

    def __call__(self, *arguments):
        self.trace = poutine.trace(self.program).get_trace(*arguments)

    def noise(self, name):
        """The standard normal that a reparametrised normal site was made of."""
        site = self.trace.nodes[name]
        return ((site["value"] - site["fn"].mean) / site["fn"].stddev).detach()


def loss_and_gradients(variant, x, y, objective=None, seed=5):
    """The objective's loss and gradients by parameter, and the guide that it ran."""
    variant.zero_grad()
    guide = Recorded(variant.guide)
    torch.manual_seed(seed)
    loss = (objective or variant.objective).loss_and_grads(variant.model, guide, *variant.program_arguments(x, y))
    return loss, {name: p.grad for name, p in variant.named_parameters()}, guide


def assert_same(variant, x, y, by_hand, objective=None, tolerance=1e-10):
    """The objective and its gradients are those of ``by_hand(guide)``, minus the loss."""
    loss, gradients, guide = loss_and_gradients(variant, x, y, objective)
    expected = -by_hand(guide)
    assert loss == pytest.approx(expected.item(), rel=tolerance)
    names, parameters = zip(*variant.named_parameters(), strict=True)
    exact = torch.autograd.grad(expected, parameters, allow_unused=True)
    for name, wanted in zip(names, exact, strict=True):
        got = gradients[name]
        wanted = torch.zeros_like(got) if wanted is None and got is not None else wanted
        if got is not None or wanted is not None:
            torch.testing.assert_close(got, wanted, rtol=tolerance, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}")


def groups_of(x, y):
    """The two kinds of data: rows, and what precedes the names of their sites."""
    if y is None:
        return [("", x, None)]
    known = labelled(y)
    if known.all():
        return [("", x, y)]
    order = labelled_first(y)
    first, rest = order[: known.sum()], order[known.sum() :]
    return [("labelled/", x[first], y[first]), ("unlabelled/", x[rest], None)]


# -- M2


def kl_by_dimension(q, z, prior):
    """KL by dimension (n, D), or as it is sampled (n, 1), from formulas of our own."""
    if isinstance(prior, priors.StandardNormal):
        return 0.5 * (q.stddev**2 + q.mean**2 - 1) - q.stddev.log()
    return (q.log_prob(z) - prior().log_prob(z)).mean(0)[:, None]


def floored(kl, free_bits, groups):
    """What is charged for KLs (n, D) by dimension."""
    kl = kl.reshape(len(kl), groups or kl.shape[1], -1).sum(-1)
    if not free_bits:
        return kl.sum()
    return len(kl) * kl.mean(0).clamp(min=free_bits).sum()


def m2(variant, guide, x, y, alpha, beta, free_bits=0.0, groups=None):
    """The objective of Kingma et al. 2014, equations 6 to 9, with a loop over classes."""
    parts, total = variant.guide, 0.0
    log_pi = variant.label.logits.log_softmax(0)

    def given(x, y, noise):
        q = parts.posterior(x, y)
        z = q.mean + q.stddev * noise
        fit = torch.stack([variant.likelihood(each, y).log_prob(x) for each in z]).mean(0)
        return fit, kl_by_dimension(q, z, variant.model.prior)

    for prefix, some, known in groups_of(x, y):
        noise, n = guide.noise(f"{prefix}z"), len(some)
        log_q = parts.classifier.network(some).log_softmax(-1)
        if known is not None:
            fit, kl = given(some, known, noise.reshape(-1, n, D))
            total = total + (fit + log_pi[known] + alpha * log_q[torch.arange(n), known]).sum()
        else:
            kl = 0.0
            noise = noise.reshape(CLASSES, -1, n, D)
            for c in range(CLASSES):
                fit, kl_c = given(some, torch.full((n,), c), noise[c])
                weight = log_q[:, c].exp()
                total = total + (weight * (fit + log_pi[c] - log_q[:, c])).sum()
                kl = kl + weight[:, None] * kl_c
        total = total - beta * floored(kl, free_bits, groups)
    return total


@pytest.mark.parametrize("kind", KNOWN)
@pytest.mark.parametrize(("alpha", "beta", "particles"), [(1.0, 1.0, 1), (7.0, 0.3, 1), (0.0, 4.0, 1), (2.0, 1.5, 3)])
def test_m2_is_the_sum_over_classes(kind, alpha, beta, particles, own_store):
    variant = make(alpha=alpha, beta=beta, objective=objectives.ELBO(num_particles=particles))
    x, y = data(), KNOWN[kind]
    assert_same(variant, x, y, lambda guide: m2(variant, guide, x, y, alpha, beta))


@pytest.mark.parametrize("kind", KNOWN)
@pytest.mark.parametrize("particles", [1, 3])
@pytest.mark.parametrize("groups", [None, 1])
def test_free_bits_of_m2_are_an_allowance_of_the_expected_kl(kind, particles, groups, own_store):
    variant, x, y = make(alpha=2.0, beta=3.0), data(), KNOWN[kind]
    of_dimension = evaluation.kl_per_dimension(variant, x, y)
    # one that lies between the dimensions, or above the whole code's KL
    floor = of_dimension.mean().item() if groups is None else 1.5 * of_dimension.sum().item()
    binding = objectives.ELBO(num_particles=particles, free_bits=floor, groups=groups)
    assert_same(variant, x, y, lambda guide: m2(variant, guide, x, y, 2.0, 3.0, floor, groups), binding)
    # and one that all lie above
    idle = objectives.ELBO(num_particles=particles, free_bits=1e-3 * floor, groups=groups)
    assert_same(variant, x, y, lambda guide: m2(variant, guide, x, y, 2.0, 3.0), idle)


@pytest.mark.parametrize("kind", KNOWN)
@pytest.mark.parametrize("particles", [1, 3])
def test_m2_with_learned_frequencies_and_a_kl_without_closed_form(kind, particles, own_store):
    label = labels.Categorical(CLASSES, learned=True)
    own = objectives.ELBO(num_particles=particles)
    variant = make(label=label, prior=priors.MixtureOfNormals(D, components=3), alpha=2.0, beta=0.5, objective=own)
    x, y = data(), KNOWN[kind]
    assert_same(variant, x, y, lambda guide: m2(variant, guide, x, y, 2.0, 0.5))
    assert variant.label.logits.grad.any()


def test_the_reported_terms_are_unweighted(own_store):
    x = data()
    variant = make(alpha=7.0, beta=0.3)
    _, _, guide = loss_and_gradients(variant, x, Y)
    terms = variant.objective.terms
    torch.testing.assert_close(terms.elbo, m2(variant, guide, x, Y, 0.0, 1.0).detach())
    known = labelled(Y)
    log_q = variant.predict(x[known]).log_prob(Y[known])
    torch.testing.assert_close(terms.factors["prediction"], log_q.sum())


def test_a_mixture_is_the_sum_of_the_two_bounds_on_average(own_store):
    variant, x = make(alpha=2.0), data()
    known = labelled(Y)
    order = [known.nonzero().flatten(), (~known).nonzero().flatten()]
    mixed, apart = [], []
    for seed in range(80):
        mixed.append(loss_and_gradients(variant, x, Y, seed=seed)[0])
        first = loss_and_gradients(variant, x[order[0]], Y[order[0]], seed=1000 + seed)[0]
        apart.append(first + loss_and_gradients(variant, x[order[1]], None, seed=2000 + seed)[0])
    assert_mean(torch.tensor(mixed) - torch.tensor(apart), 0.0)


def test_labels_may_be_given_by_position_or_with_gaps(own_store):
    variant, x = make(), data()
    arguments = variant.program_arguments(x, Y)
    assert len(arguments[1]) == int(labelled(Y).sum())
    losses = []
    for given in (arguments, (x, Y)):
        torch.manual_seed(1)
        losses.append(variant.objective.loss(variant.model, variant.guide, *given))
    assert losses[0] == losses[1]


@pytest.mark.parametrize("kind", ["unlabelled", "mixed"])
def test_pyros_enumerating_elbo_agrees_on_average(kind, own_store):
    variant, x, y = make(alpha=2.0, beta=3.0, label=labels.Categorical(CLASSES, learned=True)), data(), KNOWN[kind]
    pyros, ours = TraceEnum_ELBO(max_plate_nesting=1), objectives.ELBO()
    draws = {pyros: [], ours: []}
    for seed in range(80):
        for objective in draws:
            offset = 10_000 if objective is ours else 0
            loss, gradients, _ = loss_and_gradients(variant, x, y, objective, seed + offset)
            flat = [g.flatten() for g in gradients.values() if g is not None]
            draws[objective].append(torch.cat([torch.tensor([loss], dtype=torch.double), *flat]))
    first, second = (torch.stack(draws[objective]) for objective in (pyros, ours))
    z = z_score(first - second, torch.zeros(first.shape[1]))
    assert z[0].abs() < 4
    assert z.abs().max() < 4.5
    assert (z**2).mean() < 2.0


def test_pyros_score_function_elbo_agrees_on_average(own_store):
    variant, x = make(alpha=2.0, beta=3.0), data()
    sampled = copy.deepcopy(variant)
    sampled.guide.infer = {}
    arguments = variant.program_arguments(x, Y)
    differences = [
        Trace_ELBO().loss(sampled.model, sampled.guide, *arguments)
        - variant.objective.loss(variant.model, variant.guide, *arguments)
        for _ in range(200)
    ]
    assert_mean(torch.tensor(differences), 0.0)


class Largest(TorchDispatchMode):
    """Notes the size of the largest tensor that anything makes."""

    numel = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for each in result if isinstance(result, tuple | list) else [result]:
            if isinstance(each, torch.Tensor):
                self.numel = max(self.numel, each.numel())
        return result


@pytest.mark.parametrize("variant", [pv.SemiSupervisedVAE, "stacked"])
def test_enumeration_holds_one_copy_for_each_class(variant, own_store):
    classes, batch, pixels, hidden = 7, 50, 11, 40
    spec = networks.MLP([hidden])
    if variant == "stacked":
        bottom = pv.VAE(priors.StandardNormal(4), likelihoods.Bernoulli(pixels), encoder=spec)
        made = pv.M1M2(bottom, labels.Categorical(classes), priors.StandardNormal(3), encoder=spec)
    else:
        made = variant(
            labels.Categorical(classes), priors.StandardNormal(3), likelihoods.Bernoulli(pixels), encoder=spec
        )
    x = torch.zeros(batch, pixels)
    made.objective.loss(made.model, made.guide, x, None)
    with Largest() as largest:
        made.objective.loss_and_grads(made.model, made.guide, x, None)
    assert classes * batch * 3 < largest.numel <= classes * batch * hidden


# -- continuous properties


@pytest.mark.parametrize("kind", KNOWN)
@pytest.mark.parametrize("particles", [1, 3])
def test_properties_that_are_missing_are_drawn(kind, particles, own_store):
    label = labels.Normal(2)
    variant = make(label=label, alpha=3.0, beta=0.5, objective=objectives.ELBO(num_particles=particles))
    x, y = data(), torch.randn(N, 2).double() * torch.tensor([1.0, 5.0]) + torch.tensor([0.0, 30.0])
    label.initialise_from(y)
    y = {"labelled": y, "unlabelled": None, "mixed": torch.where((Y >= 0)[:, None], y, float("nan"))}[kind]

    def by_hand(guide):
        total, p_y = 0.0, torch.distributions.MultivariateNormal(label.loc, scale_tril=label.scale_tril)
        for prefix, some, known in groups_of(x, y):
            n = len(some)
            q_y = variant.guide.classifier(some)
            if known is None:
                site = guide.trace.nodes[f"{prefix}y"]
                white = torch.linalg.solve_triangular(
                    site["fn"].scale_tril, (site["value"] - site["fn"].loc)[..., None], upper=False
                ).detach()
                drawn = (q_y.loc + (q_y.scale_tril @ white)[..., 0]).reshape(-1, n, 2)
                total = (
                    total
                    - torch.distributions.kl_divergence(
                        torch.distributions.MultivariateNormal(q_y.loc, scale_tril=q_y.scale_tril), p_y
                    ).sum()
                )
            else:
                drawn = known.expand(particles, n, 2)
                total = total + (p_y.log_prob(known) + 3.0 * q_y.log_prob(known)).sum()
            for each, noise in zip(drawn, guide.noise(f"{prefix}z").reshape(-1, n, D), strict=True):
                q = variant.guide.posterior(some, each)
                z = q.mean + q.stddev * noise
                kl = kl_by_dimension(q, z, variant.model.prior).sum()
                total = total + (variant.likelihood(z, each).log_prob(some).sum() - 0.5 * kl) / particles
        return total

    assert_same(variant, x, y, by_hand)


def test_networks_see_properties_in_units_of_their_spread():
    label = labels.Normal(2)
    y = torch.randn(500, 2) * torch.tensor([1e-3, 1e4]) + torch.tensor([5.0, -1e5])
    label.initialise_from(y)
    seen = label.as_input(y)
    torch.testing.assert_close(seen.mean(0), torch.zeros(2), rtol=0, atol=1e-3)
    torch.testing.assert_close(seen.std(0), torch.ones(2), rtol=1e-3, atol=0)
    torch.testing.assert_close(label().covariance_matrix, torch.cov(y.T), rtol=1e-2, atol=1e-1)


# -- conditional and structured output


def test_the_conditional_bound_is_that_of_its_formula(own_store):
    x, y = data(), KNOWN["labelled"]
    variant = make(pv.ConditionalVAE, beta=2.0)

    def by_hand(guide):
        q = variant.guide.posterior(x, y)
        z = q.mean + q.stddev * guide.noise("z")
        return variant.likelihood(z, y).log_prob(x).sum() - 2.0 * kl_by_dimension(q, z, variant.model.prior).sum()

    assert_same(variant, x, y, by_hand)


def structured(objective=None, beta=1.0):
    made = pv.StructuredOutputVAE(
        priors.ConditionalNormal(D), likelihoods.Bernoulli(4), 5, encoder=SPEC, beta=beta, objective=objective
    )
    return randomised(made).double()


def test_the_structured_output_bound_is_that_of_its_formula(own_store):
    x, y = torch.randn(N, 5).double(), torch.bernoulli(torch.full((N, 4), 0.5)).double()
    variant = structured(beta=2.0)

    def by_hand(guide):
        q, p = variant.guide.posterior(y, x), variant.model.prior(x)
        z = q.mean + q.stddev * guide.noise("z")
        kl = (p.stddev / q.stddev).log() + (q.stddev**2 + (q.mean - p.mean) ** 2) / (2 * p.stddev**2) - 0.5
        return variant.likelihood(z, x).log_prob(y).sum() - 2.0 * kl.sum()

    assert_same(variant, x, y, by_hand)


# -- prediction constraints


@pytest.mark.parametrize("kind", KNOWN)
@pytest.mark.parametrize("particles", [1, 3])
@pytest.mark.parametrize("label", ["classes", "properties"])
def test_the_prediction_constraint_weighs_the_label_given_the_code(kind, particles, label, own_store):
    own = objectives.ELBO(num_particles=particles)
    parts = {"classes": labels.Categorical(CLASSES), "properties": labels.Normal(2)}
    variant = make(pv.PredictionConstrainedVAE, parts[label], multiplier=25.0, beta=0.5, objective=own)
    x, y = data(), KNOWN[kind]
    if label == "properties" and y is not None:
        real = torch.randn(N, 2).double()
        y = torch.where((y >= 0)[:, None], real, float("nan"))

    def by_hand(guide):
        total = 0.0
        for prefix, some, known in groups_of(x, y):
            q = variant.guide.posterior(some)
            for noise in guide.noise(f"{prefix}z").reshape(-1, len(some), D):
                z = q.mean + q.stddev * noise
                each = variant.likelihood(z).log_prob(some).sum()
                each = each - 0.5 * kl_by_dimension(q, z, variant.model.prior).sum()
                if known is not None and label == "classes":
                    log_p = variant.model.predictor.network(z).log_softmax(-1)
                    each = each + 25.0 * log_p[torch.arange(len(some)), known].sum()
                elif known is not None:
                    each = each + 25.0 * variant.model.predictor(z).log_prob(known).sum()
                total = total + each / particles
        return total

    assert_same(variant, x, y, by_hand)


def consistency_by_hand(variant, x, y, seed):
    """Both terms for each kind of data, with the noise that a guide seeded alike draws."""
    torch.manual_seed(seed)
    consistency, aggregate = 0.0, 0.0
    for _, some, known in groups_of(x, y):
        z = variant.guide.posterior(some).rsample()
        first = variant.model.predictor.network(z).softmax(-1)
        again = variant.model.predictor.network(
            variant.guide.posterior(variant.likelihood(z).mean).rsample()
        ).log_softmax(-1)
        if known is not None:
            consistency = consistency + again[torch.arange(len(some)), known].sum()
        else:
            consistency = consistency + (first * again).sum()
            pi = variant.label.logits.softmax(0)
            aggregate = aggregate + len(some) * (pi * first.mean(0).log()).sum()
    return consistency, aggregate


@pytest.mark.parametrize("kind", KNOWN)
def test_the_consistency_terms_are_those_of_their_formulas(kind, own_store):
    x, y = data(), KNOWN[kind]
    variant = make(pv.ConsistencyConstrainedVAE, multiplier=0.0, consistency=3.0, aggregate=2.0)
    _, with_terms, _ = loss_and_gradients(variant, x, y, seed=3)
    factors = variant.objective.terms.factors
    consistency, aggregate = consistency_by_hand(variant, x, y, seed=3)
    torch.testing.assert_close(factors["consistency"], consistency.detach())
    if kind != "labelled":
        torch.testing.assert_close(factors["aggregate"], aggregate.detach())
    else:
        assert "aggregate" not in factors
    # the terms' own gradient: with them minus without them, the noise being the same
    without = copy.deepcopy(variant)
    without.weigh(consistency=0.0, aggregate=0.0)
    _, plain, _ = loss_and_gradients(without, x, y, seed=3)
    names, parameters = zip(*variant.named_parameters(), strict=True)
    exact = torch.autograd.grad(-3.0 * consistency - 2.0 * aggregate, parameters, allow_unused=True)
    for name, wanted in zip(names, exact, strict=True):
        torch.testing.assert_close(with_terms[name] - plain[name], wanted, rtol=1e-9, atol=1e-9)
    # it reaches decoder, encoder and classifier (a detached copy of either would stop it on its way)
    only = torch.autograd.grad(consistency_by_hand(variant, x, y, seed=3)[0], parameters, allow_unused=True)
    reached = {name for name, gradient in zip(names, only, strict=True) if gradient is not None and gradient.any()}
    assert reached == set(names)


def test_particles_average_the_consistency_terms(own_store):
    x = data()
    variant = make(pv.ConsistencyConstrainedVAE)
    draws = {n: [] for n in (1, 2)}
    for n, kept in draws.items():
        own = objectives.ELBO(num_particles=n)
        for _ in range(100):
            own.loss(variant.model, variant.guide, *variant.program_arguments(x, Y))
            kept.append(own.terms.factors["consistency"])
    assert_mean(torch.stack(draws[1]) - torch.stack(draws[2]), 0.0)


# -- M1+M2


def stacked(**options):
    m1 = pv.VAE(priors.StandardNormal(3), likelihoods.Bernoulli(PIXELS), encoder=SPEC)
    m1.initialised.fill_(True)
    label = labels.Categorical(CLASSES, probs=[0.5, 0.3, 0.2])
    made = pv.M1M2(m1, label, priors.StandardNormal(D), encoder=SPEC, **options)
    return randomised(made).double()


@pytest.mark.parametrize("kind", KNOWN)
@pytest.mark.parametrize("particles", [1, 3])
def test_m1m2_trains_as_m2_on_codes_drawn_by_m1(kind, particles, own_store):
    x, y = data(), KNOWN[kind]
    variant = stacked(alpha=2.0, beta=0.5, objective=objectives.ELBO(num_particles=particles))
    loss, gradients, guide = loss_and_gradients(variant, x, y)
    frozen = {name for name, parameter in variant.named_parameters() if not parameter.requires_grad}
    assert {name.split(".")[1] for name in frozen} == {"likelihood", "bottom"}
    assert all(gradients[name] is None for name in frozen)
    # M2 whose data are the codes
    twin = make(
        lambda label, prior, _, posterior, spec: pv.SemiSupervisedVAE(
            label, prior, likelihoods.Normal(3, scale="predicted"), posterior, spec, alpha=2.0, beta=0.5
        )
    )
    own = {
        name.replace("model.middle", "model.likelihood"): value.detach()
        for name, value in variant.state_dict().items()
        if name not in frozen and name.split(".")[0] in ("model", "guide", "label") and "likelihood" not in name
    }
    missing, unexpected = twin.load_state_dict(own, strict=False)
    assert missing == ["initialised"]
    assert not unexpected
    total, fixed = 0.0, 0.0
    for prefix, some, known in groups_of(x, y):
        n = len(some)
        codes = guide.trace.nodes[f"{prefix}z1"]["value"].detach().reshape(-1, n, 3)
        shape = (CLASSES, particles, n, D) if known is None else (particles, n, D)
        noise = guide.noise(f"{prefix}z2").reshape(shape)
        for particle, z1 in enumerate(codes):
            of_particle = noise[..., particle, :, :]
            replayed = SimpleNamespace(noise=lambda name, value=of_particle: value)
            total = total + m2(twin, replayed, z1, known, 2.0, 0.5) / particles
            fit = variant.likelihood(z1).log_prob(some) - variant.guide.bottom(some).log_prob(z1)
            fixed = fixed + fit.sum().detach() / particles
    assert loss == pytest.approx(-(total + fixed).item(), rel=1e-10)
    names, parameters = zip(*twin.named_parameters(), strict=True)
    exact = torch.autograd.grad(-total, parameters)
    for name, wanted in zip(names, exact, strict=True):
        got = gradients[name.replace("model.likelihood", "model.middle")]
        torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-10)


def test_the_posterior_of_labels_is_a_delta_or_a_flow_too(own_store):
    """Families without a closed-form KL, and without a density, train under enumeration."""
    for posterior in (posteriors.Flow(transforms=1, hidden=[4], context=3), posteriors.Delta()):
        variant = make(posterior=posterior)
        loss = variant.objective.loss_and_grads(variant.model, variant.guide, *variant.program_arguments(data(), Y))
        assert torch.tensor(loss).isfinite()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in variant.parameters())

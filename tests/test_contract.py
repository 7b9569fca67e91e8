"""The contract that every variant keeps."""

import copy
import json

import pyro
import pyro.optim
import pytest
import torch
import yaml
from pyro import poutine
from pyro.infer import SVI, TraceEnum_ELBO, TraceGraph_ELBO, TraceMeanField_ELBO

import pyro_vae as pv
from pyro_vae import evaluation, likelihoods, networks, posteriors
from pyro_vae.configured import build
from pyro_vae.parts import Conditional
from pyro_vae.variants.codes import representative
from pyro_vae.variants.contexts import evaluating
from tests.family import (
    IMAGE,
    PRIORS,
    VARIANTS,
    WITH_LABELS,
    D,
    arguments_for,
    data_for,
    frozen,
    labels_for,
    pyros_elbo,
    randomised,
    same_weights,
    steps_on,
    unmoved,
    vae,
    weights,
)

EXPLAINS_Y_ONLY = [name for name in VARIANTS if "structured" in name or "discriminative" in name]
HAS_A_STORY = [name for name in VARIANTS if name not in EXPLAINS_Y_ONLY]
HAS_A_PRIOR = [name for name in HAS_A_STORY if "autoencoder" not in name]
HAS_A_CODE = [name for name in VARIANTS if "discriminative" not in name]
HAS_A_MEAN = [name for name in HAS_A_STORY if "flow" not in name]
PREDICTS = [name for name in WITH_LABELS if "conditional" not in name]


@pytest.fixture(params=VARIANTS)
def variant(request):
    return VARIANTS[request.param]()


def loss_of(variant, x, y=None):
    """The variant's own objective on data, averaged over a few seeded evaluations."""
    variant.eval()
    with torch.random.fork_rng():
        torch.manual_seed(1)
        losses = [variant.objective.loss(variant.model, variant.guide, *steps_on(variant, x, y)) for _ in range(8)]
    variant.train()
    return sum(losses) / len(losses) / len(x)


# -- shapes and values


def first_inputs(variant, x, y):
    """What each conditional part is given when the programs first run it on data that all have labels."""
    seen = {}
    parts = [part for part in variant.modules() if isinstance(part, Conditional)]

    def note(part, inputs):
        seen.setdefault(part, inputs)

    hooks = [part.register_forward_pre_hook(note) for part in parts]
    with torch.no_grad(), evaluating(variant):
        trace = poutine.trace(variant.guide).get_trace(*variant.program_arguments(x, y))
        poutine.replay(variant.model, trace=trace)(*variant.program_arguments(x, y))
    for hook in hooks:
        hook.remove()
    return seen


@pytest.mark.parametrize("batch", [(), (3,), (4, 1, 3)])
def test_parts_accept_any_leading_batch_shape(variant, batch):
    n = max(1, torch.Size(batch).numel())
    x = data_for(variant, n)
    y = None if variant.labels == "none" else labels_for(variant, n)
    inputs = first_inputs(variant, x, y)
    assert inputs
    variant.eval()
    for part, given in inputs.items():
        flat = part(*given)
        some = part(*(each.reshape((*batch, *each.shape[1:])) for each in given))
        assert some.batch_shape == batch
        assert some.event_shape == flat.event_shape == part.shape
        value = some.sample()
        assert value.shape == (*batch, *part.shape)
        density = some.log_prob(value)
        assert density.shape == batch
        torch.testing.assert_close(density.flatten(), flat.log_prob(value.reshape((n, *part.shape))))


def generated(variant, n, **options):
    if variant.labels != "all":
        return variant.generate(n, **options)
    return variant.generate(n, labels_for(variant, n), **options)


@pytest.mark.parametrize("name", HAS_A_PRIOR)
def test_generate_gives_data_in_the_support(name):
    variant = randomised(VARIANTS[name]())
    means, draws = generated(variant, 6), generated(variant, 6, mean=False)
    assert means.shape == draws.shape == (6, *variant.shape)
    assert variant.likelihood.support.check(draws).all()
    assert not means.requires_grad
    low, high = getattr(variant.likelihood.support, "lower_bound", None), draws.max()
    if low is not None:  # a mean lies within the hull of the support, not always in the support itself
        assert means.min() >= low
        assert means.max() <= getattr(variant.likelihood.support, "upper_bound", high)
    assert not torch.equal(means[0], means[1]), "the code plays no part"
    variant.likelihood.check(draws)


@pytest.mark.parametrize("name", EXPLAINS_Y_ONLY)
def test_what_has_no_story_cannot_be_generated(name):
    for arguments in ((3,), (3, labels_for(VARIANTS[name](), 3))):
        with pytest.raises(pv.ConfigurationError, match=r"no story of x.*predict\(x\)\.sample\(\)"):
            VARIANTS[name]().generate(*arguments)


@pytest.mark.parametrize("name", [name for name in WITH_LABELS if name in HAS_A_STORY])
def test_data_are_generated_for_given_labels_where_the_story_has_it(name):
    variant = randomised(VARIANTS[name]())
    y = labels_for(variant, 6)
    if not variant.generates_from_label:
        with pytest.raises(pv.DataError, match="do not depend on labels"):
            variant.generate(6, y)
        return
    for one in (y, y[0]):
        assert variant.generate(6, one).shape == (6, *variant.shape)
    # the same codes, other labels
    torch.manual_seed(1)
    first = variant.generate(6, y[0])
    torch.manual_seed(1)
    assert not torch.allclose(first, variant.generate(6, y[1])), "the label plays no part"


@pytest.mark.parametrize("name", HAS_A_CODE)
def test_encode_is_a_distribution_and_reconstruct_has_the_shape_of_data(name):
    variant = VARIANTS[name]()
    if name == "m1":
        assert isinstance(variant, pv.M1), "its labels are of no use to the encoder"
    x, y = arguments_for(variant, 5)
    q = variant.encode(x, y)
    assert isinstance(q, pyro.distributions.Distribution)
    assert (q.batch_shape, q.event_shape) == ((5,), variant.code_shape)
    for mean in (True, False):
        reconstructed = variant.reconstruct(x, y, mean=mean)
        assert reconstructed.shape == (x.shape if variant.explains_data else y.shape)
        assert reconstructed.isfinite().all()


@pytest.mark.parametrize("name", HAS_A_MEAN)
def test_reconstruct_decodes_the_encoded_mean(name):
    variant = VARIANTS[name]()
    x, y = arguments_for(variant, 5)
    decoded_with = [labels_for(variant, 5)] if variant.decodes_label else []
    if variant.decodes_label:
        y = decoded_with[0]
    q = variant.encode(x, y)
    expected = variant.decode(q.mode if variant.discrete_code else q.mean, *decoded_with).mean
    torch.testing.assert_close(variant.reconstruct(x, y), expected, rtol=0, atol=0)


def test_elbo_is_reconstruction_minus_kl_and_the_sum_of_its_sites(variant):
    x, y = arguments_for(variant, 7)
    torch.manual_seed(3)
    terms = evaluation.elbo(variant, x, y, num_samples=2, batch_size=3)
    torch.manual_seed(3)
    sites = evaluation.site_terms(variant, x, y, num_samples=2, batch_size=3)
    torch.testing.assert_close(terms.elbo, terms.reconstruction - terms.kl)
    torch.testing.assert_close(terms.elbo, sum(site.contribution for site in sites if not site.factor))
    if variant.labels == "none":
        assert {site.name for site in sites} == {*variant.latents, "x"}
    assert terms.elbo.shape == (7,)


@pytest.mark.parametrize("name", PREDICTS)
def test_predictions_are_distributions_of_the_label(name):
    variant = VARIANTS[name]()
    x, y = arguments_for(variant, 12)
    if name == "m1":
        pv.fit(variant, (x, y), epochs=1)
    prediction = variant.predict(x, num_samples=7)
    assert (prediction.batch_shape, prediction.event_shape) == ((12,), variant.label.shape)
    known = labels_for(variant, 12)
    assert prediction.log_prob(known).isfinite().all()
    estimate = variant.label.estimate(prediction)
    assert variant.as_labels(estimate, 12).shape == known.shape if not name.startswith(("struct", "disc")) else True
    scores = variant.score(x, y)
    assert all(0 <= value < float("inf") for value in scores.values())
    assert scores.keys() <= {"accuracy", "mean_absolute_error"}


@pytest.mark.parametrize("name", [name for name in VARIANTS if name not in PREDICTS])
def test_what_predicts_nothing_says_so(name):
    variant = VARIANTS[name]()
    x, y = arguments_for(variant, 4)
    with pytest.raises(pv.ConfigurationError, match="predicts no labels"):
        variant.predict(x)
    assert variant.score(x, y) == {}


# -- gradients and training


@pytest.mark.filterwarnings("ignore:Failed to verify mean field")
@pytest.mark.parametrize("objective", ["own", "Pyro's", "mean field"])
def test_every_parameter_gets_a_gradient(variant, objective, own_store):
    pyros = pyros_elbo(variant)
    if objective == "mean field" and isinstance(pyros, TraceEnum_ELBO):
        pytest.skip("TraceMeanField_ELBO does not enumerate")
    if objective == "mean field" and isinstance(variant.objective, TraceGraph_ELBO):
        pytest.skip("TraceMeanField_ELBO wants draws that gradients pass through")
    objective = {"own": variant.objective, "Pyro's": pyros, "mean field": TraceMeanField_ELBO()}[objective]
    objective.loss_and_grads(variant.model, variant.guide, *steps_on(variant, *arguments_for(variant)))
    without = [name for name, p in variant.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == frozen(variant, own=objective is variant.objective)


def train_with_fit(variant, x, y):
    pv.fit(variant, (x, y), epochs=8, batch_size=16, lr=1e-2, warmup=0)  # some would warm up longer than this


def train_with_svi(variant, x, y, objective=None):
    svi = SVI(variant.model, variant.guide, pyro.optim.Adam({"lr": 1e-2}), objective or variant.objective)
    for _ in range(30):
        svi.step(*steps_on(variant, x, y))


def train_with_svi_and_pyros_elbo(variant, x, y):
    train_with_svi(variant, x, y, pyros_elbo(variant))


def train_with_torch(variant, x, y):
    loss = pyros_elbo(variant)(variant.model, variant.guide)
    arguments = steps_on(variant, x, y)
    loss(*arguments)
    optimiser = torch.optim.Adam(loss.parameters(), lr=1e-2)
    for _ in range(30):
        optimiser.zero_grad()
        loss(*arguments).backward()
        optimiser.step()


@pytest.mark.parametrize("train", [train_with_fit, train_with_svi, train_with_svi_and_pyros_elbo, train_with_torch])
def test_every_way_of_training_lowers_the_loss_and_moves_every_parameter(variant, train, own_store):
    x, y = arguments_for(variant)
    if variant.label is not None and train is not train_with_fit:
        variant.label.initialise_from(labels_for(variant))
    before, loss_before = weights(variant), loss_of(variant, x, y)
    if train is train_with_fit and hasattr(variant.label, "loc"):
        loss_before = float("inf")  # in the units that properties have before their spread is known
    train(variant, x, y)
    assert unmoved(before, weights(variant)) == frozen(variant, own=train in (train_with_fit, train_with_svi))
    assert loss_of(variant, x, y) < loss_before - 0.1


def test_fit_leaves_nothing_behind(variant):
    train, valid = arguments_for(variant, 16), arguments_for(variant, 8)
    pyro.param("of_the_user", torch.ones(2))
    torch.manual_seed(12)
    state = torch.get_rng_state()
    pv.fit(variant, train, epochs=1, valid=valid)
    assert torch.equal(torch.get_rng_state(), state)
    assert list(pyro.get_param_store().keys()) == ["of_the_user"]
    pyro.clear_param_store()


def test_fit_is_reproducible_from_its_seed_alone(variant):
    x, y = arguments_for(variant)
    twins = [variant, copy.deepcopy(variant), copy.deepcopy(variant)]
    for twin, (seed, state) in zip(twins, [(0, 1), (0, 2), (1, 1)], strict=True):
        torch.manual_seed(state)
        pv.fit(twin, (x, y), epochs=1, batch_size=16, seed=seed)
    first, second, other = map(weights, twins)
    assert same_weights(first, second)
    assert not same_weights(first, other)


@pytest.mark.parametrize("name", VARIANTS)
def test_constructors_do_not_seed(name):
    torch.manual_seed(1)
    first = weights(VARIANTS[name]())
    second = weights(VARIANTS[name]())
    assert not same_weights(first, second)


# -- several in one process


def twins_of_one_class(name, how):
    first = VARIANTS[name]()
    return first, copy.deepcopy(first) if how == "copied" else VARIANTS[name]()


@pytest.mark.parametrize("how", ["made twice", "copied"])
@pytest.mark.parametrize("name", VARIANTS)
def test_two_of_a_class_train_independently(name, how, own_store):
    first, second = twins_of_one_class(name, how)
    arguments = steps_on(first, *arguments_for(first))
    still = frozen(first, own=False)
    svis = [SVI(v.model, v.guide, pyro.optim.Adam({"lr": 1e-2}), loss=pyros_elbo(v)) for v in (first, second)]
    before = weights(first), weights(second)
    svis[0].step(*arguments)
    assert unmoved(before[0], weights(first)) == still
    assert same_weights(before[1], weights(second))
    between = weights(first)
    svis[1].step(*arguments)
    assert same_weights(between, weights(first))
    assert unmoved(before[1], weights(second)) == still
    svis[0].step(*arguments)
    assert unmoved(between, weights(first)) == still


# -- files


def test_save_and_load_give_the_same_variant(variant, tmp_path):
    randomised(variant)
    x, y = arguments_for(variant, 6)
    if hasattr(variant.label, "loc"):
        variant.label.initialise_from(labels_for(variant))
    variant.save(tmp_path / "variant.pt")
    loaded = pv.load(tmp_path / "variant.pt")
    assert type(loaded) is type(variant)
    assert repr(loaded) == repr(variant)
    assert same_weights(weights(variant), weights(loaded))
    assert same_weights(dict(variant.named_buffers()), dict(loaded.named_buffers()))
    assert frozen(loaded) == frozen(variant)
    for question in (
        lambda v: representative(v.encode(x, y)) if v.has_code else torch.zeros(()),
        lambda v: v.reconstruct(x, y) if v.has_code else torch.zeros(()),
        lambda v: v.label.estimate(v.predict(x)) if v.predicts and not isinstance(v, pv.M1) else torch.zeros(()),
        lambda v: evaluation.elbo(v, x, y).elbo,
    ):
        torch.manual_seed(2)
        expected = question(variant)
        torch.manual_seed(2)
        assert torch.equal(expected, question(loaded))
    assert loaded.objective.__class__ is variant.objective.__class__
    assert [loaded.beta(t) for t in (0, 1, 5)] == [variant.beta(t) for t in (0, 1, 5)]
    assert loaded.model.weights == variant.model.weights
    assert loaded.guide.weights == variant.guide.weights
    content = torch.load(tmp_path / "variant.pt", weights_only=True)
    assert json.loads(content["config"]) == json.loads(json.dumps(variant.config))


@pytest.mark.parametrize("through", [lambda c: yaml.safe_load(yaml.safe_dump(c)), lambda c: json.loads(json.dumps(c))])
def test_config_survives_text(variant, through):
    text = through(variant.config)
    again = build(text)
    assert type(again) is type(variant)
    assert repr(again) == repr(variant)
    assert through(again.config) == text
    assert {n: p.shape for n, p in again.named_parameters()} == {n: p.shape for n, p in variant.named_parameters()}


# -- double precision


def test_double_precision_from_end_to_end(variant, tmp_path):
    x, y = arguments_for(variant, 8)
    x, y = x.double(), y.double() if y is not None and y.is_floating_point() else y
    variant.double()
    assert variant.dtype == torch.float64
    pv.fit(variant, pv.data.Split(x, y), epochs=1)
    assert {p.dtype for p in variant.parameters()} == {torch.float64}
    if variant.has_code:
        assert variant.encode(x, y).sample().dtype == torch.float64
        assert variant.reconstruct(x, y).dtype == torch.float64
    if variant.predicts:
        prediction = variant.predict(x)
        assert getattr(prediction, "probs", prediction.mean).dtype == torch.float64
    assert evaluation.elbo(variant, x, y).elbo.dtype == torch.float64
    if variant.explains_data and not isinstance(variant, pv.Autoencoder):
        assert generated(variant, 2).dtype == torch.float64
    if not (variant.model.parts_without_density() + variant.guide.parts_without_density()):
        estimate = evaluation.log_likelihood(variant, x, y, num_samples=2)
        assert estimate.dtype == estimate.standard_error.dtype == torch.float64
    variant.save(tmp_path / "double.pt")
    loaded = pv.load(tmp_path / "double.pt")
    torch.manual_seed(0)
    expected = evaluation.elbo(variant, x, y).elbo
    torch.manual_seed(0)
    torch.testing.assert_close(evaluation.elbo(loaded, x, y).elbo, expected, rtol=1e-12, atol=0)


# -- the one idea: a swapped prior changes everything that reads it


def moments(draws):
    draws = draws.detach().double().flatten(1)
    return draws.mean(0), draws.std(0) / len(draws) ** 0.5


def assert_same_mean(first, second, limit=4.5):
    (a, error_a), (b, error_b) = moments(first), moments(second)
    z = (a - b) / (error_a**2 + error_b**2).sqrt()
    assert z.abs().max() < limit, f"means {a} and {b} differ by z = {z}"


def assert_same_moments(first, second):
    assert_same_mean(first, second)
    assert_same_mean((first - first.mean(0)) ** 2, (second - first.mean(0)) ** 2)
    assert_same_mean(first[:, :1] * first[:, 1:], second[:, :1] * second[:, 1:])


def with_identity_decoder(prior):
    variant = vae(prior, likelihood=likelihoods.Normal(D, scale=0.1), decoder=networks.MLP([]))
    randomised(variant)
    decoder = variant.likelihood.network.first
    with torch.no_grad():
        decoder.weights[0].copy_(torch.eye(D))
        decoder.bias.zero_()
    return variant


@pytest.mark.parametrize("name", PRIORS)
def test_generated_data_follow_the_prior(name):
    variant = with_identity_decoder(name)
    codes = variant.model.prior().sample((4000,))
    assert_same_moments(variant.generate(4000), codes)
    noise = 0.1 * torch.randn(4000, D)
    assert_same_moments(variant.generate(4000, mean=False), codes + noise)


@pytest.mark.parametrize("name", PRIORS)
def test_the_prior_is_what_model_traces_draw_from(name, own_store):
    variant = randomised(vae(name))
    with torch.no_grad():
        z = poutine.trace(variant.model).get_trace(size=4000).nodes["z"]["value"]
        assert_same_moments(z, variant.model.prior().sample((4000,)))


def test_a_fixed_prior_shows_in_generated_data():
    prior = pv.priors.Fixed(pyro.distributions.Normal(5.0, 0.1), size=D)
    x = with_identity_decoder(prior).generate(2000)
    torch.testing.assert_close(x.mean(0), torch.full((D,), 5.0), rtol=0, atol=0.02)
    torch.testing.assert_close(x.std(0), torch.full((D,), 0.1), rtol=0.1, atol=0)


def test_the_vamp_prior_is_the_mixture_of_the_guides_posteriors():
    variant = randomised(vae("vamp"))
    prior = variant.model.prior
    z = torch.randn(6, D)
    components = variant.guide.posterior(prior.pseudo_inputs)
    by_hand = torch.logsumexp(prior.logits.log_softmax(0) + components.log_prob(z[:, None]), -1)
    torch.testing.assert_close(prior().log_prob(z), by_hand)
    assert "_posterior" not in dict(prior.named_modules())


def test_a_copied_vamp_prior_reads_the_copys_encoder():
    variant = vae("vamp")
    twin = copy.deepcopy(variant)
    assert twin.model.prior._posterior[0] is twin.guide.posterior
    assert twin.guide.posterior is not variant.guide.posterior


def test_what_an_autoencoder_learns_is_reconstruction():
    x = data_for(VARIANTS["autoencoder"]())
    autoencoder = pv.Autoencoder(D, likelihoods.Normal(IMAGE, scale=1.0))
    terms = evaluation.elbo(autoencoder, x)
    assert torch.equal(terms.kl, torch.zeros(len(x)))
    assert torch.equal(terms.elbo, terms.reconstruction)
    pv.fit(autoencoder, x, epochs=2)
    code = autoencoder.encode(x)
    assert isinstance(autoencoder.guide.posterior, posteriors.Delta)
    assert torch.equal(code.sample(), code.mean)


# -- fixed priors: a distribution is no module


def test_a_fixed_prior_is_saved_whatever_was_asked_of_it_before(tmp_path):
    variant = vae("fixed_multivariate_normal")
    for name in ("scale_tril", "precision_matrix", "covariance_matrix"):
        getattr(variant.model.prior(), name)  # torch keeps what it computes
    variant.save(tmp_path / "v.pt")
    z = torch.randn(4, D)
    expected = variant.model.prior().log_prob(z)
    torch.testing.assert_close(pv.load(tmp_path / "v.pt").model.prior().log_prob(z), expected)


def test_the_users_distribution_stays_as_it_is():
    given = pyro.distributions.Normal(torch.zeros(D), torch.ones(D))
    variants = [vae(pv.priors.Fixed(given)) for _ in range(2)]
    variants[0].double()
    assert given.loc.dtype == variants[1].model.prior().mean.dtype == torch.float32
    assert variants[0].model.prior().mean.dtype == torch.float64

"""pv.fit: what it computes, reports, and leaves behind."""

import copy
import csv
import functools
import math
import sys

import pyro
import pytest
import torch
from pyro.infer import Trace_ELBO

import pyro_vae as pv
from pyro_vae import data, evaluation, networks, objectives
from pyro_vae.training.batches import Batches
from tests.family import IMAGE, VARIANTS, data_for, same_weights, unmoved, vae, weights


def by_hand(variant, x, *, epochs, batch_size, lr, seed, clip=None):
    """The training loop as one would write it without Pyro, on the loss in nats per datum."""
    p, q = variant.likelihood, variant.guide.posterior
    optimiser = torch.optim.Adam(variant.parameters(), lr=lr)
    prior = torch.distributions.Normal(0.0, 1.0)
    torch.manual_seed(seed)
    for epoch in range(1, epochs + 1):
        for batch, _ in Batches(x, None, batch_size, seed).epoch(epoch):
            posterior = q(batch)
            z = posterior.rsample()
            kl = torch.distributions.kl_divergence(posterior.base_dist, prior).sum(-1)
            loss = -(p(z).log_prob(batch) - kl).mean()
            optimiser.zero_grad()
            loss.backward()
            if clip is not None:
                torch.nn.utils.clip_grad_norm_(variant.parameters(), clip)
            optimiser.step()


@pytest.mark.parametrize("clip", [None, 1.0])
def test_fit_is_adam_on_the_loss_per_datum(clip):
    variant = vae()
    variant.initialised.fill_(True)  # both start from the same weights
    twin = copy.deepcopy(variant)
    x = data_for(variant, 50)
    settings = {"epochs": 3, "batch_size": 16, "lr": 1e-2, "seed": 4, "clip": clip}
    pv.fit(variant, x, lr_schedule="constant", **settings)
    by_hand(twin, x, **settings)
    for name, weight in weights(variant).items():
        torch.testing.assert_close(weight, weights(twin)[name], rtol=0, atol=1e-6, msg=name)


def test_clipping_bounds_the_step_of_gradient_descent():
    variant = vae()
    variant.initialised.fill_(True)
    before = weights(variant)
    x = data_for(variant, 32)
    pv.fit(variant, x, epochs=1, batch_size=32, lr=1.0, optimizer=torch.optim.SGD, clip=1e-3)
    moved = torch.stack([((w - before[n]) ** 2).sum() for n, w in weights(variant).items()]).sum().sqrt()
    assert moved.item() == pytest.approx(1e-3, rel=1e-3)


def test_an_epoch_sees_every_datum_once_in_an_order_of_its_own():
    x = torch.arange(23.0)[:, None]
    batches = Batches(x, None, 5, seed=1)
    epochs = [torch.cat([batch for batch, _ in batches.epoch(e)]) for e in (1, 2, 1)]
    assert len(batches) == 5
    assert [len(b) for b, _ in batches.epoch(1)] == [5, 5, 5, 4, 4]
    for order in epochs:
        assert sorted(order.flatten().tolist()) == x.flatten().tolist()
    assert torch.equal(epochs[0], epochs[2])
    assert not torch.equal(epochs[0], epochs[1])
    assert not torch.equal(epochs[0], torch.cat([batch for batch, _ in Batches(x, None, 5, seed=2).epoch(1)]))


def test_the_transform_is_drawn_anew_for_each_batch():
    seen = []

    def transform(x):
        seen.append(data.binarize(x))
        return seen[-1]

    variant = vae()
    x = torch.full((20, *IMAGE), 0.5)
    pv.fit(variant, x, epochs=2, batch_size=20, transform=transform)
    first, second = seen[-2:]
    assert not torch.equal(first, second)


# -- the history


def test_the_history_is_in_nats_per_datum_and_adds_up():
    variant = vae(beta=objectives.Linear(0.0, 2.0, epochs=4))
    x, valid = data_for(variant, 50), data_for(variant, 10)
    history = pv.fit(variant, x, epochs=3, batch_size=10, lr=1e-2, valid=valid)
    assert history.epochs == 3
    assert {len(values) for values in history.values()} == {3}
    for elbo, reconstruction, kl in zip(*(history[n] for n in ("elbo", "reconstruction", "kl")), strict=True):
        assert elbo == pytest.approx(reconstruction - kl)
    # beta and lr are those of an epoch's last step; 5 steps an epoch
    assert history["beta"] == pytest.approx([0.5 * (e - 0.2) for e in (1, 2, 3)])
    for entry in range(3):
        charged = -history["reconstruction"][entry] + history["beta"][entry] * history["kl"][entry]
        assert history["loss"][entry] == pytest.approx(charged, rel=0.1)
    exact = evaluation.elbo(variant, valid)
    assert history["valid_kl"][-1] == pytest.approx(exact.kl.mean().item(), rel=1e-5)
    assert sum(history["valid_kl_per_dimension"][-1]) == pytest.approx(history["valid_kl"][-1], rel=1e-5)
    assert variant.model.weights == {"z": 2.0}, "after training beta stands at its final value"
    assert -history["elbo"][0] < 35 * math.log(2) * 2, "nats per datum, not sums over data"


def test_a_schedule_as_lr_replaces_the_default_and_reaches_the_optimiser():
    rates = []

    class Recording(torch.optim.SGD):
        def step(self, closure=None):
            rates.append(self.param_groups[0]["lr"])
            return super().step(closure)

    variant = vae()
    x = data_for(variant, 20)
    schedule = objectives.Linear(0.1, 0.0, epochs=2)
    history = pv.fit(variant, x, epochs=2, batch_size=10, lr=schedule, optimizer=Recording)
    assert rates == pytest.approx([0.1, 0.075, 0.05, 0.025])
    assert history["lr"] == pytest.approx([0.075, 0.025])
    rates.clear()
    pv.fit(variant, x, epochs=3, batch_size=10, lr=0.1, optimizer=Recording)
    cosine = objectives.Cosine(1.0, 0.01, epochs=2, hold=1)
    assert rates == pytest.approx([0.1 * cosine(t / 2) for t in range(6)])
    rates.clear()
    pv.fit(variant, x, epochs=1, batch_size=10, lr=0.1, lr_schedule="constant", optimizer=Recording)
    assert rates == [0.1, 0.1]


def test_the_csv_file_is_the_history(tmp_path):
    variant = vae()
    x = data_for(variant, 20)
    history = pv.fit(variant, x, epochs=2, valid=x[:5], folder=tmp_path)
    with (tmp_path / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    for name, values in history.items():
        if name != "valid_kl_per_dimension":
            assert [float(row[name]) for row in rows] == pytest.approx(values)
    assert [float(row["valid_kl_per_dimension_1"]) for row in rows] == pytest.approx(
        [values[1] for values in history["valid_kl_per_dimension"]]
    )


def test_validation_does_not_train():
    variant = vae()
    twin = copy.deepcopy(variant)
    x = data_for(variant, 20)
    valid = data_for(variant, 5)
    pv.fit(variant, x, epochs=1, valid=valid)
    pv.fit(twin, x, epochs=1)
    assert same_weights(weights(variant), weights(twin))


def test_a_data_set_brings_its_validation_data(digits):
    variant = pv.VAE(pv.priors.StandardNormal(2), pv.likelihoods.ContinuousBernoulli(digits.shape))
    history = pv.fit(variant, digits, epochs=1)
    expected = evaluation.elbo(variant, digits.valid).kl.mean().item()
    assert history["valid_kl"][0] == pytest.approx(expected, rel=1e-5)
    assert "valid_elbo" not in pv.fit(variant, digits.train, epochs=1)


def test_training_on_digits_beats_independent_pixels(digits):
    """A VAE that has learned nothing but the mean of each pixel is what training must beat, on the test split."""
    likelihood = pv.likelihoods.ContinuousBernoulli(digits.shape)
    start = likelihood.starting_parameters(digits.train.x)
    independent = likelihood.distribution(start).log_prob(digits.test.x).mean().item()
    variant = pv.VAE(pv.priors.StandardNormal(4), likelihood, encoder=networks.MLP([64]))
    pv.fit(variant, digits.train, epochs=10, lr=3e-3)
    assert evaluation.elbo(variant, digits.test.x).elbo.mean().item() > independent + 3.0


@pytest.mark.parametrize("objective", [None, Trace_ELBO()])
def test_pyros_objectives_report_terms_too(objective):
    variant = vae(objective=objective)
    x = data_for(variant, 40)
    history = pv.fit(variant, x, epochs=30, batch_size=40, lr=1e-9)
    draws = torch.stack([evaluation.elbo(variant, x).reconstruction.mean() for _ in range(30)])
    assert sum(history["reconstruction"]) / 30 == pytest.approx(
        draws.mean().item(), abs=6 * draws.std().item() / 30**0.5
    )
    assert history["kl"][-1] == pytest.approx(evaluation.elbo(variant, x).kl.mean().item(), rel=1e-4)
    assert sum(history["loss"]) / 30 == pytest.approx(-sum(history["elbo"]) / 30, rel=0.02)


# -- stopping


class StepsOf(objectives.Schedule):
    """Learns for a while, then with a rate that ruins everything."""

    def __init__(self, good: int) -> None:
        self.good = good

    def __call__(self, epoch: float) -> float:
        return 1e-2 if epoch < self.good else 0.5 if epoch < 1e9 else 0.0


def test_patience_stops_and_goes_back_to_the_best_weights(tmp_path):
    variant = vae()
    x, valid = data_for(variant, 64), data_for(variant, 64)
    history = pv.fit(variant, x, epochs=40, batch_size=16, lr=StepsOf(4), valid=valid, patience=3, folder=tmp_path)
    best = max(range(history.epochs), key=history["valid_elbo"].__getitem__)
    assert history.epochs == best + 1 + 3
    assert history.epochs < 40
    exact = evaluation.elbo(variant, valid).kl.mean().item()
    assert exact == pytest.approx(history["valid_kl"][best], rel=1e-5)
    assert same_weights(weights(pv.load(tmp_path / "best.pt")), weights(variant))
    assert not same_weights(weights(pv.load(tmp_path / "last.pt")), weights(variant))


def test_without_patience_the_last_weights_stay():
    variant = vae()
    x = data_for(variant, 64)
    history = pv.fit(variant, x, epochs=6, batch_size=16, lr=StepsOf(3), valid=x)
    assert history.epochs == 6
    assert evaluation.elbo(variant, x).kl.mean().item() == pytest.approx(history["valid_kl"][-1], rel=1e-5)


# -- precision


@pytest.mark.parametrize("name", ["prior_standard_normal", "prior_vamp", "posterior_flow", "conv"])
def test_bfloat16_is_close_to_float32(name):
    full = VARIANTS[name]()
    half = copy.deepcopy(full)
    x = data_for(full, 128)
    histories = [
        pv.fit(v, x, epochs=10, batch_size=32, lr=1e-2, precision=precision)
        for v, precision in [(full, "float32"), (half, "bf16")]
    ]
    assert {p.dtype for p in half.parameters()} == {torch.float32}
    assert not same_weights(weights(full), weights(half))
    elbos = [evaluation.elbo(v, x, num_samples=50).elbo.mean().item() for v in (full, half)]
    gained = elbos[0] - histories[0]["elbo"][0]
    assert gained > 0.5
    assert elbos[1] == pytest.approx(elbos[0], abs=max(0.15 * gained, 0.1))


# -- nothing global


def interrupting(at):
    calls = []

    def transform(x):
        calls.append(x)
        if len(calls) == at:
            raise KeyboardInterrupt
        return x

    return transform


def test_an_interrupted_fit_leaves_nothing_behind(tmp_path):
    variant = vae(beta=objectives.Linear(0, 1, epochs=10))
    x = data_for(variant, 40)
    pyro.param("of_the_user", torch.ones(2))
    torch.manual_seed(9)
    state, settings = torch.get_rng_state(), pyro.settings.get()
    with pytest.raises(KeyboardInterrupt):
        pv.fit(variant, x, epochs=5, batch_size=10, transform=interrupting(at=12), folder=tmp_path)
    assert torch.equal(torch.get_rng_state(), state)
    assert pyro.settings.get() == settings
    assert list(pyro.get_param_store().keys()) == ["of_the_user"]
    assert variant.model.weights == {"z": 1.0}
    assert not variant.training
    assert torch.load(tmp_path / "last.pt", weights_only=True)["epoch"] == 2
    pyro.clear_param_store()


def test_the_param_store_of_the_user_is_as_it_was(own_store):
    variant = vae()
    x = data_for(variant)
    Trace_ELBO().loss(variant.model, variant.guide, x)
    names = sorted(pyro.get_param_store().keys())
    pv.fit(variant, x, epochs=1)
    evaluation.elbo(variant, x)
    variant.generate(2)
    assert sorted(pyro.get_param_store().keys()) == names


def test_evaluation_leaves_the_mode_as_it_was():
    variant = vae(encoder=networks.MLP([8], dropout=0.5))
    x = data_for(variant, 4)
    for training in (True, False):
        variant.train(training)
        assert torch.equal(variant.encode(x).mean, variant.encode(x).mean)
        assert variant.training is training


def test_frozen_weights_stay():
    variant = vae()
    for parameter in variant.guide.parameters():
        parameter.requires_grad_(False)
    before = weights(variant)
    pv.fit(variant, data_for(variant), epochs=2, lr=1e-2)
    stayed = unmoved(before, weights(variant))
    assert stayed
    assert all(name.startswith("guide.") for name in stayed)
    assert len(stayed) == len(list(variant.guide.parameters()))


def test_starting_values_are_chosen_once():
    variant = vae("vamp")
    x = data_for(variant)
    pv.fit(variant, x, epochs=1, lr=1e-9)
    pseudo_inputs = variant.model.prior.pseudo_inputs.detach().clone()
    distance = (pseudo_inputs[:, None] - x).flatten(2).norm(dim=-1).min(1).values
    assert distance.max() < 0.2, "pseudo-inputs start at data"
    pv.fit(variant, x, epochs=1, lr=1e-9, seed=1)
    torch.testing.assert_close(variant.model.prior.pseudo_inputs.detach(), pseudo_inputs)


def test_parts_that_are_not_trained_keep_the_values_that_they_have():
    variant = vae("vamp")
    variant.model.requires_grad_(False)
    before = weights(variant)
    pv.fit(variant, data_for(variant), epochs=1)
    after = weights(variant)
    assert all(torch.equal(before[name], after[name]) for name in before if name.startswith("model."))
    assert not any(torch.equal(before[name], after[name]) for name in before if name.startswith("guide."))


# -- a loss that goes wrong


def fails_from(epoch, batches, what):
    """The likelihood's distribution, from a given epoch of training on with NaN in its log-density."""
    calls = []

    def spoil(distribution):
        if torch.is_grad_enabled():
            calls.append(1)
        if len(calls) > (epoch - 1) * batches:
            distribution.log_prob = lambda value: what * torch.ones(distribution.batch_shape)
        return distribution

    return spoil


@pytest.mark.parametrize("what", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_stops_training_and_names_the_site(what, tmp_path, monkeypatch):
    variant = vae()
    x = data_for(variant, 40)
    spoil = fails_from(3, 4, what)
    make = variant.likelihood.forward
    monkeypatch.setattr(variant.likelihood, "forward", lambda z: Spoiled(make(z), spoil))
    with pytest.raises(pv.NonFiniteLossError, match=r"epoch 3, step 9.*site 'x' of the model.*last\.pt"):
        pv.fit(variant, x, epochs=5, batch_size=10, folder=tmp_path)
    monkeypatch.undo()
    saved = pv.load(tmp_path / "last.pt")
    assert torch.load(tmp_path / "last.pt", weights_only=True)["epoch"] == 2
    assert same_weights(weights(saved), weights(variant)), "the failed step has not moved the weights"
    assert evaluation.elbo(saved, x).elbo.isfinite().all()


class Spoiled(pyro.distributions.TorchDistribution):
    """Another distribution, whose log-density can be spoiled."""

    arg_constraints = {}  # noqa: RUF012

    def __init__(self, inner, spoil):
        self.inner, self.spoil = inner, spoil
        super().__init__(inner.batch_shape, inner.event_shape, validate_args=False)

    def expand(self, batch_shape, _instance=None):
        return self

    def sample(self, sample_shape=torch.Size()):
        return self.inner.sample(sample_shape)

    def log_prob(self, value):
        return self.spoil(self.inner).log_prob(value)


def test_a_scale_too_small_for_the_data_is_named(tmp_path):
    variant = vae(likelihood=pv.likelihoods.Normal(IMAGE, scale=1e-20))
    x = 1e3 * data_for(variant, 20)
    with pytest.raises(pv.NonFiniteLossError, match=r"epoch 1, step 1: site 'x' of the model.*log-probability"):
        pv.fit(variant, x, epochs=1, folder=tmp_path)
    assert not (tmp_path / "last.pt").exists()


def test_weights_that_overflow_in_the_last_step_of_an_epoch_are_not_saved(tmp_path):
    class Overflowing(torch.optim.SGD):
        steps = 0

        def step(self, closure=None):
            super().step(closure)
            self.steps += 1
            if self.steps == 4:  # the last step of the second epoch
                with torch.no_grad():
                    self.param_groups[0]["params"][0].fill_(math.nan)

    variant = vae()
    x = data_for(variant, 20)
    with pytest.raises(pv.NonFiniteLossError, match=r"parameter '.*' is no longer finite"):
        pv.fit(variant, x, epochs=5, batch_size=10, optimizer=Overflowing, folder=tmp_path)
    saved = pv.load(tmp_path / "last.pt")
    assert all(p.isfinite().all() for p in saved.parameters())


def test_the_optimiser_gets_its_options():
    made = []
    adam = functools.partial(torch.optim.Adam, eps=0.5)

    def make(parameters, lr):
        made.append(adam(parameters, lr=lr))
        return made[-1]

    variant = vae()
    pv.fit(variant, data_for(variant), epochs=1, optimizer=make)
    assert len(made) == 1
    assert made[0].param_groups[0]["eps"] == 0.5
    assert sum(len(group["params"]) for group in made[0].param_groups) == len(list(variant.parameters()))


def test_tensorboard_gets_what_the_history_says(tmp_path):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    variant = vae()
    history = pv.fit(variant, data_for(variant, 20), epochs=3, folder=tmp_path, tensorboard=True)
    events = reader.EventAccumulator(str(tmp_path)).Reload()
    assert [event.value for event in events.Scalars("elbo")] == pytest.approx(history["elbo"])


def test_tensorboard_that_is_not_installed_is_said_before_training(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    variant = vae()
    with pytest.raises(pv.ConfigurationError, match=r"pip install 'pyro-vae\[tensorboard\]'"):
        pv.fit(variant, data_for(variant, 20), epochs=1, folder=tmp_path, tensorboard=True)

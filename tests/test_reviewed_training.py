"""Bugs of training, data and files that a review found, each with the test that would have caught it."""

import functools
import logging
import math
import pickle
import warnings

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO
from pyro.optim import Adam

import pyro_vae as pv
from pyro_vae import data, labels, likelihoods, networks, objectives, priors
from tests import family

X = torch.randn(60, 5, generator=torch.Generator().manual_seed(0))
Y = torch.arange(60) % 3


def vae(**others):
    return pv.VAE(priors.StandardNormal(2), likelihoods.Normal(5), encoder=networks.MLP([8]), **others)


def m1(**others):
    torch.manual_seed(0)
    parts = priors.StandardNormal(2), likelihoods.Normal(5)
    return pv.M1(labels.Categorical(3), *parts, encoder=networks.MLP([8]), **others)


# -- files


@pytest.mark.parametrize("family_of", [dist.Normal, dist.Laplace])
def test_a_fixed_prior_over_vectors_can_be_loaded(family_of, tmp_path):
    prior = priors.Fixed(family_of(torch.zeros(2), torch.full((2,), 1.5)).to_event(1))
    variant = pv.VAE(prior, likelihoods.Normal(5))
    variant.save(tmp_path / "v.pt")
    z = torch.randn(4, 2)
    torch.testing.assert_close(pv.load(tmp_path / "v.pt").model.prior().log_prob(z), prior().log_prob(z))


def test_a_distribution_that_could_not_be_made_again_is_not_saved():
    student = dist.MultivariateStudentT(torch.tensor(4.0), torch.zeros(2), torch.eye(2))
    with pytest.raises(pv.ConfigurationError, match="cannot be written as text"):
        _ = pv.VAE(priors.Fixed(student), likelihoods.Normal(5)).config


def test_a_variant_remembers_its_arguments_as_they_were(tmp_path):
    widths = [8]
    variant = pv.VAE(priors.StandardNormal(2), likelihoods.Normal(5), encoder=networks.MLP(widths))
    widths.append(4)
    variant.save(tmp_path / "v.pt")
    assert family.same_weights(family.weights(pv.load(tmp_path / "v.pt")), family.weights(variant))


def test_numbers_of_numpy_are_numbers(tmp_path):
    m2 = pv.ConditionalVAE(labels.Categorical(Y.numpy().max() + 1), priors.StandardNormal(2), likelihoods.Normal(5))
    pv.fit(m2, (X, Y), epochs=1, seed=np.int64(3), clip=np.float32(3), folder=tmp_path)
    assert pv.load(tmp_path / "last.pt").label.classes == 3
    pv.fit(vae(), X, epochs=1, seed=2**64 - 1)  # torch.initial_seed() can be as large


def test_a_pickled_copy_is_a_variant_of_its_own():
    variant = vae()
    twin = pickle.loads(pickle.dumps(variant))
    before = family.weights(twin)
    with pyro.get_param_store().scope():
        for each in (variant, twin):
            SVI(each.model, each.guide, Adam({"lr": 0.1}), Trace_ELBO()).step(X)
        assert not family.same_weights(before, family.weights(twin))


def test_a_variant_that_cannot_be_written_is_refused_before_it_is_trained(tmp_path):
    calls = []

    def moved(x):
        calls.append(x)
        return x

    network = networks.Augmented(networks.MLP([8]), moved)
    variant = pv.Discriminative(labels.Categorical(3), 5, network)
    calls.clear()
    with pytest.raises(pv.ConfigurationError, match="cannot be written as text"):
        pv.fit(variant, (X, Y), epochs=1, folder=tmp_path)
    assert not calls


# -- training


class _Cooling(likelihoods.Normal):
    """A likelihood that counts its calls, as no graph can."""

    step = 0

    def distribution(self, parameters):
        if self.training:
            self.step += 1
        return super().distribution(parameters / (1 + self.step))


def test_a_number_that_a_program_changes_is_not_frozen():
    def trained(compile):
        torch.manual_seed(0)
        variant = pv.VAE(priors.StandardNormal(2), _Cooling(5), encoder=networks.MLP([8]))
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            history = pv.fit(variant, X, epochs=6, compile=compile)
        return history["loss"], variant.likelihood.step, [str(w.message) for w in said]

    plain, steps, _ = trained(False)
    graph, steps_of_graph, said = trained("graph")
    assert graph == plain
    assert steps_of_graph == steps
    assert any("'step' is changed from" in message for message in said)


class _Warm(likelihoods.Normal):
    temperature = 1.0

    def distribution(self, parameters):
        return super().distribution(parameters / self.temperature)


def test_a_class_attribute_that_an_instance_overrides_later_is_seen():
    variant = pv.VAE(priors.StandardNormal(2), _Warm(5), encoder=networks.MLP([8]))
    compiled = objectives.Compiled(objectives.ELBO(), backend="eager")
    compiled.checks_first = False
    with pyro.get_param_store().scope():
        for temperature in (None, 5.0):
            if temperature is not None:
                variant.likelihood.temperature = temperature
            torch.manual_seed(1)
            loss = compiled.differentiable_loss(variant.model, variant.guide, X)
            torch.manual_seed(1)
            assert loss.item() == objectives.ELBO().differentiable_loss(variant.model, variant.guide, X).item()
    assert compiled.graphs == 1  # of the pair as it is now


def test_answers_that_have_no_score_are_not_computed(monkeypatch):
    variant = pv.StructuredOutputVAE(priors.ConditionalNormal(2), likelihoods.Normal(5), 4, encoder=networks.MLP([8]))

    def fail(*_, **__):
        raise AssertionError

    monkeypatch.setattr(variant, "predict", fail)
    pv.fit(variant, (torch.randn(60, 4), X), valid=(torch.randn(60, 4), X), epochs=1)


def test_m1_keeps_the_best_weights_and_goes_on_from_the_last(tmp_path):
    valid = torch.randn(60, 5), Y
    settings = {"valid": valid, "lr": 0.05, "lr_schedule": "constant", "batch_size": 16}
    variant = m1()
    history = pv.fit(variant, (X, Y), epochs=40, folder=tmp_path / "a", **settings)
    best = history["valid_elbo"].index(max(history["valid_elbo"]))
    assert best < 35
    kept, last = (pv.load(tmp_path / "a" / name) for name in ("best.pt", "last.pt"))
    assert not family.same_weights(family.weights(kept), family.weights(last))
    assert family.same_weights(family.weights(last), family.weights(variant))
    short = m1()
    pv.fit(short, (X, Y), epochs=best + 1, **settings)
    assert family.same_weights(family.weights(kept), family.weights(short))
    assert torch.equal(kept.predict(X).probs, short.predict(X).probs)
    # a run that stopped early and went on is the run that did not stop
    settings |= {"patience": 100}
    whole = pv.fit(m1(), (X, Y), epochs=24, **settings)
    for epochs in (20, 24):
        resumed = pv.fit(m1(), (X, Y), epochs=epochs, folder=tmp_path / "b", resume=True, **settings)
    assert resumed["elbo"] == whole["elbo"]


def test_a_variant_on_anothers_codes_is_made_wherever_that_was_trained():
    trained = vae().double()
    pv.fit(trained, X.double(), epochs=1)
    stacked = pv.M1M2(trained, labels.Categorical(3), priors.StandardNormal(2))
    pv.fit(stacked, (X, Y), epochs=1)
    assert trained.dtype == torch.double
    network = networks.OnCodes(trained, networks.MLP([4]))
    pv.fit(pv.Discriminative(labels.Categorical(3), 5, network), (X, Y), epochs=1)


def test_convolutions_with_batch_norm_take_a_batch_with_one_label():
    x, y = torch.rand(41, 1, 8, 8), torch.full((41,), -1)
    y[:3] = torch.arange(3)
    encoder = networks.Conv([4, 4, 4], [8], norm="batch")
    m2 = pv.M2(3, priors.StandardNormal(2), likelihoods.Normal((1, 8, 8)), encoder=encoder)
    history = pv.fit(m2, (x, y), epochs=1, batch_size=8, labelled_batch_size=None)
    assert math.isfinite(history["elbo"][0])


@pytest.mark.parametrize("use", ["discriminative", "augmented", "m2"])
def test_on_codes_sees_what_the_encoder_was_trained_on(use):
    x = torch.randint(256, (7, 5), generator=torch.Generator().manual_seed(0))
    encoder = pv.VAE(priors.StandardNormal(2), likelihoods.Categorical(5, 256), encoder=networks.MLP([8]))
    on_codes = networks.OnCodes(encoder, networks.MLP([]))
    if use == "m2":
        other = pv.M2(3, priors.StandardNormal(2), likelihoods.Categorical(5, 256), classifier=on_codes)
        network = other.guide.classifier.network
    else:
        augmented = use == "augmented"
        specification = networks.Augmented(on_codes, torch.clone) if augmented else on_codes
        other = pv.Discriminative(labels.Categorical(3), 5, specification)
        network = other.model.predictor.network.network if augmented else other.model.predictor.network
    seen = []
    network.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    other.predict(x if use == "m2" else x.float())
    torch.testing.assert_close(seen[0], encoder.encode(x).mean)


def test_a_transform_may_write_into_its_batch():
    x = torch.zeros(40, 5)

    def shifted(batch):
        batch += 1.0
        return batch

    seen = []
    variant = vae()
    variant.guide.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].max().item()))
    pv.fit(variant, x, epochs=2, transform=shifted, valid=x)
    assert not x.any()
    assert set(seen) == {1.0}


def test_an_empty_validation_split_is_none():
    digits = data.load("digits", valid=0)
    variant = pv.VAE(priors.StandardNormal(2), likelihoods.ContinuousBernoulli(digits.shape), encoder=networks.MLP([8]))
    assert "valid_elbo" not in pv.fit(variant, digits, epochs=1)


def test_few_data_of_many_classes_are_cut_all_the_same(tmp_path):
    np.savez(tmp_path / "few.npz", x=np.random.randn(60, 3), y=np.arange(60) % 10)
    assert len(data.load(tmp_path / "few.npz").test) == 9
    assert len(data.load("digits", valid=5).valid) == 5


def test_resuming_with_other_validation_data_is_refused(tmp_path):
    settings = {"batch_size": 16, "transform": data.binarize}

    def run(valid, epochs):
        variant = pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(5), encoder=networks.MLP([8]))
        return pv.fit(variant, X.sigmoid(), valid=valid, epochs=epochs, folder=tmp_path, resume=True, **settings)

    run(X[:10].sigmoid(), 1)
    with pytest.raises(pv.CheckpointError, match="with other validation data"):
        run(X[:11].sigmoid(), 2)
    assert len(run(X[:10].sigmoid(), 2)["elbo"]) == 2


def test_resuming_knows_transforms_by_what_they_do(tmp_path):
    x = torch.rand(20, 1, 4, 4)

    def run(transform, epochs):
        variant = pv.VAE(priors.StandardNormal(2), likelihoods.Normal((1, 4, 4)), encoder=networks.MLP([8]))
        pv.fit(variant, x, epochs=epochs, folder=tmp_path, resume=True, transform=transform)

    run(data.RandomAffine(degrees=1), 1)
    with pytest.raises(pv.CheckpointError, match=r"RandomAffine\(1\)"):
        run(data.RandomAffine(degrees=40), 2)


def test_a_partial_function_has_the_same_name_everywhere():
    from pyro_vae.training.settings import _name

    named = _name(functools.partial(torch.optim.Adam, eps=1e-4, maker=data.binarize))
    assert named == "Adam((), {'eps': 0.0001, 'maker': 'binarize'})"


def test_m1_without_labels_is_refused_before_it_is_trained_on():
    variant = m1()
    pv.fit(variant, (X, Y), epochs=1)
    before = family.weights(variant)
    with pytest.raises(pv.DataError, match="needs known labels"):
        pv.fit(variant, X, epochs=1)
    assert family.same_weights(before, family.weights(variant))
    assert len(variant.known_labels)


def test_a_run_that_cannot_be_resumed_changes_nothing(tmp_path):
    pv.fit(vae(), X, epochs=2, folder=tmp_path)
    variant = vae().eval()
    before = family.weights(variant)
    with pytest.raises(pv.CheckpointError, match="has done 2 epochs"):
        pv.fit(variant, X, epochs=1, folder=tmp_path, resume=True)
    assert family.same_weights(before, family.weights(variant))
    assert not variant.training


def test_training_silences_nobody_else():
    from ignite.engine import Engine

    pv.fit(vae(), X, epochs=2, patience=1)
    assert not Engine(lambda *_: None).logger.disabled
    assert not logging.getLogger("ignite.handlers.early_stopping.EarlyStopping").disabled


def test_the_history_has_the_learning_rate_that_was_used():
    history = pv.fit(vae(), X, epochs=2, batch_size=15, warmup=8, lr=0.01, lr_schedule="constant")
    assert history["lr"] == pytest.approx([0.005, 0.01])


# -- data


def test_images_are_moved_within_their_own_range():
    torch.manual_seed(0)
    x = 10 * torch.rand(4, 1, 8, 8) - 5
    moved = data.RandomAffine(degrees=2)(x)
    assert moved.min() < -3
    assert moved.max() > 3
    assert moved.min() >= x.min()
    assert moved.max() <= x.max()


def test_a_rotation_of_an_image_that_is_not_square_is_a_rotation(monkeypatch):
    x = torch.zeros(1, 1, 40, 120)
    x[..., 10:30, 50:70] = 1.0
    monkeypatch.setattr(torch, "rand", lambda n, **kwargs: torch.ones(n, **kwargs))  # the largest angle
    moved = data.RandomAffine(degrees=45)(x)[0, 0] > 0.5
    # a square of 20 stands on its corner, sqrt(2) 20 = 28.3 wide and high
    assert moved.any(0).sum().item() == pytest.approx(28, abs=2)
    assert moved.any(1).sum().item() == pytest.approx(28, abs=2)


@pytest.mark.parametrize("array", [np.zeros((4, 5))[::-1], np.zeros((4, 5), ">f4"), np.zeros((4, 5), "f4")])
def test_arrays_of_any_layout_are_data(array):
    array.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert vae().encode(array).mean.shape == (4, 2)


def test_arrays_of_words_are_none():
    with pytest.raises(pv.DataError, match="x must hold numbers"):
        vae().encode(np.array([["a"] * 5]))


# -- files and settings of a run


def test_another_learning_rate_is_another_run(tmp_path):
    pv.fit(vae(), X, epochs=1, folder=tmp_path, lr=1)
    with pytest.raises(pv.CheckpointError, match=r"lr='1\.0 \* cosine' \(now '1\.0 \* constant'\)"):
        pv.fit(vae(), X, epochs=2, folder=tmp_path, lr=1.0, lr_schedule="constant", resume=True)
    with pytest.raises(pv.CheckpointError, match="lr="):
        pv.fit(vae(), X, epochs=2, folder=tmp_path, lr=objectives.Linear(1.0, 0.0), resume=True)
    assert pv.fit(vae(), X, epochs=2, folder=tmp_path, lr=1.0, resume=True).epochs == 2


def test_a_misspelt_monitor_is_noticed_before_an_epoch_is_trained(tmp_path):
    steps = []

    def counted(x):
        steps.append(len(x))
        return x

    with pytest.raises(pv.ConfigurationError, match=r"monitor='valid_elb' is not measured.* valid_elbo"):
        pv.fit(vae(), X, valid=X[:5], transform=counted, epochs=1, batch_size=5, monitor="valid_elb", folder=tmp_path)
    assert steps.count(5) <= 3  # of twelve: validation data, one batch, and perhaps the next
    assert not list(tmp_path.iterdir())


def test_what_is_monitored_does_not_change_the_run():
    torch.manual_seed(0)
    first, second = (pv.M2(3, priors.StandardNormal(2), likelihoods.Normal(5)) for _ in range(2))
    second.load_state_dict(first.state_dict())
    for variant, monitor in ((first, None), (second, "valid_accuracy")):
        pv.fit(variant, (X, Y), valid=(X[:9], Y[:9]), epochs=2, batch_size=20, monitor=monitor)
    assert family.same_weights(family.weights(first), family.weights(second))
    pv.fit(second, (X, Y), epochs=1, monitor="prediction")  # a factor


def test_what_killed_runs_left_is_removed(tmp_path):
    for name in (".last.pt.123.tmp", ".best.pt.7.tmp", ".history.csv.8.tmp", "mine.tmp"):
        (tmp_path / name).write_text("half")
    pv.fit(vae(), X, epochs=1, folder=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"last.pt", "best.pt", "history.csv", "mine.tmp"}


def test_the_table_of_the_history_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "history.csv"
    history = pv.fit(vae(), X, epochs=1)
    history.to_csv(path)
    before = path.read_text()
    monkeypatch.setattr("csv.DictWriter.writerows", lambda self, rows: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(pv.CheckpointError, match=r"disk full.*what was there before is intact"):
        history.to_csv(path)
    assert path.read_text() == before
    assert list(tmp_path.iterdir()) == [path]


def test_validation_data_are_measured_in_pieces():
    variant = pv.M2(3, priors.StandardNormal(2), likelihoods.Normal(5))
    x, y = X.repeat(40, 1), Y.repeat(40)
    sizes = []
    variant.guide.classifier.register_forward_hook(lambda module, given, out: sizes.append(len(given[0])))
    history = pv.fit(variant, (X, Y), valid=(x, y), epochs=1)
    assert max(sizes) <= 1_000
    assert history["valid_accuracy"][0] == pytest.approx(variant.score(x, y)["accuracy"], abs=1e-6)

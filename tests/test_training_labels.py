"""Training with labels: batches, schedules, resumed runs, and the stages of M1 and M1+M2."""

import copy
from collections import Counter

import pytest
import torch
from sklearn.linear_model import LogisticRegression

import pyro_vae as pv
from pyro_vae import classifiers, evaluation, labels, likelihoods, networks, objectives, priors
from pyro_vae.program import labelled
from pyro_vae.training.batches import Batches
from tests.family import (
    CLASSES,
    VARIANTS,
    D,
    arguments_for,
    data_for,
    frozen,
    labels_for,
    same_weights,
    stacked,
    unmoved,
    vae,
    weights,
    with_labels,
)

# -- batches


def numbered(n, known):
    """Data that are their own numbers, and labels of which only the first ``known`` are there, in random order."""
    order = torch.randperm(n)
    y = torch.full((n,), -1)
    y[order[:known]] = torch.arange(known) % CLASSES
    return torch.arange(n).float()[:, None], y


@pytest.mark.parametrize(("n", "known", "batch_size", "size"), [(53, 7, 10, 4), (40, 3, 40, 8), (30, 20, 3, 5)])
def test_each_step_sees_so_many_labels_and_each_datum_without_one_once(n, known, batch_size, size):
    x, y = numbered(n, known)
    batches = Batches(x, y, batch_size, seed=1, labelled_batch_size=size)
    size = min(size, known)
    for epoch in (1, 2, 3):
        seen, unlabelled = Counter(), []
        steps = list(batches.epoch(epoch))
        assert len(steps) == len(batches) == -(-(n - known) // batch_size)
        assert sum(len(batch) for batch, _ in steps) == batches.data_per_epoch
        for batch, labels_of_batch in steps:
            is_known = labelled(labels_of_batch)
            assert is_known.sum() == size
            assert is_known[:size].all()
            numbers = batch.flatten().long()
            assert torch.equal(y[numbers], labels_of_batch)
            seen.update(numbers[is_known].tolist())
            unlabelled += numbers[~is_known].tolist()
        assert sorted(unlabelled) == x.flatten().long()[y < 0].tolist()
        counts = [seen[i] for i in range(n) if y[i] >= 0]
        assert max(counts) - min(counts) <= 1


def test_the_order_of_labels_depends_on_seed_and_epoch_alone():
    x, y = numbered(40, 6)
    orders = [
        torch.cat([batch.flatten() for batch, _ in Batches(x, y, 8, seed, labelled_batch_size=3).epoch(epoch)])
        for seed, epoch in [(0, 1), (0, 1), (0, 2), (1, 1)]
    ]
    assert torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0], orders[2])
    assert not torch.equal(orders[0], orders[3])


class Watching(objectives.ELBO):
    """The usual objective, with a note of what each step was given and how sites were weighed."""

    def __init__(self):
        super().__init__()
        self.steps, self.weights = [], []

    def loss_and_grads(self, model, guide, x, y=None):
        self.steps.append((0 if y is None else len(y), len(x) - (0 if y is None else len(y))))
        assert model.weights == guide.weights
        self.weights.append(dict(model.weights))
        return super().loss_and_grads(model, guide, x, y)


@pytest.mark.parametrize(
    ("known", "size", "labels_each"),
    [
        (20, 5, 5),
        (20, 50, 20),  # no more labels than there are
        (3, "auto", 3),  # less than a tenth: every step has some
    ],
)
def test_fit_gives_each_step_its_labels(known, size, labels_each):
    watching = Watching()
    variant = with_labels(pv.SemiSupervisedVAE, objective=watching)
    x, y = data_for(variant), labels_for(variant)
    y[torch.arange(64) >= known] = -1
    if known == 3:
        y[2] = 2  # each class once
    pv.fit(variant, (x, y), epochs=1, batch_size=16, labelled_batch_size=size)
    assert {step[0] for step in watching.steps} == {labels_each}
    assert sum(step[1] for step in watching.steps) == 64 - known
    assert max(step[1] for step in watching.steps) <= 16


def test_where_every_label_is_known_an_epoch_is_a_pass_over_the_data():
    watching = Watching()
    variant = with_labels(pv.SemiSupervisedVAE, objective=watching)
    pv.fit(variant, (data_for(variant), labels_for(variant)), epochs=1, batch_size=16, labelled_batch_size=5)
    assert watching.steps == [(16, 0)] * 4


def test_labels_come_as_they_fall_where_that_is_asked_for():
    watching = Watching()
    variant = with_labels(pv.SemiSupervisedVAE, objective=watching)
    x, y = data_for(variant), labels_for(variant)
    y[2:] = torch.where(torch.arange(62) == 0, 2, -1)
    pv.fit(variant, (x, y), epochs=1, batch_size=16, labelled_batch_size=None)
    assert sum(step[0] for step in watching.steps) == 3
    assert sum(map(sum, watching.steps)) == 64


# -- schedules


def test_fit_moves_every_weight_along_its_schedule():
    watching = Watching()
    variant = with_labels(
        pv.ConsistencyConstrainedVAE,
        multiplier=objectives.Linear(0.0, 8.0, epochs=4),
        consistency=objectives.Linear(2.0, 0.0, epochs=2),
        aggregate=3.0,
        beta=objectives.Linear(0.0, 1.0, epochs=2),
        objective=watching,
    )
    assert variant.model.weights == {"z": 1.0, "y": 8.0, "consistency": 0.0, "aggregate": 3.0}
    pv.fit(variant, arguments_for(variant), epochs=5, batch_size=64)
    assert [w["y"] for w in watching.weights] == [0.0, 2.0, 4.0, 6.0, 8.0]
    assert [w["consistency"] for w in watching.weights] == [2.0, 1.0, 0.0, 0.0, 0.0]
    assert [w["aggregate"] for w in watching.weights] == [3.0] * 5
    assert [w["z"] for w in watching.weights] == [0.0, 0.5, 1.0, 1.0, 1.0]
    assert variant.guide.weights == {"z": 1.0, "y": 8.0, "consistency": 0.0, "aggregate": 3.0}


@pytest.mark.parametrize("make", ["semi-supervised", "stacked"])
def test_fit_moves_alpha_within_epochs(make):
    watching = Watching()
    schedules = {"alpha": objectives.Linear(4.0, 0.0, epochs=2), "objective": watching}
    variant = stacked(**schedules) if make == "stacked" else with_labels(pv.SemiSupervisedVAE, **schedules)
    pv.fit(variant, arguments_for(variant), epochs=3, batch_size=32)
    assert [w["prediction"] for w in watching.weights] == [4.0, 3.0, 2.0, 1.0, 0.0, 0.0]


def test_a_ramp_stretches_with_the_number_of_epochs():
    for epochs in (4, 8):
        watching = Watching()
        ramp = objectives.Ramp(16.0, 1.0, share=0.5)
        variant = with_labels(pv.SemiSupervisedVAE, alpha=ramp, beta=ramp, objective=watching)
        history = pv.fit(variant, arguments_for(variant), epochs=epochs, batch_size=64)
        expected = [16.0 ** max(0.0, 1 - 2 * epoch / epochs) for epoch in range(epochs)]
        assert [w["prediction"] for w in watching.weights] == pytest.approx(expected)
        assert [w["z"] for w in watching.weights] == pytest.approx(expected)
        assert history["beta"] == pytest.approx(expected)
        assert variant.model.weights == {"z": 1.0, "prediction": 1.0}


def test_the_history_reports_factors_and_scores():
    x, y = arguments_for(with_labels(pv.M2))
    every = labels_for(with_labels(pv.M2))
    for make, factors in ((pv.M2, {"prediction"}), (pv.ConsistencyConstrainedVAE, {"consistency", "aggregate"})):
        variant = with_labels(make)
        history = pv.fit(variant, (x, y), valid=(x, every), epochs=2)
        assert factors <= history.keys()
        assert {len(values) for values in history.values()} == {2}
        assert 0 <= history["valid_accuracy"][-1] <= 1
    variant = with_labels(pv.SemiSupervisedVAE)  # whose predictions are not averages of draws
    history = pv.fit(variant, (x, y), valid=(x, every), epochs=2)
    assert history["valid_accuracy"][-1] == variant.score(x, every)["accuracy"]


# -- resumed runs


@pytest.mark.parametrize("size", [None, 4])
@pytest.mark.parametrize(
    "name", ["m2", "m2_norm_and_dropout", "m2_flow_mixture", "m2_properties", "m1m2", "consistency_constrained", "m1"]
)
def test_a_resumed_run_with_partly_labelled_data_equals_an_uninterrupted_one(name, size, tmp_path):
    first = VARIANTS[name]()
    whole = copy.deepcopy(first)
    x, y = arguments_for(first)
    settings = {"batch_size": 16, "lr": 1e-2, "lr_schedule": "constant", "labelled_batch_size": size}
    expected = pv.fit(whole, (x, y), epochs=4, valid=(x, y), **settings)
    pv.fit(first, (x, y), epochs=2, valid=(x, y), folder=tmp_path, **settings)
    resumed = copy.deepcopy(first)
    torch.manual_seed(99)
    history = pv.fit(resumed, (x, y), epochs=4, valid=(x, y), folder=tmp_path, resume=True, **settings)
    assert same_weights(whole.state_dict(), resumed.state_dict())
    assert {n: v for n, v in history.items() if n != "seconds"} == {n: v for n, v in expected.items() if n != "seconds"}
    if name != "m1":  # of an M1 the file holds the codes of its last epoch
        assert same_weights(whole.state_dict(), pv.load(tmp_path / "last.pt").state_dict())


def test_other_labels_are_other_data(tmp_path):
    variant = with_labels(pv.SemiSupervisedVAE)
    x, y = arguments_for(variant)
    pv.fit(variant, (x, y), epochs=1, folder=tmp_path)
    changed = y.clone()
    changed[0] = 1
    with pytest.raises(pv.CheckpointError, match="other training data"):
        pv.fit(variant, (x, changed), epochs=2, folder=tmp_path, resume=True)


# -- what is learned


def separable(n=120):
    """Three kinds of binary data, one for each class."""
    y = torch.arange(n) % CLASSES
    probabilities = torch.full((n, 12), 0.05)
    for k in range(CLASSES):
        probabilities[y == k, 4 * k : 4 * k + 4] = 0.95
    return torch.bernoulli(probabilities), y


@pytest.mark.parametrize("name", ["m2", "m1", "m1m2", "prediction_constrained", "consistency_constrained", "disc"])
def test_a_few_labels_name_the_kinds_of_data(name):
    x, y = separable()
    few = torch.where(torch.arange(len(y)) < 12, y, -1)
    spec = networks.MLP([16])
    parts = {"prior": priors.StandardNormal(D), "likelihood": likelihoods.Bernoulli(12), "encoder": spec}
    if name == "m1m2":
        m1 = pv.VAE(**parts)
        pv.fit(m1, x, epochs=30, batch_size=20, lr=1e-2)
        variant = pv.M1M2(m1, labels.Categorical(CLASSES), priors.StandardNormal(D), encoder=spec, alpha=5.0)
    elif name == "disc":
        variant, few = pv.Discriminative(labels.Categorical(CLASSES), 12, spec), y
    elif name == "m2":
        variant = pv.M2(CLASSES, **parts)
    else:
        make = {
            "m1": pv.M1,
            "prediction_constrained": pv.PredictionConstrainedVAE,
            "consistency_constrained": pv.ConsistencyConstrainedVAE,
        }[name]
        variant = make(labels.Categorical(CLASSES), **parts)
    pv.fit(variant, (x, few), epochs=40, batch_size=20, lr=1e-2)
    assert variant.score(x, y)["accuracy"] > 0.9
    if variant.generates_from_label:
        images = torch.stack([variant.generate(200, k).mean(0) for k in range(CLASSES)])
        assert torch.equal(images.reshape(CLASSES, CLASSES, 4).mean(-1).argmax(-1), torch.arange(CLASSES))


def test_properties_are_predicted_in_their_own_units():
    x, kind = separable(150)
    y = torch.stack([1000.0 * kind - 500.0, 1e-3 * (kind == 1)], 1) + torch.randn(150, 2) * torch.tensor([30.0, 3e-5])
    known = torch.where((torch.arange(150) < 40)[:, None], y, float("nan"))
    variant = pv.SemiSupervisedVAE(
        labels.Normal(2), priors.StandardNormal(D), likelihoods.Bernoulli(12), encoder=networks.MLP([16]), alpha=5.0
    )
    pv.fit(variant, (x, known), epochs=60, batch_size=25, lr=1e-2)
    error = (variant.predict(x).mean - y).abs().mean(0)
    assert error[0] < 250
    assert error[1] < 3e-4
    assert (variant.predict(x).variance.sqrt() < y.std(0)).float().mean() > 0.9


# -- M1


def trained_m1(**options):
    m1 = with_labels(pv.M1, **options)
    x, y = arguments_for(m1)
    pv.fit(m1, (x, y), epochs=2)
    return m1, x, y


def test_m1s_classifier_is_scikit_learns_on_the_same_codes():
    m1, x, y = trained_m1()
    known = y >= 0
    codes = m1.encode(x).mean
    torch.testing.assert_close(m1.labelled_codes, codes[known])
    own = LogisticRegression(max_iter=2000).fit(codes[known].numpy(), y[known].numpy())
    expected = torch.as_tensor(own.predict_proba(codes.numpy())).float()
    torch.testing.assert_close(m1.predict(x).probs, expected, rtol=1e-4, atol=1e-5)
    assert m1.score(x, y)["accuracy"] == pytest.approx(own.score(codes[known].numpy(), y[known].numpy()))


def test_sampled_codes_are_averaged_over():
    m1, x, y = trained_m1(codes="sampled")
    own = LogisticRegression(max_iter=2000)
    own.fit(m1.labelled_codes.numpy(), m1.known_labels.numpy())
    torch.manual_seed(7)
    got = m1.predict(x, num_samples=50).probs
    torch.manual_seed(7)
    draws = m1.encode(x).sample((50,))
    each = [torch.as_tensor(own.predict_proba(z.numpy())) for z in draws]
    torch.testing.assert_close(got, torch.stack(each).mean(0).float(), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(m1.labelled_codes, m1.encode(x[y >= 0]).mean)


@pytest.mark.parametrize("family", [classifiers.Logistic, classifiers.SVM])
def test_codes_keep_their_scale(family):
    # two dimensions that an autoencoder uses, forty that it does not
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(1020) % 2
    codes = torch.randn(1020, 42, generator=generator)
    codes[:, :2] = 0.5 * codes[:, :2] + (2 * y[:, None] - 1)
    codes[:, 2:] *= 0.02
    train, test = (codes[:20].numpy(), y[:20].numpy()), (codes[20:].numpy(), y[20:].numpy())
    kept = family().make().fit(*train).score(*test)
    assert kept > 0.98  # the best possible is Phi(2 sqrt 2) = 0.998
    assert family(standardise=True).make().fit(*train).score(*test) < kept - 0.03


def test_standardised_inputs_may_be_of_any_scale():
    x, y = torch.randn(60, 3, generator=torch.Generator().manual_seed(1)), torch.arange(60) % 3
    for family in (classifiers.Logistic, classifiers.SVM):
        machine, other = (family(standardise=True).make() for _ in range(2))
        scale = torch.tensor([1e-3, 1.0, 1e3])
        expected = machine.fit(x.numpy(), y.numpy()).predict_proba(x.numpy())
        got = other.fit((x * scale).numpy(), y.numpy()).predict_proba((x * scale).numpy())
        torch.testing.assert_close(torch.as_tensor(got), torch.as_tensor(expected), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("options", [{}, {"codes": "sampled"}, {"classifier": classifiers.SVM(C=2.0)}])
def test_a_loaded_m1_predicts_the_same(options, tmp_path):
    m1, x, _ = trained_m1(**options)
    m1.save(tmp_path / "m1.pt")
    loaded = pv.load(tmp_path / "m1.pt")
    predictions = []
    for each in (m1, loaded):
        torch.manual_seed(3)
        predictions.append(each.predict(x).probs)
    assert torch.equal(*predictions)
    assert repr(loaded) == repr(m1)


def test_the_files_of_a_run_hold_m1s_classifier(tmp_path):
    m1 = with_labels(pv.M1)
    x, y = arguments_for(m1)
    pv.fit(m1, (x, y), epochs=2, folder=tmp_path)
    for file in ("last.pt", "best.pt"):
        assert torch.equal(pv.load(tmp_path / file).predict(x).probs, m1.predict(x).probs)


def test_a_class_without_labels_gets_no_probability_from_m1():
    m1 = with_labels(pv.M1)
    x, y = arguments_for(m1)
    with pytest.warns(UserWarning, match="class 2"):
        pv.fit(m1, (x, torch.where(y == 2, -1, y)), epochs=1)
    probs = m1.predict(x).probs
    assert torch.equal(probs[:, 2], torch.zeros(len(x)))
    torch.testing.assert_close(probs.sum(-1), torch.ones(len(x)))


# -- M1+M2


@pytest.mark.parametrize("loaded", [False, True])
def test_what_m1m2_takes_over_stays_as_it_is(loaded, tmp_path):
    bottom = vae(encoder=networks.MLP([16], norm="batch", dropout=0.5))
    x = data_for(bottom)
    pv.fit(bottom, x, epochs=1)
    if loaded:  # and so in training mode
        bottom.save(tmp_path / "m1.pt")
        bottom = pv.load(tmp_path / "m1.pt")
    variant = pv.M1M2(bottom, labels.Categorical(CLASSES), priors.StandardNormal(D), encoder=networks.MLP([8]))
    taken = {"bottom": variant.guide.bottom, "likelihood": variant.model.likelihood}

    def state():
        return {f"{name}.{key}": v.clone() for name, part in taken.items() for key, v in part.state_dict().items()}

    def modes():
        return {module.training for part in taken.values() for module in part.modules()}

    before, of_m1 = state(), {n: v.clone() for n, v in bottom.state_dict().items()}
    moving = weights(variant)
    assert modes() == {False}
    seen = []
    hook = variant.guide.bottom.register_forward_hook(lambda *_: seen.append((modes(), variant.guide.training)))
    y = torch.arange(len(x)) % CLASSES
    y[32:] = -1
    pv.fit(variant, (x, y), epochs=2, batch_size=16)
    hook.remove()
    assert {mode for found, training in seen if training for mode in found} == {False}
    assert same_weights(before, state())
    assert same_weights(of_m1, dict(bottom.state_dict())), "the VAE that was given is another's"
    assert set(unmoved(moving, weights(variant))) == set(frozen(variant))
    variant.train()
    assert modes() == {False}
    assert variant.guide.posterior.training


def test_a_loaded_m1m2_is_frozen_too(tmp_path):
    variant = stacked()
    x, y = arguments_for(variant)
    pv.fit(variant, (x, y), epochs=1)
    variant.save(tmp_path / "v.pt")
    loaded = pv.load(tmp_path / "v.pt")
    assert frozen(loaded) == frozen(variant)
    assert torch.equal(loaded.m1_was_trained, torch.tensor(True))
    before = weights(loaded)
    pv.fit(loaded, (x, y), epochs=1)
    assert unmoved(before, weights(loaded)) == frozen(loaded)


# -- batch norm


def test_a_single_datum_with_or_without_a_label_is_no_trouble_for_batch_norm(own_store):
    variant = with_labels(pv.SemiSupervisedVAE, encoder=networks.MLP([8], norm="batch"))
    x, y = data_for(variant, 12), labels_for(variant, 12)
    for known in ([0], list(range(11))):
        some = torch.full_like(y, -1)
        some[known] = y[known]
        arguments = variant.program_arguments(*variant.batch(x, some))
        loss = variant.objective.loss_and_grads(variant.model, variant.guide, *arguments)
        assert torch.tensor(loss).isfinite()
        assert all(p.grad.isfinite().all() for p in variant.parameters())


def test_a_variant_that_needs_every_label_is_scored_on_those_that_are_known():
    classifier = pv.Discriminative(labels.Categorical(3), 4)
    x, y = torch.randn(30, 4), torch.arange(30) % 3
    some = torch.where(torch.arange(30) < 12, y, torch.full_like(y, -1))
    expected = classifier.score(x[:12], y[:12])["accuracy"]
    assert classifier.score(x, some)["accuracy"] == expected
    assert evaluation.accuracy(classifier, x, some) == pytest.approx(expected)


def test_m1_is_trained_on_all_data_alike_like_the_vae_that_it_is():
    x = data_for(with_labels(pv.M1))
    y = torch.where(torch.arange(64) < 3, torch.tensor([0, 1, 2] + [0] * 61), -1)
    ends = []
    for make, data in ((lambda: with_labels(pv.M1), (x, y)), (lambda: vae(), x)):
        torch.manual_seed(0)
        variant = make()
        pv.fit(variant, data, epochs=2, batch_size=16)
        ends.append(weights(variant))
    assert same_weights(*ends)


def test_m1_is_evaluated_on_all_data_alike():
    variant = with_labels(pv.M1)
    x, y = arguments_for(variant)
    assert [term.name for term in evaluation.site_terms(variant, x, y)] == ["z", "x"]


@pytest.mark.parametrize("each", [1, 2, 4, 9])
@pytest.mark.parametrize("standardise", [False, True])
def test_a_support_vector_machine_takes_few_labels_of_a_class(each, standardise):
    y = torch.arange(3).repeat_interleave(each)
    codes = 5 * torch.nn.functional.one_hot(y, 3) + 0.1 * torch.randn(
        3 * each, 3, generator=torch.Generator().manual_seed(0)
    )
    machine = classifiers.SVM(standardise=standardise).make().fit(codes.numpy(), y.numpy())
    assert machine.predict_proba(codes.numpy()).argmax(1).tolist() == y.tolist()
    uneven = machine.fit(codes.numpy()[each - 1 :], y.numpy()[each - 1 :])  # one of the first class
    assert uneven.predict(codes.numpy()).tolist() == y.tolist()

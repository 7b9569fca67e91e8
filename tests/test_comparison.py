"""The comparison of systems: what is cut, hidden and measured, and what is not run twice."""

import dataclasses
import importlib
import json

import pytest
import torch

import pyro_vae as pv
from pyro_vae import comparison, data, likelihoods, networks, plots
from pyro_vae.comparison import RECIPES, SYSTEMS, Cell, Comparison, Recipe, compare, recipe_for, systems
from pyro_vae.comparison.tasks import make_task, pooled
from pyro_vae.training import fit

RECIPE = Recipe(
    lambda: networks.MLP([8]),
    lambda: networks.MLP([8]),
    likelihoods.ContinuousBernoulli,
    size=2,
    epochs=1,
    moves=data.RandomAffine(degrees=5),
)


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


def task_of(dataset, num_labels, seed, recipe):
    return make_task(pooled(dataset, recipe), dataset.num_classes, num_labels, seed, recipe)


def test_the_task_hides_labels_and_holds_out_a_fifth(digits):
    task = task_of(digits, 100, seed=3, recipe=RECIPE)
    assert len(task.test) == 360
    assert len(task.train) == 1437
    assert len(task.labelled) == 100
    assert task.labelled.y.bincount().tolist() == [10] * 10
    known = task.train.labelled
    assert ((task.hidden >= 0) == ~known).all()
    everything = torch.cat([task.train.x, task.test.x]).flatten(1)
    whole = torch.cat([split.x for split in (digits.train, digits.valid, digits.test)]).flatten(1)
    torch.testing.assert_close(everything.sum(0), whole.sum(0))
    again = task_of(digits, None, seed=3, recipe=RECIPE)
    assert torch.equal(again.test.x, task.test.x)
    assert (again.hidden == -1).all()
    assert not torch.equal(task_of(digits, 100, seed=4, recipe=RECIPE).test.x, task.test.x)


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_names_classes(name, digits, monkeypatch):
    monkeypatch.setattr(systems, "_STEPS", 10)
    found = compare(digits, labels=[100], systems=[name], seeds=1, recipe=RECIPE)
    (cell,) = found.cells
    assert 0 <= cell.test <= 1
    assert 0 <= cell.pool <= 1
    assert cell.system == name


def test_all_systems_see_the_data_as_the_recipe_prepares_them(digits):
    recipe = dataclasses.replace(RECIPE, likelihood=likelihoods.Bernoulli, prepare=data.threshold)
    task, grey = (task_of(digits, 100, seed=3, recipe=each) for each in (recipe, RECIPE))
    assert torch.equal(task.train.x, (grey.train.x > 0.5).float())
    assert torch.equal(task.test.x, (grey.test.x > 0.5).float())
    assert torch.equal(task.train.y, grey.train.y)
    # a Bernoulli takes no grey pixels: neither to learn from nor to predict for
    assert 0 <= compare(digits, labels=[100], systems=["PC"], seeds=1, recipe=recipe).cells[0].test <= 1


def test_all_trainings_are_what_the_recipe_says(digits, monkeypatch):
    seen = []

    def record(variant, split, **options):
        seen.append((variant, split, options))
        return fit(variant, split, **options)

    monkeypatch.setattr(systems, "fit", record)
    monkeypatch.setattr(systems, "_STEPS", 10)
    recipe = dataclasses.replace(RECIPE, decoder=lambda: networks.MLP([5]), precision="bf16", batch_size=30)
    compare(digits, labels=[100], seeds=1, recipe=recipe, systems=["network", "M1", "PC", "M2"])
    assert len(seen) == 4
    for variant, split, options in seen:
        assert options["precision"] == "bf16"
        assert options["batch_size"] == 30
        alone = isinstance(variant, pv.Discriminative)
        assert len(split) == (100 if alone else 1437)
        assert options["epochs"] == (3 if alone else 1)  # of 4 steps each: 10 at least
        if not alone:
            assert "(5, 64)" in str([tuple(weight.shape[::-1]) for weight in variant.parameters()])


def test_a_support_vector_machine_is_fitted_to_a_part_of_many_labels(digits, monkeypatch):
    made = []
    monkeypatch.setattr(systems, "_MACHINE", 200)
    monkeypatch.setattr(systems, "fit", lambda variant, split, **options: made.append(fit(variant, split, **options)))
    monkeypatch.setattr(systems.M1, "finish", lambda self, x, y: made.append((len(x), int((y >= 0).sum()))))
    systems.SYSTEMS["M1"].learn(task_of(digits, None, seed=0, recipe=RECIPE))
    assert made[0] == (1437, 200)  # the autoencoder sees all data


def test_predictions_for_many_data_are_made_in_parts(digits, monkeypatch):
    task = task_of(digits, 100, seed=0, recipe=RECIPE)
    sizes = []

    class Parity:
        def predict(self, x, num_samples):
            sizes.append(len(x))
            return torch.distributions.Categorical(probs=torch.eye(10)[x.flatten(1).sum(1).long() % 10])

    monkeypatch.setattr(systems, "_fit_on", lambda *given, **options: None)
    monkeypatch.setattr(systems, "_CHUNK", 100)
    named = systems._trained(Parity(), task)(task.test.x)
    assert torch.equal(named, task.test.x.flatten(1).sum(1).long() % 10)
    assert sizes == [100, 100, 100, 60]


def test_the_pool_is_measured_on_a_part_of_many_data(digits, monkeypatch):
    module = importlib.import_module("pyro_vae.comparison.compare")
    monkeypatch.setattr(module, "_POOL", 50)
    task = task_of(digits, 100, seed=0, recipe=RECIPE)
    rows = (task.hidden >= 0).nonzero()[:50, 0]
    found = compare(digits, labels=[100], systems=["pixels"], seeds=1, recipe=RECIPE).cells[0]
    expected = SYSTEMS["pixels"].learn(task)(task.train.x[rows]) == task.hidden[rows]
    assert found.pool == pytest.approx(expected.double().mean().item())


def test_spreading_among_all_directions_is_spreading_among_pixels(digits):
    from sklearn.semi_supervised import LabelSpreading

    task = task_of(digits, 100, seed=0, recipe=RECIPE)  # 64 pixels: the components are a rotation
    plain = LabelSpreading(kernel="knn", n_neighbors=7, alpha=0.2, max_iter=200)
    plain.fit(task.train.x.flatten(1), task.train.y)
    ours = SYSTEMS["spreading"].learn(task)(task.test.x)
    assert (ours.numpy() == plain.predict(task.test.x.flatten(1))).mean() > 0.995  # but for ties


def test_logistic_regression_is_scikit_learns(digits):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    task = task_of(digits, 100, seed=0, recipe=RECIPE)
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    classifier.fit(task.labelled.x.flatten(1).numpy(), task.labelled.y.numpy())
    expected = classifier.score(task.test.x.flatten(1).numpy(), task.test.y.numpy())
    assert compare(digits, labels=[100], systems=["pixels"], seeds=1).cells[0].test == pytest.approx(expected)


def test_cells_that_are_done_are_read_and_not_run(digits, tmp_path, monkeypatch):
    first = compare(digits, labels=[100], systems=["pixels"], seeds=2, folder=tmp_path)

    def never(task):
        raise AssertionError("ran again")

    monkeypatch.setitem(SYSTEMS, "pixels", comparison.System("pixels", "", never))
    again = compare(digits, labels=[100], systems=["pixels"], seeds=2, folder=tmp_path)
    assert again.cells == first.cells
    with pytest.raises(AssertionError, match="ran again"):
        compare(digits, labels=[100], systems=["pixels"], seeds=2, folder=tmp_path, epochs=3)  # another recipe
    wider = dataclasses.replace(RECIPES["digits"], network=lambda: networks.MLP([99]))
    with pytest.raises(AssertionError, match="ran again"):
        compare(digits, labels=[100], systems=["pixels"], seeds=2, folder=tmp_path, recipe=wider)


def test_the_table_has_means_and_standard_errors():
    cells = [Cell("digits", 100, "M2", seed, test, test - 0.1, 1.0, 1) for seed, test in enumerate((0.9, 0.94))]
    cells += [Cell("digits", None, "M2", 0, 0.97, None, 1.0, 1)]
    found = Comparison(cells)
    assert found.rows() == [
        ["system", "digits, 100 labels", "its unlabelled pool", "digits, all labels"],
        ["M2", "92.00 ± 2.00", "82.00 ± 2.00", "97.00"],
    ]
    assert json.loads(json.dumps(found.to_json()))[2]["labels"] is None
    figure = plots.comparison(found)
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["M2"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["digits, 100 labels", "digits, all labels"]


def test_the_legend_names_columns_that_the_first_system_is_not_in():
    cells = [Cell("digits", 100, "pixels", 0, 0.9, 0.9, 1.0, 1), Cell("digits", 100, "M2", 0, 0.9, 0.9, 1.0, 1)]
    cells += [Cell("mnist", labels, "M2", 0, 0.9, None, 1.0, 1) for labels in (100, None)]
    figure = plots.comparison(Comparison(cells))
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["digits, 100 labels", "mnist, 100 labels", "mnist, all labels"]
    assert len({handle.get_color() for handle in figure.legends[0].legend_handles}) == 3


def test_what_cannot_be_compared_is_said(digits):
    with pytest.raises(pv.ConfigurationError, match="systems"):
        compare(digits, systems=["M3"])
    for recipe in (RECIPE, None):
        with pytest.raises(ValueError, match="has no classes"):
            compare("diabetes", recipe=recipe)
    x = torch.poisson(torch.full((60, 3), 9.0))
    parts = [data.Split(x, torch.arange(60) % 2)] * 3
    with pytest.raises(pv.ConfigurationError, match=r"data set 'reads' holds counts, and no recipe .*Recipe\("):
        compare(data.Dataset("reads", *parts, kind="counts", num_classes=2))
    with pytest.raises(
        pv.ConfigurationError, match=r"systems network\+, M2\+: the recipe has no moves.*leave them out"
    ):
        compare("wine", labels=[30], systems=["pixels", "network+", "M2+"])


def test_other_data_have_a_recipe_by_their_shape_and_kind():
    found = compare("wine", labels=[30], seeds=1, epochs=2)
    assert [cell.system for cell in found.cells] == [name for name in SYSTEMS if not name.endswith("+")]
    assert found.accuracies("pixels", "wine", 30)[0] > 0.9, "scikit-learn's wine is nearly linear"
    recipe = recipe_for(data.load("wine"))
    assert recipe.likelihood((13,)).support is torch.distributions.constraints.real
    assert 1 <= recipe.epochs <= 300
    x = torch.rand(4000, 1, 28, 28)
    images = data.Split(x, torch.arange(4000) % 2)
    image_recipe = recipe_for(data.Dataset("clothes", images, images[:500], images[:500], kind="grey", num_classes=2))
    assert image_recipe.moves is not None
    an_epoch = 0.8 * 5000 / image_recipe.batch_size
    assert 1700 <= image_recipe.epochs * an_epoch < 1700 + an_epoch, "as many steps as on digits and MNIST"


# -- cells that are kept, and data with gaps


def noise(seed):
    x = torch.rand(200, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    split = data.Split(x, torch.arange(200) % 2)
    return data.Dataset("digits", split[:140], split[140:170], split[170:], kind="grey", num_classes=2)


@pytest.mark.parametrize("change", ["data", "prepare"])
def test_cells_of_other_data_are_not_taken_for_these(tmp_path, change):
    first = dataclasses.replace(RECIPE, prepare=lambda x: x)
    second = dataclasses.replace(RECIPE, prepare=lambda x: 1 - x) if change == "prepare" else first
    datasets = noise(0), noise(1 if change == "data" else 0)
    settings = {"labels": [100], "systems": ["pixels"], "seeds": 1, "folder": tmp_path}
    before = compare(datasets[0], recipe=first, **settings).cells[0]
    assert compare(datasets[0], recipe=first, **settings).cells[0] == before, "kept, with its seconds"
    after = compare(datasets[1], recipe=second, **settings).cells[0]
    assert after.fingerprint != before.fingerprint
    assert after.seconds != before.seconds


@pytest.mark.parametrize("content", ["{", "[]", '{"a": 1}'])
def test_a_damaged_cell_is_run_again(tmp_path, content):
    settings = {"labels": [100], "systems": ["pixels"], "seeds": 1, "folder": tmp_path, "recipe": RECIPE}
    cell = compare(noise(0), **settings).cells[0]
    (file,) = tmp_path.iterdir()
    file.write_text(content)
    again = compare(noise(0), **settings).cells[0]
    assert again.test == cell.test
    assert json.loads(file.read_text())["test"] == cell.test


def test_what_is_named_twice_is_run_and_counted_once():
    found = compare(noise(0), labels=[100, 100], systems=["pixels", "pixels"], seeds=2, recipe=RECIPE)
    assert len(found.cells) == 2


def test_data_without_labels_are_trained_on_and_test_nothing():
    whole = pooled(noise(0), RECIPE)
    whole.y[::2] = -1
    for num_labels in (None, 20):
        task = make_task(whole, 2, num_labels, 0, RECIPE)
        assert len(task.test) == 20
        assert (task.test.y >= 0).all()
        assert len(task.train) == 180
        assert int((task.hidden >= 0).sum()) + len(task.labelled) == 80


def test_a_data_sets_own_test_set_stays_one(digits, tmp_path):
    whole = pooled(digits, RECIPE)
    tasks = [make_task(whole, 10, 100, seed, RECIPE, len(digits.test)) for seed in (0, 1)]
    for task in tasks:
        assert torch.equal(task.test.x, digits.test.x)
        assert len(task.train) == len(digits.train) + len(digits.valid)
        assert task.labelled.y.bincount().tolist() == [10] * 10
    assert not torch.equal(tasks[0].labelled.x, tasks[1].labelled.x)
    chosen = {"labels": [100], "systems": ["pixels"], "seeds": 1, "recipe": RECIPE, "folder": tmp_path}
    (given,), (drawn,) = (compare(digits, split=split, **chosen).cells for split in ("given", "random"))
    assert (given.split, drawn.split) == ("given", "random")
    assert compare(digits, split="given", **chosen).cells == [given]  # kept beside the other
    assert 270 * given.test == pytest.approx(round(270 * given.test), abs=1e-9)


def test_a_test_set_that_is_missing_is_told():
    dataset = noise(0)
    bare = dataclasses.replace(dataset, test=data.Split(dataset.test.x[:0], dataset.test.y[:0]))
    with pytest.raises(pv.ConfigurationError, match=r"'given': data set 'digits' has no test set with labels"):
        compare(bare, systems=["pixels"], labels=[10], recipe=RECIPE, split="given")
    with pytest.raises(pv.ConfigurationError, match="split"):
        compare(dataset, systems=["pixels"], labels=[10], recipe=RECIPE, split="published")


@pytest.mark.parametrize("labels", [[100, 999_999], [0], [1]])
def test_impossible_numbers_of_labels_are_told_before_anything_is_trained(labels, tmp_path):
    with pytest.raises(pv.ConfigurationError, match=f"{labels[-1]} labels: "):
        compare(noise(0), labels=labels, systems=["pixels"], recipe=RECIPE, folder=tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("columns", [1, 2, 8, 14])
def test_the_figure_has_room_for_every_column(columns):
    cells = [
        Cell("digits", n + 10, s, seed, 0.9, 0.9, 1.0, 1) for n in range(columns) for s in SYSTEMS for seed in (0, 1)
    ]
    figure = plots.comparison(Comparison(cells))
    heights = [line.get_ydata()[0] for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert len(heights) == columns * len(SYSTEMS)
    assert all(abs(height - round(height)) < 0.5 for height in heights)

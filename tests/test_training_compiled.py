"""``fit(compile=...)``: the same run, whether its steps are compiled or not."""

import functools
import warnings

import pytest
import torch
from pyro.infer import RenyiELBO

import pyro_vae as pv
from pyro_vae import objectives
from pyro_vae.errors import ConfigurationError
from pyro_vae.training import compilation
from pyro_vae.training.batches import Batches
from pyro_vae.training.optimiser import JointOptim
from pyro_vae.training.registration import unregistered
from tests.family import VARIANTS, arguments_for, same_weights, vae, weights, with_labels


@pytest.fixture
def made(monkeypatch):
    """The compiled objectives of the runs of a test, as graphs without machine code."""
    found = []

    class Graphs(objectives.Compiled):
        def __init__(self, objective, backend, **others):
            super().__init__(objective, backend="eager", **others)
            self.wanted = backend
            found.append(self)

    monkeypatch.setattr(compilation, "Compiled", Graphs)
    return found


def trained(make, n=45, **others):
    torch.manual_seed(0)
    variant = make()
    x, y = arguments_for(variant, n)
    history = pv.fit(variant, x if y is None else (x, y), progress=False, **({"batch_size": 16, "epochs": 3} | others))
    return variant, history


@pytest.mark.parametrize(
    "name",
    [
        "annealed",
        "m2_annealed",
        pytest.param("m2_norm_and_dropout", marks=pytest.mark.slow),
        "pyro_objective",
        pytest.param("hierarchical", marks=pytest.mark.slow),
        "discriminative",
    ],
)
def test_a_compiled_run_is_the_same_run(name, made):
    expected, history = trained(VARIANTS[name], compile=False)
    got, compiled = trained(VARIANTS[name], compile=True)
    assert sorted(compiled) == sorted(history)
    for quantity in ("loss", "elbo", "kl", "beta"):
        assert compiled[quantity] == pytest.approx(history[quantity], rel=1e-5)
    for before, after in zip(weights(expected).values(), weights(got).values(), strict=True):
        torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)
    assert made[0].graphs == 1  # for batches of any size and any share of labels


def test_batches_of_one_size_get_a_graph_of_that_size(made):
    trained(vae, n=48, compile=True)
    trained(vae, n=47, compile=True)
    assert [each.dynamic for each in made] == [False, True]
    assert [each.graphs for each in made] == [1, 1]


def test_batches_know_whether_they_are_alike():
    x, y = torch.zeros(48, 2), torch.tensor([0, -1]).repeat(24)
    assert Batches(x, None, 16, seed=0).alike
    assert not Batches(x[:47], None, 16, seed=0).alike
    assert not Batches(x, y, 16, seed=0).alike
    assert Batches(x, y, 12, seed=0, labelled_batch_size=4).alike
    assert Batches(x, y.clamp(min=0), 16, seed=0).alike


def test_half_precision_is_compiled(made):
    _, history = trained(vae, compile=False, precision="bf16")
    _, compiled = trained(vae, compile=True, precision="bf16")
    assert compiled["elbo"] == pytest.approx(history["elbo"], rel=1e-5)
    assert made[0].graphs == 1


def test_a_resumed_run_is_compiled_from_its_first_step(made, tmp_path):
    whole, history = trained(VARIANTS["annealed"], n=48, compile=True, epochs=4, lr_schedule="constant")
    trained(VARIANTS["annealed"], n=48, compile=True, epochs=2, lr_schedule="constant", folder=tmp_path)
    resumed, again = trained(
        VARIANTS["annealed"], n=48, compile=True, epochs=4, lr_schedule="constant", folder=tmp_path, resume=True
    )
    assert again["loss"] == history["loss"]
    assert same_weights(weights(whole), weights(resumed))
    assert made[-1].graphs == 1


def test_auto_goes_by_the_number_of_steps(made, monkeypatch):
    trained(vae, compile="auto")
    assert not made
    monkeypatch.setattr(compilation, "GRAPH_PAYS_FROM", 6)
    monkeypatch.setattr(compilation, "MACHINE_CODE_PAYS_FROM", 9)
    trained(vae, compile="auto", epochs=1)
    assert not made
    trained(vae, compile="auto", epochs=2)
    trained(vae, compile="auto")
    assert [(each.wanted, each.graphs) for each in made] == [("eager", 1), ("inductor", 1)]
    assert made[1].quiet


@pytest.mark.parametrize("name", ["annealed", "m2_annealed", "m2_norm_and_dropout", "hierarchical", "prior_vamp"])
def test_a_run_as_a_graph_is_the_same_bit_for_bit(name):
    expected, history = trained(VARIANTS[name], compile=False)
    got, as_graph = trained(VARIANTS[name], compile="graph")
    assert as_graph["loss"] == history["loss"]
    assert as_graph["kl"] == history["kl"]
    assert same_weights(weights(expected), weights(got))


def test_auto_passes_over_what_cannot_be_compiled(made, monkeypatch):
    monkeypatch.setattr(compilation, "GRAPH_PAYS_FROM", 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trained(lambda: vae(objective=RenyiELBO(num_particles=2)), compile="auto")
    assert not made


def test_an_objective_that_is_compiled_already_is_used():
    objective = objectives.Compiled(objectives.ELBO(), backend="eager")
    _, history = trained(lambda: vae(objective=objective), compile=True)
    _, expected = trained(vae, compile=False)
    assert history["elbo"] == expected["elbo"]
    assert objective.graphs == 1  # all batches have 15 data


def test_anything_else_is_refused():
    with pytest.raises(ConfigurationError, match="compile must be True, False, 'graph' or 'auto', got 'yes'"):
        trained(vae, compile="yes")


def test_a_nan_is_found_in_a_compiled_run_too(made):
    def to_nan(x):
        return x * float("nan") if made and made[0].graphs else x

    with pytest.raises(pv.errors.NonFiniteLossError, match="the loss became nan in epoch 1, step"):
        trained(vae, compile=True, transform=to_nan)


@pytest.mark.slow
def test_machine_code_trains_as_well():
    make = functools.partial(with_labels, pv.M2)
    _, history = trained(make, compile=False, epochs=6)
    _, compiled = trained(make, compile=True, epochs=6)
    assert compiled["elbo"] == pytest.approx(history["elbo"], rel=1e-3)


# -- the eager step


def test_parameters_without_a_gradient_keep_their_momentum():
    first, second = (torch.nn.Parameter(torch.ones(())) for _ in range(2))
    optim = JointOptim([first, second], torch.optim.Adam, lr=0.1)
    (first + second).backward()
    optim([])
    assert first.grad is None
    before = second.item()
    first.square().backward()  # the second plays no part
    optim([])
    assert second.item() < before  # carried on by what it had
    third = torch.nn.Parameter(torch.ones(()))
    optim = JointOptim([first, third], torch.optim.Adam, lr=0.1)
    first.square().backward()
    optim([])
    assert third.item() == 1.0
    assert third not in optim.torch_optimiser.state


def test_a_run_leaves_variants_known_to_pyro(own_store):
    import pyro

    variant, _ = trained(vae, compile=False, epochs=1)
    with unregistered(variant, variant.objective):
        variant.guide(torch.zeros(1, *variant.shape))
        assert not pyro.get_param_store()
    variant.guide(torch.zeros(1, *variant.shape))
    assert len(pyro.get_param_store()) == len(list(variant.guide.parameters()))

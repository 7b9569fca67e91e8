"""Compiled objectives give the numbers of the objectives themselves, whatever changes between two steps.

Most tests run the graphs without machine code (``backend="eager"``): the operations are then those of the programs, in
the same order, and all numbers must be the same.
"""

import copy
import warnings

import pyro
import pytest
import torch
from pyro.infer import SVI, RenyiELBO, Trace_ELBO, TraceEnum_ELBO, TraceMeanField_ELBO
from pyro.optim import ClippedAdam
from torch import nn

import pyro_vae as pv
from pyro_vae import likelihoods, networks, objectives, priors
from pyro_vae.errors import ConfigurationError
from pyro_vae.objectives import Compiled
from tests.family import IMAGE, VARIANTS, D, arguments_for, steps_on, structured, vae, with_labels
from tests.programs import DATA, PROGRAMS, Guide, Model

OBJECTIVES = {
    "iwae": lambda: vae(objective=objectives.IWAE(4)),
    "iwae_stl_flow": lambda: vae(posterior="flow", objective=objectives.IWAE(4, "stl")),
    "iwae_dreg_with_noise": lambda: vae(
        objective=objectives.IWAE(4, "dreg"), encoder=networks.MLP([16, 8], norm="batch", dropout=0.2)
    ),
    "renyi_dreg": lambda: vae(objective=objectives.Renyi(0.5, 4, "dreg")),
    "iwae_m2": lambda: with_labels(pv.M2, objective=objectives.IWAE(4, "dreg")),
    "hybrid": lambda: pv.StructuredOutputVAE(
        priors.ConditionalNormal(D),
        likelihoods.Bernoulli(6),
        IMAGE,
        encoder=networks.MLP([16]),
        objective=objectives.Hybrid(0.5, 3),
    ),
    "score_function": lambda: vae(objective=objectives.ScoreFunction(3, baseline=objectives.LearnedBaseline())),
    "vimco": lambda: vae(objective=objectives.VIMCO(4)),
    "reweighted_wake_sleep": lambda: vae(objective=objectives.ReweightedWakeSleep(4)),
    "wake_sleep": lambda: vae(objective=objectives.WakeSleep()),
    "mean_field": lambda: vae(objective=TraceMeanField_ELBO()),
    "particles_of_pyro": lambda: vae(
        objective=Trace_ELBO(num_particles=3, vectorize_particles=True, max_plate_nesting=1)
    ),
}

QUICK = {
    "prior_vamp",
    "posterior_flow",
    "likelihood_continuous_bernoulli",
    "free_bits",
    "conv_with_norm",
    "discrete_enumerated",
    "hierarchical",
    "m2_norm_and_dropout",
    "m2_pyro_objective",
    "prediction_constrained",
}
"""Those that differ most in what they do; the others take their turn among the slow tests."""

REST = [pytest.param(name, marks=pytest.mark.slow) for name in VARIANTS if name not in QUICK]


@pytest.fixture(autouse=True)
def no_warnings(own_store):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "not compiled")
        yield


def compiled(objective, **others):
    made = Compiled(objective, **({"backend": "eager"} | others))
    made.checks_first = False
    return made


def prepared(make, n=16):
    """A variant in training, in the midst of its annealing, and the arguments of its programs."""
    torch.manual_seed(0)
    variant = make()
    x, y = arguments_for(variant, n)
    variant.initialise(x, y)
    variant.anneal(0.5)
    return variant.train(), steps_on(variant, x, y)


def step(objective, variant, arguments):
    """Loss, gradients and terms of one step."""
    variant.zero_grad()
    with pyro.validation_enabled(False):
        loss = objective.loss_and_grads(variant.model, variant.guide, *arguments)
    gradients = {name: None if p.grad is None else p.grad.clone() for name, p in variant.named_parameters()}
    return loss, gradients, copy.deepcopy(getattr(objective, "terms", None))


def assert_same(first, second, tolerance):
    """The losses, gradients and terms of two steps are the same, relative to the largest of their kind."""
    assert first[0] == pytest.approx(second[0], rel=tolerance)
    assert first[1].keys() == second[1].keys()
    for name, expected in first[1].items():
        assert (expected is None) == (second[1][name] is None), name
        if expected is not None:
            scale = tolerance * max(1.0, expected.abs().max().item())
            torch.testing.assert_close(second[1][name], expected, rtol=tolerance, atol=scale)
    if first[2] is None:
        return
    assert type(second[2]) is type(first[2])
    for field, expected in vars(first[2]).items():
        torch.testing.assert_close(vars(second[2])[field], expected, rtol=tolerance, atol=tolerance)


def assert_agrees(make, tolerance=0.0, **others):
    """Two steps of a variant, compiled, are those of its own objective: numbers, statistics and random state."""
    variant, arguments = prepared(make)
    twin, made = copy.deepcopy(variant.state_dict()), compiled(variant.objective, **others)
    runs = []
    for objective in (variant.objective, made):
        variant.load_state_dict(twin)
        torch.manual_seed(3)
        steps = [step(objective, variant, arguments) for _ in range(2)]
        runs.append((steps, copy.deepcopy(dict(variant.named_buffers())), torch.rand(())))
    assert made.graphs == 1
    for first, second in zip(runs[0][0], runs[1][0], strict=True):
        assert_same(first, second, tolerance)
    torch.testing.assert_close(runs[1][1], runs[0][1], rtol=tolerance, atol=tolerance, equal_nan=True)
    assert runs[0][2] == runs[1][2]  # as many random numbers were drawn


# a floating point sum in another order, in Pyro's loss + (surrogate - surrogate) and its sums over classes
@pytest.mark.parametrize("name", [*sorted(QUICK), *REST])
def test_variants_compiled_are_themselves(name):
    if not hasattr(VARIANTS[name]().objective, "differentiable_loss"):
        pytest.skip("cannot be compiled")
    assert_agrees(VARIANTS[name], tolerance=1e-6 if "pyro" in name else 0.0)


SLOW = {"hybrid", "iwae_m2", "iwae_stl_flow", "renyi_dreg"}


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in OBJECTIVES])
def test_objectives_compiled_are_themselves(name):
    assert_agrees(OBJECTIVES[name], tolerance=1e-6 if "pyro" in name else 0.0)


@pytest.mark.parametrize("name", ["m2_norm_and_dropout", "hierarchical", "conv"])
@pytest.mark.slow
def test_machine_code_agrees(name):
    assert_agrees(VARIANTS[name], tolerance=1e-4, backend="inductor")


@pytest.mark.slow
def test_machine_code_of_importance_weights_agrees():
    assert_agrees(OBJECTIVES["iwae_dreg_with_noise"], tolerance=1e-4, backend="inductor")


def test_machine_code_is_one_file_where_torch_can_do_that(monkeypatch):
    asked = []

    def compile_graph(module, examples, options):
        asked.append(options)
        if options.get("cpp_wrapper"):
            raise NotImplementedError("not for this operation")
        return module

    monkeypatch.setattr(torch._inductor, "compile", compile_graph)
    assert_agrees(vae, backend="inductor", options={"max_autotune": True})
    settings = {"fallback_random": True, "max_autotune": True}
    assert asked == [settings | {"cpp_wrapper": True}, settings]


# -- what changes between steps


def both(variant, made, arguments, seed=1):
    """The same step twice, of the variant's objective and of the compiled one."""
    runs = []
    for objective in (variant.objective, made):
        torch.manual_seed(seed)
        runs.append(step(objective, variant, arguments))
    return runs


def test_noise_is_new_in_each_step_and_follows_the_seed():
    variant, arguments = prepared(VARIANTS["dropout_and_norm"])
    made = compiled(variant.objective)
    losses = [step(made, variant, arguments)[0] for _ in range(20)]
    assert len(set(losses)) == 20
    torch.manual_seed(5)
    once = step(made, variant, arguments)[0]
    torch.manual_seed(5)
    assert step(made, variant, arguments)[0] == once


def test_weights_of_sites_are_inputs():
    variant, arguments = prepared(lambda: with_labels(pv.M2, beta=objectives.Linear(0.0, 1.0, epochs=4), alpha=3.0))
    made = compiled(variant.objective)
    losses = []
    for epoch in (1, 0, 2.5, 4, 9):
        variant.anneal(epoch)
        expected, got = both(variant, made, arguments)
        assert_same(expected, got, 1e-6)
        losses.append(got[0])
    assert made.graphs == 1
    assert len(set(losses)) == 4  # at 4 epochs and later all is the same


def test_weights_that_are_one_from_the_start_cost_no_graph_when_they_move():
    variant, arguments = prepared(vae)
    made = compiled(variant.objective)
    for beta, graphs in ((1.0, 1), (1.0, 1), (0.3, 2), (1.0, 2), (0.0, 2)):
        variant.model.weights = variant.guide.weights = {"z": beta}
        assert_same(*both(variant, made, arguments), 1e-6)
        assert made.graphs == graphs


def test_parameters_and_buffers_are_inputs():
    variant, arguments = prepared(VARIANTS["conv_with_norm"])
    made = compiled(variant.objective)
    step(made, variant, arguments)
    with torch.no_grad():
        for tensor in variant.state_dict().values():
            tensor.copy_((tensor * 1.1).to(tensor.dtype))
    assert_same(*both(variant, made, arguments), 0.0)
    assert made.graphs == 1


def test_replaced_parameters_and_modules_are_seen():
    variant, arguments = prepared(vae)
    made = compiled(variant.objective)
    step(made, variant, arguments)
    first = variant.guide.posterior.network.first
    first.bias = nn.Parameter(first.bias.detach() + 1.0)
    assert_same(*both(variant, made, arguments), 0.0)
    assert made.graphs == 1
    variant.guide.posterior.network.first = copy.deepcopy(first)
    assert_same(*both(variant, made, arguments), 0.0)


def test_mode_rates_and_settings_get_graphs_of_their_own():
    variant, arguments = prepared(VARIANTS["dropout_and_norm"])
    made = compiled(variant.objective)
    seen = []
    dropout = next(module for module in variant.modules() if isinstance(module, nn.Dropout))
    for change in (lambda: None, variant.eval, variant.train, lambda: setattr(dropout, "p", 0.7)):
        change()
        expected, got = both(variant, made, arguments)
        assert_same(expected, got, 0.0)
        seen.append(got[0])
    assert made.graphs == 3
    assert seen[0] == seen[2]
    assert len(set(seen)) == 3


def test_precision_and_frozen_parameters_get_graphs_of_their_own():
    variant, (x,) = prepared(vae)
    made = compiled(variant.objective)
    assert_same(*both(variant, made, (x,)), 0.0)
    next(variant.guide.parameters()).requires_grad_(False)
    assert_same(*both(variant, made, (x,)), 0.0)
    variant.double()
    expected, got = both(variant, made, (x.double(),))
    assert_same(expected, got, 0.0)
    assert next(g for g in got[1].values() if g is not None).dtype == torch.float64
    with torch.autocast("cpu", dtype=torch.bfloat16):
        variant.float()
        expected, got = both(variant, made, (x,))
    assert_same(expected, got, 0.0)


def test_one_graph_serves_all_sizes_and_splits():
    variant, (x, y) = prepared(VARIANTS["m2_annealed"], n=20)
    made = compiled(variant.objective, dynamic=True)
    for n, known in ((20, 10), (19, 7), (20, 18)):
        assert_same(*both(variant, made, (x[:n], y[:known] if known <= len(y) else torch.arange(known) % 3)), 0.0)
    assert made.graphs == 1
    # a single label broadcasts, and no label and all labels are other programs
    for known in (1, 0, 20):
        assert_same(*both(variant, made, (x, torch.arange(known) % 3)), 0.0)
    assert made.graphs <= 4


def test_sizes_are_left_open_from_the_second_on():
    variant, (x,) = prepared(vae)
    made = compiled(variant.objective)
    for n, graphs in ((16, 1), (15, 2), (14, 2), (9, 2), (16, 2)):
        assert_same(*both(variant, made, (x[:n],)), 0.0)
        assert made.graphs == graphs


def test_labels_in_any_order_and_all_labels_need_no_look():
    variant, _ = prepared(VARIANTS["m2_annealed"])
    x, y = arguments_for(variant, 16)
    made = compiled(variant.objective)
    assert_same(*both(variant, made, (x, y)), 0.0)
    assert_same(*both(variant, made, (x, y.clamp(min=0))), 0.0)
    assert made.graphs == 2


# -- Pyro's own interface, and programs of users


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("objective", [Trace_ELBO, TraceMeanField_ELBO, TraceEnum_ELBO])
def test_svi_trains_any_program_alike(name, objective):
    x = torch.randn(8, DATA)
    found = []
    for compiles in (False, True):
        torch.manual_seed(0)
        loss = objective(max_plate_nesting=1)
        with pyro.get_param_store().scope():
            made = Compiled(loss, backend="eager") if compiles else loss
            svi = SVI(*PROGRAMS[name](), ClippedAdam({"lr": 0.05}), loss=made)
            with pyro.validation_enabled(False):
                losses = [svi.step(x) for _ in range(5)]
            found.append((torch.tensor(losses), {key: value.detach() for key, value in pyro.get_param_store().items()}))
            assert not compiles or made.graphs == 1
    torch.testing.assert_close(found[1], found[0], rtol=1e-5, atol=1e-5)
    assert len(set(found[0][0].tolist())) == 5


def test_an_emptied_param_store_is_filled_again():
    model, guide = PROGRAMS["functions"]()
    made = Compiled(Trace_ELBO(), backend="eager")
    svi = SVI(model, guide, ClippedAdam({"lr": 0.05}), loss=made)
    x = torch.randn(8, DATA)
    for _ in range(3):
        svi.step(x)
    pyro.clear_param_store()
    svi = SVI(model, guide, ClippedAdam({"lr": 0.05}), loss=made)
    svi.step(x)
    assert set(pyro.get_param_store()) == {"scale", "slope"}
    before = pyro.param("slope").detach().clone()
    svi.step(x)
    assert not torch.equal(pyro.param("slope"), before)


def test_the_loss_can_be_differentiated_by_hand():
    variant, arguments = prepared(vae)
    expected, _ = both(variant, compiled(variant.objective), arguments)
    made = compiled(variant.objective)
    variant.zero_grad()
    torch.manual_seed(1)
    loss = made.differentiable_loss(variant.model, variant.guide, *arguments)
    (3.0 * loss).backward()
    assert loss.item() == expected[0]
    for name, parameter in variant.named_parameters():
        torch.testing.assert_close(parameter.grad, 3.0 * expected[1][name])


def test_gradients_are_added_up():
    variant, arguments = prepared(vae)
    made = compiled(variant.objective)
    single = both(variant, made, arguments)[1][1]
    torch.manual_seed(1)
    made.loss_and_grads(variant.model, variant.guide, *arguments)
    for name, parameter in variant.named_parameters():
        torch.testing.assert_close(parameter.grad, 2 * single[name])


def test_parameters_with_one_gradient_between_them_get_one_each():
    class Sum(Model):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(()))

        def forward(self, x):
            pyro.factor("sum", self.first + self.second)
            return super().forward(x)

    model, guide, made = Sum(), Guide(), compiled(Trace_ELBO())
    made.loss_and_grads(model, guide, torch.zeros(4, DATA))
    model.first.grad.mul_(5.0)
    assert (model.first.grad, model.second.grad) == (-5.0, -1.0)


def test_named_and_nested_arguments():
    def model(batch, scale=None):
        x = batch["x"]
        with pyro.plate("data", x.shape[0]):
            pyro.sample("x", pyro.distributions.Normal(pyro.param("loc", torch.zeros(DATA)), scale).to_event(1), obs=x)

    def guide(batch, scale=None):
        pass

    made = Compiled(Trace_ELBO(), backend="eager")
    x = torch.randn(8, DATA)
    for scale in (1.0, 1.0, 2.0):
        made.loss_and_grads(model, guide, {"x": x}, scale=torch.tensor(scale))
        expected = -torch.distributions.Normal(0.0, scale).log_prob(x).sum().item()
        assert made.loss_and_grads(model, guide, {"x": x}, scale=torch.tensor(scale)) == pytest.approx(expected)
    assert made.graphs == 1


def test_copies_compile_anew():
    variant, arguments = prepared(vae)
    made = compiled(variant.objective)
    step(made, variant, arguments)
    twin = copy.deepcopy(made)
    assert (made.graphs, twin.graphs) == (1, 0)
    assert_same(*both(variant, twin, arguments), 0.0)


# -- what cannot be compiled


def test_a_program_that_looks_at_values_runs_as_ever_with_one_warning():
    class Looking(Model):
        def forward(self, x):
            if x.sum() > 0:  # a look
                x = x + 1.0
            return super().forward(x)

    model, guide, x = Looking(), Guide(), torch.ones(4, DATA)
    made = compiled(Trace_ELBO())

    def loss(objective, data):
        torch.manual_seed(1)
        return objective.loss_and_grads(model, guide, data)

    with pytest.warns(UserWarning, match=r"test_compiled.py, line \d+: if x.sum\(\) > 0"):
        first = loss(made, x)
    assert (first, loss(made, -x)) == (loss(Trace_ELBO(), x), loss(Trace_ELBO(), -x))  # a warning would be an error
    assert made.graphs == 0


def test_tensors_assigned_to_attributes_are_not_passed_over():
    class Counting(Model):
        def __init__(self):
            super().__init__()
            self.register_buffer("mean", torch.zeros(DATA))

        def forward(self, x):
            self.mean = 0.9 * self.mean + 0.1 * x.mean(0)
            return super().forward(x)

    model, guide, made = Counting(), Guide(), compiled(Trace_ELBO())
    x = torch.ones(4, DATA)
    with pytest.warns(UserWarning, match=r"'mean' is given a new tensor; change a buffer in place: self.mean.copy_"):
        made.loss_and_grads(model, guide, x)
    made.loss_and_grads(model, guide, x)
    torch.testing.assert_close(model.mean, torch.full((DATA,), 0.19))


def test_numbers_that_change_in_each_call_run_as_ever_in_the_end():
    def model(x, scale):
        with pyro.plate("data", x.shape[0]):
            pyro.sample("x", pyro.distributions.Normal(pyro.param("loc", torch.zeros(DATA)), scale).to_event(1), obs=x)

    def guide(x, scale):
        pass

    made, x = Compiled(Trace_ELBO(), backend="eager"), torch.randn(4, DATA)

    def check(scale):
        expected = -torch.distributions.Normal(0.0, scale).log_prob(x).sum().item()
        assert made.loss_and_grads(model, guide, x, scale) == pytest.approx(expected)

    check(0.5)  # the first runs as ever
    for i in range(1, 9):
        check(float(i))
    with pytest.warns(UserWarning, match="8 graphs were made already.*must be a tensor"):
        check(9.0)
    for scale in (10.0, 3.0):
        check(scale)  # a warning would be an error
    assert made.graphs == 8


def test_without_a_compiler_operations_run_one_by_one():
    def failing(module, examples):
        raise RuntimeError("no working C++ compiler")

    for quiet in (False, True):
        variant, arguments = prepared(vae)
        made = compiled(variant.objective, quiet=quiet)
        made._compile = failing
        if quiet:
            assert_same(*both(variant, made, arguments), 0.0)  # a warning would be an error
        else:
            with pytest.warns(UserWarning, match="no machine code.*the compiler failed.*no working C"):
                assert_same(*both(variant, made, arguments), 0.0)
        assert made.graphs == 1


def test_a_program_that_looks_at_values_is_named_without_a_compiler_too(own_store):
    class Looking(Model):
        looks = 0

        def forward(self, x):
            if self.looks and x.sum() > 0:
                x = x + 0.0
            super().forward(x)

    def failing(module, examples):
        raise RuntimeError("no working C++ compiler")

    model, guide, x = Looking(), Guide(), torch.ones(5, DATA)
    model.looks = 0  # an attribute of its own
    made = compiled(Trace_ELBO())
    made._compile = failing
    with pytest.warns(UserWarning, match="no machine code"):
        made.loss_and_grads(model, guide, x)
    model.looks = 1
    with pytest.warns(UserWarning, match="decides by values what to do next"):
        made.loss_and_grads(model, guide, x)


def test_an_argument_that_wants_a_gradient_gets_it():
    variant, (x,) = prepared(vae)
    made = compiled(variant.objective)
    x = x.clone().requires_grad_()
    with pytest.warns(UserWarning, match="an argument requires a gradient"):
        made.differentiable_loss(variant.model, variant.guide, x).backward()
    assert x.grad.abs().sum() > 0


def test_what_has_no_differentiable_loss_is_refused():
    with pytest.raises(ConfigurationError, match=r"RenyiELBO has none; use its relative in pyro_vae.objectives"):
        Compiled(RenyiELBO())
    with pytest.raises(ConfigurationError, match="did you mean 'inductor'"):
        Compiled(Trace_ELBO(), backend="inducto")
    with pytest.raises(ConfigurationError, match="'eager' takes none"):
        Compiled(Trace_ELBO(), backend="eager", options={"max_autotune": True})


def test_evaluation_is_left_as_it_is():
    variant, arguments = prepared(structured)
    made = compiled(variant.objective)
    torch.manual_seed(1)
    loss = made.loss(variant.model, variant.guide, *arguments)
    torch.manual_seed(1)
    assert loss == variant.objective.loss(variant.model, variant.guide, *arguments)
    assert made.graphs == 0
    assert made.terms is variant.objective.terms

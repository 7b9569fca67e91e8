"""The contract on a device other than the CPU, without one: what was left on the CPU is found on any machine.

``tests/elsewhere.py`` says what that device is.  What only a real one can show (its kernels, its speed, its memory) is
in ``test_gpu.py``.
"""

import pytest
import torch

import pyro_vae as pv
from pyro_vae import evaluation, likelihoods, networks, posteriors, priors, report
from pyro_vae.errors import ConfigurationError, DataError
from tests.elsewhere import DEVICE, Elsewhere, Present
from tests.family import VARIANTS, answers, arguments_for, same_weights, weights

SETTINGS = {"batch_size": 10, "optimizer": torch.optim.Adam, "progress": False}  # the fused one asks for real devices
pytestmark = pytest.mark.filterwarnings("ignore:for .* copying from a non-meta parameter")  # torch takes it for another

EVERYWHERE = [
    "prior_mixture",
    "prior_vamp",
    "prior_maf",
    "posterior_full_covariance",
    "likelihood_normal_predicted",
    "likelihood_continuous_bernoulli",
    "conv_with_norm",
    "score_function_learned_baseline",
    "reweighted_wake_sleep",
    "discrete_enumerated",
    "hierarchical",
    "structured_output_image",
    "m2_learned_frequencies",
    "m2_properties",
    "m1",
    "consistency_constrained",
]
"""They have every kind of part among them; the rest is marked slow."""

OTHERS = [
    "m2",
    "prior_vamp",
    "posterior_flow",
    "m1",
    "m1m2",
    "hierarchical",
    "discrete_enumerated",
    "conditional",
    "structured_output",
    "prediction_constrained",
    "vimco",
]
PROVENANCE = ["discrete_pyro_objective"]
"""Pyro's TraceGraph_ELBO marks tensors by a class of its own, and a tensor cannot be of two."""


def some_slow(names, quick):
    marks = {name: () if name in quick else pytest.mark.slow for name in names if name not in PROVENANCE}
    return [pytest.param(name, marks=mark) for name, mark in marks.items()]


def test_the_device_keeps_tensors_apart():
    here = torch.ones(3)
    with Present():
        there = torch.ones(3, device=DEVICE)
        assert isinstance(there + 1, Elsewhere)
        assert torch.equal((there * here.to(DEVICE)).cpu(), here)
        assert there.sum().item() == 3
        assert isinstance(torch.tensor([1.0], device=DEVICE), Elsewhere)
        assert torch.equal(there[torch.tensor([0, 2])].cpu(), here[:2])  # indices may lie on the CPU
        for mixed in (lambda: there + here, lambda: torch.stack([there, here]), lambda: here[there > 0]):
            with pytest.raises(RuntimeError, match="one device"):
                mixed()
        with pytest.raises(TypeError, match="numpy"):
            there.numpy()
        layer = torch.nn.Linear(3, 1).to(DEVICE)
        layer(there).sum().backward()
        assert torch.equal(layer.weight.grad.cpu(), torch.ones(1, 3))
        with pytest.raises(RuntimeError, match="one device"):
            layer(here)


@pytest.mark.parametrize("name", some_slow(VARIANTS, EVERYWHERE))
def test_a_variant_trains_elsewhere_as_on_the_cpu_and_answers_there(name, tmp_path):
    torch.manual_seed(0)
    variant = VARIANTS[name]()
    torch.manual_seed(0)
    twin = VARIANTS[name]()
    x, y = arguments_for(variant, 20)
    given = {"data": x if y is None else (x, y), "valid": x[:5] if y is None else (x[:5], y[:5])}
    with Present():
        history = pv.fit(variant, epochs=1, device=DEVICE, folder=tmp_path, **given, **SETTINGS)
        assert {p.device for p in variant.parameters()} == {DEVICE}
        assert all(isinstance(answer, Elsewhere) for answer in answers(variant, x, y))
    assert pv.fit(twin, epochs=1, device="cpu", **given, **SETTINGS)["elbo"] == history["elbo"]
    assert same_weights(weights(twin), weights(pv.load(tmp_path / "last.pt")))


@pytest.mark.parametrize("name", some_slow(["prior_standard_normal", *OTHERS], ["prior_standard_normal"]))
def test_everything_else_runs_elsewhere(name, tmp_path):
    variant = VARIANTS[name]()
    x, y = arguments_for(variant, 40)
    given = x if y is None else (x, y)
    few = (x[:4], None if y is None else y[:4])
    chains = evaluation.AIS(steps=5, leapfrog=2)
    labels = {"y": y} if variant.labels == "all" else {}
    uses = [
        lambda: evaluation.log_likelihood(variant, x, y, method="prior", num_samples=2),
        lambda: evaluation.log_likelihood(variant, *few, method=chains, num_samples=2),
        lambda: evaluation.bidirectional(variant, 4, method=chains, num_samples=2, **labels),
        lambda: evaluation.kl_per_dimension(variant, x, y),
        lambda: evaluation.active_units(variant, x, y),
        lambda: evaluation.aggregate_posterior(variant, x, y),
        lambda: evaluation.mutual_information(variant, x, y),
        lambda: evaluation.amortisation_gap(variant, *few, num_samples=4, steps=4),
        lambda: evaluation.pareto_k(variant, *few, num_samples=40),
        lambda: evaluation.simulation_based_calibration(variant, num_data=8, num_samples=9, bins=5, **labels),
        lambda: evaluation.posterior_predictive_check(variant, x, y, num_samples=5),
        lambda: evaluation.gradient_variance(variant, x, y, num_draws=3),
        lambda: pv.to_arviz(variant, *few, num_samples=5),
        lambda: report.write(variant, given, tmp_path / "page.html", num_samples=5, max_data=10),
    ]
    left_out = []
    with Present():
        settings = SETTINGS | {"device": DEVICE, "folder": tmp_path / "run"}
        pv.fit(variant, given, epochs=1, **settings)
        pv.fit(VARIANTS[name](), given, epochs=2, resume=True, **settings)
        for use in uses:
            try:
                use()
            except (ConfigurationError, DataError) as error:  # what does not apply to it
                left_out.append(str(error))
    assert not any("device" in error for error in left_out)
    assert len(left_out) <= (1 if name in ("prior_standard_normal", "m2") else 8)


@pytest.mark.parametrize("where", ["cpu", DEVICE])
def test_what_is_built_on_a_vae_from_elsewhere(where):
    """A classifier on its codes goes where its variant goes."""
    x, y = torch.rand(20, 5).round(), torch.arange(20) % 3
    vae = pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(5), posteriors.FullCovarianceNormal())
    with Present():
        pv.fit(vae, x, epochs=1, device=DEVICE, **SETTINGS)
        network = networks.OnCodes(vae, networks.MLP([4]))
        m2 = pv.M2(3, priors.StandardNormal(2), likelihoods.Bernoulli(5), classifier=network)
        pv.fit(m2, (x, y), epochs=1, device=where, **SETTINGS)
        assert m2.predict(x).probs.device.type == torch.device(where).type
        assert {p.device for p in vae.parameters()} == {DEVICE}

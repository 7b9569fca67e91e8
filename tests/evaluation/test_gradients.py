"""The laboratory of gradients against variances, norms and biases that are known."""

import copy

import pyro
import pytest
import torch
from pyro.infer import RenyiELBO, TraceMeanField_ELBO

import pyro_vae as pv
from pyro_vae import evaluation, objectives, posteriors, priors
from tests.family import VARIANTS, arguments_for, data_for, randomised, same_weights, vae
from tests.ppca import PPCA, SIGMA, covariance_of, exact_terms


def wrong():
    ppca = PPCA()
    ppca.set_wrong_guide()
    return ppca, ppca.draw(20)


def exact(ppca, x):
    """The gradient of minus the ELBO per datum by the names of the parameters."""
    reconstruction, kl = exact_terms(ppca.vae, x)
    names = dict(ppca.vae.named_parameters())
    found = torch.autograd.grad((kl - reconstruction).mean(), names.values())
    return dict(zip(names, found, strict=True))


def test_variance_norm_and_ratio_are_the_known_ones():
    ppca, x = wrong()
    table = evaluation.gradient_variance(
        ppca.vae, x, estimators={"path": objectives.ELBO()}, num_draws=600, depth=5, reference=exact(ppca, x)
    )
    row = table.frame.set_index("group").loc["model.likelihood.network.first.bias"]
    # minus the gradient for mu is (x - W z - mu) / sigma^2, and z has the covariance of q
    covariance = covariance_of(ppca.vae.guide.posterior(x)).detach()
    variance = torch.einsum("di,bij,dj->b", ppca.w, covariance, ppca.w).mean().item() / SIGMA**4 / len(x)
    norm = exact(ppca, x)["model.likelihood.network.first.bias"].norm().item()
    assert row["parameters"] == 4
    assert row["variance"] == pytest.approx(variance, rel=0.1)
    # a sum of squares of normals with the covariance S has the variance 2 tr(S S)
    of_gradient = torch.einsum("di,bij,ej->de", ppca.w, covariance, ppca.w) / SIGMA**4 / len(x) ** 2
    error = (2 * of_gradient.square().sum() / 600).sqrt().item()
    assert 0.4 * error < row["variance_error"] < 2 * error
    assert row["norm"] == pytest.approx(norm, rel=0.05)
    assert row["snr"] == pytest.approx(norm / variance**0.5, rel=0.1)
    assert row["bias_error"] == pytest.approx((variance / 600) ** 0.5, rel=0.1)


def test_what_has_no_bias_shows_none_and_what_has_does():
    ppca, x = wrong()
    others = copy.deepcopy(ppca.vae)
    others.weigh(x=1.3)
    estimators = {
        "path": objectives.ELBO(),
        "score": objectives.ScoreFunction(3, "leave_one_out"),
        "bound": objectives.IWAE(5),
        "doubly": objectives.IWAE(5, "dreg"),
        "sticking": objectives.IWAE(5, "stl"),
        "vimco": objectives.VIMCO(5),
        "renyi": RenyiELBO(0.0, num_particles=5, vectorize_particles=True, max_plate_nesting=1),
    }
    many = {"num_draws": 100, "depth": 1}
    frame = evaluation.gradient_variance(ppca.vae, x, estimators=estimators, **many).frame.set_index(
        ["estimator", "group"]
    )
    for name in ("path", "bound"):  # the first of each target is the reference
        assert frame.loc[name]["z"].isna().all()
    for name in ("score", "doubly", "vimco", "renyi"):
        assert (frame.loc[name]["z"] < 2).all(), name
        assert (frame.loc[name]["bias"] < 3 * frame.loc[name]["bias_error"]).all(), name
    assert frame.loc["sticking", "guide"]["z"] > 10
    assert frame.loc["sticking", "guide"]["bias"] > 3 * frame.loc["sticking", "guide"]["bias_error"]
    assert frame.loc["sticking", "model"]["z"] < 2
    given = {"reference": exact(ppca, x)}
    right = evaluation.gradient_variance(ppca.vae, x, estimators={"path": objectives.ELBO()}, **many, **given)
    assert (right.frame["z"] < 2).all()
    biased = evaluation.gradient_variance(others, x, estimators={"path": objectives.ELBO()}, **many, **given)
    assert (biased.frame["z"] > 2).all()


def test_objectives_of_other_targets_are_not_compared():
    ppca, x = wrong()
    estimators = {
        "elbo": objectives.ELBO(),
        "five": objectives.IWAE(5),
        "six": objectives.IWAE(6),
        "free": objectives.ELBO(free_bits=0.5, groups=1),
        "wake": objectives.ReweightedWakeSleep(5),
        "scaled": objectives.ScoreFunction(normalise=True),
    }
    reference = objectives.ELBO(num_particles=50)
    table = evaluation.gradient_variance(ppca.vae, x, estimators=estimators, num_draws=10, reference=reference)
    frame = table.frame.set_index("estimator")
    assert frame["z"].notna().groupby(level=0).any().to_dict() == {name: name == "elbo" for name in estimators}
    assert frame["target"].nunique() == 6
    assert "bias against ELBO(50) (ELBO)" in repr(table)


def test_the_exact_reference_sums_over_discrete_latents():
    variant = randomised(vae(priors.Bernoulli(3), posteriors.Bernoulli())).double()
    x = data_for(variant, 10).double()
    summed = vae(priors.Bernoulli(3), posteriors.Bernoulli(enumerate=True)).double()
    summed.load_state_dict(variant.state_dict())
    estimators = {"score": objectives.ScoreFunction(4, "leave_one_out"), "vimco": objectives.VIMCO(4)}
    table = evaluation.gradient_variance(variant, x, estimators=estimators, num_draws=100, reference="exact")
    frame = table.frame.set_index("estimator")
    assert (frame.loc["score", "z"] < 2).all()
    assert frame.loc["vimco", "z"].isna().all()
    without = evaluation.gradient_variance(summed, x, num_draws=2, reference="exact").frame
    assert without["variance"].max() < 1e-25
    assert without["z"].max() < 1e-6
    assert without["norm"].to_numpy() == pytest.approx(frame.loc["score", "norm"].to_numpy(), rel=0.3)
    # an exact gradient that is compared with another one is found out
    with torch.no_grad():
        shifted = {n: p.grad + 1e-6 for n, p in gradients_of(summed, x)}
    assert (evaluation.gradient_variance(summed, x, num_draws=2, reference=shifted).frame["z"] > 100).all()
    with pytest.raises(pv.ConfigurationError, match=r"'z'.*Independent.*ELBO\(1000\)"):
        evaluation.gradient_variance(vae(), data_for(vae()), reference="exact")


def gradients_of(variant, x):
    with pyro.get_param_store().scope(), torch.enable_grad():
        objectives.ELBO().loss_and_grads(variant.model, variant.guide, x)
    for parameter in variant.parameters():
        parameter.grad /= len(x)
    return variant.named_parameters()


def test_nothing_is_left_behind():
    learned = objectives.ScoreFunction(2, objectives.LearnedBaseline(), normalise=True)
    variant = vae(objective=learned, encoder=pv.networks.MLP([16], dropout=0.5))
    x = data_for(variant, 16)
    pv.fit(variant, x, epochs=1)
    variant.train()
    for parameter in variant.parameters():
        parameter.grad = torch.ones_like(parameter)
    pyro.param("of_the_user", torch.ones(2))
    before, state = copy.deepcopy(variant.state_dict()), torch.get_rng_state()
    terms, alone = learned.terms, objectives.ScoreFunction(baseline="decaying")
    with torch.no_grad():
        evaluation.gradient_variance(variant, x, estimators={"own": learned, "alone": alone}, num_draws=3)
    assert same_weights(before, variant.state_dict())
    assert all((parameter.grad == 1).all() for parameter in variant.parameters())
    assert all(module.training for module in variant.modules())
    assert torch.equal(torch.get_rng_state(), state)
    assert list(pyro.get_param_store().keys()) == ["of_the_user"]
    assert learned.terms is terms
    assert alone.auxiliary is None
    assert alone.terms is None
    pyro.clear_param_store()


def test_the_seed_alone_decides():
    variant, seeds = vae(), (0, 0, 1)
    x = data_for(variant, 16)
    first, second, other = (evaluation.gradient_variance(variant, x, num_draws=3, seed=seed).frame for seed in seeds)
    assert first.equals(second)
    assert not first.equals(other)


@pytest.mark.parametrize("name", ["m2", "conditional", "structured_output", "m1m2", "prior_vamp"])
def test_any_variant_goes(name):
    variant = VARIANTS[name]()
    x, y = arguments_for(variant, 16)
    estimators = {"own": variant.objective, "score": objectives.ScoreFunction()}
    if not name.startswith("m"):  # no classes to be summed over
        estimators["mean field"] = TraceMeanField_ELBO()
    table = evaluation.gradient_variance(variant, x, y, estimators=estimators, num_draws=3)
    trained = sum(p.numel() for p in variant.parameters() if p.requires_grad)
    assert table.frame.groupby("estimator")["parameters"].sum().tolist() == [trained] * len(estimators)
    assert table.size == 16


def test_the_table_reads_well():
    variant = vae()
    x, estimators = data_for(variant, 16), {"path": objectives.ELBO(), "score": objectives.ScoreFunction()}
    table = evaluation.gradient_variance(variant, x, estimators=estimators, num_draws=3)
    lines = repr(table).splitlines()
    assert lines[0].split() == [
        "estimator",
        "group",
        "parameters",
        "norm",
        "variance",
        "variance_error",
        "snr",
        "bias",
        "bias_error",
        "z",
    ]
    assert len(lines) == 6
    assert lines[1].split()[:3] == ["path", "model.likelihood", "643"]
    assert lines[-1] == "3 evaluations each on 16 data; bias against path (ELBO)"
    assert len({len(line) for line in lines[:3]}) == 1
    assert "<table" in table._repr_html_()
    finer = evaluation.gradient_variance(variant, x, num_draws=2, depth=10).frame
    assert finer["group"].tolist() == [name for name, _ in variant.named_parameters()]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"num_draws": 1}, "at least 2"),
        ({"num_draws": 0}, "num_draws"),
        ({"depth": 0}, "depth"),
        ({"estimators": {"mine": "ELBO"}}, r"estimators\['mine'\] must be an objective.*'ELBO'"),
        ({"reference": "many"}, "reference must be an objective.*'many'"),
        ({"reference": {"model.likelihood.bias": 0.0}}, "missing or unknown.*guide.posterior.*model.likelihood.bias"),
    ],
)
def test_impossible_requests(arguments, said):
    variant = vae()
    with pytest.raises(pv.ConfigurationError, match=said):
        evaluation.gradient_variance(variant, data_for(variant, 8), **{"num_draws": 2} | arguments)
    with pytest.raises(pv.DataError):
        evaluation.gradient_variance(variant, torch.zeros(8, 3))


def test_a_list_of_estimators_goes_by_what_they_are():
    ppca, x = wrong()
    listed = [objectives.ELBO(), objectives.ScoreFunction(4)]
    found = evaluation.gradient_variance(ppca.vae, x, estimators=listed, num_draws=3).frame
    assert found["estimator"].unique().tolist() == ["ELBO()", "ScoreFunction(4)"]
    assert found["variance_error"].isna().all(), "three evaluations have no two parts with a variance each"
    with pytest.raises(pv.ConfigurationError, match="two of the list are alike; give them names"):
        evaluation.gradient_variance(ppca.vae, x, estimators=[objectives.ELBO(), objectives.ELBO()])
    with pytest.raises(pv.ConfigurationError, match="estimators must be objectives by name, or a list"):
        evaluation.gradient_variance(ppca.vae, x, estimators=objectives.ELBO())

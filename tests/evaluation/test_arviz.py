"""Draws, densities and data in the form of ArviZ: their values, their names, and ArviZ's own functions on them."""

import arviz as az
import matplotlib.pyplot as plt
import numpy as np
import pyro
import pytest
import torch
import xarray as xr
from numpy.testing import assert_allclose

import pyro_vae as pv
from pyro_vae import labels, likelihoods, networks, priors
from pyro_vae.evaluation.arviz import GROUPS
from pyro_vae.program import labelled
from pyro_vae.variants.contexts import evaluating
from tests import family
from tests.draws import N, case, groups_of, tensor
from tests.ppca import DATA, PPCA
from tests.statistics import assert_mean

NAMES = {
    "x": ("channel", "row", "column"),
    "z": ("latent",),
    "z1": ("latent1",),
    "z2": ("latent2",),
}


def log_density(variant, idata, x, y):
    """log p of x (of y, where x is given) for the stored draws, through the parts themselves, (S, N)."""
    if not variant.has_code:
        return variant.predict(x).log_prob(y).expand(idata["log_likelihood"]["y"].shape[1:])
    z = tensor(idata["posterior"][variant.code])
    if not variant.explains_data:
        with torch.no_grad(), evaluating(variant):
            return variant.likelihood(z, x).log_prob(y)
    if not variant.decodes_label:
        return variant.decode(z).log_prob(x)
    every = y.expand(len(z), *y.shape).clone()
    if "y" in idata["posterior"]:
        every[:, ~labelled(y)] = tensor(idata["posterior"]["y"])
    return variant.decode(z, every).log_prob(x)


@pytest.mark.parametrize("name", family.VARIANTS)
def test_every_variant_has_the_groups_that_make_sense_with_named_dimensions_and_right_densities(name):
    variant, x, y = case(name)
    idata = pv.to_arviz(variant, x, y, num_samples=6, prior_samples=3)
    density = not (variant.model.parts_without_density() or variant.guide.parts_without_density())
    left_out = set()
    if not variant.has_code:
        left_out |= {"posterior", "prior", "prior_predictive", "sample_stats"}
    if name == "autoencoder":
        left_out |= {"prior", "prior_predictive"}
    if not density:
        left_out |= {"sample_stats"}
    if name == "likelihood_unnormalised_bernoulli":
        left_out |= {"log_likelihood"}
    if not (name.startswith(("conditional", "discriminative", "structured")) or name == "m1"):
        left_out |= {"constant_data"}
    assert groups_of(idata) == [group for group in GROUPS if group not in left_out]
    for group in groups_of(idata):
        front = () if group.endswith("data") else ("chain", "draw")
        for site, variable in idata[group].data_vars.items():
            if site in NAMES and group != "log_likelihood":
                named = NAMES[site]
                if len(variable.dims) > len(front) + 1 + len(named):  # one-hot codes
                    named = (*named, f"{named[0]}_class")
                assert variable.dims == (*front, "datum", *named)
                assert variable.shape[len(front)] == N
    explained = "x" if variant.explains_data else "y"
    for site, value in {"x": x, "y": y}.items():
        if value is not None:
            group = "observed_data" if site in idata["observed_data"] else "constant_data"
            known = labelled(y) if site == "y" and variant.labels == "some" else slice(None)
            assert_allclose(idata[group][site].values, value[known], rtol=1e-6)
    if "log_likelihood" in idata:
        found = idata["log_likelihood"][explained]
        assert found.dims == ("chain", "draw", "datum")
        assert_allclose(found.values[0], log_density(variant, idata, x, y), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["likelihood_bernoulli", "posterior_full_covariance", "conditional", "m1m2"])
def test_draws_have_the_mean_of_the_guide(name):
    variant, x, y = case(name, 5)
    idata = pv.to_arviz(variant, x, y, num_samples=4000, groups=["posterior"])
    assert groups_of(idata) == ["posterior"]
    q = variant.encode(x, y)
    z = tensor(idata["posterior"][variant.code])
    assert_mean(z, q.mean, limit=4.5)
    assert_mean((z - q.mean) ** 2, q.variance, limit=4.5)


def test_a_missing_class_is_drawn_from_the_guide_and_a_code_with_it():
    variant, x, y = case("m2")
    idata = pv.to_arviz(variant, x, y, num_samples=4000, groups=["posterior"])
    drawn = idata["posterior"]["y"]
    assert drawn.dims == ("chain", "draw", "unlabelled")
    assert drawn["unlabelled"].values.tolist() == (~labelled(y)).nonzero().flatten().tolist()
    probs = variant.predict(x[~labelled(y)]).probs
    assert_mean(torch.nn.functional.one_hot(tensor(drawn), 3), probs, limit=4.5)
    # z ~ q(z | x, y) of the very y that was drawn
    missing = int((~labelled(y)).nonzero()[0])
    z, classes = tensor(idata["posterior"]["z"])[:, missing], tensor(drawn)[:, 0]
    for k in range(3):
        if (classes == k).sum() > 100:
            q = variant.encode(x[missing : missing + 1], torch.tensor([k]))
            assert_mean(z[classes == k], q.mean[0], limit=4.5)


def test_a_missing_label_that_the_guide_does_not_propose_is_drawn_from_the_model():
    variant, x, y = case("prediction_constrained")
    idata = pv.to_arviz(variant, x, y, num_samples=4000, groups=["posterior"])
    z = tensor(idata["posterior"]["z"])[:, ~labelled(y)]
    with torch.no_grad(), evaluating(variant):
        probs = variant.model.predictor(z).probs
    assert_mean(torch.nn.functional.one_hot(tensor(idata["posterior"]["y"]), 3) - probs, torch.zeros(4, 3), limit=4.5)


def test_prior_draws_have_the_moments_of_the_prior():
    vae = family.vae(prior="fixed_multivariate_normal")
    idata = pv.to_arviz(vae, family.data_for(vae, 10), num_samples=1, prior_samples=400)
    z = tensor(idata["prior"]["z"]).flatten(0, 1)
    assert idata["prior"]["z"].dims == ("chain", "draw", "datum", "latent")
    assert_mean(z, [1.0, -1.0])
    assert_mean((z[:, 0] - 1) * (z[:, 1] + 1), 0.5)
    x = tensor(idata["prior_predictive"]["x"]).flatten(0, 1)
    assert_mean(x - vae.decode(z).mean, torch.zeros(x.shape[1:]), limit=4.5)


def test_the_prior_is_that_of_what_is_given():
    variant, x, y = case("structured_output", 4)
    idata = pv.to_arviz(variant, x, y, num_samples=1, prior_samples=4000)
    with torch.no_grad():
        prior = variant.model.prior(x)
    assert_mean(tensor(idata["prior"]["z"]), prior.mean)
    conditional, x, y = case("conditional", 4)
    idata = pv.to_arviz(conditional, x, y, num_samples=1, prior_samples=2000)
    z = tensor(idata["prior"]["z"])
    mean = conditional.decode(z, y.expand(len(z), 4)).mean
    assert_mean(tensor(idata["prior_predictive"]["x"]) - mean, torch.zeros(mean.shape[1:]), limit=4.5)


def test_labels_of_the_prior_are_as_frequent_as_it_says():
    variant = family.with_labels(pv.SemiSupervisedVAE, "learned")
    x, y = family.arguments_for(variant, 40)
    idata = pv.to_arviz(variant, x, y, num_samples=1, prior_samples=200)
    for group in ("prior", "prior_predictive"):  # where the label is missing, and where it is known
        frequencies = torch.nn.functional.one_hot(tensor(idata[group]["y"]).flatten(), 3).double()
        assert_mean(frequencies, [0.5, 0.3, 0.2])


def test_predictions_are_drawn_given_each_draw_of_the_code():
    variant, x, y = case("m2", 8)
    idata = pv.to_arviz(variant, x, y, num_samples=3000)
    z, every = tensor(idata["posterior"]["z"]), y.expand(3000, 8).clone()
    every[:, ~labelled(y)] = tensor(idata["posterior"]["y"])
    drawn, mean = tensor(idata["posterior_predictive"]["x"]), variant.decode(z, every).mean
    assert_mean(drawn - mean, torch.zeros(mean.shape[1:]), limit=4.8)


def test_names_versions_and_settings_are_recorded():
    variant, x, y = case("m2_properties")
    coords = {"property": ["mass", "charge"], "datum": [f"d{i}" for i in range(N)], "latent": ["a", "b"]}
    idata = pv.to_arviz(variant, x, y, num_samples=5, prior_samples=4, seed=7, coords=coords)
    assert idata["posterior"]["y"]["property"].values.tolist() == ["mass", "charge"]
    assert idata["posterior"]["z"].sel(latent="b", datum="d3").shape == (1, 5)
    missing = np.array(coords["datum"])[(~labelled(y)).numpy()]
    assert idata["posterior"]["y"]["unlabelled"].values.tolist() == missing.tolist()
    assert idata["observed_data"]["y"].dims == ("labelled", "property")
    attrs = idata.attrs
    assert attrs["pyro_vae_version"] == attrs["inference_library_version"] == pv.__version__
    assert attrs["pyro_version"] == pyro.__version__
    assert attrs["torch_version"] == torch.__version__
    assert (attrs["seed"], attrs["num_samples"], attrs["prior_samples"]) == (7, 5, 4)
    assert attrs["posterior"] == "guide"
    assert attrs["variant"] == repr(variant)
    assert "SemiSupervisedVAE" in attrs["config"]
    assert attrs["objective"] == "ELBO()"


def table(n=N):
    vae = family.randomised(pv.VAE(priors.StandardNormal(2), likelihoods.Normal(DATA), encoder=networks.MLP([4])))
    return vae, torch.randn(n, DATA)


def test_classes_and_features_have_names():
    vae, x = table()
    names = ["alcohol", "ash", "hue", "colour"]
    observed = pv.to_arviz(vae, x, coords={"feature": names})["observed_data"]
    assert_allclose(observed["x"].sel(feature="hue"), x[:, 2])
    classifier, x, y = case("discriminative")
    constant = pv.to_arviz(classifier, x, y, coords={"class": ["cat", "dog", "eel"]})
    drawn = constant["posterior_predictive"]
    assert set(drawn["class"].values[drawn["y"].values.ravel()]) <= {"cat", "dog", "eel"}
    assert "x" in constant["constant_data"]


@pytest.mark.parametrize("name", ["m2", "m1m2_properties", "structured_output_image", "autoencoder"])
def test_a_netcdf_file_holds_it_all(name, tmp_path):
    variant, x, y = case(name)
    coords = {"datum": [f"d{i}" for i in range(N)]}
    idata = pv.to_arviz(variant, x, y, num_samples=4, prior_samples=3, coords=coords)
    idata.to_netcdf(str(tmp_path / "draws.nc"))
    again = az.from_netcdf(str(tmp_path / "draws.nc"))
    assert groups_of(again) == groups_of(idata)
    assert dict(again.attrs) == dict(idata.attrs)
    for group in groups_of(idata):
        first, second = (xr.Dataset(d[group].data_vars, d[group].coords) for d in (idata, again))
        xr.testing.assert_identical(first, second)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("resample", [False, True])
def test_arvizs_functions_run(resample):
    ppca = PPCA()
    ppca.set_guide(ppca.gain, 0.1 - ppca.gain @ ppca.mu, 1.2 * torch.linalg.cholesky(ppca.covariance))
    x = ppca.draw(4)
    idata = pv.to_arviz(ppca.vae, x, num_samples=400, prior_samples=5, resample=resample)
    summary = az.summary(idata, var_names=["z"])
    assert len(summary) == 8
    assert_allclose(
        np.asarray(summary["mean"], float), idata["posterior"]["z"].mean(("chain", "draw")).values.ravel(), atol=0.06
    )
    plots = ["plot_trace", "plot_trace_dist", "plot_ppc", "plot_ppc_dist"]
    drawn = [name for name in plots if hasattr(az, name)]
    assert len(drawn) >= 2
    for name in drawn:
        getattr(az, name)(idata)
        plt.close("all")
    assert az.loo(idata).n_data_points == 4


def test_the_seed_says_it_all_and_nobody_outside_notices():
    vae, x = table()
    state = torch.get_rng_state()
    first, second, third = (pv.to_arviz(vae, x, num_samples=5, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    for group in ("posterior", "posterior_predictive", "prior", "prior_predictive"):
        xr.testing.assert_identical(xr.Dataset(first[group].data_vars), xr.Dataset(second[group].data_vars))
    assert not np.allclose(first["posterior"]["z"], third["posterior"]["z"])
    only = pv.to_arviz(vae, x, num_samples=5, seed=1, groups=["posterior"])
    assert_allclose(only["posterior"]["z"], first["posterior"]["z"])


def test_batches_over_data_and_over_draws_fill_every_place():
    ppca = PPCA()
    x = ppca.draw(7)
    exact = (x - ppca.mu) @ ppca.gain.T
    z = tensor(pv.to_arviz(ppca.vae, x, num_samples=1500, prior_samples=2, chunk=200)["posterior"]["z"])
    assert_mean(z, exact)
    assert len(z.unique(dim=0)) == 1500


def test_mistakes_are_named():
    vae, x = table()
    with pytest.raises(pv.ConfigurationError, match="did you mean 'posterior'"):
        pv.to_arviz(vae, x, groups=["posteriors"])
    with pytest.raises(pv.ConfigurationError, match="did you mean 'feature'"):
        pv.to_arviz(vae, x, coords={"features": range(4)})
    with pytest.raises(pv.ConfigurationError, match="'feature' wants 4 names"):
        pv.to_arviz(vae, x, coords={"feature": range(3)})
    with pytest.raises(pv.ConfigurationError, match="num_samples"):
        pv.to_arviz(vae, x, num_samples=0)
    with pytest.raises(pv.DataError, match="no density"):
        pv.to_arviz(pv.Autoencoder(2, likelihoods.Normal(DATA)), x, resample=True)
    with pytest.raises(pv.DataError, match="label"):
        pv.to_arviz(pv.Discriminative(labels.Categorical(2), DATA), x)

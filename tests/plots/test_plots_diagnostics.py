"""Pictures of diagnostics show the numbers of the results that they are given."""

import matplotlib
import numpy as np
import pytest
import torch
import xarray as xr
from matplotlib.colors import to_hex

import pyro_vae as pv
from pyro_vae import evaluation, likelihoods, plots, posteriors, priors
from pyro_vae.plots.guides import _KINDS
from pyro_vae.plots.style import FIRST, SECOND, UNLABELLED

X = torch.rand(40, 1, 6, 5, generator=torch.Generator().manual_seed(0))


def make(size=6, likelihood=None):
    torch.manual_seed(2)
    vae = pv.VAE(priors.StandardNormal(size), likelihood or likelihoods.ContinuousBernoulli((1, 6, 5)))
    with torch.no_grad():  # the first dimension says much, the last nothing
        vae.guide.posterior.network.scale_output(3.0)
        vae.guide.posterior.network.rest[-1].weight.view(2, size, -1)[0, -1].zero_()
    return vae


def colours(patches):
    return [to_hex(patch.get_facecolor()) for patch in patches]


def results(vae, x):
    return {
        "active_units": evaluation.active_units(vae, x),
        "mutual_information": evaluation.mutual_information(vae, x),
        "aggregate_posterior": evaluation.aggregate_posterior(vae, x, permutations=19),
        "pareto_k": evaluation.pareto_k(vae, x, num_samples=50),
        "simulation_based_calibration": evaluation.simulation_based_calibration(vae, num_data=100),
        "posterior_predictive_check": evaluation.posterior_predictive_check(vae, x, num_samples=10),
        "amortisation_gap": evaluation.amortisation_gap(
            vae, x[:3], families={"full": posteriors.FullCovarianceNormal()}, steps=5, num_samples=40
        ),
    }


@pytest.mark.parametrize("size", [1, 6])
def test_every_picture_shows_itself_and_leaves_no_trace(size):
    vae = make(size)
    before, state = dict(matplotlib.rcParams), torch.get_rng_state()
    for name, found in results(vae, X).items():
        png = getattr(plots, name)(found)._repr_png_()
        assert 330 <= int.from_bytes(png[16:20], "big") <= 1000, name
    assert dict(matplotlib.rcParams) == before
    assert torch.equal(torch.get_rng_state(), state)


def test_active_units_are_sorted_bars():
    found = evaluation.active_units(make(), X)
    axes = plots.active_units(found).axes[0]
    values = np.sort(found.dataset["variance"].values)[::-1]
    tops = [bar.get_y() + bar.get_height() for bar in axes.patches]
    np.testing.assert_allclose(tops, np.maximum(values, 1e-5), rtol=1e-6)
    assert values[-1] < 1e-5
    assert [tick.get_text() for tick in axes.get_xticklabels()][-1] == "$z_{5}$"
    assert colours(axes.patches) == [FIRST.lower() if v > 0.01 else UNLABELLED for v in values]


def test_the_rate_is_one_bar():
    found = evaluation.mutual_information(make(), X)
    figure = plots.mutual_information(found)
    first, second = figure.axes[0].patches
    assert first.get_width() == pytest.approx(found.mutual_information)
    assert second.get_x() == pytest.approx(found.mutual_information)
    assert first.get_width() + second.get_width() == pytest.approx(found.rate)
    assert figure.axes[0].lines[0].get_xdata()[0] == pytest.approx(np.log(40))


def test_the_corner_shows_the_most_active_dimensions():
    found = evaluation.aggregate_posterior(make(), X)
    figure = plots.aggregate_posterior(found)
    order = np.argsort(-found.dataset["active_variance"].values)
    assert 5 not in order[:4]
    grid = np.array(figure.axes).reshape(4, 4)
    below = grid[3, 1]
    assert below.get_xlabel() == f"$z_{{{order[1]}}}$"
    assert grid[3, 0].get_ylabel() == f"$z_{{{order[3]}}}$"
    prior, posterior = (points.get_offsets() for points in below.collections)
    np.testing.assert_allclose(posterior, found.dataset["z"][:, [order[1], order[3]]])
    np.testing.assert_allclose(prior, found.dataset["prior"][:, [order[1], order[3]]])
    assert f"MMD² {found.discrepancy.mmd2:.2g}" in figure.get_suptitle()


def test_k_hats_are_sorted_and_coloured_by_kind():
    k = np.array([0.8, 0.1, np.inf, 0.6])
    found = evaluation.ParetoK(xr.Dataset({"pareto_k": ("datum", k), "importance_ess": ("datum", k)}), 100)
    figure = plots.pareto_k(found)
    points = figure.axes[0].collections[0]
    np.testing.assert_allclose(points.get_offsets()[:, 1], [0.1, 0.6, 0.8, 2.0])
    shown = [to_hex(colour) for colour in points.get_facecolors()]
    assert shown == [_KINDS[kind] for kind in ("good", "ok", "bad", "bad")]
    assert [line.get_ydata()[0] for line in figure.axes[0].lines] == [0.5, 0.7]
    assert "above 0.7, bad: 50%" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_bars_of_ranks_and_their_band():
    from scipy.stats import binom

    found = evaluation.simulation_based_calibration(make(), num_data=200, num_samples=9, bins=5)
    figure = plots.simulation_based_calibration(found)
    words = found.words()
    for d, axes in enumerate(figure.axes[:6]):
        steps, band = axes.patches
        np.testing.assert_array_equal(steps.get_data().values, found.dataset["count"][d])
        assert axes.get_title().startswith(f"$z_{{{d}}}$: {words[d]}")
        assert to_hex(steps.get_facecolor()) == (FIRST if words[d] == "calibrated" else SECOND).lower()
        low, high = band.get_extents().y0, band.get_extents().y1
        ends = axes.transData.inverted().transform([[0, low], [0, high]])[:, 1]
        np.testing.assert_allclose(ends, binom.ppf([0.005, 0.995], 200, 0.2))


def test_of_many_dimensions_the_worst_calibrated_are_shown():
    found = evaluation.simulation_based_calibration(make(20), num_data=60, num_samples=9, bins=5)
    figure = plots.simulation_based_calibration(found)
    shown = [axes.get_title().split(":")[0] for axes in figure.axes if axes.get_title()]
    worst = np.sort(np.argsort(found.dataset["p_value"].values)[:12])
    assert shown == [f"$z_{{{d}}}$" for d in worst]


def test_histograms_of_replicated_data_and_the_observed_line():
    found = evaluation.posterior_predictive_check(make(), X, num_samples=12)
    figure = plots.posterior_predictive_check(found)
    titles = [axes.get_title().split("\n")[0] for axes in figure.axes]
    names = list(found.dataset["statistic"].values)
    assert titles == [*names, "mean of each row", "mean of each column"]
    for name, axes in zip(names, figure.axes, strict=False):
        assert axes.lines[-1].get_xdata()[0] == found.dataset["observed"].sel(statistic=name)
    rows = figure.axes[len(names)]
    np.testing.assert_allclose(rows.lines[0].get_ydata(), found.profiles["mean of each row"]["observed"])
    replicated = found.profiles["mean of each row"]["replicated"].sel(source="model").values
    heights = rows.collections[0].get_paths()[0].vertices[:, 1]
    low, high = np.quantile(replicated, [0.025, 0.975], axis=0)
    np.testing.assert_allclose([heights.min(), heights.max()], [low.min(), high.max()])


def test_gaps_are_stacked():
    found = results(make(2), X)["amortisation_gap"]
    figure = plots.amortisation_gap(found)
    left, right = figure.axes
    means = found.table["nats"]
    approximation, amortisation, other = left.patches
    assert approximation.get_height() == pytest.approx(means["gap: approximation"])
    assert amortisation.get_height() == pytest.approx(means["gap: amortisation"])
    assert amortisation.get_y() == pytest.approx(means["gap: approximation"])
    assert other.get_height() == pytest.approx(means["gap: approximation, full"])
    order = np.argsort(-found.gaps["total"].values)
    heights = [bar.get_height() for bar in right.patches]
    expected = [found.gaps[name].values[order] for name in ("approximation", "amortisation")]
    np.testing.assert_allclose(heights, np.concatenate(expected))

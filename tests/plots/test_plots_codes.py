"""Plots of codes and of what they cost: values against the prior, the KL and the history they are made from."""

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from matplotlib.colors import to_hex

import pyro_vae as pv
from pyro_vae import data, evaluation, likelihoods, plots, posteriors, priors
from pyro_vae.plots.style import CLASSES, UNLABELLED


def make(size=2, prior=None, posterior=None):
    torch.manual_seed(2)
    return pv.VAE(prior or priors.StandardNormal(size), likelihoods.Normal((5,), scale=1.0), posterior)


X = torch.randn(60, 5, generator=torch.Generator().manual_seed(0))
Y = torch.arange(60) % 4 - 1


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


# -- latent


def test_two_dimensions_are_the_means_themselves():
    vae = make()
    figure = plots.latent(vae, data.Split(X, Y))
    points = figure.axes[0].collections[-1]
    z = vae.encode(X).mean.numpy()
    colours = [to_hex(colour) for colour in points.get_facecolors()]
    order = np.argsort(Y.numpy() >= 0, kind="stable")  # the unlabelled lie below the others
    np.testing.assert_allclose(points.get_offsets(), z[order], rtol=1e-6)
    assert colours == [UNLABELLED if y < 0 else CLASSES[y] for y in Y.numpy()[order]]
    assert legend(figure) == ["0", "1", "2", "no label", "prior: 50, 90, 99 %"]
    named = plots.latent(vae, X, Y.clamp(min=0), class_names=["one", "two", "three"])
    assert legend(named)[:3] == ["one", "two", "three"]


def test_contours_are_those_of_the_prior():
    figure = plots.latent(make(prior=priors.Fixed(dist.Normal(3.0, 0.5), size=2)), X)
    contours = figure.axes[0].collections[0]
    radii = sorted(np.linalg.norm(path.vertices - 3.0, axis=1).mean() for path in contours.get_paths())
    # the mass within radius r of a round normal is 1 - exp(-r^2 / 2 sigma^2)
    wanted = [0.5 * np.sqrt(-2 * np.log(1 - mass)) for mass in (0.5, 0.9, 0.99)]
    np.testing.assert_allclose(radii, wanted, rtol=0.04)


def test_no_prior_no_contours():
    torch.manual_seed(0)
    autoencoder = pv.Autoencoder(2, likelihoods.Normal((5,), scale=1.0))
    figure = plots.latent(autoencoder, X)
    (points,) = figure.axes[0].collections
    np.testing.assert_allclose(points.get_offsets(), autoencoder.encode(X).mean, rtol=1e-6)
    assert not figure.legends


def test_more_dimensions_are_principal_components():
    vae = make(size=6)
    figure = plots.latent(vae, X)
    z = vae.encode(X).mean.numpy()
    values = np.linalg.eigvalsh(np.cov(z.T))[::-1]
    assert f"({values[0] / values.sum():.0%}" in figure.axes[0].get_xlabel()
    assert f"({values[1] / values.sum():.0%}" in figure.axes[0].get_ylabel()
    shown = figure.axes[0].collections[-1].get_offsets().data
    np.testing.assert_allclose(shown.var(0, ddof=1), values[:2], rtol=1e-4)


def test_real_labels_have_a_colour_bar():
    y = X[:, 0].clone()
    y[3] = float("nan")
    figure = plots.latent(make(), X, y[:, None])
    assert figure.axes[1].get_ylabel() == "y"
    np.testing.assert_allclose(figure.axes[1].get_ylim(), [np.nanmin(y), np.nanmax(y)], rtol=1e-6)
    assert [to_hex(c) for c in figure.axes[0].collections[-1].get_facecolors()].count(UNLABELLED) == 1


def test_many_classes_have_a_colour_bar():
    figure = plots.latent(make(), X, torch.arange(60) % 20)
    assert len(figure.axes) == 2
    assert len(np.unique(figure.axes[0].collections[-1].get_facecolors(), axis=0)) == 20


def test_one_dimension_is_a_histogram():
    figure = plots.latent(make(size=1), X, Y)
    assert len(figure.axes) == 1
    assert figure.axes[0].get_xlabel() == "$z_{0}$"


# -- histograms


@pytest.mark.parametrize("prior", [dist.Normal(0.0, 1.0), dist.Normal(4.0, 0.5), dist.Laplace(-1.0, 2.0)])
def test_the_line_is_the_prior(prior):
    figure = plots.histograms(make(prior=priors.Fixed(prior, size=3)), X, Y)
    assert [axes.get_xlabel() for axes in figure.axes] == ["$z_{0}$", "$z_{1}$", "$z_{2}$"]
    for axes in figure.axes:
        z, density = axes.lines[0].get_data()
        exact = prior.log_prob(torch.tensor(z)).exp().numpy()
        assert np.abs(density - exact).max() < 0.1 * exact.max()
        np.testing.assert_allclose(np.trapezoid(density, z), 1, atol=0.01)


def test_the_line_keeps_the_modes_of_a_mixture():
    vae = make(prior=priors.MixtureOfNormals(1, components=2))
    with torch.no_grad():
        vae.model.prior.loc.copy_(torch.tensor([[-6.0], [6.0]]))
        vae.model.prior.raw_scale.zero_()
    z, density = plots.histograms(vae, X).axes[0].lines[0].get_data()
    peak = 0.5 / np.sqrt(2 * np.pi)
    assert density[np.abs(z) < 1].max() < 0.01 * peak
    np.testing.assert_allclose([density[z < 0].max(), density[z > 0].max()], peak, rtol=0.12)


def test_histograms_count_every_datum_once():
    figure = plots.histograms(make(size=4), X, Y, dimensions=[2, 0])
    assert [axes.get_xlabel() for axes in figure.axes] == ["$z_{2}$", "$z_{0}$"]
    for axes in figure.axes:
        assert len(axes.patches) == 4  # three classes and the unlabelled
        # an outline goes along the top of one class and back along that of the class below it
        areas = []
        for patch in axes.patches:
            x, y = patch.get_xy().T
            areas.append(abs(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1])) / 2)
        np.testing.assert_allclose(areas, 0.25, rtol=1e-4)
    assert legend(figure) == ["0", "1", "2", "no label", "prior p(z)"]


def test_histograms_are_of_draws_from_the_guide():
    vae = make(size=1)  # untrained: q(z | x) is about as wide as the prior, its means are not
    shown = plots.histograms(vae, X.repeat(20, 1)).axes[0].patches[0].get_xy()
    means = vae.encode(X).mean
    assert np.ptp(shown[:, 0]) > 2 * (means.max() - means.min()).item()


def test_histograms_of_real_labels_and_without_a_prior():
    figure = plots.histograms(make(), X, X[:, 0])
    assert len(legend(figure)) == 5
    assert legend(figure)[0].startswith("y -")
    torch.manual_seed(0)
    autoencoder = pv.Autoencoder(2, likelihoods.Normal((5,), scale=1.0))
    assert not plots.histograms(autoencoder, X).axes[0].lines
    with pytest.raises(pv.ConfigurationError, match="0 to 1"):
        plots.histograms(autoencoder, X, dimensions=2)


# -- KL


def test_bars_are_the_kl_per_dimension():
    vae = make(size=5)
    with torch.no_grad():  # the first dimensions say much, the last nothing
        vae.guide.posterior.network.set_output(torch.tensor([[3.0, 0, 1.0, 0, 0], [0.0, 0, 0, 0, 0]]))
    figure = plots.kl(vae, X)
    values = evaluation.kl_per_dimension(vae, X)
    bars = figure.axes[0].patches[:5]
    np.testing.assert_allclose([bar.get_height() for bar in bars], values.sort(descending=True).values, rtol=1e-5)
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == [
        f"$z_{{{d}}}$" for d in values.argsort(descending=True)
    ]
    active = (vae.encode(X).mean.var(0, correction=0) > 0.01).sum().item()
    assert figure.get_suptitle().endswith(f"{values.sum():.2f} nats per datum, {active} of 5 dimensions active")
    assert figure.axes[0].lines[0].get_ydata()[0] == 0.01


@pytest.mark.parametrize(
    ("prior", "posterior"),
    [(priors.MixtureOfNormals(2, 3), None), (priors.StandardNormal(2), posteriors.FullCovarianceNormal())],
)
def test_a_kl_that_does_not_factorise_is_shown_whole(prior, posterior):
    vae = make(prior=prior, posterior=posterior)
    figure = plots.kl(vae, X)
    (bar,) = figure.axes[0].patches
    assert "does not come dimension by dimension" in figure.axes[0].texts[0].get_text()
    expected = evaluation.elbo(vae, X, num_samples=2000).kl.mean().item()
    assert bar.get_width() == pytest.approx(expected, abs=0.1 + 0.1 * abs(expected))


def test_draws_of_a_flow_are_not_taken_for_activity():
    vae = make(size=5, posterior=posteriors.Flow())
    figure = plots.kl(vae, torch.zeros(50, *X.shape[1:]))  # all data are the same, so nothing can depend on the datum
    assert figure.get_suptitle().endswith("0 of 5 dimensions active")


# -- losses


def test_losses_of_a_run():
    vae = make()
    history = pv.fit(vae, X, epochs=3, valid=X)
    figure = plots.losses(history)
    assert [axes.get_title() for axes in figure.axes] == ["ELBO", "reconstruction", "KL"]
    for axes, name in zip(figure.axes, ["elbo", "reconstruction", "kl"], strict=True):
        training, validation = axes.lines
        np.testing.assert_array_equal(training.get_xdata(), [1, 2, 3])
        np.testing.assert_array_equal(training.get_ydata(), history[name])
        np.testing.assert_array_equal(validation.get_ydata(), history[f"valid_{name}"])
        assert axes.get_ylabel() == "nats per datum"


def test_beta_is_drawn_if_it_changes():
    history = {"elbo": [1.0, 2.0], "reconstruction": [3.0, 4.0], "kl": [2.0, 2.0], "beta": [0.5, 1.0]}
    figure = plots.losses(history)
    assert figure.axes[3].lines[0].get_ydata().tolist() == [0.5, 1.0]
    assert len(plots.losses({**history, "beta": [1.0, 1.0]}).axes) == 3


def test_losses_of_an_autoencoder_are_its_reconstruction():
    figure = plots.losses({"elbo": [1.0, 2.0], "reconstruction": [1.0, 2.0], "kl": [0.0, 0.0]})
    assert [axes.get_title() for axes in figure.axes] == ["reconstruction"]


def test_an_empty_history():
    with pytest.raises(pv.ConfigurationError, match="no epochs"):
        plots.losses({})

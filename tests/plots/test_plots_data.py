"""Plots of data: what is shown is what the variant gives, for images and for tables."""

import numpy as np
import pyro.distributions as dist
import pytest
import torch

import pyro_vae as pv
from pyro_vae import data, evaluation, likelihoods, plots, priors
from pyro_vae.errors import ConfigurationError

SHAPE = (1, 6, 5)
GAP = 1


def make(shape=SHAPE, size=2, prior=None, likelihood=None):
    torch.manual_seed(1)
    vae = pv.VAE(prior or priors.StandardNormal(size), likelihood or likelihoods.ContinuousBernoulli(shape))
    with torch.no_grad():  # untrained networks hardly react to their inputs
        for parameter in vae.parameters():
            parameter.mul_(3)
    return vae


def sheet(figure):
    return np.ma.filled(figure.axes[0].images[0].get_array(), np.nan)


def tile(figure, row, column, gap=GAP, shape=SHAPE):
    height, width = shape[-2:]
    top, left = row * (height + gap), column * (width + gap)
    return sheet(figure)[top : top + height, left : left + width]


def labels(ticks):
    return [tick.get_text() for tick in ticks]


# -- samples


def test_samples_are_what_generate_gives():
    vae = make()
    torch.manual_seed(3)
    wanted = vae.generate(12)
    torch.manual_seed(3)
    figure = plots.samples(vae, 12)
    columns = sheet(figure).shape[1] // (SHAPE[2] + GAP) + 1
    for i in range(12):
        np.testing.assert_allclose(tile(figure, i // columns, i % columns), wanted[i, 0], rtol=1e-6)
    # white between the images, and one panel
    assert np.isnan(sheet(figure)[SHAPE[1], 0])
    assert len(figure.axes) == 1
    assert "12 samples" in figure.get_suptitle()


def test_samples_follow_the_prior():
    far = make(prior=priors.Fixed(dist.Normal(5.0, 0.01), size=2))
    near = make()
    near.load_state_dict(far.state_dict(), strict=False)
    torch.manual_seed(0)
    spread = [np.nanstd([tile(plots.samples(vae, 4), 0, i) for i in range(4)], axis=0).max() for vae in (far, near)]
    assert spread[0] < 0.1 * spread[1]


def test_unfinished_rows_are_empty():
    figure = plots.samples(make(), 41)
    columns = sheet(figure).shape[1] // (SHAPE[2] + GAP) + 1
    assert np.isfinite(tile(figure, 40 // columns, 40 % columns)).all()
    assert np.isnan(tile(figure, 40 // columns, columns - 1)).all()


def test_colour_images_are_drawn_in_colour():
    vae = make((3, 6, 5))
    x = torch.rand(2, 3, 6, 5)
    shown = plots.reconstructions(vae, x).axes[0].images[0].get_array()
    np.testing.assert_allclose(shown[:6, :5], x[0].permute(1, 2, 0), rtol=1e-6)


def test_grey_levels_follow_the_support():
    vae = make(likelihood=likelihoods.Categorical(SHAPE, levels=17))
    assert plots.samples(vae, 2).axes[0].images[0].get_clim() == (0, 16)
    vae = pv.VAE(priors.StandardNormal(2), likelihoods.Normal(SHAPE, scale=0.1))
    assert plots.reconstructions(vae, torch.rand(3, *SHAPE)).axes[0].images[0].get_clim() == (0, 1)
    low, high = plots.reconstructions(vae, 3 * torch.randn(30, *SHAPE), 30).axes[0].images[0].get_clim()
    assert low < -3
    assert high > 3


# -- reconstructions


def test_reconstructions_are_below_the_originals():
    vae = make()
    x = torch.rand(8, *SHAPE)
    figure = plots.reconstructions(vae, data.Split(x), n=5)
    wanted = vae.reconstruct(x)
    for i in range(5):
        np.testing.assert_allclose(tile(figure, 0, i), x[i, 0], rtol=1e-6)
        np.testing.assert_allclose(tile(figure, 1, i), wanted[i, 0], rtol=1e-6)
    assert labels(figure.axes[0].get_yticklabels()) == ["original", "reconstruction"]
    assert sheet(figure).shape == (2 * 6 + GAP, 5 * 5 + 4 * GAP)
    np.testing.assert_array_equal(sheet(plots.reconstructions(vae, x.numpy(), n=5)), sheet(figure))


# -- interpolation


def test_interpolation_goes_from_datum_to_datum():
    vae = make()
    x = torch.rand(4, *SHAPE)
    figure = plots.interpolation(vae, x, steps=5)
    z = vae.encode(x).mean
    for pair in (0, 1):
        a, b = 2 * pair, 2 * pair + 1
        np.testing.assert_allclose(tile(figure, pair, 0), x[a, 0], rtol=1e-6)
        np.testing.assert_allclose(tile(figure, pair, 6), x[b, 0], rtol=1e-6)
        for step in range(5):
            wanted = vae.decode(z[a] + step / 4 * (z[b] - z[a])).mean[0]
            np.testing.assert_allclose(tile(figure, pair, step + 1), wanted, rtol=1e-4)
    pairs = x.reshape(2, 2, *SHAPE)
    np.testing.assert_array_equal(sheet(plots.interpolation(vae, pairs, steps=5)), sheet(figure))
    with pytest.raises(pv.DataError, match=r"two by two, got 3.*x\[:2\]"):
        plots.interpolation(vae, x[:3])
    with pytest.raises(pv.ConfigurationError, match=r"steps is a number.*one pair: .*torch\.stack\(\[a, b\]\)"):
        plots.interpolation(vae, x[0], x[1])
    with pytest.raises(pv.ConfigurationError, match="steps must be a whole number of at least 2, got 'two'"):
        plots.interpolation(vae, x[:2], "two")


def test_the_great_circle_keeps_the_norm():
    from pyro_vae.plots.pictures import _along_sphere

    a, b = torch.tensor([2.0, 0, 0]), torch.tensor([0, 2.0, 0])
    weights = torch.linspace(0, 1, 5)[:, None]
    path = _along_sphere(a, b, weights)
    torch.testing.assert_close(path.norm(dim=1), torch.full((5,), 2.0))
    torch.testing.assert_close(path[2], torch.tensor([2**0.5, 2**0.5, 0]))
    torch.testing.assert_close(_along_sphere(a, -a, weights)[2], torch.zeros(3))  # no one circle: a line


# -- manifold


def test_manifold_of_a_normal_prior():
    vae = make(prior=priors.Fixed(dist.Normal(1.0, 2.0), size=2))
    figure = plots.manifold(vae, n=5)
    z = dist.Normal(1.0, 2.0).icdf((torch.arange(5) + 0.5) / 5)
    for row in range(5):
        for column in range(5):  # z_1 grows upwards
            wanted = vae.decode(torch.stack([z[column], z[4 - row]])).mean[0]
            np.testing.assert_allclose(tile(figure, row, column), wanted, rtol=1e-4)
    assert labels(figure.axes[0].get_xticklabels()) == ["−1.6", "−0.049", "1", "2", "3.6"]


def test_manifold_of_other_priors_uses_draws():
    torch.manual_seed(0)
    mixture = priors.MixtureOfNormals(2, components=2)
    with torch.no_grad():
        mixture.loc.copy_(torch.tensor([[-10.0, 3.0], [10.0, 3.0]]))
    vae = make(prior=mixture)
    with torch.no_grad():
        mixture.loc.copy_(torch.tensor([[-10.0, 3.0], [10.0, 3.0]]))
        mixture.raw_scale.zero_()
        mixture.logits.zero_()
    from pyro_vae.plots.quantities import prior_quantiles

    quartiles = prior_quantiles(vae, [0.25, 0.75])
    torch.testing.assert_close(quartiles, torch.tensor([[-10.0, 2.33], [10.0, 3.67]]), atol=0.06, rtol=0)
    assert float(plots.manifold(vae, 4).axes[0].get_xticklabels()[-1].get_text()) > 10


def test_manifold_of_more_dimensions_needs_two_of_them():
    vae = make(size=4)
    with pytest.raises(pv.ConfigurationError, match=r"4 latent dimensions.*dimensions=\(0, 1\).*traversal"):
        plots.manifold(vae)
    with pytest.raises(pv.ConfigurationError, match="0 to 3"):
        plots.manifold(vae, dimensions=(0, 4))
    with pytest.raises(pv.ConfigurationError, match="two different"):
        plots.manifold(vae, dimensions=(1, 1))
    with pytest.raises(pv.ConfigurationError, match="1 latent dimension; use traversal"):
        plots.manifold(make(size=1))
    figure = plots.manifold(vae, 3, dimensions=(3, 1))
    z = torch.zeros(4)
    z[3] = dist.Normal(0.0, 1.0).icdf(torch.tensor(5 / 6))
    np.testing.assert_allclose(tile(figure, 1, 2), vae.decode(z).mean[0], rtol=1e-4)
    assert figure.axes[0].get_xlabel() == "$z_{3}$"


# -- traversal


def test_traversal_from_a_datum():
    vae = make(size=3)
    x = torch.rand(20, *SHAPE)
    figure = plots.traversal(vae, x, n=5)
    kl = evaluation.kl_per_dimension(vae, x)
    order = kl.argsort(descending=True).tolist()
    assert labels(figure.axes[0].get_yticklabels()) == [f"$z_{{{d}}}$\n{kl[d]:.2f} nats" for d in order]
    start = vae.encode(x[:1]).mean[0]
    quantiles = dist.Normal(0.0, 1.0).icdf(torch.linspace(0.01, 0.99, 5))
    for row, d in enumerate(order):
        for column in range(5):
            z = start.clone()
            z[d] = quantiles[column]
            np.testing.assert_allclose(tile(figure, row, column), vae.decode(z).mean[0], rtol=1e-4)


def test_traversal_from_the_median():
    vae = make(size=15)
    figure = plots.traversal(vae, n=3)
    assert len(figure.axes[0].get_yticklabels()) == 12  # those of 15 that matter most
    one = plots.traversal(vae, dimension=14, n=3)
    assert labels(one.axes[0].get_yticklabels()) == ["$z_{14}$"]
    np.testing.assert_allclose(tile(one, 0, 1), vae.decode(torch.zeros(15)).mean[0], rtol=1e-4)
    two = plots.traversal(vae, dimension=[14, 0], n=3)
    np.testing.assert_array_equal(tile(two, 0, 2), tile(one, 0, 2))
    with pytest.raises(pv.ConfigurationError, match="0 to 14"):
        plots.traversal(vae, dimension=15)


def test_traversal_without_a_kl_per_dimension():
    vae = make(prior=priors.MixtureOfNormals(3, components=2))
    figure = plots.traversal(vae, torch.rand(5, *SHAPE), n=3)
    assert sorted(labels(figure.axes[0].get_yticklabels())) == ["$z_{0}$", "$z_{1}$", "$z_{2}$"]


# -- an autoencoder has no prior


def test_autoencoder_draws_what_it_can():
    torch.manual_seed(0)
    autoencoder = pv.Autoencoder(2, likelihoods.ContinuousBernoulli(SHAPE))
    x = torch.rand(40, *SHAPE)
    for plot in (plots.samples, plots.manifold, plots.traversal):
        with pytest.raises(pv.ConfigurationError, match="no p\\(z\\) to draw from"):
            plot(autoencoder)
    with pytest.raises(pv.ConfigurationError, match="no KL"):
        plots.kl(autoencoder, x)
    with pytest.raises(pv.DataError, match="at least 10"):
        plots.traversal(autoencoder, x[:1])
    figure = plots.traversal(autoencoder, x, dimension=1, n=3)
    z = autoencoder.encode(x).mean
    wanted = z[0].clone()
    wanted[1] = z[:, 1].quantile(0.01)
    np.testing.assert_allclose(tile(figure, 0, 0), autoencoder.decode(wanted).mean[0], rtol=1e-4)
    assert plots.reconstructions(autoencoder, x).axes
    assert plots.interpolation(autoencoder, x[:2]).axes


# -- tables


def test_tables_are_heat_maps():
    vae = make((4,), likelihood=likelihoods.Normal((4,), scale=1.0))
    x, names = torch.randn(9, 4), ["a", "b", "c", "d"]
    torch.manual_seed(5)
    wanted = vae.generate(6)
    torch.manual_seed(5)
    figure = plots.samples(vae, 6, feature_names=names)
    np.testing.assert_allclose(sheet(figure), wanted, rtol=1e-6)
    assert labels(figure.axes[0].get_xticklabels()) == names

    figure = plots.reconstructions(vae, x, feature_names=names)
    above, below, bar = figure.axes
    np.testing.assert_allclose(above.images[0].get_array(), x, rtol=1e-6)
    np.testing.assert_allclose(below.images[0].get_array(), vae.reconstruct(x), rtol=1e-4)
    assert (above.get_title(), below.get_title()) == ("original", "reconstruction")
    assert bar.get_ylabel() == "value"
    assert above.images[0].get_clim() == below.images[0].get_clim()

    assert plots.interpolation(vae, x[:2], 5).axes[0].images[0].get_array().shape == (7, 4)
    assert [axes.images[0].get_array().shape for axes in plots.traversal(vae, n=5).axes[:2]] == [(5, 4), (5, 4)]
    plane = plots.manifold(vae, 3, feature_names=names)
    assert [axes.get_title() for axes in plane.axes[:4]] == names
    np.testing.assert_allclose(plane.axes[2].images[0].get_array()[1, 1], vae.decode(torch.zeros(2)).mean[2], rtol=1e-4)
    with pytest.raises(pv.ConfigurationError, match="2 features"):
        plots.samples(vae, feature_names=["a", "b"])


def test_ends_that_are_not_in_order_are_refused():
    with pytest.raises(ConfigurationError, match="darkest and the brightest"):
        plots.images(torch.rand(4, 1, 8, 8), ends=(1.0, 0.0))

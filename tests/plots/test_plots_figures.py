"""What all plots have in common: figures that show themselves, no global state, errors that help."""

import subprocess
import sys

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

import pyro_vae as pv
from pyro_vae import likelihoods, plots, priors
from pyro_vae.plots.style import CLASSES, FIRST, SECOND, class_colours


def make(shape=(1, 6, 5), size=2, prior=None):
    torch.manual_seed(0)
    return pv.VAE(prior or priors.StandardNormal(size), likelihoods.ContinuousBernoulli(shape))


def every_plot(vae, x, y):
    return {
        "samples": plots.samples(vae, 12),
        "reconstructions": plots.reconstructions(vae, x, 4),
        "interpolation": plots.interpolation(vae, x[:2]),
        "manifold": plots.manifold(vae, 3),
        "traversal": plots.traversal(vae, x, n=3),
        "latent": plots.latent(vae, x, y),
        "histograms": plots.histograms(vae, x, y),
        "kl": plots.kl(vae, x),
        "losses": plots.losses({"elbo": [1.0, 2.0], "reconstruction": [2.0, 3.0], "kl": [1.0, 1.0]}),
    }


@pytest.mark.parametrize("shape", [(1, 6, 5), (3, 6, 5), (6, 5), (7,)])
def test_every_plot_shows_itself_and_leaves_no_trace(shape):
    vae = make(shape)
    x, y = torch.rand(30, *shape), torch.arange(30) % 3 - 1
    before, random_state = dict(matplotlib.rcParams), torch.get_rng_state()
    for name, figure in every_plot(vae, x, y).items():
        png = figure._repr_png_()
        assert png.startswith(b"\x89PNG"), name
        # width in the header of the file: readable, and not wider than a notebook's column
        assert 330 <= int.from_bytes(png[16:20], "big") <= 1000, name
        if name == "samples":  # generate draws from the global state, as always
            torch.set_rng_state(random_state)
    assert dict(matplotlib.rcParams) == before
    if "matplotlib.pyplot" in sys.modules:
        assert not sys.modules["matplotlib.pyplot"].get_fignums()
    assert not vae.training or vae.train()


def test_what_a_user_draws_on_a_figure_has_the_style():
    before = dict(matplotlib.rcParams)
    axes = plots.Figure(4, 3, "mine").subplots()
    (first,), (second,) = axes.plot([1, 2]), axes.plot([2, 1])
    assert not axes.spines["top"].get_visible()
    assert [to_rgb(line.get_color()) for line in (first, second)] == [to_rgb(FIRST), to_rgb(SECOND)]
    assert dict(matplotlib.rcParams) == before


def test_only_samples_move_the_random_state():
    vae = make()
    x = torch.rand(30, 1, 6, 5)
    state = torch.get_rng_state()
    for plot in (plots.reconstructions, plots.traversal, plots.latent, plots.histograms, plots.kl):
        plot(vae, x)
    plots.manifold(vae, 3)
    assert torch.equal(torch.get_rng_state(), state)
    one, two = plots.samples(vae, 4), plots.samples(vae, 4)
    assert not np.array_equal(one.axes[0].images[0].get_array(), two.axes[0].images[0].get_array())


def test_figures_look_the_same_under_other_settings():
    vae = make()
    x = torch.rand(30, 1, 6, 5)
    figure = plots.latent(vae, x)
    plain = figure._repr_png_()
    with matplotlib.rc_context({"xtick.labelsize": 30, "axes.facecolor": "black", "text.color": "red"}):
        assert plots.latent(vae, x)._repr_png_() == plain
        assert figure._repr_png_() == plain


def test_library_and_plots_import_lazily():
    code = (
        "import sys, pyro_vae as pv; assert 'matplotlib' not in sys.modules, 'matplotlib with the library'; "
        "pv.plots.losses({'elbo': [1.0]})._repr_png_(); assert 'matplotlib.pyplot' not in sys.modules, 'pyplot'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)


def test_a_variant_in_training_stays_so():
    vae = make().train()
    plots.kl(vae, torch.rand(5, 1, 6, 5))
    assert vae.training


@pytest.mark.parametrize("shape", [(2, 4, 4), (1, 2, 3, 4)])
def test_data_that_are_no_pictures(shape):
    vae = make(shape)
    x = torch.rand(20, *shape)
    for plot in (
        lambda: plots.samples(vae, 2),
        lambda: plots.reconstructions(vae, x),
        lambda: plots.interpolation(vae, x[:2]),
        lambda: plots.manifold(vae, 2),
        lambda: plots.traversal(vae),
    ):
        with pytest.raises(pv.ConfigurationError, match="cannot be drawn: images have shape"):
            plot()
    assert plots.latent(vae, x).axes  # codes can be drawn all the same


def test_data_that_do_not_fit():
    vae = make()
    for plot in (plots.reconstructions, plots.latent, plots.histograms, plots.kl, plots.interpolation):
        with pytest.raises(pv.DataError, match="do not fit"):
            plot(vae, torch.rand(4, 9))
    with pytest.raises(pv.DataError, match="one label for each of 6 data"):
        plots.latent(vae, torch.rand(6, 1, 6, 5), [0, 1])
    with pytest.raises(pv.DataError, match="choose one column"):
        plots.latent(vae, torch.rand(6, 1, 6, 5), torch.rand(6, 2))
    with pytest.raises(pv.ConfigurationError, match="n must be a whole number"):
        plots.samples(vae, 0)


# -- colours

# simulated protanopia, deuteranopia and tritanopia: Machado, Oliveira & Fernandes, 2009, table 1, severity 1
_MACHADO = [
    np.eye(3),
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
]


def lab(colours, matrix):
    rgb = np.array([to_rgb(colour) for colour in colours])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ np.transpose(matrix)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = linear.clip(0, 1) @ np.transpose(to_xyz) / [0.9505, 1, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], 1)


@pytest.mark.parametrize("matrix", _MACHADO)
def test_class_colours_differ_for_everybody(matrix):
    points = lab(CLASSES, matrix)
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1)[np.triu_indices(len(CLASSES), 1)]
    assert len(CLASSES) == 10
    assert distances.min() > 15


def test_a_class_keeps_its_colour():
    some, _ = class_colours(np.array([2, 7]))
    everything, cmap = class_colours(np.arange(10))
    assert np.array_equal(some, everything[[2, 7]])
    assert cmap is None
    many, cmap = class_colours(np.arange(24))
    assert cmap is not None
    assert len(np.unique(many, axis=0)) == 24

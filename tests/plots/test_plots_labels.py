"""Plots of variants with labels: what is shown is what the variant gives for the label that is named."""

import numpy as np
import pytest
import torch

import pyro_vae as pv
from pyro_vae import data, evaluation, labels, likelihoods, plots, priors

SHAPE = (1, 6, 5)
K = 3
X = torch.rand(12, *SHAPE, generator=torch.Generator().manual_seed(0))
Y = torch.arange(12) % K


def lively(variant, scale=3.0):
    """Untrained networks hardly react to their inputs."""
    with torch.no_grad():
        for parameter in variant.parameters():
            parameter.mul_(scale)
    return variant


def make(cls, label=None, size=2, **others):
    torch.manual_seed(1)
    label = label or labels.Categorical(K)
    return lively(cls(label, priors.StandardNormal(size), likelihoods.ContinuousBernoulli(SHAPE), **others))


def m1m2():
    torch.manual_seed(1)
    m1 = pv.VAE(priors.StandardNormal(4), likelihoods.ContinuousBernoulli(SHAPE))
    return lively(pv.M1M2(m1, labels.Categorical(K), priors.StandardNormal(2)))


def classifier():
    torch.manual_seed(1)
    return lively(pv.Discriminative(labels.Categorical(K), SHAPE))


def structured():
    torch.manual_seed(1)
    return lively(pv.StructuredOutputVAE(priors.ConditionalNormal(2), likelihoods.ContinuousBernoulli(7), shape=4))


def sheet(figure):
    return np.ma.filled(figure.axes[0].images[0].get_array(), np.nan)


def tile(figure, row, column, gap=1):
    top, left = row * (SHAPE[1] + gap), column * (SHAPE[2] + gap)
    return sheet(figure)[top : top + SHAPE[1], left : left + SHAPE[2]]


def texts(ticks):
    return [tick.get_text() for tick in ticks]


# -- labels


def test_styles_are_one_code_with_every_class():
    vae = make(pv.M2)
    figure = plots.styles(vae, data.Split(X, Y), n=4)
    z = vae.encode(X[:4], Y[:4]).mean
    for row in range(4):
        np.testing.assert_allclose(tile(figure, row, 0), X[row, 0], rtol=1e-6)
        for k in range(K):
            np.testing.assert_allclose(tile(figure, row, k + 1), vae.decode(z[row], k).mean[0], rtol=1e-4)
    assert texts(figure.axes[0].get_xticklabels()) == ["datum", "0", "1", "2"]
    # what is missing is predicted
    predicted = vae.predict(X[:4]).probs.argmax(-1)
    np.testing.assert_array_equal(sheet(plots.styles(vae, X, n=4)), sheet(plots.styles(vae, X[:4], predicted)))
    with pytest.raises(pv.DataError, match="needs the label of every datum"):
        plots.styles(make(pv.ConditionalVAE), X)
    with pytest.raises(pv.ConfigurationError, match="decodes codes without labels"):
        plots.styles(make(pv.PredictionConstrainedVAE), X)


@pytest.mark.parametrize("variant", [make(pv.ConditionalVAE), make(pv.M2), m1m2()])
def test_conditional_samples_are_what_generate_gives(variant):
    torch.manual_seed(3)
    wanted = variant.generate(K * 4, torch.arange(K).repeat_interleave(4))
    torch.manual_seed(3)
    figure = plots.conditional_samples(variant, 4, class_names=["a", "b", "c"])
    for i in range(K * 4):
        np.testing.assert_allclose(tile(figure, i // 4, i % 4), wanted[i, 0], rtol=1e-4)
    assert texts(figure.axes[0].get_yticklabels()) == ["a", "b", "c"]
    with pytest.raises(pv.ConfigurationError, match="do not depend on labels"):
        plots.conditional_samples(make(pv.PredictionConstrainedVAE))


def test_properties_take_seven_values():
    torch.manual_seed(0)
    vae = pv.SemiSupervisedVAE(labels.Normal(1), priors.StandardNormal(2), likelihoods.Normal(4))
    vae.label.initialise_from(torch.tensor([[9.0], [11.0], [10.0]]))
    figure = plots.conditional_samples(vae, 3)
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == ["y = 9", "y = 9.33", "y = 9.67", "y = 10", "y = 10.3", "y = 10.7", "y = 11"]
    assert len(plots.styles(vae, torch.randn(5, 4), n=2).axes) == 3


# -- predictions


def test_confusion_shows_the_counts():
    variant = classifier()
    figure = plots.confusion(variant, data.Split(X, Y), class_names=["a", "b", "c"])
    counts = evaluation.confusion(variant, X, Y).counts
    shown = {tuple(map(round, text.get_position()[::-1])): text.get_text() for text in figure.axes[0].texts}
    assert shown == {(i, j): str(counts[i, j].item()) for i, j in counts.nonzero().tolist()}
    np.testing.assert_allclose(sheet(figure), counts / counts.sum(1, keepdim=True))
    assert figure.get_suptitle().startswith(f"Accuracy {counts.trace() / 12:.1%}")
    assert texts(figure.axes[0].get_yticklabels()) == ["a", "b", "c"]
    again = plots.confusion(evaluation.confusion(variant, X, Y), class_names=["a", "b", "c"])
    assert again._repr_png_() == figure._repr_png_()
    with pytest.raises(pv.DataError, match="give data, or what evaluation found"):
        plots.confusion(variant)


def test_reliability_is_the_table():
    variant = classifier()
    figure = plots.reliability(variant, X, Y, bins=5)
    table = evaluation.calibration(variant, X, Y, bins=5)
    some = table.count > 0
    above, below = figure.axes
    np.testing.assert_allclose([bar.get_height() for bar in above.patches], table.accuracy[some])
    np.testing.assert_allclose([bar.get_x() for bar in above.patches], table.edges[:-1][some])
    np.testing.assert_allclose([bar.get_height() for bar in below.patches], table.count[some])
    assert f"{table.ece:.3f} over 12 data" in figure.get_suptitle()
    assert plots.reliability(table)._repr_png_() == figure._repr_png_()


def test_properties_are_predicted_against_true():
    torch.manual_seed(0)
    variant = pv.Discriminative(labels.Normal(2), 4)
    x, y = torch.randn(9, 4), torch.randn(9, 2)
    figure = plots.properties(variant, x, y, names=["mass", "charge"])
    error = evaluation.mean_absolute_error(variant, x, y)
    for p, (axes, name) in enumerate(zip(figure.axes, ["mass", "charge"], strict=True)):
        wanted = torch.stack([y[:, p], variant.predict(x).mean[:, p]], 1)
        np.testing.assert_allclose(axes.collections[0].get_offsets(), wanted, rtol=1e-5)
        assert axes.get_title() == f"{name}: mean error {error[p]:.3g}"
    many = pv.Discriminative(likelihoods.Normal(20), 4)
    assert len([a for a in plots.properties(many, x, torch.randn(9, 20)).axes if a.collections]) == 12


def test_predictions_of_what_predicts_nothing():
    cvae = make(pv.ConditionalVAE)
    for plot in (plots.confusion, plots.reliability, plots.properties):
        with pytest.raises(pv.DataError, match="predicts no labels"):
            plot(cvae, X, Y)


def test_accuracy_is_drawn_beside_the_losses():
    history = {name: [1.0, 2.0] for name in ("elbo", "reconstruction", "kl", "valid_accuracy")}
    figure = plots.losses(history | {"beta": [0.0, 1.0]})
    assert [axes.get_title() for axes in figure.axes if axes.get_title()] == [
        "ELBO",
        "reconstruction",
        "KL",
        "accuracy",
        "weight of the KL, beta",
    ]
    assert figure.axes[3].lines[0].get_ydata().tolist() == [1.0, 2.0]


# -- the plots that all variants share


@pytest.mark.parametrize("cls", [pv.ConditionalVAE, pv.M2])
def test_codes_are_decoded_with_the_label(cls):
    vae = make(cls)
    figure = plots.manifold(vae, 3, y=2)
    np.testing.assert_allclose(tile(figure, 1, 1), vae.decode(torch.zeros(2), 2).mean[0], rtol=1e-4)
    assert "y = 2" in figure.get_suptitle()
    along = plots.traversal(vae, dimension=0, n=3, y=1)
    np.testing.assert_allclose(tile(along, 0, 1), vae.decode(torch.zeros(2), 1).mean[0], rtol=1e-4)
    for plot in (plots.manifold, plots.traversal):
        with pytest.raises(pv.DataError, match="say which one"):
            plot(vae)
    z = vae.encode(X[:1], Y[:1]).mean[0]
    z[1] = 0.0
    held = plots.traversal(vae, X, 1, 3, y=Y)
    np.testing.assert_allclose(tile(held, 0, 1), vae.decode(z, Y[0]).mean[0], rtol=1e-4)
    rows = plots.reconstructions(vae, data.Split(X, Y), 3)
    np.testing.assert_allclose(tile(rows, 1, 2), vae.reconstruct(X[:3], Y[:3])[2, 0], rtol=1e-4)


def test_interpolation_stays_within_a_class():
    vae = make(pv.ConditionalVAE)
    figure = plots.interpolation(vae, X[[0, 3]], 3, y=Y[[0, 3]])
    z = vae.encode(X[[0, 3]], Y[[0, 3]]).mean
    np.testing.assert_allclose(tile(figure, 0, 2), vae.decode(z.mean(0), 0).mean[0], rtol=1e-4)
    np.testing.assert_array_equal(sheet(plots.interpolation(vae, X[[0, 3]], 3, y=0)), sheet(figure))
    with pytest.raises(pv.DataError, match="pair 0 is of classes 0 and 1"):
        plots.interpolation(vae, X[:2], y=Y[:2])
    # codes that are decoded alone may be of any class
    assert plots.interpolation(make(pv.PredictionConstrainedVAE), X[:2], y=Y[:2]).axes


def test_properties_go_along_the_line():
    vae = make(pv.ConditionalVAE, labels.Normal(1))
    y = torch.tensor([[1.0], [3.0]])
    figure = plots.interpolation(vae, X[:2], 3, y=y)
    z = vae.encode(X[:2], y).mean.mean(0)
    np.testing.assert_allclose(tile(figure, 0, 2), vae.decode(z, torch.tensor([2.0])).mean[0], rtol=1e-4)


def test_latent_reads_known_labels_and_predicts_the_others():
    vae = make(pv.M2)
    y = Y.clone()
    y[::2] = -1
    shown = plots.latent(vae, X, y).axes[0].collections[-1].get_offsets()
    completed = torch.where(y >= 0, y, vae.predict(X).probs.argmax(-1))
    order = np.argsort(y.numpy() >= 0, kind="stable")
    np.testing.assert_allclose(shown, vae.encode(X, completed).mean[order], rtol=1e-4)
    with pytest.raises(pv.DataError, match="needs the label"):
        plots.latent(make(pv.ConditionalVAE), X)
    two = make(pv.SemiSupervisedVAE, labels.Normal(2))
    figure = plots.latent(two, X, torch.randn(12, 2))  # of several properties the first is shown
    assert len(figure.axes) == 2


def test_kl_of_labelled_data():
    vae = make(pv.M2, size=4)
    values = evaluation.kl_per_dimension(vae, X, Y)
    figure = plots.kl(vae, X, Y)
    np.testing.assert_allclose(
        [bar.get_height() for bar in figure.axes[0].patches[:4]], values.sort(descending=True).values, rtol=1e-5
    )
    assert plots.kl(m1m2(), X, Y).get_suptitle().startswith("KL of all that is latent")


def test_the_prior_of_stacked_codes_is_that_of_the_story():
    variant = m1m2()
    from pyro_vae.plots.quantities import prior_draws

    z = prior_draws(variant, 8000)
    with torch.no_grad():
        y, z2 = torch.arange(6000) % K, torch.randn(6000, 2)
        wanted = variant.model.middle(z2, y).sample()
    assert z.shape == (8000, 4)
    spread = wanted.std(0)
    assert ((z.mean(0) - wanted.mean(0)).abs() < 0.35 * spread).all()
    assert ((z.std(0) / spread).log().abs() < 0.3).all()
    for figure in (plots.traversal(variant, X, n=3), plots.latent(variant, X, Y), plots.samples(variant, 4, y=1)):
        assert figure._repr_png_()


def test_where_x_has_no_story_what_it_explains_is_shown():
    variant = structured()
    x, y = torch.randn(12, 4), torch.rand(12, 7)
    above, below, _ = plots.reconstructions(variant, x, 3, y=y).axes
    np.testing.assert_allclose(above.images[0].get_array(), y[:3], rtol=1e-6)
    np.testing.assert_allclose(below.images[0].get_array(), variant.reconstruct(x[:3], y[:3]), rtol=1e-4)
    assert plots.latent(variant, x, y).get_suptitle().endswith("q(z | x, y)")
    assert plots.kl(variant, x, y).axes
    assert plots.histograms(variant, x, y).axes
    with pytest.raises(pv.ConfigurationError, match="no story of x"):
        plots.samples(variant)
    for plot in (lambda: plots.interpolation(variant, x[:2], y=y[:2]), lambda: plots.traversal(variant, x, y=y)):
        with pytest.raises(pv.ConfigurationError, match=r"decodes z together with x|only p\(z \| x\)"):
            plot()
    with pytest.raises(pv.ConfigurationError, match=r"only p\(z \| x\)"):
        plots.manifold(variant)


def test_nothing_latent_nothing_to_draw():
    variant = classifier()
    for plot in (plots.latent, plots.histograms, plots.kl, plots.reconstructions, plots.traversal, plots.styles):
        with pytest.raises(pv.ConfigurationError, match="no codes"):
            plot(variant, X, y=Y)
    with pytest.raises(pv.ConfigurationError, match="no codes"):
        plots.manifold(variant)
    with pytest.raises(pv.ConfigurationError, match="no story of x"):
        plots.samples(variant)
    for call in (
        lambda: variant.encode(X, Y),
        lambda: variant.decode(torch.zeros(2)),
        lambda: variant.reconstruct(X, Y),
    ):
        with pytest.raises(pv.ConfigurationError, match="nothing in it is latent"):
            call()


def test_labels_are_not_wanted_everywhere():
    torch.manual_seed(0)
    vae = pv.VAE(priors.StandardNormal(2), likelihoods.ContinuousBernoulli(SHAPE))
    for plot in (lambda: plots.manifold(vae, y=1), lambda: plots.traversal(vae, y=1), lambda: plots.samples(vae, y=1)):
        with pytest.raises(pv.DataError, match="do not depend on labels"):
            plot()
    # a split's labels are colours, and otherwise left aside
    split = data.Split(X, Y)
    for plot in (plots.reconstructions, plots.interpolation, plots.traversal, plots.latent, plots.histograms, plots.kl):
        assert plot(vae, split).axes

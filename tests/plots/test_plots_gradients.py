"""The picture of gradient estimators shows what the table says."""

import numpy as np

from pyro_vae import evaluation, objectives, plots, posteriors, priors
from tests.family import data_for, vae


def test_variances_and_ratios_are_drawn_where_they_are():
    variant = vae(priors.Bernoulli(2), posteriors.Bernoulli())
    estimators = {"vimco": objectives.VIMCO(3), "score": objectives.ScoreFunction()}
    table = evaluation.gradient_variance(variant, data_for(variant, 16), estimators=estimators, num_draws=5)
    figure = plots.gradient_variance(table)
    left, right = figure.axes
    assert left.get_xscale() == right.get_xscale() == "log"
    groups = [label.get_text() for label in left.get_yticklabels()]
    assert groups == ["model.prior", "model.likelihood", "guide.posterior"]
    lines = {line.get_label(): line for line in left.lines if not line.get_label().startswith("_")}
    assert list(lines) == ["vimco", "score"]
    for name, line in lines.items():
        expected = table.frame.set_index(["estimator", "group"]).loc[name]["variance"]
        np.testing.assert_allclose(line.get_xdata(), expected.to_numpy())
        assert np.round(line.get_ydata()).tolist() == [0, 1, 2]
    assert {text.get_text() for text in figure.legends[0].get_texts()} == {"vimco", "score"}
    assert figure._repr_png_()
    # what has no variance has no place on a logarithmic scale
    table.frame["variance"] = 0.0
    left = plots.gradient_variance(table).axes[0]
    assert all(not len(line.get_xdata()) for line in left.lines if not line.get_label().startswith("_"))

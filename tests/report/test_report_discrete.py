"""Pages about discrete codes and about layers of codes: complete, and what cannot be drawn is said."""

import pytest

from pyro_vae import data, likelihoods, report
from tests.family import bits, discrete, hierarchical

LIKELIHOOD = likelihoods.ContinuousBernoulli


@pytest.fixture(scope="module")
def few():
    digits = data.load("digits")
    return data.Split(digits.test.x[:64], digits.test.y[:64])


@pytest.mark.parametrize(
    ("make", "is_discrete"),
    [
        (lambda likelihood: discrete("classes", likelihood, gradient="straight_through"), True),
        (lambda likelihood: hierarchical(likelihood=likelihood), False),
        (lambda likelihood: hierarchical(bits(3, above=True), bits(2, enumerate=True), likelihood=likelihood), True),
    ],
)
def test_a_page_is_written(tmp_path, few, make, is_discrete):
    variant = make(LIKELIHOOD(few.x.shape[1:]))
    text = report.write(variant, few, tmp_path / "page.html", num_samples=10).read_text(encoding="utf-8")
    assert ("are discrete, with nothing between them" in text) == is_discrete
    assert text.count("<img") >= 4

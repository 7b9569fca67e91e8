"""Messages in which a reader missed what to do, each with the test that would have shown it."""

import numpy as np
import pyro.distributions as dist
import pytest
import torch

import pyro_vae as pv
from pyro_vae import data, evaluation, likelihoods, networks, posteriors, priors, report


class NoForward(priors.Prior):
    """A prior that forgets to be one."""


class NoDistribution(likelihoods.Likelihood):
    """A likelihood that forgets to be one."""


class Missing(torch.utils.data.Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, i):
        return torch.zeros(3), None if i else 1


@pytest.mark.parametrize(
    ("use", "error", "said"),
    [
        (
            lambda: pv.VAE(dist.Normal(0.0, 1.0), likelihoods.Normal(3)),
            pv.ConfigurationError,
            r"a prior that is not trained: priors\.Fixed\(Normal\(\.\.\.\)\)",
        ),
        (
            lambda: pv.VAE(priors.StandardNormal(2), likelihoods.Normal(3), encoder=[10, 20]),
            pv.ConfigurationError,
            r"networks\.MLP\(\[10, 20\]\)",
        ),
        (
            lambda: pv.VAE(NoForward(2), likelihoods.Normal(3)),
            pv.ConfigurationError,
            "NoForward lacks a method forward",
        ),
        (
            lambda: pv.VAE(priors.StandardNormal(2), NoDistribution(3)),
            pv.ConfigurationError,
            "NoDistribution lacks a method distribution",
        ),
        (
            lambda: networks.OnCodes(
                pv.VAE(priors.StandardNormal(2), likelihoods.Normal(3), posteriors.Flow(1)), networks.MLP([4])
            ),
            pv.ConfigurationError,
            r"codes are means here, and Flow\(1\) has none in closed form",
        ),
        (lambda: data.as_split(Missing()), TypeError, "y of some items is None; a label that is missing is -1"),
        (lambda: data.labelled_subset((torch.zeros(2, 3), torch.zeros(2)), 1), TypeError, r"data\.Split\(x, y\)"),
        (lambda: pv.training.History(valid_elbo=[1.0])["val_elbo"], KeyError, "did you mean 'valid_elbo'"),
        (lambda: pv.training.History(loss=[1.0])["speed"], KeyError, "there are loss"),
        (
            lambda: data.labelled_subset(data.load("digits").train, 0.05),
            TypeError,
            r"for a share of them: round\(0\.05 \* len\(split\)\)",
        ),
    ],
)
def test_what_to_do_is_said(use, error, said):
    with pytest.raises(error, match=said):
        use()


def test_numbers_that_are_no_bound_are_not_shown_as_one():
    x = torch.randn(8, 3)
    delta = pv.VAE(priors.StandardNormal(2), likelihoods.Normal(3), posteriors.Delta())
    improper = pv.VAE(priors.Improper(2), likelihoods.Normal(3))
    for variant in (delta, improper):
        found = report.numbers(variant, x, num_samples=5)
        assert list(found.rows) == ["reconstruction"]
        assert any("no density" in note for note in found.notes)
    without_density = likelihoods.UnnormalisedBernoulli(3)
    found = report.numbers(pv.VAE(priors.StandardNormal(2), without_density), torch.rand(8, 3), num_samples=5)
    assert {"reconstruction", "kl"} <= set(found.rows)
    network = networks.MLP([4])
    plain = pv.VAE(priors.StandardNormal(2), likelihoods.Normal(3), encoder=network)
    assert set(report.numbers(plain, x, num_samples=5).rows) == {"elbo", "reconstruction", "kl", "log_likelihood"}


def test_a_report_on_one_datum_says_nothing_that_needs_two(tmp_path):
    vae = pv.VAE(priors.StandardNormal(2), likelihoods.Normal(3))
    text = report.write(vae, torch.randn(1, 3), tmp_path / "page.html", num_samples=5).read_text(encoding="utf-8")
    assert ">nan<" not in text
    assert "From one test datum to another" not in text
    assert "nan" not in str(pv.story(vae).ledger(torch.randn(1, 3)))


def test_arrays_of_counts_are_taken_everywhere_as_training_takes_them():
    x = np.random.default_rng(0).poisson(3, (20, 4))
    variant = pv.VAE(priors.StandardNormal(2), likelihoods.Normal(4))
    as_floats = x.astype("float32")
    torch.testing.assert_close(variant.encode(x).mean, variant.encode(as_floats).mean)
    assert (
        evaluation.log_likelihood(variant.double(), x.astype("float64") + 1e-12, num_samples=5).dtype == torch.float64
    )

"""What codes say: active units, mutual information and the aggregate posterior against a linear-Gaussian model."""

import math

import numpy as np
import pytest
import torch

import pyro_vae as pv
from pyro_vae import evaluation, likelihoods, networks, posteriors, priors
from tests import family
from tests.ppca import DATA, PPCA, SIGMA, SIZE
from tests.statistics import assert_mean


def covariance_of_x(ppca):
    return ppca.w @ ppca.w.T + SIGMA**2 * torch.eye(DATA, dtype=torch.float64)


def information(ppca, sigma=SIGMA):
    """I(x; z) = 1/2 log det(I + W^T W / sigma^2)."""
    return 0.5 * torch.logdet(torch.eye(SIZE, dtype=torch.float64) + ppca.w.T @ ppca.w / sigma**2).item()


# -- active units


def test_active_units_are_the_variances_of_the_means():
    ppca = PPCA()
    x = ppca.draw(500)
    found = evaluation.active_units(ppca.vae, x, batch_size=7)
    means = (x - ppca.mu) @ ppca.gain.T
    np.testing.assert_allclose(found.dataset["variance"], means.var(0, correction=0), rtol=1e-6)
    expected = (ppca.gain @ covariance_of_x(ppca) @ ppca.gain.T).diagonal()
    np.testing.assert_allclose(found.dataset["variance"], expected, rtol=4 * math.sqrt(2 / 500))
    assert found.count == SIZE


def test_a_dimension_that_does_not_look_at_the_data_is_idle():
    ppca = PPCA()
    dead = ppca.gain.clone()
    dead[1] = 0.0
    ppca.set_guide(dead, torch.ones(SIZE), torch.eye(SIZE))
    found = evaluation.active_units(ppca.vae, ppca.draw(50))
    assert found.active.tolist() == [True, False]
    assert found.dataset["variance"][1] < 1e-12
    assert "1 of 2 dimensions active" in repr(found)
    assert evaluation.active_units(ppca.vae, ppca.draw(50), threshold=1e3).count == 0


def test_the_noise_of_means_that_are_drawn_is_no_activity():
    torch.manual_seed(0)
    vae = family.randomised(family.vae(posterior="flow"))
    x = family.data_for(vae, 1).expand(40, *vae.shape)  # one and the same datum
    draws = [evaluation.active_units(vae, x, num_samples=5, seed=s).dataset["variance"].values for s in range(30)]
    assert_mean(torch.as_tensor(np.stack(draws)), torch.zeros(family.D))


# -- mutual information


def test_the_rate_is_the_kl_and_its_parts_add_up():
    ppca = PPCA()
    ppca.set_wrong_guide()
    x = ppca.draw(40)
    found = evaluation.mutual_information(ppca.vae, x, num_samples=3)
    torch.testing.assert_close(torch.as_tensor(found.dataset["rate"].values), evaluation.elbo(ppca.vae, x).kl)
    assert found.rate == pytest.approx(found.mutual_information + found.marginal_kl)


def test_both_bounds_close_in_on_the_information_of_the_model():
    ppca = PPCA()
    truth = information(ppca)
    few = [evaluation.mutual_information(ppca.vae, ppca.draw(20), seed=s) for s in range(150)]
    below, above = (torch.tensor([getattr(f, name) for f in few]) for name in ("mutual_information", "upper_bound"))
    assert below.mean() + 4 * below.std() / math.sqrt(150) < truth  # biased, and by how much is seen
    assert above.mean() > truth + 2 * above.std() / math.sqrt(150)
    many = evaluation.mutual_information(ppca.vae, ppca.draw(3000))
    error = many.dataset["mutual_information"].std().item() / math.sqrt(3000)
    assert many.mutual_information == pytest.approx(truth, abs=4 * error)
    assert many.upper_bound == pytest.approx(truth, abs=4 * error)
    assert many.upper_bound - many.mutual_information < 0.3 * (above - below).mean()


def test_n_data_tell_at_most_log_n():
    ppca = PPCA()
    sharp = torch.linalg.cholesky(ppca.covariance) * 1e-3
    ppca.set_guide(ppca.gain, -ppca.gain @ ppca.mu, sharp)
    found = evaluation.mutual_information(ppca.vae, ppca.draw(50))
    assert found.mutual_information == pytest.approx(math.log(50), abs=1e-3)
    assert found.upper_bound > 3 * math.log(50)
    assert found.largest == pytest.approx(math.log(50))


def test_codes_that_ignore_the_data_say_nothing():
    ppca = PPCA()
    ppca.set_guide(torch.zeros(SIZE, DATA), torch.tensor([1.0, 0.0]), torch.eye(SIZE))
    found = evaluation.mutual_information(ppca.vae, ppca.draw(30))
    assert found.mutual_information == pytest.approx(0, abs=1e-6)
    assert found.marginal_kl == pytest.approx(0.5, abs=1e-6)  # KL(N(m, I) || N(0, I)) = |m|^2 / 2


def test_chunks_and_seeds():
    vae = family.randomised(family.vae(prior="mixture", posterior="full_covariance"))
    x = family.data_for(vae, 23)
    state = torch.get_rng_state()
    first, again, other = (
        evaluation.mutual_information(vae, x, num_samples=2, chunk=chunk, seed=seed)
        for chunk, seed in ((100_000, 0), (23 * 4, 0), (100_000, 1))
    )
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_allclose(again.dataset["upper_bound"], first.dataset["upper_bound"], rtol=1e-4)
    assert not np.allclose(other.dataset["upper_bound"], first.dataset["upper_bound"])


def test_what_has_no_information():
    with pytest.raises(pv.ConfigurationError, match="has no codes"):
        evaluation.mutual_information(family.VARIANTS["discriminative"](), torch.zeros(3, *family.IMAGE))
    autoencoder = family.VARIANTS["autoencoder"]()
    with pytest.raises(pv.DataError, match=r"needs densities of q.* and p.*: Delta.*Improper.* have none"):
        evaluation.mutual_information(autoencoder, torch.zeros(3, *family.IMAGE))
    with pytest.raises(pv.DataError, match="at least two data"):
        evaluation.mutual_information(family.vae(), torch.zeros(1, *family.IMAGE))
    structured = family.VARIANTS["structured_output"]()
    found = evaluation.mutual_information(structured, *family.arguments_for(structured, 4))
    assert math.isnan(found.marginal_kl), "p(z | x) is no p(z)"
    assert found.mutual_information <= math.log(4) + 1e-6


# -- two samples


def test_mmd_is_zero_on_average_for_one_distribution_and_known_for_two_normals():
    n, size, h, shift = 30, 2, 1.5, torch.tensor([0.8, 0.0])
    draws = {
        m: torch.tensor(
            [
                evaluation.maximum_mean_discrepancy(
                    torch.randn(n, size), torch.randn(n, size) + m * shift, bandwidths=[h], permutations=0
                ).mmd2
                for _ in range(400)
            ]
        )
        for m in (0, 1)
    }
    # E k = (h^2 / (h^2 + 2))^(D/2) exp(-|m|^2 / 2 (h^2 + 2)) for two draws whose means are m apart
    same = (h**2 / (h**2 + 2)) ** (size / 2)
    expected = 2 * same * (1 - math.exp(-0.5 * (shift @ shift).item() / (h**2 + 2)))
    assert_mean(draws[0], 0.0)
    assert_mean(draws[1], expected)


def test_the_permutation_test_has_its_level():
    p = torch.tensor(
        [
            evaluation.maximum_mean_discrepancy(torch.randn(15, 2), torch.randn(25, 2), permutations=99).p_value
            for _ in range(300)
        ]
    )
    assert_mean((p <= 0.1).double(), 0.1)
    assert_mean(p, 0.505)  # uniform on 0.01, 0.02, ..., 1
    assert evaluation.maximum_mean_discrepancy(torch.zeros(30, 1), torch.ones(30, 1)).p_value == 1 / 501


def test_several_bandwidths_are_averaged():
    a, b = torch.randn(10, 3), torch.randn(12, 3) + 1
    one, two, both = (
        evaluation.maximum_mean_discrepancy(a, b, bandwidths=h, permutations=0).mmd2 for h in ([0.5], [2.0], [0.5, 2.0])
    )
    assert both == pytest.approx((one + two) / 2, rel=1e-5)
    with pytest.raises(pv.DataError, match="at least two draws"):
        evaluation.maximum_mean_discrepancy(a[:1], b)


# -- the aggregate posterior


@pytest.mark.parametrize("wrong", [False, True])
def test_moments_of_the_aggregate_posterior_are_those_of_the_model(wrong):
    ppca = PPCA()
    n = 1500
    mean, covariance = torch.zeros(SIZE).double(), torch.eye(SIZE).double()
    if wrong:
        ppca.set_wrong_guide()
        mean = 0.1 - 0.2 * ppca.gain @ ppca.mu
        covariance = 0.64 * ppca.gain @ covariance_of_x(ppca) @ ppca.gain.T + 1.69 * ppca.covariance
    found = evaluation.aggregate_posterior(ppca.vae, ppca.draw(n), num_samples=n, permutations=0)
    q, p = (torch.as_tensor(found.dataset[name].values) for name in ("z", "prior"))
    for draws, centre, spread in ((q, mean, covariance), (p, torch.zeros(SIZE), torch.eye(SIZE))):
        assert_mean(draws, centre)
        assert_mean(torch.einsum("sd,se->sde", draws - centre, draws - centre), spread)
    np.testing.assert_allclose(found.dataset["mean"][0], q.mean(0))
    np.testing.assert_allclose(found.dataset["covariance"][0], q.T.cov())


def test_the_test_sees_a_wrong_guide_and_not_an_exact_one():
    ppca = PPCA()
    x = ppca.draw(800)
    exact = evaluation.aggregate_posterior(ppca.vae, x)
    assert (exact.dataset.sizes["draw"], exact.dataset.sizes["prior_draw"]) == (800, 1000)
    assert exact.discrepancy.p_value > 0.01
    assert "do not tell" in repr(exact)
    ppca.set_wrong_guide()
    wrong = evaluation.aggregate_posterior(ppca.vae, x)
    assert wrong.discrepancy.p_value == 1 / 501
    assert "not distributed like the prior" in repr(wrong)


def test_what_has_no_prior_to_draw_from():
    with pytest.raises(pv.ConfigurationError, match=r"no p\(z\) to draw from"):
        evaluation.aggregate_posterior(family.VARIANTS["autoencoder"](), torch.zeros(5, *family.IMAGE))
    delta = pv.VAE(priors.StandardNormal(2), likelihoods.Normal(3), posteriors.Delta(), networks.MLP([4]))
    assert evaluation.aggregate_posterior(delta, torch.randn(20, 3)).dataset["z"].shape == (20, 2)


CASES = [
    "posterior_flow",
    "vamp_and_flow",
    "m1",
    "m2",
    "m2_properties",
    "m1m2",
    "conditional",
    "consistency_constrained",
]


@pytest.mark.parametrize("name", CASES)
def test_every_kind_of_variant_has_them(name):
    torch.manual_seed(0)
    variant = family.randomised(family.VARIANTS[name]())
    x, y = family.arguments_for(variant, 24)
    if name == "m1":  # its encoder wants no labels, and no classifier
        y = None
    state = torch.get_rng_state()
    assert evaluation.active_units(variant, x, y, batch_size=5).active.shape == (variant.latent_size,)
    found = evaluation.mutual_information(variant, x, y)
    assert found.mutual_information < math.log(24) + 1e-6
    assert found.mutual_information < found.upper_bound
    assert math.isnan(found.rate) == (name == "m1m2"), "p(z1) is a mixture over z2 and y"
    assert ("rate" in repr(found)) == (name != "m1m2")
    assert evaluation.aggregate_posterior(variant, x, y, permutations=9).dataset["z"].shape == (24, family.D)
    assert torch.equal(torch.get_rng_state(), state)


def test_active_units_wants_at_least_one_draw():
    with pytest.raises(pv.ConfigurationError, match="num_samples"):
        evaluation.active_units(family.vae(posterior="flow"), torch.zeros(5, *family.IMAGE), num_samples=0)

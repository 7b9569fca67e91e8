"""Quadrants, strokes, moved images, the hybrid objective, and what training does with them."""

import math

import pyro.distributions as dist
import pytest
import torch

import pyro_vae as pv
from pyro_vae import data, evaluation, labels, likelihoods, networks, objectives, priors

# -- data


@pytest.mark.parametrize(("observed", "share"), [(1, 1 / 4), (2, 1 / 2), (3, 3 / 4)])
def test_quadrants_are_cut_and_joined(observed, share):
    images = torch.rand(5, 1, 28, 28)
    task = data.Quadrants((1, 28, 28), observed)
    pair = task.split(images)
    assert pair.x.shape == (5, 784 * share)
    assert torch.equal(task.join(pair.x, pair.y), images)
    several = pair.y.expand(3, *pair.y.shape)
    assert torch.equal(task.join(pair.x, several)[2], images)


def test_which_quadrants_are_given():
    image = torch.zeros(1, 1, 4, 4)
    image[..., :2, :2], image[..., :2, 2:], image[..., 2:, :2], image[..., 2:, 2:] = 1, 2, 3, 4
    given = {n: data.Quadrants((1, 4, 4), n).split(image).x.unique().tolist() for n in (1, 2, 3)}
    assert given == {1: [3], 2: [1, 3], 3: [1, 3, 4]}
    with pytest.raises(ValueError, match="1, 2 or 3, got 4"):
        data.Quadrants((1, 4, 4), 4)
    with pytest.raises(ValueError, match=r"shape \(N, 1, 4, 4\), got \(2, 1, 8, 8\)"):
        data.Quadrants((1, 4, 4), 1).split(torch.zeros(2, 1, 8, 8))


def bar(angle, width=3.0, length=18.0, size=28):
    """A straight stroke that leans to the right by ``angle`` degrees."""
    rows, columns = torch.meshgrid(torch.arange(size) - 13.5, torch.arange(size) - 13.5, indexing="ij")
    across = columns + rows * math.tan(math.radians(angle))
    inside = (across.abs() <= width / 2) & (rows.abs() <= length / 2)
    return inside.float()[None, None]


@pytest.mark.parametrize("angle", [-30.0, 0.0, 20.0])
def test_slant_is_the_angle_of_a_stroke(angle):
    assert data.stroke_properties(bar(angle))[0, 2].item() == pytest.approx(angle, abs=1.5)


def test_ink_and_thickness_of_a_stroke():
    thin, thick = (data.stroke_properties(bar(0.0, width))[0] for width in (2.0, 4.0))
    assert thin[0] == pytest.approx(2 * 18)
    assert thick[0] == pytest.approx(4 * 18)
    # twice the ink over the outline: w l / (w + l)
    assert thin[1].item() == pytest.approx(2 * 18 / 20, rel=0.05)
    assert thick[1].item() == pytest.approx(4 * 18 / 22, rel=0.05)
    with pytest.raises(ValueError, match="image 1 is empty"):
        data.stroke_properties(torch.cat([bar(0.0), torch.zeros(1, 1, 28, 28)]))


def test_a_stroke_whose_place_is_uncertain_is_as_thick_as_a_sharp_one():
    """The mean of strokes at several places has the width of each, not that of all of them."""
    sharp = bar(0.0, 2.0, 26.0)
    spread = torch.stack([sharp.roll(shift, -1) for shift in (-4, -2, 0, 2, 4)]).mean(0)
    assert spread.max() == pytest.approx(0.2)
    # the ends of a stroke are part of its outline, and longer where it is wide: l w / (l + w) each
    assert data.stroke_properties(sharp)[0, 1].item() == pytest.approx(26 * 2 / 28, rel=0.05)
    assert data.stroke_properties(spread)[0, 1].item() == pytest.approx(26 * 2 / 36, rel=0.05)


def test_a_haze_adds_ink_and_hardly_any_thickness():
    sharp = bar(0.0, 4.0)
    haze = torch.where(sharp > 0, sharp, 0.05 * bar(0.0, 24.0))
    (ink, thickness, _), (more, same, _) = (data.stroke_properties(image)[0] for image in (sharp, haze))
    assert more > 1.2 * ink
    assert same.item() == pytest.approx(thickness.item(), rel=0.05)


def test_moved_images():
    image = bar(0.0).expand(200, 1, 28, 28)
    torch.manual_seed(0)
    slants = data.stroke_properties(data.RandomAffine(degrees=20)(image))[:, 2]
    assert slants.abs().max() < 22
    assert slants.std() > 8  # uniform between -20 and 20 has 11.5
    sheared = data.stroke_properties(data.RandomAffine(shear=20)(image))[:, 2]
    assert sheared.abs().max() < 22
    assert sheared.std() > 8
    grown = data.stroke_properties(data.RandomAffine(scale=0.2)(image))[:, 0]
    ink = image[0].sum()
    assert 0.8**2 < grown.min() / ink < 0.75
    assert 1.3 < grown.max() / ink < 1.2**2 + 0.02  # edges are interpolated
    columns = torch.arange(28.0)
    moved = data.RandomAffine(translate=0.1)(image)
    centres = (moved.mean((1, 2)) * columns).sum(-1) / moved.mean((1, 2)).sum(-1) - 13.5
    assert centres.abs().max() == pytest.approx(2.8, abs=0.15)
    assert not torch.equal(moved[0], moved[1])
    with pytest.raises(ValueError, match="not negative"):
        data.RandomAffine(degrees=-1)
    with pytest.raises(ValueError, match=r"\(N, C, H, W\)"):
        data.RandomAffine(degrees=1)(torch.zeros(3, 784))


def test_an_augmented_network_moves_its_first_input_in_training_only():
    seen = []

    class Recording(torch.nn.Module):
        def forward(self, x):
            seen.append(x)
            return x.flatten(-3)[..., :2]

    class Specification(networks.Network):
        def build(self, *inputs, output):
            return Recording()

    network = networks.Augmented(Specification(), lambda x: x + 1).build((1, 2, 2), output=(2,))
    x = torch.zeros(3, 5, 1, 2, 2)
    network(x)
    network.eval()(x)
    assert torch.equal(seen[0], x + 1)
    assert torch.equal(seen[1], x)


def test_a_network_on_codes_begins_as_the_vaes_encoder_and_leaves_the_vae_as_it_is():
    torch.manual_seed(0)
    x = torch.rand(20, 1, 2, 3)
    vae = pv.VAE(priors.StandardNormal(4), likelihoods.ContinuousBernoulli((1, 2, 3)), encoder=networks.MLP([8]))
    pv.fit(vae, x, epochs=2, progress=False)
    specification = networks.OnCodes(vae, networks.MLP([]))
    network = specification.build((1, 2, 3), output=(2,))
    weight, bias = network.network.first.weights[0], network.network.first.bias
    torch.testing.assert_close(network(x), vae.encode(x).mean @ weight.T + bias)
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    alone = pv.Discriminative(labels.Normal(2), (1, 2, 3), specification)
    pv.fit(alone, (x, torch.randn(20, 2)), epochs=2, progress=False)
    assert all(torch.equal(before[name], value) for name, value in vae.state_dict().items())
    moved = alone.model.predictor.network.encoder.state_dict()
    assert all(not torch.equal(value, moved[name]) for name, value in vae.guide.posterior.network.state_dict().items())


def test_a_network_on_codes_comes_back_from_a_file(tmp_path):
    torch.manual_seed(0)
    vae = pv.VAE(priors.StandardNormal(3), likelihoods.ContinuousBernoulli((1, 2, 3)), encoder=networks.MLP([8]))
    network = networks.OnCodes(vae, networks.MLP([5]))
    likelihood = likelihoods.ContinuousBernoulli((1, 2, 3))
    semi = pv.SemiSupervisedVAE(labels.Normal(2), priors.StandardNormal(2), likelihood, classifier=network)
    x, y = torch.rand(20, 1, 2, 3), torch.randn(20, 2)
    y[10:] = float("nan")
    pv.fit(semi, (x, y), epochs=1, progress=False)
    semi.save(tmp_path / "semi.pt")
    torch.testing.assert_close(pv.load(tmp_path / "semi.pt").predict(x).mean, semi.predict(x).mean)


def test_a_network_on_codes_wants_an_encoder_of_such_data():
    shape = (1, 2, 3)
    cvae = pv.ConditionalVAE(labels.Categorical(3), priors.StandardNormal(2), likelihoods.Bernoulli(shape))
    with pytest.raises(pv.ConfigurationError, match="of x alone"):
        networks.OnCodes(cvae, networks.MLP([]))
    with pytest.raises(pv.ConfigurationError, match="specification"):
        networks.OnCodes(pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(shape)), [128])
    network = networks.OnCodes(pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(shape)), networks.MLP([]))
    with pytest.raises(pv.ConfigurationError, match=r"\(1, 2, 3\), got \(5,\)"):
        network.build((5,), output=(1,))


# -- schedules


def test_a_ramp_falls_by_one_factor_over_its_share_of_the_training():
    ramp = objectives.Ramp(16.0, 1.0, share=0.5).over(8)
    assert [ramp(t) for t in (0, 1, 2, 4, 8)] == pytest.approx([16, 8, 4, 1, 1])
    assert objectives.Ramp(16.0, 1.0, share=0.5)(float("inf")) == 1.0
    with pytest.raises(pv.ConfigurationError, match="positive"):
        objectives.Ramp(0.0, 1.0)
    with pytest.raises(pv.ConfigurationError, match="share"):
        objectives.Ramp(2.0, 1.0, share=1.5)


def watched(rates):
    class Watched(torch.optim.SGD):
        def step(self, *args, **kwargs):
            rates.append(self.param_groups[0]["lr"])
            return super().step(*args, **kwargs)

    return Watched


def test_fit_stretches_a_ramp_and_raises_the_learning_rate_first():
    rates = []
    vae = pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(5), beta=objectives.Ramp(16.0, 1.0, share=0.5))
    x = torch.bernoulli(torch.full((40, 5), 0.5))
    history = pv.fit(
        vae, x, epochs=4, batch_size=10, lr=1e-3, lr_schedule="constant", warmup=8, optimizer=watched(rates), seed=1
    )
    assert rates == pytest.approx([1e-3 * min(1, step / 8) for step in range(1, 17)])
    # the value at the last of four steps of each epoch
    expected = [16 * (1 / 16) ** min((epoch - 0.25) / 2, 1) for epoch in (1, 2, 3, 4)]
    assert history["beta"] == pytest.approx(expected)


def test_warming_up_takes_no_more_than_four_epochs():
    rates = []
    m2 = pv.M2(3, priors.StandardNormal(2), likelihoods.Bernoulli(5))
    x, y = torch.bernoulli(torch.full((40, 5), 0.5)), torch.arange(40) % 3
    settings = {"batch_size": 10, "lr": 1e-3, "lr_schedule": "constant", "optimizer": watched(rates)}
    pv.fit(m2, (x, y), epochs=5, **settings)  # of 4 steps each, where M2 would take 100
    assert rates == pytest.approx([1e-3 * min(1, step / 16) for step in range(1, 21)])
    rates.clear()
    pv.fit(m2, (x, y), epochs=5, warmup=40, **settings)  # unless it is told to
    assert rates == pytest.approx([1e-3 * step / 40 for step in range(1, 21)])


# -- structured output


def structured(objective=None):
    torch.manual_seed(0)
    return pv.StructuredOutputVAE(
        priors.ConditionalNormal(2), likelihoods.Bernoulli(6), 3, encoder=networks.MLP([8]), objective=objective
    ).double()


@pytest.mark.parametrize("particles", [1, 4])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_the_hybrid_objective_is_the_bound_and_the_fit_of_the_prior(alpha, particles, own_store):
    objective = objectives.Hybrid(alpha, num_particles=particles)
    vae = structured(objective)
    x, y = torch.randn(7, 3).double(), torch.bernoulli(torch.full((7, 6), 0.5)).double()
    torch.manual_seed(4)
    got = objective.loss(vae.model, vae.guide, x, y)

    torch.manual_seed(4)
    q, p = vae.guide.posterior(y, x), vae.model.prior(x)
    z = q.rsample((particles,))
    bound = vae.likelihood(z, x.expand(particles, 7, 3)).log_prob(y).mean(0) - dist.kl.kl_divergence(q, p)
    free = vae.model.prior(x).sample((particles,))
    fits = vae.likelihood(free, x.expand(particles, 7, 3)).log_prob(y).mean(0)
    expected = alpha * bound.sum() + (1 - alpha) * fits.sum()
    assert got == pytest.approx(-expected.item(), rel=1e-10)
    with pytest.raises(pv.ConfigurationError, match="between 0 and 1"):
        objectives.Hybrid(1.5)


def test_answers_differ_and_average_to_the_prediction():
    vae = structured()
    x = torch.randn(4, 3).double()
    answers = vae.answers(x, 4000)
    assert answers.shape == (4000, 4, 6)
    assert not torch.equal(answers[0], answers[1])
    torch.testing.assert_close(answers.mean(0), vae.predict(x, num_samples=4000).mean, rtol=0, atol=0.03)


def test_predictions_are_direct_estimates_of_the_conditional_likelihood():
    vae = structured()
    x, y = torch.randn(5, 3).double(), torch.bernoulli(torch.full((5, 6), 0.5)).double()
    torch.manual_seed(1)
    direct = vae.predict(x, num_samples=20_000).log_prob(y)
    estimate = evaluation.log_likelihood(vae, x, y, method="prior", num_samples=20_000)
    torch.testing.assert_close(direct, torch.as_tensor(estimate), rtol=0, atol=0.03)


def test_the_transform_is_of_both_halves_of_an_image():
    vae = structured().float()
    grey = data.Split(torch.rand(32, 3), torch.rand(32, 6))
    seen = []

    def transform(values):
        seen.append(values.shape[1:])
        return data.binarize(values)

    pv.fit(vae, grey, epochs=1, batch_size=16, transform=transform)
    assert {tuple(shape) for shape in seen} == {(3,), (6,)}


# -- what training follows


def test_patience_and_best_follow_what_is_monitored(tmp_path):
    digits = data.load("digits")
    classifier = pv.Discriminative(pv.labels.Categorical(10), digits.shape, networks.MLP([16]))
    history = pv.fit(classifier, digits, epochs=4, folder=tmp_path, monitor="valid_accuracy")
    best = pv.load(tmp_path / "best.pt").score(digits.valid)["accuracy"]
    assert best == pytest.approx(max(history["valid_accuracy"]))
    with pytest.raises(pv.ConfigurationError, match=r"monitor='valid_speed' is not measured.*valid_accuracy"):
        pv.fit(classifier, digits, epochs=1, monitor="valid_speed")

"""What labels do on real data: MNIST cut to a size that two cores learn from in a minute."""

import os

import pytest
import torch
from sklearn.linear_model import LogisticRegression

import pyro_vae as pv
from pyro_vae import data, evaluation, labels, likelihoods, networks, objectives, priors

pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif("PYRO_VAE_DATA" not in os.environ, reason="PYRO_VAE_DATA is not set"),
]

SHAPE = (1, 28, 28)


@pytest.fixture(scope="module")
def mnist():
    return data.load("mnist")


def binary(split):
    return (split.x > 0.5).float(), split.y


def reader_of(train):
    """A classifier that has nothing to do with the library."""
    x, y = binary(train)
    return LogisticRegression(max_iter=200).fit(x.flatten(1).numpy(), y.numpy())


def test_m2_learns_from_images_without_labels(mnist):
    few = data.labelled_subset(mnist.train[:12_000], 100, seed=0)
    shown = few[few.labelled]
    network = networks.MLP([200, 200], norm="batch", dropout=0.5)
    moved = networks.Augmented(network, data.RandomAffine(degrees=10, translate=0.05, scale=0.08, shear=8))
    torch.manual_seed(0)
    m2 = pv.M2(
        10, priors.StandardNormal(20), likelihoods.Bernoulli(SHAPE), encoder=networks.MLP([200]), classifier=moved
    )
    options = {"transform": data.binarize, "lr": 3e-3, "progress": False}
    pv.fit(m2, few, epochs=10, batch_size=100, labelled_batch_size=100, **options)
    torch.manual_seed(0)
    alone = pv.Discriminative(labels.Categorical(10), SHAPE, moved)
    pv.fit(alone, shown, epochs=1190, batch_size=100, **options)  # as many steps
    x, y = binary(mnist.test)
    assert evaluation.accuracy(m2, x, y) > evaluation.accuracy(alone, x, y) + 0.02
    assert evaluation.accuracy(alone, x, y) > 0.7


def test_conditional_vae_draws_the_digit_that_is_asked_for(mnist):
    train = mnist.train[:6000]
    torch.manual_seed(0)
    cvae = pv.ConditionalVAE(
        labels.Categorical(10),
        priors.StandardNormal(10),
        likelihoods.Bernoulli(SHAPE),
        encoder=networks.MLP([200]),
        beta=objectives.Ramp(10.0, 1.0),  # else z says which digit it is, and y is left with nothing to say
    )
    pv.fit(cvae, train, epochs=12, transform=data.binarize, progress=False)
    y = torch.arange(10).repeat(50)
    reader = reader_of(train)
    images = cvae.generate(len(y), y).flatten(1).numpy()
    assert (reader.predict(images) == y.numpy()).mean() > 0.8
    # and a wrong label explains an image worse than its own
    x, true = (values[:500] for values in binary(mnist.test))
    own, other = (evaluation.elbo(cvae, x, label).elbo.mean() for label in (true, (true + 1) % 10))
    assert own > other + 5


def test_an_answer_from_a_code_beats_a_single_prediction(mnist):
    task = data.Quadrants(SHAPE, observed=1)
    train, test = (task.split((split.x[:n] > 0.5).float()) for split, n in ((mnist.train, 6000), (mnist.test, 500)))
    network = networks.MLP([300])
    torch.manual_seed(0)
    missing = tuple(train.y.shape[1:])
    cvae = pv.StructuredOutputVAE(
        priors.ConditionalNormal(16), likelihoods.Bernoulli(missing), train.shape, encoder=network
    )
    alone = pv.Discriminative(likelihoods.Bernoulli(missing), train.shape, network)
    for variant in (cvae, alone):
        pv.fit(variant, train, epochs=8, lr=1e-3, progress=False)
    answers = evaluation.log_likelihood(cvae, test, num_samples=100)
    single = alone.predict(test.x).log_prob(test.y)
    difference = answers - single
    assert difference.mean() > 3 * difference.std() / len(difference) ** 0.5
    assert difference.mean() > 3  # nats per image

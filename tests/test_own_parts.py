"""Parts and networks of the user's own: what is checked, when, and in which words."""

import pyro.distributions as dist
import pytest
import torch
from torch import nn

import pyro_vae as pv
from pyro_vae import likelihoods, networks, posteriors, priors

N, D = 4, 2


class Own(likelihoods.Likelihood):
    """A likelihood that says nothing of its support."""

    count = 1

    def parameter_shape(self, shape):
        return (self.count, *shape)

    def distribution(self, parameters):
        return self.family(*self.split(parameters)).to_event(len(self.shape))


class Counts(Own):
    def family(self, log_rate):
        return dist.Poisson(log_rate.exp())


class Tries(Own):
    def family(self, logits):
        return dist.Binomial(10, logits=logits)


class Rates(Own):
    def family(self, raw):
        return dist.LogNormal(raw, 1.0)


class Share(Own):
    def family(self, raw):
        return dist.Beta(raw.exp(), 2.0)


class Below(Own):
    """Its support depends on the parameters."""

    def family(self, raw):
        return dist.Uniform(0.0, raw.exp())


class Times(Own):
    """Of which zero is no parameter."""

    def family(self, rate):
        return dist.Exponential(rate)


def variant_of(likelihood, **parts):
    return pv.VAE(priors.StandardNormal(D), likelihood, **parts)


@pytest.mark.parametrize(
    ("kind", "inside", "outside", "words"),
    [
        (Counts, [0.0, 7.0], -1.0, "whole numbers from 0 on"),
        (Counts, [0.0, 7.0], 0.5, "whole numbers from 0 on"),
        (Tries, [0.0, 10.0], 11.0, "whole numbers from 0 to 10"),
        (Rates, [0.1, 9.0], 0.0, "numbers above 0"),
        (Share, [0.2, 0.9], 1.5, "numbers from 0 to 1"),
    ],
)
def test_the_support_is_that_of_the_distribution(kind, inside, outside, words):
    likelihood = kind(3)
    for value in inside:
        likelihood.check(torch.full((N, 3), value))
    x = torch.full((N, 3), inside[1])
    x[1, 2] = outside
    with pytest.raises(pv.DataError, match=rf"1 of 12 values lies outside .*{words}.*\(the first, at \(1, 2\), is"):
        pv.fit(variant_of(likelihood), x, epochs=1)


@pytest.mark.parametrize("kind", [Below, Times])
def test_a_support_that_is_not_known_beforehand_refuses_nothing(kind):
    kind(3).check(torch.full((N, 3), 50.0))
    with pytest.raises(pv.DataError, match="NaN"):
        kind(3).check(torch.full((N, 3), torch.nan))


class Laplace(posteriors.Posterior):
    wanted = staticmethod(lambda shape: (2, *shape))

    def parameter_shape(self, shape):
        return self.wanted(shape)

    def distribution(self, parameters):
        loc, scale = self.split(parameters)
        return dist.Laplace(loc, scale.exp()).to_event(1)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (lambda shape: (2, shape), r"parameter_shape\(\(2,\)\) must .* of sizes, got \(2, \(2,\)\).*\(n, \*shape\)"),
        (lambda shape: 4, "must return a tuple of sizes, got 4"),
        (lambda shape: (3, *shape), r"posterior Laplace\(\), given \(2, 3\), made no distribution: .*too many values"),
    ],
)
def test_a_wrong_parameter_shape_is_named(wanted, message, monkeypatch):
    monkeypatch.setattr(Laplace, "wanted", staticmethod(wanted))
    likelihood = likelihoods.Normal(3)
    with pytest.raises(pv.ConfigurationError, match=message):
        variant_of(likelihood, posterior=Laplace())
    variant_of(likelihood)  # it stayed free


class Layers(networks.Network):
    """What a function of inputs and output makes."""

    def __init__(self, make):
        self.make = make

    def build(self, *inputs, output):
        return self.make(inputs, output)


def linear(inputs, output):
    (n,) = inputs[0]
    return nn.Sequential(nn.Linear(n, torch.Size(output).numel()), nn.Unflatten(-1, output))


class OneBatchDimension(nn.Module):
    def forward(self, x):
        assert x.dim() == 2, "one batch dimension"
        return x


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda inputs, output: nn.Linear(3, 7), r"\(3,\) to \(2, 2\).*must return \(2, 1, 2, 2\), got \(2, 1, 7\)"),
        (lambda inputs, output: nn.Linear(64, 16), r"given \(2, 1, 3\) it failed: .*mat2"),
        (lambda inputs, output: nn.LSTM(3, 7), r"must return \(2, 1, 2, 2\), got tuple"),
        (lambda inputs, output: OneBatchDimension(), "any batch shapes in front.*one batch dimension"),
        (lambda inputs, output: None, "build must return a torch.nn.Module, got a NoneType"),
    ],
)
def test_a_network_of_ones_own_is_run_once(make, message):
    likelihood = likelihoods.Normal(3)
    with pytest.raises(pv.ConfigurationError, match=rf"network Layers\(.* of Normal\(\).*{message}"):
        variant_of(likelihood, encoder=Layers(make), decoder=networks.MLP([4]))
    variant_of(likelihood)  # it stayed free


class Joined(nn.Module):
    """Two inputs side by side, broadcast or not."""

    def __init__(self, inputs, output, broadcast):
        super().__init__()
        self.layers = linear([(sum(n for (n,) in inputs),)], output)
        self.broadcast = broadcast

    def forward(self, *inputs):
        if self.broadcast:
            batch = torch.broadcast_shapes(*(x.shape[:-1] for x in inputs))
            inputs = [x.expand(*batch, -1) for x in inputs]
        return self.layers(torch.cat([x.float() for x in inputs], -1))


def test_inputs_of_a_network_are_broadcast():
    def m2(broadcast):
        own = Layers(lambda inputs, output: Joined(inputs, output, broadcast))
        return pv.M2(3, priors.StandardNormal(D), likelihoods.Normal(4), encoder=own)

    with pytest.raises(pv.ConfigurationError, match=r"given \(2, 1, 4\) and \(3, 3\) it failed"):
        m2(broadcast=False)
    pv.fit(m2(broadcast=True), (torch.randn(6, 4), torch.tensor([0, 1, 2, -1, -1, -1])), epochs=1)


def test_a_network_needs_no_methods_beside_forward():
    variant = variant_of(likelihoods.Normal(3), encoder=Layers(linear))  # the decoder is the same specification
    before = {name: weight.clone() for name, weight in variant.named_parameters()}
    pv.fit(variant, torch.randn(20, 3), epochs=1)
    assert [name for name, weight in variant.named_parameters() if torch.equal(weight, before[name])] == []

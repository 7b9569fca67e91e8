"""Every variant, prior, posterior and likelihood by name: one line here gives a new one the whole contract."""

import pyro.distributions as dist
import torch
from pyro.infer import Trace_ELBO
from torch.distributions import constraints

import pyro_vae as pv
from pyro_vae import likelihoods, networks, objectives, posteriors, priors

D = 2  # latent dimensions
IMAGE = (1, 7, 5)

PRIORS = {
    "standard_normal": lambda: priors.StandardNormal(D),
    "normal": lambda: priors.Normal(D),
    "mixture": lambda: priors.MixtureOfNormals(D, components=3),
    "vamp": lambda: priors.Vamp(D, components=4),
    "maf": lambda: priors.Flow(D, hidden=[8], transforms=2),
    "realnvp": lambda: priors.Flow(D, "realnvp", hidden=[8], transforms=2),
    "nice": lambda: priors.Flow(D, "nice", hidden=[8], transforms=2),
    "nsf": lambda: priors.Flow(D, "nsf", hidden=[8], transforms=2),
    "fixed_laplace": lambda: priors.Fixed(dist.Laplace(1.0, 0.5), size=D),
    "fixed_multivariate_normal": lambda: priors.Fixed(
        dist.MultivariateNormal(torch.tensor([1.0, -1.0]), torch.tensor([[1.0, 0.5], [0.5, 2.0]]))
    ),
}

POSTERIORS = {
    "normal": posteriors.Normal,
    "full_covariance": posteriors.FullCovarianceNormal,
    "flow": lambda: posteriors.Flow(transforms=2, hidden=[8], context=4),
}

LIKELIHOODS = {
    "bernoulli": lambda: likelihoods.Bernoulli(IMAGE),
    "continuous_bernoulli": lambda: likelihoods.ContinuousBernoulli(IMAGE),
    "unnormalised_bernoulli": lambda: likelihoods.UnnormalisedBernoulli(IMAGE),
    "categorical": lambda: likelihoods.Categorical(IMAGE, levels=4),
    "normal_fixed": lambda: likelihoods.Normal(IMAGE, scale="fixed"),
    "normal_number": lambda: likelihoods.Normal(IMAGE, scale=0.5),
    "normal_shared": lambda: likelihoods.Normal(IMAGE, scale="shared"),
    "normal_per_dimension": lambda: likelihoods.Normal(IMAGE, scale="per_dimension"),
    "normal_predicted": lambda: likelihoods.Normal(IMAGE, scale="predicted"),
    "laplace": lambda: likelihoods.Laplace(IMAGE),
}


def vae(prior="standard_normal", posterior="normal", likelihood="bernoulli", **others):
    """A small VAE of parts given by name (or as they are)."""
    encoder = others.pop("encoder", networks.MLP([16], activation="tanh"))
    return pv.VAE(
        PRIORS[prior]() if isinstance(prior, str) else prior,
        LIKELIHOODS[likelihood]() if isinstance(likelihood, str) else likelihood,
        POSTERIORS[posterior]() if isinstance(posterior, str) else posterior,
        encoder,
        **others,
    )


VARIANTS = {
    **{f"prior_{name}": lambda name=name: vae(prior=name) for name in PRIORS},
    **{f"posterior_{name}": lambda name=name: vae(posterior=name) for name in POSTERIORS},
    **{f"likelihood_{name}": lambda name=name: vae(likelihood=name) for name in LIKELIHOODS},
    "vamp_and_flow": lambda: vae(prior="vamp", posterior="flow"),
    "beta": lambda: vae(beta=4.0),
    "annealed": lambda: vae(beta=objectives.Linear(0.0, 1.0, epochs=2)),
    "free_bits": lambda: vae(objective=objectives.ELBO(free_bits=0.1)),
    "free_bits_of_the_whole_code": lambda: vae(prior="mixture", objective=objectives.ELBO(free_bits=0.1, groups=1)),
    "particles": lambda: vae(objective=objectives.ELBO(num_particles=3)),
    "pyro_objective": lambda: vae(objective=Trace_ELBO(num_particles=2)),
    "dropout_and_norm": lambda: vae(encoder=networks.MLP([16, 8], norm="layer", dropout=0.2)),
    "conv": lambda: vae(encoder=networks.Conv([4, 6], hidden=[8], activation="tanh")),
    "conv_with_norm": lambda: vae(encoder=networks.Conv([4], hidden=[8], norm="batch")),
    "autoencoder": lambda: pv.Autoencoder(D, likelihoods.Normal(IMAGE), networks.MLP([16])),
}


def data_for(variant, n=64):
    """Data in the support of a variant's likelihood, with two kinds of datum that a code can tell apart."""
    kind = (torch.arange(n) % 2).reshape(n, *[1] * len(variant.shape))
    probabilities = (0.2 + 0.6 * kind).expand(n, *variant.shape)
    support = variant.likelihood.support
    if support is constraints.boolean:
        return torch.bernoulli(probabilities)
    if support is constraints.unit_interval:
        return 0.5 * torch.rand(n, *variant.shape) + 0.5 * kind
    if isinstance(support, constraints.integer_interval):
        return torch.distributions.Binomial(support.upper_bound, probabilities).sample()
    assert support is constraints.real, f"no data known for {support}"
    return 2.0 * kind + 0.5 * torch.randn(n, *variant.shape)


def randomised(module, scale=0.3):
    """The module with noise on all its parameters, so that nothing is at a special place."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return module


def weights(variant):
    """A copy of all weights by name."""
    return {name: parameter.detach().clone() for name, parameter in variant.named_parameters()}


def same_weights(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def unmoved(before, after):
    """Names of the weights that are still as they were."""
    return [name for name in before if torch.equal(before[name], after[name])]

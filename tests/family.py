"""Every variant, prior, posterior and likelihood by name: one line here gives a new one the whole contract."""

import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO, TraceEnum_ELBO, TraceGraph_ELBO
from torch.distributions import constraints

import pyro_vae as pv
from pyro_vae import evaluation, labels, likelihoods, networks, objectives, posteriors, priors
from pyro_vae.program import sample_sites
from pyro_vae.variants.contexts import evaluating

D = 2  # latent dimensions
CLASSES = 3
PROPERTIES = 2
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


LABELS = {
    "classes": lambda: labels.Categorical(CLASSES),
    "learned": lambda: labels.Categorical(CLASSES, probs=[0.5, 0.3, 0.2], learned=True),
    "properties": lambda: labels.Normal(PROPERTIES),
}


def with_labels(make, label="classes", prior="standard_normal", posterior="normal", likelihood="bernoulli", **others):
    """A small variant of a class whose arguments begin with a label, of parts given by name (or as they are)."""
    others = {"encoder": networks.MLP([16], activation="tanh")} | others
    named = [(PRIORS, prior), (LIKELIHOODS, likelihood), (POSTERIORS, posterior)]
    parts = [known[part]() if isinstance(part, str) else part for known, part in named]
    return make(LABELS[label](), *parts, **others)


def stacked(label="classes", likelihood="bernoulli", m1=None, **others):
    """A small M1M2 on a VAE that has seen an epoch."""
    m1 = m1 or vae(likelihood=likelihood)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pv.fit(m1, data_for(m1, 16), epochs=1)
    return pv.M1M2(m1, LABELS[label](), priors.StandardNormal(D), encoder=networks.MLP([8], "tanh"), **others)


def structured(likelihood=None, **others):
    likelihood = likelihoods.Bernoulli(6) if likelihood is None else likelihood
    encoder = networks.MLP([16], activation="tanh")
    return pv.StructuredOutputVAE(priors.ConditionalNormal(D), likelihood, IMAGE, encoder=encoder, **others)


def discriminative(output):
    return pv.Discriminative(output, IMAGE, networks.MLP([16], activation="tanh"))


WITH_LABELS = {
    "conditional": lambda: with_labels(pv.ConditionalVAE),
    "conditional_properties_conv": lambda: with_labels(
        pv.ConditionalVAE, "properties", "mixture", likelihood="normal_shared", encoder=networks.Conv([4], hidden=[8])
    ),
    "structured_output": structured,
    "structured_output_image": lambda: structured(likelihoods.Normal((1, 2, 3))),
    "m2": lambda: with_labels(pv.M2, alpha=1.0, beta=1.0),
    "m2_annealed": lambda: with_labels(pv.M2),
    "m2_learned_frequencies": lambda: with_labels(pv.SemiSupervisedVAE, "learned", alpha=5.0, beta=0.5),
    "m2_norm_and_dropout": lambda: with_labels(
        pv.SemiSupervisedVAE,
        encoder=networks.MLP([16, 8], norm="batch", dropout=0.1),
        decoder=networks.MLP([16], norm="layer"),
    ),
    "m2_particles_free_bits": lambda: with_labels(
        pv.SemiSupervisedVAE, objective=objectives.ELBO(num_particles=3, free_bits=0.1)
    ),
    "m2_flow_mixture": lambda: with_labels(pv.SemiSupervisedVAE, prior="mixture", posterior="flow"),
    "m2_pyro_objective": lambda: with_labels(pv.SemiSupervisedVAE, objective=TraceEnum_ELBO(max_plate_nesting=1)),
    "m2_bits": lambda: with_labels(pv.M2, prior=priors.Bernoulli(D), posterior=posteriors.Bernoulli(enumerate=True)),
    "m2_properties": lambda: with_labels(pv.SemiSupervisedVAE, "properties", likelihood="normal_shared"),
    "m1": lambda: with_labels(pv.M1),
    "m1m2": stacked,
    "m1m2_properties": lambda: stacked("properties", "normal_shared"),
    "prediction_constrained": lambda: with_labels(pv.PredictionConstrainedVAE),
    "prediction_constrained_properties": lambda: with_labels(
        pv.PredictionConstrainedVAE, "properties", prior="vamp", likelihood="normal_shared"
    ),
    "consistency_constrained": lambda: with_labels(pv.ConsistencyConstrainedVAE),
    "discriminative": lambda: discriminative(LABELS["classes"]()),
    "discriminative_properties": lambda: discriminative(LABELS["properties"]()),
    "discriminative_output": lambda: discriminative(likelihoods.Bernoulli(6)),
}

DISCRETE = {
    "bits": (lambda: priors.Bernoulli(3, probs=0.3), posteriors.Bernoulli),
    "fixed_bits": (lambda: priors.Bernoulli(3, probs=0.3, learned=False), posteriors.Bernoulli),
    "classes": (lambda: priors.Categorical(2, classes=3), posteriors.Categorical),
}
"""Priors over discrete codes, each with the posterior that fits."""


def discrete(code="bits", likelihood="bernoulli", make=vae, **how):
    """A small variant with a discrete code, whose gradient is as ``how`` says."""
    prior, posterior = DISCRETE[code]
    return make(prior=prior(), posterior=posterior(**how), likelihood=likelihood)


def hierarchical(*layers, likelihood="bernoulli", width=8, **others):
    """A small HierarchicalVAE of pairs of prior and posterior, the nearest to the data first."""
    layers = layers or [(priors.ConditionalNormal(3), posteriors.Normal()), (PRIORS["mixture"](), posteriors.Normal())]
    return pv.HierarchicalVAE(
        [prior for prior, _ in layers],
        LIKELIHOODS[likelihood]() if isinstance(likelihood, str) else likelihood,
        [posterior for _, posterior in layers],
        [networks.MLP([width], "tanh") for _ in layers],
        **others,
    )


def bits(size, above=False, **how):
    """Prior and posterior of a layer of bits, with another layer above it or none."""
    return priors.ConditionalBernoulli(size) if above else priors.Bernoulli(size), posteriors.Bernoulli(**how)


DISCRETE_OR_IN_LAYERS = {
    "discrete_enumerated": lambda: discrete(enumerate=True),
    "discrete_enumerated_classes": lambda: discrete("classes", enumerate=True),
    "discrete_straight_through": lambda: discrete("fixed_bits", gradient="straight_through"),
    "discrete_straight_through_classes": lambda: discrete("classes", gradient="straight_through", temperature=1.0),
    "discrete_soft": lambda: discrete(gradient="soft", temperature=1.0),
    "discrete_pyro_objective": lambda: vae(
        priors.Bernoulli(3), posteriors.Bernoulli(), objective=TraceGraph_ELBO(num_particles=2)
    ),
    "hierarchical": hierarchical,
    "hierarchical_of_one_layer": lambda: hierarchical((PRIORS["vamp"](), posteriors.FullCovarianceNormal())),
    "hierarchical_of_three_layers": lambda: hierarchical(
        (priors.ConditionalNormal(3), posteriors.Normal()),
        (priors.ConditionalCategorical(2, classes=3), posteriors.Categorical("straight_through", temperature=1.0)),
        bits(2, enumerate=True),
        beta=objectives.Linear(0.0, 1.0, epochs=2),
    ),
    "hierarchical_discrete": lambda: hierarchical(
        bits(4, above=True, gradient="straight_through"), bits(2, gradient="straight_through")
    ),
    "hierarchical_enumerated": lambda: hierarchical(bits(3, above=True, enumerate=True), bits(2, enumerate=True)),
}

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
    "score_function_learned_baseline": lambda: vae(
        objective=objectives.ScoreFunction(4, objectives.LearnedBaseline(networks.MLP([8])), normalise=True)
    ),
    "vimco": lambda: vae(objective=objectives.VIMCO(4)),
    "reweighted_wake_sleep": lambda: vae("vamp", objective=objectives.ReweightedWakeSleep(4, "both")),
    "conv": lambda: vae(encoder=networks.Conv([4, 6], hidden=[8], activation="tanh")),
    "conv_with_norm": lambda: vae(encoder=networks.Conv([4], hidden=[8], norm="batch")),
    "autoencoder": lambda: pv.Autoencoder(D, likelihoods.Normal(IMAGE), networks.MLP([16])),
    **DISCRETE_OR_IN_LAYERS,
    **WITH_LABELS,
}


def data_for(variant, n=64):
    """Data in the support of a variant's likelihood, with two kinds of datum that a code can tell apart."""
    return _draws(variant.likelihood.support if variant.explains_data else constraints.real, variant.shape, n)


def _draws(support, shape, n):
    kind = (torch.arange(n) % 2).reshape(n, *[1] * len(shape))
    probabilities = (0.2 + 0.6 * kind).expand(n, *shape)
    if support is constraints.boolean:
        return torch.bernoulli(probabilities)
    if support is constraints.unit_interval:
        return 0.5 * torch.rand(n, *shape) + 0.5 * kind
    if isinstance(support, constraints.integer_interval):
        return torch.distributions.Binomial(support.upper_bound, probabilities).sample()
    assert support is constraints.real, f"no data known for {support}"
    return 2.0 * kind + 0.5 * torch.randn(n, *shape)


def labels_for(variant, n=64):
    """A label of each of n data, which says among other things of which kind the datum is."""
    if isinstance(variant.label, labels.Categorical):
        index = torch.arange(n)
        return torch.where(index % 2 == 0, 0, 1 + (index // 2) % 2)
    if isinstance(variant.label, labels.Normal):
        return torch.tensor([3.0, -20.0]) + _draws(constraints.real, variant.label.shape, n)
    return _draws(variant.label.likelihood.support, variant.label.shape, n)


def arguments_for(variant, n=64):
    """Data and labels: of all data, of every second four, or ``None``, as the variant's story has them."""
    x = data_for(variant, n)
    if variant.labels == "none":
        return x, None
    y = labels_for(variant, n)
    if variant.labels == "some":
        y[torch.arange(n) // 4 % 2 == 1] = float("nan") if y.is_floating_point() else -1
    return x, y


def steps_on(variant, x, y=None):
    """The arguments of model and guide for data and labels."""
    return variant.program_arguments(*variant.batch(x, y))


def pyros_elbo(variant):
    """The plain ELBO of Pyro's for a variant: the one that sums where the guide enumerates."""
    with torch.random.fork_rng(), torch.no_grad(), evaluating(variant):
        trace = poutine.trace(variant.guide).get_trace(*steps_on(variant, *arguments_for(variant, 8)))
    enumerates = any(site["infer"].get("enumerate") for site in sample_sites(trace))
    return TraceEnum_ELBO(max_plate_nesting=1) if enumerates else Trace_ELBO()


def frozen(variant, own=True):
    """Names of the weights that are not to be trained, by the variant's own objective or by another one."""
    weights_of_others = () if own else ("auxiliary.",)  # what an objective learns is its own affair
    named = variant.named_parameters()
    return [name for name, p in named if not p.requires_grad or name.startswith(weights_of_others)]


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


def answers(variant, x, y):
    """What a variant that was trained says of data, where it has anything to say: tensors."""
    found = [evaluation.elbo(variant, x, y).elbo]
    if variant.has_code:
        found.append(variant.reconstruct(x, y))
    if variant.predicts:
        found.append(variant.predict(x).sample())
    if variant.explains_data and not isinstance(variant, pv.Autoencoder):
        found.append(variant.generate(3, y[0]) if variant.labels == "all" else variant.generate(3))
    if not (variant.model.parts_without_density() + variant.guide.parts_without_density()):
        found.append(evaluation.log_likelihood(variant, x, y, num_samples=2))
    return found

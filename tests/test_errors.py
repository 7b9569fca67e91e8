"""Bad input: the right error, which names what was wrong and how to mend it."""

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO

import pyro_vae as pv
from pyro_vae import data, evaluation, likelihoods, networks, objectives, posteriors, priors
from tests.family import IMAGE, VARIANTS, data_for, vae

EVERY_USE = {
    "encode": lambda v, x: v.encode(x),
    "reconstruct": lambda v, x: v.reconstruct(x),
    "elbo": evaluation.elbo,
    "kl_per_dimension": evaluation.kl_per_dimension,
    "log_likelihood": lambda v, x: evaluation.log_likelihood(v, x, num_samples=2),
    "fit": lambda v, x: pv.fit(v, x, epochs=1),
    "valid": lambda v, x: pv.fit(v, data_for(v), valid=x, epochs=1),
}


def good(n=4):
    return torch.bernoulli(torch.full((n, *IMAGE), 0.5))


def with_value(value):
    x = good()
    x[2, 0, 3, 1] = value
    return x


# -- data


BAD_DATA = {
    "wrong shape": (torch.zeros(4, 3), r"shape \(4, 3\).*wants \(N, 1, 7, 5\)"),
    "arrangement": (torch.zeros(4, 35), r"shape \(4, 35\).*x\.reshape\(-1, 1, 7, 5\)"),
    "no channel": (torch.zeros(4, 7, 5), r"shape \(4, 7, 5\).*x\.reshape\(-1, 1, 7, 5\)"),
    "single datum": (torch.zeros(IMAGE), r"shape \(1, 7, 5\).*x\[None\]"),
    "grey": (with_value(0.5), r"1 of 140 values lies outside .*Bernoulli.*0 or 1 \(the first, at \(2, 0, 3, 1\), is"),
    "grey, mended": (with_value(0.5), r"is 0\.5\); for grey.*ContinuousBernoulli.*data\.binarize"),
    "two": (with_value(2.0), r"outside the support of Bernoulli.*0 or 1"),
    "bytes": (with_value(255.0), r"is 255\); bytes 0\.\.255 .*x / 255; for grey values"),
    "above bytes": (with_value(256.0), r"is 256\); for grey values"),
}


@pytest.mark.parametrize("use", EVERY_USE)
@pytest.mark.parametrize("bad", BAD_DATA)
def test_data_that_do_not_fit_are_refused_everywhere(use, bad):
    x, message = BAD_DATA[bad]
    with pytest.raises(pv.DataError, match=message):
        EVERY_USE[use](vae(), x)


@pytest.mark.parametrize("use", EVERY_USE)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_not_finite_are_refused_everywhere(use, value):
    variant = vae(likelihood="normal_shared")
    with pytest.raises(pv.DataError, match=r"\(2, 0, 3, 1\)") as caught:
        EVERY_USE[use](variant, with_value(value))
    assert "NaN" in str(caught.value)
    assert "infinite" in str(caught.value)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (good().byte(), r"torch\.uint8.*floating point.*x\.float\(\)$"),
        (255 * good().byte(), r"torch\.uint8.*x\.float\(\) / 255"),
        (good().long(), r"torch\.int64.*x\.float\(\)"),
        (good().bool(), r"torch\.bool.*x\.float\(\)"),
        ([[0.0, 1.0]], r"is a list; data must be .*a tensor"),
        ("digits", r"is a str; data must be .*a tensor"),
    ],
)
def test_types_that_do_not_fit_are_named(x, message):
    with pytest.raises(pv.DataError, match=message):
        vae().encode(x)


def test_arrays_splits_and_doubles_are_welcome(digits):
    variant = vae()
    expected = variant.encode(good()).mean
    torch.manual_seed(0)
    for x in (good().numpy().astype(np.float64), data.Split(good()), good().double()):
        assert variant.encode(x).mean.dtype == expected.dtype


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("continuous_bernoulli", 1.5, r"interval \[0, 1\].*1\.5.*rescale.*likelihoods\.Normal"),
        ("continuous_bernoulli", -0.1, r"interval \[0, 1\]"),
        ("continuous_bernoulli", 255.0, r"bytes 0\.\.255 .*x / 255; rescale"),
        ("unnormalised_bernoulli", 1.5, r"interval \[0, 1\].*rescale"),
        ("categorical", 0.5, r"whole numbers 0 to 3.*0\.5.*\(x \* 3\)\.round\(\)"),
        ("categorical", 4.0, r"whole numbers 0 to 3"),
    ],
)
def test_values_outside_the_support_come_with_the_remedy(name, value, message):
    with pytest.raises(pv.DataError, match=message):
        vae(likelihood=name).encode(with_value(value))


def test_the_borders_of_the_support_belong_to_it():
    for name in ("continuous_bernoulli", "unnormalised_bernoulli", "categorical"):
        assert evaluation.elbo(vae(likelihood=name), good()).elbo.isfinite().all()


@pytest.mark.parametrize("x", [torch.zeros(0, *IMAGE), np.zeros((0, *IMAGE))])
def test_no_data_are_refused_by_fit(x):
    with pytest.raises(pv.DataError, match=r"no data.*\(0, 1, 7, 5\)"):
        pv.fit(vae(), x, epochs=1)
    with pytest.raises(pv.DataError, match=r"no data.*\(0, 1, 7, 5\)"):
        pv.fit(vae(), good(), valid=x, epochs=1)


@pytest.mark.parametrize("x", ["digits", None, 3, [["a"]]])
def test_fit_names_data_of_the_wrong_kind(x):
    with pytest.raises(pv.DataError, match="a tensor, a numpy array"):
        pv.fit(vae(), x, epochs=1)


def test_grey_data_are_welcome_with_a_transform_that_makes_them_fit():
    x = torch.rand(20, *IMAGE)
    with pytest.raises(pv.DataError, match=r"data: x: .*transform=data\.binarize"):
        pv.fit(vae(), x, epochs=1)
    assert pv.fit(vae(), x, epochs=1, transform=data.binarize).epochs == 1


def test_a_transform_that_makes_data_unfit_is_found_before_training():
    with pytest.raises(pv.DataError, match=r"data: .*outside the support"):
        pv.fit(vae(), good(), epochs=1, transform=lambda x: x + 0.5)
    with pytest.raises(pv.DataError, match=r"valid: .*outside the support"):
        pv.fit(vae(), good(), epochs=1, valid=good() + 0.5)


# -- sizes and names


SIZES = {
    "latent size": lambda n: priors.StandardNormal(n),
    "learned normal's size": lambda n: priors.Normal(n),
    "flow's size": lambda n: priors.Flow(n),
    "components": lambda n: priors.MixtureOfNormals(2, components=n),
    "pseudo-inputs": lambda n: priors.Vamp(2, components=n),
    "transforms": lambda n: priors.Flow(2, transforms=n),
    "transforms of q": lambda n: posteriors.Flow(transforms=n),
    "context": lambda n: posteriors.Flow(context=n),
    "shape": lambda n: likelihoods.Bernoulli((1, n)),
    "one size": lambda n: likelihoods.Normal((n,)),
    "levels": lambda n: likelihoods.Categorical(3, levels=n),
    "hidden": lambda n: networks.MLP([16, n]),
    "channels": lambda n: networks.Conv([n]),
    "hidden of Conv": lambda n: networks.Conv([4], hidden=[n]),
    "autoencoder": lambda n: pv.Autoencoder(n, likelihoods.Normal(3)),
    "epochs": lambda n: pv.fit(vae(), good(), epochs=n),
    "batch_size": lambda n: pv.fit(vae(), good(), epochs=1, batch_size=n),
    "patience": lambda n: pv.fit(vae(), good(), epochs=1, patience=n),
    "num_samples": lambda n: evaluation.log_likelihood(vae(), good(), num_samples=n),
    "chunk": lambda n: evaluation.log_likelihood(vae(), good(), num_samples=2, chunk=n),
    "num_samples of elbo": lambda n: evaluation.elbo(vae(), good(), num_samples=n),
    "batch_size of elbo": lambda n: evaluation.elbo(vae(), good(), batch_size=n),
    "num_particles": lambda n: objectives.ELBO(num_particles=n),
    "groups": lambda n: objectives.ELBO(free_bits=0.5, groups=n),
    "generate": lambda n: vae().generate(n),
}


@pytest.mark.parametrize("size", [0, -1, 2.5, "3"])
@pytest.mark.parametrize("what", SIZES)
def test_sizes_must_be_whole_and_positive(what, size):
    with pytest.raises((pv.ConfigurationError, pv.DataError), match=rf"at least 1, got {size!r}"):
        SIZES[what](size)


def test_whole_numbers_of_any_kind_are_sizes():
    for two in (2, 2.0, np.int64(2)):
        assert pv.VAE(priors.MixtureOfNormals(two, components=two), likelihoods.Normal((two,))).latent_size == 2


UNKNOWN_NAMES = {
    "activation": (lambda: networks.MLP([8], activation="rellu"), "activation 'rellu'.*did you mean 'relu'"),
    "activation of Conv": (lambda: networks.Conv([8], activation="Tanh"), "did you mean 'tanh'"),
    "norm": (lambda: networks.MLP([8], norm="batchnorm"), r"norm 'batchnorm'.*\(batch, layer\)"),
    "scale": (lambda: likelihoods.Normal(3, scale="predict"), "scale 'predict'.*did you mean 'predicted'"),
    "flow": (lambda: priors.Flow(2, "realvnp"), "flow 'realvnp'.*did you mean 'realnvp'"),
    "precision": (
        lambda: pv.fit(vae(), good(), epochs=1, precision="bfloat16"),
        r"precision 'bfloat16' is unknown.*bf16, float32",
    ),
    "lr_schedule": (lambda: pv.fit(vae(), good(), epochs=1, lr_schedule="cosin"), "did you mean 'cosine'"),
    "method": (
        lambda: evaluation.log_likelihood(vae(), good(), method="importace"),
        "method 'importace'.*did you mean 'importance'",
    ),
    "device": (
        lambda: pv.fit(vae(), good(), epochs=1, device="gpu0"),
        "device 'gpu0' is not available.*'auto' or 'cpu'",
    ),
}


@pytest.mark.parametrize("name", UNKNOWN_NAMES)
def test_unknown_names_come_with_a_suggestion(name):
    call, message = UNKNOWN_NAMES[name]
    with pytest.raises(pv.ConfigurationError, match=message):
        call()


OUT_OF_RANGE = {
    "dropout": (lambda: networks.MLP([8], dropout=1.0), r"dropout is a probability below 1, got 1\.0"),
    "negative dropout": (lambda: networks.Conv([8], dropout=-0.1), r"got -0\.1"),
    "one level": (lambda: likelihoods.Categorical(3, levels=1), "at least 2, got 1"),
    "no stages": (lambda: networks.Conv([]), "at least one stage.*MLP"),
    "zero scale": (lambda: likelihoods.Normal(3, scale=0.0), r"positive number or a name, got 0\.0"),
    "negative scale": (lambda: likelihoods.Laplace(3, scale=-1.0), r"got -1\.0"),
    "scale nan": (lambda: likelihoods.Normal(3, scale=float("nan")), "got nan"),
    "lr": (lambda: pv.fit(vae(), good(), epochs=1, lr=-1e-3), r"lr must be finite and not negative, got -0\.001"),
    "lr nan": (lambda: pv.fit(vae(), good(), epochs=1, lr=float("nan")), "lr must be finite.*got nan"),
    "lr text": (lambda: pv.fit(vae(), good(), epochs=1, lr="fast"), r"lr must be a number or a schedule.*'fast'"),
    "beta": (lambda: vae(beta=-1.0), r"beta must be finite and not negative, got -1\.0"),
    "beta inf": (lambda: vae(beta=float("inf")), "beta must be finite"),
    "beta schedule": (lambda: vae(beta=objectives.Linear(-1.0, 1.0)), r"beta.*got -1\.0"),
    "clip": (lambda: pv.fit(vae(), good(), epochs=1, clip=0.0), r"clip.*positive number, got 0\.0"),
    "free bits": (lambda: objectives.ELBO(free_bits=-0.5), r"free_bits.*not negative, got -0\.5"),
    "epochs of Linear": (lambda: objectives.Linear(epochs=0), "epochs of Linear must be a positive number"),
    "rise": (lambda: objectives.Cyclical(rise=0.0), r"rise.*\(0, 1\], got 0\.0"),
}


@pytest.mark.parametrize("name", OUT_OF_RANGE)
def test_numbers_out_of_range_are_named(name):
    call, message = OUT_OF_RANGE[name]
    with pytest.raises(pv.ConfigurationError, match=message):
        call()


# -- parts that do not fit together


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("prior", 8, r"prior must be a Prior, got 8"),
        ("prior", posteriors.Normal(), r"prior must be a Prior, got Normal\(\)"),
        ("prior", priors.StandardNormal, r"prior must be a Prior, got <class.*one of it: priors\.StandardNormal\("),
        ("prior", "Vamp", r"prior must be a Prior, got 'Vamp'; give an object, not a name: priors\.Vamp\(\.\.\.\)"),
        ("prior", "?", r"got '\?'; give an object, not a name: .*priors\.Vamp, .*priors\.StandardNormal$"),
        ("likelihood", "bernoulli", r"likelihood must be a Likelihood, got 'bernoulli'.*likelihoods\.Bernoulli\("),
        ("posterior", likelihoods.Normal(3), r"posterior must be a Posterior, got Normal\(3\)"),
        ("encoder", [128], r"encoder must be a Network, got \[128\]"),
        ("encoder", "mlp", r"got 'mlp'.*networks\.MLP\("),
        ("decoder", torch.nn.Linear(2, 3), "decoder must be a Network, got Linear.*whose build returns it.*own_parts"),
        ("objective", "elbo", r"objective must be .*ELBO.*'elbo'.*not a name: objectives\.ELBO\("),
        ("objective", "iwae", r"'iwae'.*objectives\.IWAE\("),
        ("objective", objectives.IWAE, r"make one of it: objectives\.IWAE\("),
        ("objective", Trace_ELBO, r"objective must be .*ELBO.*make one of it: Trace_ELBO\("),
        ("beta", "4", "beta must be a number or a schedule.*'4'"),
    ],
)
def test_parts_of_the_wrong_kind_are_named(part, value, message):
    parts = {"prior": priors.StandardNormal(2), "likelihood": likelihoods.Bernoulli(3)} | {part: value}
    with pytest.raises(pv.ConfigurationError, match=message):
        pv.VAE(**parts)


def test_unknown_arguments_come_with_those_that_are_known():
    with pytest.raises(TypeError, match=r"VAE: .*'latents'.*takes.*prior.*likelihood.*posterior"):
        pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(3), latents=2)
    with pytest.raises(TypeError, match=r"StandardNormal: .*it takes"):
        priors.StandardNormal()


@pytest.mark.parametrize("reused", ["posterior", "likelihood", "prior"])
def test_a_part_with_weights_belongs_to_one_variant(reused):
    def parts():
        return {
            "prior": priors.Vamp(2, components=3),
            "likelihood": likelihoods.Bernoulli(3),
            "posterior": posteriors.Normal(),
        }

    first = parts()
    pv.VAE(**first)
    with pytest.raises(pv.ConfigurationError, match=r"already belongs to a variant.*make a new one"):
        pv.VAE(**parts() | {reused: first[reused]})


def test_networks_can_be_shared_because_they_have_no_weights():
    spec = networks.MLP([8])
    first, second = (vae(encoder=spec, decoder=spec) for _ in range(2))
    shared = {id(p) for p in first.parameters()} & {id(p) for p in second.parameters()}
    assert not shared


def test_a_part_without_a_network_says_how_to_get_one():
    with pytest.raises(pv.ConfigurationError, match=r"Normal\(\) has no network yet.*variant.*connect"):
        posteriors.Normal()(torch.zeros(2, 3))
    with pytest.raises(pv.ConfigurationError, match=r"VampPrior has no encoder yet.*pv\.VAE\(prior="):
        priors.Vamp(2)()


def test_the_vamp_prior_needs_a_density():
    with pytest.raises(pv.ConfigurationError, match=r"VampPrior.*density.*Delta\(\).*posteriors\.Normal"):
        pv.VAE(priors.Vamp(2), likelihoods.Normal(3), posteriors.Delta())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: priors.Fixed(dist.Normal(0.0, 1.0)), r"size=, the number of latent dimensions"),
        (lambda: priors.Fixed(dist.Normal(torch.zeros(3), 1.0).to_event(1), size=2), "size=2.*3 dimensions"),
        (lambda: priors.Fixed(dist.Normal(torch.zeros(4, 3), 1.0).to_event(1)), r"batch shape \(4,\)"),
        (lambda: priors.Fixed(dist.Normal(torch.zeros(4, 3), 1.0).to_event(2)), r"event shape \(4, 3\)"),
        (lambda: priors.Fixed(3.0, size=2), r"distribution.*got 3\.0"),
        (lambda: priors.Fixed(torch.distributions.Normal(0.0, 1.0), size=2), "pyro.distributions"),
        (lambda: priors.Fixed(dist.Normal(0.0, 1.0), size=0), "at least 1, got 0"),
    ],
)
def test_misuse_of_fixed_priors_is_explained(make, message):
    with pytest.raises(pv.ConfigurationError, match=message):
        make()


def test_convolutions_need_an_image():
    with pytest.raises(pv.ConfigurationError, match=r"Conv maps from or to an image.*\(30,\).*use MLP"):
        pv.VAE(priors.StandardNormal(2), likelihoods.Normal(30), encoder=networks.Conv([4]))


def test_groups_that_do_not_divide_the_code_are_named(own_store):
    variant = vae(objective=objectives.ELBO(free_bits=0.5, groups=3))
    with pytest.raises(pv.ConfigurationError, match=r"groups=3 does not divide the 2 dimensions of site 'z'"):
        pv.fit(variant, good(), epochs=1)


# -- uses that make no sense


def test_there_is_no_label_in_the_story_of_a_vae():
    with pytest.raises(pv.DataError, match=r"data of VAE do not depend on labels.*generate\(n\) without y"):
        vae().generate(2, y=torch.zeros(2))


def test_an_autoencoder_says_what_it_lacks():
    autoencoder = VARIANTS["autoencoder"]()
    with pytest.raises(pv.ConfigurationError, match=r"no p\(z\) to draw from.*priors\.StandardNormal"):
        autoencoder.generate(3)
    with pytest.raises(pv.DataError, match=r"log p\(x\) cannot be estimated: Improper\(2\), Delta\(\) have"):
        evaluation.log_likelihood(autoencoder, data_for(autoencoder, 3))


@pytest.mark.parametrize("z", [torch.zeros(3), torch.zeros(4, 3), torch.tensor(1.0)])
def test_codes_of_the_wrong_size_are_named(z):
    with pytest.raises(pv.DataError, match=r"z: codes of shape .*wanted \(\.\.\., 2\)"):
        vae().decode(z)


@pytest.mark.parametrize("switch", ["resume", "tensorboard"])
def test_what_needs_a_folder_says_so(switch):
    with pytest.raises(pv.ConfigurationError, match="need folder="):
        pv.fit(vae(), good(), epochs=1, **{switch: True})


def test_a_prior_that_cannot_be_written_as_text_is_named_when_saved(tmp_path):
    mixture = dist.MixtureSameFamily(dist.Categorical(torch.ones(2)), dist.Normal(torch.zeros(2), torch.ones(2)))
    variant = vae(priors.Fixed(mixture, size=2))
    assert variant.generate(2).shape == (2, *IMAGE)
    with pytest.raises(pv.ConfigurationError, match=r"MixtureSameFamily cannot be written as text.*subclass of Prior"):
        variant.save(tmp_path / "v.pt")
    assert not list(tmp_path.iterdir())


def test_a_score_function_posterior_is_pointed_to_another_objective(own_store):
    variant = vae(priors.Bernoulli(3), posteriors.Bernoulli())
    with pytest.raises(pv.ConfigurationError, match=r"'z': Bernoulli .*VIMCO\(5\).*TraceGraph_ELBO.*straight_through"):
        pv.fit(variant, good(), epochs=1)


def test_errors_before_training_change_nothing(tmp_path):
    variant = vae()
    before = {name: p.detach().clone() for name, p in variant.named_parameters()}
    state = torch.get_rng_state()
    with pytest.raises(pv.DataError):
        pv.fit(variant, torch.zeros(4, 3), epochs=1, folder=tmp_path)
    assert torch.equal(torch.get_rng_state(), state)
    assert not variant.initialised
    assert all(torch.equal(p, before[name]) for name, p in variant.named_parameters())
    assert not list(tmp_path.iterdir())

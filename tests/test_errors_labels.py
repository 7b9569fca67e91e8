"""Labels that do not fit, and variants with labels put together or used wrongly: errors that name cause and remedy."""

import numpy as np
import pytest
import torch

import pyro_vae as pv
from pyro_vae import data, evaluation, labels, likelihoods, networks, objectives, posteriors, priors
from tests.family import CLASSES, IMAGE, LABELS, VARIANTS, D, data_for, labels_for, vae, with_labels

N = 8
NAN = float("nan")


def x_of(n=N):
    return torch.bernoulli(torch.full((n, *IMAGE), 0.5))


def classes(n=N):
    return torch.arange(n) % CLASSES


def properties(n=N):
    return torch.randn(n, 2)


def changed(y, row, value):
    y = y.clone()
    y[row] = value
    return y


EVERY_USE = {
    "encode": lambda v, x, y: v.encode(x, y),
    "reconstruct": lambda v, x, y: v.reconstruct(x, y),
    "score": lambda v, x, y: v.score(x, y) if v.predicts else v.encode(x, y),
    "elbo": evaluation.elbo,
    "kl_per_dimension": evaluation.kl_per_dimension,
    "log_likelihood": lambda v, x, y: evaluation.log_likelihood(v, x, y, num_samples=2),
    "split": lambda v, x, y: v.encode(data.Split(x, y)),
    "fit": lambda v, x, y: pv.fit(v, data.Split(x, y), epochs=1),
    "valid": lambda v, x, y: pv.fit(v, (x_of(16), labels_for(v, 16)), valid=data.Split(x, y), epochs=1),
}

BAD_LABELS = {
    "too large": (
        "classes",
        changed(classes(), 5, 3),
        r"1 of 8 labels lie outside the 3 classes 0\.\.2 \(y\[5\] is 3\)",
    ),
    "partial": (
        "properties",
        changed(properties(), (2, 1), NAN),
        r"1 data have some of their 2 properties.*datum 2.*NaN",
    ),
    "one column": ("properties", properties()[:, :1], r"2 properties of 8 data have shape \(8, 2\), got \(8, 1\)"),
    "three columns": ("properties", torch.randn(N, 3), r"shape \(8, 2\), got \(8, 3\)"),
    "integers for reals": ("properties", classes(), r"shape \(8, 2\), got \(8,\)"),
    "one-hot": (
        "classes",
        torch.nn.functional.one_hot(classes()).float(),
        r"shape \(8,\), got \(8, 3\); of one-hot vectors take y\.argmax\(-1\)",
    ),
    "whole floats in a column": (
        "classes",
        classes().float()[:, None],
        r"shape \(8,\), got \(8, 1\); take y\.long\(\)",
    ),
    "reals for classes": (
        "classes",
        properties(),
        r"integer classes, -1 where.*torch\.float32 such as .*labels\.Normal",
    ),
}


@pytest.mark.parametrize("use", EVERY_USE)
@pytest.mark.parametrize("bad", BAD_LABELS)
@pytest.mark.parametrize("variant", [pv.SemiSupervisedVAE, pv.ConditionalVAE])
def test_labels_that_do_not_fit_are_refused_everywhere(variant, use, bad):
    kind, y, message = BAD_LABELS[bad]
    with pytest.raises(pv.DataError, match=f"y: .*{message}"):
        EVERY_USE[use](with_labels(variant, kind), x_of(), y)


@pytest.mark.parametrize(
    ("kind", "y", "message"),
    [
        ("classes", changed(classes(), 1, -2), r"outside the 3 classes 0\.\.2 \(y\[1\] is -2\); a missing label is -1"),
        ("classes", classes().float() + 0.5, r"integer classes.*got torch\.float32 such as 0\.5.*y\.long\(\)"),
        ("classes", changed(classes().float(), 3, NAN), r"with 1 NaN; take torch\.nan_to_num\(y, nan=-1\)\.long\(\)"),
        ("classes", changed(classes().float() + 0.5, 3, NAN), r"such as 0\.5.*labels\.Normal"),
        ("classes", np.array(["a"] * N, dtype=object), r"dtype object; .*pandas\.Categorical\(y\)\.codes"),
        ("classes", classes() > 0, r"integer classes.*got torch\.bool"),
        ("classes", classes()[:5], r"classes for 8 data have shape \(8,\), got \(5,\)"),
        ("classes", classes()[:, None], r"got \(8, 1\); take y\[:, 0\]"),
        ("classes", "3", r"y: .*str"),
        ("classes", ["a"] * N, r"y: .*"),
        ("properties", changed(properties(), 4, float("inf")), r"2 of 16 properties are infinite"),
        ("properties", properties()[:5], r"properties of 8 data have shape \(8, 2\), got \(5, 2\)"),
        ("properties", properties() > 0, r"real properties, NaN where they are missing, got torch\.bool"),
    ],
)
def test_bad_labels_given_directly_are_named(kind, y, message):
    with pytest.raises(pv.DataError, match=message):
        with_labels(pv.SemiSupervisedVAE, kind).encode(x_of(), y)


def test_labels_of_any_usual_type_are_welcome():
    variant = with_labels(pv.ConditionalVAE)
    expected = variant.encode(x_of(), classes()).mean.shape
    for y in (
        classes().int(),
        classes().float(),
        classes().tolist(),
        classes().numpy(),
        classes().numpy().astype("i2"),
    ):
        assert variant.encode(x_of(), y).mean.shape == expected
    real = with_labels(pv.ConditionalVAE, "properties")
    for y in (properties().double(), properties().numpy(), np.arange(2 * N).reshape(N, 2), properties().tolist()):
        assert real.encode(x_of(), y).mean.dtype == torch.float32


# -- missing labels


@pytest.mark.parametrize("use", [use for use in EVERY_USE if use != "score"])
@pytest.mark.parametrize("kind", ["classes", "properties"])
def test_variants_that_need_every_label_say_which_is_missing(kind, use):
    y = changed(classes(), slice(3, 5), -1) if kind == "classes" else changed(properties(), slice(3, 5), NAN)
    with pytest.raises(
        pv.DataError, match=r"2 of 8 labels are missing.*datum 3.*ConditionalVAE needs.*leave those data"
    ):
        EVERY_USE[use](with_labels(pv.ConditionalVAE, kind), x_of(), y)


@pytest.mark.parametrize("name", ["conditional", "discriminative", "structured_output"])
def test_variants_that_need_labels_say_so_where_there_are_none(name):
    variant = VARIANTS[name]()
    x = data_for(variant, N)
    for use in (lambda: pv.fit(variant, x, epochs=1), lambda: evaluation.elbo(variant, x)):
        with pytest.raises(pv.DataError, match=r"needs the label of every datum; give y, or a split that has it"):
            use()


@pytest.mark.parametrize("name", ["m2", "m2_properties", "m1m2"])
@pytest.mark.parametrize("how", ["none given", "all missing"])
def test_without_any_label_there_is_nothing_to_learn_them_from(name, how):
    variant = VARIANTS[name]()
    x, y = data_for(variant, N), labels_for(variant, N)
    y = None if how == "none given" else torch.full_like(y, NAN if y.is_floating_point() else -1)
    with pytest.raises(
        pv.DataError, match=r"y: no label is known, so nothing tells \w+ what y means; give some labels"
    ):
        pv.fit(variant, (x, y), epochs=1)
    assert not variant.initialised


def test_m1_wants_labels_of_two_classes_before_it_starts():
    variant = with_labels(pv.M1)
    seen = []
    for y in (None, torch.full((N,), -1), torch.where(classes() == 1, 1, -1)):
        with pytest.raises(pv.DataError, match=r"M1's classifier needs known labels of at least two classes.*pv\.VAE"):
            pv.fit(variant, (x_of(), y), epochs=1, transform=lambda x: seen.append(len(x)) or x)
    assert len(seen) <= 6, "it trained before it looked"
    with pytest.raises(pv.ConfigurationError, match=r"M1 has no classifier yet; pyro_vae\.fit trains it"):
        variant.predict(x_of())


@pytest.mark.parametrize("name", ["m2", "m1", "prediction_constrained", "conditional", "discriminative"])
def test_a_class_without_labels_is_warned_of(name):
    variant = VARIANTS[name]()
    x, y = data_for(variant, 16), torch.arange(16) % 2
    with pytest.warns(UserWarning, match=r"no datum is labelled as class 2: .*label some such data, or leave it out"):
        pv.fit(variant, (x, y), epochs=1)
    several = with_labels(pv.PredictionConstrainedVAE)
    with pytest.warns(UserWarning, match="as any of the classes 1, 2: the model may use them for anything"):
        pv.fit(several, (x_of(), torch.zeros(N, dtype=torch.long)), epochs=1)


@pytest.mark.parametrize("name", ["m2_properties", "conditional_properties_conv", "discriminative_properties"])
def test_properties_that_never_change_or_are_too_few_are_named(name):
    def fit(y):
        variant = VARIANTS[name]()
        return pv.fit(variant, (data_for(variant, N), y), epochs=1)

    with pytest.raises(pv.DataError, match=r"property 1 is 4 for all 8 labelled data \(zero variance\).*leave it out"):
        fit(changed(properties(), (slice(None), 1), 4.0))
    if VARIANTS[name]().labels == "some":
        with pytest.raises(pv.DataError, match="need at least 2 labelled data, got 1"):
            fit(changed(properties(), slice(1, None), NAN))


def test_few_or_dependent_properties_are_enough_for_a_covariance():
    for y in (torch.tensor([[1.0, 2.0], [2.0, 4.0]]), torch.arange(20.0)[:, None] * torch.tensor([1.0, -3.0])):
        label = labels.Normal(2)
        label.initialise_from(y)
        assert torch.linalg.eigvalsh(label().covariance_matrix).min() > 0
        assert label().log_prob(y).isfinite().all()


# -- stories without labels, or that do not depend on them


def test_a_vae_takes_no_labels_but_ignores_those_of_a_split():
    variant = vae()
    for use in (variant.encode, variant.reconstruct, lambda x, y: evaluation.elbo(variant, x, y)):
        with pytest.raises(pv.DataError, match="VAE has no labels in its story; leave y out"):
            use(x_of(), classes())
    assert pv.fit(variant, data.Split(x_of(), classes()), epochs=1).epochs == 1
    assert variant.encode(data.Split(x_of(), classes())).batch_shape == (N,)


@pytest.mark.parametrize("name", ["m1", "prediction_constrained"])
def test_data_that_do_not_depend_on_labels_cannot_be_generated_for_them(name):
    with pytest.raises(pv.DataError, match=r"do not depend on labels; call generate\(n\) without y"):
        VARIANTS[name]().generate(3, 1)
    with pytest.raises(pv.DataError, match=r"do not depend on labels; call decode\(z\) without y"):
        VARIANTS[name]().decode(torch.zeros(3, D), 1)


GENERATE = {
    "out of range": ("classes", 3, r"3 of 3 labels lie outside the 3 classes 0\.\.2"),
    "wrong length": ("classes", [0, 1], r"classes for 3 data have shape \(3,\), got \(2,\)"),
    "missing": ("classes", -1, "3 of 3 labels are missing"),
    "fraction": ("classes", 0.5, "integer classes"),
    "text": ("classes", "two", "y: .*str"),
    "wrong P": ("properties", [1.0, 2.0, 3.0], r"2 properties of 3 data have shape \(3, 2\), got \(3,\)"),
    "unknown": ("properties", [1.0, NAN], "some of their 2 properties"),
}


@pytest.mark.parametrize("variant", [pv.ConditionalVAE, pv.SemiSupervisedVAE])
@pytest.mark.parametrize("case", GENERATE)
def test_labels_to_generate_for_must_fit(case, variant):
    kind, y, message = GENERATE[case]
    with pytest.raises(pv.DataError, match=message):
        with_labels(variant, kind).generate(3, y)


def test_codes_and_labels_must_go_together():
    variant = with_labels(pv.ConditionalVAE)
    z = torch.zeros(4, D)
    with pytest.raises(pv.DataError, match=r"decodes a code together with a label; call decode\(z, y\)"):
        variant.decode(z)
    with pytest.raises(
        pv.DataError, match=r"labels of shape \(3,\) for codes of batch shape \(4,\).*one label for all"
    ):
        variant.decode(z, classes(3))
    with pytest.raises(pv.DataError, match="outside the 3 classes"):
        variant.decode(z, 7)
    with pytest.raises(pv.DataError, match=r"generates data for given labels; call generate\(n, y\)"):
        variant.generate(3)
    for given in (1, classes(4)):
        assert variant.decode(z, given).batch_shape == (4,)
    assert variant.decode(torch.zeros(2, 4, D), classes(8).reshape(2, 4)).batch_shape == (2, 4)


@pytest.mark.parametrize("what", ["encode", "reconstruct", "decode"])
def test_what_has_no_code_says_so(what):
    arguments = (torch.zeros(3, D),) if what == "decode" else (x_of(), classes())
    with pytest.raises(pv.ConfigurationError, match="Discriminative has no codes: nothing in it is latent"):
        getattr(VARIANTS["discriminative"](), what)(*arguments)


def test_structured_output_says_what_to_call():
    variant = VARIANTS["structured_output"]()
    with pytest.raises(pv.ConfigurationError, match=r"decodes z together with x: answers\(x, n\)"):
        variant.decode(torch.zeros(3, D))
    x = data_for(variant, N)
    y = labels_for(variant, N)
    for bad, message in [
        (y + 0.5, r"y: .*outside the support of Bernoulli"),
        (y[:, :4], r"y: data of shape \(8, 4\) do not fit Bernoulli\(6\)"),
        (y[:5], r"y: 5 outputs for 8 data"),
        (y * NAN, r"y: .*NaN or infinite"),
    ]:
        with pytest.raises(pv.DataError, match=message):
            variant.encode(x, bad)
    with pytest.raises(pv.DataError, match=r"x: data of shape \(8, 6\) do not fit StructuredOutputVAE"):
        variant.encode(y, y)


# -- putting together


def test_m1m2_builds_on_a_trained_vae():
    with pytest.raises(pv.ConfigurationError, match="m1 must be a VAE, got M2"):
        pv.M1M2(VARIANTS["m2"](), labels.Categorical(3), priors.StandardNormal(D))
    untrained = pv.M1M2(vae(), labels.Categorical(3), priors.StandardNormal(D))
    with pytest.raises(pv.ConfigurationError, match=r"trained M1: call pyro_vae\.fit on it first, then make the M1M2"):
        pv.fit(untrained, (x_of(), classes()), epochs=1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: labels.Categorical(1), "at least 2 classes, got 1"),
        (lambda: labels.Categorical(2.5), r"number of classes must be a whole number.*got 2\.5"),
        (lambda: labels.Categorical(3, probs=[0.5, 0.5]), "3 positive frequencies that add up to 1"),
        (lambda: labels.Categorical(2, probs=[0.5, 0.6]), "2 positive frequencies that add up to 1"),
        (lambda: labels.Categorical(2, probs=[1.0, 0.0]), "positive frequencies"),
        (lambda: labels.Normal(0), "number of properties must be a whole number of at least 1, got 0"),
        (
            lambda: pv.M2("3", priors.StandardNormal(D), likelihoods.Bernoulli(3)),
            "classes must be a Categorical, got '3'",
        ),
        (lambda: pv.Discriminative(3, 5), r"output must be a Label, got 3; for 3 classes labels\.Categorical\(3\), "),
        (
            lambda: pv.ConditionalVAE(10, priors.StandardNormal(D), likelihoods.Bernoulli(3)),
            r"label must be a Label, got 10; for 10 classes labels\.Categorical\(10\), for .* labels\.Normal\(10\)",
        ),
        (
            lambda: with_labels(pv.ConsistencyConstrainedVAE, "properties"),
            r"label must be a Categorical, got Normal\(2\)",
        ),
        (lambda: with_labels(pv.M1, "properties"), r"label must be a Categorical, got Normal\(2\)"),
        (lambda: with_labels(pv.M1, codes="mode"), r"codes 'mode' is unknown.*mean"),
        (lambda: with_labels(pv.SemiSupervisedVAE, classifier=[8]), r"classifier must be a Network, got \[8\]"),
        (lambda: with_labels(pv.SemiSupervisedVAE, alpha=-1.0), r"alpha must be finite and not negative, got -1\.0"),
        (
            lambda: with_labels(pv.PredictionConstrainedVAE, multiplier="big"),
            "multiplier must be a number or a schedule",
        ),
        (lambda: with_labels(pv.ConsistencyConstrainedVAE, consistency=NAN), "consistency must be finite"),
        (lambda: with_labels(pv.ConsistencyConstrainedVAE, aggregate=-2), "aggregate must be finite"),
        (
            lambda: with_labels(pv.SemiSupervisedVAE, prior="vamp"),
            r"q\(z \| x, y\) wants a label.*MixtureOfNormals\(2\)",
        ),
        (lambda: pv.fit(vae(), x_of(), epochs=1, labelled_batch_size="some"), "labelled_batch_size 'some' is unknown"),
        (lambda: pv.fit(vae(), x_of(), epochs=1, labelled_batch_size=0), "labelled_batch_size must be a whole number"),
        (
            lambda: pv.fit(with_labels(pv.M2), (x_of(), classes()), epochs=1, monitor="valid_accuracy", patience=1),
            "monitor='valid_accuracy' is not measured in this run; there are .*elbo",
        ),
    ],
)
def test_what_cannot_be_put_together_is_named(make, message):
    with pytest.raises(pv.ConfigurationError, match=message):
        make()


def parts_of(kind):
    """Parts that all hold something of their variant once they belong to one."""
    label = {"learned": LABELS["learned"], "properties": LABELS["properties"]}[kind]()
    return {
        "label": label,
        "prior": priors.MixtureOfNormals(D),
        "likelihood": likelihoods.Bernoulli(4),
        "posterior": posteriors.Normal(),
    }


LABELLED = [pv.ConditionalVAE, pv.SemiSupervisedVAE, pv.PredictionConstrainedVAE]


@pytest.mark.parametrize("variant", LABELLED)
@pytest.mark.parametrize("kind", ["learned", "properties"])
@pytest.mark.parametrize("reused", ["label", "prior", "likelihood", "posterior"])
def test_a_part_belongs_to_one_variant_however_often_it_is_tried(variant, kind, reused):
    first = parts_of(kind)
    variant(**first)
    for _ in range(2):  # a refusal must not set free what belongs to the first
        other = parts_of(kind)
        with pytest.raises(pv.ConfigurationError, match=r"already belongs to a variant and holds its .*make a new one"):
            variant(**other | {reused: first[reused]})
        variant(**other | {reused: parts_of(kind)[reused]})  # the others stayed free


def test_one_label_may_be_a_number_of_any_kind():
    variant = with_labels(pv.ConditionalVAE)
    for y in (2, np.int64(2), torch.tensor(2), np.array(2), [2, 2], np.array([2, 2], dtype=np.int8)):
        assert variant.generate(2, y).shape == (2, *variant.shape)


class Wrong(networks.Network):
    """A network that cannot be built."""

    def build(self, *inputs, output):
        raise pv.ConfigurationError("this network cannot be built")


BROKEN = {
    "decoder": {"decoder": Wrong()},
    "alpha": {"alpha": -1.0},
    "beta": {"beta": -1.0},
    "objective": {"objective": "elbo"},
    "classifier": {"classifier": Wrong()},
    "multiplier": {"multiplier": float("inf")},
    "consistency": {"consistency": -1.0},
}


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("variant", [*LABELLED, pv.ConsistencyConstrainedVAE, pv.M1])
def test_parts_stay_free_when_a_constructor_fails(variant, broken):
    kind = "learned"
    parts = parts_of(kind)
    try:
        variant(**parts | BROKEN[broken])
    except TypeError:
        pytest.skip(f"{variant.__name__} takes no {broken}")
    except pv.ConfigurationError:
        made = variant(**parts)
        assert made.model.prior is parts["prior"]
    else:
        pytest.fail("it should not have been made")


@pytest.mark.parametrize("beta", [-1.0])
def test_parts_of_other_constructors_stay_free_too(beta):
    parts = parts_of("learned")
    del parts["label"]
    with pytest.raises(pv.ConfigurationError):
        pv.VAE(**parts, beta=beta)
    pv.VAE(**parts)
    structured = {"prior": priors.ConditionalNormal(D), "likelihood": likelihoods.Bernoulli(4), "shape": 3}
    with pytest.raises(pv.ConfigurationError):
        pv.StructuredOutputVAE(**structured, beta=beta)
    pv.StructuredOutputVAE(**structured)
    output = likelihoods.Bernoulli(4)
    with pytest.raises(pv.ConfigurationError):
        pv.Discriminative(output, 3, objective="elbo")
    pv.Discriminative(output, 3)
    m1, label, prior = vae(), labels.Categorical(3, learned=True), priors.MixtureOfNormals(D)
    with pytest.raises(pv.ConfigurationError):
        pv.M1M2(m1, label, prior, beta=beta)
    pv.M1M2(m1, label, prior)


def test_two_m1m2_may_stand_on_one_vae():
    m1 = vae()
    first, second = (pv.M1M2(m1, labels.Categorical(3), priors.StandardNormal(D)) for _ in range(2))
    shared = {id(p) for p in first.parameters()} & {id(p) for p in second.parameters()}
    assert not shared
    assert not shared & {id(p) for p in m1.parameters()}


def test_errors_before_training_change_nothing():
    variant = with_labels(pv.SemiSupervisedVAE, "properties")
    before = {name: value.clone() for name, value in variant.state_dict().items()}
    bad = [properties()[:, :1], changed(properties(), (0, 0), NAN), torch.full((N, 2), NAN), torch.ones(N, 2)]
    state = torch.get_rng_state()
    for y in bad:
        with pytest.raises(pv.DataError):
            pv.fit(variant, data.Split(torch.zeros(N, *IMAGE), y), epochs=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in variant.state_dict().items())


def test_free_bits_leave_classes_alone(own_store):
    """An allowance for z is none for y: a class costs its KL even where free bits are large."""
    variant = with_labels(pv.SemiSupervisedVAE, objective=objectives.ELBO(free_bits=1e3, groups=1))
    variant.objective.loss_and_grads(variant.model, variant.guide, x_of(), None)
    assert all(p.grad.any() for p in variant.guide.classifier.parameters())


@pytest.mark.parametrize("make", [pv.ConditionalVAE, pv.PredictionConstrainedVAE])
def test_frequencies_that_nothing_trains_are_told(make):
    label = labels.Categorical(3, learned=True)
    with pytest.warns(UserWarning, match=r"no p\(y\), so nothing trains its frequencies"):
        make(label, priors.StandardNormal(2), likelihoods.Bernoulli(5))

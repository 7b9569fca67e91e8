"""Ledgers of variants with labels: rows add up to the bound, and with weights and factors to minus the loss."""

import xml.etree.ElementTree as ElementTree

import pytest
import torch

import pyro_vae as pv
from pyro_vae import data, evaluation, likelihoods, networks, objectives, priors
from pyro_vae.program import labelled
from pyro_vae.variants.contexts import evaluating
from tests.family import IMAGE, WITH_LABELS, data_for, labels_for, randomised

N = 24
CASES = [(name, known) for name in WITH_LABELS for known in ("all", "some", "none")]


def make(name, known):
    """A variant away from where it starts, with data of which all, some or no labels are known."""
    variant = randomised(WITH_LABELS[name]())
    if variant.labels != "some" and known != "all":
        pytest.skip("every datum needs a label")
    x, y = data_for(variant, N), labels_for(variant, N)
    variant.label.initialise_from(y)
    if missing := {"all": [], "some": [0, 3, 4, 9, 20], "none": list(range(N))}[known]:
        y[missing] = variant.label.missing(len(missing)).to(y)
    return variant, x, y


def of_data(variant, x, y):
    """Labels where the programs look at them: M1's do not."""
    return None if len(variant.examples(2)) == 1 and not labelled(y).all() else y


@pytest.mark.parametrize(("name", "known"), CASES)
@pytest.mark.parametrize("num_samples", [1, 3])
def test_rows_add_up_to_the_elbo_of_the_same_draws(name, known, num_samples):
    variant, x, y = make(name, known)
    ledger = pv.story(variant).ledger(x, y, num_samples=num_samples, seed=5)
    torch.manual_seed(5)
    terms = evaluation.elbo(variant, x, of_data(variant, x, y), num_samples=num_samples)
    assert ledger.total == pytest.approx(terms.elbo.mean().item(), rel=1e-5, abs=1e-5)
    assert ledger.standard_error == pytest.approx(terms.elbo.std().item() / N**0.5, rel=1e-4)
    main = [row for row in ledger.rows if row.part_of is None and row.role != "factor"]
    observed = sum(row.mean for row in main if row.role == "observed")
    assert observed == pytest.approx(terms.reconstruction.mean().item(), rel=1e-5, abs=1e-5)
    for row in main:
        parts = [part.mean for part in ledger.rows if part.part_of == row.site and part.group == row.group]
        assert not parts or sum(parts) == pytest.approx(row.mean, rel=1e-4, abs=1e-4)
    # each group's own ELBO, at its share of the data
    shares = sum(group.size / N * group.elbo for group in ledger.groups)
    assert not ledger.groups or shares == pytest.approx(ledger.total, rel=1e-5)
    assert len(ledger.groups) == (2 if known == "some" and len(variant.examples(2)) > 1 else 0)
    ElementTree.fromstring(ledger._repr_html_())


@pytest.mark.parametrize(("name", "known"), CASES)
def test_weighted_rows_and_factors_add_up_to_minus_the_loss(name, known):
    variant, x, y = make(name, known)
    if type(variant.objective) is not objectives.ELBO or variant.objective.free_bits:
        pytest.skip("another objective charges something else")
    variant.objective = objectives.ELBO()
    ledger = pv.story(variant).ledger(x, y, seed=5)
    with evaluating(variant):
        torch.manual_seed(5)
        loss = variant.objective.loss(variant.model, variant.guide, *variant.program_arguments(x, y)) / N
    assert ledger.weighted_total == pytest.approx(-loss, rel=1e-5, abs=1e-4)
    assert ledger.objective == pytest.approx(-loss, rel=1e-5, abs=1e-4)
    assert "what training climbs" not in str(ledger)
    several = pv.story(variant).ledger(x, y, num_samples=4, seed=5)
    assert several.objective == pytest.approx(several.weighted_total, rel=1e-5, abs=1e-4)


def m2(**options):
    return pv.M2(
        3, priors.StandardNormal(2), likelihoods.Bernoulli(IMAGE), encoder=networks.MLP([8]), alpha=50, **options
    )


def test_rows_of_m2():
    variant = m2(beta=1)
    x, y = data_for(variant, N), labels_for(variant, N)
    y[6:] = -1
    ledger = pv.story(variant).ledger(x, y)
    rows = {(row.group, row.what): row for row in ledger.rows if row.part_of is None}
    assert list(rows) == [
        ("labelled", "log p(y)"),
        ("labelled", "−KL(q(z | x, y) ‖ p(z))"),
        ("labelled", "log p(x | y, z)"),
        ("labelled", "log q(y | x)"),
        ("unlabelled", "−KL(q(y | x) ‖ p(y))"),
        ("unlabelled", "−KL(q(z | x, y) ‖ p(z))"),
        ("unlabelled", "log p(x | y, z)"),
    ]
    # log 1/3 for a quarter of the data, exactly; KL and log q as the classifier has them
    assert rows["labelled", "log p(y)"].mean == pytest.approx(-(6 / N) * torch.log(torch.tensor(3.0)).item())
    q = variant.predict(x)
    factor = rows["labelled", "log q(y | x)"]
    assert (factor.role, factor.weight, factor.exact) == ("factor", 50, True)
    assert factor.mean == pytest.approx(q.log_prob(y.clamp(min=0))[:6].sum().item() / N, rel=1e-4)
    kl = (q.probs * (q.probs * 3).log()).sum(-1)[6:].sum().item() / N
    assert rows["unlabelled", "−KL(q(y | x) ‖ p(y))"].mean == pytest.approx(-kl, abs=1e-5)
    assert [row.exact for row in rows.values()] == [True, True, False, True, True, True, False]
    assert ledger.weighted_total == pytest.approx(ledger.total + 50 * factor.mean, rel=1e-6)
    assert [(group.where, group.size) for group in ledger.groups] == [
        ("where y is known", 6),
        ("where y is missing", 18),
    ]


def test_the_table_shows_groups_and_what_training_adds():
    variant = m2(beta=1)
    x, y = data_for(variant, N), labels_for(variant, N)
    y[6:] = -1
    lines = str(pv.story(variant).ledger(x, y)).splitlines()
    assert lines[:2] == [
        f"The ELBO of {N} data, with 1 draw from the guide for each",
        "Every row is averaged over all of them, so that the rows add up",
    ]
    assert [line.partition(":")[0] for line in lines if line.startswith("where")] == [
        "where y is known",
        "where y is missing",
    ]
    foot = lines[lines.index(next(line for line in lines if line.startswith("ELBO"))) :]
    assert foot[1].startswith("log q(y | x), where y is known")
    assert foot[1].split()[-2:] == ["exact", "50"]
    assert foot[2].startswith("with its weights and what training adds")
    # without weights the groups keep their headings
    variant.weigh(prediction=1)
    plain = str(pv.story(variant).ledger(x, y))
    assert "where y is missing: 18 data, with an ELBO of −" in plain
    assert "weight" not in plain


def test_a_term_after_a_draw_is_sampled():
    variant = WITH_LABELS["m1m2"]()
    x, y = data_for(variant, N), labels_for(variant, N)
    exact = {row.what: row.exact for row in pv.story(variant).ledger(x, y).rows if row.part_of is None}
    assert exact == {
        "log p(y)": True,
        "−KL(q(z₂ | y, z₁) ‖ p(z₂))": False,  # exact for each draw of z1
        "log p(z₁ | y, z₂) − log q(z₁ | x)": False,  # and no KL
        "log p(x | z₁)": False,
        "log q(y | z₁)": False,
    }


def test_nothing_is_drawn_where_nothing_is_latent():
    variant = WITH_LABELS["discriminative"]()
    x, y = data_for(variant, N), labels_for(variant, N)
    ledger = pv.story(variant).ledger(x, y)
    (row,) = ledger.rows
    assert (row.what, row.exact) == ("log p(y | x)", True)
    assert row.mean == pytest.approx(variant.predict(x).log_prob(y).mean().item(), rel=1e-5)
    assert str(ledger).splitlines()[0] == f"The ELBO of {N} data"


def test_a_split_brings_its_labels(digits):
    variant = pv.M2(
        10, priors.StandardNormal(2), likelihoods.ContinuousBernoulli(digits.shape), encoder=networks.MLP([8])
    )
    split = data.labelled_subset(digits.train, 100)
    story = pv.story(variant)
    ledger = story.ledger(split)
    assert str(ledger) == str(story.ledger(split.x, split.y))
    assert [group.size for group in ledger.groups] == [100, len(split.x) - 100]
    # one kind only: a plain table
    known = labelled(split.y)
    assert not story.ledger(split.x[known], split.y[known]).groups
    assert {row.what for row in story.ledger(split.x[known], split.y[known]).factors} == {"log q(y | x)"}
    assert not story.ledger(split.x).factors


def test_a_story_of_one_kind_still_accounts_for_both():
    variant = m2(beta=1)
    x, y = data_for(variant, N), labels_for(variant, N)
    y[6:] = -1
    of_both = pv.story(variant).ledger(x, y)
    of_one = pv.story(variant, x, None).ledger(x, y)
    assert of_one.total == of_both.total
    assert [row.what for row in of_one.rows] == [row.what for row in of_both.rows]


def test_weights_are_those_of_now():
    variant = m2(beta=1)
    x, y = data_for(variant, N), labels_for(variant, N)
    story = pv.story(variant)
    variant.weigh(prediction=7)
    ledger = story.ledger(x, y)
    assert [row.weight for row in ledger.factors] == [7]
    assert ledger.objective == pytest.approx(ledger.weighted_total, abs=1e-4)


def test_more_data_than_a_batch():
    variant = m2(beta=2)
    x, y = data_for(variant, 2300), labels_for(variant, 2300)
    y[1100:] = -1
    ledger = pv.story(variant).ledger(x, y)
    assert ledger.objective == pytest.approx(ledger.weighted_total, abs=1e-3)

"""Stories of variants with labels: what a textbook says of each, and y where it is known for some data only."""

import xml.etree.ElementTree as ElementTree

import pyro
import pytest
import torch
from pyro.infer import RenyiELBO

import pyro_vae as pv
from pyro_vae import guides, labels, likelihoods, networks, objectives, posteriors, priors
from pyro_vae.stories import formula_svg
from pyro_vae.stories.symbols import to_text
from tests.family import WITH_LABELS

SHAPE = (1, 4, 4)
DECODED = "x given {} from a Bernoulli, for each of 1x4x4 values, with logits from the decoder"
ENCODED = "from a normal with means and scales from the encoder"
CLASSIFIED = "from 3 classes with probabilities from the classifier"
SUMMED = "(no draw is needed: all its values are summed over)"


def make(variant, label=None, prior=None, **options):
    label = labels.Categorical(3) if label is None else label
    options = {"encoder": networks.MLP([8])} | options
    return variant(label, prior or priors.StandardNormal(2), likelihoods.Bernoulli(SHAPE), **options)


def m2(**options):
    return make(pv.M2, **({"alpha": 50, "beta": 1} | options))


def stacked():
    m1 = pv.VAE(priors.StandardNormal(5), likelihoods.Bernoulli(SHAPE), encoder=networks.MLP([8]))
    m1.initialised.fill_(True)
    return pv.M1M2(m1, labels.Categorical(3), priors.StandardNormal(2), encoder=networks.MLP([8]))


def structured(**options):
    prior = priors.ConditionalNormal(2)
    return pv.StructuredOutputVAE(prior, likelihoods.Bernoulli(6), 5, encoder=networks.MLP([8]), **options)


def discriminative():
    return pv.Discriminative(labels.Categorical(3), 5, networks.MLP([8]))


def said(variant):
    """Words, factorisations and formulas of the objective."""
    story = pv.story(variant)
    words = [line.strip() for line in story.words.splitlines()]
    factorisations = [to_text(story.model_latex), to_text(story.guide_latex)]
    return words, factorisations, [to_text(line) for line in story.objective.lines], story.objective.notes


def test_the_story_of_m2():
    # Kingma et al. 2014, equations 2, 4, 6, 7 and 9, with the signs of a bound that is maximised
    assert str(pv.story(m2())) == (
        "M2\n"
        "\n"
        "The story\n"
        "  For each datum n = 1, ..., N:\n"
        "    1. draw y from 3 classes, all equally frequent (known for some data)\n"
        "    2. draw its code z from a standard normal in 2 dimensions\n"
        "    3. draw x given y, z from a Bernoulli, for each of 1x4x4 values, with logits\n"
        "       from the decoder\n"
        "  The guide, reading x, and y where it is known:\n"
        "    where y is missing, draw y given x from 3 classes with probabilities from\n"
        "      the classifier (no draw is needed: all its values are summed over)\n"
        "    draw z given x, y from a normal with means and scales from the encoder\n"
        "    where y is known, add log q(y | x) to the objective\n"
        "\n"
        "Model   p(x, y, z) = p(y) p(z) p(x | y, z)\n"
        "  y        ~ Cat(1/3)                         y ∈ {0, 1, 2}\n"
        "  z        ~ N(0, I₂)                         z ∈ ℝ²\n"
        "  x | y, z ~ Bernoulli(σ(f_θ(y, z)))          x ∈ {0, 1}^(1 × 4 × 4)\n"
        "Guide   q(y, z | x) = q(y | x) q(z | x, y)\n"
        "  y | x    ~ Cat(π_φ(x))                      y ∈ {0, 1, 2}\n"
        "  z | x, y ~ N(μ_φ(x, y), diag σ_φ²(x, y))    z ∈ ℝ²\n"
        "\n"
        "Objective, maximised: ELBO()\n"
        "  J = Σ_labelled [L(x, y) + α log q(y | x)] + Σ_unlabelled U(x)\n"
        "  L(x, y) = E_q(z|x,y)[log p(y) + log p(x | y, z)] − KL(q(z | x, y) ‖ p(z))\n"
        "  U(x) = E_q[log p(x | y, z)] − KL(q(y | x) ‖ p(y))\n"
        "         − E_q(y|x)[KL(q(z | x, y) ‖ p(z))]\n"
        "  α = 50 weighs log q(y | x)\n"
        "  where y is missing, y is summed over all its values, weighted by q\n"
        "  L(x, y), where y is known, is a lower bound on log p(x, y)\n"
        "  U(x), where y is missing, is a lower bound on log p(x)"
    )


def test_properties_are_the_same_story_with_another_label():
    words, factorisations, formulas, _ = said(make(pv.SemiSupervisedVAE, labels.Normal(4)))
    assert words == [
        "For each datum n = 1, ..., N:",
        "1. draw y from a normal with the mean and covariance of the known labels, in 4 dimensions "
        "(known for some data)",
        "2. draw its code z from a standard normal in 2 dimensions",
        f"3. draw {DECODED.format('y, z')}",
        "The guide, reading x, and y where it is known:",
        "where y is missing, draw y given x from a normal with means and a full covariance from the classifier",
        f"draw z given x, y {ENCODED}",
        "where y is known, add log q(y | x) to the objective",
    ]
    assert factorisations == said(m2())[1]
    assert formulas == said(m2())[2]


def test_the_conditional_vae():
    words, factorisations, formulas, notes = said(make(pv.ConditionalVAE))
    assert words == [
        "For each datum n = 1, ..., N, given y:",
        "1. draw its code z from a standard normal in 2 dimensions",
        f"2. draw {DECODED.format('y, z')}",
        "The guide, reading x, y:",
        f"draw z {ENCODED}",
    ]
    assert factorisations == ["p(x, z | y) = p(z) p(x | y, z)", "q(z | x, y)"]
    assert formulas == ["L(x, y) = E_q(z|x,y)[log p(x | y, z)] − KL(q(z | x, y) ‖ p(z))"]
    assert notes == ["a lower bound on log p(x | y)"]


def test_structured_output():
    # Sohn, Lee & Yan 2015, equation 4
    words, factorisations, formulas, notes = said(structured())
    assert words == [
        "For each datum n = 1, ..., N, given x:",
        "1. draw its code z given x from a normal in 2 dimensions with means and scales from a network of x",
        "2. draw y given x, z from a Bernoulli, for each of 6 values, with logits from the decoder",
        "The guide, reading x, y:",
        f"draw z {ENCODED}",
    ]
    assert factorisations == ["p(y, z | x) = p(z | x) p(y | x, z)", "q(z | x, y)"]
    assert formulas == ["L(x, y) = E_q(z|x,y)[log p(y | x, z)] − KL(q(z | x, y) ‖ p(z | x))"]
    assert notes == ["a lower bound on log p(y | x)"]


def test_the_hybrid_objective():
    # equation 7 there
    _, _, formulas, notes = said(structured(objective=objectives.Hybrid(0.25)))
    assert formulas == [
        "L(x, y) = 0.25 (E_q(z|x,y)[log p(y | x, z)] − KL(q(z | x, y) ‖ p(z | x))) + 0.75 E_p(z|x)[log p(y | x, z)]"
    ]
    assert notes == ["a lower bound on log p(y | x)"]  # both of its terms are one


def test_m1m2():
    words, factorisations, formulas, notes = said(stacked())
    assert words == [
        "For each datum n = 1, ..., N:",
        "1. draw y from 3 classes, all equally frequent (known for some data)",
        "2. draw its code z₂ from a standard normal in 2 dimensions",
        "3. draw its code z₁ given y, z₂ from a normal in 5 dimensions with means and scales from a network of y, z₂",
        f"4. draw {DECODED.format('z₁')} (kept as trained)",
        "The guide, reading x, and y where it is known:",
        f"draw z₁ given x {ENCODED} (kept as trained)",
        f"where y is missing, draw y given z₁ {CLASSIFIED} {SUMMED}",
        f"draw z₂ given y, z₁ {ENCODED}",
        "where y is known, add log q(y | z₁) to the objective",
    ]
    assert factorisations == [
        "p(x, y, z₁, z₂) = p(y) p(z₂) p(z₁ | y, z₂) p(x | z₁)",
        "q(y, z₁, z₂ | x) = q(z₁ | x) q(y | z₁) q(z₂ | y, z₁)",
    ]
    # the guide draws z1 first, the model last: what z1 costs is no KL
    cost = " − E_q[log q(z₁ | x) − log p(z₁ | y, z₂)]"
    assert formulas == [
        "J = Σ_labelled [L(x, y) + α E_q(z₁|x)[log q(y | z₁)]] + Σ_unlabelled U(x)",
        f"L(x, y) = E_q(z₁|x)[log p(y) + log p(x | z₁)] − E_q(z₁|x)[KL(q(z₂ | y, z₁) ‖ p(z₂))]{cost}",
        "U(x) = E_q(z₁|x)[log p(x | z₁)] − E_q(z₁|x)[KL(q(y | z₁) ‖ p(y))] − E_q[KL(q(z₂ | y, z₁) ‖ p(z₂))]" + cost,
    ]
    assert "α = 1 weighs log q(y | z₁)" in notes


def test_prediction_constrained():
    # Hope et al. 2020, equation 6
    words, factorisations, formulas, notes = said(make(pv.PredictionConstrainedVAE, multiplier=25))
    assert words == [
        "For each datum n = 1, ..., N:",
        "1. draw its code z from a standard normal in 2 dimensions",
        f"2. draw y given z {CLASSIFIED} (known for some data, left out for the others)",
        f"3. draw {DECODED.format('z')}",
        "The guide, reading x:",
        f"draw z {ENCODED}",
    ]
    assert factorisations == ["p(x, y, z) = p(z) p(y | z) p(x | z)", "q(z | x)"]
    assert formulas == [
        "J = Σ_labelled L(x, y) + Σ_unlabelled U(x)",
        "L(x, y) = E_q(z|x)[λ log p(y | z) + log p(x | z)] − KL(q(z | x) ‖ p(z))",
        "U(x) = E_q(z|x)[log p(x | z)] − KL(q(z | x) ‖ p(z))",
    ]
    assert notes == [
        "λ = 25 weighs log p(y | z)",
        "L(x, y) is for data where y is known",  # and with that weight no bound
        "U(x), where y is missing, is a lower bound on log p(x)",
    ]
    assert "L(x, y), where y is known, is a lower bound on log p(x, y)" in (
        pv.story(make(pv.PredictionConstrainedVAE, multiplier=1)).objective.notes
    )


def test_consistency_constrained():
    words, _, formulas, notes = said(make(pv.ConsistencyConstrainedVAE, consistency=3))
    assert words[-3:] == [
        "where y is known, add consistency(y, z) to the objective",
        "where y is missing, add consistency(z) to the objective",
        "where y is missing, add aggregate(z) to the objective",
    ]
    assert formulas[0] == (
        "J = Σ_labelled [L(x, y) + w_consistency E_q(z|x)[consistency(y, z)]] "
        "+ Σ_unlabelled [U(x) + w_consistency E_q(z|x)[consistency(z)] + E_q(z|x)[aggregate(z)]]"
    )
    assert formulas[3:] == [
        "consistency(y, z) = E_q(z′|E[x|z])[log p(y | z′)]",
        "consistency(z) = E_q(z′|E[x|z])[Σ_y p(y | z) log p(y | z′)]",
        "aggregate(z) = Σ_y p(y) log E_batch[p(y | z)]",
    ]
    assert "w_consistency = 3 weighs consistency" in notes


def test_nothing_is_latent():
    words, factorisations, formulas, notes = said(discriminative())
    assert words == [
        "For each datum n = 1, ..., N, given x:",
        f"1. draw y given x {CLASSIFIED}",
        "Nothing is latent: there is nothing for a guide to propose.",
    ]
    assert factorisations == ["p(y | x)", ""]
    assert formulas == ["L(x, y) = log p(y | x)"]
    assert notes == ["log p(y | x) itself: nothing is latent"]
    story = pv.story(discriminative())
    assert "Guide   none: nothing is latent" in str(story)
    assert story.diagram().edges == {"model": [("x", "y")], "guide": []}
    assert 'class="guide"' not in story.diagram().svg


def test_m1_is_the_vae_and_a_classifier():
    words, *others = said(make(pv.M1))
    vae = pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(SHAPE), encoder=networks.MLP([8]))
    plain, *of_vae = said(vae)
    assert words[:-1] == plain
    assert words[-1] == (
        "Then Logistic() is fitted to the codes of data whose label is known, E[z | x], to predict it."
    )
    assert others == of_vae


def test_schedules_say_what_they_do():
    _, _, formulas, notes = said(m2(alpha=objectives.Linear(0, 5, epochs=10), beta=objectives.Linear(4, 1, epochs=2)))
    assert formulas[:2] == [
        "J = Σ_labelled [L(x, y) + α(t) log q(y | x)] + Σ_unlabelled U(x)",
        "L(x, y) = E_q(z|x,y)[log p(y) + log p(x | y, z)] − β(t) KL(q(z | x, y) ‖ p(z))",
    ]
    assert any(
        n.startswith("α(t) follows Linear(") and n.endswith("from 0 at the start to 5 in the end") for n in notes
    )
    assert sum(note.startswith("β(t) follows") for note in notes) == 1
    assert "once β(t) = 1, U(x), where y is missing, is a lower bound on log p(x)" in notes
    assert not any("a lower bound" in note for note in said(m2(beta=4))[3])


def test_classes_have_no_free_bits():
    formulas = said(m2(objective=objectives.ELBO(free_bits=0.5)))[2]
    assert formulas[2] == (
        "U(x) = E_q[log p(x | y, z)] − KL(q(y | x) ‖ p(y)) − Σⱼ max(0.5, E_q(y|x)[KL(q(z | x, y) ‖ p(z))]ⱼ)"
    )


def test_importance_weights_hold_what_is_added():
    formulas, notes = said(m2(objective=RenyiELBO(0, num_particles=5)))[2:]
    assert formulas == [
        "J = Σ_labelled L(x, y) + Σ_unlabelled U(x)",
        "L(x, y) = E_q[log 1/K Σₖ₌₁ᴷ wₖ]",
        "log w = log p(y) + log p(x | y, z) + log p(z)/q(z | x, y) + α log q(y | x)",
        "U(x) = E_q[log 1/K Σₖ₌₁ᴷ wₖ]",
        "w = p(x, y, z)/q(y, z | x)",
    ]
    assert "U(x), where y is missing, is a lower bound on log p(x)" in notes
    assert not any("bound on log p(x, y)" in note for note in notes)


class Undeclared(guides.SemiSupervisedVAE):
    """A guide that does not say what its factor is."""

    factors = {}  # noqa: RUF012


def test_a_factor_that_says_nothing_goes_by_its_name():
    variant = m2()
    told = variant.guide
    variant.guide = Undeclared(told.classifier, told.posterior, told.infer)
    variant.weigh(prediction=2)
    words, _, formulas, _ = said(variant)
    # Pyro subtracts what a guide adds
    assert formulas[0] == "J = Σ_labelled [L(x, y) − α prediction(x, y)] + Σ_unlabelled U(x)"
    assert words[-1] == "where y is known, subtract prediction(x, y) from the objective"


def nodes(svg):
    """For each side the class of each named node."""
    found = {}
    for side in ("model", "guide"):
        for group in ElementTree.fromstring(svg).iter():
            if group.tag.endswith("}g") and group.get("class") == side:
                drawn = [e for e in group if (e.get("class") or "").startswith("node") or e.get("font-size") == "19"]
                found[side] = {
                    "".join(name.itertext()): node.get("class")
                    for node, name in zip(drawn[::2], drawn[1::2], strict=True)
                }
    return found


def test_nodes_show_what_is_known():
    half, seen, given, latent = "node half", "node observed", "node observed given", "node"
    model, guide = nodes(pv.story(m2()).diagram().svg).values()
    assert model == guide == {"y": half, "z": latent, "x": seen}
    model, guide = nodes(pv.story(make(pv.PredictionConstrainedVAE)).diagram().svg).values()
    assert model == {"z": latent, "y": half, "x": seen}
    assert guide == {"z": latent, "x": seen}
    assert nodes(pv.story(make(pv.ConditionalVAE)).diagram().svg)["model"] == {"z": latent, "x": seen, "y": given}
    assert nodes(pv.story(structured()).diagram().svg)["guide"] == {"z": latent, "x": given, "y": seen}
    assert nodes(pv.story(discriminative()).diagram().svg) == {"model": {"y": seen, "x": given}}


def test_the_diagram_of_m2():
    diagram = pv.story(m2()).diagram()
    assert diagram.edges == {
        "model": [("y", "x"), ("z", "x")],
        "guide": [("x", "y"), ("x", "prediction"), ("y", "prediction"), ("x", "z"), ("y", "z")],
    }
    root = ElementTree.fromstring(diagram.svg)
    lines = [e for e in root.iter() if e.get("class") == "edge"]
    assert sum(line.get("marker-end") is None for line in lines) == 2  # to the factor, which is no variable
    assert "half shaded: observed where it is known" in diagram.svg
    # the half that is shaded lies within its node
    shade = next(e for e in root.iter() if e.get("class") == "shade")
    node = next(e for e in root.iter() if e.get("class") == "node half")
    cx, cy, ry = (float(node.get(name)) for name in ("cx", "cy", "ry"))
    assert shade.get("d").startswith(f"M{cx:.1f} {cy - ry:.1f}A")
    assert shade.get("d").endswith(f"{cx:.1f} {cy + ry:.1f}z")


@pytest.mark.parametrize("name", WITH_LABELS)
def test_every_variant_has_a_story_that_fits_and_renders(name):
    variant = WITH_LABELS[name]()
    story = pv.story(variant)
    for latex in story.formulas:
        assert "<path" in formula_svg(latex)
        assert "\\" not in to_text(latex)
    assert all(len(line) <= 80 for line in str(story).splitlines())
    assert "None" not in str(story)
    ElementTree.fromstring(story.diagram().svg)
    ElementTree.fromstring(story._repr_html_())
    latex = story._repr_latex_()
    assert latex.count("{") == latex.count("}")
    assert not list(pyro.get_param_store())


def test_a_story_for_the_users_own_data_is_of_their_kind():
    story = pv.story(m2(), torch.zeros(5, *SHAPE), torch.zeros(5, dtype=torch.long))
    assert to_text(story.guide_latex) == "q(z | x, y)"
    assert to_text(story.objective.lines[0]) == "J(x, y) = L(x, y) + α log q(y | x)"
    assert not story.structure.partly_known


def test_a_part_that_is_not_trained_says_so():
    variant = make(pv.ConditionalVAE, posterior=posteriors.Normal())
    assert "kept as trained" not in pv.story(variant).words
    variant.model.likelihood.requires_grad_(False)
    assert pv.story(variant).words.count("from the decoder (kept as trained)") == 1

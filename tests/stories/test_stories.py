"""Stories of the library's own variants: every part is named, every formula renders, nothing outside is touched."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import RenyiELBO, Trace_ELBO, TraceGraph_ELBO, TraceMeanField_ELBO

import pyro_vae as pv
from pyro_vae import evaluation, likelihoods, networks, objectives, posteriors, priors
from pyro_vae.stories import formula_svg
from pyro_vae.stories.symbols import to_text

SHAPE = (1, 4, 4)
PRIORS = {
    "standard normal in 3": lambda: priors.StandardNormal(3),
    "learned means and scales": lambda: priors.Normal(3),
    "mixture of 2 normals": lambda: priors.MixtureOfNormals(3, components=2),
    "pseudo-inputs": lambda: priors.Vamp(3, components=2),
    "normalising flow (maf": lambda: priors.Flow(3),
    "normalising flow (nsf": lambda: priors.Flow(3, "nsf", transforms=1),
    "fixed Laplace": lambda: priors.Fixed(dist.Laplace(0.0, 1.0), 3),
    "anything in 3": lambda: priors.Improper(3),
}
POSTERIORS = {
    "means and scales from the encoder": posteriors.Normal,
    "full covariance": posteriors.FullCovarianceNormal,
    "exactly what the encoder says": posteriors.Delta,
    "inverse autoregressive": posteriors.Flow,
}
LIKELIHOODS = {
    "a Bernoulli": lambda: likelihoods.Bernoulli(SHAPE),
    "a continuous Bernoulli": lambda: likelihoods.ContinuousBernoulli(SHAPE),
    "unnormalised": lambda: likelihoods.UnnormalisedBernoulli(SHAPE),
    "over 5 levels": lambda: likelihoods.Categorical(SHAPE, levels=5),
    "a normal, for each of 1x4x4 values": lambda: likelihoods.Normal(SHAPE),
    "a Laplace, for each of 1x4x4 values": lambda: likelihoods.Laplace(SHAPE, scale="predicted"),
}


def make(prior=None, likelihood=None, posterior=None, **options):
    return pv.VAE(
        prior or priors.StandardNormal(3),
        likelihood or likelihoods.Bernoulli(SHAPE),
        posterior,
        networks.MLP([8]),
        **options,
    )


def binary(n=20):
    return torch.randint(2, (n, *SHAPE), generator=torch.Generator().manual_seed(1)).float()


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("posterior", POSTERIORS)
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_every_combination_has_a_story(prior, posterior, likelihood):
    if prior == "pseudo-inputs" and posterior.startswith("exactly"):
        pytest.skip("a VampPrior needs the guide's density")
    variant = make(PRIORS[prior](), LIKELIHOODS[likelihood](), POSTERIORS[posterior]())
    story = pv.story(variant)
    structure = story.structure
    assert {n: s.parents for n, s in structure.model.items()} == {"z": (), "x": ("z",)}
    assert {n: s.parents for n, s in structure.guide.items()} == {"z": ("x",)}
    assert structure.model["z"].part is variant.model.prior
    assert structure.model["x"].part is variant.model.likelihood
    assert structure.guide["z"].part is variant.guide.posterior
    for said in (prior, posterior, likelihood):
        assert said in story.words
    for latex in story.formulas:
        assert "<path" in formula_svg(latex)  # parsed by mathtext
        assert "\\" not in to_text(latex)
    assert all(len(line) <= 80 for line in str(story).splitlines())
    assert "\\" not in str(story)
    assert "$" not in str(story)
    ElementTree.fromstring(story.diagram().svg)


def test_swapping_the_prior_changes_words_formulas_and_diagram():
    one, other = pv.story(make()), pv.story(make(priors.MixtureOfNormals(3, components=2)))
    assert one.words != other.words
    assert one.formulas != other.formulas
    assert one.diagram().svg != other.diagram().svg
    assert to_text(one.families["model"][0].latex) == "z ~ N(0, I₃), z ∈ ℝ³"
    assert to_text(other.families["model"][0].latex) == "z ~ Σₖ₌₁² wₖ N(μₖ, diag σₖ²), z ∈ ℝ³"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "L(x) = E_q(z|x)[log p(x | z)] − KL(q(z | x) ‖ p(z))"),
        ({"beta": 4}, "L(x) = E_q(z|x)[log p(x | z)] − 4 KL(q(z | x) ‖ p(z))"),
        ({"beta": 0}, "L(x) = E_q(z|x)[log p(x | z)] − 0 KL(q(z | x) ‖ p(z))"),
        ({"beta": objectives.Linear()}, "L(x) = E_q(z|x)[log p(x | z)] − β(t) KL(q(z | x) ‖ p(z))"),
        (
            {"objective": objectives.ELBO(free_bits=0.5)},
            "L(x) = E_q(z|x)[log p(x | z)] − Σⱼ max(0.5, KL(q(z | x) ‖ p(z))ⱼ)",
        ),
        (
            {"objective": objectives.ELBO(free_bits=2, groups=1), "beta": 3},
            "L(x) = E_q(z|x)[log p(x | z)] − 3 max(2, KL(q(z | x) ‖ p(z)))",
        ),
        ({"posterior": posteriors.Delta()}, "L(x) = log p(x | z = e(x)) + log p(z = e(x))"),
        ({"posterior": posteriors.Delta(), "beta": 2}, "L(x) = log p(x | z = e(x)) + 2 log p(z = e(x))"),
        ({"posterior": posteriors.Delta(), "prior": priors.Improper(3)}, "L(x) = log p(x | z = e(x))"),
        ({"prior": priors.Improper(3)}, "L(x) = E_q(z|x)[log p(x | z)] − E_q(z|x)[log q(z | x)]"),
        ({"objective": Trace_ELBO()}, "L(x) = E_q(z|x)[log p(x | z)] − KL(q(z | x) ‖ p(z))"),
        ({"objective": RenyiELBO(0, num_particles=5)}, "L(x) = E_q[log 1/K Σₖ₌₁ᴷ wₖ]"),
        ({"objective": RenyiELBO(0.5, num_particles=5)}, "L(x) = 2 E_q[log 1/K Σₖ₌₁ᴷ wₖ^(0.5)]"),
    ],
)
def test_objectives(options, expected):
    story = pv.story(make(**options))
    assert to_text(story.objective.lines[0]) == expected
    for latex in story.objective.lines:
        formula_svg(latex)


def test_a_schedule_says_what_it_does():
    notes = pv.story(make(beta=objectives.Linear(0.0, 2.0, epochs=5))).objective.notes
    assert any("Linear(" in n and "from 0 at the start to 2 in the end" in n for n in notes)


def test_only_what_is_a_bound_is_called_one():
    def bound(**options):
        return any(note.startswith("a lower bound") for note in pv.story(make(**options)).objective.notes)

    assert bound()
    assert bound(objective=RenyiELBO(0, num_particles=5))
    for objective in (Trace_ELBO(), TraceMeanField_ELBO(), TraceGraph_ELBO()):
        assert bound(objective=objective)
    assert not bound(beta=4)
    assert not bound(posterior=posteriors.Delta())
    assert not bound(prior=priors.Improper(3))
    assert not bound(objective=objectives.ELBO(free_bits=0.1))
    assert not bound(likelihood=likelihoods.UnnormalisedBernoulli(SHAPE))


def test_the_autoencoder_by_its_parts_not_by_its_name():
    named = pv.story(pv.Autoencoder(3, likelihoods.Bernoulli(SHAPE), networks.MLP([8])))
    composed = pv.story(make(priors.Improper(3), posterior=posteriors.Delta()))
    assert named.words == composed.words
    assert named.formulas == composed.formulas
    assert "any" in named.words
    assert named.diagram().svg.count("<ellipse") == 5  # the guide's z has a second ring


@pytest.mark.parametrize("num_samples", [1, 4])
@pytest.mark.parametrize(
    "options",
    [{}, {"beta": 3}, {"prior": priors.Vamp}, {"posterior": posteriors.Flow}, {"posterior": posteriors.Delta}],
)
def test_the_ledger_adds_up_to_the_elbo_of_the_same_draws(options, num_samples):
    if "prior" in options:
        options = {"prior": options["prior"](3, components=2)}
    elif "posterior" in options:
        options = {"posterior": options["posterior"]()}
    variant, x = make(**options), binary()
    ledger = pv.story(variant).ledger(x, num_samples=num_samples, seed=3)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        terms = evaluation.elbo(variant, x, num_samples=num_samples)
    assert ledger.total == pytest.approx(terms.elbo.mean().item(), abs=1e-5)
    assert ledger.standard_error == pytest.approx(terms.elbo.std().item() / len(x) ** 0.5, abs=1e-5)
    rows = {row.what: row for row in ledger.rows}
    assert rows["log p(x | z)"].mean == pytest.approx(terms.reconstruction.mean().item(), abs=1e-5)
    (latent,) = [row for row in ledger.rows if row.site == "z" and row.part_of is None]
    assert latent.mean == pytest.approx(-terms.kl.mean().item(), abs=1e-5)
    assert sum(row.mean for row in ledger.rows if row.part_of == "z") == pytest.approx(latent.mean, abs=1e-5)


def test_the_ledger_carries_weights():
    variant, x = make(beta=3), binary()
    ledger = pv.story(variant).ledger(x)
    terms = {row.what: row for row in ledger.rows}
    assert terms["−KL(q(z | x) ‖ p(z))"].weight == 3
    expected = 3 * terms["−KL(q(z | x) ‖ p(z))"].mean + terms["log p(x | z)"].mean
    assert ledger.weighted_total == pytest.approx(expected, abs=1e-6)
    # one draw and the same seed: what training would have computed
    assert ledger.objective == pytest.approx(ledger.weighted_total, abs=1e-4)
    assert "with its weights" in str(ledger)
    assert "with its weights" not in str(pv.story(make()).ledger(x))


def test_the_ledger_says_what_free_bits_cost():
    variant, x = make(objective=objectives.ELBO(free_bits=5.0)), binary()
    ledger = pv.story(variant).ledger(x)
    reconstruction = next(row.mean for row in ledger.rows if row.site == "x")
    assert ledger.objective == pytest.approx(reconstruction - 3 * 5.0, abs=1e-4)
    assert "what training climbs" in str(ledger)


def test_exact_and_sampled():
    def kinds(**options):
        rows = pv.story(make(**options)).ledger(binary()).rows
        return {row.site: row.exact for row in rows if row.part_of is None}

    assert kinds() == {"z": True, "x": False}
    assert kinds(prior=priors.Vamp(3, components=2)) == {"z": False, "x": False}
    assert kinds(posterior=posteriors.Delta()) == {"z": True, "x": True}


def test_ledger_of_the_autoencoder_is_its_reconstruction():
    ledger = pv.story(make(priors.Improper(3), posterior=posteriors.Delta())).ledger(binary())
    assert ledger.total == next(row.mean for row in ledger.rows if row.site == "x")
    assert "counted as 0" in str(ledger)


def test_nothing_outside_changes():
    variant = pv.VAE(
        priors.Vamp(3, components=2),
        likelihoods.Bernoulli(SHAPE),
        encoder=networks.MLP([8], norm="batch", dropout=0.5),
    )
    variant.train()
    next(m for m in variant.modules() if isinstance(m, torch.nn.Dropout)).eval()  # a mode of its own
    modes = [m.training for m in variant.modules()]
    before = {name: value.clone() for name, value in variant.state_dict().items()}
    hooks = [len(m._forward_hooks) for m in variant.modules()]
    pyro.param("mine", torch.ones(2))
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    try:
        story = pv.story(variant)
        str(story), story._repr_html_(), story.diagram().svg, str(story.ledger(binary()))
        assert list(pyro.get_param_store()) == ["mine"]
    finally:
        pyro.get_param_store().clear()
    assert torch.equal(torch.get_rng_state(), state)
    assert (np.random.get_state()[1] == numpy_state).all()
    assert [m.training for m in variant.modules()] == modes
    assert [len(m._forward_hooks) for m in variant.modules()] == hooks
    assert all(torch.equal(value, before[name]) for name, value in variant.state_dict().items())
    assert all(p.grad is None for p in variant.parameters())


def test_html_is_self_contained():
    story = pv.story(make(beta=4))
    page = story._repr_html_()
    ElementTree.fromstring(page)  # also well-formed XML
    assert "<script" not in page
    assert not re.search(r'(src|href|url)\s*[=(]\s*["\']?(http|//)', page)
    assert page.count("<svg") == len(story.formulas) + 1
    assert r"\mathcal{N}(0, I_{3})" in page  # the source, for screen readers
    ElementTree.fromstring(story.ledger(binary())._repr_html_())


def test_latex_of_the_whole_story():
    latex = pv.story(make())._repr_latex_()
    assert latex.startswith("$$\\begin{aligned}")
    body = latex.removeprefix("$$\\begin{aligned}\n").removesuffix("\n\\end{aligned}$$")
    assert [line.count("&") for line in body.split("\\\\\n")] == [1] * 6
    assert body.count("{") == body.count("}")


def test_formula_svg():
    svg = formula_svg(r"\frac{1}{2} < \sum_k x_k")
    root = ElementTree.fromstring(svg)
    assert root.get("aria-label") == r"\frac{1}{2} < \sum_k x_k"
    assert "currentColor" in svg
    assert float(root.get("height")) > float(ElementTree.fromstring(formula_svg("x")).get("height"))
    with pytest.raises(ValueError, match="nonsense"):
        formula_svg(r"\nonsense{x}")


def test_diagram_saves(tmp_path):
    diagram = pv.story(make()).diagram()
    diagram.save(tmp_path / "vae.svg")
    assert (tmp_path / "vae.svg").read_text(encoding="utf-8") == diagram.svg == diagram._repr_svg_()
    with pytest.raises(ValueError, match=r"\.svg"):
        diagram.save(tmp_path / "vae.png")


def test_matplotlib_is_only_for_html():
    code = (
        "import sys, pyro_vae as pv; from pyro_vae import likelihoods, priors; "
        "s = pv.story(pv.VAE(priors.StandardNormal(2), likelihoods.Bernoulli(5))); str(s); s.diagram().svg; "
        "assert 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)

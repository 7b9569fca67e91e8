"""Structure read off programs that the stories have never seen: their graphs, words, formulas and drawings."""

import itertools
import xml.etree.ElementTree as ElementTree

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import TraceEnum_ELBO
from pyro.nn import PyroModule
from torch import nn

import pyro_vae as pv
from pyro_vae import likelihoods, networks, posteriors, priors
from pyro_vae.program import Program
from pyro_vae.stories.symbols import to_text


def connected(part, *inputs, shape=None):
    part.connect(networks.MLP([8]), *inputs, shape=shape)
    return part


def vae():
    return pv.VAE(priors.StandardNormal(3), likelihoods.Bernoulli((1, 4, 4)))


class HierarchyModel(Program):
    """z2 -> z1 -> x."""

    def __init__(self):
        super().__init__()
        self.prior = priors.StandardNormal(2)
        self.middle = connected(posteriors.Normal(), (2,), shape=(3,))
        self.likelihood = connected(likelihoods.Bernoulli(5), (3,))

    def forward(self, x):
        with pyro.plate("data", len(x)):
            z2 = pyro.sample("z2", self.prior())
            z1 = pyro.sample("z1", self.middle(z2))
            pyro.sample("x", self.likelihood(z1), obs=x)


class HierarchyGuide(Program):
    """x -> z2, (x, z2) -> z1."""

    def __init__(self):
        super().__init__()
        self.top = connected(posteriors.Normal(), (5,), shape=(2,))
        self.middle = connected(posteriors.Normal(), (5,), (2,), shape=(3,))

    def forward(self, x):
        with pyro.plate("data", len(x)):
            z2 = pyro.sample("z2", self.top(x))
            pyro.sample("z1", self.middle(x, z2))


class BottomUpGuide(Program):
    """x -> z1 -> z2, against the model's order."""

    def __init__(self):
        super().__init__()
        self.middle = connected(posteriors.Normal(), (5,), shape=(3,))
        self.top = connected(posteriors.Normal(), (3,), shape=(2,))

    def forward(self, x):
        with pyro.plate("data", len(x)):
            z1 = pyro.sample("z1", self.middle(x))
            pyro.sample("z2", self.top(z1))


def hierarchy(guide=HierarchyGuide):
    return pv.Variant(HierarchyModel(), guide(), latents=("z1", "z2"))


class M2Model(Program):
    """(y, z) -> x, y observed where it is given."""

    def __init__(self):
        super().__init__()
        self.prior = priors.StandardNormal(2)
        self.likelihood = connected(likelihoods.Bernoulli(5), (2,), (10,))

    def forward(self, x, y=None):
        with pyro.plate("data", len(x)):
            y = pyro.sample("y", dist.Categorical(logits=torch.zeros(10)), obs=y)
            z = pyro.sample("z", self.prior())
            one_hot = torch.nn.functional.one_hot(y, 10).to(z.dtype)
            pyro.sample("x", self.likelihood(z, one_hot), obs=x)


class M2Guide(Program):
    """x -> y, (x, y) -> z."""

    def __init__(self):
        super().__init__()
        self.classifier = nn.Linear(5, 10)
        self.posterior = connected(posteriors.Normal(), (5,), (10,), shape=(2,))

    def forward(self, x, y=None):
        with pyro.plate("data", len(x)):
            if y is None:
                y = pyro.sample("y", dist.Categorical(logits=self.classifier(x)), infer={"enumerate": "parallel"})
            one_hot = torch.nn.functional.one_hot(y, 10).to(x.dtype)
            pyro.sample("z", self.posterior(x, one_hot))


def m2():
    return pv.Variant(M2Model(), M2Guide(), objective=TraceEnum_ELBO(max_plate_nesting=1))


class StructuredModel(Program):
    """x -> z, (x, z) -> y."""

    def __init__(self):
        super().__init__()
        self.prior = connected(posteriors.Normal(), (5,), shape=(2,))
        self.likelihood = connected(likelihoods.Bernoulli(3), (5,), (2,))

    def forward(self, x, y):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", self.prior(x))
            pyro.sample("y", self.likelihood(x, z), obs=y)


class StructuredGuide(Program):
    """(x, y) -> z."""

    def __init__(self):
        super().__init__()
        self.posterior = connected(posteriors.Normal(), (5,), (3,), shape=(2,))

    def forward(self, x, y):
        with pyro.plate("data", len(x)):
            pyro.sample("z", self.posterior(x, y))


class StructuredVariant(pv.Variant):
    def examples(self, n):
        return {"data": (torch.zeros(n, 5), torch.zeros(n, 3))}


def structured():
    return StructuredVariant(StructuredModel(), StructuredGuide())


class RawModel(PyroModule):
    """A mixture with a global parameter, in two plates, with no part at all."""

    def forward(self, data):
        with pyro.plate("clusters", 3):
            mu = pyro.sample("mu", dist.Normal(0.0, 10.0).expand([2]).to_event(1))
        with pyro.plate("points", len(data)):
            k = pyro.sample("k", dist.Categorical(torch.ones(3) / 3))
            pyro.sample("obs", dist.Normal(mu[k], 0.5).to_event(1), obs=data)


class RawGuide(PyroModule):
    def __init__(self):
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(3, 2))
        self.net = nn.Linear(2, 3)

    def forward(self, data):
        with pyro.plate("clusters", 3):
            pyro.sample("mu", dist.Normal(self.loc, 0.1).to_event(1))
        with pyro.plate("points", len(data)):
            pyro.sample("k", dist.Categorical(logits=self.net(data)))


def raw():
    return pv.Variant(RawModel(), RawGuide(), latents=("mu", "k"))


RAW_DATA = torch.randn(11, 2, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def stories():
    return {
        "vae": pv.story(vae()),
        "hierarchy": pv.story(hierarchy()),
        "m2": pv.story(m2()),
        "structured": pv.story(structured()),
        "raw": pv.story(raw(), RAW_DATA),
    }


def parents(sites):
    return {name: site.parents for name, site in sites.items()}


def plates(sites):
    return {name: [plate.name for plate in site.plates] for name, site in sites.items()}


def test_parents_of_the_five_graphs(stories):
    found = {name: (parents(s.structure.model), parents(s.structure.guide)) for name, s in stories.items()}
    assert found == {
        "vae": ({"z": (), "x": ("z",)}, {"z": ("x",)}),
        "hierarchy": (
            {"z2": (), "z1": ("z2",), "x": ("z1",)},
            {"z2": ("x",), "z1": ("x", "z2")},
        ),
        "m2": ({"y": (), "z": (), "x": ("y", "z")}, {"y": ("x",), "z": ("x", "y")}),
        "structured": ({"z": ("x",), "y": ("x", "z")}, {"z": ("x", "y")}),
        "raw": ({"mu": (), "k": (), "obs": ("k", "mu")}, {"mu": (), "k": ("obs",)}),
    }


def test_plates_and_inputs(stories):
    for name in ("vae", "hierarchy", "m2", "structured"):
        assert all(found == ["data"] for found in plates(stories[name].structure.model).values())
        assert all(plate.over_data for plate in stories[name].structure.plates)
    structure = stories["raw"].structure
    assert plates(structure.model) == {"mu": ["clusters"], "k": ["points"], "obs": ["points"]}
    assert {p.name: (p.size, p.over_data) for p in structure.plates} == {
        "clusters": (3, False),
        "points": (11, True),
    }
    assert {name: s.structure.given for name, s in stories.items()} == {
        "vae": (),
        "hierarchy": (),
        "m2": (),
        "structured": ("x",),
        "raw": (),
    }


def test_parts_behind_sites(stories):
    structure = stories["hierarchy"].structure
    assert isinstance(structure.model["z2"].part, priors.StandardNormal)
    assert isinstance(structure.model["z1"].part, posteriors.Normal)
    assert isinstance(structure.model["x"].part, likelihoods.Bernoulli)
    assert stories["m2"].structure.model["y"].part is None
    assert all(site.part is None for site in stories["raw"].structure.model.values())


def test_labels_given_to_the_program_become_observed():
    y = torch.tensor([0, 1, 2])
    story = pv.story(m2(), torch.zeros(3, 5), y)
    assert story.structure.model["y"].observed
    assert parents(story.structure.guide) == {"z": ("x", "y")}
    assert to_text(story.model_latex) == "p(x, y, z) = p(y) p(z) p(x | y, z)"
    assert to_text(story.objective.lines[0]) == (
        "L(x, y) = E_q(z|x,y)[log p(y) + log p(x | y, z)] − KL(q(z | x, y) ‖ p(z))"
    )


@pytest.mark.parametrize(
    ("name", "model", "guide", "objective"),
    [
        (
            "hierarchy",
            "p(x, z₁, z₂) = p(z₂) p(z₁ | z₂) p(x | z₁)",
            "q(z₁, z₂ | x) = q(z₂ | x) q(z₁ | x, z₂)",
            "L(x) = E_q[log p(x | z₁)] − KL(q(z₂ | x) ‖ p(z₂)) − E_q(z₂|x)[KL(q(z₁ | x, z₂) ‖ p(z₁ | z₂))]",
        ),
        (
            "m2",
            "p(x, y, z) = p(y) p(z) p(x | y, z)",
            "q(y, z | x) = q(y | x) q(z | x, y)",
            "L(x) = E_q[log p(x | y, z)] − KL(q(y | x) ‖ p(y)) − E_q(y|x)[KL(q(z | x, y) ‖ p(z))]",
        ),
        (
            "structured",
            "p(y, z | x) = p(z | x) p(y | x, z)",
            "q(z | x, y)",
            "L(x, y) = E_q(z|x,y)[log p(y | x, z)] − KL(q(z | x, y) ‖ p(z | x))",
        ),
    ],
)
def test_factorisation_and_objective(stories, name, model, guide, objective):
    story = stories[name]
    assert to_text(story.model_latex) == model
    assert to_text(story.guide_latex) == guide
    assert to_text(story.objective.lines[0]) == objective


def test_a_guide_against_the_models_order_has_no_kl_of_conditionals():
    text = to_text(pv.story(hierarchy(BottomUpGuide)).objective.lines[0])
    assert "E_q[log q(z₁ | x) − log p(z₁ | z₂)]" in text
    assert "E_q(z₁|x)[KL(q(z₂ | z₁) ‖ p(z₂))]" in text


def test_words_follow_the_place_of_a_part(stories):
    hierarchy_words = stories["hierarchy"].words
    assert "draw its code z₁ given z₂ from a normal with means and scales from a network of z₂" in hierarchy_words
    assert "draw z₁ given x, z₂ from a normal with means and scales from the encoder" in hierarchy_words
    assert "For each datum n = 1, ..., N, given x:" in stories["structured"].words
    assert "draw y from a uniform categorical over 10 values" in stories["m2"].words
    assert stories["m2"].words.count("all its values are summed over") == 1
    assert any("summed over all its values" in note for note in stories["m2"].objective.notes)


def test_raw_programs_are_described_from_their_distributions(stories):
    story = stories["raw"]
    assert story.words.splitlines() == [
        "For each of 3 in plate 'clusters':",
        "  1. draw μ from a normal in 2 dimensions with loc 0 and scale 10",
        "For each datum n = 1, ..., N:",
        "  2. draw k from a uniform categorical over 3 values",
        "  3. draw obs given k, μ from a normal in 2 dimensions with scale 0.5 and loc computed from k, μ",
        "The guide, reading obs:",
        "  For each of 3 in plate 'clusters':",
        "    draw μ from a normal in 2 dimensions with scale 0.1 and learned loc",
        "  For each datum n = 1, ..., N:",
        "    draw k given obs from a categorical with logits computed from obs",
    ]


def test_diagrams(stories):
    edges = {name: story.diagram().edges for name, story in stories.items()}
    assert edges["m2"] == {
        "model": [("y", "x"), ("z", "x")],
        "guide": [("x", "y"), ("x", "z"), ("y", "z")],
    }
    assert edges["structured"] == {"model": [("x", "z"), ("x", "y"), ("z", "y")], "guide": [("x", "z"), ("y", "z")]}
    for name, story in stories.items():
        svg = story.diagram().svg
        root = ElementTree.fromstring(svg)
        arrows = [e for e in root.iter() if e.get("class") == "edge"]
        assert len(arrows) == sum(map(len, edges[name].values()))
        nodes = [e for e in root.iter() if (e.get("class") or "").startswith("node")]
        assert len(nodes) == sum(map(len, story.diagram().nodes.values()))
        assert "<script" not in svg
        assert "http" not in svg.replace("http://www.w3.org/2000/svg", "")


def test_shaded_means_observed(stories):
    def shades(name):
        root = ElementTree.fromstring(stories[name].diagram().svg)
        return [e.get("class") for e in root.iter() if (e.get("class") or "").startswith("node")]

    # the model's sites in their order, then the guide's
    assert shades("vae") == ["node", "node observed", "node", "node observed"]
    # z, y and the input x, which has no story; then z and the x and y that the guide reads
    inputs, data = "node observed given", "node observed"
    assert shades("structured") == ["node", data, inputs, "node", inputs, data]


def test_arrows_go_round_nodes_that_they_do_not_touch(stories):
    from pyro_vae.stories.layout import curve, place, route

    for story in stories.values():
        graph = parents(story.structure.model)
        graph = {name: [] for name in story.structure.given} | {n: list(p) for n, p in graph.items()}
        positions = place(graph, dict.fromkeys(graph, 0), (90.0, 90.0))
        assert len(set(positions.values())) == len(positions)
        edges = [(parent, node) for node, above in graph.items() for parent in above]
        bulges = route(edges, positions, clearance=30.0)
        for (start, end), node in itertools.product(edges, graph):
            if node not in (start, end):
                points = curve(positions[start], positions[end], bulges[start, end])
                assert min(torch.dist(torch.tensor(p), torch.tensor(positions[node])) for p in points) >= 29.9


class Factored(HierarchyModel):
    def forward(self, x):
        with pyro.plate("data", len(x)):
            z2 = pyro.sample("z2", self.prior())
            z1 = pyro.sample("z1", self.middle(z2))
            total = pyro.deterministic("total", z1.sum(-1))
            pyro.sample("x", self.likelihood(z1), obs=x)
            pyro.factor("prediction", -(total**2))


def test_factors_and_deterministic_sites():
    story = pv.story(pv.Variant(Factored(), HierarchyGuide(), latents=("z1", "z2")))
    assert list(story.structure.model) == ["z2", "z1", "x", "prediction"]
    assert story.structure.model["prediction"].parents == ("z1",)
    assert to_text(story.model_latex) == "p(x, z₁, z₂) = p(z₂) p(z₁ | z₂) p(x | z₁)"
    # p(x) is the model's without the factor, which is added to the bound on it
    assert to_text(story.objective.lines[0]) == "J(x) = L(x) + E_q[prediction(z₁)]"
    assert to_text(story.objective.lines[1]).startswith("L(x) = E_q[log p(x | z₁)] − ")
    assert "L(x) is a lower bound on log p(x)" in str(story)
    assert 'class="factor"' in story.diagram().svg


class WordsModel(PyroModule):
    """A document: a code, and words that a recurrent network reads off it."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(6, 4)
        self.recurrent = nn.GRU(4, 8, batch_first=True)
        self.out = nn.Linear(8, 6)

    def forward(self, w):
        with pyro.plate("data", len(w)):
            z = pyro.sample("z", dist.Normal(torch.zeros(8), 1.0).to_event(1))
            hidden, _ = self.recurrent(self.embedding(w), z[None])
            pyro.sample("w", dist.Categorical(logits=self.out(hidden)).to_event(1), obs=w)


class WordsGuide(PyroModule):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(6, 4)
        self.attention = nn.TransformerEncoderLayer(4, 2, batch_first=True)
        self.out = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16))

    def forward(self, w):
        with pyro.plate("data", len(w)):
            loc, scale = self.out(self.attention(self.embedding(w)).mean(1)).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, scale.exp()).to_event(1))


def test_dependence_is_seen_through_recurrence_and_attention():
    story = pv.story(pv.Variant(WordsModel(), WordsGuide()), torch.zeros(5, 3, dtype=torch.long))
    # the network reads the words that it scores: they are no parent of themselves
    assert parents(story.structure.model) == {"z": (), "w": ("z",)}
    assert parents(story.structure.guide) == {"z": ("w",)}
    assert to_text(story.families["model"][0].latex) == "z ~ N(0, I₈), z ∈ ℝ⁸"


class TwoPlates(Program):
    """A labelled and an unlabelled batch in one call; the same parts serve both."""

    def __init__(self):
        super().__init__()
        self.prior = priors.StandardNormal(2)
        self.likelihood = connected(likelihoods.Bernoulli(5), (2,))

    def forward(self, x, x_more):
        prior = self.prior()
        for name, batch in (("labelled", x), ("unlabelled", x_more)):
            with pyro.plate(name, len(batch)):
                z = pyro.sample(f"z_{name}", prior)
                pyro.sample(f"x_{name}", self.likelihood(z), obs=batch)


class TwoPlatesGuide(Program):
    def __init__(self):
        super().__init__()
        self.posterior = connected(posteriors.Normal(), (5,), shape=(2,))

    def forward(self, x, x_more):
        for name, batch in (("labelled", x), ("unlabelled", x_more)):
            with pyro.plate(name, len(batch)):
                pyro.sample(f"z_{name}", self.posterior(batch))


def two_plates():
    variant = pv.Variant(TwoPlates(), TwoPlatesGuide(), latents=("z_labelled", "z_unlabelled"))
    return pv.story(variant, torch.zeros(3, 5), torch.zeros(4, 5))


def test_several_plates():
    story = two_plates()
    structure = story.structure
    assert parents(structure.model)["x_unlabelled"] == ("z_unlabelled",)
    assert parents(structure.guide) == {"z_labelled": ("x_labelled",), "z_unlabelled": ("x_unlabelled",)}
    assert plates(structure.model) == {
        "z_labelled": ["labelled"],
        "x_labelled": ["labelled"],
        "z_unlabelled": ["unlabelled"],
        "x_unlabelled": ["unlabelled"],
    }
    assert structure.model["z_unlabelled"].part is structure.model["z_labelled"].part is not None
    assert "of plate 'unlabelled'" in story.words
    assert story.model_latex.count(r"\prod") == 2


def test_ledgers_of_unseen_programs_add_up():
    from pyro_vae import evaluation

    variant = hierarchy()
    x = torch.randint(2, (9, 5)).float()
    ledger = pv.story(variant).ledger(x, num_samples=3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        expected = evaluation.elbo(variant, x, num_samples=3).elbo.mean().item()
    assert ledger.total == pytest.approx(expected, abs=1e-5)
    assert [row.site for row in ledger.rows if row.part_of is None] == ["z2", "z1", "x"]

"""What the documents say is true: examples run, tables are the recorded results, links lead somewhere."""

import doctest
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import pyro_vae

ROOT = Path(__file__).parent.parent
MODULES = sorted(module.name for module in pkgutil.walk_packages(pyro_vae.__path__, "pyro_vae."))
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")])
FRAGMENTS = ("diagnostics", "log_likelihood", "scaling", "semi_supervised", "speed", "training")
"""Pages that quote lines of longer programs."""


def code(path):
    return re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL)


PAGES = [path for path in DOCUMENTS if path.parent.name == "docs" and path.stem not in FRAGMENTS and code(path)]


@pytest.mark.parametrize("name", MODULES)
def test_docstrings_run(name):
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.failed == 0


def test_the_readmes_ten_lines_run(capsys):
    blocks = re.findall(r"```python\n(import .*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(block.replace("epochs=30", "epochs=1"), {})
    assert "~ N(0, I₈)" in capsys.readouterr().out


def run(path):
    """Everything that the blocks of a page define, run one after the other."""
    space = {"__name__": path.stem}
    for block in code(path):
        exec(re.sub(r"epochs=\d+", "epochs=1", block), space)
    return space


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_the_code_of_a_page_runs_as_it_stands(page):
    assert run(page)


def test_the_parts_of_ones_own_are_those_of_the_story(capsys):
    space = run(ROOT / "docs" / "own_parts.md")
    printed = " ".join(capsys.readouterr().out.split())
    assert "a ring of 24 normals" in printed
    assert "a Student t with 4 degrees of freedom" in printed
    assert "Laplace distributions with locations and scales" in printed
    assert space["vae"].generate(3).shape == (3, 5)
    # the trained module stays as it was, the layer behind it is trained
    layers = space["of_images"].guide.posterior.network
    assert all(map(torch.equal, layers.trunk.parameters(), space["trunk"].parameters()))
    before = layers.last.weight.clone()
    pyro_vae.fit(space["of_images"], space["digits"].train[:128], epochs=1)
    assert not torch.equal(layers.last.weight, before)
    counts = pyro_vae.VAE(space["Ring"](), space["Counts"](5), space["Laplace"]())
    many = torch.poisson(torch.tensor([1.0, 150, 3, 0.2, 40]).expand(500, 5))
    counts.likelihood.initialise(many)
    torch.testing.assert_close(counts.decode(torch.zeros(2)).mean, many.mean(0) + 0.01)
    tailed = pyro_vae.VAE(space["Ring"](), space["StudentT"](5))
    tailed.likelihood.initialise(many)
    torch.testing.assert_close(tailed.decode(torch.zeros(2)).mean, many.median(0).values)
    parts = space["Ring"](), pyro_vae.likelihoods.Bernoulli((1, 8, 8))
    m2 = pyro_vae.M2(10, *parts, encoder=space["Joined"](), classifier=pyro_vae.networks.MLP([8]))
    pyro_vae.fit(
        m2, pyro_vae.data.labelled_subset(space["digits"].train, 50), epochs=1, transform=pyro_vae.data.binarize
    )
    assert m2.generate(4, y=3).shape == (4, 1, 8, 8)
    scaled = space["scaled"]
    assert "s | x ~ LogNormal" in printed
    assert space["history"].epochs == 1
    assert scaled.config["init_args"]["shape"] == [1, 8, 8]
    elbo, log_p = (
        pyro_vae.evaluation.elbo(scaled, space["digits"].test).elbo.mean(),
        pyro_vae.evaluation.log_likelihood(scaled, space["digits"].test, num_samples=50).mean(),
    )
    assert elbo < log_p
    with pytest.raises(pyro_vae.DataError, match=r"which is the whole numbers from 0 on .*is -1\).*standardised"):
        pyro_vae.fit(counts, torch.tensor([[0.0, 1, 2, -1, 0]]), epochs=1)


def test_a_method_of_ones_own_estimates_log_p():
    (block,) = (each for each in code(ROOT / "docs" / "log_likelihood.md") if "Defensive" in each)
    torch.manual_seed(0)
    vae = pyro_vae.VAE(pyro_vae.priors.StandardNormal(2), pyro_vae.likelihoods.Normal(3))
    space = {"vae": vae, "x": torch.randn(4, 3), "__name__": "page"}
    exec(block, space)
    found, known = (
        pyro_vae.evaluation.log_likelihood(vae, space["x"], method=method, num_samples=20_000)
        for method in (space["Defensive"](), "prior")
    )
    assert ((found - known).abs() < 4 * (found.standard_error**2 + known.standard_error**2).sqrt()).all()


def test_the_readme_quotes_the_story_as_it_stands():
    (quoted,) = re.findall(r"```python\n(with pyro.plate.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)

    def statements(text):
        return [line.split("#")[0].strip() for line in text.splitlines()]

    assert "\n".join(statements(quoted)).strip() in "\n".join(statements((ROOT / "models" / "vae.py").read_text()))


@pytest.mark.parametrize("document", ["README.md", "docs/figures.md", "docs/speed.md"])
def test_tables_are_the_recorded_results(document):
    command = [sys.executable, ROOT / "benchmarks" / "table.py", document]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, encoding="utf-8")
    text = (ROOT / document).read_text()
    for table in printed.stdout.strip().split("\n\n"):
        assert table in text


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_inside_the_project_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)#]+?)\)", document.read_text()):
        if not target.startswith(("http", "mailto")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"

"""What the documents say is true: examples run, tables are the recorded results, links lead somewhere."""

import doctest
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pyro_vae

ROOT = Path(__file__).parent.parent
MODULES = sorted(module.name for module in pkgutil.walk_packages(pyro_vae.__path__, "pyro_vae."))
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")])


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


def test_the_parts_of_ones_own_run(capsys):
    space = {"__name__": "own_parts"}
    for block in re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "own_parts.md").read_text(), re.DOTALL):
        exec(block, space)
    printed = " ".join(capsys.readouterr().out.split())
    assert "a ring of 24 normals" in printed
    assert "a Student t with 4 degrees of freedom" in printed
    assert space["vae"].generate(3).shape == (3, 5)


def test_the_readme_quotes_the_story_as_it_stands():
    (quoted,) = re.findall(r"```python\n(with pyro.plate.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)

    def statements(text):
        return [line.split("#")[0].strip() for line in text.splitlines()]

    assert "\n".join(statements(quoted)).strip() in "\n".join(statements((ROOT / "models" / "vae.py").read_text()))


@pytest.mark.parametrize("document", ["README.md", "docs/speed.md"])
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

"""Bugs of the command line that a review found, each with the test that would have caught it."""

import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from pyro_vae.cli import main
from tests.cli.test_cli import SMALL, fails

FIT = ["fit", "VAE", *SMALL, "--folder=run"]


def trained_on(capsys):
    """The data set that training names, and the one that is written down."""
    told = capsys.readouterr().out.split(":")[0].removeprefix("VAE on ")
    return told, yaml.safe_load(Path("run/run.yaml").read_text())["data"]


@pytest.mark.parametrize("words", [["--data=wine", "--config=c.yaml"], ["--config", "c.yaml", "--data", "wine"]])
def test_what_is_typed_outdoes_the_file_wherever_it_stands(here, capsys, words):
    Path("c.yaml").write_text("data: digits\nlr: 0.5\n")
    assert main([*FIT, *words]) == 0
    assert trained_on(capsys) == ("wine", "wine")
    assert yaml.safe_load(Path("run/run.yaml").read_text())["lr"] == 0.5


def test_two_files_are_refused(here, capsys):
    for name in ("a.yaml", "b.yaml"):
        Path(name).write_text("data: wine\n")
    assert "more than one --config" in fails(capsys, *FIT, "--config=a.yaml", "--config", "b.yaml")


def test_an_empty_name_is_no_data_set(here, capsys):
    assert "data set ''" in fails(capsys, *FIT, "--data", "")


def test_a_file_of_options_is_not_written_over(here, capsys):
    Path("run").mkdir()
    mine = "# mine\ndata: wine\n"
    Path("run/run.yaml").write_text(mine)
    assert "would write over its own --config" in fails(capsys, *FIT, "--config=run/run.yaml")
    assert Path("run/run.yaml").read_text() == mine


def test_files_without_a_run_are_not_written_over(here, capsys):
    Path("run").mkdir()
    Path("run/history.csv").write_text("mine")
    assert "holds history.csv, which this run would write over" in fails(capsys, *FIT, "--data=wine")
    assert Path("run/history.csv").read_text() == "mine"
    assert main([*FIT, "--data=wine", "--resume"]) == 0


def test_a_demo_that_cannot_begin_leaves_the_last_one(here, capsys):
    words = ["demo", *SMALL, "--data=wine", "--likelihood=Normal"]
    assert main(words) == 0
    before = {path.name: path.read_bytes() for path in Path("runs/demo").iterdir()}
    assert {"last.pt", "report.html"} <= set(before)
    capsys.readouterr()
    assert main([*words, "--lr=-1"]) == 2
    assert {path.name: path.read_bytes() for path in Path("runs/demo").iterdir()} == before
    assert main(words) == 0
    assert Path("runs/demo/last.pt").read_bytes() != before["last.pt"]
    assert [path.name for path in Path("runs").iterdir()] == ["demo"]


@pytest.mark.parametrize("content", [b"- a\n- b\n", b"text", b"\xff\xfe\x00", b"data: [1]\n"])
def test_a_damaged_list_of_options_is_told(here, capsys, content):
    assert main([*FIT, "--data=wine"]) == 0
    Path("run/run.yaml").write_bytes(content)
    capsys.readouterr()
    error = fails(capsys, "evaluate", "run")
    assert "damaged" in error or "does not say what it was trained on" in error


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--labels=5"], "5 labels: there are 10 classes"),
        (["--labels=0"], "0 labels"),
        (["--labels=100, 999999", "--systems=pixels"], "999999 labels: "),
        (["--data=nope"], "data set 'nope' is unknown"),
        (["--systems=pixel"], "did you mean 'pixels'"),
    ],
)
def test_a_comparison_that_cannot_be_made_is_an_error_of_use(here, capsys, words, said):
    assert said in fails(capsys, "compare", *words)
    assert not list(Path().iterdir())


def test_counts_are_told_what_fits_them(here, capsys):
    np.savez("counts.npz", x=np.arange(60, dtype=np.uint16).reshape(20, 3))
    error = fails(capsys, "fit", "VAE", "--data=counts.npz")
    assert "counts" in error
    assert "--likelihood=Categorical --likelihood.levels=" in error


@pytest.mark.parametrize("words", [["--prior.components"], ["--prior.components", "--epochs=1"]])
def test_an_option_of_a_part_without_a_value_is_named(here, capsys, words):
    assert "--prior.components needs a value" in fails(capsys, "fit", "VAE", "--prior=Vamp", *words)


def test_data_that_the_runs_transform_does_not_take_are_an_error_of_use(here, capsys):
    assert main([*FIT, "--transform=binarize"]) == 0
    assert "diabetes, which the run would see through its transform: binarize takes" in fails(
        capsys, "evaluate", "run", "--data=diabetes"
    )


def test_a_run_with_a_part_of_ones_own_is_read_again(here, capsys, monkeypatch):
    Path("ownparts.py").write_text(
        "import pyro.distributions as dist\n"
        "from pyro_vae import likelihoods\n\n\n"
        "class Counts(likelihoods.Likelihood):\n"
        "    def distribution(self, parameters):\n"
        "        (log_rate,) = self.split(parameters)\n"
        "        return dist.Poisson(log_rate.exp()).to_event(len(self.shape))\n"
    )
    np.savez("counts.npz", x=np.random.default_rng(0).poisson(2, (60, 3)))
    monkeypatch.syspath_prepend(str(here))
    words = ["--data=counts.npz", "--epochs=1", "--folder=run", "--likelihood=ownparts.Counts"]
    assert main(["fit", "VAE", "--encoder=MLP", "--encoder.hidden=[4]", *words]) == 0
    del sys.modules["ownparts"]  # as in another process
    assert main(["show", "run"]) == 0
    assert "trained for 1 epochs on counts.npz" in capsys.readouterr().out


def test_how_many_labels_a_score_is_of_is_told(here, capsys):
    assert (
        main(
            [
                "fit",
                "M2",
                "--data=wine",
                "--epochs=1",
                "--labels=9",
                "--encoder=MLP",
                "--encoder.hidden=[4]",
                "--folder=run",
            ]
        )
        == 0
    )
    assert " of 27" in capsys.readouterr().out.splitlines()[-2]

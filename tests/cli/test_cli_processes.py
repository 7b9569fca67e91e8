"""``pyro-vae fit --processes N``."""

import json

import pytest
import torch

import pyro_vae as pv
from pyro_vae.cli import main
from pyro_vae.cli.processes import asked_for

SMALL = ["--epochs=2", "--encoder=MLP", "--encoder.hidden=[16]", "--prior.size=2", "--progress=false", "--device=cpu"]


@pytest.mark.parametrize(
    "words", [["VAE", "--processes", "3", "--epochs=2"], ["VAE", "--processes=3", "--epochs=2"], ["VAE", "--epochs=2"]]
)
def test_the_number_is_taken_from_the_words(words):
    assert asked_for(words) == (3 if len(words) > 2 else 1, ["VAE", "--epochs=2"])


@pytest.mark.parametrize("words", [["--processes=0"], ["--processes=two"], ["--processes=1.5"]])
def test_it_is_a_number(words, capsys):
    assert main(["fit", "VAE", *words]) == 2
    assert capsys.readouterr().err.startswith("pyro-vae: error: --processes: wanted a whole number")


def test_two_processes_write_one_run(tmp_path, capfd):
    folder = tmp_path / "run"
    assert main(["fit", "VAE", "--processes=2", *SMALL, f"--folder={folder}"]) == 0
    told = capfd.readouterr().out
    assert told.count("trained in") == told.count("test: elbo") == 1
    assert {file.name for file in folder.iterdir()} == {"last.pt", "best.pt", "history.csv", "run.yaml"}
    assert "processes" not in (folder / "run.yaml").read_text()
    saved = torch.load(folder / "last.pt", weights_only=True)
    assert len(saved["random"]) == 2
    assert len(json.loads(saved["history"])["elbo"]) == 2
    assert isinstance(pv.load(folder / "last.pt"), pv.VAE)
    # and one process goes on with it
    assert main(["fit", f"--folder={folder}", "--resume", "--epochs=3", "--progress=false", "--lr=0.002"]) == 0


@pytest.mark.slow
def test_an_error_is_told_once(tmp_path, capfd):
    (tmp_path / "last.pt").write_bytes(b"something else")
    assert main(["fit", "VAE", "--processes=2", *SMALL, f"--folder={tmp_path}", "--resume"]) == 2
    error = capfd.readouterr().err
    assert error.count("\n") == 1
    assert "is damaged" in error

"""The command line with labels: what the data say is filled in, and what cannot be is said."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import pyro_vae as pv
from pyro_vae import data, likelihoods
from pyro_vae.cli import main
from pyro_vae.cli.options import parse

QUICK = ["--epochs=2", "--encoder=MLP", "--encoder.hidden=[16]", "--progress=false"]


@pytest.fixture(scope="module")
def m2(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "m2"
    assert main(["fit", "M2", "--labels=100", *QUICK, f"--folder={folder}"]) == 0
    return folder


@pytest.fixture(scope="module")
def conditional(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "conditional"
    assert main(["fit", "ConditionalVAE", *QUICK, f"--folder={folder}"]) == 0
    return folder


def said(capsys, *words):
    assert main(list(words)) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    return error


# -- what the data say


def test_the_label_comes_from_the_data():
    assert parse("show", ["M2"]).variant().label.classes == 10
    assert parse("show", ["M2", "--data=wine"]).variant().label.classes == 3
    assert parse("show", ["ConditionalVAE", "--data=wine"]).variant().label.classes == 3
    properties = parse("show", ["SemiSupervisedVAE", "--data=diabetes", "--labels=60"])
    assert properties.variant().label.size == 1
    assert int(properties.dataset.train.labelled.sum()) == 60
    learned = parse("show", ["SemiSupervisedVAE", "--label=Categorical", "--label.classes=10", "--label.learned=true"])
    assert learned.variant().label.learned
    assert parse("show", ["Discriminative", "--data=wine"]).variant().shape == (13,)


def test_labels_are_a_seeded_subset_of_the_training_data():
    whole = data.load("digits")
    request = parse("fit", ["M2", "--labels=50", "--seed=3"])
    assert torch.equal(request.dataset.train.y, data.labelled_subset(whole.train, 50, seed=3).y)
    assert not torch.equal(request.dataset.train.y, parse("fit", ["M2", "--labels=50"]).dataset.train.y)
    assert torch.equal(request.dataset.test.y, whole.test.y)
    assert request.dataset.valid.labelled.all()
    assert parse("fit", ["M2"]).dataset.train.labelled.all()
    # who needs every label is left with those that have one
    assert len(parse("fit", ["Discriminative", "--labels=50"]).dataset.train) == 50


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("fit VAE --labels 10", "VAE has no labels in its story"),
        ("fit M2 --labels 5", "n=5 labels cannot cover the 10 classes"),
        ("fit M2 --labels 9999", "1257 labels there are, got 9999"),
        ("fit M2 --labels some", "--labels: wanted a whole number, got 'some'"),
        ("fit M2 --data diabetes", "M2 takes classes"),
        ("fit M1 --data diabetes", "M1 takes classes"),
        ("fit M1M2", "give the folder of its run, --m1 RUN"),
        ("fit M1M2 --m1 nowhere", "there is no run 'nowhere'"),
        ("fit StructuredOutputVAE", "predicts data from data: give --quadrants 1, 2 or 3"),
        ("fit StructuredOutputVAE --quadrants 5", "--quadrants 5: observed is a number of quadrants, 1, 2 or 3"),
        ("fit StructuredOutputVAE --quadrants half", "--quadrants: wanted a whole number, got 'half'"),
        ("fit StructuredOutputVAE --quadrants 1 --data wine", "quadrants are those of images"),
        ("fit VAE --quadrants 2", "VAE predicts no image; that is for StructuredOutputVAE"),
        ("fit Discriminative --shape=3", "--shape is not for you to give"),
        ("fit VAE --objective=JitTrace_ELBO", "use --objective=Trace_ELBO"),
        ("list prior", "did you mean 'priors'?"),
        ("list --all", "list takes one kind"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(here, capsys, words, told):
    assert told in said(capsys, *words.split())


# -- commands


def test_accuracy_is_in_the_results(m2, here, capsys):
    assert yaml.safe_load((m2 / "run.yaml").read_text())["labels"] == 100
    assert main(["evaluate", str(m2), "--num-samples=3", "--max-data=5", "--json=numbers.json"]) == 0
    text = capsys.readouterr().out
    assert "accuracy" in text
    assert "expected calibration error" in text
    found = json.loads(Path("numbers.json").read_text())
    wanted = pv.evaluation.accuracy(pv.load(m2 / "last.pt"), data.load("digits").test)
    assert found["accuracy"]["mean"] == pytest.approx(wanted)
    assert found["expected_calibration_error"]["standard_error"] is None
    assert found["log_likelihood"]["label"] == "log p(x, y)"
    assert main(["fit", "M2", "--labels=100", *QUICK]) == 0
    assert f"; accuracy {wanted:.3f}" in capsys.readouterr().out  # the same seed, the same run


def test_properties_have_an_error(here, capsys):
    assert main(["fit", "SemiSupervisedVAE", "--data=diabetes", "--labels=60", *QUICK]) == 0
    assert "; mean absolute error " in capsys.readouterr().out
    run = "runs/semisupervisedvae-diabetes"
    assert main(["generate", run, "--y", "150", "-n", "3", "--out=x.npy"]) == 0
    assert np.load("x.npy").shape == (3, 10)
    assert main(["report", run, "--num-samples=3", "--max-data=3"]) == 0
    assert 'id="predictions"' in Path(run, "report.html").read_text()
    assert main(["show", run]) == 0


def test_generate_for_a_label(m2, conditional, here, capsys):
    for run in (m2, conditional):
        assert main(["generate", str(run), "--y=3", "-n", "4", "--out=x.npy", "--seed=5"]) == 0
        variant = pv.load(run / "last.pt")
        torch.manual_seed(5)
        assert np.array_equal(np.load("x.npy"), variant.generate(4, 3).numpy())
    assert main(["generate", str(conditional), "--y=3", "--out=x.png"]) == 0
    assert main(["generate", str(m2), "--out=x.png"]) == 0
    assert "generates data for a given label: --y 3" in said(capsys, "generate", str(conditional))
    assert "outside the 10 classes" in said(capsys, "generate", str(m2), "--y=30")
    assert "wanted a class" in said(capsys, "generate", str(m2), "--y=three")


@pytest.mark.parametrize("name", ["m2", "conditional"])
def test_show_and_report(name, here, request, capsys):
    run = str(request.getfixturevalue(name))
    assert main(["show", run]) == 0
    assert main(["report", run, "--out=page.html", "--num-samples=3", "--max-data=3"]) == 0
    page = Path("page.html").read_text()
    assert 'id="styles"' in page
    assert ('id="predictions"' in page) == (name == "m2")


def test_stages_follow_each_other(here, capsys):
    assert main(["fit", "M1", "--labels=100", *QUICK]) == 0
    assert "; accuracy" in capsys.readouterr().out
    assert main(["fit", "M1M2", "--labels=100", "--m1=runs/m1-digits", *QUICK]) == 0
    assert "; accuracy" in capsys.readouterr().out
    first, both = pv.load("runs/m1-digits/last.pt"), pv.load("runs/m1m2-digits/last.pt")
    x = data.load("digits").test.x[:5]
    assert torch.allclose(first.encode(x).mean, both.encode(x).mean)
    assert main(["evaluate", "runs/m1m2-digits", "--num-samples=3", "--max-data=3"]) == 0


def test_a_baseline_without_latents(here, capsys):
    assert main(["fit", "Discriminative", "--labels=100", "--epochs=2"]) == 0
    assert main(["evaluate", "runs/discriminative-digits"]) == 0
    assert "log p(y | x)" in capsys.readouterr().out


# -- other things that were mended


def test_list_names_one_kind(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["list", "priors"]) == 0
    text = capsys.readouterr().out
    assert "Vamp" in text
    assert "ContinuousBernoulli" not in text
    assert main(["list", "variants"]) == 0
    assert "ConsistencyConstrainedVAE" in capsys.readouterr().out
    assert main(["list", "objectives"]) == 0
    text = capsys.readouterr().out
    assert "free_bits" in text
    assert "Trace_ELBO" in text
    assert "Jit" not in text


def test_options_of_the_default_objective_need_no_name(here):
    assert parse("show", ["VAE", "--objective.free_bits=0.5"]).variant().objective.free_bits == 0.5
    named = parse("show", ["VAE", "--objective=Trace_ELBO", "--objective.num_particles=3"]).variant().objective
    assert (type(named).__name__, named.num_particles) == ("Trace_ELBO", 3)
    Path("run.yaml").write_text("variant: VAE\nobjective: {class_path: pyro.infer.Trace_ELBO}\n")
    kept = parse("show", ["--config=run.yaml", "--objective.num_particles=3"]).variant().objective
    assert (type(kept).__name__, kept.num_particles) == ("Trace_ELBO", 3)


def test_resuming_keeps_the_options_of_the_run(here, capsys):
    small = ["--prior.size=3", "--lr_schedule=constant", *QUICK]
    assert main(["fit", "VAE", "--folder=a", *small]) == 0
    assert main(["fit", "VAE", "--folder=a", "--resume", "--epochs=3"]) == 0
    options = yaml.safe_load(Path("a/run.yaml").read_text())
    assert (options["epochs"], options["prior"]["init_args"]["size"]) == (3, 3)
    assert "is one of VAE, not of Autoencoder" in said(capsys, "fit", "Autoencoder", "--folder=a", "--resume")
    assert main(["fit", "VAE", *small]) == 0
    assert main(["fit", "VAE", "--resume", "--epochs=3"]) == 0  # in the folder that was not named either time
    assert pv.load("runs/vae-digits/last.pt").latent_size == 3
    # nothing there yet: a run that may be interrupted begins with the same words
    assert main(["fit", "VAE", "--folder=b", "--resume", *small]) == 0


@pytest.mark.parametrize("variant", ["StructuredOutputVAE", "Discriminative"])
def test_the_rest_of_an_image_is_predicted_from_its_quadrants(here, capsys, variant):
    words = ["fit", variant, "--quadrants", "3", "--epochs", "2", "--folder", "run"]
    assert main(words) == 0
    trained = pv.load("run/last.pt")
    assert trained.shape == (48,)
    assert trained.label.shape == (16,)
    assert isinstance(trained.label.likelihood, likelihoods.ContinuousBernoulli)
    assert main(["fit", "--folder", "run", "--resume", "--epochs", "3"]) == 0, "run.yaml remembers the quadrants"
    capsys.readouterr()
    assert main(["evaluate", "run"]) == 0
    assert "log p(y | x)" in capsys.readouterr().out
    assert main(["report", "run", "--max-data", "5"]) == 0

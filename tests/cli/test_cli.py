"""The command line, called in-process as a user would call it."""

import inspect
import json
import pydoc
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import pyro_vae as pv
from pyro_vae.cli import main
from pyro_vae.cli.catalogue import KINDS, entries

SMALL = ["--epochs=2", "--encoder=MLP", "--encoder.hidden=[16]", "--prior.size=2", "--progress=false"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "vamp"
    options = ["--prior=Vamp", "--prior.components=7", "--likelihood=Normal", "--likelihood.scale=0.5"]
    assert main(["fit", "VAE", *options, *SMALL, f"--folder={folder}"]) == 0
    return folder


def fails(capsys, *words, code=2):
    """The one line that a wrong command line gives."""
    assert main(list(words)) == code
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    assert error.startswith("pyro-vae: ")
    return error


# -- help


@pytest.mark.parametrize("words", [["--help"], ["fit", "--help"], ["fit", "VAE", "--help"], ["evaluate", "--help"]])
def test_help_answers_without_torch(words):
    code = f"import sys; from pyro_vae.cli import main; assert main({words!r}) == 0; assert 'torch' not in sys.modules"
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "usage: pyro-vae" in done.stdout
    assert time.perf_counter() - start < 2


def test_help_of_a_variant_names_every_argument_and_part(capsys):
    assert main(["fit", "VAE", "--help"]) == 0
    text = capsys.readouterr().out
    for word in ("--prior", "--posterior", "--batch_size", "Vamp(size, components=50)", "--transform", "binarize"):
        assert word in text


def test_catalogue_agrees_with_the_library():
    """What is read from the source is what import gives."""
    for kind in KINDS:
        for entry in entries(kind):
            cls = pydoc.locate(entry.path)
            names = [] if cls.__init__ is object.__init__ else list(inspect.signature(cls.__init__).parameters)[1:]
            found = [argument.name for argument in entry.arguments]
            assert found == names or not found, entry  # a part without a constructor of its own has torch's
            assert entry.summary
    exported = {n for n in pv.__all__ if isinstance(getattr(pv, n), type) and issubclass(getattr(pv, n), pv.Variant)}
    assert {entry.name for entry in entries("variants")} == exported - {"Variant"}


def test_list_names_everything(capsys):
    assert main(["list"]) == 0
    text = capsys.readouterr().out
    for kind in KINDS:
        for entry in entries(kind):
            assert entry.name in text
    assert "breast_cancer" in text


# -- errors of use


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("evluate", "did you mean evaluate?"),
        ("fit", "name a variant"),
        ("fit VEA", "did you mean VAE?"),
        ("fit my.Module", "'my.Module'"),
        ("fit VAE --data digit", "did you mean 'digits'?"),
        ("fit VAE --prior=Vam", "did you mean Vamp?"),
        ("fit VAE --likelihood=normal", "did you mean Normal?"),
        ("fit VAE --objective=TraceELBO", "did you mean Trace_ELBO?"),
        ("fit VAE --prior=Vamp --prior.comp=3", "did you mean components?"),
        ("fit VAE --prior=Vamp --prior.components=x", "--prior.components: wanted a whole number, got 'x'"),
        ("fit VAE --prior.size=0", "at least 1, got 0"),
        ("fit VAE --epochz 3", "did you mean --epochs?"),
        ("fit VAE --epoch 3", "did you mean --epochs?"),
        ("fit VAE --epochs abc", "--epochs: wanted a whole number, got 'abc'"),
        ("fit VAE --epochs 0", "epochs must be a whole number of at least 1"),
        ("fit VAE --lr=abc", "--lr=abc is unknown (a number or one of"),
        ("fit VAE --beta=-1", "beta must be finite and not negative"),
        ("fit VAE --encoder.hidden=[3]", "name the class first"),
        ("fit VAE --likelihood.shape=3", "not for you to give"),
        ("fit VAE --likelihood=Normal --likelihood.scale=shard", "did you mean 'shared'?"),
        ("fit VAE --likelihood=Bernoulli", "outside the support of Bernoulli"),
        ("fit VAE --transform=binarise", "did you mean 'binarize'?"),
        ("fit VAE --data mnist --root nowhere", "'nowhere' is not a folder"),
        ("fit VAE --config nowhere.yaml", "there is no configuration file 'nowhere.yaml'"),
        ("fit VAE --resume extra", "'extra' was not expected here"),
        ("evaluate runs/nowhere", "there is no run 'runs/nowhere'"),
        ("evaluate", "name a run"),
        ("show runs/nowhere", "there is no run"),
        ("generate runs/nowhere --out x.gif", "wanted a name that ends in .png"),
    ],
)
def test_an_error_of_use_is_one_line(here, capsys, words, said):
    assert said in fails(capsys, *words.split())


def test_wrong_configuration_files(here, capsys):
    Path("typo.yaml").write_text("variant: VAE\nepochz: 3\n")
    assert "did you mean epochs?" in fails(capsys, "fit", "--config", "typo.yaml")
    Path("broken.yaml").write_text("variant: [\n")
    assert "is no YAML file" in fails(capsys, "fit", "--config", "broken.yaml")


def test_a_nearby_run_is_suggested_and_damage_is_told(run, capsys, tmp_path):
    assert f"did you mean {str(run)!r}?" in fails(capsys, "evaluate", str(run)[:-1])
    (tmp_path / "last.pt").write_bytes(b"not a checkpoint")
    assert "damaged" in fails(capsys, "evaluate", str(tmp_path))
    (tmp_path / "last.pt").unlink()
    assert "holds no run" in fails(capsys, "evaluate", str(tmp_path))


def test_a_folder_with_a_run_is_not_overwritten(run, capsys):
    before = (run / "run.yaml").read_text()
    assert "--resume" in fails(capsys, "fit", "VAE", *SMALL, f"--folder={run}")
    assert (run / "run.yaml").read_text() == before


def test_a_bug_is_one_line_unless_debugging(here, monkeypatch, capsys):
    def broken(argv):
        raise ZeroDivisionError("oh")

    from pyro_vae.cli import commands

    monkeypatch.setitem(commands.COMMANDS, "list", broken)
    assert "ZeroDivisionError: oh (PYRO_VAE_DEBUG=1" in fails(capsys, "list", code=1)
    monkeypatch.setenv("PYRO_VAE_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        main(["list"])


def test_interrupting_says_how_to_go_on(here, monkeypatch, capsys):
    from pyro_vae.cli.commands import training

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "fit_variant", interrupted)
    assert main(["fit", "VAE", *SMALL, "--folder=runs/cut"]) == 130
    assert "pyro-vae fit --folder runs/cut --resume" in capsys.readouterr().err


# -- fit, and the configuration


def test_the_swapped_prior_is_in_the_run(run, capsys):
    variant = pv.load(run / "last.pt")
    assert variant.config["init_args"]["prior"] == {
        "class_path": "pyro_vae.priors.Vamp",
        "init_args": {"size": 2, "components": 7},
    }
    assert variant.likelihood.scale == 0.5
    assert variant.shape == (1, 8, 8)
    assert main(["show", str(run)]) == 0
    text = capsys.readouterr().out
    assert "at 7 learned" in text
    assert "trained for 2 epochs on digits" in text


def test_a_configuration_repeats_its_run(run, here, capsys):
    again = here / "again"
    assert main(["fit", "--config", str(run / "run.yaml"), f"--folder={again}"]) == 0
    assert (again / "run.yaml").read_text() == (run / "run.yaml").read_text()
    first, second = pv.load(run / "last.pt"), pv.load(again / "last.pt")
    assert first.config == second.config
    for name, weight in first.state_dict().items():
        assert torch.equal(weight, second.state_dict()[name]), name


def test_options_outdo_the_configuration(run, here, capsys):
    config = ["--config", str(run / "run.yaml")]
    assert main(["show", *config, "--prior=StandardNormal", "--batch-size=32"]) == 0
    text = capsys.readouterr().out
    assert "a standard normal in 2 dimensions" in text
    assert "scale=0.5" in text


def test_resume_needs_only_the_folder(here, capsys):
    assert main(["fit", "VAE", *SMALL, "--folder=runs/a", "--lr_schedule=constant"]) == 0
    assert main(["fit", "--folder=runs/a", "--resume", "--epochs=3"]) == 0
    assert yaml.safe_load(Path("runs/a/run.yaml").read_text())["epochs"] == 3
    assert main(["show", "runs/a"]) == 0
    assert "trained for 3 epochs" in capsys.readouterr().out


def test_fit_without_any_option_fills_in_what_suits_the_data(here, capsys):
    assert main(["show", "VAE"]) == 0
    assert "ContinuousBernoulli((1, 8, 8))" in capsys.readouterr().out
    assert main(["show", "VAE", "--data=wine"]) == 0
    assert "Normal((13,))" in capsys.readouterr().out
    assert main(["show", "VAE", "--transform=binarize"]) == 0
    text = capsys.readouterr().out
    assert " Bernoulli((1, 8, 8))" in text or "=Bernoulli((1, 8, 8))" in text
    assert main(["show", "Autoencoder"]) == 0
    assert "size=8" in capsys.readouterr().out


def test_starting_weights_follow_the_seed_and_leave_the_stream_alone(here, capsys):
    from pyro_vae.cli.options import parse

    before = torch.get_rng_state()
    first, same, other = (parse("show", ["VAE", f"--seed={seed}"]).variant() for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    weights = [v.guide.posterior.network.first.weights[0] for v in (first, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_objectives_and_schedules_are_parts_too(here, capsys):
    options = ["--objective=ELBO", "--objective.free_bits=0.5", "--beta=Linear", "--beta.epochs=3", "--lr=Linear"]
    assert main(["fit", "VAE", *SMALL, *options, "--lr.end=0.001", "--folder=runs/b"]) == 0
    variant = pv.load("runs/b/last.pt")
    assert variant.objective.free_bits == 0.5
    assert variant.beta(1.5) == 0.5


def test_objectives_that_pyro_has_too_are_ours_by_their_short_names(here, capsys):
    for words in (["--objective=ReweightedWakeSleep"], ["--objective", "ReweightedWakeSleep"]):
        assert main(["fit", "VAE", *SMALL, *words, "--objective.phi=both", "--folder=run"]) == 0
        assert repr(pv.load("run/best.pt").objective) == "ReweightedWakeSleep(phi='both')"
        for file in Path("run").iterdir():
            file.unlink()
    learned = ["--objective.baseline=LearnedBaseline", "--objective.baseline.network=MLP"]
    assert main(["fit", "VAE", *SMALL, "--objective=ScoreFunction", *learned, "--folder=run"]) == 0
    assert isinstance(pv.load("run/best.pt").objective.baseline, pv.objectives.LearnedBaseline)


# -- what is done with a run


def test_evaluate_gives_nats_and_a_json_file(run, here, capsys):
    assert main(["evaluate", str(run), "--num-samples=20", "--json=numbers.json"]) == 0
    assert "nats per datum" in capsys.readouterr().out
    found = json.loads(Path("numbers.json").read_text())
    elbo, kl, reconstruction = (found[name]["mean"] for name in ("elbo", "kl", "reconstruction"))
    assert elbo == pytest.approx(reconstruction - kl, abs=1e-3)
    assert found["log_likelihood"]["mean"] > elbo
    bits = -found["log_likelihood"]["mean"] / (64 * np.log(2))
    assert found["log_likelihood"]["bits_per_dimension"] == pytest.approx(bits)
    assert found["elbo"]["data"] == 270


def test_generate_writes_pictures_and_numbers(run, here, capsys):
    for name in ("a.npy", "a.pt", "a.npz", "a.png"):
        assert main(["generate", str(run), "-n", "3", "--out", name]) == 0
    x = np.load("a.npy")
    assert x.shape == (3, 1, 8, 8)
    assert np.array_equal(x, torch.load("a.pt").numpy())
    assert np.array_equal(x, np.load("a.npz")["x"])
    assert Path("a.png").read_bytes().startswith(b"\x89PNG")
    assert main(["generate", str(run), "-n", "3", "--out", "b.npy", "--draw", "--seed=1"]) == 0
    assert not np.array_equal(x, np.load("b.npy"))


def test_report_of_a_run(run, here, capsys):
    assert main(["report", str(run), "--out=page.html", "--num-samples=10"]) == 0
    assert capsys.readouterr().out.strip() == "page.html"
    assert "components: 7" in Path("page.html").read_text()


def test_demo_twice_with_another_prior(here, capsys):
    options = ["--epochs=1", "--encoder.hidden=[16]", "--prior=Vamp", "--prior.components=5"]
    for _ in range(2):
        assert main(["demo", *options]) == 0
        text = capsys.readouterr().out
        assert text.rstrip().splitlines()[-1].endswith("runs/demo/report.html")
        assert "pseudo-inputs" in text
    assert "pseudo-inputs" in Path("runs/demo/report.html").read_text()
    assert "holds a run" in fails(capsys, "fit", "VAE", "--folder=runs/demo")


def test_as_a_process_of_its_own(here):
    command = [sys.executable, "-m", "pyro_vae.cli"]
    done = subprocess.run([*command, "show", "VAE", "--prior=Flow"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "normalising flow" in done.stdout
    done = subprocess.run([*command, "fit", "VAE", "--prior=Flaw"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("pyro-vae: error: --prior=Flaw is unknown; did you mean Flow?")


# -- data of one's own


def test_a_file_of_ones_own_from_training_to_evaluation(here, capsys):
    rng = np.random.default_rng(0)
    np.savez(here / "mine.npz", x=rng.random((60, 6, 6)), y=np.arange(60) % 3)
    assert main(["fit", "M2", "--data", "mine.npz", "--labels=12", *SMALL]) == 0
    assert (here / "runs" / "m2-mine" / "last.pt").exists()
    assert pv.load(here / "runs" / "m2-mine" / "last.pt").shape == (1, 6, 6)
    capsys.readouterr()
    assert main(["evaluate", "runs/m2-mine", "--num-samples=5"]) == 0
    assert "9 test data of mine" in capsys.readouterr().out
    assert main(["report", "runs/m2-mine"]) == 0


def test_a_table_whose_label_has_a_name(here, capsys):
    rows = [f"{0.1 * i},{(-1) ** i * i},{['adelie', 'gentoo'][i % 2]}" for i in range(60)]
    (here / "penguins.csv").write_text("\n".join(["bill,flipper,species", *rows]))
    words = ["fit", "M2", "--data", "penguins.csv", *SMALL]
    assert "--label-column species" in fails(capsys, *words)
    assert main([*words, "--label-column", "species"]) == 0
    assert main(["evaluate", "runs/m2-penguins", "--num-samples=5"]) == 0  # which knows what the label was
    assert "accuracy" in capsys.readouterr().out


def test_a_file_that_is_not_there(here, capsys):
    assert "there is no file 'mine.csv'" in fails(capsys, "fit", "VAE", "--data", "mine.csv")

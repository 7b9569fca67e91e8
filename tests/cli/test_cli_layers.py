"""The command line with lists of parts: layers of codes."""

import pytest

from pyro_vae import networks, posteriors, priors
from pyro_vae.cli import main
from pyro_vae.cli.options import parse


def test_layers_have_defaults_and_are_given_as_lists():
    variant = parse("show", ["HierarchicalVAE"]).variant()
    assert [(type(p), p.size) for p in variant.model.priors] == [
        (priors.ConditionalNormal, 16),
        (priors.StandardNormal, 8),
    ]
    words = ["--encoders+=MLP", "--encoders.hidden=[20]", "--encoders+=MLP", "--encoders.hidden=[10]"]
    words += ["--posteriors+=Bernoulli", "--posteriors.gradient=soft", "--posteriors+=Bernoulli"]
    bits = "{class_path: ConditionalBernoulli, init_args: {size: 5}}, {class_path: Bernoulli, init_args: {size: 3}}"
    variant = parse("show", ["HierarchicalVAE", *words, f"--priors=[{bits}]"]).variant()
    assert repr(variant._arguments["encoders"]) == repr([networks.MLP([20]), networks.MLP([10])])
    assert [p.gradient for p in variant.guide.posteriors] == ["soft", None]
    assert all(isinstance(p, posteriors.Bernoulli) for p in variant.guide.posteriors)
    assert [p.size for p in variant.model.priors] == [5, 3]


def test_a_run_of_layers_is_written_and_read(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["fit", "HierarchicalVAE", "--epochs=1", "--progress=false"]) == 0
    assert main(["evaluate", "runs/hierarchicalvae-digits", "--num-samples=3", "--max-data=5"]) == 0
    assert "log p(x)" in capsys.readouterr().out
    assert main(["show", "runs/hierarchicalvae-digits"]) == 0
    assert "p(z₂) p(z₁ | z₂) p(x | z₁)" in capsys.readouterr().out
    again = parse("fit", ["--config=runs/hierarchicalvae-digits/run.yaml"])
    assert repr(again.variant()) == repr(parse("show", ["HierarchicalVAE"]).variant())


@pytest.mark.parametrize("code", [["--prior=Bernoulli"], ["--prior=Categorical", "--prior.classes=3"]])
def test_discrete_codes(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    family = code[0].rpartition("=")[2]
    words = [*code, "--prior.size=4", f"--posterior={family}", "--posterior.gradient=straight_through", "--epochs=1"]
    assert main(["fit", "VAE", *words, "--progress=false"]) == 0


def test_a_code_without_a_gradient_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["fit", "VAE", "--prior=Bernoulli", "--posterior=Bernoulli", "--progress=false"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "straight_through" in error


def test_help_names_conditional_priors(capsys):
    assert main(["fit", "HierarchicalVAE", "--help"]) == 0
    text = capsys.readouterr().out
    assert "conditional priors, for --priors:" in text
    assert "ConditionalCategorical(size, classes)" in text
    assert main(["list", "conditional_priors"]) == 0
    assert "ConditionalNormal" in capsys.readouterr().out
    assert main(["fit", "VAE", "--help"]) == 0
    assert "Conditional" not in capsys.readouterr().out

"""The contract on a CUDA device, where there is one."""

import pytest
import torch

import pyro_vae as pv
from pyro_vae import data, evaluation
from pyro_vae.cli import main
from tests.family import VARIANTS, answers, arguments_for

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_trains_where_the_device_is_and_answers_there(name):
    variant = VARIANTS[name]()
    x, y = arguments_for(variant, 40)
    history = pv.fit(variant, (x, y), valid=(x, y), epochs=2, batch_size=16)
    assert {p.device.type for p in variant.parameters()} == {"cuda"}
    assert torch.tensor(history["elbo"]).isfinite().all()
    assert {answer.device.type for answer in answers(variant, x, y)} == {"cuda"}


def test_elbo_and_log_likelihood_are_those_of_the_cpu(digits):
    torch.manual_seed(0)
    vae = pv.VAE(pv.priors.MixtureOfNormals(4), pv.likelihoods.Bernoulli(digits.shape))
    x = data.threshold(digits.test.x)
    here = evaluation.log_likelihood(vae, x, num_samples=2000)
    there = evaluation.log_likelihood(vae.to("cuda"), x, num_samples=2000)
    error = (here.standard_error**2 + there.standard_error.cpu() ** 2).sqrt()
    assert ((here - there.cpu()) / error).abs().mean() < 1.2  # 0.8 on average for a standard normal


def test_saved_on_the_gpu_loads_on_the_cpu(tmp_path, digits):
    vae = pv.VAE(pv.priors.StandardNormal(2), pv.likelihoods.Normal(digits.shape)).to("cuda")
    vae.save(tmp_path / "vae.pt")
    twin = pv.load(tmp_path / "vae.pt")
    assert twin.device.type == "cpu"
    torch.testing.assert_close(twin.encode(digits.test).mean, vae.encode(digits.test).mean.cpu(), rtol=1e-4, atol=1e-4)


def test_bf16_is_close_to_full_precision(digits):
    ends = []
    for precision in ("float32", "bf16"):
        torch.manual_seed(0)
        vae = pv.VAE(pv.priors.StandardNormal(4), pv.likelihoods.Normal(digits.shape))
        ends.append(pv.fit(vae, digits, epochs=10, precision=precision)["valid_elbo"][-1])
    assert abs(ends[0] - ends[1]) < 0.05 * abs(ends[0]) + 1.0


def test_annealed_and_exact_values_and_chains_are_made_there():
    toy = pv.VAE(pv.priors.StandardNormal(2), pv.likelihoods.Normal(4), encoder=pv.networks.MLP([])).to("cuda")
    x = torch.randn(20, 4)
    exact = evaluation.log_likelihood(toy, x, method="exact")
    annealed = evaluation.log_likelihood(toy, x, method=evaluation.AIS(40, 5))
    assert exact.device.type == annealed.device.type == "cuda"
    error = annealed.standard_error.square().mean().sqrt() / 20**0.5
    assert (annealed - exact).mean().abs() < 4 * error
    assert -1 < evaluation.bidirectional(toy, 20, method=evaluation.AIS(40, 5)).gap < 1
    drawn = evaluation.posterior_mcmc(toy, x[:1], num_samples=10, warmup_steps=10)
    assert drawn["posterior"]["z"].shape == (2, 10, 1, 2)


@pytest.mark.parametrize("workers", [0, 2])
def test_streamed_bytes_become_numbers_there(workers):
    x = torch.randint(256, (200, 1, 7, 5), dtype=torch.uint8).numpy()
    stream = data.Streamed(x, workers=workers)
    assert stream.pin_memory
    vae = pv.VAE(pv.priors.StandardNormal(2), pv.likelihoods.ContinuousBernoulli((1, 7, 5)))
    history = pv.fit(vae, stream, valid=0.2, epochs=2, batch_size=32, transform=lambda x: x / 255)
    assert vae.device.type == "cuda"
    assert torch.tensor(history["valid_elbo"]).isfinite().all()


@pytest.mark.parametrize("options", [{}, {"triton.cudagraphs": True}], ids=["kernels", "graphs"])
def test_machine_code_trains_as_the_programs_do(options):
    ends = []
    for compiled in (False, True):
        torch.manual_seed(0)
        vae = pv.VAE(pv.priors.StandardNormal(4), pv.likelihoods.Bernoulli(20))
        if compiled:
            vae.objective = pv.objectives.Compiled(vae.objective, options=options)
        x = (torch.rand(640, 20, generator=torch.Generator().manual_seed(1)) < 0.3).float()
        ends.append(pv.fit(vae, x, epochs=5, batch_size=64, compile=False)["elbo"])
    assert ends[1] == pytest.approx(ends[0], rel=1e-3)


def test_two_processes_take_a_gpu_each(tmp_path):
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two CUDA devices")
    settings = ["--epochs=2", "--prior.size=2", "--progress=false"]
    assert main(["fit", "VAE", *settings, f"--folder={tmp_path / 'run'}", "--processes=2"]) == 0
    assert torch.load(tmp_path / "run" / "last.pt", weights_only=True)["random"][1][1] is not None

"""What importing the library costs and shows."""

import subprocess
import sys

import pytest

import pyro_vae as pv

HEAVY = ["arviz", "ignite", "matplotlib", "pandas", "sklearn", "torchvision", "zuko"]


def in_a_new_process(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_importing_draws_in_nothing_heavy_and_changes_nothing_global():
    code = f"""
import sys, torch, pyro
state, settings, dtype = torch.get_rng_state(), pyro.settings.get(), torch.get_default_dtype()
before = set(sys.modules)
import pyro_vae
pyro_vae.VAE(pyro_vae.priors.StandardNormal(2), pyro_vae.likelihoods.Bernoulli(3))
print([name for name in {HEAVY} if name in sys.modules and name not in before])
torch_is_untouched = pyro.settings.get() == settings and torch.get_default_dtype() == dtype
print(torch_is_untouched, "models" in sys.modules, "guides" in sys.modules)
"""
    assert in_a_new_process(code).splitlines() == ["[]", "True False False"]


def test_what_the_library_names_can_be_reached():
    for name in pv.__all__:
        assert getattr(pv, name) is not None
    assert set(pv.__all__) <= set(dir(pv))


def test_what_it_does_not_have_it_says():
    with pytest.raises(AttributeError, match="has no attribute 'VEA'"):
        _ = pv.VEA


def test_using_flows_leaves_torchs_validation_on():
    code = """
import torch, pyro_vae as pv
pv.priors.Flow(2)().sample()
vae = pv.VAE(pv.priors.StandardNormal(2), pv.likelihoods.Bernoulli(3), pv.posteriors.Flow())
vae.encode(torch.zeros(2, 3)).sample()
print(torch.distributions.Distribution._validate_args)
"""
    assert in_a_new_process(code).strip() == "True"


def test_files_of_the_library_are_named_after_what_they_hold():
    assert pv.models.VAE.__module__ == "pyro_vae.models.vae"
    assert pv.guides.VAE.__module__ == "pyro_vae.guides.vae"

"""What every test gets: seeded randomness, and a check that nothing global is left behind."""

import pyro
import pytest
import torch

from pyro_vae import data

torch.set_num_threads(1)  # the tensors are small, and xdist's workers share the cores


def _global_state():
    return {
        "torch's default dtype": torch.get_default_dtype(),
        "torch's grad mode": torch.is_grad_enabled(),
        **{f"pyro.settings {name!r}": value for name, value in pyro.settings.get().items()},
    }


@pytest.fixture(autouse=True)
def nothing_global_is_left_behind():
    """Seed torch; fail a test that leaves parameters in Pyro's store or changes a global setting."""
    torch.manual_seed(0)
    before = _global_state()
    yield
    leaked = sorted(pyro.get_param_store().keys())
    after = _global_state()
    changed = [f"{name}: {before[name]} -> {after[name]}" for name in before if after[name] != before[name]]
    pyro.clear_param_store()
    torch.set_default_dtype(before["torch's default dtype"])
    torch.set_grad_enabled(before["torch's grad mode"])
    pyro.settings.set(**{name: before[f"pyro.settings {name!r}"] for name in pyro.settings.get()})
    assert not leaked, f"left in Pyro's param store: {leaked}"
    assert not changed, f"global settings changed: {changed}"


@pytest.fixture
def own_store():
    """A param store of the test's own, for tests that use plain SVI."""
    with pyro.get_param_store().scope():
        yield


@pytest.fixture(scope="session")
def digits():
    return data.load("digits")

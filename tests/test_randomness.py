"""Seeded draws that leave no trace."""

import random

import pytest
import torch

from pyro_vae.randomness import seeded


def test_draws_follow_the_seed_alone():
    draws = []
    for seed, disturbed in ((1, 0), (1, 5), (2, 0)):
        torch.rand(disturbed)
        with seeded(seed):
            draws.append(torch.rand(4))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    torch.manual_seed(1)
    assert torch.equal(torch.rand(4), draws[0])


def test_the_stream_outside_is_left_alone_even_by_errors():
    before, others = torch.get_rng_state(), random.getstate()
    with pytest.raises(RuntimeError), seeded(0):
        torch.rand(3) @ torch.rand(4)
    assert torch.equal(torch.get_rng_state(), before)
    assert random.getstate() == others


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_named_device_is_seeded_and_restored():
    torch.cuda.manual_seed(7)
    before = torch.cuda.get_rng_state()
    with seeded(3, "cuda"):
        first = torch.rand(4, device="cuda")
    with seeded(3, torch.device("cuda", 0)):
        assert torch.equal(torch.rand(4, device="cuda"), first)
    assert torch.equal(torch.cuda.get_rng_state(), before)

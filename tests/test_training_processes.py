"""pv.fit in two processes: the same training as in one."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import pyro_vae as pv
from pyro_vae.training.batches import Batches
from tests import several

SCRIPT = Path(several.__file__)


def torchrun(what, folder, seconds=60):
    """Two processes, and whatever they printed."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [*command, str(SCRIPT), what, str(folder)], capture_output=True, text=True, timeout=seconds, check=False
    )


def close(weights, others):
    for name, weight in weights.items():
        torch.testing.assert_close(weight, others[name], rtol=0, atol=1e-6, msg=lambda m, name=name: f"{name}: {m}")


def without_seconds(history):
    return {name: values for name, values in history.items() if name != "seconds"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("several")


@pytest.fixture(scope="module")
def two(folder):
    """What both processes found; the one run that they resume was begun by one process."""
    several.trained("autoencoder", epochs=2, folder=folder / "of one")
    ran = torchrun("together", folder)
    assert ran.returncode == 0, ran.stderr
    return [torch.load(folder / f"together {rank}.pt", weights_only=False) for rank in (0, 1)]


# -- the same training


@pytest.mark.parametrize("name", several.CASES)
def test_two_processes_train_as_one_does(name, two):
    """23 data in batches of 5 and 4, cut in two: sums over shares of different sizes, with labels, with particles."""
    alone = several.trained(name)
    for found in two:
        close(alone["weights"], found[name]["weights"])
        for quantity, values in without_seconds(alone["history"]).items():
            torch.testing.assert_close(
                torch.tensor(found[name]["history"][quantity]), torch.tensor(values), rtol=1e-5, atol=1e-6
            )


@pytest.mark.parametrize("name", [*several.CASES, "noisy"])
def test_both_hold_the_same_weights_and_history(name, two):
    first, second = (found[name] for found in two)
    assert all(torch.equal(weight, second["weights"][key]) for key, weight in first["weights"].items())
    assert without_seconds(first["history"]) == without_seconds(second["history"])


def test_each_has_noise_of_its_own_and_the_first_that_of_one_alone(two):
    first, second = (found["noisy"]["drawn"] for found in two)
    assert not set(first) & set(second)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert first[0] == torch.rand(()).item()


def test_the_first_alone_writes(two, folder):
    first, second = (found["written"] for found in two)
    assert first == [str(folder / "of one" / "last.pt")] * 2  # epochs 3 and 4
    assert second == []
    assert {file.name for file in (folder / "of one").iterdir()} == {"last.pt", "best.pt", "history.csv"}


def test_an_epoch_is_shared_without_rest():
    x, y = several.data()
    whole = Batches(x, y, 5, 1, labelled_batch_size=3)
    shares = [Batches(x, y, 5, 1, labelled_batch_size=3, share=(rank, 3)) for rank in range(3)]
    assert {share.data_per_epoch for share in shares} == {whole.data_per_epoch}
    for batch, *parts in zip(*(each.chosen(2) for each in (whole, *shares)), strict=True):
        assert sorted(torch.cat(parts).tolist()) == sorted(batch.tolist())
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


# -- stopped and continued


def test_a_run_of_one_is_resumed_by_two(two):
    whole = several.trained("autoencoder", epochs=4)
    close(whole["weights"], two[1]["resumed"]["weights"])


def test_an_error_in_one_process_ends_all_and_the_run_is_resumed_by_one(folder):
    ran = torchrun("fails", folder)
    assert ran.returncode != 0
    assert "OSError: the disk of process 1 is gone" in ran.stderr
    assert torch.load(folder / "of two" / "last.pt", weights_only=True)["epoch"] == 2
    resumed = several.trained("autoencoder", epochs=4, folder=folder / "of two", resume=True)
    close(several.trained("autoencoder", epochs=4)["weights"], resumed["weights"])


# -- errors


def test_what_is_wrong_is_said_in_every_process(two):
    for rank, found in enumerate(two):
        errors = found["errors"]
        assert "batch_size is 5 in the first, and 6 in process 1" in errors["another batch size"]
        assert "a batch of 1 cannot be shared by 2" in errors["too small a batch"]
        assert errors["nan"].startswith("NonFiniteLossError: the loss ")
        assert ("became nan" if rank == 1 else "of another process became NaN") in errors["nan"]
        assert "epoch 1, step 2" in errors["nan"]


def test_alone_nothing_is_started(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "1")
    pv.fit(several.noisy(), several.data()[0], epochs=1)
    assert not torch.distributed.is_initialized()

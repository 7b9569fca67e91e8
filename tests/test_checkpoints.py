"""Runs that are killed and resumed, and files that are damaged, foreign or cannot be written."""

import json
import math
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch

import pyro_vae as pv
from pyro_vae import data, evaluation, likelihoods, networks, priors
from pyro_vae.files import read_torch, write_torch
from tests.family import CLASSES, VARIANTS, data_for, same_weights, vae, weights

# One text makes variant, data and settings, in this process and in the one that is killed.
PREAMBLE = """
    import time
    import torch
    import pyro_vae as pv
    from pyro_vae import data, likelihoods, networks, priors

    torch.set_num_threads(1)

    def binarize_slowly(x):
        time.sleep(PAUSE)
        return data.binarize(x)

    def fit(folder, **changed):
        torch.manual_seed(11)
        variant = pv.VAE(priors.Vamp(2, components=3), likelihoods.Bernoulli((1, 4, 4)),
                         encoder=networks.MLP([8], dropout=0.3, norm="batch"))
        x = torch.rand(60, 1, 4, 4)
        settings = {"epochs": 12, "batch_size": 16, "lr": 1e-2, "valid": x[:20].round(),
                    "transform": binarize_slowly, "patience": PATIENCE} | changed
        return variant, pv.fit(variant, x, folder=folder, **settings)
"""


def preamble(patience, pause=0.0):
    return textwrap.dedent(PREAMBLE).replace("PATIENCE", repr(patience)).replace("PAUSE", repr(pause))


def run_here(patience, folder, **changed):
    names = {}
    exec(preamble(patience), names)
    torch.manual_seed(int(time.time()))  # whatever random state there was plays no part
    return names["fit"](folder, **changed)


def saved_epoch(path):
    """The epoch of a checkpoint, 0 while there is none."""
    return torch.load(path, weights_only=True)["epoch"] if path.exists() else 0


def start_and_kill(folder, patience, after_epoch):
    code = preamble(patience, pause=0.03) + f"\nfit({str(folder)!r})\n"
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 90
    while saved_epoch(folder / "last.pt") < after_epoch:
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline, "the run wrote no checkpoint"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


@pytest.mark.parametrize("patience", [None, 3])
def test_a_killed_run_resumes_to_the_same_weights_bit_for_bit(patience, tmp_path):
    start_and_kill(tmp_path / "killed", patience, after_epoch=3)
    assert 3 <= saved_epoch(tmp_path / "killed" / "last.pt") < 12
    resumed, history = run_here(patience, tmp_path / "killed", resume=True)
    whole, whole_history = run_here(patience, tmp_path / "whole")
    assert same_weights(weights(whole), weights(resumed))
    assert same_weights(whole.state_dict(), resumed.state_dict())
    for name in whole_history:
        if name != "seconds":
            assert history[name] == whole_history[name], name
    for file in ("last.pt", "best.pt"):
        first, second = (pv.load(tmp_path / run / file) for run in ("killed", "whole"))
        assert same_weights(first.state_dict(), second.state_dict())


def test_a_run_stopped_by_patience_stays_stopped_when_resumed(tmp_path):
    changed = {"epochs": 40, "lr": 0.3}
    stopped, history = run_here(2, tmp_path, **changed)
    assert history.epochs < 40
    before = (tmp_path / "last.pt").read_bytes()
    again, resumed_history = run_here(2, tmp_path, resume=True, **changed)
    assert resumed_history.epochs == history.epochs
    assert same_weights(weights(stopped), weights(again))
    assert (tmp_path / "last.pt").read_bytes() == before


@pytest.mark.parametrize("name", ["prior_standard_normal", "prior_maf", "annealed", "pyro_objective", "conv_with_norm"])
def test_a_run_can_be_prolonged(name, tmp_path):
    first, whole = VARIANTS[name](), VARIANTS[name]()
    start = first.state_dict()
    x = data_for(first)
    settings = {"batch_size": 16, "lr": 1e-2, "lr_schedule": "constant"}
    whole.load_state_dict(start)
    pv.fit(whole, x, epochs=6, **settings)
    pv.fit(first, x, epochs=3, folder=tmp_path, **settings)
    resumed = VARIANTS[name]()  # other weights; those of the checkpoint replace them
    history = pv.fit(resumed, x, epochs=6, folder=tmp_path, resume=True, **settings)
    assert history.epochs == 6
    assert same_weights(whole.state_dict(), resumed.state_dict())


def test_resuming_a_finished_run_gives_its_weights_and_history(tmp_path):
    variant = vae()
    x = data_for(variant)
    history = pv.fit(variant, x, epochs=2, folder=tmp_path)
    other = vae()
    assert pv.fit(other, x, epochs=2, folder=tmp_path, resume=True) == history
    assert same_weights(weights(variant), weights(other))


def test_resume_without_a_checkpoint_starts_anew(tmp_path):
    variant = vae()
    assert pv.fit(variant, data_for(variant), epochs=1, folder=tmp_path / "new", resume=True).epochs == 1


# -- refusals


@pytest.fixture
def finished(tmp_path):
    """A run of two epochs, its data and its folder."""
    variant = vae()
    x = data_for(variant)
    pv.fit(variant, x, epochs=2, folder=tmp_path / "run")
    return variant, x, tmp_path / "run"


def assert_refuses(folder, message, variant, x, **settings):
    before = (folder / "last.pt").read_bytes()
    with pytest.raises(pv.CheckpointError, match=message):
        pv.fit(variant, x, **({"epochs": 3, "folder": folder, "resume": True} | settings))
    assert (folder / "last.pt").read_bytes() == before


def test_a_folder_with_a_run_is_not_overwritten(finished):
    _, x, folder = finished
    assert_refuses(folder, r"already holds a run.*resume=True.*another folder", vae(), x, resume=False)


def test_another_variant_is_refused(finished):
    _, x, folder = finished
    assert_refuses(folder, r"(?s)another variant.*MLP", vae(encoder=networks.MLP([5])), x)
    assert_refuses(folder, "another variant", vae(beta=2.0), x)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"batch_size": 32}, r"batch_size=128 \(now 32\)"),
        ({"seed": 1}, r"seed=0 \(now 1\)"),
        ({"clip": 1.0}, r"clip=None \(now 1.0\)"),
        ({"precision": "bf16"}, r"precision='float32' \(now 'bf16'\)"),
    ],
)
def test_changed_settings_are_refused(finished, changed, named):
    _, x, folder = finished
    assert_refuses(folder, rf"{named}.*same settings", vae(), x, **changed)


def test_other_data_are_refused(finished):
    _, x, folder = finished
    assert_refuses(folder, "other training data", vae(), 1 - x)
    assert_refuses(folder, "other training data", vae(), x[:-1])


def test_a_variant_without_a_run_is_refused(finished):
    variant, x, folder = finished
    variant.save(folder / "last.pt")
    assert_refuses(folder, r"last\.pt.*no run that could be resumed", vae(), x)


def truncated(content):
    return content[: len(content) // 2]


DAMAGED = {
    "truncated": truncated,
    "empty": lambda content: b"",
    "text": lambda content: b"hello\n",
    "noise": lambda content: bytes(range(256)) * 40,
    "zeros in the middle": lambda content: content[:2000] + bytes(2000) + content[4000:],
    "head only": lambda content: content[:100],
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_file_is_named(finished, damage):
    _, x, folder = finished
    path = folder / "last.pt"
    path.write_bytes(DAMAGED[damage](path.read_bytes()))
    assert_refuses(folder, r"last\.pt' is damaged or was not written by pyro_vae", vae(), x)
    with pytest.raises(pv.CheckpointError, match=r"last\.pt'"):
        pv.load(path)


def test_a_file_cut_anywhere_is_called_damaged(tmp_path):
    vae().save(tmp_path / "whole.pt")
    whole = (tmp_path / "whole.pt").read_bytes()
    for length in torch.randint(len(whole) - 1, (40,)).tolist():
        (tmp_path / "cut.pt").write_bytes(whole[:length])
        with pytest.raises(pv.CheckpointError, match=r"cut\.pt' is damaged"):
            pv.load(tmp_path / "cut.pt")


def test_a_flipped_bit_in_the_weights_is_found(tmp_path):
    variant = vae()
    variant.save(tmp_path / "v.pt")
    content = bytearray((tmp_path / "v.pt").read_bytes())
    place = content.find(variant.guide.posterior.network.rest[-1].weight.detach().numpy().tobytes())
    assert place > 0
    content[place + 5] ^= 1
    (tmp_path / "v.pt").write_bytes(content)
    with pytest.raises(pv.CheckpointError, match=r"v\.pt' is damaged"):
        pv.load(tmp_path / "v.pt")


@pytest.mark.parametrize("content", [[1, 2], {"weights": {}}, {"format": "pyro-vae 99"}, torch.zeros(3)])
def test_a_foreign_file_of_torch_is_named(tmp_path, content):
    torch.save(content, tmp_path / "foreign.pt")
    with pytest.raises(pv.CheckpointError, match=r"foreign\.pt' was not written by this version of pyro_vae"):
        pv.load(tmp_path / "foreign.pt")


class Evil:
    def __reduce__(self):
        return os.mkdir, ("/tmp/pyro_vae_was_here",)


def test_a_file_cannot_run_code(tmp_path):
    torch.save({"format": "pyro-vae 1", "config": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(pv.CheckpointError, match=r"evil\.pt"):
        pv.load(tmp_path / "evil.pt")
    assert not Path("/tmp/pyro_vae_was_here").exists()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("os.path.join", "not imported|no class|is no part"),
        ("subprocess.Popen", "not imported|is no part"),
        ("pyro_vae.priors.Nothing", "no class 'Nothing' in pyro_vae.priors"),
        ("pyro_vae.nowhere.Thing", "no module pyro_vae.nowhere"),
        ("pyro_vae.fit", "no class 'fit'"),
        ("pyro.distributions.torch.torch.nn.Linear", "not imported"),
    ],
)
def test_a_config_makes_nothing_but_parts(tmp_path, path, message):
    write_torch(tmp_path / "f.pt", {"config": json.dumps({"class_path": path}), "weights": {}, "version": "0"})
    with pytest.raises(pv.ConfigurationError, match=message):
        pv.load(tmp_path / "f.pt")


def test_weights_of_another_shape_are_named(tmp_path):
    content = vae().to_content() | {"weights": vae(encoder=networks.MLP([5])).state_dict()}
    write_torch(tmp_path / "mixed.pt", content)
    with pytest.raises(pv.CheckpointError, match=r"mixed\.pt'.*weights do not fit"):
        pv.load(tmp_path / "mixed.pt")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(pv.CheckpointError, match=r"no file '.*nothing\.pt'"):
        pv.load(tmp_path / "nothing.pt")


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    variant = vae()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(pv.CheckpointError, match=r"cannot write into folder '.*file.*name another one"):
            pv.fit(variant, data_for(variant), epochs=1, folder=folder)
        with pytest.raises(pv.CheckpointError, match="cannot write"):
            variant.save(folder / "variant.pt")
    (tmp_path / "taken").mkdir()
    with pytest.raises(pv.CheckpointError, match=r"cannot write '.*taken'"):
        variant.save(tmp_path / "taken")


# -- whole or not at all


def fail_in_replace(*args):
    raise OSError(28, "No space left on device")


def fail_in_the_middle(content, file):
    file.write(b"half of a")
    raise RuntimeError("PytorchStreamWriter failed writing file")


@pytest.mark.parametrize(
    ("function", "failure", "error"),
    [
        ("os.replace", fail_in_replace, pv.CheckpointError),
        ("torch.save", fail_in_the_middle, pv.CheckpointError),
        ("torch.save", lambda content, file: (_ for _ in ()).throw(KeyboardInterrupt), KeyboardInterrupt),
    ],
)
def test_a_failed_write_leaves_the_old_file(finished, monkeypatch, function, failure, error):
    variant, x, folder = finished
    old = {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setattr(function, failure)
    with pytest.raises(error):
        pv.fit(vae(), x, epochs=3, folder=folder, resume=True)
    monkeypatch.undo()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == old
    assert same_weights(weights(pv.load(folder / "last.pt")), weights(variant))


def test_what_is_written_is_what_is_read(tmp_path):
    content = {"tensor": torch.randn(3, 4), "text": "é", "number": math.pi, "nothing": None}
    write_torch(tmp_path / "new" / "folder" / "f.pt", content)
    got = read_torch(tmp_path / "new" / "folder" / "f.pt")
    assert torch.equal(got.pop("tensor"), content.pop("tensor"))
    assert got == content | {"format": "pyro-vae 1"}
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["f.pt"]


def test_the_best_file_holds_the_best_epoch(tmp_path):
    variant = vae()
    x = data_for(variant)
    history = pv.fit(variant, x, epochs=5, valid=x, lr=1e-2, folder=tmp_path)
    best = pv.load(tmp_path / "best.pt")
    kls = history["valid_kl"]
    winner = max(range(5), key=history["valid_elbo"].__getitem__)
    assert evaluation.elbo(best, x).kl.mean().item() == pytest.approx(kls[winner], rel=1e-5)


def test_a_transform_is_applied_to_validation_data_once(tmp_path):
    seen = []

    def transform(x):
        seen.append(len(x))
        return data.binarize(x)

    variant = vae()
    x = torch.rand(40, *variant.shape)
    pv.fit(variant, x, epochs=3, batch_size=20, valid=x[:7], transform=transform)
    assert seen.count(7) == 1


@pytest.mark.parametrize("make", [pv.M1, pv.M2, pv.ConsistencyConstrainedVAE])
def test_a_number_of_classes_is_a_label_where_it_can_be_nothing_else(make, tmp_path):
    variant = make(CLASSES, priors.StandardNormal(2), likelihoods.Bernoulli(3))
    assert variant.label.classes == CLASSES
    variant.save(tmp_path / "v.pt")
    assert pv.load(tmp_path / "v.pt").label.classes == CLASSES

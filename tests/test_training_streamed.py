"""pv.fit on data that are read batch by batch: the same training, in memory that does not grow with the data."""

import copy
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset, WeightedRandomSampler
from torch.utils.data import Dataset as TorchDataset

import pyro_vae as pv
from pyro_vae import data, likelihoods
from pyro_vae.training import sources
from pyro_vae.training.order import permutation
from tests.family import CLASSES, IMAGE, VARIANTS, data_for, same_weights, vae, weights, with_labels

SETTINGS = {"epochs": 2, "batch_size": 16, "lr": 1e-2}


def on_disk(array, path):
    made = np.memmap(path, dtype=array.dtype, mode="w+", shape=array.shape)
    made[:] = array
    made.flush()
    return np.memmap(path, dtype=array.dtype, mode="r", shape=array.shape)


def labels_of(n):
    y = torch.arange(n) % (CLASSES + 1) - 1
    assert (y < 0).any()
    return y


class Items(TorchDataset):
    """A map-style data set that knows what it was asked for."""

    def __init__(self, x):
        self.x, self.asked = x, []

    def __len__(self):
        return len(self.x)

    def __getitem__(self, row):
        self.asked.append(row)
        return self.x[row]


# -- the same training


def streams(x, tmp_path):
    return {
        "memmap": on_disk(x.numpy(), tmp_path / "x"),
        "workers": data.Streamed(on_disk(x.numpy(), tmp_path / "x2"), workers=2),
        "items": data.Streamed(Items(x)),
        "loader": DataLoader(TensorDataset(x), batch_size=7),
        "collate": DataLoader(Items(x), collate_fn=torch.stack),
    }


@pytest.mark.parametrize("kind", ["memmap", "workers", "items", "loader", "collate"])
def test_streamed_data_train_as_the_same_data_in_memory(kind, tmp_path):
    first = vae("vamp")  # whose starting values are data
    second = copy.deepcopy(first)
    x, valid = data_for(first, 50), data_for(first, 10)
    held = pv.fit(first, x, valid=valid, **SETTINGS)
    state = torch.get_rng_state()
    read = pv.fit(second, streams(x, tmp_path)[kind], valid=valid, **SETTINGS)
    assert torch.equal(torch.get_rng_state(), state)
    assert same_weights(weights(first), weights(second))
    assert {k: v for k, v in held.items() if k != "seconds"} == {k: v for k, v in read.items() if k != "seconds"}


def test_bytes_become_numbers_batch_by_batch(tmp_path):
    first = vae(likelihood=likelihoods.ContinuousBernoulli(IMAGE))
    second = copy.deepcopy(first)
    x = torch.randint(256, (40, *IMAGE), dtype=torch.uint8)
    pv.fit(first, x, transform=scaled, **SETTINGS)
    pv.fit(second, on_disk(x.numpy(), tmp_path / "x"), transform=scaled, **SETTINGS)
    assert same_weights(weights(first), weights(second))


def scaled(x):
    return x / 255


def test_labels_are_read_too(tmp_path):
    first = with_labels(pv.M2)
    second = copy.deepcopy(first)
    x, y = data_for(first, 40), labels_of(40)
    pv.fit(first, (x, y), valid=(x, y), labelled_batch_size=None, **SETTINGS)
    memory = on_disk(x.numpy(), tmp_path / "x"), on_disk(y.numpy(), tmp_path / "y")
    pv.fit(second, memory, valid=memory, **SETTINGS)
    assert same_weights(weights(first), weights(second))


def test_validation_in_pieces_has_the_averages_of_the_whole(monkeypatch):
    variant = with_labels(pv.M2)
    x, y = data_for(variant, 35), labels_of(35)
    y[:10] = -1  # a piece without labels
    ends = []
    for chunk in (1000, 10):
        monkeypatch.setattr(sources, "CHUNK", chunk)
        ends.append(pv.fit(copy.deepcopy(variant), (x, y), valid=data.Streamed((x, y)), epochs=1, batch_size=16))
    assert ends[0]["valid_accuracy"][0] > 0
    for name in ("valid_kl", "valid_accuracy"):  # in which there is no noise
        assert ends[1][name] == pytest.approx(ends[0][name], rel=1e-5), name


def test_a_streamed_run_that_was_stopped_is_resumed_bit_for_bit(tmp_path):
    whole = vae()
    first, resumed = copy.deepcopy(whole), copy.deepcopy(whole)
    x = data_for(whole, 50)
    memory = on_disk(x.numpy(), tmp_path / "x")
    constant = SETTINGS | {"lr_schedule": "constant"}
    pv.fit(whole, memory, **(constant | {"epochs": 4}))
    pv.fit(first, memory, folder=tmp_path / "run", **constant)
    again = constant | {"epochs": 4, "folder": tmp_path / "run", "resume": True}
    with pytest.raises(pv.CheckpointError, match="other training data"):
        pv.fit(copy.deepcopy(whole), memory[:49], **again)
    pv.fit(resumed, memory, **again)
    assert same_weights(weights(whole), weights(resumed))


# -- memory


class Endless(TorchDataset):
    """A thousand million data, each made when it is asked for."""

    def __len__(self):
        return 10**9

    def __getitem__(self, row):
        return torch.full(IMAGE, float(row % 2))


class Enough(Exception):  # noqa: N818
    pass


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux to tell memory from cached files")
def test_memory_does_not_grow_with_the_data():
    """3.5e10 numbers, 140 GB of them; 30 steps take less than 64 MiB."""
    sizes = []

    def transform(x):
        sizes.append(anonymous())
        if len(sizes) == 30:
            raise Enough
        return x

    variant = vae()
    pv.fit(variant, torch.zeros(16, *IMAGE), epochs=1)  # what the first step of any run takes
    before = anonymous()
    with pytest.raises(Enough):
        pv.fit(variant, data.Streamed(Endless()), valid=0.1, epochs=1, compile=False, transform=transform)
    assert max(sizes) - before < 64 * 2**20


def anonymous():
    """Memory of this process in bytes, without that of files."""
    return int(re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024


def test_no_more_is_read_than_a_sample_and_the_batches(monkeypatch):
    monkeypatch.setattr(sources, "SAMPLE", 8)
    variant = vae()
    items = Items(data_for(variant, 50))
    pv.fit(variant, data.Streamed(items), epochs=1, batch_size=10)
    # the shape of one, the sample from one end to the other, and an epoch
    assert items.asked[:9] == [0, 0, 7, 14, 21, 28, 35, 42, 49]
    assert sorted(items.asked[9:]) == list(range(50))


# -- permutations


@pytest.mark.parametrize("n", [5, 64, 1000, 4097])
def test_a_permutation_that_is_computed_is_one(n):
    shuffled = permutation(n, torch.Generator().manual_seed(3), listed=0)
    assert sorted(shuffled(torch.arange(n)).tolist()) == list(range(n))
    pieces = [shuffled(part) for part in torch.arange(n).split(7)]
    assert torch.equal(torch.cat(pieces), shuffled(torch.arange(n)))
    other = permutation(n, torch.Generator().manual_seed(4), listed=0)
    assert not torch.equal(other(torch.arange(n)), shuffled(torch.arange(n)))


def test_a_permutation_that_is_computed_is_as_random_as_one_that_is_drawn():
    """Where each of 12 goes, and its neighbour, over 6000 permutations: chi-square of all 132 pairs of places."""
    from scipy.stats import chi2

    n, draws = 12, 6000
    pairs = torch.zeros(n, n)
    for seed in range(draws):
        entries = permutation(n, torch.Generator().manual_seed(seed), listed=0)(torch.tensor([4, 5]))
        pairs[entries[0], entries[1]] += 1
    expected = draws / (n * (n - 1))
    off = ~torch.eye(n, dtype=torch.bool)
    statistic = ((pairs[off] - expected) ** 2 / expected).sum().item()
    assert pairs.diagonal().sum() == 0
    assert 1e-4 < chi2.sf(statistic, n * (n - 1) - 1) < 1 - 1e-4


def test_neighbours_are_scattered_over_all_places():
    """The first 100,000 places of 10^9: no more of their entries in any of 100 equal ranges than chance has it."""
    n = 10**9
    entries = permutation(n, torch.Generator().manual_seed(0))(torch.arange(100_000))
    counts = torch.bincount(entries // (n // 100), minlength=100)
    statistic = ((counts - 1000) ** 2 / 1000).sum().item()
    assert 50 < statistic < 160  # 99 degrees of freedom: 4 standard deviations of 14
    assert len(entries.unique()) == 100_000


# -- a share held out


@pytest.mark.parametrize("form", ["held", "streamed"])
def test_a_share_of_the_data_is_held_out(form):
    variant = vae()
    x = torch.arange(50.0)[:, None, None, None].expand(50, *IMAGE) / 50
    seen = {}

    def transform(batch):
        seen.setdefault(len(batch), set()).update(round(50 * value) for value in batch[:, 0, 0, 0].tolist())
        return torch.ones_like(batch)

    given = data.Streamed(x.clone()) if form == "streamed" else x
    history = pv.fit(variant, given, valid=0.2, epochs=2, batch_size=16, transform=transform, seed=5)
    assert "valid_elbo" in history
    rows = permutation(50, torch.Generator().manual_seed(5))(torch.arange(50)).tolist()
    assert seen[10] == set(rows[:10])  # to be evaluated
    assert seen[13] | seen[14] == seen[40] == set(rows[10:])  # in batches, and looked at before


@pytest.mark.parametrize("share", [0.0, 1.0, 1.5, -0.1, 0.001, float("nan")])
def test_a_share_that_leaves_nothing_is_refused(share):
    variant = vae()
    with pytest.raises(pv.ConfigurationError, match="valid="):
        pv.fit(variant, data_for(variant, 20), valid=share, epochs=1)


# -- errors


def test_data_that_do_not_fit_are_said_before_training_or_with_their_batch(monkeypatch):
    variant = vae()
    x = data_for(variant, 50)
    x[33] = 0.5
    with pytest.raises(pv.DataError, match=r"^data: x.*Bernoulli"):
        pv.fit(variant, data.Streamed(x), epochs=1)
    monkeypatch.setattr(sources, "SAMPLE", 3)
    before = weights(variant)
    with pytest.raises(pv.DataError, match=r"^data: x.*Bernoulli"):
        pv.fit(variant, data.Streamed(x), epochs=1, batch_size=5)
    assert not same_weights(before, weights(variant))  # it had begun


def test_what_cannot_be_streamed_is_refused(tmp_path):
    x = torch.zeros(20, *IMAGE)

    class Flow(IterableDataset):
        def __iter__(self):
            yield from x

    with pytest.raises(pv.DataError, match="has no length"):
        pv.fit(vae(), DataLoader(Flow()), epochs=1)
    weighted = WeightedRandomSampler([1.0] * 20, 20)
    with pytest.raises(pv.DataError, match="a sampler of its own"):
        pv.fit(vae(), DataLoader(TensorDataset(x), sampler=weighted), epochs=1)
    with pytest.raises(TypeError, match="x is a list"):
        data.Streamed([1, 2])
    with pytest.raises(ValueError, match="same length"):
        data.Streamed((np.zeros((3, 2)), np.zeros(2)))
    with pytest.raises(ValueError, match="no data"):
        data.Streamed(np.zeros((0, 2)))
    with pytest.raises(ValueError, match="scalars"):
        data.Streamed(np.zeros(3))


def test_what_needs_all_data_at_once_is_refused():
    x, y = data_for(VARIANTS["m1"](), 20), torch.arange(20) % CLASSES
    with pytest.raises(pv.ConfigurationError, match="looks at all data at once"):
        pv.fit(VARIANTS["m1"](), data.Streamed((x, y)), epochs=1)
    with pytest.raises(pv.ConfigurationError, match="labelled_batch_size"):
        pv.fit(with_labels(pv.M2), data.Streamed(TensorDataset(x, y)), epochs=1, labelled_batch_size=3)


@pytest.mark.parametrize("size", ["auto", 3])
def test_few_labels_beside_data_on_disk(size, tmp_path):
    """The labels of arrays are known without the data: batches hold as many as those of data in memory."""
    torch.manual_seed(0)
    variant = with_labels(pv.M2)
    twin = copy.deepcopy(variant)
    x, y = data_for(variant, 90), torch.full((90,), -1)
    y[[10, 50, 71, 89]] = torch.tensor([0, 1, 2, 1])
    stream = data.Streamed((on_disk(x.numpy(), tmp_path / "x"), y.numpy()))
    settings = SETTINGS | {"labelled_batch_size": size, "seed": 1}
    pv.fit(variant, stream, **settings)
    pv.fit(twin, (x, y), **settings)
    assert same_weights(weights(variant), weights(twin))


def test_the_few_labels_of_many_data_are_found(monkeypatch, tmp_path):
    monkeypatch.setattr(sources, "SAMPLE", 10)
    variant = with_labels(pv.M2)
    x, y = data_for(variant, 90), torch.full((90,), -1)
    y[[35, 36, 37]] = torch.arange(3)
    pv.fit(variant, data.Streamed((x, y)), epochs=1)
    with pytest.raises(pv.DataError, match=r"of 90 data 10 were looked at, and none of them has a label; give arrays"):
        pv.fit(with_labels(pv.M2), data.Streamed(TensorDataset(x, y)), epochs=1)
    with pytest.raises(pv.DataError, match=r"data: y: .*9"):
        pv.fit(with_labels(pv.M2), data.Streamed((x, torch.where(y == 2, 9, y))), epochs=1)


def test_labels_of_one_kind_are_kept():
    stream = data.Streamed((np.zeros((4, 2), dtype=">f4"), np.array([0.5, 1.0, np.nan, 2.0])))
    x, y = stream.read(torch.tensor([2, 0]))
    assert x.shape == (2, 2)
    assert y[0].isnan()
    assert y[1] == 0.5
    assert repr(stream) == "Streamed(4 data, x=(2,) float32, y=() float64)"

"""What is compared in the benchmarks is comparable."""

import importlib
import statistics
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode


@pytest.fixture
def benchmark_named(monkeypatch):
    """Imports a module of ``benchmarks/``, and forgets it and those that it imports."""
    folder = Path(__file__).parent.parent / "benchmarks"
    monkeypatch.syspath_prepend(folder)
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(folder)):
            del sys.modules[name]


def operations(step):
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def test_the_floor_has_the_matrix_products_of_the_step_by_hand(benchmark_named):
    speed, floors = benchmark_named("speed"), benchmark_named("floors")
    convolutional = speed.Case(64, 7, 3, 5, channels=(4, 6))
    for case in (speed.Case(12, 7, 3, 5), speed.Case(12, 7, 3, 5, draws=4), convolutional):
        assert operations(floors.products(case)) == operations(speed.hand_written(case, compiled=False))
    case = speed.Case(12, 7, 3, 10, classes=4)
    # by hand one-hot labels are multiplied, 5 of them and all 4 classes, forward and for the gradients of weights
    of_labels = sum(2 * 2 * rows * 4 * 7 for rows in (5, 4)) * 2  # in encoder and decoder
    assert operations(floors.products(case)) == operations(speed.hand_written(case, compiled=False)) - of_labels


@pytest.mark.parametrize("name", ["fit", "pyro", "pythae", "pixyz"])
def test_all_ways_to_train_have_the_same_loss(benchmark_named, name):
    if name in ("pythae", "pixyz"):
        pytest.importorskip(name)
    epochs, by_hand = benchmark_named("epochs"), benchmark_named("by_hand")
    torch.manual_seed(0)
    x = torch.bernoulli(torch.full((epochs.BATCH, 64), 0.3))  # one step: the loss is that of the starting weights
    start = by_hand.VAE(64, 32, 4)
    task = epochs.Task(start, (64, 32, 4), x, epochs=1)
    with torch.no_grad():
        expected = [start(x).item() / len(x) for _ in range(200)]
    way = (epochs.WAYS | epochs.PEERS.get(name, {}))[name]
    z = (way(task, lambda: None) - statistics.mean(expected)) / statistics.stdev(expected)
    assert abs(z) < 4


def test_what_the_loop_adds_is_measured(benchmark_named, monkeypatch):
    overhead = benchmark_named("overhead")
    monkeypatch.setattr(overhead, "EPOCHS", 1)
    x = torch.bernoulli(torch.full((overhead.BATCH, 784), 0.3))
    for way in (overhead.with_fit, overhead.bare_loop, overhead.plain_pyro, overhead.by_hand):
        way(x)()


def test_networks_by_hand_have_as_many_weights_as_ours(benchmark_named, own_store):
    speed, by_hand, by_pyro = (benchmark_named(name) for name in ("speed", "by_hand", "by_pyro"))

    def weights(module):
        return sum(parameter.numel() for parameter in module.parameters())

    for case in (speed.Case(64, 7, 3, 5), speed.Case(64, 7, 3, 5, channels=(4, 6)), speed.Case(64, 7, 3, 6, classes=4)):
        assert weights(case.variant()) == weights(case.written(by_hand)) == weights(case.written(by_pyro))
        for way in (
            speed.of_fit(case, None),
            speed.of_fit(case, "eager"),
            speed.hand_written(case, False),
            speed.plain_pyro(case),
        ):
            assert way() > 0


def test_a_table_is_put_where_the_old_one_was(benchmark_named):
    table = benchmark_named("table")
    old, new = table.table(("a", "b"), [(1, 2)]), table.table(("a", "c", "d"), [(3, 4, 5)])
    other = table.table(("b", "a"), [(7, 8)])
    assert table.written(f"Words.\n\n{old}\n\nMore.\n\n{other}\n", new) == f"Words.\n\n{new}\n\nMore.\n\n{other}\n"
    assert table.written(f"Words.\n\n{old}\n", new) == f"Words.\n\n{new}\n"
    twins = f"{table.table(('a', 'b'), [])}\n\n{table.table(('a', 'd'), [(0, 0)])}"
    assert table.written(twins, old) == twins.replace(table.table(("a", "b"), []), old)
    with pytest.raises(SystemExit, match=r"one table that begins with '\| a \|', there are 0"):
        table.written(other, new)

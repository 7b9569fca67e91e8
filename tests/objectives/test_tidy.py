"""A tidied graph computes what the graph computed, bit for bit, with fewer operations and less memory."""

import copy

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from pyro_vae.objectives.compiled.tidy import tidy

A, B = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0.5, -1.0, 2.0])


def twice(function, *arguments):
    """Results of a graph before it is tidied and after, and the names of its operations then."""
    module = make_fx(function, tracing_mode="fake")(*arguments)
    results = []
    for graph in (copy.deepcopy(module), tidy(module)):
        for _ in range(2):  # what a graph holds must not be changed by its first run
            given = [each.clone() for each in arguments]
            torch.manual_seed(1)
            result = graph(*given)
        results.append((result, given))
    operations = [str(node.target) for node in module.graph.nodes if node.op == "call_function"]
    return *results, operations


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        pytest.param(lambda a, b: a.expand(4, 3).view(4, 3).t().t() + b, ["aten.add.Tensor"], id="views"),
        pytest.param(lambda a, b: a.expand(2, 4, 3) + b, ["aten.expand.default", "aten.add.Tensor"], id="a view stays"),
        pytest.param(lambda a, b: (a + b).exp(), ["aten.add.Tensor", "aten.exp_.default"], id="in place"),
        pytest.param(lambda a, b: b * (a + 1), ["aten.add.Tensor", "aten.mul_.Tensor"], id="second of a product"),
        pytest.param(lambda a, b: b - (a + 1), ["aten.add.Tensor", "aten.sub.Tensor"], id="no difference turned round"),
        pytest.param(lambda a, b: a * b, ["aten.mul.Tensor"], id="arguments are left alone"),
        pytest.param(lambda a, b: (b + 1) * a, ["aten.add.Tensor", "aten.mul.Tensor"], id="sizes differ"),
        pytest.param(lambda a, b: (a + b) > 0, ["aten.add.Tensor", "aten.gt.Scalar"], id="types differ"),
    ],
)
def test_operations(function, expected):
    (before, _), (after, given), operations = twice(function, A, B)
    assert operations == expected
    assert torch.equal(before, after)
    assert torch.equal(given[0], A)
    assert torch.equal(given[1], B)


def test_what_is_read_again_is_not_written_over():
    def function(a):
        once = a + 1
        view = once.t()
        return once.exp(), view * 2, once * once

    (before, _), (after, _), operations = twice(function, A)
    assert not any("_." in name for name in operations)
    assert all(torch.equal(first, second) for first, second in zip(before, after, strict=True))


def test_a_square_of_one_tensor_is_not_written_over():
    (before, _), (after, _), operations = twice(lambda a: torch.mul(s := a + 1, s), A)
    assert operations == ["aten.add.Tensor", "aten.mul.Tensor"]
    assert torch.equal(before, after)


def test_random_numbers_that_nobody_reads_are_drawn_and_changes_are_made():
    def function(a):
        torch.randn(5)
        a.add_(1)
        unused = a * 3  # noqa: F841
        return torch.randn(3)

    (before, changed), (after, given), operations = twice(function, A)
    assert torch.equal(before, after)
    assert torch.equal(given[0], changed[0])
    assert "aten.mul.Tensor" not in operations


def test_a_check_is_made_though_nobody_reads_its_result():
    module = tidy(make_fx(torch.linalg.cholesky, tracing_mode="fake")(torch.eye(2)))
    with pytest.raises(torch.linalg.LinAlgError):
        module(torch.tensor([[1.0, 2.0], [2.0, 1.0]]))


SQUARE = torch.arange(9.0).reshape(3, 3)


@pytest.mark.parametrize(
    "function",
    [
        pytest.param(lambda a: ((x := a + 1).expand(3, 3).t_() * 2, x * 1), id="a view is turned"),
        pytest.param(lambda a: ((x := a + 1).t().t().t_() * 2, x * 1), id="turned twice and once more"),
        pytest.param(lambda a: ((x := a + 1).view(3, 3).unsqueeze_(0) * 2, x.sum(0)), id="a view gets a dimension"),
        pytest.param(
            lambda a: (torch.ops.aten._unsafe_view(x := a + 1, [9]).exp(), x.view(3, 3) * 1), id="a view in disguise"
        ),
        pytest.param(lambda a: ((a.to_sparse_csr() * 2 * 3).to_dense(), a), id="sparse"),
        pytest.param(lambda a: ((a + 1j) / (a + 2), a), id="complex"),
    ],
)
def test_results_are_the_same(function):
    (before, _), (after, _), _ = twice(function, SQUARE)
    assert all(torch.equal(first, second) for first, second in zip(before, after, strict=True))

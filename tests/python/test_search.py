"""Sets and searches, where the table's samples do not reach: choices of results, methods, errors."""

from __future__ import annotations

import lamina
import numpy as np
import pytest
from lamina import nonzero, unique, unique_consecutive

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("dim", [None, 0, 1, -1])
def test_unique(dim):
    x = RNG.integers(0, 2, (12, 3, 2) if dim == 0 else (2, 9, 2) if dim == 1 else (2, 2, 9))
    want = np.unique(x, return_inverse=True, return_counts=True, axis=dim)
    got = unique(lamina.tensor(x), return_inverse=True, return_counts=True, dim=dim)
    for mine, theirs in zip(got, want, strict=True):
        np.testing.assert_array_equal(mine.numpy().ravel(), theirs.ravel())
    np.testing.assert_array_equal(unique(lamina.tensor(x), dim=dim).numpy(), want[0])
    counts = unique(lamina.tensor(x), return_counts=True, dim=dim)[1]
    np.testing.assert_array_equal(counts.numpy(), want[2])


def test_unique_keeps_every_nan():
    values, counts = unique(lamina.tensor([1.0, float("nan"), 1.0, float("nan")]), return_counts=True)
    assert counts.tolist() == [2, 1, 1] and bool(values[1:].isnan().all())


def test_unique_consecutive():
    x = lamina.tensor([[1, 1], [1, 1], [2, 1], [1, 1]])
    assert unique_consecutive(x.flatten()).tolist() == [1, 2, 1]
    values, inverse, counts = unique_consecutive(x, return_inverse=True, return_counts=True, dim=0)
    assert values.tolist() == [[1, 1], [2, 1], [1, 1]]
    assert inverse.tolist() == [0, 0, 1, 2] and counts.tolist() == [2, 1, 1]


def test_nonzero():
    x = lamina.tensor([[0.0, 1.5], [2.0, 0.0]])
    assert nonzero(x).tolist() == [[0, 1], [1, 0]]
    rows, columns = nonzero(x, as_tuple=True)
    assert x[rows, columns].tolist() == [1.5, 2.0]


def test_methods():
    x = lamina.tensor([[3, 1], [3, 1], [0, 2]])
    assert x.unique().tolist() == [0, 1, 2, 3]
    assert x.unique(dim=0).tolist() == [[0, 2], [3, 1]]
    assert x.unique_consecutive(dim=0).tolist() == [[3, 1], [0, 2]]
    assert [c.tolist() for c in x.nonzero(as_tuple=True)] == [[0, 0, 1, 1, 2], [0, 1, 0, 1, 1]]
    assert x.nonzero(as_tuple=False).shape == x.nonzero().shape == (5, 2)
    assert x.mode(0).values.tolist() == [3, 1] and x.mode(0).indices.tolist() == [1, 1]
    assert x.equal(x.clone()) is True and x.equal(x[:2]) is False and lamina.equal(x, x.double()) is True
    y = x.double()
    assert y.allclose(y + 1e-9) is True and lamina.allclose(y, y + 1) is False
    assert lamina.allclose(y * float("nan"), y * float("nan"), equal_nan=True) is True


def test_slices_with_nan_are_all_kept():
    x = lamina.tensor([[1.0, float("nan")], [1.0, float("nan")], [1.0, 0.0], [1.0, 0.0]])
    values, inverse, counts = x.unique(return_inverse=True, return_counts=True, dim=0)
    assert values[0].tolist() == [1.0, 0.0] and counts.tolist() == [2, 1, 1]
    assert inverse.tolist() == [1, 2, 0, 0]
    assert x.bfloat16().unique(dim=0).shape == (3, 2)


def test_nan_is_in_no_set():
    x = lamina.tensor([float("nan"), 1.0])
    assert lamina.isin(x, x).tolist() == [False, True]
    assert lamina.isin(x, 1).tolist() == [False, True] and lamina.isin(1.0, x).item() is True
    assert lamina.isin(lamina.tensor([1, 2]), lamina.tensor([1.5, 2.0])).tolist() == [False, True]


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (lambda: lamina.tensor(1).unique(dim=0), ValueError, "unique: a 0-d tensor has no slices along dim 0"),
        (lambda: lamina.zeros(2).unique(dim=1), IndexError, "unique"),
        (lambda: lamina.isin(1, 2), TypeError, "got two numbers"),
        (lambda: lamina.zeros(0).mode(), ValueError, "0 elements"),
        (lambda: lamina.unravel_index(lamina.tensor([6]), (2, 3)), IndexError, "index 6"),
        (lambda: lamina.zeros(3).scatter(0, lamina.tensor([0]), 1.0, reduce="mean"), ValueError, "reduce is 'mean'"),
        (lambda: lamina.ones(2, 2).norm("nuc"), NotImplementedError, "singular value"),
        (lambda: lamina.tensordot(lamina.ones(2, 3), lamina.ones(3, 2), dims=([1], [0], [0])), TypeError, "dims"),
    ],
)
def test_errors(act, error, message):
    with pytest.raises(error, match=message):
        act()

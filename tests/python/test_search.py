"""unique, unique_consecutive and nonzero: every choice of results against NumPy."""

from __future__ import annotations

import lamina
import numpy as np
import pytest
from lamina._search import nonzero, unique, unique_consecutive

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

"""Matrix products against PyTorch: values, gradients, dtypes, error cases."""

from __future__ import annotations

import lamina
import numpy as np
import pytest
import torch

rng = np.random.default_rng(0)

CALLS = [
    ("matmul", (5,), (5,)),
    ("matmul", (3, 4), (4,)),
    ("matmul", (4,), (4, 3)),
    ("matmul", (7, 33), (33, 65)),
    ("matmul", (2, 3, 4), (4, 5)),
    ("matmul", (2, 1, 3, 4), (5, 4, 2)),
    ("matmul", (4,), (2, 4, 3)),
    ("matmul", (2, 5, 3, 4), (4,)),
    ("matmul", (0, 3), (3, 2)),
    ("matmul", (130, 700), (700, 90)),
    ("bmm", (3, 4, 5), (3, 5, 6)),
    ("mv", (3, 4), (4,)),
    ("dot", (6,), (6,)),
    ("outer", (3,), (4,)),
    ("inner", (2, 3), (4, 3)),
    ("kron", (2, 3), (3, 1, 2)),
    ("addmm", (3, 2), (3, 4), (4, 2)),
    ("addmm", (2,), (3, 4), (4, 2)),
    ("addmv", (3,), (3, 4), (4,)),
    ("baddbmm", (2, 3, 5), (2, 3, 4), (2, 4, 5)),
    ("linear", (2, 3, 4), (5, 4), (5,)),
    ("linear", (4,), (5, 4)),
]
EINSUM = [
    ("ij,jk->ik", (3, 4), (4, 5)),
    ("bij,bjk->bik", (2, 3, 4), (2, 4, 5)),
    ("bhqd,bhkd->bhqk", (2, 3, 4, 5), (2, 3, 6, 5)),
    ("ii->i", (4, 4)),
    ("ii", (4, 4)),
    ("...ii->...", (2, 3, 4, 4)),
    ("...ij,...jk", (2, 3, 4), (5, 1, 4, 2)),
    ("i,j,k->kji", (2,), (3,), (4,)),
    ("ijk,jl,kl->il", (2, 3, 4), (3, 5), (4, 5)),
    (" a b , b -> a ", (2, 3), (3,)),
    ("bA,A->Ab", (2, 3), (3,)),
    ("Ba,aB", (2, 3), (3, 2)),
    ("ij->", (2, 3)),
    ("...->", (2, 3)),
    ("i...,i...->...", (3, 2, 4), (3, 1, 4)),
]


def operator(library, name):
    return library.nn.functional.linear if name == "linear" and library is torch else getattr(library, name)


def both(name, arrays, *before, dtype="float64", **kwargs):
    """Results of one call and the gradients of its inputs, in both libraries."""
    results = []
    for library in (lamina, torch):
        xs = [library.tensor(a).to(getattr(library, dtype)).requires_grad_() for a in arrays]
        y = operator(library, name)(*before, *xs, **kwargs)
        seed = np.random.default_rng(1).normal(size=tuple(y.shape))
        grads = library.autograd.grad(y, xs, library.tensor(seed).to(getattr(library, dtype)))
        results.append([t.detach().to(library.float64).numpy() for t in (y, *grads)])
    return results


def assert_same(results, tolerance=1e-10):
    for ours, theirs in zip(*results, strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance * 10)


@pytest.mark.parametrize(("name", "shapes"), [(n, s) for n, *s in CALLS])
def test_product(name, shapes):
    assert_same(both(name, [rng.normal(size=s) for s in shapes]))


@pytest.mark.parametrize("name", ["addmm", "baddbmm", "addmv"])
@pytest.mark.parametrize("beta", [0, 1, 0.5])
def test_scaled(name, beta):
    shapes = next(s for n, *s in CALLS if n == name)
    assert_same(both(name, [rng.normal(size=s) for s in shapes], beta=beta, alpha=-1.5))


@pytest.mark.parametrize(("equation", "shapes"), [(e, s) for e, *s in EINSUM])
def test_einsum(equation, shapes):
    assert_same(both("einsum", [rng.normal(size=s) for s in shapes], equation))


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("bfloat16", 3e-2), ("float16", 4e-3)])
def test_dtypes(dtype, tolerance):
    for name, *shapes in [CALLS[3], CALLS[5], CALLS[16], CALLS[20]]:
        assert_same(both(name, [rng.normal(size=s) for s in shapes], dtype=dtype), tolerance)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "int64"])
def test_integers_wrap_around(dtype):
    a, b = rng.integers(0, 100, (2, 3, 4)), rng.integers(0, 100, (4, 5))
    ours, theirs = (
        (lib.tensor(a).to(getattr(lib, dtype)) @ lib.tensor(b).to(getattr(lib, dtype))).numpy()
        for lib in (lamina, torch)
    )
    np.testing.assert_array_equal(ours, theirs)


def test_transposed_and_strided_operands():
    a, b = rng.normal(size=(40, 66)), rng.normal(size=(70, 40))
    x, y = lamina.tensor(a), lamina.tensor(b)
    np.testing.assert_allclose((x.t() @ y.t()).numpy(), a.T @ b.T)
    np.testing.assert_allclose((x[::2, ::3] @ y[:22, ::2]).numpy(), a[::2, ::3] @ b[:22, ::2])
    wide = x.unsqueeze(0).expand(3, 40, 66)
    np.testing.assert_allclose((wide.transpose(1, 2) @ y.t()).numpy(), np.broadcast_to(a.T @ b.T, (3, 66, 70)))


WRONG = [
    (lambda m: m.ones(2, 3) @ m.ones(4, 5), ValueError, r"\(2, 3\).*\(4, 5\)"),
    (lambda m: m.matmul(m.ones(2), m.ones(3)), ValueError, r"\(2,\).*\(3,\)"),
    (lambda m: m.matmul(m.ones(()), m.ones(3)), ValueError, "at least one dimension"),
    (lambda m: m.matmul(m.ones(2, 3, 4), m.ones(3, 4, 5)), ValueError, r"\(2,\).*\(3,\)"),
    (lambda m: m.matmul(m.ones(2, 2), m.ones(2, 2, dtype=m.float64)), TypeError, "float32.*float64"),
    (lambda m: m.mm(m.ones(2, 3, 4), m.ones(4, 5)), ValueError, "3 dimensions"),
    (lambda m: m.bmm(m.ones(2, 3, 4), m.ones(3, 4, 5)), ValueError, r"\(2, 3, 4\).*\(3, 4, 5\)"),
    (lambda m: m.mv(m.ones(2, 3), m.ones(2)), ValueError, r"\(2, 3\).*\(2,\)"),
    (lambda m: m.dot(m.ones(2, 2), m.ones(2)), ValueError, "2 dimensions"),
    (lambda m: m.outer(m.ones(2, 2), m.ones(2)), ValueError, "2 dimensions"),
    (lambda m: m.addmm(m.ones(3), m.ones(2, 3), m.ones(3, 2)), ValueError, r"\(3,\).*\(2, 2\)"),
    (lambda m: operator(m, "linear")(m.ones(2, 3), m.ones(5, 4)), ValueError, r"\(2, 3\).*\(5, 4\)"),
    (lambda m: operator(m, "linear")(m.ones(2, 3), m.ones(5, 3), m.ones(3)), ValueError, r"\(3,\).*\(5, 3\)"),
    (lambda m: m.einsum("ij,jk", m.ones(2, 3)), ValueError, "2 terms.*1 operands"),
    (lambda m: m.einsum("ij,jk", m.ones(2, 3), m.ones(4, 5)), ValueError, "'j'.*3.*4"),
    (lambda m: m.einsum("ij->k", m.ones(2, 3)), ValueError, "'k'"),
    (lambda m: m.einsum("ij->ii", m.ones(2, 3)), ValueError, "twice"),
    (lambda m: m.einsum("i1", m.ones(2, 3)), ValueError, "'1'"),
    (lambda m: m.einsum("ii", m.ones(2, 3)), ValueError, "size 2 and.*size 3"),
    (lambda m: m.einsum("ijk", m.ones(2, 3)), ValueError, r"\(2, 3\)"),
    (lambda m: m.tensordot(m.ones(2, 3), m.ones(4, 5), 1), ValueError, "3.*4"),
    (lambda m: m.tensordot(m.ones(2, 3), m.ones(3), 2), ValueError, "dims is 2"),
]


@pytest.mark.parametrize(("call", "kind", "message"), WRONG)
def test_errors(call, kind, message):
    with pytest.raises(kind, match=message):
        call(lamina)
    with pytest.raises((RuntimeError, IndexError)):
        call(torch)

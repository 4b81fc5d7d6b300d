"""Indexing, assignment, gather and scatter against PyTorch and NumPy."""

from __future__ import annotations

import lamina
import numpy as np
import pytest

torch = pytest.importorskip("torch")

RNG = np.random.default_rng(0)
X = RNG.standard_normal((4, 5, 6))
MASK2 = RNG.integers(0, 2, (4, 5)).astype(bool)
MASK1 = np.array([True, False, True, True, False, True])

# Functions of x and of a conversion from arrays to indices.
INDICES = {
    "integer": lambda t: 1,
    "negative": lambda t: (-1, 2),
    "slice": lambda t: slice(1, 3),
    "steps": lambda t: (slice(None, None, 2), slice(1, -1), slice(-4, None, 3)),
    "empty": lambda t: slice(3, 1),
    "ellipsis": lambda t: (Ellipsis, 2),
    "none": lambda t: (None, 1, Ellipsis, None),
    "true": lambda t: (True, 1),
    "tensor": lambda t: t([2, 0, -1]),
    "tensor 2-d": lambda t: (slice(None), t([[0, 4], [1, 1]])),
    "list": lambda t: [0, 2],
    "two neighbours": lambda t: (slice(None), t([0, 2]), t([1, -1])),
    "two apart": lambda t: (t([0, 2]), slice(None), t([1, 5])),
    "broadcast": lambda t: (t([[0], [3]]), t([1, 2, 4])),
    "with integer": lambda t: (1, t([1, 2, 4])),
    "with slice": lambda t: (slice(1, 3), t([0, 0, 1]), slice(None, None, 2)),
    "with none": lambda t: (None, t([0, 0, 1])),
    "mask": lambda t: t(MASK2),
    "mask later": lambda t: (slice(None), slice(None), t(MASK1)),
    "mask and tensor": lambda t: (t(np.array([True, False, True, False])), slice(None), t([0, 5])),
    "whole mask": lambda t: t(X > 0),
    "no rows": lambda t: t(np.zeros(0, dtype=np.int64)),
}


def ours(values):
    return lamina.tensor(np.asarray(values))


def theirs(values):
    return torch.tensor(np.asarray(values))


def close(a, b, message=""):
    assert tuple(a.shape) == tuple(b.shape), message
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-12, err_msg=message)


@pytest.mark.parametrize("name", INDICES)
def test_get(name):
    for array in (X, np.ascontiguousarray(X.transpose(2, 1, 0)).transpose(2, 1, 0)):
        a, b = lamina.tensor(array).requires_grad_(), torch.tensor(array).requires_grad_()
        mine, other = a[INDICES[name](ours)], b[INDICES[name](theirs)]
        close(mine, other, name)
        seed = RNG.standard_normal(tuple(other.shape))
        mine.backward(lamina.tensor(seed))
        other.backward(torch.tensor(seed))
        close(a.grad, b.grad, f"gradient of {name}")


@pytest.mark.parametrize("name", INDICES)
@pytest.mark.parametrize("kind", ["number", "tensor", "broadcast"])
def test_put(name, kind):
    shape = tuple(torch.tensor(X)[INDICES[name](theirs)].shape)
    if kind == "broadcast" and len(shape) > 1:
        shape = (1, *shape[1:])
    value = RNG.standard_normal(shape) if kind != "number" else 1.5
    repeats = name in ("tensor 2-d", "with slice", "with none")  # which of two values wins is not said
    if repeats and kind == "tensor":
        return
    a, b = lamina.tensor(X), torch.tensor(X)
    a[INDICES[name](ours)] = lamina.tensor(value) if kind != "number" else value
    b[INDICES[name](theirs)] = torch.tensor(value) if kind != "number" else value
    close(a, b, name)
    # The same in the tape: gradients of the tensor and of the value.
    a, b = lamina.tensor(X).requires_grad_(), torch.tensor(X).requires_grad_()
    v = lamina.tensor(np.asarray(value)).requires_grad_()
    w = torch.tensor(np.asarray(value)).requires_grad_()
    c, d = a * 2, b * 2
    c[INDICES[name](ours)] = v
    d[INDICES[name](theirs)] = w
    seed = RNG.standard_normal(X.shape)
    c.backward(lamina.tensor(seed))
    d.backward(torch.tensor(seed))
    close(c, d, name)
    close(a.grad, b.grad, f"gradient of the tensor, {name}")
    close(v.grad, w.grad, f"gradient of the value, {name}")


def test_assignment_converts_and_counts_versions():
    x = lamina.zeros(4, dtype=lamina.int64)
    x[1] = 2.7
    x[lamina.tensor([0, 3])] = lamina.tensor([True, True])
    assert x.tolist() == [1, 2, 0, 1]
    y = lamina.ones(3, requires_grad=True)
    z = y * y
    square = z * z
    z[0] = 5.0
    with pytest.raises(RuntimeError, match="in place"):
        square.sum().backward()
    with pytest.raises(RuntimeError, match="leaf"):
        y[0] = 1.0
    with lamina.no_grad():
        y[0] = 3.0
    assert y.tolist() == [3.0, 1.0, 1.0]


def test_second_derivative_through_indexing():
    x = lamina.tensor([1.0, 2.0, 3.0], dtype=lamina.float64, requires_grad=True)
    y = (x[lamina.tensor([0, 0, 2])] ** 3).sum()
    (g,) = lamina.autograd.grad(y, [x], create_graph=True)
    (h,) = lamina.autograd.grad(g.sum(), [x])
    np.testing.assert_allclose(h.numpy(), [12.0, 0.0, 18.0])


INDEX = RNG.integers(0, 4, (3, 5, 6))
THIN = {0: np.s_[:, :1, :1], 1: np.s_[:1, :, :1], -1: np.s_[:1, :1, :]}
SCATTERS = ["sum", "prod", "mean", "amax", "amin"]


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_gather_and_scatter(dim):
    index = np.minimum(INDEX[:3, :4, :5], 3)
    source = RNG.standard_normal((3, 4, 5))  # PyTorch has no gradient for a larger one
    for call in (
        lambda m, x, s, i: m.gather(x, dim, i),
        lambda m, x, s, i: m.scatter_add(x, dim, i, s),
        lambda m, x, s, i: m.scatter(x, dim, i, 0.5),
        lambda m, x, s, i: m.take_along_dim(x, i[THIN[dim]], dim),
    ):
        a, b = lamina.tensor(X).requires_grad_(), torch.tensor(X).requires_grad_()
        s, t = lamina.tensor(source).requires_grad_(), torch.tensor(source).requires_grad_()
        mine, other = call(lamina, a, s, lamina.tensor(index)), call(torch, b, t, torch.tensor(index))
        close(mine, other)
        (mine * mine).sum().backward()
        (other * other).sum().backward()
        close(a.grad, b.grad)
        if t.grad is not None:
            close(s.grad, t.grad)


@pytest.mark.parametrize("reduce", SCATTERS)
@pytest.mark.parametrize("include_self", [True, False])
def test_scatter_reduce(reduce, include_self):
    index = np.minimum(INDEX[:3, :4, :5], 3)
    source = RNG.standard_normal((3, 4, 5))  # PyTorch has no gradient for a larger one
    source[0, 0, :3] = 0.0  # products with zeros
    a, b = lamina.tensor(X).requires_grad_(), torch.tensor(X).requires_grad_()
    s, t = lamina.tensor(source).requires_grad_(), torch.tensor(source).requires_grad_()
    mine = lamina.scatter_reduce(a, 1, lamina.tensor(index), s, reduce, include_self=include_self)
    other = torch.scatter_reduce(b, 1, torch.tensor(index), t, reduce, include_self=include_self)
    np.testing.assert_allclose(mine.detach().numpy(), other.detach().numpy(), rtol=1e-12)
    seed = RNG.standard_normal(X.shape)
    mine.backward(lamina.tensor(seed))
    other.backward(torch.tensor(seed))
    np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(s.grad.numpy(), t.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_slices_by_index():
    index, source = np.array([3, 0, 2]), RNG.standard_normal((4, 3, 6))
    for call in (
        lambda m, x, s, i: m.index_select(x, 1, i),
        lambda m, x, s, i: m.index_add(x, 1, i, s, alpha=2),
        lambda m, x, s, i: m.index_copy(x, 1, i, s),
        lambda m, x, s, i: m.index_fill(x, 1, i, 0.5),
        lambda m, x, s, i: m.take(x, i * 7),
        lambda m, x, s, i: m.masked_select(x, x > 0),
        lambda m, x, s, i: m.masked_fill(x, x > 0, -1.0),
        lambda m, x, s, i: m.masked_scatter(x, x > 0.5, s),
    ):
        a, b = lamina.tensor(X).requires_grad_(), torch.tensor(X).requires_grad_()
        s, t = lamina.tensor(source).requires_grad_(), torch.tensor(source).requires_grad_()
        mine, other = call(lamina, a, s, lamina.tensor(index)), call(torch, b, t, torch.tensor(index))
        close(mine, other)
        (mine * mine).sum().backward()
        (other * other).sum().backward()
        close(a.grad, b.grad)
        if t.grad is not None:
            close(s.grad, t.grad)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda x: x[4], IndexError, "index 4 is out of range"),
        (lambda x: x[0, 0, 0, 0], IndexError, "4 dimensions"),
        (lambda x: x[::-1], ValueError, "step"),
        (lambda x: x[..., ...], IndexError, "twice"),
        (lambda x: x[lamina.tensor([0, 9])], IndexError, r"index 9 at position \(1,\)"),
        (lambda x: x[lamina.tensor([0.5])], TypeError, "float32"),
        (lambda x: x[lamina.ones(5, dtype=lamina.bool)], IndexError, "mask"),
        (lambda x: x.__setitem__(0, lamina.ones(7)), ValueError, r"\(7,\)"),
        (lambda x: x.gather(1, lamina.tensor([[[5]]])), IndexError, "index 5"),
        (lambda x: x.gather(1, lamina.tensor([5])), ValueError, "dimensions"),
        (lambda x: x.gather(0, lamina.zeros(1, 9, 1, dtype=lamina.int64)), ValueError, "shape"),
        (lambda x: x.index_select(0, lamina.tensor([[1]])), ValueError, "1-d"),
        (lambda x: x.index_select(0, lamina.tensor([-1])), IndexError, "index -1"),
        (
            lambda x: x.index_add(0, lamina.tensor([0]), lamina.ones(2, 5, 6, dtype=lamina.float64)),
            ValueError,
            "source",
        ),
        (lambda x: x.masked_fill(lamina.ones(4), 1.0), TypeError, "bool"),
        (lambda x: x.scatter_reduce(0, lamina.zeros(1, 1, 1, dtype=lamina.int64), x, "max"), ValueError, "amax"),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call(lamina.tensor(X))


@pytest.mark.parametrize("dim", [None, 0, 1, -1])
@pytest.mark.parametrize("name", ["unique", "unique_consecutive"])
def test_unique(name, dim):
    x = RNG.integers(0, 2, (5, 3, 2))
    mine = getattr(lamina, name)(ours(x), return_inverse=True, return_counts=True, dim=dim)
    other = getattr(torch, name)(theirs(x), return_inverse=True, return_counts=True, dim=dim)
    for a, b in zip(mine, other, strict=True):
        close(a, b)


@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (12,), (), (3, 4, 5)])
def test_mode(shape):
    x = RNG.integers(0, 3, shape)
    for dim in range(-1, len(shape)):
        for keepdim in (False, True):
            for a, b in zip(ours(x).mode(dim, keepdim), theirs(x).mode(dim, keepdim), strict=True):
                close(a, b)


def test_isin_and_unravel_index():
    x, tests = RNG.integers(0, 9, (4, 5)), RNG.integers(0, 9, 3)
    for invert in (False, True):
        close(lamina.isin(ours(x), ours(tests), invert=invert), torch.isin(theirs(x), theirs(tests), invert=invert))
        close(lamina.isin(ours(x), 3, invert=invert), torch.isin(theirs(x), 3, invert=invert))
    for a, b in zip(lamina.unravel_index(ours(x), (3, 4)), torch.unravel_index(theirs(x), (3, 4)), strict=True):
        close(a, b)


@pytest.mark.parametrize("reduce", ["add", "multiply"])
def test_scatter_with_reduce(reduce):
    x, src, index = RNG.standard_normal((3, 5)), RNG.standard_normal((3, 4)), RNG.integers(0, 5, (3, 4))
    for value in (src, 1.5):
        a, b = (ours(src), theirs(src)) if value is src else (value, value)
        mine = ours(x).scatter(1, ours(index), a, reduce=reduce)
        close(mine, theirs(x).scatter(1, theirs(index), b, reduce=reduce))
        close(ours(x).scatter_(1, ours(index), a, reduce=reduce), mine)


def test_dtype_rules():
    names = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64"]
    for a in names:
        for b in names:
            (la, ta), (lb, tb) = ((getattr(lamina, n), getattr(torch, n)) for n in (a, b))
            assert lamina.can_cast(la, lb) == torch.can_cast(ta, tb), (a, b)
            assert str(lamina.promote_types(la, lb))[7:] == str(torch.promote_types(ta, tb))[6:]
            for number in (1, 1.5, True):
                mine = lamina.result_type(lamina.zeros(2, dtype=la), number)
                assert str(mine)[7:] == str(torch.result_type(torch.zeros(2, dtype=ta), number))[6:]
            mine = lamina.result_type(lamina.zeros(2, dtype=la), lamina.zeros((), dtype=lb))
            other = torch.result_type(torch.zeros(2, dtype=ta), torch.zeros((), dtype=tb))
            assert str(mine)[7:] == str(other)[6:], (a, b)


def test_tensordot_with_pairs():
    x, y = RNG.standard_normal((2, 3, 4)), RNG.standard_normal((4, 5, 2))
    for dims in (([0, 2], [2, 0]), ((-1,), (0,)), [[0], [2]]):
        close(lamina.tensordot(ours(x), ours(y), dims=dims), torch.tensordot(theirs(x), theirs(y), dims=dims))


def test_foreign_tensors_are_no_numbers():
    for value in (torch.tensor(1.0), torch.tensor([1.0])):
        with pytest.raises(TypeError):
            lamina.ones(2).clamp(min=value)
        with pytest.raises(TypeError):
            lamina.add(lamina.ones(2), value)

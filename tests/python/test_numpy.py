"""NumPy's functions on tensors: same values as on arrays, tensors come out, gradients flow, the rest is refused."""

import lamina
import numpy as np
import pytest
from lamina import _core, _numpy
from lamina.autograd import gradcheck

R = np.random.default_rng(0)
A = R.normal(size=(3, 4))
B = R.normal(size=(3, 4))
V = R.normal(size=4)
P = R.uniform(0.5, 2, size=(3, 4))
SQUARE = R.normal(size=(4, 4))
CUBE = R.normal(size=(2, 3, 4))
I = R.permutation(12).reshape(3, 4)
MASK = A > 0

UNARY = (
    "positive negative absolute fabs sign exp exp2 expm1 square sin cos tan sinh cosh tanh arctan arcsinh rint floor "
    "ceil trunc degrees radians deg2rad rad2deg reciprocal isfinite isnan isinf signbit logical_not"
).split()
POSITIVE = "sqrt log log2 log10 log1p arccosh".split()
UNIT = "arcsin arccos arctanh".split()
BINARY = (
    "add subtract multiply divide maximum minimum fmax fmin arctan2 hypot logaddexp logaddexp2 copysign remainder "
    "floor_divide fmod greater greater_equal less less_equal equal not_equal logical_and logical_or logical_xor "
    "heaviside"
).split()


def check(function, *args):
    """The value of function(args) on tensors is that on arrays; where it is real, the gradient passes gradcheck."""
    want = function(*args)
    tensors = [lamina.tensor(a) if isinstance(a, np.ndarray) else a for a in args]
    compare(function(*tensors), want)
    taped = [lamina.tensor(a, requires_grad=True) if is_real(a) else t for a, t in zip(args, tensors, strict=True)]
    differentiable = [i for i, y in enumerate(as_list(function(*taped))) if is_taped(y)]
    leaves = tuple(t for t in taped if is_taped(t))

    def outputs(*values):
        left = iter(values)
        results = as_list(function(*(next(left) if is_taped(t) else t for t in taped)))
        return tuple(results[i] for i in differentiable)

    if leaves and differentiable:
        assert gradcheck(outputs, leaves)


def as_list(y):
    return list(y) if isinstance(y, (tuple, list)) else [y]


def compare(got, want):
    if isinstance(want, (tuple, list)):
        assert len(got) == len(want)
        for g, w in zip(got, want, strict=True):
            compare(g, w)
    elif isinstance(want, (bool, int)) and not isinstance(got, lamina.Tensor):
        assert got == want
    else:
        assert isinstance(got, lamina.Tensor)
        assert got.shape == np.shape(want)
        np.testing.assert_allclose(got.detach().numpy(), want, rtol=1e-12, atol=1e-14)


def is_real(a):
    return isinstance(a, np.ndarray) and a.dtype == np.float64


def is_taped(y):
    return isinstance(y, lamina.Tensor) and y.requires_grad


# ---- universal functions -----------------------------------------------------------------------------------------


def test_every_name_exists():
    missing = [f"np.{n} -> {c}" for n, c in _numpy._UFUNCS.items() if not hasattr(_core, c)]
    missing += [f"np.{n}" for n in _numpy._UFUNCS if not isinstance(getattr(np, n, None), np.ufunc)]
    missing += [
        f"np.{n}" for n in _numpy._all_functions() if not hasattr(np.linalg if "." in n else np, n.split(".")[-1])
    ]
    assert missing == []


@pytest.mark.parametrize("name", UNARY)
def test_unary(name):
    check(getattr(np, name), A)


@pytest.mark.parametrize("name", POSITIVE)
def test_unary_of_positive_numbers(name):
    check(getattr(np, name), P + 1)


@pytest.mark.parametrize("name", UNIT)
def test_unary_in_the_unit_interval(name):
    check(getattr(np, name), P / 3)


@pytest.mark.parametrize("name", BINARY)
def test_binary(name):
    function = getattr(np, name)
    check(function, A, B)
    check(function, A, V)
    check(function, A, 2.0)


@pytest.mark.parametrize("name", ["power", "float_power"])
def test_power(name):
    check(getattr(np, name), P, A)
    check(getattr(np, name), P, 2.0)


@pytest.mark.parametrize("name", ["bitwise_and", "bitwise_or", "bitwise_xor", "left_shift", "right_shift", "invert"])
def test_bits(name):
    args = (I,) if name == "invert" else (I, 2)
    check(getattr(np, name), *args)


def test_matmul():
    check(np.matmul, A, SQUARE)
    check(np.matmul, CUBE, SQUARE)
    check(np.matmul, A, V)
    check(lambda a, b: a @ b, A, SQUARE)


def test_two_outputs():
    check(np.divmod, A, P)


def test_issue_examples():
    t = lamina.tensor([1.0, 2.0], requires_grad=True)
    u = lamina.tensor([3.0], requires_grad=True)
    np.square(t).sum().backward()
    assert t.grad.tolist() == [2, 4]
    t.grad = None
    np.exp(t).sum().backward()
    np.testing.assert_allclose(t.grad.numpy(), np.exp([1, 2]), rtol=1e-6)
    t.grad = None
    (np.concatenate([t, u]) * np.array([1.0, 2.0, 3.0])).sum().backward()
    assert t.grad.tolist() == [1, 2]
    assert u.grad.tolist() == [3]


def test_mixed_operands():
    t = lamina.tensor(A, requires_grad=True)
    for y in (
        t + B,
        B + t,
        B - t,
        t * B,
        B * t,
        B / t,
        np.add(B, t),
        t @ B.T,
        B.T @ t,
        B > t,
        B == t,
        np.float64(2) * t,
    ):
        assert isinstance(y, lamina.Tensor)
    (B * t).sum().backward()
    np.testing.assert_allclose(t.grad.numpy(), B)
    np.testing.assert_array_equal(np.multiply(t, [0.1] * 4).detach().numpy(), A * 0.1)  # a list has t's precision
    x = lamina.ones(2)
    assert (np.float64(2) * x).dtype is lamina.float32  # a number, as 2.0 * x
    assert (np.array([2.0, 2.0]) * x).dtype is lamina.float64


def test_reduce_accumulate_outer():
    check(np.add.reduce, A)
    check(lambda a: np.add.reduce(a, axis=1, keepdims=True), A)
    check(lambda a: np.add.reduce(a, axis=None), A)
    check(lambda a: np.multiply.reduce(a, axis=-1), A)
    check(lambda a: np.maximum.reduce(a, axis=(0, 1)), A)
    check(np.minimum.reduce, A)
    check(np.logical_and.reduce, MASK)
    check(lambda a: np.logical_or.reduce(a, axis=1), MASK)
    check(lambda a: np.add.accumulate(a, axis=1), A)
    check(np.multiply.accumulate, A)
    check(np.multiply.outer, V, A)
    check(np.subtract.outer, V, V)


def test_out():
    t, u = lamina.tensor(A), lamina.zeros(3, 4, dtype=lamina.float64)
    assert np.exp(t, out=u) is u
    np.testing.assert_allclose(u.numpy(), np.exp(A))
    a = np.zeros((3, 4))
    assert np.add(t, 1, out=a) is a
    np.testing.assert_allclose(a, A + 1)
    a += t
    np.testing.assert_allclose(a, 2 * A + 1)
    np.add(A, B, out=u)
    np.testing.assert_allclose(u.numpy(), A + B)
    with pytest.raises(ValueError, match=r"\(3, 4\)"):
        np.exp(t, out=lamina.zeros(2, 3, 4, dtype=lamina.float64))
    with pytest.raises(RuntimeError, match="detach"):
        np.exp(lamina.tensor(A, requires_grad=True), out=a)
    x = lamina.tensor(A, requires_grad=True)
    np.multiply(x, 3, out=u)
    u.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.full((3, 4), 3.0))


def test_dtype_argument():
    y = np.add(lamina.tensor([1, 2]), 1, dtype=np.float64)
    assert y.dtype is lamina.float64
    assert np.sum(lamina.tensor([1, 2], dtype=lamina.int32), dtype="float32").dtype is lamina.float32
    with pytest.raises(TypeError, match="complex128"):
        np.add(lamina.ones(2), 1, dtype=complex)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: np.exp(t, where=np.array([True, False])), r"np\.exp: where="),
        (lambda t: np.add.reduce(t, where=MASK), r"np\.add\.reduce: where="),
        (lambda t: np.add.at(t, [0], 1), r"np\.add\.at"),
        (lambda t: np.add.reduceat(t, [0, 1]), r"np\.add\.reduceat"),
        (lambda t: np.subtract.reduce(t), r"np\.subtract\.reduce"),
        (lambda t: np.modf(t), r"np\.modf.*detach\(\)\.numpy\(\)"),
        (lambda t: np.add(t, 1, casting="unsafe"), "casting='unsafe'"),
        (lambda t: np.add(t, 1, signature="dd->d"), "signature"),
        (lambda t: np.add.reduce(t, initial=1), "initial"),
        (lambda t: np.add(t, object()), "object"),
        (lambda t: np.histogram(t), r"np\.histogram.*detach\(\)\.numpy\(\)"),
        (lambda t: np.fft.fft(t), r"np\.fft\.fft.*detach\(\)\.numpy\(\)"),
        (lambda t: np.linalg.eig(t), r"np\.linalg\.eig"),
        (lambda t: np.pad(t, 1, mode="linear_ramp"), "linear_ramp"),
        (lambda t: np.reshape(t, -1, order="F"), "order 'F'"),
        (lambda t: np.sum(t, where=MASK), r"np\.sum: .*where"),
        (lambda t: np.meshgrid(t, t, sparse=True), "sparse"),
        (lambda t: np.linalg.norm(t, "nuc"), "nuc"),
    ],
)
def test_refused(call, message):
    with pytest.raises(TypeError, match=message):
        call(lamina.tensor(A))


def test_other_libraries_come_first():
    class Other:
        def __array_function__(self, *args):
            return "other"

        def __array_ufunc__(self, *args, **kwargs):
            return NotImplemented

    assert np.concatenate([lamina.ones(2), Other()]) == "other"
    with pytest.raises(TypeError):
        np.add(lamina.ones(2), Other())


# ---- array functions ---------------------------------------------------------------------------------------------

CALLS = {
    "sum": lambda a: (np.sum(a), np.sum(a, 0), np.sum(a, axis=(0, -1), keepdims=True), np.sum(a, axis=())),
    "prod": lambda a: (np.prod(a), np.prod(a, 1), np.prod(a, axis=(0, 1), keepdims=True)),
    "mean": lambda a: (np.mean(a), np.mean(a, 0), np.mean(a, (0, 1), keepdims=True)),
    "var": lambda a: (np.var(a), np.var(a, 0), np.var(a, 1, ddof=1), np.var(a, keepdims=True)),
    "std": lambda a: (np.std(a), np.std(a, -1, ddof=1), np.std(a, axis=(0, 1), keepdims=True)),
    "max": lambda a: (np.max(a), np.max(a, 0), np.amax(a, axis=(0, 1), keepdims=True)),
    "min": lambda a: (np.min(a), np.min(a, 1), np.amin(a, 0, keepdims=True)),
    "ptp": lambda a: (np.ptp(a), np.ptp(a, 1)),
    "average": lambda a: (np.average(a), np.average(a, 0), np.average(a, 1, weights=np.arange(1.0, 5.0))),
    "argmax": lambda a: (np.argmax(a), np.argmax(a, 0), np.argmin(a, 1, keepdims=True)),
    "cumsum": lambda a: (np.cumsum(a), np.cumsum(a, 1), np.cumprod(a, 0)),
    "count_nonzero": lambda a: (np.count_nonzero(a, axis=0), np.count_nonzero(a, axis=1, keepdims=True)),
    "reshape": lambda a: (np.reshape(a, (4, 3)), np.reshape(a, -1), np.ravel(a)),
    "transpose": lambda a: (np.transpose(a), np.transpose(a, (1, 0)), np.swapaxes(a, 0, 1), np.moveaxis(a, 0, -1)),
    "squeeze": lambda a: (np.squeeze(np.expand_dims(a, (0, 2))), np.squeeze(np.expand_dims(a, -1), axis=-1)),
    "expand_dims": lambda a: (np.expand_dims(a, 1), np.expand_dims(a, (0, -1))),
    "broadcast": lambda a: (np.broadcast_to(a, (2, 3, 4)), *np.broadcast_arrays(a, np.ones((2, 1, 1)))),
    "atleast": lambda a: (np.atleast_1d(a), np.atleast_2d(a[0]), np.atleast_3d(a), np.atleast_3d(a[0])),
    "concatenate": lambda a: (np.concatenate([a, a]), np.concatenate((a, a), 1), np.concatenate([a, a], axis=None)),
    "stack": lambda a: (
        np.stack([a, a]),
        np.stack([a, a], -1),
        np.vstack([a, a]),
        np.hstack([a, a]),
        np.dstack([a, a]),
    ),
    "column_stack": lambda a: (np.column_stack([a[:, 0], a]), np.append(a, a), np.append(a, a, 0)),
    "split": lambda a: (*np.split(a, 3), *np.split(a, [1, 3], axis=1), *np.array_split(a, 3, 1)),
    "hsplit": lambda a: (*np.hsplit(a, 2), *np.vsplit(a, [1])),
    "tile": lambda a: (
        np.tile(a, 2),
        np.tile(a, (2, 1, 1)),
        np.repeat(a, 2),
        np.repeat(a, 2, 1),
        np.repeat(a, [1, 0, 2], 0),
    ),
    "flip": lambda a: (np.flip(a), np.flip(a, 0), np.fliplr(a), np.flipud(a), np.rot90(a), np.rot90(a, -1)),
    "roll": lambda a: (np.roll(a, 1), np.roll(a, -2, 1), np.roll(a, (1, 2), (0, 1)), np.roll(a, 1, (0, 1))),
    "pad": lambda a: (np.pad(a, 1), np.pad(a, ((0, 1), (2, 0)), constant_values=3), np.pad(a, (1, 2), "wrap")),
    "pad_edge": lambda a: (np.pad(a, 2, "edge"), np.pad(a, ((1, 2), (2, 1)), mode="reflect")),
    "tril": lambda a: (np.tril(a), np.tril(a, -1), np.triu(a, k=1)),
    "diag": lambda a: (np.diag(a), np.diag(a[0], 1), np.diagonal(a, 1), np.trace(a)),
    "meshgrid": lambda a: (*np.meshgrid(a[0], a[1]), *np.meshgrid(a[0], a[:, 0], indexing="ij")),
    "clip": lambda a: (np.clip(a, -0.5, 0.5), np.clip(a, None, 0), np.clip(a, 0, None), np.clip(a, a * 0, np.ones(4))),
    "take": lambda a: (np.take(a, [0, 5]), np.take(a, np.array([[0, 1], [2, 0]]), 0), np.take(a, 1, axis=-1)),
    "take_along_axis": lambda a: (np.take_along_axis(a, np.array([[0, 1, 2, 0]]), 0),),
    "sort": lambda a: (np.sort(a), np.sort(a, 0), np.sort(a, None), np.argsort(a, 0)),
    "diff": lambda a: (np.diff(a), np.diff(a, 2), np.diff(a, axis=0), np.diff(a, 9)),
    "median": lambda a: (np.median(a), np.median(a, 0), np.median(a, axis=(0, 1), keepdims=True)),
    "quantile": lambda a: (
        np.quantile(a, 0.3),
        np.quantile(a, [0.1, 0.9], axis=1),
        np.percentile(a, 25, 0, keepdims=True),
    ),
    "trapezoid": lambda a: (np.trapezoid(a), np.trapezoid(a, dx=2, axis=0), np.trapezoid(a, [0, 1, 3, 4])),
    "nan_to_num": lambda a: (np.nan_to_num(a), np.nan_to_num(a, posinf=1.0), np.nanmean(a, 0), np.nansum(a, 1)),
    "sinc": lambda a: (np.sinc(a),),
    "round": lambda a: (np.round(a), np.around(a, 2)),
    "kron": lambda a: (np.kron(a, a), np.kron(a[0], a)),
    "norm": lambda a: (np.linalg.norm(a), np.linalg.norm(a, axis=0), np.linalg.norm(a, 1, 1), np.linalg.norm(a, "fro")),
    "norms": lambda a: (np.linalg.norm(a[0]), np.linalg.norm(a[0], 3), np.linalg.norm(a, axis=1, keepdims=True)),
    "matrix_norm": lambda a: (np.linalg.norm(a, 1), np.linalg.norm(a, np.inf), np.linalg.norm(a, -1, keepdims=True)),
    "copy": lambda a: (np.copy(a),),
}


@pytest.mark.parametrize("name", CALLS)
def test_array_function(name):
    check(CALLS[name], A)


def test_array_functions_of_three_dimensions():
    check(lambda a: (np.sum(a, (0, 2)), np.transpose(a), np.max(a, axis=(0, 2)), np.prod(a, (0, 2))), CUBE)
    check(lambda a: (*np.dsplit(a, 2), np.moveaxis(a, (0, 1), (2, 0)), np.std(a, (0, 1))), CUBE)


def test_products():
    check(np.dot, A, SQUARE)
    check(np.dot, A, V)
    check(np.dot, V, V)
    check(np.dot, CUBE, SQUARE)
    check(np.dot, CUBE, V)
    check(np.dot, SQUARE, CUBE.swapaxes(1, 2))
    check(np.dot, A, 2.0)
    check(np.vdot, A, B)
    check(np.inner, A, B)
    check(np.inner, V, V)
    check(np.outer, V, A[0])
    check(np.tensordot, A, SQUARE, 1)
    check(np.tensordot, A, B)
    check(lambda a, b: np.tensordot(a, b, axes=([0, 1], [1, 0])), A, B.T)
    check(lambda a, b: np.tensordot(a, b, axes=(0, -2)), A, CUBE)
    check(lambda a, b: np.tensordot(a, b, axes=0), V, V)
    check(lambda a, b: np.einsum("ij,jk->ik", a, b), A, SQUARE)
    check(lambda a, b: np.where(MASK, a, b), A, B)
    check(lambda a: np.where(MASK, a, 0.0), A)
    check(np.vecdot, A, B)
    with pytest.raises(ValueError, match="tensordot: dimension 1 of a is 4"):
        np.tensordot(lamina.tensor(A), lamina.tensor(A), 1)


def test_mixed_arguments():
    t = lamina.tensor(A)
    compare(np.concatenate([t, B]), np.concatenate([A, B]))
    compare(np.concatenate([B, t]), np.concatenate([B, A]))
    compare(np.where(MASK, t, B), np.where(MASK, A, B))
    compare(np.dot(A.T, t), np.dot(A.T, A))
    compare(np.take_along_axis(t, np.argsort(A, 1), 1), np.sort(A, 1))


def test_conditions():
    t = lamina.tensor(A)
    compare(np.any(t > 0, axis=0), np.any(MASK, axis=0))
    compare(np.all(t > 0), np.all(MASK))
    compare(np.any(t > 0, axis=(0, 1), keepdims=True), np.any(MASK, axis=(0, 1), keepdims=True))
    compare(np.nonzero(t > 0), np.nonzero(MASK))
    compare(np.where(t > 0), np.where(MASK))
    compare(np.argwhere(t > 0), np.argwhere(MASK))
    compare(np.isclose(t, A + 1e-9), np.full((3, 4), True))
    special = lamina.tensor([np.nan, np.inf, -np.inf, 1.0])
    other = np.array([np.nan, np.inf, np.inf, 1.0])
    for equal_nan in (False, True):
        compare(
            np.isclose(special, other, equal_nan=equal_nan), np.isclose(special.numpy(), other, equal_nan=equal_nan)
        )
    assert np.allclose(t, A)
    assert not np.allclose(t, A + 1)
    assert np.array_equal(t, A)
    assert not np.array_equal(t, A.T)
    assert np.allclose(lamina.tensor(A, requires_grad=True), A)
    assert np.array_equal(special, special.numpy(), equal_nan=True)


def test_integers_and_searches():
    x = lamina.tensor([3, 1, 3, 0])
    compare(np.bincount(x), np.array([1, 1, 0, 2]))
    compare(np.unique(x), np.array([0, 1, 3]))
    compare(np.unique(x, return_inverse=True, return_counts=True), np.unique(x.numpy(), False, True, True))
    compare(np.searchsorted(lamina.tensor(np.sort(V)), V, side="right"), np.searchsorted(np.sort(V), V, side="right"))
    compare(np.ldexp(lamina.tensor(A), 2), np.ldexp(A, 2))


def test_functions_that_only_look(tmp_path):
    t = lamina.tensor([1.0, 2.0], requires_grad=True)
    np.save(tmp_path / "t.npy", t)
    assert np.load(tmp_path / "t.npy").tolist() == [1, 2]
    assert np.array2string(t) == "[1. 2.]"
    assert np.shares_memory(t, t.detach().numpy())
    assert np.result_type(t, np.float64) == np.float64
    a = np.zeros(2)
    np.copyto(a, t)
    assert a.tolist() == [1, 2]


def test_like_and_attributes():
    t = lamina.tensor(A)
    compare(np.zeros_like(t), np.zeros((3, 4)))
    compare(np.ones_like(t, shape=(2,)), np.ones(2))
    compare(np.full_like(t, 7), np.full((3, 4), 7.0))
    assert np.ones_like(t, dtype=np.int32).dtype is lamina.int32
    assert np.empty_like(t).shape == (3, 4)
    assert np.shape(t) == (3, 4)
    assert np.ndim(t) == 2
    assert np.size(t) == 12
    assert np.size(t, 0) == 3


def test_values_of_integers():
    t = lamina.tensor([[1, 2], [3, 5]])
    assert np.mean(t).item() == 2.75
    assert np.var(t).item() == pytest.approx(np.var([[1, 2], [3, 5]]))
    assert np.sum(t).item() == 11


def test_out_of_array_functions():
    a = np.zeros(4)
    assert np.sum(lamina.tensor(A), axis=0, out=a) is a
    np.testing.assert_allclose(a, A.sum(0))


def test_errors_of_arguments():
    t = lamina.tensor(A)
    with pytest.raises(ValueError, match="do not divide"):
        np.split(t, 2)
    with pytest.raises(ValueError, match="has size 3; need 1"):
        np.squeeze(t, 0)
    with pytest.raises(ValueError, match="weights"):
        np.average(t, weights=np.ones(3))
    with pytest.raises(IndexError, match="5"):
        np.sum(t, 5)

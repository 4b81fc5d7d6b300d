"""lamina.tensor, as_tensor, asarray, from_numpy, frombuffer, tolist: values, dtypes, sharing, errors."""

import array
import collections
import doctest
import fractions
import inspect
import math

import lamina
import numpy as np
import pytest

DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64"]


@pytest.mark.parametrize(
    ("data", "dtype", "shape"),
    [
        (1.5, "float32", ()),
        (3, "int64", ()),
        (True, "bool", ()),
        ([], "float32", (0,)),
        ([[], []], "float32", (2, 0)),
        ([1, 2], "int64", (2,)),
        ([1, 2.5], "float32", (2,)),
        ([True, False], "bool", (2,)),
        ([True, 2], "int64", (2,)),
        ([True, 0.5], "float32", (2,)),
        (((1, 2), (3, 4)), "int64", (2, 2)),
        ([(1.0, 2.0)], "float32", (1, 2)),
        (range(4), "int64", (4,)),
        ([range(3), range(3)], "int64", (2, 3)),
        (collections.deque([1.0, 2.0]), "float32", (2,)),
        (np.float64(1.5), "float64", ()),
        ([np.float64(1.5)], "float64", (1,)),
        (np.float32(1.5), "float32", ()),
        ([np.int32(1)], "int32", (1,)),
        ([np.int32(1), 1.5], "float32", (2,)),
        ([np.bool_(True)], "bool", (1,)),
        (np.array([1, 2], dtype=np.int16), "int16", (2,)),
        ([np.array([1, 2]), np.array([3, 4])], "int64", (2, 2)),
        ([[1, 2], np.array([3, 4])], "int64", (2, 2)),
        ([np.array([1, 2]), [3, 4]], "int64", (2, 2)),
        (fractions.Fraction(1, 2), "float32", ()),
        (bytearray(b"ab"), "uint8", (2,)),
        (array.array("d", [1, 2]), "float64", (2,)),
        (math.inf, "float32", ()),
    ],
)
def test_inference(data, dtype, shape):
    t = lamina.tensor(data)
    assert t.dtype is getattr(lamina, dtype)
    assert t.shape == shape
    assert not t.requires_grad
    want = np.array(list(data) if isinstance(data, collections.deque) else data)
    if not isinstance(data, (bytearray, fractions.Fraction)):
        np.testing.assert_array_equal(t.numpy(), want)


def test_values_row_by_row():
    data = [[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [10, 11, 12]]]
    assert lamina.tensor(data).tolist() == data
    assert lamina.tensor(bytearray(b"ab")).tolist() == [97, 98]
    assert lamina.tensor([0.1, -2.5], dtype=lamina.float64).tolist() == [0.1, -2.5]


@pytest.mark.parametrize("name", DTYPES)
def test_explicit_dtype(name):
    dtype = getattr(lamina, name)
    t = lamina.tensor([[0, 1], [1.0, True]], dtype=dtype)
    assert t.dtype is dtype
    assert t.tolist() == [[0, 1], [1, 1]]
    assert lamina.tensor(np.array([0, 1]), dtype=dtype).tolist() == [0, 1]
    assert lamina.tensor(lamina.tensor([0, 1]), dtype=dtype).dtype is dtype


def test_conversions_of_numbers():
    assert lamina.tensor([1.9, -1.9], dtype=lamina.int64).tolist() == [1, -1]
    assert lamina.tensor([0.5, 0.0, -3], dtype=lamina.bool).tolist() == [True, False, True]
    assert lamina.tensor(2**70, dtype=lamina.float64).item() == 2.0**70
    assert lamina.tensor(-(2**63)).item() == -(2**63)
    assert lamina.tensor(1e6, dtype=lamina.float16).item() == math.inf
    assert lamina.tensor(255.9, dtype=lamina.uint8).item() == 255


def test_tensors_in_lists():
    t = lamina.tensor([lamina.tensor([1.0, 2.0]), lamina.tensor([3.0, 4.0], dtype=lamina.float64)])
    assert t.dtype is lamina.float64
    assert t.tolist() == [[1, 2], [3, 4]]
    assert lamina.tensor([lamina.tensor(1.5), 2]).tolist() == [1.5, 2]
    x = lamina.tensor([1.0], requires_grad=True)
    assert not lamina.tensor([x, x]).requires_grad


def test_default_dtype():
    lamina.set_default_dtype(lamina.float64)
    try:
        assert lamina.tensor([1.0]).dtype is lamina.float64
    finally:
        lamina.set_default_dtype(lamina.float32)


def test_tensor_always_copies():
    a = np.arange(3.0)
    t = lamina.tensor(a)
    u = lamina.tensor(t)
    a[0] = 7
    assert t[0].item() == 0
    t[1] = 9
    assert u[1].item() == 1
    x = lamina.tensor([1.0], requires_grad=True)
    assert lamina.tensor(x * 2).is_leaf


def test_requires_grad_and_device():
    t = lamina.tensor([1.0], device="cpu", requires_grad=True)
    assert t.requires_grad
    assert t.is_leaf
    with pytest.raises(TypeError, match="int64"):
        lamina.tensor([1], requires_grad=True)
    with lamina.inference_mode():  # a module may be made in it
        t = lamina.tensor([1.0], requires_grad=True)
    assert t.requires_grad
    with pytest.raises(RuntimeError, match="mul: a tensor made in inference_mode"):
        t * 2


def test_new_tensor():
    x = lamina.zeros(2, dtype=lamina.float16)
    assert x.new_tensor([1, 2]).dtype is lamina.float16
    assert x.new_tensor([1, 2], dtype=lamina.int32).dtype is lamina.int32
    assert x.new_tensor(1.0, requires_grad=True).requires_grad


class Shrinks:
    """Empties its list while it is converted."""

    def __init__(self, owner):
        self.owner = owner

    def __float__(self):
        self.owner.clear()
        return 1.0


def test_list_that_changes_while_read():
    data = [1.0, 2.0, 3.0]
    data[1] = Shrinks(data)
    with pytest.raises(ValueError, match="changed while it was read"):
        lamina.tensor(data)


class Exploding:
    def __float__(self):
        raise ZeroDivisionError("boom")


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ([[1, 2], [3]], ValueError, r"data\[1\] has length 1, data\[0\] has length 2"),
        ([[[1], [2]], [[3], [4, 5]]], ValueError, r"data\[1\]\[1\] has length 2, data\[0\]\[0\] has length 1"),
        ([1, [2]], ValueError, r"data\[1\] is a list, data\[0\] is a number"),
        ([[1], 2], ValueError, r"data\[1\] is a number, data\[0\] is a sequence"),
        ([[], [1]], ValueError, r"data\[1\] has length 1, data\[0\] has length 0"),
        ([np.zeros(2), np.zeros(3)], ValueError, r"data\[1\] has shape \(3,\), data\[0\] has shape \(2,\)"),
        ([np.zeros(2), 1.0], ValueError, r"data\[1\] is a number, data\[0\] has shape \(2,\)"),
        ("text", TypeError, "data is a str"),
        (["text"], TypeError, r"data\[0\] is a str"),
        (None, TypeError, "data is a NoneType"),
        ([1, None], TypeError, r"data\[1\] is a NoneType"),
        ({1: 2}, TypeError, "data is a dict"),
        (1j, TypeError, "complex"),
        (object(), TypeError, "object"),
        ([2**63], ValueError, r"data\[0\] is 9223372036854775808, which does not fit in int64"),
        ([Exploding()], ZeroDivisionError, "boom"),
        (np.array([1], dtype=np.uint32), TypeError, "uint32"),
        (np.array([1], dtype=">i4"), TypeError, ">i4"),
        (np.array(["a"]), TypeError, "<U1"),
        (np.array([1j]), TypeError, "complex128"),
        (np.array(["2020-01-01"], dtype="M8[D]"), TypeError, "datetime64"),
        (np.array([None]), TypeError, "object"),
        (np.zeros((1,) * 17), ValueError, "17 dimensions"),
    ],
)
def test_errors(data, error, message):
    with pytest.raises(error, match=message):
        lamina.tensor(data)


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [
        (300, "uint8", "is 300, which does not fit in uint8"),
        (-1, "uint8", "is -1, which does not fit in uint8"),
        (128, "int8", "128"),
        (2**40, "int32", str(2**40)),
        (math.nan, "int64", "nan"),
        (math.inf, "int32", "inf"),
        (1e19, "int64", "1e\\+19"),
        (2.0**63, "int64", "does not fit"),
    ],
)
def test_overflow(value, dtype, message):
    with pytest.raises(ValueError, match=message):
        lamina.tensor([value], dtype=getattr(lamina, dtype))


def test_nested_in_itself():
    data = []
    data.append(data)
    with pytest.raises(ValueError, match="deeper than 16"):
        lamina.tensor(data)
    beside_array = [np.zeros(2)]
    beside_array.append(beside_array)
    with pytest.raises(ValueError, match=r"data\[1\] has shape \(2, 2\), the array before it \(2,\)"):
        lamina.tensor(beside_array)


def test_argument_errors():
    with pytest.raises(TypeError, match="missing required argument 'data'"):
        lamina.tensor()
    with pytest.raises(TypeError, match="unexpected keyword argument 'shape'"):
        lamina.tensor(1, shape=2)
    with pytest.raises(TypeError, match="dtype"):
        lamina.tensor(1, dtype="float32")


# ---- sharing -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"])
def test_from_numpy_shares(dtype):
    a = np.array([[0, 1, 1], [1, 0, 1]]).astype(dtype)
    t = lamina.from_numpy(a)
    assert t.dtype is getattr(lamina, dtype)
    assert t.data_ptr() == a.ctypes.data
    a[0, 0] = 1
    assert t[0, 0].item() == 1
    t[1, 1] = 1
    assert a[1, 1] == 1


def test_from_numpy_keeps_the_array():
    t = lamina.from_numpy(np.arange(1000.0))
    assert t.sum().item() == 499500
    view = t[10:20]
    del t
    assert view[0].item() == 10


def test_from_numpy_strides():
    a = np.arange(24.0).reshape(2, 3, 4)
    t = lamina.from_numpy(a.transpose(2, 0, 1)[::2])
    assert t.shape == (2, 2, 3)
    assert t.stride() == (2, 12, 4)
    np.testing.assert_array_equal(t.numpy(), a.transpose(2, 0, 1)[::2])
    assert lamina.from_numpy(np.zeros((0, 3))).shape == (0, 3)
    assert lamina.from_numpy(np.array(2.5)).item() == 2.5


def read_only(a):
    a.flags.writeable = False
    return a


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: [1, 2], TypeError, "need a numpy.ndarray, got list"),
        (lambda: np.float64(1), TypeError, "need a numpy.ndarray"),
        (lambda: np.arange(3)[::-1], ValueError, r"shape \(3,\) has negative strides"),
        (lambda: read_only(np.arange(3)), ValueError, "read-only"),
        (lambda: np.zeros(3, dtype=np.uint16), TypeError, "uint16"),
        (lambda: np.zeros(3, dtype="<f4,<f8")["f1"], ValueError, "element size"),
        (lambda: np.frombuffer(bytearray(17), dtype=np.uint8)[1:].view(np.float64), ValueError, "element size"),
    ],
)
def test_from_numpy_refuses(make, error, message):
    with pytest.raises(error, match=message):
        lamina.from_numpy(make())


def test_copies_what_cannot_be_shared():
    odd = [
        np.arange(6).reshape(2, 3)[::-1, ::-1],
        np.zeros(3, dtype="<f4,<f8")["f1"],
        np.broadcast_to(np.arange(2), (3, 2)),
    ]
    odd.append(np.frombuffer(bytearray(range(17)), dtype=np.uint8)[1:].view(np.int64))
    for a in odd:
        for make in (lamina.tensor, lamina.as_tensor, lamina.asarray):
            np.testing.assert_array_equal(make(a).numpy(), a)
        with pytest.raises(ValueError, match="copy"):
            lamina.asarray(a, copy=False)


def test_as_tensor():
    t = lamina.tensor([1.0, 2.0], requires_grad=True)
    assert lamina.as_tensor(t) is t
    u = lamina.as_tensor(t, dtype=lamina.float64)
    assert u.dtype is lamina.float64
    assert u.requires_grad
    a = np.zeros(3)
    lamina.as_tensor(a)[0] = 5
    assert a[0] == 5
    assert lamina.as_tensor(a, lamina.float32).dtype is lamina.float32
    lamina.as_tensor(a, lamina.float32)[1] = 5
    assert a[1] == 0
    assert lamina.as_tensor([1, 2]).tolist() == [1, 2]
    assert lamina.as_tensor(np.float32(2)).dtype is lamina.float32


def test_asarray():
    t = lamina.tensor([1.0])
    assert lamina.asarray(t) is t
    assert lamina.asarray(t, copy=False) is t
    assert lamina.asarray(t, copy=True).data_ptr() != t.data_ptr()
    a = np.zeros(2)
    assert lamina.asarray(a, copy=False).data_ptr() == a.ctypes.data
    assert lamina.asarray(a, copy=True).data_ptr() != a.ctypes.data
    assert lamina.asarray([1.0], requires_grad=True).requires_grad
    with pytest.raises(ValueError, match="float64 to float32"):
        lamina.asarray(a, dtype=lamina.float32, copy=False)
    with pytest.raises(ValueError, match="list"):
        lamina.asarray([1.0], copy=False)


def test_frombuffer():
    data = bytearray(np.arange(4, dtype=np.float32).tobytes())
    t = lamina.frombuffer(data, dtype=lamina.float32)
    assert t.tolist() == [0, 1, 2, 3]
    t[0] = 8
    assert np.frombuffer(data, np.float32)[0] == 8
    assert lamina.frombuffer(data, dtype=lamina.float32, count=2, offset=4).tolist() == [1, 2]
    assert lamina.frombuffer(data, dtype=lamina.bfloat16).shape == (8,)
    assert lamina.frombuffer(bytearray(), dtype=lamina.int64).shape == (0,)
    assert lamina.frombuffer(np.ones((2, 2)), dtype=lamina.float64).tolist() == [1, 1, 1, 1]
    assert lamina.frombuffer(data, dtype=lamina.float32, requires_grad=True).requires_grad
    with pytest.raises(BufferError):
        data.append(0)  # the tensor still looks at it


@pytest.mark.parametrize(
    ("buffer", "kwargs", "error", "message"),
    [
        (bytearray(7), {}, ValueError, "7 bytes"),
        (bytearray(8), {"offset": 9}, ValueError, "offset 9"),
        (bytearray(8), {"offset": -1}, ValueError, "offset -1"),
        (bytearray(8), {"count": 3}, ValueError, "3 elements"),
        (bytearray(8), {"count": -2}, ValueError, "count is -2"),
        (bytearray(12), {"offset": 1, "count": 1}, ValueError, "multiple of 4"),
        (b"12345678", {}, ValueError, "read-only"),
        ([1], {}, TypeError, "list has no buffer"),
        (np.zeros((4, 4), dtype=np.float32)[:, ::2], {}, ValueError, "not contiguous"),
        (bytearray(8), {"dtype": None}, TypeError, "dtype is None"),
        (bytearray([1, 2]), {"dtype": lamina.bool}, ValueError, "element 1 is 2"),
    ],
)
def test_frombuffer_errors(buffer, kwargs, error, message):
    with pytest.raises(error, match=message):
        lamina.frombuffer(buffer, **{"dtype": lamina.float32, **kwargs})


def test_bfloat16_arrays():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    a = np.array([1.5, -2, 3], dtype=ml_dtypes.bfloat16)
    t = lamina.from_numpy(a)
    assert t.dtype is lamina.bfloat16
    assert t.tolist() == [1.5, -2, 3]
    t[0] = 4
    assert a[0] == 4
    assert lamina.tensor(a).dtype is lamina.bfloat16


@pytest.mark.parametrize("name", DTYPES)
def test_tolist_and_item(name):
    t = lamina.tensor([[1, 0], [1, 1]], dtype=getattr(lamina, name))
    kind = bool if name == "bool" else float if t.is_floating_point() else int
    assert t.tolist() == [[1, 0], [1, 1]]
    assert type(t.tolist()[0][0]) is kind
    assert t.T.tolist() == [[1, 1], [0, 1]]
    assert type(t[0, 0].item()) is kind
    assert type(t[0, 0].tolist()) is kind
    assert t[:, :0].tolist() == [[], []]
    with pytest.raises(ValueError, match=r"\(2, 2\)"):
        t.item()


def test_buffer_given_back():
    import gc
    import weakref

    class Owner(np.ndarray):
        pass

    a = np.zeros(4).view(Owner)
    gone = weakref.ref(a)
    t = lamina.from_numpy(a)
    u = t[1:]
    del a, t
    gc.collect()
    assert gone() is not None
    del u
    gc.collect()
    assert gone() is None


def test_signatures():
    assert (
        str(inspect.signature(lamina.tensor))
        == "(data, *, dtype=None, device=None, requires_grad=False, pin_memory=False)"
    )
    assert str(inspect.signature(lamina.frombuffer)).startswith("(buffer, *, dtype, count=-1")


@pytest.mark.parametrize("name", ["tensor", "as_tensor", "asarray", "from_numpy", "frombuffer"])
def test_examples_of_docstrings(name):
    runner, parser = doctest.DocTestRunner(), doctest.DocTestParser()
    names = {"lamina": lamina, "numpy": np}
    test = parser.get_doctest(getattr(lamina, name).__doc__, names, name, None, None)
    assert test.examples
    assert runner.run(test).failed == 0

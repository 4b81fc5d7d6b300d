"""The buffer protocol, numpy(), __array__, copying and pickling."""

import copy
import ctypes
import hashlib
import pickle
import subprocess
import sys
import threading

import lamina
import numpy as np
import pytest

PLAIN = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"]


@pytest.mark.parametrize("name", PLAIN)
def test_memoryview(name):
    t = lamina.tensor([[0, 1, 1], [1, 0, 1]], dtype=getattr(lamina, name))
    view = memoryview(t)
    assert view.shape == (2, 3)
    assert view.itemsize == t.element_size()
    assert view.strides == (3 * view.itemsize, view.itemsize)
    assert not view.readonly
    assert np.asarray(view).dtype == np.dtype(name)
    np.testing.assert_array_equal(np.asarray(view), t.tolist())


def test_memoryview_writes():
    t = lamina.zeros(3)
    memoryview(t)[1] = 2.5
    assert t.tolist() == [0, 2.5, 0]
    memoryview(lamina.tensor([[1, 2], [3, 4]]).T)  # strided
    assert memoryview(lamina.tensor(2.5)).shape == ()
    assert memoryview(lamina.zeros(0, 3)).shape == (0, 3)


def test_memoryview_keeps_the_memory():
    t = lamina.ones(1000)
    view = memoryview(t)
    t.data = lamina.zeros(2)
    del t
    assert view[999] == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: lamina.ones(2, dtype=lamina.bfloat16), "bfloat16"),
        (lambda: lamina.ones(2).requires_grad_(), "requires grad"),
    ],
)
def test_memoryview_refuses(make, message):
    with pytest.raises(BufferError, match=message):
        memoryview(make())


def test_buffer_flags():
    t = lamina.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert memoryview(t).tobytes() == t.numpy().tobytes()
    assert bytes((ctypes.c_char * 16).from_buffer(t)) == t.numpy().tobytes()
    for strided in (t.T, t[:, ::2]):
        view = memoryview(strided)  # takes any strides
        assert view.tobytes() == strided.contiguous().numpy().tobytes()
        with pytest.raises(BufferError, match="contiguous"):
            hashlib.sha256(strided)  # needs one block


# ---- numpy() -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PLAIN)
def test_numpy_shares(name):
    t = lamina.tensor([[0, 1], [1, 1]], dtype=getattr(lamina, name))
    a = t.numpy()
    assert a.dtype == np.dtype(name)
    assert a.dtype.num == np.dtype(name).num
    assert a.ctypes.data == t.data_ptr()
    a[0, 0] = 1
    assert t[0, 0].item() == 1
    t[1, 1] = 0
    assert a[1, 1] == 0


def test_numpy_layouts():
    t = lamina.tensor(np.arange(24.0).reshape(2, 3, 4))
    np.testing.assert_array_equal(t.permute(2, 0, 1).numpy(), np.arange(24.0).reshape(2, 3, 4).transpose(2, 0, 1))
    assert t.permute(2, 0, 1).numpy().ctypes.data == t.data_ptr()
    assert t[:, 1:, ::2].numpy().strides == (96, 32, 16)
    assert lamina.zeros(2, 1).expand(2, 3).numpy().strides == (4, 0)
    assert lamina.tensor(2.5).numpy().shape == ()
    assert lamina.zeros(0, 3).numpy().shape == (0, 3)


def test_numpy_keeps_the_memory():
    a = lamina.ones(100).numpy()
    assert a.sum() == 100
    a = lamina.tensor([1.0, 2.0]).detach().numpy()[1:]
    assert a[0] == 2


def test_numpy_of_the_tape():
    t = lamina.tensor([1.0], requires_grad=True)
    for call in (t.numpy, (t * 2).numpy, lambda: np.asarray(t), lambda: np.array(t)):
        with pytest.raises(RuntimeError, match=r"detach\(\)\.numpy\(\)"):
            call()
    assert t.detach().numpy() == [1]
    assert t.numpy(force=True) == [1]


def test_numpy_bfloat16():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    t = lamina.tensor([1.5, -2.0], dtype=lamina.bfloat16)
    a = t.numpy()
    assert a.dtype == ml_dtypes.bfloat16
    a[0] = 3
    assert t.tolist() == [3, -2]
    assert np.asarray(t).dtype == ml_dtypes.bfloat16


def test_numpy_bfloat16_without_ml_dtypes(monkeypatch):
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(TypeError, match="ml_dtypes"):
        lamina.ones(2, dtype=lamina.bfloat16).numpy()


def test_array_protocol():
    t = lamina.tensor([1.5, 2.5])
    assert np.asarray(t).ctypes.data == t.data_ptr()
    assert np.array(t).ctypes.data != t.data_ptr()
    assert np.asarray(t, dtype=np.float64).dtype == np.float64
    assert np.array([t, t]).shape == (2, 2)
    assert t.__array__().ctypes.data == t.data_ptr()
    assert t.__array__(copy=True).ctypes.data != t.data_ptr()
    assert t.__array__(np.int32).tolist() == [1, 2]
    with pytest.raises(ValueError, match="float32 to int32"):
        t.__array__(np.int32, copy=False)


def test_numpy_accepts_tensors():
    t = lamina.tensor([3.0, 1.0, 2.0])
    a = np.zeros(3, dtype=np.float32)
    a[:] = t
    assert a.tolist() == [3, 1, 2]
    assert np.arange(4)[lamina.tensor([1, 2])].tolist() == [1, 2]
    assert float(np.float64(2) + 0 * lamina.tensor(1.0)) == 2


def test_import_does_not_load_numpy():
    code = "import sys, lamina; lamina.tensor([1., 2.])[0]; assert 'numpy' not in sys.modules, 'numpy was imported'"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_arrays_may_outlive_the_interpreter():
    code = "import sys, numpy, lamina; sys.kept = lamina.from_numpy(numpy.ones(3)); lamina.kept = sys.kept[1:]"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_arrays_are_given_back_from_any_thread():
    def work(tensors):
        while tensors:
            (tensors.pop() + 1).sum()

    tensors = [lamina.from_numpy(np.ones(10_000)) for _ in range(64)]
    threads = [threading.Thread(target=work, args=([t, t * 1],)) for t in tensors]
    del tensors
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# ---- copies ------------------------------------------------------------------------------------------------------


class Named(lamina.Tensor):
    pass


def test_copy():
    t = lamina.tensor([1.0, 2.0], requires_grad=True)
    t.tag = ["a"]
    u = copy.copy(t)
    assert u is not t
    assert u.requires_grad
    assert u.data_ptr() == t.data_ptr()
    assert u.tag is t.tag
    y = t * 3
    copy.copy(y).sum().backward()
    assert t.grad.tolist() == [3, 3]


def test_deepcopy():
    t = lamina.tensor([1.0, 2.0], requires_grad=True)
    t.tag = ["a"]
    (t * t).sum().backward()
    u = copy.deepcopy(t)
    assert u.requires_grad
    assert u.is_leaf
    assert u.data_ptr() != t.data_ptr()
    assert u.tolist() == [1, 2]
    assert u.grad.tolist() == [2, 4]
    assert u.grad.data_ptr() != t.grad.data_ptr()
    assert u.tag == ["a"]
    assert u.tag is not t.tag


def test_deepcopy_of_containers_and_subclasses():
    t = lamina.tensor([1.0])
    a, b = copy.deepcopy([t, t])
    assert a is b
    p = lamina.Tensor._make_subclass(Named, t)
    assert type(copy.deepcopy(p)) is Named
    assert type(copy.copy(p)) is Named
    transposed = lamina.tensor([[1, 2, 3], [4, 5, 6]]).T
    assert copy.deepcopy(transposed).tolist() == transposed.tolist()


def test_deepcopy_of_the_tape():
    t = lamina.tensor([1.0], requires_grad=True)
    with pytest.raises(RuntimeError, match="detach"):
        copy.deepcopy(t * 2)


@pytest.mark.parametrize("protocol", range(6))
def test_pickle_refused(protocol):
    for t in (lamina.ones(2), lamina.Tensor._make_subclass(Named, lamina.ones(2))):
        with pytest.raises(TypeError, match=r"lamina\.save"):
            pickle.dumps(t, protocol=protocol)

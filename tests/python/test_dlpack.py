"""DLPack: zero copy both ways, both capsule kinds, ownership, and what is refused."""

import ctypes
import gc
import weakref

import lamina
import numpy as np
import pytest

PLAIN = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"]

capsule_name = ctypes.pythonapi.PyCapsule_GetName
capsule_name.restype, capsule_name.argtypes = ctypes.c_char_p, [ctypes.py_object]


class Wrapped:
    """Another library's array, of which we choose what it exports."""

    def __init__(self, source, device=(1, 0), **kwargs):
        self.source, self.device, self.kwargs = source, device, kwargs

    def __dlpack__(self, **kwargs):
        return self.source.__dlpack__(**{**kwargs, **self.kwargs})

    def __dlpack_device__(self):
        return self.device


class Old:
    """An exporter from before version 1: it knows no max_version."""

    def __init__(self, source):
        self.source = source

    def __dlpack__(self, stream=None):
        return self.source.__dlpack__()


@pytest.mark.parametrize("name", PLAIN)
def test_numpy_both_ways(name):
    t = lamina.tensor([[0, 1, 1], [1, 0, 1]], dtype=getattr(lamina, name))
    a = np.from_dlpack(t)
    assert a.dtype == np.dtype(name)
    assert a.ctypes.data == t.data_ptr()
    u = lamina.from_dlpack(a)
    assert u.dtype is t.dtype
    assert u.data_ptr() == t.data_ptr()
    assert u.tolist() == t.tolist()
    del t, a
    gc.collect()
    assert u.tolist() == [[0, 1, 1], [1, 0, 1]]


@pytest.mark.parametrize("name", [*PLAIN, "bfloat16"])
def test_torch_both_ways(name):
    torch = pytest.importorskip("torch")
    t = lamina.tensor([[0, 1, 1], [1, 0, 1]], dtype=getattr(lamina, name))
    a = torch.from_dlpack(t)
    assert a.dtype is getattr(torch, name)
    assert a.data_ptr() == t.data_ptr()
    for u in (lamina.from_dlpack(a), lamina.from_dlpack(torch.utils.dlpack.to_dlpack(a)), lamina.as_tensor(a)):
        assert u.dtype is t.dtype
        assert u.data_ptr() == t.data_ptr()
    a[0, 0] = 1
    assert t[0, 0].item() == 1
    assert lamina.tensor(a).data_ptr() != t.data_ptr()
    assert lamina.tensor([a[0], a[1]]).tolist() == t.tolist()


def test_torch_tape_is_refused():
    torch = pytest.importorskip("torch")
    with pytest.raises((BufferError, RuntimeError), match="grad"):
        lamina.from_dlpack(torch.ones(2, requires_grad=True))
    with pytest.raises(BufferError, match="detach"):
        torch.from_dlpack(lamina.ones(2).requires_grad_())


def test_capsule_kinds():
    t = lamina.ones(2)
    assert capsule_name(t.__dlpack__()) == b"dltensor"
    assert capsule_name(t.__dlpack__(max_version=(0, 8))) == b"dltensor"
    assert capsule_name(t.__dlpack__(max_version=(1, 0))) == b"dltensor_versioned"
    assert t.__dlpack_device__() == (1, 0)
    for kwargs in ({}, {"max_version": (1, 0)}):
        capsule = t.__dlpack__(**kwargs)
        assert lamina.from_dlpack(capsule).data_ptr() == t.data_ptr()
        assert capsule_name(capsule).startswith(b"used_")
        with pytest.raises(ValueError, match="consumed before"):
            lamina.from_dlpack(capsule)


def test_copies():
    t = lamina.ones(2)
    assert lamina.from_dlpack(t.__dlpack__(copy=True)).data_ptr() != t.data_ptr()
    assert lamina.from_dlpack(t, copy=True).data_ptr() != t.data_ptr()
    assert lamina.from_dlpack(t, copy=False).data_ptr() == t.data_ptr()
    assert lamina.from_dlpack(t, device="cpu").data_ptr() == t.data_ptr()
    assert lamina.from_dlpack(Old(t)).data_ptr() == t.data_ptr()


def test_layouts():
    t = lamina.tensor(np.arange(24.0).reshape(2, 3, 4)).permute(2, 0, 1)[::2]
    np.testing.assert_array_equal(np.from_dlpack(t), t.numpy())
    assert lamina.from_dlpack(t).stride() == t.stride()
    assert lamina.from_dlpack(lamina.tensor(2.5)).item() == 2.5
    assert lamina.from_dlpack(lamina.zeros(0, 3)).shape == (0, 3)
    assert np.from_dlpack(lamina.zeros(0, 3)).shape == (0, 3)


def test_what_cannot_be_shared_is_copied():
    a = np.arange(6.0)
    a.flags.writeable = False
    for odd in (a, np.arange(6.0)[::-1]):
        assert lamina.from_dlpack(odd).tolist() == odd.tolist()
        with pytest.raises(ValueError, match="copy=False"):
            lamina.from_dlpack(odd, copy=False)


def test_ownership():
    class Owner(np.ndarray):
        pass

    for keep in (True, False):
        a = np.ones(3).view(Owner)
        gone = weakref.ref(a)
        t = lamina.from_dlpack(a) if keep else None
        capsules = [a.__dlpack__(), a.__dlpack__(max_version=(1, 0))]
        del a, capsules  # never consumed
        gc.collect()
        assert (gone() is not None) == keep
        if keep:
            assert t.sum().item() == 3
            del t
            gc.collect()
            assert gone() is None


def test_dropped_capsules_free_the_tensor():
    before = lamina.memory_stats()["allocated"] if hasattr(lamina, "memory_stats") else None
    for _ in range(20):
        lamina.ones(1 << 16).__dlpack__()
        lamina.ones(1 << 16).__dlpack__(max_version=(1, 0))
    if before is not None:
        assert lamina.memory_stats()["allocated"] <= before + (1 << 20)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: 3, TypeError, "int has no __dlpack__"),
        (lambda: np.ndarray, TypeError, "no __dlpack__"),
        (lambda: np.zeros(2, dtype=np.uint32), TypeError, "uint32"),
        (lambda: np.zeros(2, dtype=np.complex64), TypeError, "complex64"),
        (lambda: Wrapped(lamina.ones(2), device=(2, 0)), RuntimeError, "device type 2"),
        (lambda: Wrapped(lamina.ones(2).requires_grad_()), BufferError, "requires grad"),
    ],
)
def test_refused(make, error, message):
    with pytest.raises(error, match=message):
        lamina.from_dlpack(make())


def test_export_arguments():
    t = lamina.ones(2)
    with pytest.raises(ValueError, match="stream"):
        t.__dlpack__(stream=1)
    with pytest.raises(BufferError, match=r"\(2, 0\)"):
        t.__dlpack__(dl_device=(2, 0))
    t.__dlpack__(dl_device=(1, 0))
    with pytest.raises(TypeError):
        t.__dlpack__(None)


def test_foreign_capsule():
    new = ctypes.pythonapi.PyCapsule_New
    new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    name = b"something"
    with pytest.raises(TypeError, match="'something'"):
        lamina.from_dlpack(new(1, name, None))


class Version(ctypes.Structure):
    _fields_ = [("major", ctypes.c_uint32), ("minor", ctypes.c_uint32)]


def test_later_versions_are_refused():
    capsule = lamina.ones(2).__dlpack__(max_version=(1, 0))
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    Version.from_address(pointer(capsule, b"dltensor_versioned")).major = 2
    with pytest.raises(BufferError, match="version 2"):
        lamina.from_dlpack(capsule)

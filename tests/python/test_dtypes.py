"""Rules of dtypes, what counts as a number, and memory formats."""

from __future__ import annotations

import decimal
import fractions

import lamina
import numpy as np
import pytest


def test_promotion():
    assert lamina.promote_types(lamina.int32, lamina.float16) is lamina.float16
    assert lamina.result_type(lamina.tensor([1]), 1.5) is lamina.float32
    assert lamina.result_type(lamina.tensor([1.0], dtype=lamina.float16), lamina.tensor(1.0)) is lamina.float16
    assert lamina.result_type(1, True) is lamina.int64
    with pytest.raises(TypeError, match="result_type: need two Tensors or numbers, got str"):
        lamina.result_type("a", 1)


def test_can_cast():
    assert lamina.can_cast(lamina.int64, lamina.int8) and lamina.can_cast(lamina.bool, lamina.float32)
    assert lamina.can_cast(lamina.float64, lamina.float16) and lamina.can_cast(lamina.bool, lamina.bool)
    assert not lamina.can_cast(lamina.float32, lamina.int64) and not lamina.can_cast(lamina.int64, lamina.bool)


def test_scalar_tensor():
    assert lamina.scalar_tensor(2).dtype is lamina.float32 and lamina.scalar_tensor(2).shape == ()
    x = lamina.scalar_tensor(2.5, dtype=lamina.float64, requires_grad=True)
    assert x.requires_grad and x.item() == 2.5


def test_numpy_scalars_are_numbers():
    x = lamina.tensor([1, 2])
    assert (x + np.int8(3)).tolist() == [4, 5] and (x + np.int8(3)).dtype is lamina.int64
    assert (x * np.float64(0.5)).dtype is lamina.float32
    assert (x + np.bool_(True)).tolist() == [2, 3] and (x + np.bool_(True)).dtype is lamina.int64
    assert lamina.zeros(np.int64(2), np.uint8(3)).shape == (2, 3)
    assert x.sum(np.int32(0)).item() == 3


class Foreign:
    """Looks like a tensor of another library: converts, and has elements."""

    def __float__(self):
        return 1.0

    def __index__(self):
        return 1

    def __getitem__(self, key):
        if key:
            raise IndexError(key)
        return self


class Index:
    def __index__(self):
        return 2


@pytest.mark.parametrize("value", [Foreign(), fractions.Fraction(1, 2), decimal.Decimal(1), 1j, np.complex64(1)])
def test_other_objects_are_no_numbers(value):
    x = lamina.ones(3)
    with pytest.raises(TypeError):
        x + value
    with pytest.raises(TypeError):
        lamina.add(x, value)
    with pytest.raises(TypeError):
        x.clamp(min=value)


def test_index_protocol():
    assert lamina.zeros(Index()).shape == (2,)
    with pytest.raises(TypeError):
        lamina.zeros(Foreign())


def test_memory_formats():
    x = lamina.randn(2, 3, 4, 5)
    y = x.contiguous(memory_format=lamina.channels_last)
    assert x.is_contiguous() and not x.is_contiguous(memory_format=lamina.channels_last)
    assert y.is_contiguous(memory_format=lamina.channels_last) and not y.is_contiguous(lamina.contiguous_format)
    assert not x[0].is_contiguous(memory_format=lamina.channels_last)
    assert x.to(memory_format=lamina.channels_last).stride() == y.stride()
    z = x.to(lamina.float64, memory_format=lamina.channels_last)
    assert z.dtype is lamina.float64 and z.stride() == y.stride() and y.to(memory_format=lamina.channels_last) is y
    volume = lamina.zeros(1, 2, 3, 4, 5).to(memory_format=lamina.channels_last_3d)
    assert volume.is_contiguous(memory_format=lamina.channels_last_3d)
    for call in (lambda: x.is_contiguous(memory_format="rows"), lambda: x.to(memory_format="rows")):
        with pytest.raises(ValueError, match="memory_format is 'rows'"):
            call()
    with pytest.raises(TypeError, match="memory_format"):
        x.is_contiguous(format=lamina.channels_last)

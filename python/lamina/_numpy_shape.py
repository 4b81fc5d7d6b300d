"""NumPy functions on tensors that rearrange elements: reshape, join, split, flip, pad. See _numpy.py."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from lamina import _core
from lamina._core import Tensor
from lamina._numpy import Axis, implements, ints, tensor, tensors, to_dtype

# ---- shape -------------------------------------------------------------------------------------------------------

implements("shape")(lambda a: tensor(a).shape)
implements("ndim")(lambda a: tensor(a).ndim)


@implements("size")
def _size(a: Any, axis: int | None = None) -> int:
    return tensor(a).numel() if axis is None else tensor(a).shape[axis]


@implements("reshape")
def _reshape(a: Any, shape: Any, order: str = "C") -> Tensor:
    if order not in ("C", "A"):
        raise TypeError(f"np.reshape: order {order!r} is not supported for tensors; need 'C'")
    return tensor(a).reshape(ints(shape))


@implements("ravel")
def _ravel(a: Any, order: str = "C") -> Tensor:
    return _reshape(a, -1, order)


@implements("transpose")
def _transpose(a: Any, axes: Sequence[int] | None = None) -> Tensor:
    x = tensor(a)
    return x.permute(tuple(reversed(range(x.ndim))) if axes is None else ints(axes))


implements("matrix_transpose")(lambda a: tensor(a).mT)
implements("swapaxes")(lambda a, axis1, axis2: _core.transpose(tensor(a), axis1, axis2))
implements("moveaxis")(lambda a, source, destination: _core.movedim(tensor(a), ints(source), ints(destination)))


@implements("squeeze")
def _squeeze(a: Any, axis: Axis = None) -> Tensor:
    x = tensor(a)
    if axis is None:
        return _core.squeeze(x)
    for d in ints(axis):
        if x.shape[d] != 1:
            raise ValueError(f"np.squeeze: axis {d} of shape {x.shape} has size {x.shape[d]}; need 1")
    return _core.squeeze(x, ints(axis))


@implements("expand_dims")
def _expand_dims(a: Any, axis: Axis) -> Tensor:
    x = tensor(a)
    axes = ints(axis)
    for d in sorted(d % (x.ndim + len(axes)) for d in axes):
        x = x.unsqueeze(d)
    return x


@implements("broadcast_to")
def _broadcast_to(array: Any, shape: Any) -> Tensor:
    return _core.broadcast_to(tensor(array), ints(shape))


@implements("broadcast_arrays")
def _broadcast_arrays(*args: Any) -> tuple[Tensor, ...]:
    xs = tensors(args)
    shape = np.broadcast_shapes(*(x.shape for x in xs))
    return tuple(_core.broadcast_to(x, shape) for x in xs)


def _atleast(core: str) -> None:
    def atleast(*arrays: Any) -> Any:
        out = tuple(getattr(_core, core)(tensor(a)) for a in arrays)
        return out[0] if len(out) == 1 else out

    implements(core)(atleast)


for _core_name in ("atleast_1d", "atleast_2d", "atleast_3d"):
    _atleast(_core_name)


@implements("concatenate")
def _concatenate(
    arrays: Sequence[Any], axis: int | None = 0, *, dtype: Any = None, casting: str = "same_kind"
) -> Tensor:
    xs = tensors(arrays)
    if axis is None:
        xs, axis = [x.reshape(-1) for x in xs], 0
    out = _core.cat(xs, axis)
    return out if dtype is None else out.to(to_dtype(dtype, "np.concatenate"))


@implements("stack")
def _stack(arrays: Sequence[Any], axis: int = 0) -> Tensor:
    return _core.stack(tensors(arrays), axis)


@implements("vstack", "row_stack")
def _vstack(tup: Sequence[Any]) -> Tensor:
    return _core.vstack(tensors(tup))


@implements("hstack")
def _hstack(tup: Sequence[Any]) -> Tensor:
    return _core.hstack(tensors(tup))


@implements("dstack")
def _dstack(tup: Sequence[Any]) -> Tensor:
    return _core.dstack(tensors(tup))


@implements("column_stack")
def _column_stack(tup: Sequence[Any]) -> Tensor:
    return _core.column_stack(tensors(tup))


@implements("append")
def _append(arr: Any, values: Any, axis: int | None = None) -> Tensor:
    return _concatenate([arr, values], axis)


@implements("array_split")
def _array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Tensor]:
    sections = indices_or_sections
    sections = ints(sections) if isinstance(sections, Iterable) else int(sections)
    return list(_core.tensor_split(tensor(ary), sections, axis))


@implements("split")
def _split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Tensor]:
    x = tensor(ary)
    if not isinstance(indices_or_sections, Iterable) and x.shape[axis] % indices_or_sections:
        raise ValueError(
            f"np.split: {x.shape[axis]} elements along axis {axis} do not divide into {indices_or_sections} equal parts"
        )
    return _array_split(x, indices_or_sections, axis)


implements("hsplit")(lambda ary, sections: _split(ary, sections, 1 if tensor(ary).ndim > 1 else 0))
implements("vsplit")(lambda ary, sections: _split(ary, sections, 0))
implements("dsplit")(lambda ary, sections: _split(ary, sections, 2))
implements("unstack")(lambda x, *, axis=0: _core.unbind(tensor(x), axis))


@implements("tile")
def _tile(A: Any, reps: Any) -> Tensor:
    return _core.tile(tensor(A), ints(reps))


@implements("repeat")
def _repeat(a: Any, repeats: Any, axis: int | None = None) -> Tensor:
    return _core.repeat_interleave(tensor(a), repeats if isinstance(repeats, int) else tensor(repeats), axis)


@implements("flip")
def _flip(m: Any, axis: Axis = None) -> Tensor:
    x = tensor(m)
    return _core.flip(x, tuple(range(x.ndim)) if axis is None else ints(axis))


implements("fliplr")(lambda m: _core.fliplr(tensor(m)))
implements("flipud")(lambda m: _core.flipud(tensor(m)))
implements("rot90")(lambda m, k=1, axes=(0, 1): _core.rot90(tensor(m), k, ints(axes)))


@implements("roll")
def _roll(a: Any, shift: Any, axis: Axis = None) -> Tensor:
    if axis is None:
        return _core.roll(tensor(a), ints(shift))
    shifts, axes = ints(shift), ints(axis)
    n = max(len(shifts), len(axes))
    return _core.roll(tensor(a), shifts * (n // len(shifts)), axes * (n // len(axes)))


_PAD_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


@implements("pad")
def _pad(array: Any, pad_width: Any, mode: str = "constant", *, constant_values: Any = 0) -> Tensor:
    x = tensor(array)
    if mode not in _PAD_MODES:
        raise TypeError(f"np.pad: mode {mode!r} is not supported for tensors; need one of {', '.join(_PAD_MODES)}")
    widths = np.broadcast_to(np.asarray(pad_width), (x.ndim, 2)).tolist()
    flat = [int(n) for pair in reversed(widths) for n in pair]
    if mode != "constant":
        return _core.pad(x, flat, _PAD_MODES[mode])
    if np.ndim(constant_values):
        raise TypeError("np.pad: constant_values must be one number for tensors")
    return _core.pad(x, flat, "constant", constant_values)


implements("tril")(lambda m, k=0: _core.tril(tensor(m), k))
implements("triu")(lambda m, k=0: _core.triu(tensor(m), k))
implements("diag")(lambda v, k=0: _core.diag(tensor(v), k))
implements("diagonal")(lambda a, offset=0, axis1=0, axis2=1: _core.diagonal(tensor(a), offset, axis1, axis2))
implements("trace")(lambda a, offset=0, axis1=0, axis2=1: _core.diagonal(tensor(a), offset, axis1, axis2).sum(-1))


@implements("meshgrid")
def _meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> tuple[Tensor, ...]:
    if sparse:
        raise TypeError("np.meshgrid: sparse=True is not supported for tensors")
    return tuple(_core.meshgrid([tensor(x).reshape(-1) for x in xi], indexing=indexing))

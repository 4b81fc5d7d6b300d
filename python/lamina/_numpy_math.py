"""NumPy functions on tensors that compute: reductions, selection, sorting, linear algebra. See _numpy.py."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from lamina import _core
from lamina._core import Tensor
from lamina._numpy import (
    FUNCTIONS,
    Axis,
    core_function,
    flat,
    implements,
    ints,
    operands,
    reduce,
    tensor,
    tensors,
    to_dtype,
    unsupported,
)

# ---- reductions --------------------------------------------------------------------------------------------------


def _reduction(names: str, core: str) -> None:
    def reduction(a: Any, axis: Axis = None, dtype: Any = None, keepdims: bool = False) -> Tensor:
        x = tensor(a)
        if dtype is not None:
            x = x.to(to_dtype(dtype, f"np.{core}"))
        elif core == "mean" and not x.is_floating_point():
            x = x.to(_core.get_default_dtype())
        return reduce(core_function(core, f"np.{core}"), x, axis, keepdims)

    implements(*names.split())(reduction)


for _names, _core_name in (
    ("sum", "sum"),
    ("prod", "prod"),
    ("mean", "mean"),
    ("max amax", "amax"),
    ("min amin", "amin"),
    ("any", "any"),
    ("all", "all"),
    ("nansum", "nansum"),
):
    _reduction(_names, _core_name)


@implements("var")
def _var(
    a: Any, axis: Axis = None, dtype: Any = None, ddof: float = 0, keepdims: bool = False, *, correction: Any = None
):
    x = tensor(a)
    if dtype is not None or not x.is_floating_point():
        x = x.to(_core.get_default_dtype() if dtype is None else to_dtype(dtype, "np.var"))
    dims = tuple(range(x.ndim)) if axis is None else axis
    return _core.var(x, dims, correction=ddof if correction is None else correction, keepdim=keepdims)


@implements("std")
def _std(
    a: Any, axis: Axis = None, dtype: Any = None, ddof: float = 0, keepdims: bool = False, *, correction: Any = None
):
    return _core.sqrt(_var(a, axis, dtype, ddof, keepdims, correction=correction))


@implements("ptp")
def _ptp(a: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    x = tensor(a)
    return reduce(_core.amax, x, axis, keepdims) - reduce(_core.amin, x, axis, keepdims)


@implements("average")
def _average(a: Any, axis: Axis = None, weights: Any = None, *, keepdims: bool = False) -> Tensor:
    x = tensor(a)
    if weights is None:
        return FUNCTIONS["mean"](x, axis, keepdims=keepdims)
    w = tensor(weights, x)
    if w.shape != x.shape:
        if not isinstance(axis, int) or w.ndim != 1:
            raise ValueError(
                f"np.average: weights have shape {w.shape}, the tensor {x.shape}; need equal shapes, or "
                "1-d weights and an integer axis"
            )
        w = w.reshape(*(-1 if d == axis % x.ndim else 1 for d in range(x.ndim))).expand(x.shape)
    return reduce(_core.sum, x * w, axis, keepdims) / reduce(_core.sum, w, axis, keepdims)


@implements("count_nonzero")
def _count_nonzero(a: Any, axis: Axis = None, *, keepdims: bool = False) -> Tensor:
    return reduce(_core.sum, _core.ne(tensor(a), 0), axis, keepdims)


@implements("quantile")
def _quantile(a: Any, q: Any, axis: Axis = None, *, method: str = "linear", keepdims: bool = False) -> Tensor:
    """Where the elements of the given axes, sorted, reach the fraction q."""
    x = tensor(a)
    axes = [d % x.ndim for d in (range(x.ndim) if axis is None else ints(axis))]
    kept = [d for d in range(x.ndim) if d not in axes]
    # (..., elements of the axes) -> (*q.shape, ...)
    rows = x.permute(kept + axes).reshape([x.shape[d] for d in kept] + [-1])
    out = _core.quantile(rows, q if isinstance(q, (int, float)) else tensor(q, x).to(x.dtype), -1, interpolation=method)
    if not keepdims:
        return out
    lead = out.shape[: out.ndim - len(kept)]
    return out.reshape([*lead, *(1 if d in axes else x.shape[d] for d in range(x.ndim))])


@implements("percentile")
def _percentile(a: Any, q: Any, axis: Axis = None, *, method: str = "linear", keepdims: bool = False) -> Tensor:
    fraction = q / 100 if isinstance(q, (int, float)) else tensor(q, tensor(a)).to(tensor(a).dtype) / 100
    return _quantile(a, fraction, axis, method=method, keepdims=keepdims)


@implements("median")
def _median(a: Any, axis: Axis = None, *, keepdims: bool = False) -> Tensor:
    return _quantile(a, 0.5, axis, keepdims=keepdims)


@implements("nanmean")
def _nanmean(a: Any, axis: Axis = None, *, keepdims: bool = False) -> Tensor:
    x = tensor(a)
    return reduce(_core.nansum, x, axis, keepdims) / reduce(_core.sum, x == x, axis, keepdims)


@implements("trapezoid")
def _trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Tensor:
    rows, steps = _core.movedim(tensor(y), (axis,), (-1,)), dx
    if x is not None:
        at = tensor(x, rows)
        steps = _core.diff(at if at.ndim == 1 else _core.movedim(at, (axis,), (-1,)))
    return ((rows[..., 1:] + rows[..., :-1]) / 2 * steps).sum(-1)


@implements("argmax")
def _argmax(a: Any, axis: int | None = None, *, keepdims: bool = False) -> Tensor:
    return _core.argmax(tensor(a), axis, keepdim=keepdims)


@implements("argmin")
def _argmin(a: Any, axis: int | None = None, *, keepdims: bool = False) -> Tensor:
    return _core.argmin(tensor(a), axis, keepdim=keepdims)


@implements("cumsum")
def _cumsum(a: Any, axis: int | None = None, dtype: Any = None) -> Tensor:
    x, axis = flat(a, axis)
    return _core.cumsum(x if dtype is None else x.to(to_dtype(dtype, "np.cumsum")), axis)


@implements("cumprod")
def _cumprod(a: Any, axis: int | None = None, dtype: Any = None) -> Tensor:
    x, axis = flat(a, axis)
    return _core.cumprod(x if dtype is None else x.to(to_dtype(dtype, "np.cumprod")), axis)


def _like(core: str) -> Callable[..., Tensor]:
    def like(a: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None) -> Tensor:
        x = tensor(a)
        dtype = x.dtype if dtype is None else to_dtype(dtype, f"np.{core}_like")
        return getattr(_core, core)(x.shape if shape is None else ints(shape), dtype=dtype)

    return implements(f"{core}_like")(like)


for _core_name in ("zeros", "ones", "empty"):
    _like(_core_name)


@implements("full_like")
def _full_like(
    a: Any, fill_value: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None
) -> Tensor:
    return _like_full(tensor(a), fill_value, dtype, shape)


def _like_full(x: Tensor, value: Any, dtype: Any, shape: Any) -> Tensor:
    dtype = x.dtype if dtype is None else to_dtype(dtype, "np.full_like")
    return _core.full(x.shape if shape is None else ints(shape), value, dtype=dtype)


implements("copy")(lambda a, order="K", subok=False: tensor(a).clone())

# ---- selection ---------------------------------------------------------------------------------------------------


@implements("where")
def _where(condition: Any, x: Any = None, y: Any = None) -> Any:
    if x is None and y is None:
        return _nonzero(condition)
    if not isinstance(x, Tensor) and not isinstance(y, Tensor):
        x = tensor(x)
    return _core.where(tensor(condition), *operands((x, y), "np.where"))


@implements("nonzero")
def _nonzero(a: Any) -> tuple[Tensor, ...]:
    return tuple(_core.unbind(_argwhere(a), 1))


@implements("argwhere")
def _argwhere(a: Any) -> Tensor:
    return _core.nonzero(tensor(a))


@implements("clip")
def _clip(a: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Tensor:
    low, high = (a_min if min is None else min), (a_max if max is None else max)
    x = tensor(a)
    if low is not None:
        x = _core.maximum(*operands((x, low), "np.clip"))
    return x if high is None else _core.minimum(*operands((x, high), "np.clip"))


@implements("take")
def _take(a: Any, indices: Any, axis: int | None = None) -> Tensor:
    x, axis = flat(a, axis)
    return x[(slice(None),) * (axis % x.ndim) + (indices,)]


@implements("take_along_axis")
def _take_along_axis(arr: Any, indices: Any, axis: int | None = -1) -> Tensor:
    x, dim = flat(arr, axis)
    return _core.take_along_dim(x, tensor(indices), dim)


@implements("sort")
def _sort(a: Any, axis: int | None = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Tensor:
    x, axis = flat(a, axis)
    return _core.sort(x, axis)[0]


@implements("argsort")
def _argsort(a: Any, axis: int | None = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Tensor:
    x, axis = flat(a, axis)
    return _core.sort(x, axis)[1]


@implements("diff")
def _diff(a: Any, n: int = 1, axis: int = -1) -> Tensor:
    return _core.diff(tensor(a), n, axis)


@implements("round", "around")
def _round(a: Any, decimals: int = 0) -> Tensor:
    x = tensor(a)
    return _core.round(x) if decimals == 0 else _core.round(x * 10.0**decimals) / 10.0**decimals


implements("sinc")(lambda x: _core.sinc(tensor(x)))


@implements("nan_to_num")
def _nan_to_num(x: Any, copy: bool = True, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None):
    given = {k: v for k, v in (("posinf", posinf), ("neginf", neginf)) if v is not None}
    return _core.nan_to_num(tensor(x), nan, **given)


@implements("searchsorted")
def _searchsorted(a: Any, v: Any, side: str = "left", sorter: Any = None) -> Tensor:
    sorter = None if sorter is None else tensor(sorter)
    return _core.searchsorted(tensor(a), tensor(v), side=side, sorter=sorter)


@implements("bincount")
def _bincount(x: Any, weights: Any = None, minlength: int = 0) -> Tensor:
    return _core.bincount(tensor(x), None if weights is None else tensor(weights), minlength)


@implements("unique")
def _unique(
    ar: Any,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
) -> Any:
    if return_index:
        raise TypeError("np.unique: return_index=True is not supported for tensors")
    return _core.unique(tensor(ar), True, return_inverse, return_counts, axis)


@implements("isclose")
def _isclose(a: Any, b: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Tensor:
    x, y = tensor(a).detach(), tensor(b).detach()
    common = _core.promote_types(x.dtype, y.dtype)
    return _core.isclose(x.to(common), y.to(common), rtol, atol, equal_nan)


@implements("allclose")
def _allclose(a: Any, b: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> bool:
    return bool(_isclose(a, b, rtol, atol, equal_nan).all())


@implements("array_equal")
def _array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> bool:
    x, y = tensor(a1).detach(), tensor(a2).detach()
    if x.shape != y.shape:
        return False
    same = x == y
    return bool((same | ((x != x) & (y != y)) if equal_nan else same).all())


# ---- linear algebra ----------------------------------------------------------------------------------------------


@implements("dot")
def _dot(a: Any, b: Any) -> Tensor:
    x, y = tensor(a), tensor(b)
    if x.ndim == 0 or y.ndim == 0:
        return x * y
    if x.ndim <= 2 and y.ndim <= 2:
        return _core.matmul(x, y)
    return _tensordot(x, y, ((x.ndim - 1,), (max(y.ndim - 2, 0),)))


implements("vdot")(lambda a, b: (tensor(a).reshape(-1) * tensor(b).reshape(-1)).sum())
implements("outer")(lambda a, b: _core.outer(tensor(a).reshape(-1), tensor(b).reshape(-1)))


@implements("inner")
def _inner(a: Any, b: Any) -> Tensor:
    x, y = tensor(a), tensor(b)
    return x * y if x.ndim == 0 or y.ndim == 0 else _tensordot(x, y, ((-1,), (-1,)))


@implements("tensordot")
def _tensordot(a: Any, b: Any, axes: Any = 2) -> Tensor:
    if isinstance(axes, int):
        return _core.tensordot(tensor(a), tensor(b), axes)
    return _core.tensordot(tensor(a), tensor(b), (ints(axes[0]), ints(axes[1])))


@implements("einsum")
def _einsum(subscripts: str, *operands: Any, optimize: Any = False) -> Tensor:
    return _core.einsum(subscripts, tensors(operands))


implements("kron")(lambda a, b: _core.kron(tensor(a), tensor(b)))


@implements("linalg.norm")
def _norm(x: Any, ord: Any = None, axis: Axis = None, keepdims: bool = False) -> Tensor:
    t = tensor(x)
    dims = tuple(range(t.ndim)) if axis is None else ints(axis)
    if ord is None:
        return _core.norm(
            t if axis is not None or keepdims else t.reshape(-1), 2, None if axis is None else dims, keepdims
        )
    if len(dims) == 2 and ord != "fro":
        return _matrix_norm(t, ord, dims, keepdims)
    return _core.norm(t, 2 if ord == "fro" else float(ord), dims, keepdims)


def _matrix_norm(x: Tensor, order: Any, dims: tuple[int, ...], keepdims: bool) -> Tensor:
    """The largest (or smallest) sum of absolute values in a column, for order 1, or a row, for infinity."""
    if order not in (1, -1, math.inf, -math.inf):
        raise unsupported(f"np.linalg.norm with ord={order!r}")
    rows, columns = (d % x.ndim for d in dims)
    over, across = (rows, columns) if abs(order) == 1 else (columns, rows)
    sums = _core.sum(_core.abs(x), over, keepdim=True)
    out = (_core.amax if order > 0 else _core.amin)(sums, across, keepdim=True)
    return out if keepdims else _core.squeeze(out, (rows, columns))

"""NumPy's functions on tensors: `np.square(t)` and `np.concatenate([t, u])` are tensors, recorded on the tape.

The one idea: NumPy hands every call with a tensor among its arguments to `array_ufunc` or `array_function` (NEP 13 and
NEP 18). Here the function is looked up by name and computed by Lamina's operators, with NumPy's argument names,
defaults (`ddof=0`, `axis=None` flattens) and shapes. What is missing raises TypeError; nothing falls back to arrays
silently, because that would lose the gradient. This module is imported by the first such call.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from lamina import _core
from lamina._core import Tensor

Axis = int | tuple[int, ...] | None

# ---- universal functions -----------------------------------------------------------------------------------------

# NumPy's name: Lamina's.
_UFUNCS: dict[str, str] = {
    name: name
    for name in (
        "add exp exp2 expm1 log log2 log10 log1p sqrt square reciprocal sign floor ceil trunc fmod floor_divide "
        "remainder maximum minimum fmax fmin hypot logaddexp logaddexp2 heaviside copysign nextafter matmul "
        "sin cos tan sinh cosh tanh deg2rad rad2deg ldexp isfinite isinf isnan signbit "
        "logical_and logical_or logical_xor logical_not bitwise_and bitwise_or bitwise_xor"
    ).split()
} | {
    "subtract": "sub",
    "multiply": "mul",
    "divide": "div",
    "power": "pow",
    "negative": "neg",
    "absolute": "abs",
    "fabs": "abs",
    "rint": "round",
    "arcsin": "asin",
    "arccos": "acos",
    "arctan": "atan",
    "arctan2": "atan2",
    "arcsinh": "asinh",
    "arccosh": "acosh",
    "arctanh": "atanh",
    "degrees": "rad2deg",
    "radians": "deg2rad",
    "greater": "gt",
    "greater_equal": "ge",
    "less": "lt",
    "less_equal": "le",
    "equal": "eq",
    "not_equal": "ne",
    "invert": "bitwise_not",
    "left_shift": "bitwise_left_shift",
    "right_shift": "bitwise_right_shift",
}


def _float_power(a: Any, b: Any) -> Tensor:
    return _core.pow(tensor(a).to(_core.float64), b)


def _divmod(a: Any, b: Any) -> tuple[Tensor, Tensor]:
    return _core.floor_divide(a, b), _core.remainder(a, b)


_COMPOSED_UFUNCS: dict[str, Callable[..., Any]] = {
    "positive": lambda x: x,
    "conjugate": lambda x: x,
    "float_power": _float_power,
    "divmod": _divmod,
    "vecdot": lambda a, b: (tensor(a) * tensor(b)).sum(-1),
}

# ufunc.reduce and ufunc.accumulate
_REDUCE = {
    "add": "sum",
    "multiply": "prod",
    "maximum": "amax",
    "minimum": "amin",
    "logical_and": "all",
    "logical_or": "any",
}
_ACCUMULATE = {"add": "cumsum", "multiply": "cumprod"}


def array_ufunc(ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
    """`Tensor.__array_ufunc__`: what NumPy calls for `np.exp(t)`, `array + t` or `np.add.reduce(t)`.

    Args:
        ufunc: NumPy's function.
        method: "__call__", "reduce", "accumulate" or "outer".
        inputs: the operands; tensors, arrays and numbers in any mixture.
        kwargs: of NumPy's arguments out= and dtype=, and what a reduction takes; where= is refused.
    """
    if method == "__call__" and not kwargs:
        return _function(ufunc)(*operands(inputs, ufunc.__name__))
    name = f"np.{ufunc.__name__}" if method == "__call__" else f"np.{ufunc.__name__}.{method}"
    if kwargs.pop("where", True) is not True:
        raise TypeError(f"{name}: where= is not supported for tensors; use lamina.where(condition, result, other)")
    for key in ("order", "subok"):
        kwargs.pop(key, None)
    casting = kwargs.pop("casting", "same_kind")
    if casting != "same_kind":
        raise TypeError(f"{name}: casting={casting!r} is not supported for tensors; need 'same_kind'")
    out = kwargs.pop("out", (None,))
    compute = _method(ufunc, method, name)
    result = compute(name, operands(inputs, name), kwargs)
    return result if all(o is None for o in out) else _store(out, result, name)


@functools.cache
def _function(ufunc: np.ufunc) -> Callable[..., Any]:
    """The operator that computes a ufunc."""
    function = _COMPOSED_UFUNCS.get(ufunc.__name__)
    if function is None and ufunc.__name__ in _UFUNCS:
        function = core_function(_UFUNCS[ufunc.__name__], f"np.{ufunc.__name__}")
    if function is None:
        raise unsupported(f"np.{ufunc.__name__}")
    return function


def _method(ufunc: np.ufunc, method: str, name: str) -> Callable[[str, list, dict], Any]:
    table = {"reduce": _REDUCE, "accumulate": _ACCUMULATE}.get(method)
    if table is not None and ufunc.__name__ in table:
        return functools.partial(_along_axis, core_function(table[ufunc.__name__], name), method)
    if method in ("__call__", "outer"):
        return functools.partial(_elementwise, _function(ufunc), method)
    raise unsupported(name)


def _elementwise(function: Callable[..., Any], method: str, name: str, inputs: list, kwargs: dict) -> Any:
    dtype = kwargs.pop("dtype", None)
    _refuse_rest(kwargs, name)
    if dtype is not None:
        inputs = [tensor(x).to(to_dtype(dtype, name)) for x in inputs]
    if method == "outer":  # (a..., 1...) with (b...)
        a, b = (tensor(x) for x in inputs)
        inputs = [a.reshape(*a.shape, *(1,) * b.ndim), b]
    if not any(isinstance(x, Tensor) for x in inputs):  # the tensor was in out=
        inputs = [tensor(x) for x in inputs]
    return function(*inputs)


def _along_axis(function: Callable[..., Any], method: str, name: str, inputs: list, kwargs: dict) -> Tensor:
    x = tensor(inputs[0])
    axis = kwargs.pop("axis", 0)
    dtype = kwargs.pop("dtype", None)
    keepdims = kwargs.pop("keepdims", False)
    _refuse_rest({k: v for k, v in kwargs.items() if v is not np._NoValue}, name)
    if dtype is not None:
        x = x.to(to_dtype(dtype, name))
    if method == "accumulate":
        return function(x, axis)
    return reduce(function, x, axis, keepdims)


# ---- helpers -----------------------------------------------------------------------------------------------------


def unsupported(name: str) -> TypeError:
    return TypeError(
        f"{name}: not available for lamina tensors; compute it with lamina's own operators, or on x.detach().numpy() "
        "outside the tape"
    )


def core_function(name: str, asked: str) -> Callable[..., Any]:
    function = getattr(_core, name, None)
    if function is None:
        raise unsupported(asked)
    return function


def _refuse_rest(kwargs: dict[str, Any], name: str) -> None:
    for key in kwargs:
        raise TypeError(f"{name}: argument {key!r} is not supported for tensors")


def operands(xs: Sequence[Any], name: str) -> list[Any]:
    """Tensors and numbers as they are, so that numbers do not widen a dtype; everything else as a tensor."""
    like = next((x for x in xs if isinstance(x, Tensor)), None)
    return [x if isinstance(x, (Tensor, bool, int, float)) else _operand(x, like, name) for x in xs]


def _operand(x: Any, like: Tensor | None, name: str) -> Any:
    if isinstance(x, np.generic):
        return x.item()
    if isinstance(x, (np.ndarray, list, tuple)):
        return tensor(x, like)
    name = name.removeprefix("np.")
    raise TypeError(f"np.{name}: an operand is a {type(x).__name__}; need tensors, arrays and numbers")


def tensor(x: Any, like: Tensor | None = None) -> Tensor:
    """A list of floats gets the precision of `like`; arrays keep theirs."""
    if isinstance(x, Tensor):
        return x
    out = _core.as_tensor(x)
    if like is not None and isinstance(x, (list, tuple)) and out.is_floating_point() and like.is_floating_point():
        return out if out.dtype is like.dtype else _core.tensor(x, dtype=like.dtype)
    return out


def tensors(xs: Iterable[Any]) -> list[Tensor]:
    return [tensor(x) for x in xs]


def to_dtype(dtype: Any, name: str) -> Any:
    """Lamina's dtype for NumPy's, for a type such as `float`, or for a name."""
    if isinstance(dtype, _core.dtype):
        return dtype
    text = np.dtype(dtype).name
    found = getattr(_core, text, None)
    if not isinstance(found, _core.dtype):
        raise TypeError(f"{name}: dtype {text} has no equal in lamina")
    return found


def ints(x: Any) -> tuple[int, ...]:
    return tuple(int(i) for i in x) if isinstance(x, Iterable) else (int(x),)


def _store(out: Sequence[Any], result: Any, name: str) -> Any:
    """Write results into the arrays or tensors of `out=`."""
    results = result if isinstance(result, tuple) else (result,)
    for target, value in zip(out, results, strict=True):
        if isinstance(target, Tensor):
            if target.shape != value.shape:
                raise ValueError(f"{name}: out has shape {target.shape}, the result {value.shape}; need equal shapes")
            target.copy_(value)
        elif target is not None:
            np.copyto(target, value.numpy(), casting="same_kind")
    stored = tuple(value if target is None else target for target, value in zip(out, results, strict=True))
    return stored if isinstance(result, tuple) else stored[0]


def reduce(function: Callable[..., Tensor], x: Tensor, axis: Axis, keepdims: bool) -> Tensor:
    """A reduction with NumPy's axis: None is all of them, () is none."""
    if axis is None:
        axis = tuple(range(x.ndim))
    if axis == ():
        axis, keepdims, x = -1, False, x.unsqueeze(-1)  # reduces single elements
    if isinstance(axis, tuple) and function in (_core.prod, _core.any, _core.all):
        for a in sorted((a % x.ndim for a in axis), reverse=True):  # one dimension a call
            x = function(x, a, keepdim=bool(keepdims))
        return x
    return function(x, axis, keepdim=bool(keepdims))


def flat(x: Any, axis: int | None) -> tuple[Tensor, int]:
    """With axis=None NumPy works on the flattened array."""
    x = tensor(x)
    return (x.reshape(-1), 0) if axis is None else (x, axis)


# ---- array functions ---------------------------------------------------------------------------------------------

FUNCTIONS: dict[str, Callable[..., Any]] = {}  # "concatenate", "linalg.norm"; filled by _numpy_math.py, _numpy_shape.py


def implements(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        for name in names:
            FUNCTIONS[name] = function
        return function

    return register


# These compute nothing that could carry a gradient: they print, store or ask. They get arrays of the tensors' memory.
_LOOKING = frozenset(
    "array_repr array_str array2string save savez savez_compressed savetxt copyto shares_memory may_share_memory "
    "result_type can_cast min_scalar_type iscomplexobj isrealobj".split()
)


def _as_arrays(x: Any) -> Any:
    if isinstance(x, (list, tuple)):
        return type(x)(_as_arrays(item) for item in x)
    return x.detach().numpy() if isinstance(x, Tensor) else x


@functools.cache
def _all_functions() -> dict[str, Callable[..., Any]]:
    from lamina import _numpy_math, _numpy_shape  # noqa: F401 (they fill the table)

    return FUNCTIONS


def array_function(function: Callable[..., Any], types: Sequence[type], args: tuple, kwargs: dict[str, Any]) -> Any:
    """`Tensor.__array_function__`: what NumPy calls for its functions that are no ufuncs, such as `np.concatenate`."""
    if not all(issubclass(t, (Tensor, np.ndarray)) for t in types):
        return NotImplemented
    module = function.__module__.removeprefix("numpy").removeprefix(".")
    name = f"{module}.{function.__name__}" if module in ("linalg", "fft") else function.__name__
    if name in _LOOKING:
        return function(*_as_arrays(args), **{key: _as_arrays(value) for key, value in kwargs.items()})
    implementation = _all_functions().get(name)
    if implementation is None:
        raise unsupported(f"np.{name}")
    out = kwargs.pop("out", None)
    try:
        result = implementation(*args, **kwargs)
    except TypeError as error:
        # An argument that only NumPy has reads like a missing keyword of an inner function.
        if "unexpected keyword" in str(error) or "positional argument" in str(error):
            raise TypeError(f"np.{name}: not supported for tensors with these arguments: {error}") from error
        raise
    return result if out is None else _store((out,), result, f"np.{name}")

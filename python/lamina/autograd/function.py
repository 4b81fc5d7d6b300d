"""Operators written in Python: a forward and a hand-written backward."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from lamina import _core


class RemovableHandle:
    """What registering a hook returns: ``remove()`` takes the hook away, as does leaving a ``with`` block."""

    def __init__(self, remove: Callable[[], None]) -> None:
        self._remove: Callable[[], None] | None = remove

    def remove(self) -> None:
        if self._remove is not None:
            self._remove()
            self._remove = None

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


class FunctionCtx:
    """What ``forward`` leaves for ``backward``: saved tensors, and any attribute you set."""

    def __init__(self, function: type[Function]) -> None:
        self._function = function
        self._node: Any = None
        self._to_save: tuple = ()
        self._dirty: tuple = ()
        self._non_differentiable: tuple = ()
        self._materialize = True
        self.needs_input_grad: tuple[bool, ...] = ()

    def save_for_backward(self, *tensors: _core.Tensor | None) -> None:
        """Keeps inputs, outputs or intermediate tensors; a later in-place change of one is noticed in backward."""
        self._to_save = tensors

    @property
    def saved_tensors(self) -> tuple:
        return self._to_save or _core._saved_tensors(self._node)

    def mark_dirty(self, *tensors: _core.Tensor) -> None:
        """Names inputs that forward changed in place and returns."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors: _core.Tensor) -> None:
        """Names outputs that have no gradient."""
        self._non_differentiable = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """False: backward receives None instead of zeros for outputs without a gradient."""
        self._materialize = value


class Function:
    """An operator with its own backward rule.

    ``forward(ctx, *args)`` computes with tensors outside the tape; ``backward(ctx, *grads)`` takes one gradient per
    output and returns one per argument of forward, None where there is none. Call it by ``apply``.

    Example::

        >>> import lamina
        >>> class Square(lamina.autograd.Function):
        ...     @staticmethod
        ...     def forward(ctx, x):
        ...         ctx.save_for_backward(x)
        ...         return x * x
        ...     @staticmethod
        ...     def backward(ctx, grad):
        ...         (x,) = ctx.saved_tensors
        ...         return 2 * x * grad
        >>> x = lamina.tensor(3.0, requires_grad=True)
        >>> Square.apply(x).backward()
        >>> x.grad
        tensor(6.)
    """

    @staticmethod
    def forward(ctx: FunctionCtx, *args: Any) -> Any:
        raise NotImplementedError("Function: define a static method forward(ctx, *args)")

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: Any) -> Any:
        raise NotImplementedError("Function: define a static method backward(ctx, *grads)")

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Runs forward on ``args`` and records this function on the tape."""
        return _core._function_apply(cls, *args)


def once_differentiable(backward: Callable) -> Callable:
    """For a ``backward`` that uses operations the tape does not see: a second derivative then raises."""

    @wraps(backward)
    def wrapper(ctx: FunctionCtx, *grads: Any) -> Any:
        if _core.is_grad_enabled() and any(g is not None and g.requires_grad for g in grads):
            raise RuntimeError(f"{ctx._function.__name__}: its backward is marked once_differentiable")
        return backward(ctx, *grads)

    return wrapper

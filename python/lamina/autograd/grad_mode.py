"""What the tape does in a block of code: context managers that are decorators too."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

from lamina import _core

F = TypeVar("F", bound=Callable)
_GRAD, _INFERENCE, _ANOMALY = 1, 2, 4


class _Mode:
    """Sets and clears bits of the thread's mode while it is open."""

    _set = 0
    _clear = 0

    def __init__(self) -> None:
        self._before: list[int] = []

    def __enter__(self) -> None:
        self._before.append(_core._change_mode(self._set, self._clear))

    def __exit__(self, *_: object) -> None:
        _core._set_mode(self._before.pop())

    def __call__(self, fn: F) -> F:
        @wraps(fn)
        def wrapper(*args, **kwargs):
            with self:
                return fn(*args, **kwargs)

        return wrapper  # type: ignore[return-value]

    def __new__(cls, fn: F | None = None, *args, **kwargs):
        mode = super().__new__(cls)
        if callable(fn):  # used as `@no_grad`, without brackets
            mode.__init__()  # type: ignore[misc]
            return mode(fn)
        return mode


class no_grad(_Mode):
    """Records nothing: results do not require grad.

    Example::

        >>> import lamina
        >>> x = lamina.ones(2, requires_grad=True)
        >>> with lamina.no_grad():
        ...     print((x * 2).requires_grad)
        False
    """

    _clear = _GRAD


class enable_grad(_Mode):
    """Records again inside ``no_grad``."""

    _set = _GRAD


class inference_mode(_Mode):
    """As ``no_grad``; tensors made here may never enter the tape later, which makes mistakes visible.

    Example::

        >>> import lamina
        >>> with lamina.inference_mode():
        ...     x = lamina.ones(2)
        >>> x.is_inference(), x.clone().is_inference()
        (True, False)
    """

    _set = _INFERENCE
    _clear = _GRAD

    def __init__(self, mode: bool = True) -> None:
        super().__init__()
        if not mode:
            self._set, self._clear = _GRAD, _INFERENCE


class set_grad_enabled(_Mode):
    """Switches recording on or off at once, and back again at the end of a ``with`` block."""

    def __init__(self, mode: bool) -> None:
        super().__init__()
        self._set, self._clear = (_GRAD, 0) if mode else (0, _GRAD)
        self._initial = _core._change_mode(self._set, self._clear)

    def __enter__(self) -> None:
        super().__enter__()
        self._before[-1] = self._initial


class detect_anomaly(_Mode):
    """Finds the operator whose backward first gives NaN: the error names the line of its forward call. Slow.

    Example::

        >>> import lamina
        >>> x = lamina.tensor(-1.0, requires_grad=True)
        >>> with lamina.autograd.detect_anomaly():
        ...     y = x.sqrt()
        ...     try:
        ...         y.backward()
        ...     except RuntimeError as error:
        ...         print("sqrt" in str(error))
        True
    """

    _set = _ANOMALY


class set_detect_anomaly(set_grad_enabled):
    """``detect_anomaly`` as a switch."""

    def __init__(self, mode: bool) -> None:
        _Mode.__init__(self)
        self._set, self._clear = (_ANOMALY, 0) if mode else (0, _ANOMALY)
        self._initial = _core._change_mode(self._set, self._clear)

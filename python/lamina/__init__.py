"""Lamina: a small, fast deep-learning framework. PyTorch's names, a native engine you can read.

Example::

    >>> import lamina
    >>> x = lamina.tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    tensor([2., 4., 6.])
"""

from __future__ import annotations

import builtins
from importlib import import_module
from math import e, inf, nan, pi

from lamina import _core, autograd
from lamina._core import *  # noqa: F403
from lamina.autograd import enable_grad, inference_mode, no_grad, set_grad_enabled

__version__ = "0.1.0"

# Imported on first use, so that `import lamina` takes milliseconds.
_SUBMODULES = ("cuda", "nn", "optim", "utils")
_LAZY = {"save": "lamina.io", "load": "lamina.io", "set_printoptions": "lamina._repr", "printoptions": "lamina._repr"}

strided = "strided"
contiguous_format, preserve_format = "contiguous_format", "preserve_format"
channels_last, channels_last_3d = "channels_last", "channels_last_3d"
newaxis = None


def is_tensor(obj: object) -> builtins.bool:
    """Whether ``obj`` is a lamina tensor."""
    return isinstance(obj, _core.Tensor)


def is_floating_point(input: _core.Tensor) -> builtins.bool:
    """Whether the dtype of ``input`` is a floating-point one."""
    return input.is_floating_point()


def numel(input: _core.Tensor) -> builtins.int:
    """Number of elements."""
    return input.numel()


def __getattr__(name: str):
    if name in _SUBMODULES:
        return import_module(f"lamina.{name}")
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'lamina' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_SUBMODULES, *_LAZY})

"""Automatic differentiation: gradients of tensors with respect to tensors, of any order."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from lamina import _core
from lamina.autograd.function import Function, FunctionCtx, RemovableHandle, once_differentiable
from lamina.autograd.grad_mode import (
    detect_anomaly,
    enable_grad,
    inference_mode,
    no_grad,
    set_detect_anomaly,
    set_grad_enabled,
)

__all__ = [
    "Function",
    "FunctionCtx",
    "RemovableHandle",
    "backward",
    "checkpoint",
    "detect_anomaly",
    "enable_grad",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "inference_mode",
    "no_grad",
    "once_differentiable",
    "set_detect_anomaly",
    "set_grad_enabled",
]

Tensors = _core.Tensor | Sequence[_core.Tensor]


def backward(
    tensors: Tensors,
    grad_tensors: Tensors | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Tensors | None = None,
) -> None:
    """Adds the gradient of the sum of ``tensors`` (weighted by ``grad_tensors``) to the ``.grad`` of every leaf.

    Args:
        tensors: results, of any shape; ``grad_tensors`` may be left out for those of one element.
        grad_tensors: one per tensor, of its shape.
        retain_graph: keep what the tape saved, for another call. Default: ``create_graph``.
        create_graph: record this computation too, for higher derivatives.
        inputs: only these tensors receive a gradient.

    Raises:
        RuntimeError: a tensor is outside the tape, the graph was freed, or a saved tensor was changed in place.

    Example::

        >>> import lamina
        >>> x = lamina.tensor([1.0, 2.0], requires_grad=True)
        >>> lamina.autograd.backward((x * x).sum())
        >>> x.grad
        tensor([2., 4.])
    """
    _core._backward(tensors, grad_tensors, retain_graph, create_graph, inputs)


def grad(
    outputs: Tensors,
    inputs: Tensors,
    grad_outputs: Tensors | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple:
    """The gradients of the sum of ``outputs`` with respect to ``inputs``, as a tuple; no ``.grad`` changes.

    Example::

        >>> import lamina
        >>> x = lamina.tensor(3.0, requires_grad=True)
        >>> (g,) = lamina.autograd.grad(x**3, x, create_graph=True)
        >>> lamina.autograd.grad(g, x)[0]
        tensor(18.)
    """
    return _core._grad(outputs, inputs, grad_outputs, retain_graph, create_graph, allow_unused)


def __getattr__(name: str):
    if name in ("gradcheck", "gradgradcheck"):
        module = import_module("lamina.autograd.check")
        globals().update(gradcheck=module.gradcheck, gradgradcheck=module.gradgradcheck)
        return globals()[name]
    if name == "checkpoint":
        from lamina.autograd.recompute import checkpoint

        return checkpoint
    raise AttributeError(f"module 'lamina.autograd' has no attribute {name!r}")

"""checkpoint: forget what a function's tape holds and compute it again in backward: time for memory.

Griewank & Walther, ACM TOMS 2000.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lamina import _core
from lamina._core import Tensor
from lamina.autograd import Function, backward, enable_grad


class _Checkpoint(Function):
    @staticmethod
    def forward(ctx: Any, function: Callable, kwargs: dict, preserve_rng_state: bool, *args: Any) -> Any:
        ctx.function = function
        ctx.kwargs = kwargs
        ctx.rng_state = _core.get_rng_state() if preserve_rng_state else None
        ctx.where = [i for i, a in enumerate(args) if isinstance(a, Tensor)]
        ctx.rest = [None if isinstance(a, Tensor) else a for a in args]
        ctx.save_for_backward(*(args[i] for i in ctx.where))
        return function(*args, **kwargs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple:
        args = list(ctx.rest)
        for i, tensor in zip(ctx.where, ctx.saved_tensors, strict=True):
            args[i] = tensor.detach().requires_grad_(tensor.requires_grad)
        now = _core.get_rng_state() if ctx.rng_state is not None else None
        if ctx.rng_state is not None:  # dropout must drop the same elements again
            _core.set_rng_state(ctx.rng_state)
        try:
            with enable_grad():
                outputs = ctx.function(*args, **ctx.kwargs)
        finally:
            if now is not None:
                _core.set_rng_state(now)
        outputs = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
        pairs = [
            (out, grad)
            for out, grad in zip(outputs, grads, strict=True)
            if isinstance(out, Tensor) and out.requires_grad and grad is not None
        ]
        backward([out for out, _ in pairs], [grad for _, grad in pairs])
        return (None, None, None, *(a.grad if isinstance(a, Tensor) else None for a in args))


def checkpoint(function: Callable, *args: Any, preserve_rng_state: bool = True, **kwargs: Any) -> Any:
    """`function(*args, **kwargs)`, keeping only the inputs; backward runs the function again with its tape on.

    Parameters used inside get their gradients; at least one tensor among `args` must require a gradient.

    Args:
        preserve_rng_state: draw the same random numbers both times.
        use_reentrant: accepted for scripts written for PyTorch; there is one implementation.

    Example:
        >>> x = lamina.ones(3, requires_grad=True)
        >>> checkpoint(lambda t: (t * t).sum(), x).backward()
        >>> x.grad.tolist()
        [2.0, 2.0, 2.0]
    """
    kwargs.pop("use_reentrant", None)
    return _Checkpoint.apply(function, kwargs, preserve_rng_state, *args)


def checkpoint_sequential(functions: Any, segments: int, input: Any, **kwargs: Any) -> Any:
    """Run a sequence of modules in `segments` checkpointed parts; the last part keeps its tape."""
    functions = list(functions.children()) if hasattr(functions, "children") else list(functions)
    if not 1 <= segments <= len(functions):
        raise ValueError(f"checkpoint_sequential: {segments} segments for {len(functions)} functions")
    size = len(functions) // segments

    def run(start: int, end: int) -> Callable:
        def part(x: Any) -> Any:
            for function in functions[start:end]:
                x = function(x)
            return x

        return part

    for i in range(segments - 1):
        input = checkpoint(run(i * size, (i + 1) * size), input, **kwargs)
    return run((segments - 1) * size, len(functions))(input)

"""The slow path of Module.__call__: hooks, and layers that bring their own backward.

A module takes this path only after a hook was registered on it, or when its class defines `backward`.
Read module.py first; this file is what `_plain = False` leads to.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lamina import _core
from lamina._core import Tensor
from lamina.autograd import Function, RemovableHandle

if TYPE_CHECKING:
    from lamina.nn.module import Module

_next_id = itertools.count()


def add(table: dict[int, Any], entry: Any, prepend: bool = False) -> RemovableHandle:
    """Put a hook last (or first) into a table; the handle takes it out again."""
    key = next(_next_id)
    others = dict(table) if prepend else {}
    for other in others:
        del table[other]
    table[key] = entry
    table.update(others)
    return RemovableHandle(lambda: table.pop(key, None))


class HookTables:
    """The four hook tables of one module, created when its first hook is registered."""

    def __init__(self) -> None:
        self.forward_pre: dict[int, tuple[Callable, bool]] = {}
        self.forward: dict[int, tuple[Callable, bool, bool]] = {}
        self.backward_pre: dict[int, Callable] = {}
        self.backward: dict[int, Callable] = {}


def call(module: Module, args: tuple, kwargs: dict[str, Any]) -> Any:
    """Run `module.forward` between its hooks, in PyTorch's order."""
    hooks = module._hooks
    if hooks is None:
        return _forward(module, args, kwargs)
    finished = False
    result = None
    try:
        args, kwargs = _run_pre_hooks(module, hooks, args, kwargs)
        fence = _BackwardFence(module, hooks) if hooks.backward or hooks.backward_pre else None
        if fence:
            args = fence.around_inputs(args)
        result = _forward(module, args, kwargs)
        for hook, with_kwargs, _ in list(hooks.forward.values()):
            extra = (args, kwargs, result) if with_kwargs else (args, result)
            changed = hook(module, *extra)
            result = result if changed is None else changed
        finished = True
        return fence.around_outputs(result) if fence else result
    finally:
        if not finished:
            for hook, with_kwargs, always in list(hooks.forward.values()):
                if always:
                    hook(module, *((args, kwargs, result) if with_kwargs else (args, result)))


def _run_pre_hooks(module: Module, hooks: HookTables, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    for hook, with_kwargs in list(hooks.forward_pre.values()):
        if with_kwargs:
            changed = hook(module, args, kwargs)
            if changed is not None:
                args, kwargs = changed
        else:
            changed = hook(module, args)
            if changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
    return args, kwargs


# ---- hooks on gradients ------------------------------------------------------------------------------------------


class _Watch(Function):
    """The identity on several tensors; its backward hands their gradients to a callback."""

    @staticmethod
    def forward(ctx: Any, callback: Callable, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.callback = callback
        return tensors

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple:
        return (None, *ctx.callback(grads))


class _BackwardFence:
    """Two identity nodes, before and after a module, that see grad_input and grad_output of one call."""

    def __init__(self, module: Module, hooks: HookTables) -> None:
        self.module = module
        self.hooks = hooks
        self.grad_output: tuple = ()
        self.inputs_watched = False

    def around_inputs(self, args: tuple) -> tuple:
        where = [i for i, a in enumerate(args) if isinstance(a, Tensor)]
        if not (_core.is_grad_enabled() and any(args[i].requires_grad for i in where)):
            return args
        self.inputs_watched = True

        def arrived(grads: tuple) -> tuple:
            full: list = [None] * len(args)
            for i, grad in zip(where, grads, strict=True):
                full[i] = grad
            full_after = self._run(tuple(full))
            return tuple(full_after[i] for i in where)

        return _scatter(args, where, _Watch.apply(arrived, *(args[i] for i in where)))

    def around_outputs(self, result: Any) -> Any:
        single = isinstance(result, Tensor)
        outputs = (result,) if single else result
        if not isinstance(outputs, (tuple, list)):
            return result
        where = [i for i, o in enumerate(outputs) if isinstance(o, Tensor) and o.requires_grad]
        if not where:
            return result

        def arrived(grads: tuple) -> tuple:
            full: list = [None] * len(outputs)
            for i, grad in zip(where, grads, strict=True):
                full[i] = grad
            self.grad_output = tuple(full)
            for hook in list(self.hooks.backward_pre.values()):
                changed = hook(self.module, self.grad_output)
                if changed is not None:
                    self.grad_output = changed if isinstance(changed, tuple) else (changed,)
            if not self.inputs_watched:  # no gradient will arrive at the inputs: this is the last chance
                self._run((None,))
            return tuple(self.grad_output[i] for i in where)

        watched = _scatter(tuple(outputs), where, _Watch.apply(arrived, *(outputs[i] for i in where)))
        return watched[0] if single else type(result)(watched)

    def _run(self, grad_input: tuple) -> tuple:
        for hook in list(self.hooks.backward.values()):
            changed = hook(self.module, grad_input, self.grad_output)
            if changed is not None:
                changed = changed if isinstance(changed, tuple) else (changed,)
                if len(changed) != len(grad_input):
                    raise RuntimeError(
                        f"full_backward_hook: the hook returned {len(changed)} gradients, "
                        f"the module has {len(grad_input)} inputs; need one per input"
                    )
                grad_input = changed
        return grad_input


def _scatter(values: tuple, where: list[int], news: Any) -> tuple:
    out = list(values)
    for i, new in zip(where, news if isinstance(news, tuple) else (news,), strict=True):
        out[i] = new
    return tuple(out)


# ---- layers with their own backward ------------------------------------------------------------------------------


def _off_tape(value: Any) -> Any:
    """`value` with the tensors in it detached; lists, tuples and dictionaries are copied."""
    if isinstance(value, Tensor):
        return value.detach()
    if type(value) in (list, tuple):
        return type(value)(map(_off_tape, value))
    return {k: _off_tape(v) for k, v in value.items()} if type(value) is dict else value


class _OwnBackward(Function):
    """One node on the tape whose rule is `module.backward`."""

    @staticmethod
    def forward(ctx: Any, module: Module, kwargs: dict, n_args: int, *args: Any) -> Any:
        before = dict(vars(module))
        result = module.forward(*args[:n_args], **kwargs)
        # What forward stored on the module belongs to this call: a layer used twice must find each call's own.
        # It is kept off the tape, as an output would own the node that keeps it, and none of them would ever be freed.
        new = {k: v for k, v in vars(module).items() if before.get(k) is not v and k not in module._buffers}
        ctx.kept = {k: _off_tape(v) for k, v in new.items()}
        vars(module).update(ctx.kept)
        ctx.module = module
        ctx.shapes = [tuple(a.shape) if isinstance(a, Tensor) else None for a in args[:n_args]]
        ctx.n_parameters = len(args) - n_args
        return result

    @staticmethod
    def backward(ctx: Any, *grad_output: Tensor) -> tuple:
        module = ctx.module
        vars(module).update(ctx.kept)
        grads = module.backward(*grad_output)
        grads = grads if isinstance(grads, tuple) else (grads,)
        where = [i for i, shape in enumerate(ctx.shapes) if shape is not None]
        name = type(module).__name__
        if len(grads) != len(where):
            raise ValueError(
                f"{name}.backward: returned {len(grads)} gradients, forward took {len(where)} tensors; "
                "need one gradient (or None) per tensor"
            )
        full: list = [None] * len(ctx.shapes)
        for i, grad in zip(where, grads, strict=True):
            if grad is not None and tuple(grad.shape) != ctx.shapes[i]:
                raise ValueError(
                    f"{name}.backward: gradient {i} has shape {tuple(grad.shape)}, "
                    f"input {i} has {ctx.shapes[i]}; need equal shapes"
                )
            full[i] = grad
        return (None, None, None, *full, *[None] * ctx.n_parameters)


def _forward(module: Module, args: tuple, kwargs: dict[str, Any]) -> Any:
    if not hasattr(type(module), "backward") or not _core.is_grad_enabled():
        return module.forward(*args, **kwargs)
    # The parameters are inputs of the node only so that it is recorded when the data needs no gradient.
    return _OwnBackward.apply(module, kwargs, len(args), *args, *module.parameters())


# ---- the error path --------------------------------------------------------------------------------------------------


def add_path(error: Exception, module: Module) -> None:
    """Prefix an exception's message with the way to the failing layer: `in Sequential.2 (Linear): ...`.

    Called once per enclosing module, inside out, so the message is rebuilt with one more step each time.
    """
    trail = getattr(error, "_module_trail", None)
    if trail is None:
        if len(error.args) != 1 or not isinstance(error.args[0], str) or isinstance(error, KeyError):
            return  # not a plain message: leave it as it is
        trail = error._module_trail = [error.args[0]]  # type: ignore[attr-defined]
    trail.append(module)
    path = type(module).__name__
    for parent, child in zip(trail[:1:-1], trail[-2:0:-1], strict=True):
        names = [name for name, below in parent.named_modules() if below is child and name]
        path += "." + (names[0] if names else type(child).__name__)
    inner = f" ({type(trail[1]).__name__})" if len(trail) > 2 else ""
    error.args = (f"in {path}{inner}: {trail[0]}",)

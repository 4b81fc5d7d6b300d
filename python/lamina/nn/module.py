"""Module: the base of every layer and model.

Parameters, buffers and submodules live in the instance dictionary, so reading `self.weight` is an ordinary
attribute lookup; the three registries hold the same objects by name. `__call__` is one attribute test, then
`forward`; everything unusual (hooks, a hand-written backward) is in _hooks.py, state dictionaries in _state.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from lamina import _core
from lamina._core import Tensor
from lamina.autograd import RemovableHandle
from lamina.nn import _hooks, _state
from lamina.nn._hooks import HookTables
from lamina.nn.parameter import Parameter

Self = TypeVar("Self", bound="Module")


class Module(_state.StateDict):
    """Base of all layers: subclasses assign parameters and submodules, and define `forward`.

    A subclass that also defines `backward(self, grad_output)` is differentiated by it instead of by the tape:
    it returns the gradient of the (tensor) inputs of `forward`, and stores those of its own parameters
    in their `.grad`. What `forward` stored on `self` is there again when `backward` runs.

    Example:
        >>> class Net(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.fc = nn.Linear(4, 2)
        ...     def forward(self, x):
        ...         return self.fc(x).relu()
        >>> Net()(lamina.ones(3, 4)).shape
        (3, 2)
        >>> class Double(nn.Module):
        ...     def forward(self, x):
        ...         return 2 * x
        ...     def backward(self, grad_output):
        ...         return 2 * grad_output
        >>> x = lamina.ones(3, requires_grad=True)
        >>> Double()(x).sum().backward()
        >>> x.grad.tolist()
        [2.0, 2.0, 2.0]
    """

    training: bool = True
    _plain: bool = True  # no hooks and no hand-written backward: forward may be called directly
    _hooks: HookTables | None = None

    def __new__(cls: type[Self], *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls)
        fields = self.__dict__
        fields["_parameters"] = {}
        fields["_buffers"] = {}
        fields["_modules"] = {}
        fields["_non_persistent_buffers_set"] = set()
        return self

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if hasattr(cls, "backward"):
            cls._plain = False

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__}: forward is not defined; a Module needs a forward method")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            if self._plain:
                return self.forward(*args, **kwargs)
            return _hooks.call(self, args, kwargs)
        except Exception as error:
            _hooks.add_path(error, self)
            raise

    # ---- registering ---------------------------------------------------------------------------------------------

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter under `name`; None reserves the name (a layer without bias)."""
        self._check_name(name, self._parameters)
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(f"register_parameter: {name!r} is a {_type(param)}; need nn.Parameter or None")
        self._put(self._parameters, name, param)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that is saved and moved with the module but not trained."""
        self._check_name(name, self._buffers)
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(f"register_buffer: {name!r} is a {_type(tensor)}; need a Tensor or None")
        self._put(self._buffers, name, tensor)
        if not persistent:
            self._non_persistent_buffers_set.add(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a submodule under `name`."""
        self._check_name(name, self._modules)
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"add_module: {name!r} is a {_type(module)}; need an nn.Module or None")
        self._put(self._modules, name, module)

    register_module = add_module

    def _check_name(self, name: str, registry: dict[str, Any]) -> None:
        if not isinstance(name, str):
            raise TypeError(f"{type(self).__name__}: the name {name!r} is a {_type(name)}; need a str")
        if name == "" or "." in name:
            raise KeyError(f"{type(self).__name__}: the name {name!r} is empty or contains '.'")
        if hasattr(self, name) and name not in registry:
            raise KeyError(f"{type(self).__name__}: attribute {name!r} already exists")

    def _put(self, registry: dict[str, Any], name: str, value: Any) -> None:
        for other in (self._parameters, self._buffers, self._modules):
            if other is not registry:
                other.pop(name, None)
        self._non_persistent_buffers_set.discard(name)
        registry[name] = self.__dict__[name] = value

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Parameter):
            self._put(self._parameters, name, value)
        elif isinstance(value, Module):
            self._put(self._modules, name, value)
        elif name in self._parameters:
            if value is not None:
                raise TypeError(f"cannot assign a {_type(value)} as parameter {name!r}; need nn.Parameter or None")
            self._put(self._parameters, name, None)
        elif name in self._modules:
            if value is not None:
                raise TypeError(f"cannot assign a {_type(value)} as module {name!r}; need nn.Module or None")
            self._put(self._modules, name, None)
        elif name in self._buffers:
            if value is not None and not isinstance(value, Tensor):
                raise TypeError(f"cannot assign a {_type(value)} as buffer {name!r}; need Tensor or None")
            self._buffers[name] = self.__dict__[name] = value
        else:
            object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        for registry in (self._parameters, self._buffers, self._modules):
            registry.pop(name, None)
        self._non_persistent_buffers_set.discard(name)
        object.__delattr__(self, name)

    # ---- changing all of it --------------------------------------------------------------------------------------

    def apply(self: Self, fn: Callable[[Module], Any]) -> Self:
        """Call `fn` on every module, children first; returns self."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def _apply(self: Self, fn: Callable[[Tensor], Tensor]) -> Self:
        for child in self.children():
            child._apply(fn)
        for param in self._parameters.values():
            if param is not None:
                param.data = fn(param.data)
                if param.grad is not None:
                    param.grad = fn(param.grad.detach())
        for name, buffer in self._buffers.items():
            if buffer is not None:
                self._buffers[name] = self.__dict__[name] = fn(buffer)
        return self

    def to(self: Self, *args: Any, **kwargs: Any) -> Self:
        """Move or cast in place: `to(device)`, `to(dtype)`, `to(device, dtype)`, `to(tensor)`; integers stay.

        With `non_blocking=True`, copies from pinned memory are not waited for.
        """
        dtype, device, non_blocking = kwargs.get("dtype"), kwargs.get("device"), kwargs.get("non_blocking", False)
        for arg in args:
            if isinstance(arg, Tensor):
                dtype, device = arg.dtype, arg.device
            elif isinstance(arg, _core.dtype):
                dtype = arg
            elif isinstance(arg, bool):
                non_blocking = arg
            elif arg is not None:
                device = arg
        if dtype is not None and not dtype.is_floating_point:
            raise TypeError(f"Module.to: dtype is {dtype}; need a floating-point dtype")

        def convert(t: Tensor) -> Tensor:
            kept = t.dtype if dtype is None or not t.is_floating_point() else dtype
            return t.to(t.device if device is None else device, kept, non_blocking)

        return self._apply(convert)

    def float(self: Self) -> Self:
        return self.to(_core.float32)

    def double(self: Self) -> Self:
        return self.to(_core.float64)

    def half(self: Self) -> Self:
        return self.to(_core.float16)

    def bfloat16(self: Self) -> Self:
        return self.to(_core.bfloat16)

    def cpu(self: Self) -> Self:
        return self.to("cpu")

    def cuda(self: Self, device: Any = None) -> Self:
        """Move to a CUDA device: an index, `"cuda:1"`, or None for the current one."""
        return self.to(_core._cuda_device(device))

    def train(self: Self, mode: bool = True) -> Self:
        """Set training mode (dropout, batch norm) here and below; returns self."""
        if not isinstance(mode, bool):
            raise ValueError(f"train: mode is {mode!r}; need True or False")
        self.training = mode
        for child in self.children():
            child.train(mode)
        return self

    def eval(self: Self) -> Self:
        return self.train(False)

    def requires_grad_(self: Self, requires_grad: bool = True) -> Self:
        for param in self.parameters():
            param.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget (or zero) the gradients of all parameters."""
        for param in self.parameters():
            if param.grad is not None:
                param.grad = None if set_to_none else param.grad.detach().zero_()

    # ---- hooks ---------------------------------------------------------------------------------------------------

    def _hook_tables(self) -> HookTables:
        if self._hooks is None:
            self._hooks = HookTables()
            self._plain = False
        return self._hooks

    def register_forward_pre_hook(
        self, hook: Callable, *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, args)` before forward; a returned value replaces the arguments."""
        return _hooks.add(self._hook_tables().forward_pre, (hook, with_kwargs), prepend)

    def register_forward_hook(
        self, hook: Callable, *, prepend: bool = False, with_kwargs: bool = False, always_call: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, args, output)` after forward; a returned value replaces the output."""
        return _hooks.add(self._hook_tables().forward, (hook, with_kwargs, always_call), prepend)

    def register_full_backward_pre_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call `hook(module, grad_output)` before the module's gradients are computed; may replace grad_output."""
        return _hooks.add(self._hook_tables().backward_pre, hook, prepend)

    def register_full_backward_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call `hook(module, grad_input, grad_output)` once both are known; may replace grad_input."""
        return _hooks.add(self._hook_tables().backward, hook, prepend)

    # ---- showing -------------------------------------------------------------------------------------------------

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """What stands between the parentheses in repr; layers override it."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        children = [f"({name}): {_indent(repr(child))}" for name, child in self._modules.items()]
        if not children and len(lines) <= 1:
            return f"{self._get_name()}({extra})"
        return f"{self._get_name()}(\n  " + "\n  ".join(lines + children) + "\n)"


def _indent(text: str) -> str:
    return text.replace("\n", "\n  ")


def _type(value: object) -> str:
    return type(value).__name__

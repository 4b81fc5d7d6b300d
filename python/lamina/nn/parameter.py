"""Parameter: a leaf tensor that a Module registers when it is assigned as an attribute."""

from __future__ import annotations

from typing import Any

from lamina import _core
from lamina._core import Tensor


class Parameter(Tensor):
    """A tensor to be trained: `Module.__setattr__` recognises it and lists it in `parameters()`.

    Args:
        data: the initial values; the parameter shares their storage.
        requires_grad: whether gradients are collected.

    Example:
        >>> w = nn.Parameter(lamina.zeros(3, 2))
        >>> w.requires_grad
        True
    """

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> Parameter:
        if data is None:
            data = _core.empty(0)
        if not isinstance(data, Tensor):
            raise TypeError(f"Parameter: data is a {type(data).__name__}; need a Tensor")
        return Tensor._make_subclass(cls, data, requires_grad)

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.detach().clone(), self.requires_grad)
        return memo[id(self)]

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()

"""Pools with PyTorch's signatures: `return_indices` chooses between two native functions, None keeps a size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lamina import _core
from lamina._core import Tensor

avg_pool1d, avg_pool2d, avg_pool3d = _core.avg_pool1d, _core.avg_pool2d, _core.avg_pool3d


def _max_pool(name: str) -> Callable[..., Any]:
    values, values_and_indices = getattr(_core, name), getattr(_core, f"{name}_with_indices")

    def pool(
        input: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Any:
        """The maximum of every window; with return_indices also its position among the elements of its channel."""
        native = values_and_indices if return_indices else values
        return native(input, kernel_size, stride, padding, dilation, ceil_mode)

    pool.__name__ = pool.__qualname__ = name
    return pool


def _kept(input: Tensor, output_size: Any) -> Any:
    """`output_size` with the input's own sizes in place of None."""
    if isinstance(output_size, int) or all(size is not None for size in output_size):
        return output_size
    own = input.shape[-len(output_size) :]
    return tuple(n if size is None else size for size, n in zip(output_size, own, strict=True))


def _adaptive_avg_pool(name: str) -> Callable[..., Tensor]:
    native = getattr(_core, name)

    def pool(input: Tensor, output_size: Any) -> Tensor:
        """The average over output_size nearly equal windows; None in output_size keeps that size."""
        return native(input, _kept(input, output_size))

    pool.__name__ = pool.__qualname__ = name
    return pool


def _adaptive_max_pool(name: str) -> Callable[..., Any]:
    values, values_and_indices = getattr(_core, name), getattr(_core, f"{name}_with_indices")

    def pool(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
        """The maximum over output_size nearly equal windows; None in output_size keeps that size."""
        native = values_and_indices if return_indices else values
        return native(input, _kept(input, output_size))

    pool.__name__ = pool.__qualname__ = name
    return pool


max_pool1d, max_pool2d, max_pool3d = map(_max_pool, ("max_pool1d", "max_pool2d", "max_pool3d"))
adaptive_avg_pool1d = _adaptive_avg_pool("adaptive_avg_pool1d")
adaptive_avg_pool2d = _adaptive_avg_pool("adaptive_avg_pool2d")
adaptive_avg_pool3d = _adaptive_avg_pool("adaptive_avg_pool3d")
adaptive_max_pool1d = _adaptive_max_pool("adaptive_max_pool1d")
adaptive_max_pool2d = _adaptive_max_pool("adaptive_max_pool2d")
adaptive_max_pool3d = _adaptive_max_pool("adaptive_max_pool3d")

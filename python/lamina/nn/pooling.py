"""Pooling layers: maximum or average over windows, and adaptive forms that are given the output size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lamina._core import Tensor
from lamina.nn import functional as F
from lamina.nn._sizes import Size, as_tuple
from lamina.nn.module import Module


class _MaxPool(Module):
    _op: Callable[..., Any]

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        dilation: Size = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Any:
        return self._op(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        )

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPool):
    """The maximum of every window of (B, C, L).

    Args:
        kernel_size: the window; stride: its step (default: kernel_size).
        padding: implicit -inf on both sides; dilation: step inside the window.
        return_indices: also return where each maximum was.
        ceil_mode: keep a last window that is only partly inside.
    """

    _op = staticmethod(F.max_pool1d)


class MaxPool2d(_MaxPool):
    """The maximum of every window of (B, C, H, W); arguments as `MaxPool1d`.

    Example:
        >>> nn.MaxPool2d(2)(lamina.ones(1, 1, 4, 4)).shape
        (1, 1, 2, 2)
    """

    _op = staticmethod(F.max_pool2d)


class MaxPool3d(_MaxPool):
    """The maximum of every window of (B, C, D, H, W); arguments as `MaxPool1d`."""

    _op = staticmethod(F.max_pool3d)


class _AvgPool(Module):
    _op: Callable[..., Any]

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input: Tensor) -> Tensor:
        return self._op(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool1d(_AvgPool):
    """The average of every window of (B, C, L).

    Args:
        kernel_size: the window; stride: its step (default: kernel_size).
        padding: zeros on both sides; count_include_pad: whether they count in the divisor.
        ceil_mode: keep a last window that is only partly inside.
    """

    _op = staticmethod(F.avg_pool1d)

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        stride = kernel_size if stride is None else stride
        super().__init__(
            as_tuple(kernel_size, 1, "AvgPool1d: kernel_size"),
            as_tuple(stride, 1, "AvgPool1d: stride"),
            as_tuple(padding, 1, "AvgPool1d: padding"),
            ceil_mode,
            count_include_pad,
        )

    def forward(self, input: Tensor) -> Tensor:
        return self._op(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)


class AvgPool2d(_AvgPool):
    """The average of every window of (B, C, H, W); arguments as `AvgPool1d`.

    Args:
        divisor_override: divide by this instead of the window's size.
    """

    _op = staticmethod(F.avg_pool2d)


class AvgPool3d(_AvgPool):
    """The average of every window of (B, C, D, H, W); arguments as `AvgPool2d`."""

    _op = staticmethod(F.avg_pool3d)


class _AdaptiveAvgPool(Module):
    _op: Callable[..., Any]

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Tensor) -> Tensor:
        return self._op(input, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """Averages (B, C, L) over `output_size` nearly equal windows."""

    _op = staticmethod(F.adaptive_avg_pool1d)


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """Averages (B, C, H, W) down to `output_size` (an int or (H, W); None keeps a size)."""

    _op = staticmethod(F.adaptive_avg_pool2d)


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """Averages (B, C, D, H, W) down to `output_size`."""

    _op = staticmethod(F.adaptive_avg_pool3d)


class _AdaptiveMaxPool(Module):
    _op: Callable[..., Any]

    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__()
        self.output_size = output_size
        self.return_indices = return_indices

    def forward(self, input: Tensor) -> Any:
        return self._op(input, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """The maximum of (B, C, L) over `output_size` nearly equal windows."""

    _op = staticmethod(F.adaptive_max_pool1d)


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """The maximum of (B, C, H, W) over `output_size` windows."""

    _op = staticmethod(F.adaptive_max_pool2d)


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """The maximum of (B, C, D, H, W) over `output_size` windows."""

    _op = staticmethod(F.adaptive_max_pool3d)

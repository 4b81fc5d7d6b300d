"""Convolutions and transposed convolutions in 1, 2 and 3 dimensions: one base class, six thin layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from lamina import _core
from lamina._core import Tensor
from lamina.nn import functional as F
from lamina.nn import init
from lamina.nn._sizes import Size, as_tuple
from lamina.nn.module import Module
from lamina.nn.parameter import Parameter

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _Conv(Module):
    """What all convolutions share: checks, weight (out, in / groups, *kernel), bias (out), repr."""

    dims: int
    transposed = False
    _op: Callable[..., Tensor]
    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        output_padding: Size = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if groups <= 0 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"{name}: {in_channels} input and {out_channels} output channels do not divide into {groups} groups"
            )
        if padding_mode not in _PADDING_MODES:
            raise ValueError(f"{name}: padding_mode is {padding_mode!r}; need one of {_PADDING_MODES}")
        if isinstance(padding, str) and padding not in ("same", "valid"):
            raise ValueError(f"{name}: padding is {padding!r}; need a size, 'same' or 'valid'")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = as_tuple(kernel_size, self.dims, f"{name}: kernel_size")
        self.stride = as_tuple(stride, self.dims, f"{name}: stride")
        self.padding = padding if isinstance(padding, str) else as_tuple(padding, self.dims, f"{name}: padding")
        self.dilation = as_tuple(dilation, self.dims, f"{name}: dilation")
        self.output_padding = as_tuple(output_padding, self.dims, f"{name}: output_padding")
        self.groups = groups
        self.padding_mode = padding_mode
        if padding == "same" and self.stride != (1,) * self.dims:
            raise ValueError(f"{name}: padding is 'same' and stride is {self.stride}; 'same' needs stride 1")
        channels = (in_channels, out_channels // groups) if self.transposed else (out_channels, in_channels // groups)
        self.weight = Parameter(_core.empty(*channels, *self.kernel_size, device=device, dtype=dtype))
        self.register_parameter(
            "bias", Parameter(_core.empty(out_channels, device=device, dtype=dtype)) if bias else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        fan_in = math.prod(self.weight.shape[1:])
        if self.bias is not None and fan_in:
            init.uniform_(self.bias, -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in))

    def _padded(self, input: Tensor) -> Tensor:
        """`input` padded by hand: kernels pad with zeros only."""
        sides: list[int] = []
        for i in reversed(range(self.dims)):  # F.pad counts from the last dimension
            total = self.dilation[i] * (self.kernel_size[i] - 1) if self.padding == "same" else 0
            if isinstance(self.padding, str):
                sides += [total // 2, total - total // 2]
            else:
                sides += [self.padding[i]] * 2
        return F.pad(input, sides, mode=self.padding_mode)

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        none, ones = (0,) * self.dims, (1,) * self.dims
        if self.padding != none:
            text += f", padding={self.padding}"
        if self.dilation != ones:
            text += f", dilation={self.dilation}"
        if self.output_padding != none:
            text += f", output_padding={self.output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text


class _ConvForward(_Conv):
    """y[o] = bias[o] + sum over i of weight[o, i] * x[i], `*` being cross-correlation."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode,
            device=device, dtype=dtype,
        )  # fmt: skip

    def forward(self, input: Tensor) -> Tensor:
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            input, padding = self._padded(input), 0
        return self._op(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class Conv1d(_ConvForward):
    """Convolution over (B, C, L) with kernel (L,).

    Args:
        in_channels, out_channels: sizes of C before and after.
        kernel_size, stride, padding, dilation: an int, or one per dimension; padding also 'same' or 'valid'.
        groups: split the channels into independent convolutions.
        padding_mode: 'zeros', 'reflect', 'replicate' or 'circular'.
    """

    dims = 1
    _op = staticmethod(_core.conv1d)


class Conv2d(_ConvForward):
    """Convolution over (B, C, H, W) with kernel (H, W); arguments as `Conv1d`.

    Example:
        >>> nn.Conv2d(1, 8, 3, padding=1)(lamina.ones(2, 1, 5, 5)).shape
        (2, 8, 5, 5)
    """

    dims = 2
    _op = staticmethod(_core.conv2d)


class Conv3d(_ConvForward):
    """Convolution over (B, C, D, H, W); arguments as `Conv1d`."""

    dims = 3
    _op = staticmethod(_core.conv3d)


class _ConvTranspose(_Conv):
    """The gradient of a convolution with respect to its input, used as a layer that enlarges."""

    padding: tuple[int, ...]
    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        output_padding: Size = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Size = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if padding_mode != "zeros" or isinstance(padding, str):
            raise ValueError(
                f"{type(self).__name__}: padding is {padding!r}, padding_mode {padding_mode!r}; "
                "a transposed convolution needs sizes and 'zeros'"
            )
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias,
            output_padding=output_padding, device=device, dtype=dtype,
        )  # fmt: skip

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        extra = self.output_padding if output_size is None else self._output_padding(input, output_size)
        return self._op(input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation)

    def _output_padding(self, input: Tensor, output_size: list[int]) -> tuple[int, ...]:
        """The output padding that makes the result exactly `output_size` (its last `dims` entries)."""
        wanted = tuple(output_size)[-self.dims :]
        sizes = input.shape[-self.dims :]
        least = tuple(
            (n - 1) * s - 2 * p + d * (k - 1) + 1
            for n, s, p, d, k in zip(sizes, self.stride, self.padding, self.dilation, self.kernel_size, strict=True)
        )
        extra = tuple(w - n for w, n in zip(wanted, least, strict=True))
        if any(e < 0 or e >= s for e, s in zip(extra, self.stride, strict=True)):
            most = tuple(n + s - 1 for n, s in zip(least, self.stride, strict=True))
            raise ValueError(f"{type(self).__name__}: output_size is {wanted}; need one from {least} to {most}")
        return extra


class ConvTranspose1d(_ConvTranspose):
    """Transposed convolution over (B, C, L); weight is (in, out / groups, L)."""

    dims = 1
    _op = staticmethod(_core.conv_transpose1d)


class ConvTranspose2d(_ConvTranspose):
    """Transposed convolution over (B, C, H, W); weight is (in, out / groups, H, W)."""

    dims = 2
    _op = staticmethod(_core.conv_transpose2d)


class ConvTranspose3d(_ConvTranspose):
    """Transposed convolution over (B, C, D, H, W); weight is (in, out / groups, D, H, W)."""

    dims = 3
    _op = staticmethod(_core.conv_transpose3d)

"""Layers that change the shape: flatten, unflatten, pad, enlarge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lamina._core import Tensor
from lamina.nn import functional as F
from lamina.nn._sizes import Size, as_tuple
from lamina.nn.module import Module


class Flatten(Module):
    """Joins the dimensions from start_dim to end_dim.

    Example:
        >>> nn.Flatten()(lamina.ones(2, 3, 4)).shape
        (2, 12)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: Tensor) -> Tensor:
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Splits one dimension into several.

    Example:
        >>> nn.Unflatten(1, (3, 4))(lamina.ones(2, 12)).shape
        (2, 3, 4)
    """

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        super().__init__()
        self.dim = dim
        self.unflattened_size = tuple(unflattened_size)

    def forward(self, input: Tensor) -> Tensor:
        return input.unflatten(self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


class Upsample(Module):
    """Enlarges (B, C, ...) to `size` or by `scale_factor`.

    Args:
        mode: 'nearest', 'linear' (1 spatial dimension) or 'bilinear' (2).
        align_corners: for the linear modes, whether the corner elements keep their place.
    """

    def __init__(
        self,
        size: Size | None = None,
        scale_factor: float | Sequence[float] | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
    ) -> None:
        super().__init__()
        self.size = size
        self.scale_factor = float(scale_factor) if isinstance(scale_factor, int) else scale_factor
        self.mode = mode
        self.align_corners = align_corners

    def forward(self, input: Tensor) -> Tensor:
        return F.interpolate(input, self.size, self.scale_factor, self.mode, self.align_corners)

    def extra_repr(self) -> str:
        what = f"size={self.size}" if self.scale_factor is None else f"scale_factor={self.scale_factor}"
        return f"{what}, mode={self.mode!r}"


class PixelShuffle(Module):
    """(B, C r^2, H, W) -> (B, C, H r, W r). Shi et al., CVPR 2016."""

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        self.upscale_factor = upscale_factor

    def forward(self, input: Tensor) -> Tensor:
        return F.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """(B, C, H r, W r) -> (B, C r^2, H, W): the inverse of `PixelShuffle`."""

    def __init__(self, downscale_factor: int) -> None:
        super().__init__()
        self.downscale_factor = downscale_factor

    def forward(self, input: Tensor) -> Tensor:
        return F.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"


class _Pad(Module):
    dims: int
    mode: str

    def __init__(self, padding: Size) -> None:
        super().__init__()
        self.padding = as_tuple(padding, 2 * self.dims, f"{type(self).__name__}: padding")

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, mode=self.mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Pad):
    mode = "constant"

    def __init__(self, padding: Size, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, mode="constant", value=self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


def _family(base: type[Module], name: str, doc: str, **fields: Any) -> list[type[Module]]:
    """One class for each of 1, 2 and 3 dimensions."""
    return [
        type(f"{name}{d}d", (base,), {"__doc__": doc, "__module__": __name__, "dims": d, **fields}) for d in (1, 2, 3)
    ]


ConstantPad1d, ConstantPad2d, ConstantPad3d = _family(
    _ConstantPad, "ConstantPad", "Pads with a value; padding is an int or (left, right, top, bottom, ...)."
)
ReflectionPad1d, ReflectionPad2d, ReflectionPad3d = _family(
    _Pad, "ReflectionPad", "Pads with the mirror image, without repeating the border.", mode="reflect"
)
ReplicationPad1d, ReplicationPad2d, ReplicationPad3d = _family(
    _Pad, "ReplicationPad", "Pads by repeating the border.", mode="replicate"
)
CircularPad1d, CircularPad2d, CircularPad3d = _family(
    _Pad, "CircularPad", "Pads with the opposite side.", mode="circular"
)
ZeroPad1d, ZeroPad2d, ZeroPad3d = _family(_Pad, "ZeroPad", "Pads with zeros.", mode="constant")

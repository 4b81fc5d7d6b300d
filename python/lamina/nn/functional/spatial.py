"""Functions over images and signals: channel dropout, pixel shuffles, interpolation."""

from __future__ import annotations

from collections.abc import Sequence

from lamina import _core
from lamina._core import Tensor


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """y[..., o] = input1[..., i] weight[o, i, j] input2[..., j] + bias[o]"""
    lead = input1.shape[:-1]
    if lead != input2.shape[:-1] or input1.shape[-1] != weight.shape[1] or input2.shape[-1] != weight.shape[2]:
        raise ValueError(
            f"bilinear: inputs are {tuple(input1.shape)} and {tuple(input2.shape)}, weight {tuple(weight.shape)}; "
            "need (..., i), (..., j) and (o, i, j)"
        )
    out, i, j = weight.shape
    left = input1.reshape(-1, i) @ weight.permute(1, 0, 2).reshape(i, out * j)  # (B, i) @ (i, o j) -> (B, o j)
    y = (left.reshape(-1, out, j) * input2.reshape(-1, 1, j)).sum(-1).reshape(*lead, out)
    return y if bias is None else y + bias


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zeroes elements with probability p in training and scales the others by 1 / (1 - p)."""
    output = _core.dropout(input, p, training)
    return input.copy_(output) if inplace and training else output


def _mask(op: str, shape: Sequence[int], input: Tensor, p: float) -> Tensor:
    """1 with probability 1 - p, else 0."""
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"{op}: p is {p}; need a probability between 0 and 1")
    return _core.empty(*shape, dtype=input.dtype, device=input.device).bernoulli_(1 - p)


def _channel_dropout(op: str, input: Tensor, rank: int, p: float, training: bool, inplace: bool) -> Tensor:
    if input.dim() not in (rank - 1, rank):
        raise ValueError(f"{op}: input has {input.dim()} dimensions; need {rank - 1} or {rank}")
    channels = input.shape[: 2 if input.dim() == rank else 1]  # (B, C) or (C)
    mask = _mask(op, (*channels, *[1] * (rank - 2)), input, p)
    if not training:
        return input
    output = input * (mask / (1 - p) if p < 1 else mask)
    return input.copy_(output) if inplace else output


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zeroes whole channels of (B, C, L) or (C, L)."""
    return _channel_dropout("dropout1d", input, 3, p, training, inplace)


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zeroes whole channels of (B, C, H, W) or (C, H, W)."""
    return _channel_dropout("dropout2d", input, 4, p, training, inplace)


def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zeroes whole channels of (B, C, D, H, W) or (C, D, H, W)."""
    return _channel_dropout("dropout3d", input, 5, p, training, inplace)


def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Sets elements to SELU's lower limit, then an affine map restores mean and variance. Klambauer et al., 2017."""
    if not training or p == 0:
        return input
    limit = -1.7580993408473766  # -scale * alpha of SELU
    mask = _mask("alpha_dropout", input.shape, input, p)
    if p == 1:
        output = input * mask
    else:
        a = ((1 - p) * (1 + p * limit**2)) ** -0.5
        output = (input * mask + limit * (1 - mask)) * a - a * p * limit
    return input.copy_(output) if inplace else output


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """(..., C r^2, H, W) -> (..., C, H r, W r)"""
    r = upscale_factor
    if input.dim() < 3 or r <= 0 or input.shape[-3] % (r * r):
        raise ValueError(f"pixel_shuffle: input is {tuple(input.shape)}, factor {r}; need (..., C * {r * r}, H, W)")
    *lead, c, h, w = input.shape
    x = input.reshape(-1, c // (r * r), r, r, h, w).permute(
        0, 1, 4, 2, 5, 3
    )  # (B, C, r, r, H, W) -> (B, C, H, r, W, r)
    return x.reshape(*lead, c // (r * r), h * r, w * r)


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """(..., C, H r, W r) -> (..., C r^2, H, W)"""
    r = downscale_factor
    if input.dim() < 3 or r <= 0 or input.shape[-1] % r or input.shape[-2] % r:
        raise ValueError(f"pixel_unshuffle: input is {tuple(input.shape)}, factor {r}; need (..., C, H {r}, W {r})")
    *lead, c, h, w = input.shape
    x = input.reshape(-1, c, h // r, r, w // r, r).permute(0, 1, 3, 5, 2, 4)  # (B, C, H, r, W, r) -> (B, C, r, r, H, W)
    return x.reshape(*lead, c * r * r, h // r, w // r)


def interpolate(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """Resizes the spatial dimensions of (B, C, ...), one after the other.

    Args:
        size: the new sizes, or scale_factor: what to multiply the old ones by.
        mode: 'nearest', 'linear' (1 spatial dimension), 'bilinear' (2) or 'trilinear' (3).
    """
    dims = input.dim() - 2
    if dims < 1:
        raise ValueError(f"interpolate: input has {input.dim()} dimensions; need (B, C, ...) with at least 3")
    linear = {"linear": 1, "bilinear": 2, "trilinear": 3}
    if mode != "nearest" and linear.get(mode) != dims:
        raise ValueError(
            f"interpolate: mode is {mode!r} for {dims} spatial dimensions; need 'nearest' or the linear one"
        )
    if mode == "nearest" and align_corners is not None:
        raise ValueError(f"interpolate: align_corners is {align_corners} with mode 'nearest'; it needs a linear mode")
    if (size is None) == (scale_factor is None):
        raise ValueError(f"interpolate: size is {size}, scale_factor is {scale_factor}; need exactly one")
    given: float | Sequence[float] | None = size if scale_factor is None else scale_factor
    values = [given] * dims if isinstance(given, (int, float)) else list(given or ())
    if len(values) != dims:
        raise ValueError(f"interpolate: {len(values)} sizes or factors for {dims} spatial dimensions")
    for i, value in enumerate(values):
        dim, old = i + 2, input.shape[i + 2]
        new = int(value) if scale_factor is None else int(old * value)
        step = old / new if scale_factor is None else 1 / value  # the given factor, as PyTorch uses it
        if mode == "nearest":
            input = input.index_select(
                dim, (_core.arange(new, device=input.device) * step).to(_core.int64).clamp(max=old - 1)
            )
        else:
            input = _resize_linear(input, dim, new, step, bool(align_corners))
    return input


def _resize_linear(input: Tensor, dim: int, new: int, step: float, align_corners: bool) -> Tensor:
    old = input.shape[dim]
    place = _core.arange(new, device=input.device).to(input.dtype)
    if align_corners:
        source = place * ((old - 1) / (new - 1) if new > 1 else 0.0)
    else:
        source = ((place + 0.5) * step - 0.5).clamp(min=0)
    left = source.to(_core.int64).clamp(max=old - 1)
    right = (left + 1).clamp(max=old - 1)
    share = (source - left).reshape(-1, *[1] * (input.dim() - dim - 1))
    a, b = input.index_select(dim, left), input.index_select(dim, right)
    return a + (b - a) * share

"""Activations: native ones with an optional in-place form, and composed ones, one function each."""

from __future__ import annotations

from typing import Any

from lamina import _core
from lamina._core import Tensor

gelu = _core.gelu
softplus = _core.softplus
softsign = _core.softsign
sigmoid = _core.sigmoid
tanh = _core.tanh


def _finish(input: Tensor, output: Tensor, inplace: bool) -> Tensor:
    return input.copy_(output) if inplace else output


def _source(input: Tensor, inplace: bool) -> Tensor:
    """What to compute from: a copy when `input` is about to be overwritten, as the tape may have to keep it."""
    return input.clone() if inplace else input


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0)"""
    return _finish(input, _core.relu(_source(input, inplace)), inplace)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x where x > 0, else negative_slope * x."""
    return _finish(input, _core.leaky_relu(_source(input, inplace), negative_slope), inplace)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where x > 0, else alpha * (exp(x) - 1)."""
    return _finish(input, _core.elu(_source(input, inplace), alpha), inplace)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """ELU with the two constants that keep mean 0 and variance 1."""
    return _finish(input, _core.selu(_source(input, inplace)), inplace)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x * sigmoid(x)"""
    return _finish(input, _core.silu(_source(input, inplace)), inplace)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """x * tanh(softplus(x))"""
    return _finish(input, _core.mish(_source(input, inplace)), inplace)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """x * min(max(x + 3, 0), 6) / 6"""
    return _finish(input, _core.hardswish(_source(input, inplace)), inplace)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(x, 0), 6)"""
    return hardtanh(input, 0.0, 6.0, inplace)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """min(max(x, min_val), max_val)"""
    if min_val > max_val:
        raise ValueError(f"hardtanh: min_val is {min_val}, max_val is {max_val}; need min_val <= max_val")
    x = _source(input, inplace)
    inside = (x > min_val) & (x < max_val)  # the gradient is zero on the border
    return _finish(input, _core.where(inside, x, x.detach().clamp(min_val, max_val)), inplace)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(x + 3, 0), 6) / 6"""
    return _finish(input, relu6(_source(input, inplace) + 3.0) / 6.0, inplace)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """max(x, 0) + min(alpha * (exp(x / alpha) - 1), 0)"""
    if alpha == 0:
        raise ValueError(f"celu: alpha is {alpha}; need a number other than 0")
    x = _source(input, inplace)
    below = alpha * _core.expm1(x.clamp(max=0.0) / alpha)
    return _finish(input, _core.where(x > 0, x, below), inplace)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """x where x > threshold, else value."""
    x = _source(input, inplace)
    return _finish(input, _core.where(x > threshold, x, _core.full_like(x, value)), inplace)


def rrelu(
    input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False, inplace: bool = False
) -> Tensor:
    """Leaky ReLU with a slope drawn from [lower, upper) for each element in training, their mean otherwise."""
    if not training:
        return leaky_relu(input, (lower + upper) / 2, inplace)
    x = _source(input, inplace)
    slope = _core.empty_like(x).uniform_(lower, upper)
    return _finish(input, _core.where(x > 0, x, x * slope), inplace)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """x where x > 0, else weight * x; weight has one element or one per channel (dimension 1)."""
    channels = input.shape[1] if input.dim() > 1 else 1
    if weight.numel() not in (1, channels):
        raise ValueError(
            f"prelu: weight has {weight.numel()} elements, input {channels} channels; need 1 or {channels}"
        )
    if weight.numel() > 1:
        weight = weight.reshape(-1, *[1] * (input.dim() - 2))  # (C) -> (C, 1, 1), against (B, C, H, W)
    return _core.where(input > 0, input, weight * input)


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """The first half of `dim` times the sigmoid of the second half."""
    if input.dim() == 0 or input.shape[dim] % 2:
        size = input.shape[dim] if input.dim() else "missing"
        raise ValueError(f"glu: size of dimension {dim} is {size}; need an even size")
    a, b = input.chunk(2, dim)
    return a * _core.sigmoid(b)


def logsigmoid(input: Tensor) -> Tensor:
    """log(sigmoid(x)) = min(x, 0) - log(1 + exp(-|x|))"""
    return -_core.softplus(-input)


def tanhshrink(input: Tensor) -> Tensor:
    """x - tanh(x)"""
    return input - _core.tanh(input)


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x moved towards zero by lambd, zero inside [-lambd, lambd]."""
    if lambd < 0:
        raise ValueError(f"softshrink: lambd is {lambd}; need a number >= 0")
    return hardshrink(input, lambd) - lambd * _core.sign(input) * (input.abs() > lambd)


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x outside [-lambd, lambd], zero inside."""
    return _core.where(input.abs() > lambd, input, _core.zeros_like(input))


def _explicit(op: str, dim: int | None, rank: int) -> int:
    """PyTorch guesses a missing dim from the rank, with a warning; here it is an error."""
    if dim is None:
        raise ValueError(f"{op}: dim is None for an input of {rank} dimensions; need an int")
    return dim


def softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """exp(x) / sum(exp(x)) along dim."""
    return _core.softmax(input, _explicit("softmax", dim, input.dim()), dtype=dtype)


def log_softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """log(softmax(x)) along dim, without overflow."""
    return _core.log_softmax(input, _explicit("log_softmax", dim, input.dim()), dtype=dtype)


def softmin(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """softmax(-x) along dim."""
    return _core.softmax(-input, _explicit("softmin", dim, input.dim()), dtype=dtype)


def gumbel_softmax(logits: Tensor, tau: float = 1.0, hard: bool = False, dim: int = -1) -> Tensor:
    """A differentiable sample of a categorical distribution. Jang et al., ICLR 2017.

    Args:
        tau: temperature; hard: return one-hot vectors, with the gradient of the soft sample.
    """
    gumbels = -_core.empty_like(logits).exponential_().log()
    soft = _core.softmax((logits + gumbels) / tau, dim)
    if not hard:
        return soft
    best = soft.amax(dim, keepdim=True)
    first = (soft == best).to(soft.dtype)
    first = first * (first.cumsum(dim) == 1)  # ties: the first one only
    return first - soft.detach() + soft

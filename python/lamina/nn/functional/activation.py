"""Activations under PyTorch's names: rows of the operator table, with the optional in-place form; and composed ones."""

from __future__ import annotations

from collections.abc import Callable

from lamina import _core
from lamina._core import Tensor

gelu = _core.gelu
logsigmoid = _core.logsigmoid
softplus = _core.softplus
softsign = _core.softsign
softshrink = _core.softshrink
hardshrink = _core.hardshrink
tanhshrink = _core.tanhshrink
sigmoid = _core.sigmoid
tanh = _core.tanh
# Their dim is required: PyTorch guesses a missing one from the rank, with a warning.
softmax = _core.softmax
log_softmax = _core.log_softmax
softmin = _core.softmin


def _run(native: Callable[..., Tensor], inplace: bool, input: Tensor, *args: float) -> Tensor:
    """native(input, *args); inplace: written over `input`, computed from a copy, as the tape may keep what it read."""
    return input.copy_(native(input.clone(), *args)) if inplace else native(input, *args)


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0)"""
    return _run(_core.relu, inplace, input)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(x, 0), 6)"""
    return _run(_core.relu6, inplace, input)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x where x > 0, else negative_slope * x."""
    return _run(_core.leaky_relu, inplace, input, negative_slope)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where x > 0, else alpha * (exp(x) - 1)."""
    return _run(_core.elu, inplace, input, alpha)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """ELU with the two constants that keep mean 0 and variance 1."""
    return _run(_core.selu, inplace, input)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """max(x, 0) + min(alpha * (exp(x / alpha) - 1), 0)"""
    return _run(_core.celu, inplace, input, alpha)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x * sigmoid(x)"""
    return _run(_core.silu, inplace, input)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """x * tanh(softplus(x))"""
    return _run(_core.mish, inplace, input)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """x * min(max(x + 3, 0), 6) / 6"""
    return _run(_core.hardswish, inplace, input)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(x + 3, 0), 6) / 6"""
    return _run(_core.hardsigmoid, inplace, input)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """min(max(x, min_val), max_val)"""
    return _run(_core.hardtanh, inplace, input, min_val, max_val)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """x where x > threshold, else value."""
    return _run(_core.threshold, inplace, input, threshold, value)


def rrelu(
    input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False, inplace: bool = False
) -> Tensor:
    """Leaky ReLU with a slope drawn from [lower, upper) for each element in training, their mean otherwise."""
    if not training:
        return leaky_relu(input, (lower + upper) / 2, inplace)
    slope = _core.empty_like(input).uniform_(lower, upper)
    return _run(lambda x: _core.where(x > 0, x, x * slope), inplace, input)


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

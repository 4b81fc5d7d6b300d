"""Filling tensors with initial values, in place and off the tape. Names and defaults are PyTorch's."""

from __future__ import annotations

import math

from lamina import _core
from lamina._core import Generator, Tensor
from lamina.autograd import no_grad

_CONVOLUTIONS = {f"conv{t}{d}d" for t in ("", "_transpose") for d in (1, 2, 3)}
_GAINS = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5.0 / 3, "relu": math.sqrt(2.0), "selu": 3.0 / 4}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which weights grow so that `nonlinearity` keeps the variance of its input.

    Example:
        >>> round(nn.init.calculate_gain("relu"), 4)
        1.4142
    """
    if nonlinearity in _CONVOLUTIONS:
        return 1.0
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, (int, float)):
            raise ValueError(f"calculate_gain: negative_slope is {slope!r}; need a number")
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity not in _GAINS:
        known = sorted(_GAINS.keys() | {"leaky_relu"})
        raise ValueError(f"calculate_gain: nonlinearity is {nonlinearity!r}; need one of {known} or a convolution")
    return _GAINS[nonlinearity]


def _fans(op: str, tensor: Tensor) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight stored as (out, in, *kernel)."""
    if tensor.dim() < 2:
        raise ValueError(f"{op}: tensor has {tensor.dim()} dimensions; need at least 2 to know fan_in and fan_out")
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def _fan(op: str, tensor: Tensor, mode: str) -> int:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"{op}: mode is {mode!r}; need 'fan_in' or 'fan_out'")
    return _fans(op, tensor)[mode == "fan_out"]


@no_grad()
def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Uniform in [a, b)."""
    return tensor.uniform_(a, b, generator=generator)


@no_grad()
def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Normal with the given mean and standard deviation."""
    return tensor.normal_(mean, std, generator=generator)


@no_grad()
def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:
    """Normal, redrawn outside [a, b]: uniform between the two tail probabilities, then the inverse of the CDF."""
    if not std > 0 or a > b:
        raise ValueError(f"trunc_normal_: std is {std}, a is {a}, b is {b}; need std > 0 and a <= b")
    lower, upper = (math.erf((edge - mean) / std / math.sqrt(2.0)) for edge in (a, b))
    tensor.uniform_(lower, upper, generator=generator)
    tensor.copy_(_core.erfinv(tensor)).mul_(std * math.sqrt(2.0)).add_(mean)
    return tensor.clamp_(a, b)


@no_grad()
def constant_(tensor: Tensor, val: float) -> Tensor:
    """Every element `val`."""
    return tensor.fill_(val)


def ones_(tensor: Tensor) -> Tensor:
    """Every element 1."""
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Every element 0."""
    return constant_(tensor, 0.0)


@no_grad()
def eye_(tensor: Tensor) -> Tensor:
    """The identity matrix, so that a linear layer starts as the identity."""
    if tensor.dim() != 2:
        raise ValueError(f"eye_: tensor has {tensor.dim()} dimensions; need 2")
    return tensor.copy_(_core.eye(*tensor.shape))


@no_grad()
def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """The identity of a convolution (out, in, *kernel): channel i of each group passes through unchanged."""
    if tensor.dim() not in (3, 4, 5):
        raise ValueError(f"dirac_: tensor has {tensor.dim()} dimensions; need 3, 4 or 5")
    out_channels, in_channels, *kernel = tensor.shape
    if out_channels % groups:
        raise ValueError(f"dirac_: {out_channels} output channels do not divide into {groups} groups")
    per_group = out_channels // groups
    tensor.zero_()
    middle = tuple(k // 2 for k in kernel)
    for group in range(groups):
        for i in range(min(per_group, in_channels)):
            one = (group * per_group + i, i, *middle)
            tensor[one] = 1.0
    return tensor


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Uniform with variance gain^2 * 2 / (fan_in + fan_out). Glorot & Bengio, AISTATS 2010."""
    bound = gain * math.sqrt(6.0 / sum(_fans("xavier_uniform_", tensor)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Normal with variance gain^2 * 2 / (fan_in + fan_out). Glorot & Bengio, AISTATS 2010."""
    std = gain * math.sqrt(2.0 / sum(_fans("xavier_normal_", tensor)))
    return normal_(tensor, 0.0, std, generator)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Uniform with variance gain^2 / fan. He et al., ICCV 2015.

    Args:
        a: slope of the leaky ReLU that follows (used with nonlinearity 'leaky_relu' only).
        mode: 'fan_in' keeps the variance in the forward pass, 'fan_out' in the backward pass.
    """
    std = calculate_gain(nonlinearity, a) / math.sqrt(max(1, _fan("kaiming_uniform_", tensor, mode)))
    bound = math.sqrt(3.0) * std
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Normal with variance gain^2 / fan; see `kaiming_uniform_`."""
    std = calculate_gain(nonlinearity, a) / math.sqrt(max(1, _fan("kaiming_normal_", tensor, mode)))
    return normal_(tensor, 0.0, std, generator)


@no_grad()
def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """A random (semi-)orthogonal matrix over (out, everything else). Saxe et al., ICLR 2014."""
    import numpy as np

    if tensor.dim() < 2:
        raise ValueError(f"orthogonal_: tensor has {tensor.dim()} dimensions; need at least 2")
    rows = tensor.shape[0]
    columns = math.prod(tensor.shape[1:])
    if rows * columns == 0:
        return tensor
    gaussian = _core.empty(max(rows, columns), min(rows, columns)).normal_(0, 1, generator=generator)
    q, r = np.linalg.qr(gaussian.numpy())
    q = q * np.sign(np.diagonal(r))  # makes the distribution uniform over the orthogonal group
    q = q.T if rows < columns else q
    return tensor.copy_(_core.tensor(q.tolist()).reshape(tensor.shape)).mul_(gain)


@no_grad()
def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Generator | None = None) -> Tensor:
    """Normal, with the share `sparsity` of every column set to zero. Martens, ICML 2010."""
    if tensor.dim() != 2:
        raise ValueError(f"sparse_: tensor has {tensor.dim()} dimensions; need 2")
    rows, columns = tensor.shape
    zeros = math.ceil(sparsity * rows)
    tensor.normal_(0, std, generator=generator)
    for column in range(columns):
        tensor[_core.randperm(rows, generator=generator)[:zeros], column] = 0.0
    return tensor

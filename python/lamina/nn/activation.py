"""Activation layers: each one a formula of nn.functional with its constants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lamina import _core
from lamina._core import Tensor
from lamina.nn import functional as F
from lamina.nn import init
from lamina.nn.module import Module
from lamina.nn.parameter import Parameter


class _Activation(Module):
    """An activation whose constants are instance attributes named in `constants`, passed to `_op` in that order."""

    constants: tuple[str, ...] = ()
    _op: Callable[..., Tensor]

    def forward(self, input: Tensor) -> Tensor:
        return self._op(input, *[getattr(self, name) for name in self.constants])

    def extra_repr(self) -> str:
        shown = [name for name in self.constants if name != "inplace"]
        parts = [f"{name}={getattr(self, name)!r}" for name in shown]
        return ", ".join([*parts, "inplace=True"] if getattr(self, "inplace", False) else parts)


class _Plain(_Activation):
    """An activation without constants."""

    def forward(self, input: Tensor) -> Tensor:
        return self._op(input)


class Sigmoid(_Plain):
    """1 / (1 + exp(-x))"""

    _op = staticmethod(_core.sigmoid)


class Tanh(_Plain):
    """The hyperbolic tangent."""

    _op = staticmethod(_core.tanh)


class Softsign(_Plain):
    """x / (1 + |x|)"""

    _op = staticmethod(_core.softsign)


class LogSigmoid(_Plain):
    """log(sigmoid(x)), without overflow."""

    _op = staticmethod(F.logsigmoid)


class Tanhshrink(_Plain):
    """x - tanh(x)"""

    _op = staticmethod(F.tanhshrink)


class _Inplace(_Activation):
    """An activation without constants that may overwrite its input."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return self._op(input, inplace=True) if self.inplace else self._op(input)


class ReLU(_Inplace):
    """max(x, 0)

    Example:
        >>> nn.ReLU()(lamina.tensor([-1.0, 2.0])).tolist()
        [0.0, 2.0]
    """

    _op = staticmethod(F.relu)
    _fast = staticmethod(_core.relu)

    def forward(self, input: Tensor) -> Tensor:
        return F.relu(input, inplace=True) if self.inplace else self._fast(input)


class ReLU6(_Inplace):
    """min(max(x, 0), 6)"""

    _op = staticmethod(F.relu6)


class SELU(_Inplace):
    """Self-normalizing ELU. Klambauer et al., NeurIPS 2017."""

    _op = staticmethod(F.selu)


class SiLU(_Inplace):
    """x * sigmoid(x)"""

    _op = staticmethod(F.silu)


class Mish(_Inplace):
    """x * tanh(softplus(x)). Misra, BMVC 2020."""

    _op = staticmethod(F.mish)


class Hardswish(_Inplace):
    """x * min(max(x + 3, 0), 6) / 6. Howard et al., ICCV 2019."""

    _op = staticmethod(F.hardswish)


class Hardsigmoid(_Inplace):
    """min(max(x + 3, 0), 6) / 6"""

    _op = staticmethod(F.hardsigmoid)


class LeakyReLU(_Activation):
    """x where x > 0, else negative_slope * x."""

    constants = ("negative_slope", "inplace")
    _op = staticmethod(F.leaky_relu)

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope = negative_slope
        self.inplace = inplace


class ELU(_Activation):
    """x where x > 0, else alpha * (exp(x) - 1). Clevert et al., ICLR 2016."""

    constants = ("alpha", "inplace")
    _op = staticmethod(F.elu)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace


class CELU(ELU):
    """max(x, 0) + min(alpha * (exp(x / alpha) - 1), 0)"""

    _op = staticmethod(F.celu)


class GELU(_Activation):
    """x * P(N(0, 1) <= x); approximate='tanh' for the older formula. Hendrycks & Gimpel, 2016."""

    constants = ("approximate",)
    _op = staticmethod(F.gelu)

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, input: Tensor) -> Tensor:
        return F.gelu(input, approximate=self.approximate)


class Softplus(_Activation):
    """log(1 + exp(beta x)) / beta; x itself where beta x > threshold."""

    constants = ("beta", "threshold")
    _op = staticmethod(F.softplus)

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = beta
        self.threshold = threshold


class Hardtanh(_Activation):
    """min(max(x, min_val), max_val)"""

    constants = ("min_val", "max_val", "inplace")
    _op = staticmethod(F.hardtanh)

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        if not min_val < max_val:
            raise ValueError(f"Hardtanh: min_val is {min_val}, max_val is {max_val}; need min_val < max_val")
        self.min_val = min_val
        self.max_val = max_val
        self.inplace = inplace


class Threshold(_Activation):
    """x where x > threshold, else value."""

    constants = ("threshold", "value", "inplace")
    _op = staticmethod(F.threshold)

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__()
        self.threshold = threshold
        self.value = value
        self.inplace = inplace


class Softshrink(_Activation):
    """x moved towards zero by lambd, zero inside [-lambd, lambd]."""

    constants = ("lambd",)
    _op = staticmethod(F.softshrink)

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def extra_repr(self) -> str:
        return str(self.lambd)


class Hardshrink(Softshrink):
    """x outside [-lambd, lambd], zero inside."""

    _op = staticmethod(F.hardshrink)


class RReLU(Module):
    """Leaky ReLU with a random slope in training and the middle slope in eval mode. Xu et al., 2015."""

    def __init__(self, lower: float = 1.0 / 8, upper: float = 1.0 / 3, inplace: bool = False) -> None:
        super().__init__()
        self.lower = lower
        self.upper = upper
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"lower={self.lower}, upper={self.upper}" + (", inplace=True" if self.inplace else "")


class PReLU(Module):
    """Leaky ReLU whose slope is a parameter, one for all or one per channel. He et al., ICCV 2015."""

    weight: Parameter

    def __init__(self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.num_parameters = num_parameters
        self.init = init
        self.weight = Parameter(_core.empty(num_parameters, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        init.constant_(self.weight, self.init)

    def forward(self, input: Tensor) -> Tensor:
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class GLU(_Activation):
    """The first half of `dim` times the sigmoid of the second half. Dauphin et al., ICML 2017."""

    constants = ("dim",)
    _op = staticmethod(F.glu)

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim


class Softmax(_Activation):
    """exp(x) / sum(exp(x)) along dim.

    Example:
        >>> nn.Softmax(dim=0)(lamina.zeros(4)).tolist()
        [0.25, 0.25, 0.25, 0.25]
    """

    constants = ("dim",)
    _op = staticmethod(F.softmax)

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim


class LogSoftmax(Softmax):
    """log(softmax(x)) along dim, without overflow."""

    _op = staticmethod(F.log_softmax)


class Softmin(Softmax):
    """softmax(-x) along dim."""

    _op = staticmethod(F.softmin)


class Softmax2d(Module):
    """Softmax over the channels of (B, C, H, W) or (C, H, W)."""

    def forward(self, input: Tensor) -> Tensor:
        if input.dim() not in (3, 4):
            raise ValueError(f"Softmax2d: input has {input.dim()} dimensions; need 3 or 4")
        return _core.softmax(input, -3)

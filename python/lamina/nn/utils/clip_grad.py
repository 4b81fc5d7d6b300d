"""Limiting gradients before the optimizer's step: all of them in a few launches, without waiting for the device."""

from __future__ import annotations

from collections.abc import Iterable

from lamina import _core
from lamina._core import Tensor


def _gradients(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    parameters = [parameters] if isinstance(parameters, Tensor) else parameters
    return [p.grad for p in parameters if p.grad is not None]


def get_total_norm(
    tensors: Tensor | Iterable[Tensor],
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The p-norm of all tensors taken together, on the device of the first.

    Args:
        tensors: usually gradients. None of them: 0.
        norm_type: p, also ``inf`` and ``-inf``.
        error_if_nonfinite: raise RuntimeError for inf and NaN; this waits for the device.
        foreach: for PyTorch's sake; all tensors are read at once either way.
    """
    total = _core.total_norm([tensors] if isinstance(tensors, Tensor) else list(tensors), float(norm_type))
    if error_if_nonfinite and not bool(_core.isfinite(total)):
        raise RuntimeError(f"clip_grad_norm_: the total norm of order {norm_type} is {total.item()}; need it finite")
    return total


def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Scale all gradients by ``max_norm / (total_norm + 1e-6)``, where that is below 1."""
    _core.scale_by_norm_(_gradients(parameters), total_norm, float(max_norm))


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale all gradients by one factor so that their total norm is at most max_norm; returns the norm before.

    Example:
        >>> w = nn.Parameter(lamina.zeros(2))
        >>> w.grad = lamina.tensor([3.0, 4.0])
        >>> nn.utils.clip_grad_norm_([w], 1.0).item()
        5.0
    """
    gradients = _gradients(parameters)
    total = get_total_norm(gradients, norm_type, error_if_nonfinite)
    _core.scale_by_norm_(gradients, total, float(max_norm))
    return total


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None) -> None:
    """Clamp every gradient to [-clip_value, clip_value]."""
    clip_value = float(clip_value)
    _core.clamp_all_(_gradients(parameters), -clip_value, clip_value)

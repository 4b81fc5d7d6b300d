"""Limiting gradients before the optimizer's step."""

from __future__ import annotations

from collections.abc import Iterable

from lamina import _core
from lamina._core import Tensor
from lamina.autograd import no_grad


def _gradients(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    parameters = [parameters] if isinstance(parameters, Tensor) else parameters
    return [p.grad for p in parameters if p.grad is not None]


@no_grad()
def get_total_norm(tensors: Iterable[Tensor], norm_type: float = 2.0, error_if_nonfinite: bool = False) -> Tensor:
    """The p-norm of all tensors taken together."""
    norms = [t.norm(norm_type) for t in tensors]
    total = _core.stack(norms).norm(norm_type) if norms else _core.tensor(0.0)
    if error_if_nonfinite and not bool(_core.isfinite(total)):
        raise RuntimeError(f"clip_grad_norm_: the total norm of order {norm_type} is {total.item()}; need it finite")
    return total


@no_grad()
def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scale all gradients by one factor so that their total norm is at most max_norm; returns the norm before.

    Example:
        >>> w = nn.Parameter(lamina.zeros(2))
        >>> w.grad = lamina.tensor([3.0, 4.0])
        >>> nn.utils.clip_grad_norm_([w], 1.0).item()
        5.0
    """
    grads = _gradients(parameters)
    total = get_total_norm(grads, norm_type, error_if_nonfinite)
    factor = (max_norm / (total + 1e-6)).clamp(max=1.0)
    for grad in grads:
        grad.mul_(factor.to(grad.dtype))
    return total


@no_grad()
def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Clamp every gradient to [-clip_value, clip_value]."""
    for grad in _gradients(parameters):
        grad.clamp_(-clip_value, clip_value)

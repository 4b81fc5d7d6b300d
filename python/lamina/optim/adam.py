"""Adam and AdamW: one native step, differing in where the weight decay enters."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from lamina import _core
from lamina._core import Tensor
from lamina.optim.optimizer import Optimizer, fill_state

_STATE = ("exp_avg", "exp_avg_sq", "step")
_STATE_AMSGRAD = (*_STATE, "max_exp_avg_sq")


class Adam(Optimizer):
    """Steps scaled by running averages of the gradient and of its square. Kingma & Ba, ICLR 2015.

        m = b1 m + (1 - b1) g        v = b2 v + (1 - b2) g^2
        p -= lr m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps)

    Args:
        params: parameters or groups of them.
        betas: b1 and b2.
        weight_decay: added to the gradient as weight_decay * p; with decoupled_weight_decay p shrinks instead.
        amsgrad: divide by the largest v so far. Reddi et al., ICLR 2018.
        maximize: go uphill.
        foreach, fused: accepted for scripts written for PyTorch; every step here is one fused call.

    Example:
        >>> w = nn.Parameter(lamina.ones(2))
        >>> (w * w).sum().backward()
        >>> optim.Adam([w], lr=0.5).step()
        >>> [round(v, 4) for v in w.tolist()]
        [0.5, 0.5]
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

    def _init_state(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        fill_state(p, state, ["exp_avg", "exp_avg_sq"] + ["max_exp_avg_sq"] * group["amsgrad"])

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = self._loss(closure)
        for i, group in enumerate(self.param_groups):
            amsgrad = group["amsgrad"]
            plan = self._plan(i, group, _STATE_AMSGRAD if amsgrad else _STATE)
            beta1, beta2 = group["betas"]
            _core.adam_step_(
                plan.params,
                *plan.columns,
                *(() if amsgrad else ([],)),
                group["lr"],
                beta1,
                beta2,
                group["eps"],
                group["weight_decay"],
                group["decoupled_weight_decay"],
                group["maximize"],
            )
        return loss


class AdamW(Adam):
    """Adam whose weight decay shrinks the parameters directly: p -= lr weight_decay p. Loshchilov & Hutter, ICLR 2019.

    Args:
        weight_decay: the share, times lr, by which parameters shrink per step.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize, decoupled_weight_decay=True)

"""RMSprop: steps divided by a running root mean square of the gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from lamina import _core
from lamina._core import Tensor
from lamina.optim.optimizer import Optimizer, fill_state

_STATE = ("square_avg", "step", "grad_avg", "momentum_buffer")


class RMSprop(Optimizer):
    """v = alpha v + (1 - alpha) g^2;  p -= lr g / (sqrt(v) + eps). Hinton, lecture 6 of Neural Networks, 2012.

    Args:
        params: parameters or groups of them.
        alpha: how slowly the average of squares forgets.
        momentum: accumulate the scaled gradient in a buffer b = momentum b + g / (sqrt(v) + eps).
        centered: subtract the square of the average gradient from v. Graves, 2013.
        foreach, fused: accepted for scripts written for PyTorch; every step here is one fused call.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _init_state(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        names = ["square_avg"] + ["grad_avg"] * group["centered"] + ["momentum_buffer"] * (group["momentum"] > 0)
        fill_state(p, state, names)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = self._loss(closure)
        for i, group in enumerate(self.param_groups):
            plan = self._plan(i, group, _STATE)
            square_avgs, steps, grad_avgs, buffers = plan.columns
            _core.rmsprop_step_(
                plan.params,
                square_avgs,
                steps,
                grad_avgs if group["centered"] else [],
                buffers if group["momentum"] else [],
                group["lr"],
                group["alpha"],
                group["eps"],
                group["weight_decay"],
                group["momentum"],
                group["maximize"],
            )
        return loss

"""Stochastic gradient descent, with momentum, Nesterov's form and weight decay."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from lamina import _core
from lamina.optim.optimizer import Optimizer


class SGD(Optimizer):
    """p -= lr * d, where d = g + weight_decay p, or the momentum buffer b = momentum b + (1 - dampening) d.

    Args:
        params: parameters or groups of them.
        lr: step size; a tensor on the device for captured steps, see ``lamina.cuda.graph``.
        momentum: 0 for none; the first step takes b = d.
        nesterov: step along d + momentum b. Sutskever et al., ICML 2013.
        maximize: go uphill.
        foreach, fused: accepted for scripts written for PyTorch; every step here is one fused call.

    Example:
        >>> w = nn.Parameter(lamina.ones(2))
        >>> (w * w).sum().backward()
        >>> optim.SGD([w], lr=0.25).step()
        >>> w.tolist()
        [0.5, 0.5]
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _check_options(self, group: dict[str, Any]) -> None:
        super()._check_options(group)
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueError(
                f"SGD: nesterov with momentum {group['momentum']} and dampening {group['dampening']}; "
                "need a positive momentum and dampening 0"
            )

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = self._loss(closure)
        for i, group in enumerate(self.param_groups):
            plan = self._plan(i, group, ("momentum_buffer",))
            buffers = plan.columns[0]
            momentum = group["momentum"]
            _core.sgd_step_(
                plan.params,
                buffers if momentum else [],
                group["lr"],
                momentum,
                group["dampening"],
                group["weight_decay"],
                group["nesterov"],
                group["maximize"],
            )
            if momentum and plan.incomplete:  # the native step put new buffers where there were none
                for p, buffer in zip(plan.params, buffers, strict=True):
                    self.state[p]["momentum_buffer"] = buffer
                plan.incomplete = any(buffer is None for buffer in buffers)
        return loss

"""Optimizers written in Python over tensor operators, one parameter at a time: clear rather than fast.

Each class gives its formula in `_update`; `g` is the gradient after `maximize` and weight decay.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from lamina import _core
from lamina._core import Tensor
from lamina.autograd import no_grad
from lamina.optim.optimizer import Optimizer


class _Composed(Optimizer):
    """Calls `_update` for every parameter with a gradient, creating its state on first use."""

    zeros: tuple[str, ...] = ()  # state that starts as zeros of the parameter's shape

    @no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = self._loss(closure)
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["step"] = 0
                    self._init_state(p, state, group)
                state["step"] = int(state["step"]) + 1
                self._update(p, self._gradient(p, p.grad, group), state, group)
        return loss

    def _init_state(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        for name in self.zeros:
            state[name] = _core.zeros_like(p)

    def _gradient(self, p: Tensor, grad: Tensor, group: dict[str, Any]) -> Tensor:
        g = -grad if group["maximize"] else grad
        if group.get("decoupled_weight_decay"):
            p.mul_(1 - group["lr"] * group["weight_decay"])
        elif group["weight_decay"]:
            g = g.add(p, alpha=group["weight_decay"])
        return g

    def _update(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        raise NotImplementedError(f"{self._name()}: _update is not defined")


class Adagrad(_Composed):
    """Divides by the root of the sum of all squared gradients so far. Duchi et al., JMLR 2011."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _init_state(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        state["sum"] = _core.full_like(p, group["initial_accumulator_value"])

    def _update(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        lr = group["lr"] / (1 + (state["step"] - 1) * group["lr_decay"])
        state["sum"].addcmul_(g, g)
        p.addcdiv_(g, state["sum"].sqrt().add_(group["eps"]), value=-lr)


class Adadelta(_Composed):
    """Steps in the parameter's own units: the ratio of two running root mean squares. Zeiler, 2012."""

    zeros = ("square_avg", "acc_delta")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, defaults)

    def _update(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        rho, eps = group["rho"], group["eps"]
        square_avg, acc_delta = state["square_avg"], state["acc_delta"]
        square_avg.mul_(rho).addcmul_(g, g, value=1 - rho)
        delta = (acc_delta + eps).sqrt_().div_((square_avg + eps).sqrt_()).mul_(g)
        acc_delta.mul_(rho).addcmul_(delta, delta, value=1 - rho)
        p.add_(delta, alpha=-group["lr"])


class Adamax(_Composed):
    """Adam with the infinity norm in place of the second moment. Kingma & Ba, ICLR 2015, section 7."""

    zeros = ("exp_avg", "exp_inf")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, defaults)

    def _update(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        state["exp_avg"].lerp_(g, 1 - beta1)
        state["exp_inf"].copy_(_core.maximum(state["exp_inf"] * beta2, g.abs() + group["eps"]))
        p.addcdiv_(state["exp_avg"], state["exp_inf"], value=-group["lr"] / (1 - beta1 ** state["step"]))


class _Moments(_Composed):
    """Keeps Adam's two averages, of the gradient and of its square."""

    zeros = ("exp_avg", "exp_avg_sq")

    def _average(self, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> tuple[float, float]:
        """Takes g into both averages and returns betas."""
        beta1, beta2 = group["betas"]
        state["exp_avg"].lerp_(g, 1 - beta1)
        state["exp_avg_sq"].mul_(beta2).addcmul_(g, g, value=1 - beta2)
        return beta1, beta2


class NAdam(_Moments):
    """Adam with Nesterov's look-ahead. Dozat, ICLR workshop 2016."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _init_state(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        super()._init_state(p, state, group)
        state["mu_product"] = 1.0

    def _update(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        beta1, beta2 = self._average(g, state, group)
        step, lr = state["step"], group["lr"]
        mu = beta1 * (1 - 0.5 * 0.96 ** (step * group["momentum_decay"]))
        mu_next = beta1 * (1 - 0.5 * 0.96 ** ((step + 1) * group["momentum_decay"]))
        product = state["mu_product"] = float(state["mu_product"]) * mu
        denominator = (state["exp_avg_sq"] / (1 - beta2**step)).sqrt_().add_(group["eps"])
        p.addcdiv_(g, denominator, value=-lr * (1 - mu) / (1 - product))
        p.addcdiv_(state["exp_avg"], denominator, value=-lr * mu_next / (1 - product * mu_next))


class RAdam(_Moments):
    """Adam that waits for a reliable second moment before dividing by it. Liu et al., ICLR 2020."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _update(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        beta1, beta2 = self._average(g, state, group)
        step = state["step"]
        average = state["exp_avg"] / (1 - beta1**step)
        longest = 2 / (1 - beta2) - 1  # the length of the average of squares, in the limit and now
        length = longest - 2 * step * beta2**step / (1 - beta2**step)
        if length > 5:
            shrink = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
            root = state["exp_avg_sq"].sqrt().add_(group["eps"])
            average = average * math.sqrt((1 - beta2**step) * shrink) / root
        p.add_(average, alpha=-group["lr"])


class Rprop(_Composed):
    """Step sizes of their own for every element, from signs of gradients only. Riedmiller & Braun, 1993."""

    zeros = ("prev",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50.0),
        *,
        maximize: bool = False,
    ) -> None:
        if not 0 < etas[0] < 1 < etas[1]:
            raise ValueError(f"Rprop: etas is {etas}; need 0 < etas[0] < 1 < etas[1]")
        defaults = {"lr": lr, "etas": etas, "step_sizes": step_sizes, "weight_decay": 0.0, "maximize": maximize}
        super().__init__(params, defaults)

    def _init_state(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        super()._init_state(p, state, group)
        state["step_size"] = _core.full_like(p, group["lr"])

    def _update(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        less, more = group["etas"]
        agreement = g * state["prev"]
        one = _core.ones_like(g)
        factor = _core.where(agreement > 0, one * more, _core.where(agreement < 0, one * less, one))
        state["step_size"].mul_(factor).clamp_(*group["step_sizes"])
        g = _core.where(agreement < 0, _core.zeros_like(g), g)  # after a change of sign: no step, no memory
        p.sub_(_core.sign(g) * state["step_size"])
        state["prev"].copy_(g)

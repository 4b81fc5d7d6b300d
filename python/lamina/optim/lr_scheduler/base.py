"""LRScheduler, and the schedules that multiply the base learning rate by a factor of the epoch.

A schedule that gives `factor(epoch)` gets both forms from it: the closed one, base_lr * factor(epoch), and the
chainable one, lr * factor(epoch) / factor(epoch - 1), which lets several schedules act on one optimizer.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from lamina._core import Tensor
from lamina.optim.optimizer import Optimizer


def read_lr(group: dict[str, Any]) -> float:
    """The learning rate of a parameter group as a number."""
    lr = group["lr"]
    return lr.item() if isinstance(lr, Tensor) else lr


def write_lr(group: dict[str, Any], lr: float) -> None:
    """Sets it: in place if it is a tensor, where a captured step finds it."""
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(lr)
    else:
        group["lr"] = lr


class LRScheduler:
    """Base of all schedules: counts epochs and writes `lr` into the optimizer's groups.

    Args:
        optimizer: whose groups to change; each remembers its first lr as 'initial_lr'.
        last_epoch: the epoch to resume after, -1 to start.
    """

    optimizer: Optimizer
    base_lrs: list[float]
    last_epoch: int

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(self).__name__}: optimizer is a {type(optimizer).__name__}; need an Optimizer")
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", read_lr(group))
            elif "initial_lr" not in group:
                raise KeyError(f"{type(self).__name__}: group {i} has no 'initial_lr' to resume at epoch {last_epoch}")
        self.optimizer = optimizer
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self.step()

    def get_lr(self) -> list[float]:
        """The next learning rates, computed from the current ones."""
        raise NotImplementedError(f"{type(self).__name__}: get_lr is not defined")

    def closed_form(self) -> list[float]:
        """The learning rates of epoch `last_epoch` whatever came before; by default the chainable ones."""
        return self.get_lr()

    def step(self, epoch: int | None = None) -> None:
        """Go to the next epoch, or to a given one."""
        if epoch is None:
            self.last_epoch += 1
            self._write(self.get_lr())
        else:
            self.last_epoch = epoch
            self._write(self.closed_form())

    def _current(self) -> list[float]:
        return [read_lr(group) for group in self.optimizer.param_groups]

    def _write(self, lrs: Sequence[float]) -> None:
        for group, lr in zip(self.optimizer.param_groups, lrs, strict=True):
            write_lr(group, lr)
        self._last_lr = list(lrs)

    def get_last_lr(self) -> list[float]:
        """The learning rates written last."""
        return self._last_lr

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer, and functions, which cannot be saved."""
        return {k: v for k, v in self.__dict__.items() if k != "optimizer" and not _holds_functions(v)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.__dict__.update(state_dict)


def _holds_functions(value: Any) -> bool:
    return callable(value) or (isinstance(value, list) and any(map(callable, value)))


class FactorLR(LRScheduler):
    """A schedule given by `factor(epoch)`, one number for all groups."""

    def factor(self, epoch: int) -> float:
        raise NotImplementedError(f"{type(self).__name__}: factor is not defined")

    def get_lr(self) -> list[float]:
        now = self.factor(self.last_epoch)
        before = self.factor(self.last_epoch - 1) if self.last_epoch > 0 else 1.0
        if now == before:
            return self._current()
        if before == 0:  # nothing left to scale: start again from the base
            return self.closed_form()
        return [lr * (now / before) for lr in self._current()]

    def closed_form(self) -> list[float]:
        return [base * self.factor(self.last_epoch) for base in self.base_lrs]


class StepLR(FactorLR):
    """Multiplies lr by gamma every step_size epochs."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        self.step_size = _positive("StepLR", "step_size", step_size)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def factor(self, epoch: int) -> float:
        return self.gamma ** (epoch // self.step_size)


class MultiStepLR(FactorLR):
    """Multiplies lr by gamma at each of the milestones."""

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        if not isinstance(milestones, Iterable):
            raise TypeError(f"MultiStepLR: milestones is a {type(milestones).__name__}; need a list of epochs")
        self.milestones = sorted(milestones)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def factor(self, epoch: int) -> float:
        return self.gamma ** bisect_right(self.milestones, epoch)


class ExponentialLR(FactorLR):
    """Multiplies lr by gamma every epoch."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def factor(self, epoch: int) -> float:
        return self.gamma**epoch


class ConstantLR(FactorLR):
    """Multiplies lr by `factor` for the first total_iters epochs."""

    def __init__(
        self, optimizer: Optimizer, factor: float = 1.0 / 3, total_iters: int = 5, last_epoch: int = -1
    ) -> None:
        if not 0 <= factor <= 1:
            raise ValueError(f"ConstantLR: factor is {factor}; need a number between 0 and 1")
        self.start_factor = factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def factor(self, epoch: int) -> float:
        return self.start_factor if epoch < self.total_iters else 1.0


class LinearLR(FactorLR):
    """Moves the factor of lr from start_factor to end_factor over total_iters epochs: a warm-up."""

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < start_factor <= 1:
            raise ValueError(f"LinearLR: start_factor is {start_factor}; need a number in (0, 1]")
        if not 0 <= end_factor <= 1:
            raise ValueError(f"LinearLR: end_factor is {end_factor}; need a number between 0 and 1")
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = _positive("LinearLR", "total_iters", total_iters)
        super().__init__(optimizer, last_epoch)

    def factor(self, epoch: int) -> float:
        done = min(epoch, self.total_iters) / self.total_iters
        return self.start_factor + (self.end_factor - self.start_factor) * done


class PolynomialLR(FactorLR):
    """Lets lr fall to zero as (1 - epoch / total_iters) ** power."""

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1) -> None:
        self.total_iters = _positive("PolynomialLR", "total_iters", total_iters)
        self.power = power
        super().__init__(optimizer, last_epoch)

    def factor(self, epoch: int) -> float:
        return (1 - min(epoch, self.total_iters) / self.total_iters) ** self.power


def _positive(op: str, name: str, value: Any) -> Any:
    if not isinstance(value, (int, float)) or not value > 0:
        raise ValueError(f"{op}: {name} is {value!r}; need a number above 0")
    return value


def _per_group(op: str, values: Any, optimizer: Optimizer) -> list[Any]:
    """One value for all groups, or one for each."""
    if not hasattr(optimizer, "param_groups"):
        raise TypeError(f"{op}: optimizer is a {type(optimizer).__name__}; need an Optimizer")
    n = len(optimizer.param_groups)
    if not isinstance(values, (list, tuple)):
        return [values] * n
    if len(values) != n:
        raise ValueError(f"{op}: {len(values)} values for {n} parameter groups; need 1 or {n}")
    return list(values)


def _functions(op: str, functions: Any, optimizer: Optimizer) -> list[Callable[[int], float]]:
    for function in (out := _per_group(op, functions, optimizer)):
        if not callable(function):
            raise TypeError(f"{op}: lr_lambda is a {type(function).__name__}; need a function of the epoch")
    return out


class LambdaLR(LRScheduler):
    """lr = initial_lr * lr_lambda(epoch); one function, or one per group.

    Example:
        >>> opt = optim.SGD([nn.Parameter(lamina.ones(1))], lr=0.5)
        >>> schedule = optim.lr_scheduler.LambdaLR(opt, lambda epoch: 0.5 ** epoch)
        >>> schedule.step()
        >>> schedule.get_last_lr()
        [0.25]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | list[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        self.lr_lambdas = _functions("LambdaLR", lr_lambda, optimizer)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [base * fn(self.last_epoch) for base, fn in zip(self.base_lrs, self.lr_lambdas, strict=True)]


class MultiplicativeLR(LRScheduler):
    """Multiplies lr by lr_lambda(epoch) every epoch; one function, or one per group."""

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | list[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        self.lr_lambdas = _functions("MultiplicativeLR", lr_lambda, optimizer)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return self._current()
        return [lr * fn(self.last_epoch) for lr, fn in zip(self._current(), self.lr_lambdas, strict=True)]

"""Cosine-shaped and cyclic schedules."""

from __future__ import annotations

import math
from typing import Any

from lamina.optim.lr_scheduler.base import LRScheduler, _per_group, _positive
from lamina.optim.optimizer import Optimizer


class CosineAnnealingLR(LRScheduler):
    """lr falls from its base to eta_min along half a cosine in T_max epochs, and rises again after.

    Args:
        T_max: epochs from the top to the bottom. Loshchilov & Hutter, ICLR 2017.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self.T_max = _positive("CosineAnnealingLR", "T_max", T_max)
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def _height(self, epoch: int) -> float:
        return (1 + math.cos(math.pi * epoch / self.T_max)) / 2

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return self._current()
        before = self._height(self.last_epoch - 1)
        if (self.last_epoch - 1 - self.T_max) % (2 * self.T_max) == 0:  # at the bottom there is nothing to scale
            rise = self._height(self.last_epoch)
            return [lr + (base - self.eta_min) * rise for lr, base in zip(self._current(), self.base_lrs, strict=True)]
        ratio = self._height(self.last_epoch) / before
        return [(lr - self.eta_min) * ratio + self.eta_min for lr in self._current()]

    def closed_form(self) -> list[float]:
        height = self._height(self.last_epoch)
        return [self.eta_min + (base - self.eta_min) * height for base in self.base_lrs]


class CosineAnnealingWarmRestarts(LRScheduler):
    """Cosine annealing that starts again at the top after T_0, then T_0 T_mult, ... epochs.

    Args:
        T_0: epochs of the first period; T_mult: by how much each period is longer than the one before.
    """

    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        if not isinstance(T_0, int) or T_0 <= 0:
            raise ValueError(f"CosineAnnealingWarmRestarts: T_0 is {T_0!r}; need a positive int")
        if not isinstance(T_mult, int) or T_mult < 1:
            raise ValueError(f"CosineAnnealingWarmRestarts: T_mult is {T_mult!r}; need an int >= 1")
        self.T_0 = T_0
        self.T_i = T_0
        self.T_mult = T_mult
        self.T_cur: float = last_epoch
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def step(self, epoch: float | None = None) -> None:
        """Go to the next epoch, or to a given one, which may be a fraction (epoch + batch / batches)."""
        epoch = self.last_epoch + 1 if epoch is None else epoch
        if epoch < 0:
            raise ValueError(f"CosineAnnealingWarmRestarts: epoch is {epoch}; need a number >= 0")
        self.T_i, self.T_cur = self.T_0, epoch
        while self.T_cur >= self.T_i:
            self.T_cur -= self.T_i
            self.T_i *= self.T_mult
        self.last_epoch = math.floor(epoch)
        self._write(self.get_lr())

    def get_lr(self) -> list[float]:
        height = (1 + math.cos(math.pi * self.T_cur / self.T_i)) / 2
        return [self.eta_min + (base - self.eta_min) * height for base in self.base_lrs]


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2.0 * (1 + math.cos(math.pi * share))


def _linear(start: float, end: float, share: float) -> float:
    return start + (end - start) * share


class OneCycleLR(LRScheduler):
    """One rise to max_lr and one long fall; call `step` after every batch. Smith & Topin, 2018.

    Args:
        max_lr: the peak, one for all groups or one for each.
        total_steps: how many steps there will be, or give epochs and steps_per_epoch.
        pct_start: the share of steps spent rising.
        anneal_strategy: 'cos' or 'linear'.
        cycle_momentum: move the momentum (or the first beta) the opposite way, between base_ and max_momentum.
        div_factor: lr starts at max_lr / div_factor; final_div_factor: it ends lower by this factor again.
        three_phase: fall to the first lr symmetrically, then on to the last.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        if total_steps is None and epochs and steps_per_epoch:
            total_steps = epochs * steps_per_epoch
        if not isinstance(total_steps, int) or total_steps <= 0:
            raise ValueError(
                f"OneCycleLR: total_steps is {total_steps!r}, epochs {epochs!r}, steps_per_epoch {steps_per_epoch!r}; "
                "need a positive total_steps, or epochs and steps_per_epoch"
            )
        if not 0 <= pct_start <= 1:
            raise ValueError(f"OneCycleLR: pct_start is {pct_start}; need a number between 0 and 1")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"OneCycleLR: anneal_strategy is {anneal_strategy!r}; need 'cos' or 'linear'")
        self.total_steps = total_steps
        self.anneal_strategy = anneal_strategy
        self.cycle_momentum = cycle_momentum
        up = float(pct_start * total_steps) - 1
        # each phase: (its last step, lr from and to, momentum from and to)
        if three_phase:
            down = float(2 * pct_start * total_steps) - 2
            self.phases = [
                (up, "initial_lr", "max_lr", "max_momentum", "base_momentum"),
                (down, "max_lr", "initial_lr", "base_momentum", "max_momentum"),
                (total_steps - 1, "initial_lr", "min_lr", "max_momentum", "max_momentum"),
            ]
        else:
            self.phases = [
                (up, "initial_lr", "max_lr", "max_momentum", "base_momentum"),
                (total_steps - 1, "max_lr", "min_lr", "base_momentum", "max_momentum"),
            ]
        if last_epoch == -1:
            peaks = _per_group("OneCycleLR: max_lr", max_lr, optimizer)
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                first = peak / div_factor
                group.update(lr=first, initial_lr=first, max_lr=peak, min_lr=first / final_div_factor)
            if cycle_momentum:
                self._start_momentum(optimizer, base_momentum, max_momentum)
        super().__init__(optimizer, last_epoch)

    def _start_momentum(self, optimizer: Optimizer, base: Any, highest: Any) -> None:
        bases = _per_group("OneCycleLR: base_momentum", base, optimizer)
        tops = _per_group("OneCycleLR: max_momentum", highest, optimizer)
        for group, low, high in zip(optimizer.param_groups, bases, tops, strict=True):
            if "momentum" not in group and "betas" not in group:
                raise ValueError("OneCycleLR: cycle_momentum needs an optimizer with momentum or betas")
            group.update(base_momentum=low, max_momentum=high)
            self._write_momentum(group, high)

    def _write_momentum(self, group: dict[str, Any], value: float) -> None:
        if "betas" in group:
            group["betas"] = (value, *group["betas"][1:])
        else:
            group["momentum"] = value

    def get_lr(self) -> list[float]:
        step = self.last_epoch
        if step > self.total_steps:
            raise ValueError(f"OneCycleLR: this is step {step}; total_steps is {self.total_steps}")
        between = _cosine if self.anneal_strategy == "cos" else _linear
        lrs = []
        for group in self.optimizer.param_groups:
            start = 0.0
            for i, (end, lr_from, lr_to, momentum_from, momentum_to) in enumerate(self.phases):
                if step <= end or i == len(self.phases) - 1:
                    share = (step - start) / (end - start)
                    lrs.append(between(group[lr_from], group[lr_to], share))
                    if self.cycle_momentum:
                        self._write_momentum(group, between(group[momentum_from], group[momentum_to], share))
                    break
                start = end
        return lrs


class CyclicLR(LRScheduler):
    """lr goes up and down between base_lr and max_lr; call `step` after every batch. Smith, WACV 2017.

    Args:
        step_size_up, step_size_down: batches of the rise and of the fall (default: as the rise).
        mode: 'triangular', 'triangular2' (half the height each cycle) or 'exp_range' (height times gamma ** step).
        cycle_momentum: move the momentum the opposite way.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | list[float],
        max_lr: float | list[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        cycle_momentum: bool = True,
        base_momentum: float = 0.8,
        max_momentum: float = 0.9,
        last_epoch: int = -1,
    ) -> None:
        if mode not in ("triangular", "triangular2", "exp_range"):
            raise ValueError(f"CyclicLR: mode is {mode!r}; need 'triangular', 'triangular2' or 'exp_range'")
        self.max_lrs = _per_group("CyclicLR: max_lr", max_lr, optimizer)
        self.total_size = step_size_up + (step_size_up if step_size_down is None else step_size_down)
        self.step_ratio = step_size_up / self.total_size
        self.mode = mode
        self.gamma = gamma
        self.cycle_momentum = cycle_momentum
        self.base_momentum = base_momentum
        self.max_momentum = max_momentum
        if last_epoch == -1:
            bases = _per_group("CyclicLR: base_lr", base_lr, optimizer)
            for group, base in zip(optimizer.param_groups, bases, strict=True):
                group.update(lr=base, initial_lr=base)
                if cycle_momentum and "momentum" not in group and "betas" not in group:
                    raise ValueError("CyclicLR: cycle_momentum needs an optimizer with momentum or betas")
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        place = 1.0 + self.last_epoch / self.total_size - cycle
        share = place / self.step_ratio if place <= self.step_ratio else (place - 1) / (self.step_ratio - 1)
        scale = {"triangular": 1.0, "triangular2": 0.5 ** (cycle - 1), "exp_range": self.gamma**self.last_epoch}
        height = share * scale[self.mode]
        if self.cycle_momentum:
            momentum = self.max_momentum - (self.max_momentum - self.base_momentum) * height
            for group in self.optimizer.param_groups:
                if "betas" in group:
                    group["betas"] = (momentum, *group["betas"][1:])
                else:
                    group["momentum"] = momentum
        return [base + (top - base) * height for base, top in zip(self.base_lrs, self.max_lrs, strict=True)]

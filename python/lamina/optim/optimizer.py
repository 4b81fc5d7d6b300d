"""Optimizer: parameter groups, per-parameter state, and the bookkeeping every algorithm shares.

The frequent algorithms hand whole groups to one native step: `_plan` keeps, per group, the parameters that ever had
a gradient and their state as parallel lists, so a step costs one native call. The others (composed.py) loop in Python.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from lamina import _core
from lamina._core import Tensor
from lamina.autograd import enable_grad


class Plan:
    """One group's active parameters with their state, as parallel lists; `idle` ones never had a gradient yet."""

    def __init__(self, source: list[Tensor], state: dict, names: tuple[str, ...]) -> None:
        self.source = source
        self.state = state
        self.size = len(source)
        self.idle = [p for p in source if p.grad is None and not state.get(p)]
        self.params = [p for p in source if p.grad is not None or state.get(p)]
        self.columns = [[state[p].get(name) for p in self.params] for name in names]
        self.incomplete = any(value is None for column in self.columns for value in column)

    def fits(self, source: list[Tensor], state: dict) -> bool:
        """Whether nobody replaced the lists, and no idle parameter received its first gradient."""
        if source is not self.source or len(source) != self.size or state is not self.state:
            return False
        return not self.idle or all(p.grad is None for p in self.idle)


class Optimizer:
    """Base of all optimizers.

    Args:
        params: parameters, (name, parameter) pairs, or dictionaries with a list under 'params' and options of
            their own for that group.
        defaults: the options of groups that do not give their own.
    """

    state: dict[Tensor, dict[str, Any]]
    param_groups: list[dict[str, Any]]

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor) or not isinstance(params, Iterable):
            kind = "Tensor" if isinstance(params, Tensor) else type(params).__name__
            raise TypeError(f"{self._name()}: params is a {kind}; need an iterable of tensors or dictionaries")
        self.defaults = defaults
        self.state = defaultdict(dict)
        self.param_groups = []
        self._plans: list[Plan | None] = []
        groups = list(params)
        if not groups:
            raise ValueError(f"{self._name()}: got an empty parameter list; need at least one parameter")
        for group in groups if isinstance(groups[0], dict) else [{"params": groups}]:
            self.add_param_group(group)

    def _name(self) -> str:
        return type(self).__name__

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group: {'params': [...], option: value, ...}; options not given come from the defaults."""
        if not isinstance(param_group, dict):
            raise TypeError(f"add_param_group: the group is a {type(param_group).__name__}; need a dict")
        group = dict(param_group)
        if "params" not in group:
            raise ValueError(f"add_param_group: the group has the keys {sorted(group)}; need 'params'")
        params = group["params"]
        if isinstance(params, (set, frozenset)):
            raise TypeError("add_param_group: params is a set, whose order changes between runs; need a list")
        params = [params] if isinstance(params, Tensor) else list(params)
        if params and isinstance(params[0], tuple):
            group["param_names"] = [name for name, _ in params]
            params = [p for _, p in params]
        known = {id(p) for other in self.param_groups for p in other["params"]}
        for p in params:
            self._check_parameter(p, known)
            known.add(id(p))
        group["params"] = params
        for option, value in self.defaults.items():
            group.setdefault(option, value)
            if group[option] is REQUIRED:
                raise ValueError(f"{self._name()}: a parameter group has no {option!r}; need one")
        self._check_options(group)
        self.param_groups.append(group)
        self._plans.append(None)

    def _check_parameter(self, p: Any, known: set[int]) -> None:
        if not isinstance(p, Tensor):
            raise TypeError(f"{self._name()}: a parameter is a {type(p).__name__}; need a Tensor")
        if not p.is_leaf:
            raise ValueError(f"{self._name()}: can't optimize a non-leaf tensor of shape {tuple(p.shape)}")
        if id(p) in known:
            raise ValueError(f"{self._name()}: a parameter of shape {tuple(p.shape)} appears twice; need each once")

    def _check_options(self, group: dict[str, Any]) -> None:
        """Refuse option values that cannot work; a bound is (option, lowest, exclusive highest)."""
        bounds: list[tuple[str, float, float | None]] = [
            ("lr", 0, None),
            ("eps", 0, None),
            ("weight_decay", 0, None),
            ("momentum", 0, None),
        ]
        bounds += [("alpha", 0, None), ("rho", 0, 1), ("lr_decay", 0, None), ("initial_accumulator_value", 0, None)]
        bounds += [("momentum_decay", 0, None)]
        checks: list[tuple] = [(option, group[option], low, high) for option, low, high in bounds if option in group]
        betas = group.get("betas", (0.0, 0.0))
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            raise ValueError(f"{self._name()}: betas is {betas!r}; need two numbers")
        checks += [(f"betas[{i}]", beta, 0, 1) for i, beta in enumerate(group.get("betas", ()))]
        for option, value, low, high in checks:
            if not isinstance(value, (int, float, Tensor)):
                raise TypeError(f"{self._name()}: {option} is {value!r}, a {type(value).__name__}; need a number")
            if not (value >= low and (high is None or value < high)):
                need = f">= {low}" if high is None else f"in [{low}, {high})"
                raise ValueError(f"{self._name()}: {option} is {value}; need a number {need}")

    # ---- the step ------------------------------------------------------------------------------------------------

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters; a closure recomputes the loss first, which is returned."""
        raise NotImplementedError(f"{self._name()}: step is not defined; an Optimizer needs a step method")

    def _loss(self, closure: Callable[[], Any] | None) -> Any:
        if closure is None:
            return None
        with enable_grad():
            return closure()

    def _plan(self, index: int, group: dict[str, Any], names: tuple[str, ...]) -> Plan:
        plan = self._plans[index]
        if plan is None or not plan.fits(group["params"], self.state):
            for p in group["params"]:
                if p.grad is not None:
                    self._init_state(p, self.state[p], group)
            plan = self._plans[index] = Plan(group["params"], self.state, names)
        return plan

    def _init_state(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """Fill the state of a parameter that has its first gradient; must leave an existing state alone."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget (or zero) the gradients of all parameters."""
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none:
                    p.grad = None
                elif p.grad is not None:
                    p.grad = p.grad.detach().zero_()

    # ---- saving --------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """{'state': {index: state}, 'param_groups': [options, 'params': indices]}, indices in order of the groups."""
        index: dict[Tensor, int] = {}
        groups = []
        for group in self.param_groups:
            for p in group["params"]:
                index.setdefault(p, len(index))
            packed = {option: value for option, value in group.items() if option != "params"}
            groups.append(packed | {"params": [index[p] for p in group["params"]]})
        return {"state": {index[p]: dict(s) for p, s in self.state.items() if p in index}, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over state and options; state tensors are copied and get the dtype of their parameters."""
        if not isinstance(state_dict, dict) or not {"state", "param_groups"} <= state_dict.keys():
            have = sorted(state_dict) if isinstance(state_dict, dict) else f"a {type(state_dict).__name__}"
            raise ValueError(f"load_state_dict: got {have}; need a dictionary of 'state' and 'param_groups'")
        groups = state_dict["param_groups"]
        if len(groups) != len(self.param_groups):
            raise ValueError(
                f"load_state_dict: the state has {len(groups)} parameter groups, "
                f"the optimizer {len(self.param_groups)}; need equal numbers"
            )
        params: dict[int, Tensor] = {}
        for i, (ours, theirs) in enumerate(zip(self.param_groups, groups, strict=True)):
            if len(ours["params"]) != len(theirs["params"]):
                raise ValueError(
                    f"load_state_dict: group {i} of the state has {len(theirs['params'])} parameters, "
                    f"the optimizer's {len(ours['params'])}; need equal numbers"
                )
            params.update(zip(theirs["params"], ours["params"], strict=True))
        state: dict[Tensor, dict[str, Any]] = defaultdict(dict)
        for key, values in state_dict["state"].items():
            if int(key) not in params:
                raise ValueError(f"load_state_dict: the state names parameter {key}, which is in no group")
            p = params[int(key)]
            state[p] = {name: _adopt(name, value, p) for name, value in values.items()}
        self.state = state
        for i, (ours, theirs) in enumerate(zip(self.param_groups, groups, strict=True)):
            self.param_groups[i] = ours | dict(theirs) | {"params": ours["params"]}
            self._plans[i] = None

    def __repr__(self) -> str:
        lines = [f"{self._name()} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {option}: {group[option]}" for option in sorted(group) if option != "params"]
        return "\n".join([*lines, ")"])


REQUIRED = object()  # a default that every group has to give


def _adopt(name: str, value: Any, p: Tensor) -> Any:
    """A loaded value as state of `p`; step counters keep their own dtype."""
    if not isinstance(value, Tensor):
        return value
    if name != "step" and p.is_floating_point() and tuple(value.shape) not in ((), tuple(p.shape)):
        raise ValueError(
            f"load_state_dict: {name!r} has shape {tuple(value.shape)}, its parameter {tuple(p.shape)}; need equal"
        )
    keep = name == "step" or not value.is_floating_point()
    return value.detach().to(p.device, value.dtype if keep else p.dtype).clone()


def step_counter() -> Tensor:
    """A count of steps as a tensor, so that the native step can advance it where the parameter lives."""
    return _core.zeros((), dtype=_core.float32)


def fill_state(p: Tensor, state: dict[str, Any], names: Iterable[str]) -> None:
    """Adds what is missing: zeros of p's shape under every name, and a step counter, from a number if there is one."""
    for name in names:
        if name not in state:
            state[name] = _core.zeros_like(p)
    if not isinstance(state.get("step"), Tensor):
        state["step"] = (step_counter() + float(state.get("step", 0))).to(p.device)

"""gradcheck: compare the tape's Jacobian with central finite differences, in float64.

d y[j] / d x[i] is (f(x + eps e_i) - f(x - eps e_i))[j] / (2 eps) on one side and backward of the unit vector e_j
on the other. gradgradcheck does the same with f replaced by its gradient. After HIPS/autograd's test_util.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lamina import _core
from lamina._core import Tensor
from lamina.autograd import grad


class GradcheckError(RuntimeError):
    """The tape's gradient differs from finite differences."""


def _tensors(value: Any) -> list[Tensor]:
    values = value if isinstance(value, (tuple, list)) else (value,)
    return [v for v in values if isinstance(v, Tensor)]


def _check_inputs(op: str, inputs: Tensor | Sequence[Any]) -> tuple[list[Any], list[int]]:
    """The inputs as a list, and the positions of those that require a gradient."""
    inputs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    active = [i for i, x in enumerate(inputs) if isinstance(x, Tensor) and x.requires_grad]
    if not active:
        raise ValueError(f"{op}: no input requires a gradient; need at least one tensor with requires_grad=True")
    for i in active:
        if inputs[i].dtype != _core.float64:
            raise ValueError(f"{op}: input {i} has dtype {inputs[i].dtype}; need float64, or rounding hides errors")
    return inputs, active


def _differences(func: Callable, inputs: list[Any], which: int, eps: float) -> list[list[list[float]]]:
    """Per output, rows [i][j] = d y[j] / d x[i] for x = inputs[which], by central differences."""
    x = inputs[which].detach()
    rows: list[list[list[float]]] = []
    for i in range(x.numel()):
        sides = []
        for step in (-eps, eps):
            moved = x.reshape(-1).clone()
            moved[i] += step
            # on the tape, as func may look at requires_grad
            call = [*inputs[:which], moved.reshape(x.shape).requires_grad_(), *inputs[which + 1 :]]
            # copied at once: an output may be a view of an input
            sides.append([y.detach().to(_core.float64).reshape(-1).clone() for y in _tensors(func(*call))])
        rows.append([((above - below) / (2 * eps)).tolist() for below, above in zip(*sides, strict=True)])
    return [list(columns) for columns in zip(*rows, strict=True)]


def _from_tape(output: Tensor, active: list[Tensor]) -> list[list[list[float]]]:
    """Per active input, rows [j][i] = d output[j] / d x[i], by one backward per element of the output."""
    rows = []
    for j in range(output.numel()):
        unit = _core.zeros(output.numel(), dtype=output.dtype)
        unit[j] = 1.0
        grads = grad(output, active, unit.reshape(output.shape), retain_graph=True, allow_unused=True)
        zeros = [_core.zeros_like(x) if g is None else g for x, g in zip(active, grads, strict=True)]
        rows.append([g.detach().reshape(-1).tolist() for g in zeros])
    return [list(columns) for columns in zip(*rows, strict=True)]


def gradcheck(
    func: Callable,
    inputs: Tensor | Sequence[Any],
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """Whether the gradient of `func` at `inputs` agrees with finite differences.

    Args:
        func: takes the inputs, returns a tensor or a tuple of tensors.
        inputs: float64 tensors that require gradients, and anything else func takes.
        eps: the step; atol, rtol: allowed difference, |a - n| <= atol + rtol |n|.
        raise_exception: raise GradcheckError on a difference instead of returning False.

    Example:
        >>> x = lamina.ones(3, dtype=lamina.float64, requires_grad=True)
        >>> gradcheck(lambda t: t.sin() * t, x)
        True
    """
    inputs, active = _check_inputs("gradcheck", inputs)
    outputs = _tensors(func(*inputs))
    numerical = {i: _differences(func, inputs, i, eps) for i in active}
    for k, output in enumerate(outputs):
        if not output.is_floating_point():
            continue
        if output.requires_grad:
            analytic = _from_tape(output, [inputs[i] for i in active])
        else:
            analytic = [[[0.0] * inputs[i].numel()] * output.numel() for i in active]
        for i, table in zip(active, analytic, strict=False):
            for j, row in enumerate(table):
                for e, tape in enumerate(row):
                    difference = numerical[i][k][e][j]
                    if abs(tape - difference) <= atol + rtol * abs(difference):
                        continue
                    if not raise_exception:
                        return False
                    raise GradcheckError(
                        f"gradcheck: the gradient of element {j} of output {k} with respect to element {e} of "
                        f"input {i} is {tape} on the tape, {difference} by differences; need them within "
                        f"{atol} + {rtol} * |difference|"
                    )
    return True


def gradgradcheck(
    func: Callable,
    inputs: Tensor | Sequence[Any],
    grad_outputs: Tensor | Sequence[Tensor] | None = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """Whether the gradient of the gradient of `func` agrees with finite differences; arguments as `gradcheck`.

    Args:
        grad_outputs: where to differentiate backward; random when not given.
    """
    inputs, active = _check_inputs("gradgradcheck", inputs)
    n = len(inputs)
    if grad_outputs is None:
        outputs = [y for y in _tensors(func(*inputs)) if y.requires_grad]
        grad_outputs = [_core.randn(*y.shape, dtype=y.dtype).requires_grad_() for y in outputs]
    seeds = _tensors(grad_outputs)

    def first_gradient(*args: Any) -> tuple[Tensor, ...]:
        outputs = [y for y in _tensors(func(*args[:n])) if y.requires_grad]
        wanted = [args[i] for i in active]
        grads = grad(outputs, wanted, list(args[n:]), create_graph=True, allow_unused=True)
        return tuple(_core.zeros_like(x) if g is None else g for x, g in zip(wanted, grads, strict=True))

    return gradcheck(first_gradient, [*inputs, *seeds], eps=eps, atol=atol, rtol=rtol, raise_exception=raise_exception)

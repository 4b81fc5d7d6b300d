"""How tensors print: PyTorch's layout, from plain Python numbers, so that it works without NumPy.

A tensor becomes nested lists in which ``...`` marks what a summary leaves out; one format is chosen for all numbers.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator
from typing import Any

__all__ = ["printoptions", "set_printoptions", "tensor_repr"]


@dataclasses.dataclass
class _Options:
    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


_options = _Options()
_PROFILES: dict[str, dict[str, float]] = {
    "default": {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80},
    "short": {"precision": 2, "threshold": 1000, "edgeitems": 2, "linewidth": 80},
    "full": {"precision": 4, "threshold": math.inf, "edgeitems": 3, "linewidth": 80},
}


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Set how tensors print.

    Args:
        precision: digits after the point (4).
        threshold: number of elements above which the middle is left out (1000).
        edgeitems: how many items a summary shows at each end of a dimension (3).
        linewidth: characters in a line (80).
        profile: ``"default"``, ``"short"`` or ``"full"``; the other arguments override it.
        sci_mode: scientific notation always (True), never (False) or where the numbers ask for it (None).

    Example:
        >>> lamina.set_printoptions(precision=2)
        >>> lamina.tensor([1 / 3])
        tensor([0.33])
        >>> lamina.set_printoptions(profile="default")
    """
    if profile is not None and profile not in _PROFILES:
        raise ValueError(f"set_printoptions: profile is {profile!r}; need one of {', '.join(map(repr, _PROFILES))}")
    settings = dict(_PROFILES.get(profile or "", {}))
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    settings.update((name, value) for name, value in given.items() if value is not None)
    for name, value in settings.items():
        if value < 0:
            raise ValueError(f"set_printoptions: {name} is {value}; need {name} >= 0")
        setattr(_options, name, value)
    _options.sci_mode = sci_mode


@contextlib.contextmanager
def printoptions(**settings: Any) -> Iterator[None]:
    """Print with these settings inside a ``with`` block; arguments as for :func:`set_printoptions`.

    Example:
        >>> with lamina.printoptions(precision=1):
        ...     print(lamina.tensor([0.25]))
        tensor([0.2])
    """
    before = dataclasses.asdict(_options)
    try:
        set_printoptions(**settings)
        yield
    finally:
        for name, value in before.items():
            setattr(_options, name, value)


def tensor_repr(t: Any, *, prefix: str = "tensor(") -> str:
    """The text of a tensor of any shape, as ``repr`` shows it.

    Args:
        t: the tensor.
        prefix: what comes before the numbers; later lines are indented by its length.

    Example:
        >>> print(tensor_repr(lamina.tensor([[1.0, 2.5], [3.0, 4.0]])))
        tensor([[1.0000, 2.5000],
                [3.0000, 4.0000]])
    """
    numel = math.prod(t.shape)
    if numel == 0:
        body = "[]"
    else:
        data = _nested(t.detach(), numel > _options.threshold)
        body = _layout(data, len(t.shape), len(prefix), _number_format(list(_leaves(data)), t.dtype.is_floating_point))
    return _with_suffixes(prefix + body, _suffixes(t, numel == 0), len(prefix))


def _nested(t: Any, summarize: bool) -> Any:
    """Numbers in nested lists; with summarize, ... stands for the middle of a long dimension."""
    edge = _options.edgeitems
    if not summarize or not t.shape:
        return t.tolist()
    n = t.shape[0]
    if n <= 2 * edge:
        return [_nested(t.select(0, i), True) for i in range(n)]
    ends = [*range(edge), *range(n - edge, n)]
    items: list[Any] = [_nested(t.select(0, i), True) for i in ends]
    return [*items[:edge], ..., *items[edge:]]


def _leaves(data: Any) -> Iterator[Any]:
    if isinstance(data, list):
        for item in data:
            yield from _leaves(item)
    elif data is not ...:
        yield data


class _Format:
    """One way to write a number, and the width all numbers are padded to."""

    def __init__(self, spec: str, point: bool = False) -> None:
        self.spec = spec
        self.point = point  # integers that are floats: "2."
        self.width = 1

    def text(self, value: Any) -> str:
        if not self.spec:
            return str(value)
        return format(value, self.spec) + ("." if self.point and math.isfinite(value) else "")

    def padded(self, value: Any) -> str:
        return self.text(value).rjust(self.width)


def _number_format(values: list[Any], floating: bool) -> _Format:
    # Zeros, infinities and NaN take part in the padding only; they say nothing about the notation.
    shown = values
    if not floating:
        chosen = _Format("")
    else:
        shown = [v for v in values if math.isfinite(v) and v != 0]
        small, large = (min(map(abs, shown)), max(map(abs, shown))) if shown else (1.0, 1.0)
        scientific = large / small > 1000 or large > 1e8 or small < 1e-4
        if _options.sci_mode is not None:
            scientific = _options.sci_mode and bool(shown)
        if scientific:
            chosen = _Format(f".{_options.precision}e")
        elif all(v == math.floor(v) for v in shown):
            chosen = _Format(".0f", point=True)
        else:
            chosen = _Format(f".{_options.precision}f")
    chosen.width = max((len(chosen.text(v)) for v in shown), default=1)
    return chosen


def _layout(data: Any, ndim: int, indent: int, numbers: _Format) -> str:
    if ndim == 0:
        return numbers.padded(data)
    if ndim == 1:
        words = [" ..." if v is ... else numbers.padded(v) for v in data]
        per_line = max(1, (_options.linewidth - indent) // (numbers.width + 2))
        lines = [", ".join(words[i : i + per_line]) for i in range(0, len(words), per_line)]
        separator = ",\n" + " " * (indent + 1)
    else:
        lines = ["..." if row is ... else _layout(row, ndim - 1, indent + 1, numbers) for row in data]
        separator = "," + "\n" * (ndim - 1) + " " * (indent + 1)
    return "[" + separator.join(lines) + "]"


def _suffixes(t: Any, empty: bool) -> list[str]:
    from lamina import bool as bool_
    from lamina import get_default_dtype, int64

    out = []
    if t.device.type != "cpu":
        out.append(f"device='{t.device}'")
    if empty and len(t.shape) != 1:
        out.append(f"size={tuple(t.shape)}")
    # What tensor([...]) would infer from the numbers is not repeated; an empty list shows none.
    inferred = (get_default_dtype(),) if empty else (get_default_dtype(), int64, bool_)
    if t.dtype not in inferred:
        out.append(f"dtype={t.dtype}")
    if t.grad_fn is not None:
        out.append(f"grad_fn=<{_backward_name(t.grad_fn.name())}>")
    elif t.requires_grad:
        out.append("requires_grad=True")
    return out


def _backward_name(operator: str) -> str:
    words = operator.split("_") if operator.islower() else [operator]
    return "".join(word[:1].upper() + word[1:] for word in words) + "Backward"


def _with_suffixes(text: str, suffixes: list[str], indent: int) -> str:
    used = len(text) - (text.rfind("\n") + 1) + 2  # room for the comma or the parenthesis that follows
    for suffix in suffixes:
        if used + len(suffix) + 2 > _options.linewidth:
            text += ",\n" + " " * indent + suffix
            used = indent + len(suffix)
        else:
            text += ", " + suffix
            used += len(suffix) + 2
    return text + ")"

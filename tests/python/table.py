"""The operator table as test cases: samples, oracles and domains read from the rows themselves."""

from __future__ import annotations

import ast
import math
import zlib
from dataclasses import dataclass, field
from typing import Any

import lamina
import numpy as np
import reference
from lamina import _core

ROWS = _core.op_table()


@dataclass
class Case:
    """One call of one row: NumPy arguments, for the operator (as tensors) and for the oracle (in float64)."""

    row: dict
    args: list
    kwargs: dict = field(default_factory=dict)
    kinks: tuple = ()

    @property
    def function(self):
        name = self.row["name"]
        if self.row["function"]:
            return getattr(_core, name)
        return lambda self_, *args, **kwargs: getattr(self_, name)(*args, **kwargs)

    def call(self, dtype=lamina.float64, layout=None, requires_grad=False) -> Any:
        args = [to_tensor(a, dtype, layout, requires_grad) for a in self.args]
        kwargs = {k: to_tensor(v, dtype, layout, requires_grad) for k, v in self.kwargs.items()}
        return self.function(*args, **kwargs)

    def expected(self) -> Any:
        names = {"x": None, "a": None, "b": None}
        signature = [p.strip() for p in self.row["signature"].split("->")[0].split(",") if p.strip() not in ("*", "")]
        values = {}
        for p in signature:
            name, _, default = p.partition("=")
            values[name.strip()] = parse_default(default) if default else None
        positional = [p.partition("=")[0].strip() for p in signature]
        values.update(zip(positional, self.args, strict=False))
        values.update(self.kwargs)
        if self.row["kind"] == "unary":
            names["x"] = self.args[0]
        if self.row["kind"] == "binary":
            names["a"], names["b"] = self.args
        with np.errstate(all="ignore"):
            return eval(self.row["oracle"], {"np": np, "math": math, "ref": reference, **names, **values})

    @property
    def float_positions(self) -> list[int]:
        return [i for i, a in enumerate(self.args) if isinstance(a, np.ndarray) and a.dtype == np.float64]

    def __repr__(self) -> str:
        shown = [f"{a.dtype}{list(a.shape)}" if isinstance(a, np.ndarray) else repr(a) for a in self.args]
        shown += [f"{k}={v!r}" for k, v in self.kwargs.items() if not isinstance(v, np.ndarray)]
        return f"{self.row['name']}({', '.join(shown)})"


def parse_default(text: str) -> Any:
    return float(text) if text.strip() in ("inf", "-inf") else ast.literal_eval(text.strip())


def to_tensor(value: Any, dtype, layout=None, requires_grad=False) -> Any:
    """Floats become tensors of ``dtype``, integers and bools keep theirs; lists are converted item by item."""
    if isinstance(value, (list, tuple)) and any(isinstance(v, np.ndarray) for v in value):
        return [to_tensor(v, dtype, layout, requires_grad) for v in value]
    if not isinstance(value, np.ndarray):
        return value
    floating = value.dtype == np.float64
    x = lamina.tensor(value)
    if floating:
        x = x.to(dtype)
    if layout is not None:
        x = layout(x)
    return x.requires_grad_() if requires_grad and floating else x


def transposed(x):
    """The same values with reversed strides."""
    n = x.dim()
    return x if n < 2 else x.permute(*reversed(range(n))).contiguous().permute(*reversed(range(n)))


def strided(x):
    """The same values, every second element of a larger tensor."""
    if x.dim() == 0 or x.numel() == 0:
        return x
    wide = lamina.stack([x, x], dim=-1).flatten(-2)
    return wide[..., ::2]


class Samples:
    """What sample texts may call: random NumPy arrays, the same ones every time."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def names(self) -> dict:
        public = {n: getattr(self, n) for n in ("f", "pos", "distinct", "i", "b", "prob")}
        return {**public, "np": np, "lamina": lamina, "inf": math.inf, "capture": lambda *a, **k: (list(a), k)}

    def f(self, *shape):
        return np.asarray(self.rng.standard_normal(shape))

    def pos(self, *shape):
        return np.asarray(self.rng.uniform(0.5, 2.0, shape))

    def distinct(self, *shape):
        n = math.prod(shape)
        return np.asarray(self.rng.permutation(n).astype(np.float64) * 0.37 - 0.18 * n).reshape(shape)

    def i(self, *shape, lo=0, hi=5):
        return np.asarray(self.rng.integers(lo, hi, shape))

    def b(self, *shape):
        return np.asarray(self.rng.integers(0, 2, shape).astype(bool))

    def prob(self, *shape):
        p = self.rng.uniform(0.1, 1.0, shape)
        return np.asarray(p / p.sum(-1, keepdims=True))


def domain(text: str) -> tuple[float, float, tuple]:
    low, high, *kinks = ast.literal_eval(text[text.index("(") :])
    return low, high, tuple(kinks)


def draw(rng, text: str, shape) -> np.ndarray:
    low, high, kinks = domain(text)
    if text.startswith("INTEGERS"):
        return np.asarray(rng.integers(low, high, shape))
    x = np.asarray(rng.uniform(low, high, shape))
    for kink in kinks:  # stay clear of points where the function has a corner
        near = np.abs(x - kink) < 0.05
        x = np.where(near, kink + 0.1, x)
    return x


SHAPES = [(), (3,), (2, 3), (0, 3), (17,), (2, 1, 37)]
BROADCAST = [((2, 3), (2, 3)), ((2, 3), (3,)), ((2, 1, 3), (4, 1)), ((), (5,)), ((0, 3), (3,)), ((33,), (33,))]


def cases(row: dict) -> list[Case]:
    seed = zlib.crc32(f"{row['name']}{row['signature']}".encode())
    rng = np.random.default_rng(seed)
    if row["kind"] == "unary":
        return [Case(row, [draw(rng, row["samples"], s)], kinks=domain(row["samples"])[2]) for s in SHAPES]
    if row["kind"] == "binary":
        first, second = (part.strip() for part in row["samples"].split(";"))
        return [Case(row, [draw(rng, first, s), draw(rng, second, t)]) for s, t in BROADCAST]
    out = []
    names = Samples(seed).names()
    for text in row["samples"].split(";"):
        if text.strip():
            args, kwargs = eval(f"capture({text})", names)
            out.append(Case(row, args, kwargs))
    return out


def row_id(row: dict) -> str:
    same = [r for r in ROWS if r["name"] == row["name"]]
    return row["name"] if len(same) == 1 else f"{row['name']}-{same.index(row)}"


def flatten(result: Any) -> list:
    """Results as a flat list of tensors (or arrays)."""
    if isinstance(result, (list, tuple)):
        return [leaf for item in result for leaf in flatten(item)]
    if isinstance(result, bool):
        return [lamina.tensor(result, device="cpu")]
    return [result]


def to_numpy(x) -> np.ndarray:
    x = x.detach()
    return (x.to(lamina.float64) if x.is_floating_point() else x).cpu().numpy()

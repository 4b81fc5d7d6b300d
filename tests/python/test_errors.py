"""Every wrong call is refused with the documented exception, and the message names the operator and both values.

The tables are wrong_calls/*.txt: a call on one line, what it raises indented below it. '...' stands for any text,
``# family`` begins a family. The last test calls every operator with arguments nobody would write.
"""

from __future__ import annotations

import builtins
import copy
import itertools
import math
import pickle
import re
import resource
from pathlib import Path

import lamina
import numpy as np
import pytest
from lamina import autograd, nn, optim
from lamina.nn import functional as F
from lamina.optim import lr_scheduler as lrs
from lamina.utils import data
from table import ROWS, cases, row_id, to_tensor


class Answers(autograd.Function):
    """Doubles x; its backward returns `answer` whatever the gradient is."""

    @staticmethod
    def forward(ctx, x, answer):
        ctx.answer = answer
        return x * 2

    @staticmethod
    def backward(ctx, grad):
        return ctx.answer


class Returns(autograd.Function):
    """Its forward returns `result`, or saves what cannot be saved."""

    @staticmethod
    def forward(ctx, x, result):
        if result == "save":
            ctx.save_for_backward(3)
        return x * 2 if result == "save" else result


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(2, 3)
        self.scale = nn.Parameter(lamina.ones(1))
        self.register_buffer("mean", lamina.zeros(2))

    def forward(self, x):
        return self.fc(x)


def leaf(*shape):
    return lamina.ones(*shape, requires_grad=True)


def read_only(array):
    array.flags.writeable = False
    return array


def names() -> dict:
    """What a call may use: everything of lamina, and the helpers above."""
    helpers = {f.__name__: f for f in (Answers, Returns, Net, leaf, read_only, data, nn, optim, autograd, copy, pickle)}
    helpers = {name.rpartition(".")[2]: value for name, value in helpers.items()}
    parameter = nn.Parameter(lamina.ones(2))
    sgd = optim.SGD([nn.Parameter(lamina.ones(2))], lr=1.0)
    return {**vars(lamina), **helpers, "lamina": lamina, "np": np, "F": F, "lrs": lrs, "p": parameter, "sgd": sgd}


def read_tables():
    for path in sorted(Path(__file__).parent.glob("wrong_calls/*.txt")):
        family, call = path.stem, ""
        for line in path.read_text().splitlines():
            if line.startswith("# "):
                family = line[2:]
            elif line.startswith(" "):
                error, _, message = line.strip().partition(": ")
                yield pytest.param(call, error, message, id=f"{family}: {call}")
            else:
                call = line


@pytest.mark.parametrize(("call", "error", "message"), list(read_tables()))
def test_wrong_call(call, error, message):
    if "cannot be used" in message and lamina.cuda.is_available():
        pytest.skip("there is a CUDA device")
    pattern = ".*".join(re.escape(part) for part in message.split("..."))
    state = lamina.get_rng_state()
    with pytest.raises(getattr(builtins, error)) as caught:
        exec(call, names())
    lamina.set_rng_state(state)
    assert re.search(pattern, str(caught.value), re.DOTALL), f"{caught.value}\ndoes not match\n{message}"


def test_the_tables_are_large_and_say_each_thing_once():
    calls = [row.values[0] for row in read_tables()]
    assert len(calls) >= 200 and len(calls) == len(set(calls))


# --- arguments nobody would write ---

REFUSALS = (TypeError, ValueError, IndexError, RuntimeError, OverflowError, MemoryError)
MOST_BYTES = 1 << 30


def nasty() -> list:
    f = lamina.ones
    numbers = [2**63 - 1, -(2**63), 2**64, 2**40, -1, 0, 17, True, math.nan, math.inf, 1e300, 1j]
    sizes = [(), (2**63 - 1,), (2**62, 4), (-1, -1), (0,) * 17, (1,) * 17, ("a",), [None], range(3), b"x"]
    others = [None, "", "text", "\ud800", "cuda", object(), {}, slice(None), lamina.float32, np.zeros(2)]
    tensors = [f(()), f(0), f(2, 0, 3), f((1,) * 16), f(5, 7), f(2, 3) * math.nan, f(3, 4).t(), f(1).expand(2, 3)]
    dtypes = [f(3, dtype=lamina.int64), f(2, 3, dtype=lamina.bool), f(2, 3, dtype=lamina.float16)]
    extremes = [lamina.full((2,), -(2**63)), lamina.full((2,), 2**63 - 1)]
    return [*numbers, *sizes, *others, *tensors, *dtypes, *extremes, [f(2), "x"], [f(2), f(3)], (f(()),)]


def strange_calls(row):
    """Nasty values in all places, then in one place of a call that is right."""
    values = nasty()
    width = min(len(row["types"]), 3)
    yield from (((value,) * n, {}) for value, n in itertools.product(values, range(width + 1)))
    parameters = [p.strip().partition("=")[0] for p in row["signature"].split("->")[0].split(",") if p.strip() != "*"]
    for case in cases(row)[:2]:
        args = [to_tensor(a, lamina.float32) for a in case.args]
        kwargs = {k: to_tensor(v, lamina.float32) for k, v in case.kwargs.items()}
        for i, value in itertools.product(range(len(args)), values):
            yield [*args[:i], value, *args[i + 1 :]], kwargs
        for name, value in itertools.product(parameters[len(args) :], values):
            yield args, {**kwargs, name: value}


@pytest.fixture
def little_memory():
    """Where the system promises more memory than it has, a request for terabytes must fail all the same."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 4 * MOST_BYTES, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("row", ROWS, ids=row_id)
def test_nothing_crashes(row):
    """Every call returns or is refused with words; none takes a gigabyte, however large the sizes it is given."""
    targets = [getattr(lamina._core if row["function"] else lamina.Tensor, row["name"])]
    if row["inplace"]:
        targets.append(getattr(lamina.Tensor, row["name"] + "_"))
    state = lamina.get_rng_state()
    for target, (args, kwargs) in itertools.product(targets, strange_calls(row)):
        lamina._core.reset_peak_memory()
        try:
            target(*args, **kwargs)
        except REFUSALS as error:
            assert str(error), f"{row['name']}: no message for {args}, {kwargs}"
        assert lamina.memory_stats()["peak"] < MOST_BYTES, (args, kwargs)
    lamina.set_rng_state(state)

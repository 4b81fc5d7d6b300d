"""Throughput of operators on data that does not fit a register: matmul, elementwise, softmax, layer norm.

``--table`` adds one row for every operator of the table, at the size of its first sample.
"""

from __future__ import annotations

import sys
from functools import partial

from harness import Table, import_torch, setup

whole_table = "--table" in sys.argv
if whole_table:
    sys.argv.remove("--table")
args = setup(__doc__)

import lamina  # noqa: E402

torch = import_torch(args)


def pair(build):
    """The same calls on the same values for both libraries."""
    ours = build(lamina)
    return ours, build(torch) if torch else None


def matmul(n):
    def build(lib):
        lib.manual_seed(0)
        a, b = lib.randn(n, n), lib.randn(n, n)
        return lambda: a @ b

    return build


def elementwise(name):
    def build(lib):
        x = lib.randn(4_000_000)
        fn = getattr(lib.nn.functional, name) if name == "gelu" else getattr(lib, name)
        return lambda: fn(x)

    return build


def with_backward(forward, *shape):
    def build(lib):
        x = lib.randn(*shape).requires_grad_()
        grad = lib.randn(*shape)

        def run():
            x.grad = None
            forward(lib, x).backward(grad)

        return run

    return build


def layer_norm(lib, x):
    norm = getattr(lib, "_bench_norm", None)
    if norm is None:
        norm = lib._bench_norm = lib.nn.LayerNorm(x.shape[-1])
    return norm(x)


def first_samples(table):
    """One row per operator of the table."""
    sys.path.insert(0, __file__.rsplit("/", 2)[0] + "/tests/python")
    from table import ROWS, cases, to_tensor

    for row in ROWS:
        case = cases(row)[0]
        tensors = [to_tensor(a, lamina.float32) for a in case.args]
        kwargs = {k: to_tensor(v, lamina.float32) for k, v in case.kwargs.items()}
        table.row(repr(case)[:42], partial(case.function, *tensors, **kwargs), None)


table = Table(args, "operators")
for n in (256, 1024, 2048):
    table.row(f"matmul {n}", *pair(matmul(n)), goal=1)
for name in ("gelu", "exp", "tanh", "sigmoid"):
    table.row(f"{name}, 4M floats", *pair(elementwise(name)), goal=1)
table.row("softmax 4096x1024, fwd+bwd", *pair(with_backward(lambda lib, x: lib.softmax(x, -1), 4096, 1024)), goal=1)
table.row("layer norm 4096x1024, fwd+bwd", *pair(with_backward(layer_norm, 4096, 1024)), goal=1)
if whole_table:
    first_samples(table)

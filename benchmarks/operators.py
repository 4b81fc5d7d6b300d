"""Throughput of operators on data that does not fit a register: matmul, elementwise, softmax, layer norm.

``--table`` times every row of the operator table instead, on its first sample: a few elements, so what a call costs.
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


def to_torch(value):
    """Arrays as tensors, floats in single precision; dtypes by name."""
    if isinstance(value, lamina.dtype):
        return getattr(torch, value.name)
    if isinstance(value, (list, tuple)):
        return type(value)(to_torch(v) for v in value)
    if not isinstance(value, np.ndarray):
        return value
    x = torch.from_numpy(value)
    return x.float() if x.is_floating_point() else x


def torch_call(row, case, shapes):
    """The same call of PyTorch, or None: it has no such function, or one that takes or gives something else."""
    homes = [torch, torch.nn.functional, torch.special, torch.linalg] if row["function"] else [torch.Tensor]
    call_args = [to_torch(a) for a in case.args]
    call_kwargs = {k: to_torch(v) for k, v in case.kwargs.items()}
    for home in homes:
        try:
            call = partial(getattr(home, row["name"]), *call_args, **call_kwargs)
            if [tuple(x.shape) for x in flatten(call())] == shapes:
                return call
        except (AttributeError, TypeError, RuntimeError, IndexError):
            continue
    return None


def first_samples(table):
    """One row per row of the table."""
    for row in ROWS:
        case = cases(row)[0]
        function = getattr(lamina if row["function"] else lamina.Tensor, row["name"])
        tensors = [to_tensor(a, lamina.float32) for a in case.args]
        kwargs = {k: to_tensor(v, lamina.float32) for k, v in case.kwargs.items()}
        ours = partial(function, *tensors, **kwargs)
        shapes = [tuple(x.shape) for x in flatten(ours())]
        table.row(row_id(row), ours, torch_call(row, case, shapes) if torch else None)


if whole_table:
    sys.path.insert(0, __file__.rsplit("/", 2)[0] + "/tests/python")
    import numpy as np
    from table import ROWS, cases, flatten, row_id, to_tensor

    first_samples(Table(args, "operator table"))
    sys.exit()
table = Table(args, "operators")
for n in (256, 1024, 2048):
    table.row(f"matmul {n}", *pair(matmul(n)), goal=1)
for name in ("gelu", "exp", "tanh", "sigmoid"):
    table.row(f"{name}, 4M floats", *pair(elementwise(name)), goal=1)
table.row("softmax 4096x1024, fwd+bwd", *pair(with_backward(lambda lib, x: lib.softmax(x, -1), 4096, 1024)), goal=1)
table.row("layer norm 4096x1024, fwd+bwd", *pair(with_backward(layer_norm, 4096, 1024)), goal=1)

"""The bandwidth and throughput table of ``gpu.py``: an operator of Lamina and the same of PyTorch, in turn.

A row says how many bytes have to go through memory, or how many operations are done, and what was aimed at: a share of
the copy bandwidth measured before, or of PyTorch's speed.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import lamina
import torch
from gpu import Lab, copy_bandwidth

FLOATS = {"float32": 4, "bfloat16": 2}


@dataclass
class Row:
    """``build(kit)`` makes random operands and returns the call to time.

    ``passes``: elements that have to be read and written, as a multiple of ``kit.n``; ``flops`` for products.
    """

    name: str
    build: Callable[[SimpleNamespace], Callable[[], object]]
    passes: float = 0
    share: float | None = None  # aim, of the copy bandwidth
    ratio: dict[str, float] | None = None  # aim, of PyTorch's speed, by dtype
    flops: Callable[[Lab], float] | None = None
    dtypes: tuple[str, ...] = ("float32", "bfloat16")


def kit_of(lab: Lab, lib: Any, dtype: str) -> SimpleNamespace:
    """A library, its functions, and random operands of ``dtype`` on its device."""
    device = "cuda" if lib is lamina else lab.torch_device
    n = lab.elements * 4 // FLOATS[dtype]

    def randn(*shape: int, grad: bool = False):
        x = lib.randn(*shape, device=device).to(getattr(lib, dtype))
        return x.requires_grad_() if grad else x

    def randint(high: int, *shape: int):
        return lib.randint(0, high, shape, device=device)

    return SimpleNamespace(
        lib=lib, f=lib.nn.functional, n=n, rows=n // lab.row, row=lab.row, size=lab.size, randn=randn, randint=randint
    )


def flat(call: Callable) -> Callable:
    def build(k):
        x = k.randn(k.n)
        return lambda: call(k, x)

    return build


def in_rows(call: Callable) -> Callable:
    def build(k):
        x = k.randn(k.rows, k.row)
        return lambda: call(k, x)

    return build


def pair(call: Callable, shapes: Callable) -> Callable:
    def build(k):
        x, y = (k.randn(*shape) for shape in shapes(k))
        return lambda: call(k, x, y)

    return build


def backward(forward: Callable, shape: Callable, *parameters: Callable) -> Callable:
    """The backward pass alone: gradients of the input and the parameters, the graph kept."""

    def build(k):
        inputs = [k.randn(*shape(k), grad=True), *(k.randn(*p(k), grad=True) for p in parameters)]
        y = forward(k, *inputs)
        grad = k.randn(*y.shape) if y.dim() else None
        return lambda: k.lib.autograd.grad(y, inputs, grad, retain_graph=True)

    return build


def matrix(k):
    return (k.rows, k.row)


def channels(k):  # (N, C, H, W)
    return (k.n // (64 * k.row), 64, k.row) if k.row < 4096 else (k.n // (64 * 4096), 64, 64, 64)


def batch_norm(k, x, w, b):
    return k.f.batch_norm(x, None, None, w, b, training=True)


def embedding(k):
    table, at = k.randn(k.rows, k.row), k.randint(k.rows, k.rows)
    return lambda: k.f.embedding(at, table)


def embedding_backward(k):
    table, at = k.randn(k.rows, k.row, grad=True), k.randint(k.rows, k.rows)
    y = k.f.embedding(at, table)
    grad = k.randn(k.rows, k.row)
    return lambda: k.lib.autograd.grad(y, table, grad, retain_graph=True)


def cross_entropy(k):
    x, target = k.randn(k.rows, k.row), k.randint(k.row, k.rows)
    return lambda: k.f.cross_entropy(x, target)


def cross_entropy_backward(k):
    x, target = k.randn(k.rows, k.row, grad=True), k.randint(k.row, k.rows)
    loss = k.f.cross_entropy(x, target)
    return lambda: k.lib.autograd.grad(loss, x, retain_graph=True)


def parameters(k):
    """64 of them, with gradients."""
    out = [k.lib.nn.Parameter(k.randn(k.n // 64)) for _ in range(64)]
    for p in out:
        p.grad = k.randn(k.n // 64)
    return out


def adamw(k):
    fused = {} if k.lib is lamina else {"fused": True}
    return k.lib.optim.AdamW(parameters(k), lr=1e-3, **fused).step


def clipping(k):
    ps = parameters(k)
    return lambda: k.lib.nn.utils.clip_grad_norm_(ps, 1e-3)


def square(n: int) -> Callable:
    return pair(lambda k, x, y: x @ y, lambda k: [(k.size(n), k.size(n))] * 2)


def convolution(k):
    x, w = k.randn(k.size(32), k.size(64), k.size(56), k.size(56)), k.randn(k.size(64), k.size(64), 3, 3)
    return lambda: k.f.conv2d(x, w, padding=1)


def batch_norm_forward(k):
    x, w, b = k.randn(*channels(k)), k.randn(64), k.randn(64)
    return lambda: batch_norm(k, x, w, b)


def sort_rows(k):
    x = k.randn(k.rows // 4, k.row)
    return lambda: k.lib.sort(x, -1)


ROWS = [
    Row("relu", flat(lambda k, x: k.f.relu(x)), 2, 0.85),
    Row("exp", flat(lambda k, x: k.lib.exp(x)), 2, 0.85),
    Row("tanh", flat(lambda k, x: k.lib.tanh(x)), 2, 0.85),
    Row("gelu", flat(lambda k, x: k.f.gelu(x)), 2, 0.85),
    Row("times a number", flat(lambda k, x: x * 1.5), 2, 0.85),
    Row("add", pair(lambda k, x, y: x + y, lambda k: [(k.n,)] * 2), 3, 0.85),
    Row("add a row", pair(lambda k, x, y: x + y, lambda k: [matrix(k), (k.row,)]), 2, 0.85),
    Row("add a column", pair(lambda k, x, y: x + y, lambda k: [matrix(k), (k.rows, 1)]), 2, 0.85),
    Row("where", pair(lambda k, x, y: k.lib.where(x > 0, x, y), lambda k: [(k.n,)] * 2)),
    Row("dropout", flat(lambda k, x: k.f.dropout(x, 0.1))),
    Row("transpose", in_rows(lambda k, x: x.t().contiguous()), 2),
    Row("sum", flat(lambda k, x: x.sum()), 1, 0.75),
    Row("sum of rows", in_rows(lambda k, x: x.sum(1)), 1, 0.75),
    Row("sum of columns", in_rows(lambda k, x: x.sum(0)), 1, 0.75),
    Row("largest of rows", in_rows(lambda k, x: x.max(1)), 1, 0.75),
    Row("variance of rows", in_rows(lambda k, x: x.var(1)), 1, 0.75),
    Row("norm", flat(lambda k, x: x.norm()), 1, 0.75),
    Row("softmax", in_rows(lambda k, x: k.f.softmax(x, -1)), 2, 0.75),
    Row("log softmax", in_rows(lambda k, x: k.f.log_softmax(x, -1)), 2, 0.75),
    Row("layer norm", in_rows(lambda k, x: k.f.layer_norm(x, (k.row,))), 2, 0.75),
    # Its statistics need all of x before the first result: read twice.
    Row("batch norm", batch_norm_forward, 3),
    Row("softmax, backward", backward(lambda k, x: k.f.softmax(x, -1), matrix), 3, 0.6),
    Row(
        "layer norm, backward",
        backward(lambda k, x, w, b: k.f.layer_norm(x, (k.row,), w, b), matrix, lambda k: (k.row,), lambda k: (k.row,)),
        3,
        0.6,
    ),
    Row("batch norm, backward", backward(batch_norm, channels, lambda k: (64,), lambda k: (64,)), 5, 0.6),
    Row("gelu, backward", backward(lambda k, x: k.f.gelu(x), lambda k: (k.n,)), 3, 0.6),
    Row("cross entropy", cross_entropy, 1, 0.75),
    Row("cross entropy, backward", cross_entropy_backward, 2, 0.6),
    Row("embedding", embedding, 2),
    Row("embedding, backward", embedding_backward, 2),
    Row("AdamW, 64 parameters", adamw, 7, 0.8, dtypes=("float32",)),  # 28 bytes each
    Row("clip_grad_norm_, 64 gradients", clipping, 3),
    Row("cumsum of rows", in_rows(lambda k, x: x.cumsum(1)), 2),
    Row("sort of rows", sort_rows),
    Row("topk 32 of rows", in_rows(lambda k, x: k.lib.topk(x, 32, -1)), 1),
    Row("matmul 1024", square(1024), flops=lambda lab: 2 * lab.size(1024) ** 3),
    Row(
        "matmul 4096",
        square(4096),
        ratio={"float32": 0.6, "bfloat16": 0.35},
        flops=lambda lab: 2 * lab.size(4096) ** 3,
    ),
    Row(
        "matmul 8192, transposed",
        pair(lambda k, x, y: x @ y.t(), lambda k: [(k.size(8192), k.size(8192))] * 2),
        flops=lambda lab: 2 * lab.size(8192) ** 3,
        dtypes=("bfloat16",),
    ),
    Row(
        "matmul, 64 of 512",
        pair(lambda k, x, y: x @ y, lambda k: [(k.size(64), k.size(512), k.size(512))] * 2),
    ),
    Row("conv 3x3, 32 x 64 x 56 x 56", convolution),
]


def measure(lab: Lab, row: Row, dtype: str, copy: float) -> None:
    name, ms = f"{row.name} {dtype}", {}
    for lib in (lamina, torch):
        try:
            ms[lib] = lab.median_ms(lib, row.build(kit_of(lab, lib, dtype)))
        except Exception as error:
            lab.fail(f"{name}, {lib.__name__}", error)
        gc.collect()
    if lamina not in ms:
        return
    values: dict[str, Any] = {"ms": ms[lamina]}
    if torch in ms:
        values |= {"torch_ms": ms[torch], "ratio": ms[torch] / ms[lamina]}
    if row.passes:
        bytes_moved = row.passes * lab.elements * 4  # n elements are as many bytes in every dtype
        values["share_of_copy"] = bytes_moved / ms[lamina] / 1e6 / copy
        if row.share:
            values |= {"aim": row.share, "of": "share_of_copy"}
    if row.flops:
        values["tflop_per_s"] = row.flops(lab) / ms[lamina] / 1e9
    if row.ratio and torch in ms:
        values |= {"aim": row.ratio[dtype], "of": "ratio"}
    lab.add(name, **values)


def main(lab: Lab, rows: list[Row] = ROWS) -> int:
    copy = copy_bandwidth(lab)
    for row in rows:
        for dtype in row.dtypes:
            measure(lab, row, dtype, copy)
            lamina.cuda.empty_cache()
            if not lab.dry:
                torch.cuda.empty_cache()
    return int(any("error" in row for row in lab.rows))


def products(lab: Lab) -> int:
    """What NVIDIA's libraries may compute, where they are installed and faster: the same rows without
    LAMINA_PROVIDERS=none. The aims are for Lamina's own kernels."""
    lab.add("libraries", **lamina.cuda.providers())
    return main(lab, [replace(row, ratio=None) for row in ROWS if row.name.startswith(("matmul", "conv"))])

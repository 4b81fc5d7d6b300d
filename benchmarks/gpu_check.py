"""Whether every operator is right on the device: the samples of the operator table in every dtype against its oracle in
float64, gradients against the CPU's in float64, and large sizes against PyTorch in float64.

Every call is made twice and has to give the same bits. In between, what the first has returned is overwritten with NaN
and freed, so that the second finds it in its results where a kernel leaves elements out.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lamina
import numpy as np
import torch
from gpu import Lab

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "python"))
from table import ROWS, Case, cases, flatten, row_id, to_numpy, to_tensor
from test_table import SIZED_BY_VALUES, TOLERANCE, assert_matches

DTYPES = (lamina.float64, lamina.float32, lamina.bfloat16, lamina.float16)


def poison(results: list[lamina.Tensor]) -> None:
    for x in results:
        x = x.detach()
        if x.numel() and all(step or size == 1 for step, size in zip(x.stride(), x.shape, strict=True)):
            x.copy_(lamina.full_like(x, float("nan")) if x.is_floating_point() else ~x)


class Checks:
    """Counts calls, and how many of their second results lay where the first were; reports what is wrong."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.calls, self.poisoned, self.failed = lab, 0, 0, 0

    def twice(self, name: str, call: Callable[[], Any], compare: Callable[[list], None]) -> None:
        """``call`` makes its operands anew each time, as poisoned views may be parts of them."""
        self.calls += 1
        try:
            first = flatten(call())
            compare(first)
            places = [x.data_ptr() for x in first]
            bits = [to_numpy(x).tobytes() for x in first]
            poison(first)
            del first
            second = flatten(call())
            self.poisoned += places == [x.data_ptr() for x in second]
            assert bits == [to_numpy(x).tobytes() for x in second], "two calls give different bits"
        except Exception as error:
            self.failed += 1
            if self.failed <= 100:
                self.lab.fail(name, error)

    def save(self) -> None:
        self.lab.rows = [row for row in self.lab.rows if row["name"] != "checks"]
        self.lab.add("checks", calls=self.calls, with_poisoned_memory=self.poisoned, failed=self.failed)


def rounded(case: Case, dtype: lamina.dtype) -> Case:
    """The case with the values that ``dtype`` has for its operands."""
    for i in case.float_positions:
        case.args[i] = to_numpy(to_tensor(case.args[i], dtype))
    return case


def check_values(checks: Checks, row: dict) -> None:
    for case in cases(row)[: 2 if checks.lab.dry else None]:
        for dtype in DTYPES if case.float_positions else DTYPES[:1]:
            case = rounded(case, dtype)
            want = case.expected()
            floating = all(np.issubdtype(np.asarray(w).dtype, np.floating) for w in flatten(want))
            # Positions may differ where rounding has made a tie.
            exact = row["kind"] != "op" or dtype == lamina.float64

            def compare(got: list, case=case, want=want, dtype=dtype, floating=floating, exact=exact) -> None:
                if floating or exact:
                    assert_matches(case, got, want, dtype if floating else lamina.float64)

            checks.twice(f"{row_id(row)} {dtype} {case!r}", lambda case=case, dtype=dtype: case.call(dtype), compare)


def gradients(case: Case, dtype: lamina.dtype, device: str) -> list:
    """Of a fixed weighted sum of the results, with respect to the operands."""
    with lamina.device(device):
        leaves = {i: to_tensor(case.args[i], dtype, requires_grad=True) for i in case.float_positions}
        args = [leaves.get(i, to_tensor(a, dtype)) for i, a in enumerate(case.args)]
        results = [y for y in flatten(case.function(*args, **case.kwargs)) if y.requires_grad]
        if not leaves or not results:
            return []
        weights = [lamina.tensor(np.cos(np.arange(y.numel()))).reshape(y.shape).to(y.dtype) for y in results]
        found = lamina.autograd.grad(results, list(leaves.values()), weights, allow_unused=True)
        return [g for g in found if g is not None]


def check_gradients(checks: Checks, row: dict) -> None:
    for case in cases(row)[: 1 if checks.lab.dry else None]:
        if any(isinstance(a, np.ndarray) for a in case.kwargs.values()):
            continue
        for dtype in DTYPES:
            case = rounded(case, dtype)
            want = [to_numpy(g) for g in gradients(case, lamina.float64, "cpu")]
            if not want or not all(np.isfinite(w).all() for w in want):
                continue

            def compare(got: list, want=want, dtype=dtype) -> None:
                assert len(got) == len(want), f"{len(got)} gradients, the CPU has {len(want)}"
                rtol, atol = (5 * t for t in TOLERANCE[dtype])
                for g, w in zip(got, want, strict=True):
                    scale = max(1.0, float(np.abs(w).max(initial=0)))
                    np.testing.assert_allclose(to_numpy(g), w, rtol=rtol, atol=atol * scale)

            name = f"{row_id(row)} {dtype}, gradient of {case!r}"
            checks.twice(name, lambda case=case, dtype=dtype: gradients(case, dtype, "cuda"), compare)


def check_random(checks: Checks, row: dict) -> None:
    """The same seed gives the same numbers."""
    for case in cases(row):

        def call(case=case):
            lamina.manual_seed(3)
            return case.call(lamina.float32)

        checks.twice(f"{row_id(row)} {case!r}", call, lambda got: None)


# --- large sizes, where work is split over blocks: (library, its functions, x) ---

# Of the whole result, as a vector.
LARGE_BOUND = {lamina.float64: 1e-10, lamina.float32: 2e-5, lamina.bfloat16: 2e-2, lamina.float16: 4e-3}

LARGE: dict[str, tuple[Callable, list[tuple[int, ...]]]] = {
    "add": (lambda lib, f, x: x + x, [(1023,), (1 << 20,)]),
    "add, transposed": (lambda lib, f, x: x.t() + x.t(), [(1025, 999)]),
    "add, broadcast": (lambda lib, f, x: x + x[:, :1], [(1025, 999)]),
    "copy of every second": (lambda lib, f, x: x[:, ::2].contiguous(), [(1025, 999)]),
    "exp": (lambda lib, f, x: lib.exp(x), [(1 << 20,)]),
    "sum": (lambda lib, f, x: x.sum(), [(1 << 22,), (4097,)]),
    "sum of rows": (lambda lib, f, x: x.sum(-1), [(513, 1025), (16, 100000), (100000, 3)]),
    "sum of columns": (lambda lib, f, x: x.sum(0), [(513, 1025), (100000, 16)]),
    "largest": (lambda lib, f, x: x.max(-1)[0], [(513, 1025), (16, 100000)]),
    "variance": (lambda lib, f, x: x.var(0), [(5000, 33)]),
    "softmax": (lambda lib, f, x: f.softmax(x, -1), [(513, 1025), (8, 50000)]),
    "log softmax": (lambda lib, f, x: f.log_softmax(x, 0), [(513, 1025)]),
    "layer norm": (lambda lib, f, x: f.layer_norm(x, (x.shape[-1],)), [(513, 1025), (64, 20000)]),
    "group norm": (lambda lib, f, x: f.group_norm(x, 4), [(9, 32, 33, 31)]),
    "batch norm": (lambda lib, f, x: f.batch_norm(x, None, None, training=True), [(9, 32, 33, 31), (4000, 30)]),
    "matmul": (lambda lib, f, x: x @ x.transpose(-1, -2), [(513, 257), (2048, 512), (3, 65, 1029)]),
    "matmul, transposed": (lambda lib, f, x: x.t() @ x, [(513, 257), (4096, 128)]),
    "conv": (lambda lib, f, x: f.conv2d(x, x[:8, :, :3, :3], padding=1), [(9, 16, 33, 31), (8, 64, 56, 56)]),
    "max pool": (lambda lib, f, x: f.max_pool2d(x, 3, 2, 1), [(9, 16, 33, 31)]),
    "attention": (lambda lib, f, x: f.scaled_dot_product_attention(x, x, x, is_causal=True), [(3, 4, 300, 64)]),
    "cumsum": (lambda lib, f, x: x.cumsum(-1), [(65, 4097), (3, 300000)]),
    "sort": (lambda lib, f, x: x.sort(-1)[0], [(65, 4097), (1 << 20,)]),
    "topk": (lambda lib, f, x: lib.topk(x, 7, -1)[0], [(65, 40970)]),
}


def check_large(checks: Checks) -> None:
    rng = np.random.default_rng(7)
    for name, (fn, shapes) in LARGE.items():
        for dtype in DTYPES:
            for shape in [tuple(min(n, 20) for n in s) for s in shapes[:1]] if checks.lab.dry else shapes:
                values = torch.from_numpy(rng.standard_normal(shape)).to(getattr(torch, dtype.name)).double()
                values = values.to(checks.lab.torch_device).requires_grad_()
                want = fn(torch, torch.nn.functional, values)
                weights = torch.from_numpy(np.cos(np.arange(want.numel()))).reshape(want.shape)
                weights = weights.to(getattr(torch, dtype.name)).to(want)
                (grad,) = torch.autograd.grad(want, values, weights)

                def call(values=values, weights=weights, fn=fn, dtype=dtype):
                    x, w = (lamina.tensor(t.detach().cpu().numpy()).to("cuda", dtype) for t in (values, weights))
                    y = fn(lamina, lamina.nn.functional, x.requires_grad_())
                    return [y.detach(), *lamina.autograd.grad(y, x, w)]

                def compare(got: list, want=want, grad=grad, dtype=dtype) -> None:
                    for y, w, what in zip(got, (want, grad), ("value", "gradient"), strict=True):
                        w = w.detach().cpu().numpy()
                        error = np.linalg.norm(to_numpy(y) - w) / max(np.linalg.norm(w), 1e-30)
                        bound = LARGE_BOUND[dtype] * (3 if what == "gradient" else 1)
                        assert error <= bound, f"{what}: relative error {error:.2e}, allowed {bound:.0e}"

                checks.twice(f"{name} {dtype} {shape}", call, compare)


def main(lab: Lab) -> int:
    checks = Checks(lab)
    check_large(checks)
    for row in ROWS[::5] if lab.dry else ROWS:
        with lamina.device("cuda"):
            if row["oracle"]:
                check_values(checks, row)
            elif row["random"] and "empty" not in row["name"]:
                check_random(checks, row)
        if row["differentiable"] and row["oracle"] and row["name"] not in SIZED_BY_VALUES:
            check_gradients(checks, row)
        checks.save()
    return int(checks.failed > 0)

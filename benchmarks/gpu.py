"""Lamina on a CUDA device against PyTorch on the same one: ceilings, correctness, bandwidth, training steps.

Called by ``gpu.sh``. Times are medians between CUDA events, on data that does not fit the second-level cache; shares
are of the copy bandwidth measured in the same run.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lamina
import lamina.nn.functional as F
import numpy as np
import torch
import torch.nn.functional as TF

ELEMENTS = 1 << 26  # 256 MB of float32: five times an H200's second-level cache


class Report:
    """Rows that are printed and written as they come."""

    def __init__(self, path: str) -> None:
        self.path, self.rows = path, []

    def add(self, name: str, **values: Any) -> None:
        self.rows.append({"name": name, **values})
        print(name, {k: round(v, 4) if isinstance(v, float) else v for k, v in values.items()}, flush=True)
        Path(self.path).write_text(json.dumps(self.rows, indent=1))


def median_ms(run: Callable[[], object], events: tuple, repeats: int = 20) -> float:
    """Median time of one call; ``events`` makes a timed event, and waits for the device."""
    make, wait = events
    for _ in range(3):
        run()
    wait()
    marks = [(make(), make()) for _ in range(repeats)]
    for start, end in marks:
        start.record()
        run()
        end.record()
    wait()
    return statistics.median(start.elapsed_time(end) for start, end in marks)


OURS = (lambda: lamina.cuda.Event(enable_timing=True), lambda: lamina.cuda.synchronize())
THEIRS = (lambda: torch.cuda.Event(enable_timing=True), lambda: torch.cuda.synchronize())


def ceilings(report: Report) -> None:
    x = torch.randn(ELEMENTS, device="cuda")
    y = torch.empty_like(x)
    ms = median_ms(lambda: y.copy_(x), THEIRS)
    report.add("copy", gb_per_s=8 * ELEMENTS / ms / 1e6)
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    ms = median_ms(lambda: a @ b, THEIRS)
    report.add("bf16 matmul 8192", tflop_per_s=2 * 8192**3 / ms / 1e9)


# --- correctness: random sizes, poisoned memory, everything twice ---

CHECKS: dict[str, tuple[Callable, list[tuple[int, ...]]]] = {
    "add": (lambda lib, x: x + x, [(1,), (1023,), (1 << 20,)]),
    "add, transposed": (lambda lib, x: x.transpose(0, 1) + x.transpose(0, 1), [(33, 65), (1024, 1000)]),
    "add, broadcast": (lambda lib, x: x + x[:, :1], [(33, 65), (1024, 1000)]),
    "exp": (lambda lib, x: lib.exp(x), [(1,), (1023,), (1 << 20,)]),
    "sum": (lambda lib, x: x.sum(), [(1,), (1023,), (1 << 22,)]),
    "sum of rows": (lambda lib, x: x.sum(-1), [(7, 3), (513, 1025), (16, 100000)]),
    "sum of columns": (lambda lib, x: x.sum(0), [(7, 3), (513, 1025), (100000, 16)]),
    "softmax": (lambda lib, x: lib.softmax(x, -1), [(5, 3), (513, 1025), (8, 50000)]),
    "layer norm": (lambda lib, x: layer_norm(lib, x), [(5, 8), (513, 1025)]),
    "matmul": (lambda lib, x: x @ x.transpose(-1, -2), [(1, 1), (17, 33), (256, 512), (3, 65, 129)]),
    "cumsum": (lambda lib, x: x.cumsum(-1), [(3, 5), (65, 4097)]),
    "sort": (lambda lib, x: x.sort(-1)[0], [(3, 5), (65, 4097)]),
}


def layer_norm(lib, x):
    return (F if lib is lamina else TF).layer_norm(x, (x.shape[-1],))


def check(report: Report) -> None:
    rng = np.random.default_rng(int.from_bytes(os.urandom(4), "little"))
    bounds = {"float64": 1e-10, "float32": 2e-5, "bfloat16": 2e-2, "float16": 4e-3}
    for name, (fn, shapes) in CHECKS.items():
        for dtype, bound in bounds.items():
            for shape in shapes:
                values = torch.from_numpy(rng.standard_normal(shape)).to(getattr(torch, dtype))
                want = fn(torch, values.double())
                x = lamina.tensor(values.double().numpy()).to(getattr(lamina, dtype)).to("cuda")
                poison = lamina.full((max(values.numel(), 1) * 4,), float("nan"), device="cuda")
                del poison  # its memory is what the results are written to
                got = [fn(lamina, x).to(lamina.float64).cpu().numpy() for _ in range(2)]
                error = float(np.linalg.norm(got[0] - want.numpy()) / max(np.linalg.norm(want.numpy()), 1e-30))
                same = got[0].tobytes() == got[1].tobytes()
                if error > bound or not same or error != error:
                    report.add(f"{name} {dtype} {shape}", error=error, bound=bound, same=same)
    report.add("checks", count=sum(len(s) for _, s in CHECKS.values()) * len(bounds), failed=len(report.rows))
    sys.exit(len(report.rows) > 1)


# --- bandwidth and throughput ---

ROW = 4096
# name, shapes for n elements, the call (f: nn.functional), passes over the n elements that must go through memory
OPERATORS: list[tuple[str, Callable, Callable, int]] = [
    ("relu", lambda n: [(n,)], lambda lib, f, x: f.relu(x), 2),
    ("exp", lambda n: [(n,)], lambda lib, f, x: lib.exp(x), 2),
    ("tanh", lambda n: [(n,)], lambda lib, f, x: lib.tanh(x), 2),
    ("gelu", lambda n: [(n,)], lambda lib, f, x: f.gelu(x), 2),
    ("add", lambda n: [(n // 2,), (n // 2,)], lambda lib, f, x, y: x + y, 2),
    ("add a row", lambda n: [(n // ROW, ROW), (ROW,)], lambda lib, f, x, y: x + y, 2),
    ("transpose", lambda n: [(n // ROW, ROW)], lambda lib, f, x: x.t().contiguous(), 2),
    ("sum", lambda n: [(n,)], lambda lib, f, x: x.sum(), 1),
    ("sum of rows", lambda n: [(n // ROW, ROW)], lambda lib, f, x: x.sum(1), 1),
    ("sum of columns", lambda n: [(n // ROW, ROW)], lambda lib, f, x: x.sum(0), 1),
    ("softmax", lambda n: [(n // ROW, ROW)], lambda lib, f, x: f.softmax(x, -1), 2),
    ("layer norm", lambda n: [(n // ROW, ROW)], lambda lib, f, x: f.layer_norm(x, (ROW,)), 2),
    ("matmul 1024", lambda n: [(1024, 1024)] * 2, lambda lib, f, x, y: x @ y, 0),
    ("matmul 4096", lambda n: [(4096, 4096)] * 2, lambda lib, f, x, y: x @ y, 0),
    ("conv 3x3", lambda n: [(32, 64, 56, 56), (64, 64, 3, 3)], lambda lib, f, x, w: f.conv2d(x, w, padding=1), 0),
]


def operators(report: Report) -> None:
    copy = json.loads((Path(report.path).parent / "ceilings.json").read_text())[0]["gb_per_s"]
    for dtype, size in (("float32", 4), ("bfloat16", 2)):
        n = ELEMENTS * 4 // size
        for name, shapes, call, passes in OPERATORS:
            ms = {}
            for lib, functional, events in ((lamina, F, OURS), (torch, TF, THEIRS)):
                operands = [lib.randn(*shape, device="cuda").to(getattr(lib, dtype)) for shape in shapes(n)]
                try:
                    ms[lib] = median_ms(partial(call, lib, functional, *operands), events)
                except RuntimeError as error:
                    report.add(f"{name} {dtype}", library=lib.__name__, error=str(error))
            if len(ms) < 2:
                continue
            share = passes * n * size / ms[lamina] / 1e6 / copy
            report.add(
                f"{name} {dtype}", ms=ms[lamina], torch_ms=ms[torch], ratio=ms[torch] / ms[lamina], share_of_copy=share
            )


# --- training steps ---


def network(lib):
    nn = lib.nn
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 49, 10),
    ).to("cuda")


def transformer(lib, width=256, layers=4, vocabulary=512):
    nn = lib.nn

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x):  # (B, T, C)
            batch, time, _ = x.shape
            q, k, v = self.qkv(self.norm1(x)).reshape(batch, time, 3, 4, width // 4).permute(2, 0, 3, 1, 4)
            y = lib.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)  # (B, heads, T, C / heads)
            x = x + self.out(y.transpose(1, 2).reshape(batch, time, width))
            return x + self.down(lib.nn.functional.gelu(self.up(self.norm2(x))))

    return nn.Sequential(nn.Embedding(vocabulary, width), *(Block() for _ in range(layers)), nn.Linear(width, 512)).to(
        "cuda"
    )


def steps(report: Report) -> None:
    for name, make, data in (
        ("MNIST network, batch 64", network, lambda lib: (lib.randn(64, 1, 28, 28), lib.randint(0, 10, (64,)))),
        ("GPT, 16 x 128", transformer, lambda lib: (lib.randint(0, 512, (16, 128)), lib.randint(0, 512, (16 * 128,)))),
    ):

        def step_of(lib, make=make, data=data):
            model = make(lib)
            optimizer = lib.optim.AdamW(model.parameters(), lr=1e-3)
            x, target = (t.to("cuda") for t in data(lib))

            def step():
                optimizer.zero_grad()
                y = model(x)
                loss = lib.nn.functional.cross_entropy(y.reshape(-1, y.shape[-1]), target)
                loss.backward()
                lib.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                return loss

            return step

        theirs = median_ms(step_of(torch), THEIRS, 30)
        for kind in ("eager", "captured"):
            try:
                ours = step_of(lamina)
                run = lamina.cuda.graph(ours) if kind == "captured" else ours
                a = median_ms(run, OURS, 30)
            except RuntimeError as error:
                report.add(f"{name}, {kind}", error=str(error))
                continue
            report.add(f"{name}, {kind}", ms=a, torch_eager_ms=theirs, ratio=theirs / a)


def report_all(folder: Path) -> None:
    for path in sorted(folder.glob("*.json")):
        print(f"--- {path.stem}")
        for row in json.loads(path.read_text()):
            values = "  ".join(
                f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items() if k != "name"
            )
            print(f"{row['name']:36s} {values}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=["ceilings", "check", "operators", "steps", "report"])
    parser.add_argument("--json", required=True, help="the file to write, or the folder to report")
    args = parser.parse_args()
    if args.stage == "report":
        return report_all(Path(args.json))
    if not lamina.cuda.is_available():
        sys.exit(lamina.cuda.why_unavailable())
    {"ceilings": ceilings, "check": check, "operators": operators, "steps": steps}[args.stage](Report(args.json))


if __name__ == "__main__":
    main()

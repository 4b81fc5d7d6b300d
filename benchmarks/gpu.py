"""Lamina on a CUDA device against PyTorch on the same one: ceilings, correctness, bandwidth, training steps, the table.

Called by ``gpu.sh``. Times are medians between CUDA events, on data that does not fit the second-level cache; shares
are of the copy bandwidth measured in the same run. ``--dry`` runs the same code with tiny sizes and PyTorch on the CPU,
so that a mistake shows on a machine without a GPU, where Lamina's device may be emulated; its numbers mean nothing.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lamina
import torch

STAGES = ("ceilings", "check", "operators", "providers", "steps")


class Clock:
    """What an event of PyTorch is where PyTorch has no device: a time of the host."""

    def record(self) -> None:
        self.at = time.perf_counter()

    def elapsed_time(self, end: Clock) -> float:
        return (end.at - self.at) * 1e3


class Lab:
    """Sizes, devices and clocks of a run, and the rows it has measured: printed and written as they come."""

    def __init__(self, path: str, dry: bool) -> None:
        self.path, self.dry, self.rows = Path(path), dry, []
        self.torch_device = "cpu" if dry else "cuda"
        self.elements = 1 << 12 if dry else 1 << 26  # 256 MB of float32: five times an H200's second-level cache
        self.row = 64 if dry else 4096
        self.repeats = 2 if dry else 20

    def size(self, n: int) -> int:
        """A dimension of a matrix or network; small where the device is emulated."""
        return max(n // 64, 4) if self.dry else n

    def add(self, name: str, **values: Any) -> None:
        self.rows.append({"name": name, **values})
        print(name, {k: round(v, 4) if isinstance(v, float) else v for k, v in values.items()}, flush=True)
        self.path.write_text(json.dumps(self.rows, indent=1))

    def fail(self, name: str, error: Exception) -> None:
        self.add(name, error=f"{type(error).__name__}: {str(error)[:300]}")

    def median_ms(self, lib: Any, run: Callable[[], object]) -> float:
        """Median time of one call, at least 5 and at most 20 of them, about a second together."""
        if lib is lamina:
            make, wait = lambda: lamina.cuda.Event(enable_timing=True), lamina.cuda.synchronize
        elif self.dry:
            make, wait = Clock, lambda: None
        else:
            make, wait = lambda: torch.cuda.Event(enable_timing=True), torch.cuda.synchronize

        def times(count: int) -> list[float]:
            marks = [(make(), make()) for _ in range(count)]
            for start, end in marks:
                start.record()
                run()
                end.record()
            wait()
            return [start.elapsed_time(end) for start, end in marks]

        first = max(times(3))  # the first call plans, allocates and loads kernels
        rough = max(times(2)) if first > 100 else first
        return max(statistics.median(times(min(self.repeats, max(5, int(1000 / max(rough, 1e-3)))))), 1e-6)


def ceilings(lab: Lab) -> None:
    """What the machine gives: the bandwidth of a copy, and bf16 products through PyTorch."""
    torch_name = "cpu" if lab.dry else torch.cuda.get_device_name()
    ieee = not torch.backends.cuda.matmul.allow_tf32  # its default: float32 products are rounded as float32
    lab.add("machine", lamina=lamina.cuda.get_device_name(), torch=torch_name, version=torch.__version__, ieee=ieee)
    x = torch.randn(lab.elements, device=lab.torch_device)
    y = torch.empty_like(x)
    ms = lab.median_ms(torch, lambda: y.copy_(x))
    lab.add("copy", gb_per_s=8 * lab.elements / ms / 1e6)
    n = lab.size(8192)
    a, b = (torch.randn(n, n, device=lab.torch_device).bfloat16() for _ in range(2))
    lab.add("bf16 matmul 8192", tflop_per_s=2 * n**3 / lab.median_ms(torch, lambda: a @ b) / 1e9)


def copy_bandwidth(lab: Lab) -> float:
    """GB/s, as the stage before has measured it."""
    rows = json.loads((lab.path.parent / "ceilings.json").read_text())
    return next(row["gb_per_s"] for row in rows if row["name"] == "copy")


def verdict(row: dict) -> str:
    if "aim" not in row:
        return ""
    reached = row[row["of"]] >= row["aim"]
    return f"  {row['of']} >= {row['aim']:g}: {'ok' if reached else 'below'}"


def report(folder: Path) -> None:
    """The table of everything, and the rows farthest below their aims."""
    below = []
    for stage in STAGES:
        path = folder / f"{stage}.json"
        print(f"--- {stage}" + ("" if path.exists() else ": nothing was written"))
        for row in json.loads(path.read_text()) if path.exists() else []:
            shown = {k: v for k, v in row.items() if k not in ("name", "aim", "of")}
            values = "  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in shown.items())
            print(f"{row['name']:34s} {values}{verdict(row)}")
            if verdict(row).endswith("below"):
                below.append((row[row["of"]] / row["aim"], row["name"]))
    print(f"--- below their aims: {len(below)}")
    for share, name in sorted(below)[:10]:
        print(f"{name:34s} at {share:.2f} of it")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=[*STAGES, "report"])
    parser.add_argument("--json", required=True, help="the file to write, or the folder to report")
    parser.add_argument("--dry", action="store_true", help="tiny sizes, PyTorch on the CPU: does the script run?")
    args = parser.parse_args()
    if args.stage == "report":
        return report(Path(args.json))
    if not lamina.cuda.is_available():
        sys.exit(lamina.cuda.why_unavailable())
    if not args.dry and not torch.cuda.is_available():
        sys.exit("PyTorch finds no CUDA device")
    torch.backends.cudnn.allow_tf32 = False  # convolutions as products: float32 is float32
    lab = Lab(args.json, args.dry)
    if args.stage == "ceilings":
        return ceilings(lab)
    if args.stage == "providers":
        from gpu_operators import products

        sys.exit(products(lab))
    module = __import__(f"gpu_{args.stage}")
    sys.exit(module.main(lab))


if __name__ == "__main__":
    main()

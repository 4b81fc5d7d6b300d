"""Timing of two implementations in one process, in turn, so that a drift of the machine's speed hits both.

Every benchmark takes ``--threads N`` (the process is pinned to N cores before anything is imported), ``--json FILE``
and ``--no-torch``. A ratio is PyTorch's time divided by Lamina's: above 1, Lamina is faster.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import time
from collections.abc import Callable


def setup(doc: str, argv: list[str] | None = None) -> argparse.Namespace:
    """Reads the common arguments and pins the process; call it before importing lamina or torch."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="cores to pin to, and threads of both libraries")
    parser.add_argument("--json", help="write the results there")
    parser.add_argument("--only", default="", help="run the rows whose name contains this")
    parser.add_argument("--rounds", type=int, default=7, help="alternations; the minimum of each side counts")
    parser.add_argument("--no-torch", action="store_true", help="time Lamina alone")
    args = parser.parse_args(argv)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "LAMINA_NUM_THREADS"):
        os.environ[name] = str(args.threads)
    return args


def import_torch(args: argparse.Namespace):
    """torch with the same number of threads, or None."""
    if args.no_torch:
        return None
    try:
        import torch
    except ImportError:
        print("PyTorch is not installed: timing Lamina alone")
        return None
    torch.set_num_threads(args.threads)
    return torch


def time_once(fn: Callable[[], object], target: float = 0.03) -> tuple[float, int]:
    """Seconds per call and how many calls take about ``target`` seconds."""
    fn()
    count = 1
    while True:
        start = time.perf_counter()
        for _ in range(count):
            fn()
        elapsed = time.perf_counter() - start
        if elapsed > target or count > 1_000_000:
            return elapsed / count, count
        count = max(count * 2, int(count * target / max(elapsed, 1e-9)))


class Table:
    """Collects rows, prints them as they come, and writes them as JSON."""

    def __init__(self, args: argparse.Namespace, title: str) -> None:
        self.args, self.rows = args, []
        print(f"{title}; {args.threads} core(s), load {os.getloadavg()[0]:.1f}")
        print(f"{'':42s} {'lamina':>12s} {'torch':>12s} {'ratio':>7s}  {'median':>7s}")

    def row(self, name: str, ours: Callable, theirs: Callable | None, goal: float | None = None) -> None:
        if self.args.only not in name:
            return
        gc.collect()
        gc.disable()
        try:
            _, n = time_once(ours)
            _, m = time_once(theirs) if theirs else (0, 0)
            a, b = [], []
            for _ in range(self.args.rounds):
                a.append(timed(ours, n))
                if theirs:
                    b.append(timed(theirs, m))
        finally:
            gc.enable()
        entry = {"name": name, "lamina_s": min(a), "threads": self.args.threads}
        text = f"{name:42s} {pretty(min(a)):>12s}"
        if theirs:
            entry |= {
                "torch_s": min(b),
                "ratio": min(b) / min(a),
                "median_ratio": statistics.median(b) / statistics.median(a),
            }
            text += f" {pretty(min(b)):>12s} {entry['ratio']:7.2f}  {entry['median_ratio']:7.2f}"
            if goal is not None:
                entry["goal"] = goal
                text += f"  goal {goal:g} {'ok' if entry['ratio'] >= goal else 'MISSED'}"
        print(text, flush=True)
        self.rows.append(entry)
        if self.args.json:
            with open(self.args.json, "w") as file:
                json.dump(self.rows, file, indent=1)


def timed(fn: Callable[[], object], count: int) -> float:
    """Seconds per call. The pause lets the other library's threads go to sleep: OpenMP's spin on for milliseconds."""
    time.sleep(0.03)
    fn()
    start = time.perf_counter()
    for _ in range(count):
        fn()
    return (time.perf_counter() - start) / count


def pretty(seconds: float) -> str:
    for unit, scale in (("s", 1), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.2f} {unit}"
    return f"{seconds * 1e9:.0f} ns"

"""Registers of the CUDA kernels, from what ptxas says when it compiles them; no GPU is needed.

usage: ptxas_report.py compile COMMAND...         the compiler's launcher: keeps the report as OBJECT.ptxas
       ptxas_report.py check TABLE OBJECT...      writes the table of all kernels; fails where a rule is broken

The rules: no kernel spills registers; no kernel has a stack frame, which is memory too; and no kernel uses more than
128 registers, so that two blocks of 256 threads fit on a multiprocessor, one computing while the other waits.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

REGISTERS = 128
MORE_REGISTERS = {  # kernel: (limit, why)
    "norm_grad_row_kernel": (
        255,
        "a row, its gradient and two sums a column live in registers; read once",
    ),
    "rows_kernel": (136, "64 sums a thread and four loads in flight; with 128 it spills"),
    "softmax_row_kernel": (160, "a row of up to 8192 elements lives in registers; read once"),
    "softmax_grad_row_kernel": (160, "two rows of up to 4096 elements live in registers; read once"),
}
FRAMES = [  # pattern in the demangled name: bytes, why
    (
        r"math::(Sin|Cos|Tan|Sinc|Digamma|Polygamma|Lgamma)>|NormalFloat|NormalDouble",
        40,
        "CUDA's sin, cos and tan keep the digits of 2/pi that a huge argument needs in an array; others never touch it",
    ),
]

ENTRY = re.compile(
    r"Compiling entry function '(?P<name>\S+)' for '(?P<target>\S+)'\n"
    r"(?:ptxas info .*\n)*?"
    r"\s*(?P<frame>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads\n"
    r"ptxas info\s*: Used (?P<registers>\d+) registers(?P<rest>.*)\n"
)


class Kernel(NamedTuple):
    name: str
    target: str
    registers: int
    frame: int
    spills: int
    shared: int
    file: str

    def problems(self) -> list[str]:
        short = re.sub(r"^void |lamina::cuda::", "", self.name)
        found = [f"spills {self.spills} bytes"] if self.spills else []
        limit = MORE_REGISTERS.get(re.split(r"[<(]", short)[0], (REGISTERS, ""))[0]
        if self.registers > limit:
            found.append(f"uses {self.registers} registers, at most {limit}")
        allowed = max([size for pattern, size, _ in FRAMES if re.search(pattern, self.name)], default=0)
        if self.frame > allowed:
            found.append(f"has a stack frame of {self.frame} bytes, at most {allowed}")
        return [f"{self.file} for {self.target}: {short}: {problem}" for problem in found]


def compile_and_keep(command: list[str]) -> int:
    output = Path(command[command.index("-o") + 1])
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    report, other = [], []
    for line in done.stderr.splitlines(keepends=True):
        (report if line.startswith("ptxas info") or " bytes stack frame, " in line else other).append(line)
    sys.stderr.write("".join(other))
    if done.returncode == 0:
        output.with_name(output.name + ".ptxas").write_text("".join(report))
    return done.returncode


def kernels_of(object_file: Path) -> list[Kernel]:
    found = []
    for m in ENTRY.finditer(object_file.with_name(object_file.name + ".ptxas").read_text()):
        shared = re.search(r"(\d+) bytes smem", m["rest"])
        spills = int(m["stores"]) + int(m["loads"])
        sizes = int(m["registers"]), int(m["frame"]), spills, int(shared[1]) if shared else 0
        found.append(Kernel(m["name"], m["target"], *sizes, object_file.name.removesuffix(".o")))
    return found


def check(table: Path, objects: list[Path]) -> int:
    kernels = [kernel for path in objects for kernel in kernels_of(path)]
    names = "\n".join(k.name for k in kernels)
    names = subprocess.run(["c++filt"], input=names, capture_output=True, text=True, check=True).stdout
    kernels = [kernel._replace(name=name) for kernel, name in zip(kernels, names.splitlines())]
    kernels.sort(key=lambda k: (-k.registers, k.name, k.target))
    lines = ["\t".join(Kernel._fields)] + ["\t".join(map(str, kernel)) for kernel in kernels]
    table.write_text("\n".join(lines) + "\n")
    problems = [problem for kernel in kernels for problem in kernel.problems()]
    print(f"{len(kernels)} kernels in {len(objects)} files, {len(problems)} problems; all in {table}")
    for kernel in kernels[:5]:
        print(f"  {kernel.registers} registers: {kernel.name[:100]}")
    print(*problems, sep="\n")
    return int(bool(problems) or not kernels)


if __name__ == "__main__":
    if sys.argv[1] == "compile":
        sys.exit(compile_and_keep(sys.argv[2:]))
    sys.exit(check(Path(sys.argv[2]), [Path(name) for name in sys.argv[3:] if name.endswith(".cu.o")]))

"""Breaks kernels one statement at a time and shows which tests of the emulator notice.

mutate.py BUILD_DIRECTORY [FAMILY ...] [--per-kernel N]: for every kernel of csrc/cuda/kernels/FAMILY.cuh, leaves out a
barrier or shifts the index of a store, compiles csrc/cuda/FAMILY.cu with the broken header, links it in place of the
object of tests/cuda_FAMILY_test and runs that. Prints a table; fails if a mutation survives. What does not compile
is not counted.
"""

import argparse
import json
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
KERNELS = ROOT / "csrc/cuda/kernels"
KERNEL = re.compile(r"__global__\s+void\s+(?:__launch_bounds__\s*\([^)]*\)\s*)?(\w+)\s*\(")
BARRIER = re.compile(r"\b(?:__syncthreads|__syncwarp|cp_async_wait<\w+>|cp_async_wait_all)\(\s*\);")
STORE = re.compile(r"\b(\w+(?:\[[^\[\]]*\])?)\[([^\[\]]+)\](?=\s*[-+*|]?=[^=])")
FAULT = re.compile(r"thread \([\d,]+\): ([^\n\[\"]+)|(divergent [^\n\[\"]+)|(out of bounds[^\n\[\"]+)")


class Mutation(NamedTuple):
    line: int
    kernel: str
    what: str
    text: str  # of the whole header


def mutations(text: str) -> Iterator[Mutation]:
    starts = [(m.start(), m.group(1)) for m in KERNEL.finditer(text)]
    found = [(m, "without " + m.group().rstrip(";"), "") for m in BARRIER.finditer(text)]
    found += [(m, f"{m.group()} + 1", f"{m.group(1)}[({m.group(2)}) + 1]") for m in STORE.finditer(text)]
    for match, what, replacement in sorted(found, key=lambda f: f[0].start()):
        if "//" in text[text.rfind("\n", 0, match.start()) : match.start()]:
            continue  # a comment
        kernel = next((name for start, name in reversed(starts) if start < match.start()), "(helper)")
        line = text.count("\n", 0, match.start()) + 1
        yield Mutation(line, kernel, what, text[: match.start()] + replacement + text[match.end() :])


def command_for(build: Path, source: Path) -> list[str]:
    for entry in json.loads((build / "compile_commands.json").read_text()):
        if Path(entry["file"]) == source and "-DLM_EMULATE" in entry["command"]:
            return [word for word in shlex.split(entry["command"]) if not word.endswith("ccache")]
    raise SystemExit(f"{source} is not in {build}/compile_commands.json")


def link_command(build: Path, target: str) -> list[str]:
    lines = subprocess.run(["ninja", "-C", build, "-t", "commands", f"tests/{target}"], capture_output=True, text=True)
    command = lines.stdout.strip().splitlines()[-1].removeprefix(": && ").removesuffix(" && :")
    return shlex.split(command)


def run(family: str, mutation: Mutation, build: Path) -> str | None:
    """Why the test failed, or "" if it passed; None if the kernel does not compile."""
    with tempfile.TemporaryDirectory() as folder:
        overlay = Path(folder) / "cuda/kernels"
        overlay.mkdir(parents=True)
        (overlay / f"{family}.cuh").write_text(mutation.text)
        compile_command = command_for(build, ROOT / f"csrc/cuda/{family}.cu")
        compile_command[compile_command.index("-o") + 1] = f"{folder}/broken.o"
        compile_command.insert(1, f"-I{folder}")
        compiled = subprocess.run(compile_command, cwd=build, capture_output=True, text=True)
        if compiled.returncode:
            return None
        link = link_command(build, f"cuda_{family}_test")
        link[link.index("-o") + 1] = f"{folder}/test"
        link = [f"{folder}/broken.o" if word.endswith(f"csrc/cuda/{family}.cu.o") else word for word in link]
        subprocess.run(link, cwd=build, check=True)
        try:
            test = subprocess.run([f"{folder}/test", "--gtest_brief=1"], capture_output=True, text=True, timeout=120)
        except subprocess.TimeoutExpired:
            return "does not end"
        fault = FAULT.search(test.stdout)
        reason = next((group for group in fault.groups() if group), "") if fault else "wrong result"
        return reason.strip() if test.returncode else ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=Path)
    parser.add_argument("families", nargs="*")
    parser.add_argument("--per-kernel", type=int, default=2, help="how many mutations of each kernel (default 2)")
    options = parser.parse_args()
    compiled = {path.stem for path in (ROOT / "csrc/cuda").glob("*.cu")}
    families = options.families or sorted({path.stem for path in KERNELS.glob("*.cuh")} & compiled)
    tried = survived = 0
    kernels = set()
    for family in families:
        count: dict[str, int] = {}
        for mutation in mutations((KERNELS / f"{family}.cuh").read_text()):
            if count.get(mutation.kernel, 0) == options.per_kernel:
                continue
            reason = run(family, mutation, options.build.resolve())
            if reason is None:
                continue
            count[mutation.kernel] = count.get(mutation.kernel, 0) + 1
            tried += 1
            survived += not reason
            kernels.add(mutation.kernel)
            place = f"{family}.cuh:{mutation.line}"
            print(f"{place:24} {mutation.kernel:32} {mutation.what:44} {reason[:90] or 'SURVIVED'}", flush=True)
    print(f"{tried} mutations of {len(kernels)} kernels, {tried - survived} noticed, {survived} survived")
    return int(survived > 0)


if __name__ == "__main__":
    sys.exit(main())

"""Counts the kernels that the emulator tests have launched: coverage.py KERNEL_DIRECTORY COVERAGE_DIRECTORY.

Every `__global__` function of the kernel headers is a kernel; every test executable has left the names it launched in
a file. Fails below 90 percent.
"""

import re
import sys
from pathlib import Path

REQUIRED = 0.9
KERNEL = re.compile(r"__global__\s+void\s+(?:__launch_bounds__\s*\([^)]*\)\s*)?(\w+)\s*\(")


def main(kernels: Path, coverage: Path) -> int:
    sources = {path: path.read_text() for path in sorted(kernels.glob("*.cuh"))}
    defined = {name: path.name for path, text in sources.items() for name in KERNEL.findall(text)}
    keywords = sum(text.count("__global__") for text in sources.values())
    launched = {name for path in coverage.glob("*.txt") for name in path.read_text().split()}
    missing = sorted(set(defined) - launched)
    print(f"kernels: {len(defined)} defined, {len(defined) - len(missing)} covered")
    for name in missing:
        print(f"  not covered: {name} ({defined[name]})")
    if keywords != len(defined):
        print(f"  {keywords} times __global__, {len(defined)} different names: names must be unique, one line each")
        return 1
    return int(len(missing) > (1 - REQUIRED) * len(defined))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))

"""cmake/ptxas_report.py: reports are kept beside objects, and a broken rule is named with the kernel."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "cmake" / "ptxas_report.py"
REPORT = """ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '{name}' for 'sm_90a'
ptxas info    : Function properties for {name}
    {frame} bytes stack frame, {spill} bytes spill stores, {spill} bytes spill loads
ptxas info    : Used {registers} registers, used 1 barriers, {frame} bytes cumulative stack size, 512 bytes smem
ptxas info    : Compile time = 14.692 ms
"""
SOFTMAX = "_ZN6lamina4cuda18softmax_row_kernelIfLi1ELi32ELi32EEEvPKT_PS2_lib"
SINE = "_ZN6lamina4cuda18elementwise_kernelINS0_12UnaryFormulaINS_4math3SinEEEEEvT_"


def run(*arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True)


def check(tmp_path: Path, name: str = "plain", registers: int = 32, frame: int = 0, spill: int = 0) -> tuple[int, str]:
    text = REPORT.format(name=name, registers=registers, frame=frame, spill=spill)
    (tmp_path / "some.cu.o.ptxas").write_text(text)
    done = run("check", tmp_path / "table.tsv", tmp_path / "some.cu.o", tmp_path / "host.cpp.o")
    return done.returncode, done.stdout


def test_a_kernel_within_the_rules(tmp_path):
    assert check(tmp_path, registers=128)[0] == 0
    rows = (tmp_path / "table.tsv").read_text().splitlines()
    assert rows == ["name\ttarget\tregisters\tframe\tspills\tshared\tfile", "plain\tsm_90a\t128\t0\t0\t512\tsome.cu"]
    assert check(tmp_path, SOFTMAX, registers=158)[0] == 0
    assert check(tmp_path, SINE, frame=40)[0] == 0


@pytest.mark.parametrize(
    ("numbers", "problem"),
    [
        ({"registers": 129}, "some.cu for sm_90a: plain: uses 129 registers, at most 128"),
        ({"name": SOFTMAX, "registers": 161}, "uses 161 registers, at most 160"),
        ({"frame": 8}, "some.cu for sm_90a: plain: has a stack frame of 8 bytes, at most 0"),
        ({"name": SINE, "frame": 48}, "has a stack frame of 48 bytes, at most 40"),
        ({"spill": 4}, "some.cu for sm_90a: plain: spills 8 bytes"),
    ],
)
def test_a_broken_rule_is_named(tmp_path, numbers, problem):
    status, output = check(tmp_path, **numbers)
    assert status == 1
    assert problem in output
    assert "1 problems" in output


def test_the_launcher_keeps_the_report_and_passes_the_rest_on(tmp_path):
    text = REPORT.format(name="plain", registers=40, frame=0, spill=0)
    compiler = tmp_path / "compiler.py"
    compiler.write_text(
        f"import sys\nsys.stderr.write({text!r} + 'warning: of the compiler\\n')\nsys.exit('x' in sys.argv)\n"
    )
    kept = tmp_path / "a.cu.o.ptxas"
    failed = run("compile", sys.executable, compiler, "x", "-o", tmp_path / "a.cu.o")
    assert failed.returncode == 1 and not kept.exists()
    done = run("compile", sys.executable, compiler, "-o", tmp_path / "a.cu.o")
    assert (done.returncode, done.stderr, kept.read_text()) == (0, "warning: of the compiler\n", text)


def test_nothing_to_check_is_a_failure(tmp_path):
    assert run("check", tmp_path / "table.tsv").returncode == 1

"""NVIDIA's libraries: which were found, and why not. What they compute: tests/cuda/provider_test.cpp."""

import json
import os
import subprocess
import sys
from pathlib import Path

import lamina
import pytest

with_library = pytest.mark.skipif(not lamina.cuda.providers(), reason="this build of lamina has no CUDA support")
STAND_INS = Path(lamina._core.__file__).parents[2] / "tests"  # where a build with the emulator has them
REPORT = "import json, lamina; print(json.dumps(lamina.cuda.providers()))"


def run(code: str, **variables: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LAMINA_")}
    return subprocess.check_output([sys.executable, "-c", code], env=environment | variables, text=True)


def test_each_has_a_version_or_a_reason():
    found = lamina.cuda.providers()
    assert set(found) in (set(), {"cublaslt", "cudnn", "nvrtc"})
    assert all(isinstance(text, str) and text for text in found.values())


@with_library
def test_the_environment_chooses():
    found = json.loads(run(REPORT, LAMINA_PROVIDERS="none"))
    assert set(found.values()) == {"turned off by LAMINA_PROVIDERS=none"}
    found = json.loads(run(REPORT, LAMINA_PROVIDERS="nvrtc", LAMINA_NVRTC_PATH="/none/libnvrtc.so"))
    assert found["cudnn"] == "turned off by LAMINA_PROVIDERS=nvrtc"
    assert found["nvrtc"].startswith("LAMINA_NVRTC_PATH: /none/libnvrtc.so: cannot open")


@with_library
def test_a_library_of_another_kind_is_refused():
    libc = next(line.split()[-1] for line in open("/proc/self/maps") if "/libc.so.6" in line)
    assert json.loads(run(REPORT, LAMINA_CUDNN_PATH=libc))["cudnn"] == "the library has no cudnnGetVersion"


def test_import_makes_no_files(tmp_path):
    run("import lamina; lamina.ones(2, 2) @ lamina.ones(2, 2)", XDG_CACHE_HOME=str(tmp_path), HOME=str(tmp_path))
    assert not list(tmp_path.iterdir())


STEP = """
import ctypes, os
import lamina
from lamina import nn

def gradients():
    model.zero_grad()
    model(x).square().sum().backward()
    return [p.grad for p in model.parameters()]

convolutions = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 3, stride=2, padding=1, groups=2), nn.Conv2d(16, 16, 1)
model, x = nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(144, 9)), lamina.randn(4, 3, 6, 6)
expected = [g.clone() for g in gradients()]
model, x = model.cuda(), x.cuda()
replay = lamina.cuda.graph(gradients)
replay()
for got, want in zip(replay(), expected):
    assert lamina.allclose(got.cpu(), want, rtol=1e-4, atol=1e-4), (got, want)
print(*(ctypes.CDLL(os.environ[f"LAMINA_{name}_PATH"]).fake_calls() for name in ("CUBLASLT", "CUDNN")))
"""


@pytest.mark.skipif(not (STAND_INS / "libfake_cudnn.so").exists(), reason="this build has no emulator")
def test_a_captured_step_computed_by_stand_ins():
    paths = {f"LAMINA_{name.upper()}_PATH": str(STAND_INS / f"libfake_{name}.so") for name in ("cublaslt", "cudnn")}
    products, convolutions = map(int, run(STEP, LAMINA_TUNE="provider", **paths).split())
    # Two steps to warm up and two replays, of one layer at least: forward, its input's gradient and its weight's.
    assert products >= 3 * 4
    assert convolutions >= 3 * 4

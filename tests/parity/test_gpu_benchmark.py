"""benchmarks/gpu.sh from its first stage to the table, with tiny sizes: a mistake must not show on a borrowed GPU."""

import json
import os
import subprocess
from pathlib import Path

import lamina
import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(not lamina.cuda.is_available(), reason=lamina.cuda.why_unavailable())


def test_every_stage_runs_dry(tmp_path):
    package = str(Path(lamina.__file__).parents[1])
    env = {**os.environ, "DRY": "1", "OUT": str(tmp_path), "PYTHONPATH": package}
    run = subprocess.run(["bash", "benchmarks/gpu.sh"], cwd=ROOT, env=env, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-4000:]
    stages = [json.loads(line) for line in (tmp_path / "stages.jsonl").read_text().splitlines()]
    assert [s["stage"] for s in stages] == ["ceilings", "steps", "operators", "providers", "check"]
    for stage in stages:
        rows = json.loads((tmp_path / f"{stage['stage']}.json").read_text())
        assert rows and stage["exit"] == 0 and not [row for row in rows if "error" in row]
    table = run.stdout
    assert "--- below their aims:" in table and table.rindex("--- ceilings") < table.rindex("--- below their aims:")
    assert "share_of_copy >= 0.85" in table and "ratio >= 3" in table
    (checks,) = [row for row in rows if row["name"] == "checks"]
    assert checks["failed"] == 0 and checks["calls"] > 300


def test_the_limits_of_all_stages_fit_into_eight_minutes():
    lines = (ROOT / "benchmarks" / "gpu.sh").read_text().splitlines()
    limits = [int(line.split("stage ", 1)[1].split()[1]) for line in lines if "stage " in line and ".py" in line]
    limits += [int(line.split()[2]) for line in lines if line.strip().startswith("stage build")]
    assert len(limits) == 7 and sum(limits) <= 8 * 60

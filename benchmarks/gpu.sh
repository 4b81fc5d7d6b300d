#!/usr/bin/env bash
# Builds Lamina on a machine with a CUDA device, checks every operator against float64 and measures against PyTorch, in at
# most eight minutes and without a network: the build requirements must be installed (--no-build-isolation). Each stage has
# its own time limit and writes JSON into $OUT as it goes; a table of all of it comes last.
#   OUT=results bash benchmarks/gpu.sh
set -u
cd "$(dirname "$0")/.."
export OUT=${OUT:-benchmarks/results/gpu}
mkdir -p "$OUT"
export PYTHONPATH=
export CMAKE_BUILD_PARALLEL_LEVEL=${CMAKE_BUILD_PARALLEL_LEVEL:-16} LAMINA_NUM_THREADS=${LAMINA_NUM_THREADS:-8}

stage() {  # name, seconds, command
  local name=$1 limit=$2 start=$SECONDS status
  shift 2
  timeout --kill-after=5 "$limit" "$@" > "$OUT/$name.log" 2>&1
  status=$?
  echo "{\"stage\": \"$name\", \"seconds\": $((SECONDS - start)), \"limit\": $limit, \"exit\": $status}" >> "$OUT/stages.jsonl"
  echo "== $name: exit $status after $((SECONDS - start)) s of at most $limit"
  [ $status -eq 0 ] || tail -n 15 "$OUT/$name.log"
  return $status
}

: > "$OUT/stages.jsonl"
stage build 150 pip install --no-build-isolation --no-deps --force-reinstall -Ccmake.define.LAMINA_CUDA=ON . || exit 1
cd benchmarks || exit 1
case "$OUT" in /*) ;; *) OUT=$(cd .. && cd "$OUT" && pwd) ;; esac
stage ceilings 20 python gpu.py ceilings --json "$OUT/ceilings.json"
stage table 80 python -m pytest --maxfail=200 ../tests/python/test_table.py -k cuda
stage check 50 python gpu.py check --json "$OUT/check.json"
stage operators 110 python gpu.py operators --json "$OUT/operators.json"
stage steps 60 python gpu.py steps --json "$OUT/steps.json"
tail -n 3 "$OUT/table.log"
python gpu.py report --json "$OUT"

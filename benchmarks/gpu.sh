#!/usr/bin/env bash
# Builds Lamina on a machine with a CUDA device, checks every operator against float64 and measures against PyTorch, in at
# most eight minutes and without a network: the build requirements must be installed (--no-build-isolation). Each stage has
# its own time limit and writes JSON into $OUT as it goes; a table of all of it comes last.
#   OUT=results bash benchmarks/gpu.sh
# ARCHITECTURES chooses the GPUs to compile for (H100 and H200 unless given: the time is short).
# DRY=1 runs all of it but the build with tiny sizes, Lamina from PYTHONPATH and PyTorch on the CPU: a test of the script.
set -u
cd "$(dirname "$0")/.." || exit 1
OUT=${OUT:-benchmarks/results/gpu}
mkdir -p "$OUT" && OUT=$(cd "$OUT" && pwd) || exit 1
export CMAKE_BUILD_PARALLEL_LEVEL=${CMAKE_BUILD_PARALLEL_LEVEL:-16} LAMINA_NUM_THREADS=${LAMINA_NUM_THREADS:-8}
export PYTHONUNBUFFERED=1
failed=0

stage() {  # name, seconds, command
  local name=$1 limit=$2 start=$SECONDS status
  shift 2
  [ -z "${DRY:-}" ] || limit=$((limit * 10))  # an emulated device takes its time
  timeout --kill-after=5 "$limit" "$@" > "$OUT/$name.log" 2>&1
  status=$?
  echo "{\"stage\": \"$name\", \"seconds\": $((SECONDS - start)), \"limit\": $limit, \"exit\": $status}" >> "$OUT/stages.jsonl"
  echo "== $name: exit $status after $((SECONDS - start)) s of at most $limit"
  [ $status -eq 0 ] || { failed=1; tail -n 15 "$OUT/$name.log"; }
  return $status
}

: > "$OUT/stages.jsonl"
dry=()
if [ -n "${DRY:-}" ]; then
  dry=(--dry)
else
  export PYTHONPATH=  # what was built, not the sources
  stage build 180 python -m pip install --no-build-isolation --no-deps --force-reinstall \
    -Ccmake.define.LAMINA_CUDA=ON -Ccmake.define.LAMINA_CUDA_ARCHITECTURES="${ARCHITECTURES:-90a-real}" . || exit 1
fi
cd benchmarks || exit 1
stage ceilings 40 python gpu.py ceilings --json "$OUT/ceilings.json" "${dry[@]}"
stage steps 40 python gpu.py steps --json "$OUT/steps.json" "${dry[@]}"
stage operators 80 env LAMINA_PROVIDERS=none python gpu.py operators --json "$OUT/operators.json" "${dry[@]}"
stage providers 20 python gpu.py providers --json "$OUT/providers.json" "${dry[@]}"
stage check 65 env LAMINA_PROVIDERS=none python gpu.py check --json "$OUT/check.json" "${dry[@]}"
[ -n "${DRY:-}" ] || stage table 55 python -m pytest --maxfail=200 ../tests/python/test_table.py -k cuda
[ -e "$OUT/table.log" ] && tail -n 3 "$OUT/table.log"
python gpu.py report --json "$OUT" || failed=1
exit $failed

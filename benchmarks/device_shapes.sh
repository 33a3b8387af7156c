#!/usr/bin/env bash
# On a machine with an NVIDIA GPU: the user's own shapes (tests/test_own_shapes.py) on five backends:
#
#     bash benchmarks/device_shapes.sh OUT SECONDS
#
# Writes OUT/shapes.txt (a line per shape) and OUT/shapes.summary.
set -uo pipefail
out=$1 seconds=$2 python=${PYTHON:-python3} work=$(mktemp -d)
export MKGEN_SHAPE_DEVICE=1 XLA_PYTHON_CLIENT_PREALLOCATE=false OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1
export MKGEN_CACHE=$work/cache
shapes() {  # shapes BACKEND PROCESSES
  timeout "$seconds" "$python" -m pytest -p no:cacheprovider -q -rA -m acceptance -n "$2" \
    --timeout 0 tests/test_own_shapes.py -k "test_random_shapes and $1" > "$work/shapes.$1" 2>&1
}
shapes cuda 3 & shapes hip 3 & shapes opencl 3 & shapes triton 5 & shapes pallas 6 &
wait
grep -hoE '^[a-z_0-9]+ (float32|float16|bfloat16) [a-z]+ \{.*\}: .*' "$work"/shapes.* | sort -u > "$out/shapes.txt"
for b in cuda hip triton opencl pallas; do
  echo "$b: $(grep -c " $b {.*: right" "$out/shapes.txt") right, $(grep " $b {" "$out/shapes.txt" | grep -vc ': right') not; $(tail -n 1 "$work/shapes.$b")"
done | tee "$out/shapes.summary"

#!/usr/bin/env bash
# On a machine with an NVIDIA GPU: the user's own shapes (tests/test_own_shapes.py) on five backends,
# and beside them pairs of verdicts without a device and on it (benchmarks/fidelity.py):
#
#     bash benchmarks/device_shapes.sh OUT SECONDS
#
# Writes OUT/shapes.txt (a line per shape), OUT/shapes.summary and OUT/pairs.jsonl.xz.
set -uo pipefail
out=$1 seconds=$2 python=${PYTHON:-python3} work=$(mktemp -d)
export MKGEN_SHAPE_DEVICE=1 XLA_PYTHON_CLIENT_PREALLOCATE=false OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1
export MKGEN_CACHE=$work/cache
shapes() {  # shapes BACKEND PROCESSES
  timeout "$seconds" "$python" -m pytest -p no:cacheprovider -q -rA -m acceptance -n "$2" \
    --timeout 0 tests/test_own_shapes.py -k "test_random_shapes and $1" > "$work/shapes.$1" 2>&1
}
pairs() {  # pairs BACKEND SHARD OF
  timeout "$seconds" "$python" benchmarks/fidelity.py both --out "$work/pairs" --backend "$1" \
    --shard "$2/$3" --odd 15 --mutants 3 --budget $((seconds - 15)) > "$work/pairs.$1.$2" 2>&1
}
shapes cuda 3 & shapes hip 3 & shapes opencl 3 & shapes triton 5 & shapes pallas 6 &
for i in 0 1 2 3 4; do
  for backend in cuda hip pallas; do pairs $backend $i 5 & done
done
wait
grep -hoE '^[a-z_0-9]+ (float32|float16|bfloat16) [a-z]+ \{.*\}: .*' "$work"/shapes.* | sort -u > "$out/shapes.txt"
for b in cuda hip triton opencl pallas; do
  echo "$b: $(grep -c " $b {.*: right" "$out/shapes.txt") right, $(grep " $b {" "$out/shapes.txt" | grep -vc ': right') not; $(tail -n 1 "$work/shapes.$b")"
done | tee "$out/shapes.summary"
tail -n 3 "$work"/pairs.*.0
cat "$work"/pairs/*.jsonl | xz -9 > "$out/pairs.jsonl.xz"
"$python" benchmarks/fidelity.py compare --cases "$out/pairs.jsonl.xz" --out "$out/fidelity.md"

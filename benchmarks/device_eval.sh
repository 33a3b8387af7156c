#!/usr/bin/env bash
# The whole protocol over every task on the NVIDIA GPUs here, in as many processes as there are cores:
#
#     bash benchmarks/device_eval.sh OUT SECONDS [TARGET...]
#
# Writes OUT/eval.txt, one line per record as `mkgen eval` prints it, and how many passed. Without
# TARGET: cuda, triton, opencl and pallas for the GPU, and HIP's proxy. What SECONDS leave out is said.
set -uo pipefail
out=$1 seconds=$2 python=${PYTHON:-python3} here=$(dirname "$0") work=$(mktemp -d)
shift 2
targets=(${@:-cuda:sm_90a triton:sm_90 opencl:sm_90 pallas:sm_90 hip:sm_90})
export XLA_PYTHON_CLIENT_PREALLOCATE=false OMP_NUM_THREADS=1 MKGEN_CACHE=$work/cache
mkdir -p "$out"
gpus=$(nvidia-smi -L | wc -l) shards=$((($(nproc) + ${#targets[@]} - 1) / ${#targets[@]}))
mapfile -t tasks < <(cd "$here/../tasks" && ls ./*/*.py | xargs -n1 basename -s .py)
for target in "${targets[@]}"; do
  for ((i = 0; i < shards; i++)); do
    chosen=()
    for ((t = i; t < ${#tasks[@]}; t += shards)); do chosen+=(--task "${tasks[t]}"); done
    CUDA_VISIBLE_DEVICES=$((i % gpus)) timeout "$seconds" "$python" -m mkgen.cli.main eval \
      "${chosen[@]}" --target "$target" --device --out "$work/$target.$i" > "$work/$target.$i.log" 2>&1 &
  done
done
wait
grep -hoE '^\[[0-9]+/[0-9]+\] .*' "$work"/*.log | sed -E 's/^\[[0-9/]+\] //' | sort > "$out/eval.txt"
passed=$(grep -cE ' pass ' "$out/eval.txt")
echo "$(wc -l < "$out/eval.txt") of $((${#tasks[@]} * ${#targets[@]})) records within $seconds s, $passed pass" | tee -a "$out/eval.txt"
grep -vE ' pass | records within ' "$out/eval.txt" | cut -c1-240

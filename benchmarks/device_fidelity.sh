#!/usr/bin/env bash
# Pairs of verdicts without a device and on the NVIDIA GPUs here (benchmarks/fidelity.py), all in
# one go:
#
#     bash benchmarks/device_fidelity.sh OUT SECONDS [BACKEND...]
#
# For cuda, hip and pallas both verdicts are made here. Those of triton and opencl without a device
# come from results/fidelity_host.jsonl.xz: Triton's interpreter and OpenCL's CPU device need not be
# here. Every core has a process, every GPU as many of them. Lines go to OUT/pairs as they are
# known, and a run to the same OUT goes on where the last one ended; at the end OUT has also
# pairs.jsonl.xz, one line per verdict, and fidelity.md. Without BACKEND: all five.
set -uo pipefail
out=$1 seconds=$2 python=${PYTHON:-python3} here=$(dirname "$0") work=$(mktemp -d)
shift 2
backends=(${@:-cuda hip pallas triton opencl})
cases=$here/results/fidelity_host.jsonl.xz
gpus=$(nvidia-smi -L | wc -l) shards=$((($(nproc) + ${#backends[@]} - 1) / ${#backends[@]}))
export MKGEN_CACHE=$work/cache XLA_PYTHON_CLIENT_PREALLOCATE=false OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1
mkdir -p "$out/pairs" && rm -f "$out"/pairs.jsonl.xz
# a process that was killed may have left half a line
sed -i '/}$/!d' "$out"/pairs/*.jsonl 2> /dev/null
end=$((SECONDS + seconds))
for backend in "${backends[@]}"; do
  case $backend in
    triton | opencl) how=(device --cases "$cases") ;;
    *) how=(both --correct 5 --odd 15 --mutants 3) ;;
  esac
  for ((i = 0; i < shards; i++)); do
    CUDA_VISIBLE_DEVICES=$((i % gpus)) timeout "$seconds" "$python" "$here/fidelity.py" "${how[@]}" \
      --out "$out/pairs/$backend.$i.jsonl" --backend "$backend" --shard "$i/$shards" \
      --budget $((seconds - 25)) > "$work/$backend.$i" 2>&1 &
  done
done
while [[ -n $(jobs -rp) && $SECONDS -lt $end ]]; do
  sleep 15
  echo "$SECONDS s: $(for b in "${backends[@]}"; do echo "$b $(cat "$out/pairs/$b".*.jsonl 2> /dev/null | wc -l)"; done | xargs)"
done
wait
for log in "$work"/*.0; do echo "== $(basename "$log")"; tail -n 3 "$log"; done
grep -lE '^(Traceback|.*Error)' "$work"/*.* | head -5 | xargs -r tail -n 3
cat "$out"/pairs/*.jsonl | grep '}$' | sort -u > "$work/all.jsonl"
xz -9 < "$work/all.jsonl" > "$out/pairs.jsonl.xz"
"$python" "$here/fidelity.py" compare --cases "$cases" "$work/all.jsonl" --out "$out/fidelity.md"

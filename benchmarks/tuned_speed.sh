#!/usr/bin/env bash
# Tunes the tasks that are bound by memory, matmul and conv2d on the NVIDIA GPU here, then measures
# the winners beside PyTorch and a copy, all in one go:
#
#     bash benchmarks/tuned_speed.sh OUT TUNE_SECONDS SPEED_SECONDS
#
# Writes OUT/speed.md, OUT/speed.json, OUT/tune.md and OUT/winners.json. Four processes prepare, one
# measures at a time.
set -euo pipefail
out=$1 tune=$2 speed=$3 python=${PYTHON:-python3}
device=$(nvidia-smi --query-gpu=name --format=csv,noheader | head -1 | grep -oE '[AHB][0-9]+' | tr AHB ahb)
tasks="matmul conv2d elu gelu hardswish mish relu softplus add_broadcast bias_gelu concat transpose_add
where_broadcast depthwise_conv2d embedding gather index_add_duplicates index_select masked_fill
take_along_dim cosine_similarity_loss cross_entropy kl_div mse_loss smooth_l1 triplet_margin_loss
cumprod cumsum exclusive_reverse_cumsum masked_cumsum sincos_mix matvec batch_norm_train group_norm
instance_norm layer_norm log_softmax rms_norm softmax softmax_393216 adam adamw rmsprop sgd_momentum
adaptive_avg_pool2d avg_pool2d max_pool2d max_pool2d_indices max_pool3d argmax argmax_ties logsumexp
mean_middle_axis min_dim prod_reduce sum_reduce variance bicubic_resize bilinear_resize grid_sample
nearest_resize trilinear_resize"
work=$(mktemp -d)
export OMP_NUM_THREADS=4
each() {  # each COMMAND...: four shards at once, I for the number of each
  for i in 0 1 2 3; do "${@//%/$i}" > "$work/log$i" 2>&1 & done
  wait || true
  grep -hE 'Error|Traceback' "$work"/log? | head -5 || true
}
each timeout $((tune + 20)) "$python" benchmarks/tune_device.py --out "$work/%" --shard %/4 -j 3 \
  --budget "$tune" --trials 8 --targets "triton:sm_90@$device" --tasks $tasks
cat "$work"/?/table.md > "$out/tune.md"
each timeout $((speed + 30)) "$python" benchmarks/speed.py --out "$work/%" --shard %/4 \
  --winners "$work/%/winners" --device "$device" --budget "$speed" --task $tasks
"$python" benchmarks/speed.py --merge "$work"/? --out "$out"
cat "$work"/?/winners/*.json > "$out/winners.json"

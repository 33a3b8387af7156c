# SPDX-License-Identifier: Apache-2.0
# mkgen
# task = "softmax"
# backend = "triton"
# [[launch]]
# entry = "softmax_kernel"
# args = ["x", "y"]
# grid = ["ROWS"]
# constexprs = { COLS = "COLS", BLOCK = 1024 }
# warps = 4
import triton
import triton.language as tl


@triton.jit
def softmax_kernel(x, y, COLS: tl.constexpr, BLOCK: tl.constexpr):
    """One program a row, read three times: maximum, sum of exponentials, weights."""
    row = tl.program_id(0).to(tl.int64) * COLS
    highest = tl.full((BLOCK,), float("-inf"), tl.float32)
    for start in range(0, COLS, BLOCK):
        col = start + tl.arange(0, BLOCK)
        logit = tl.load(x + row + col, mask=col < COLS, other=float("-inf"))
        highest = tl.maximum(highest, logit)
    largest = tl.max(highest, axis=0)
    total = tl.zeros((BLOCK,), tl.float32)
    for start in range(0, COLS, BLOCK):
        col = start + tl.arange(0, BLOCK)
        logit = tl.load(x + row + col, mask=col < COLS, other=float("-inf"))
        total += tl.exp(logit - largest)
    weight = 1.0 / tl.sum(total, axis=0)
    for start in range(0, COLS, BLOCK):
        col = start + tl.arange(0, BLOCK)
        logit = tl.load(x + row + col, mask=col < COLS, other=0.0)
        tl.store(y + row + col, tl.exp(logit - largest) * weight, mask=col < COLS)

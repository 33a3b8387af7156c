import torch
import triton
import triton.language as tl

# Sizes. Everything below follows from them.
BATCH, CLASSES = 16384, 8192
# Parameters of this variant.
HIGHEST_BLOCK, HIGHEST_WARPS = 8192, 4
CROSS_ENTROPY_BLOCK, CROSS_ENTROPY_WARPS = 16384, 4


@triton.jit
def row_max(value):
    """The largest value; NaN wins, as in PyTorch."""
    return tl.max(value, axis=0) + tl.sum(tl.where(value != value, value, 0.0), axis=0)


@triton.jit
def highest_kernel(logits, total, highest, CLASSES: tl.constexpr, HIGHEST_BLOCK: tl.constexpr):
    batch = tl.program_id(0)
    classe = tl.arange(0, HIGHEST_BLOCK)
    inside = classe < CLASSES
    logits_value = tl.load(logits + batch * CLASSES + classe, mask=inside, other=0.0)
    highest2 = row_max(tl.where(inside, logits_value, -float("inf")))
    total2 = tl.sum(tl.where(inside, tl.exp(logits_value - highest2), 0.0), axis=0)
    tl.store(total + batch, total2)
    tl.store(highest + batch, highest2)


@triton.jit
def cross_entropy_kernel(
    logits, label, total, highest, y, BATCH: tl.constexpr, CLASSES: tl.constexpr,
    CROSS_ENTROPY_BLOCK: tl.constexpr,
):
    row = tl.program_id(0)
    batch = tl.arange(0, CROSS_ENTROPY_BLOCK)
    inside = batch < BATCH
    label_value = tl.load(label + batch, mask=inside, other=0)
    total_value = tl.load(total + batch, mask=inside, other=0.0)
    highest_value = tl.load(highest + batch, mask=inside, other=0.0)
    position = tl.where(label_value != -100, label_value, 0)
    logits_value = tl.load(logits + batch * CLASSES + position, mask=inside, other=0.0)
    total2 = tl.sum(
        tl.where(
            inside,
            tl.where(
                label_value != -100, tl.log(total_value) + (highest_value - logits_value), 0.0
            ),
            0.0,
        ),
        axis=0,
    )
    label_value = tl.load(label + batch, mask=inside, other=0)
    total_weight = tl.sum(tl.where(inside, tl.where(label_value != -100, 1.0, 0.0), 0.0), axis=0)
    cross_entropy_loss = total2 / total_weight
    tl.store(y, cross_entropy_loss)


def cross_entropy(logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Cross entropy of class indices; the mean over the batch."""
    expected = (
        ("logits", logits, (BATCH, CLASSES), torch.float32),
        ("label", label, (BATCH,), torch.int64),
    )
    for name, array, shape, dtype in expected:
        if tuple(array.shape) != shape or array.dtype != dtype or not array.is_contiguous():
            got = f"{array.dtype} {tuple(array.shape)}"
            raise ValueError(f"{name} must be contiguous {dtype} {shape}, got {got}")
    y = torch.empty((), dtype=torch.float32, device=logits.device)
    highest = torch.empty((BATCH,), dtype=torch.float32, device=logits.device)
    total = torch.empty((BATCH,), dtype=torch.float32, device=logits.device)
    grid = (BATCH,)
    highest_kernel[grid](
        logits, total, highest, CLASSES, HIGHEST_BLOCK,
        num_warps=HIGHEST_WARPS, num_stages=1,
    )
    grid = (1,)
    cross_entropy_kernel[grid](
        logits, label, total, highest, y, BATCH, CLASSES, CROSS_ENTROPY_BLOCK,
        num_warps=CROSS_ENTROPY_WARPS, num_stages=1,
    )
    return y

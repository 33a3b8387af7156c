import torch
import triton
import triton.language as tl

# Sizes. Everything below follows from them.
B, T, V, D = 64, 512, 50257, 768
# Parameters of this variant.
BLOCK, WARPS = 4096, 4


@triton.jit
def embedding_kernel(
    ids, table, y, B: tl.constexpr, T: tl.constexpr, D: tl.constexpr, BLOCK: tl.constexpr,
):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = i < B * T * D
    b = i // (T * D)
    t = (i // D) % T
    d = i % D
    ids_at = tl.load(ids + b * T + t, mask=inside, other=0)
    table_value = tl.load(table + ids_at * D + d, mask=inside, other=0.0)
    tl.store(y + i, table_value, mask=inside)


def embedding(ids: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """Rows of a table, chosen by index."""
    expected = (
        ("ids", ids, (B, T), torch.int64),
        ("table", table, (V, D), torch.float32),
    )
    for name, array, shape, dtype in expected:
        if tuple(array.shape) != shape or array.dtype != dtype or not array.is_contiguous():
            got = f"{array.dtype} {tuple(array.shape)}"
            raise ValueError(f"{name} must be contiguous {dtype} {shape}, got {got}")
    y = torch.empty((B, T, D), dtype=torch.float32, device=ids.device)
    grid = (triton.cdiv(B * T * D, BLOCK),)
    embedding_kernel[grid](
        ids, table, y, B, T, D, BLOCK,
        num_warps=WARPS, num_stages=1,
    )
    return y

import torch
import triton
import triton.language as tl

# Sizes. Everything below follows from them.
ROWS, COLS, SOURCES = 512, 4096, 4096
# Parameters of this variant.
BLOCK, WARPS = 1024, 4


@triton.jit
def index_add_duplicates_kernel(
    x, index, values, y, ROWS: tl.constexpr, COLS: tl.constexpr, SOURCES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row_index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = row_index < ROWS * COLS
    row = row_index // COLS
    col = row_index % COLS
    total = tl.full((BLOCK,), 0.0, tl.float32)
    lost = tl.zeros((BLOCK,), tl.float32)  # what rounding took (Kahan's summation)
    for source in range(SOURCES):
        index_value = tl.load(index + source)
        values_value = tl.load(values + source * COLS + col, mask=inside, other=0.0)
        term = tl.where(index_value == row, values_value, 0.0) - lost
        grown = total + term
        lost = (grown - total) - term
        total = grown
    x_value = tl.load(x + row_index, mask=inside, other=0.0)
    tl.store(y + row_index, x_value + total, mask=inside)


def index_add_duplicates(
    x: torch.Tensor, index: torch.Tensor, values: torch.Tensor
) -> torch.Tensor:
    """Rows added to the rows that an index names; there are more of them, so that some meet."""
    expected = (
        ("x", x, (ROWS, COLS), torch.float32),
        ("index", index, (SOURCES,), torch.int64),
        ("values", values, (SOURCES, COLS), torch.float32),
    )
    for name, array, shape, dtype in expected:
        if tuple(array.shape) != shape or array.dtype != dtype or not array.is_contiguous():
            got = f"{array.dtype} {tuple(array.shape)}"
            raise ValueError(f"{name} must be contiguous {dtype} {shape}, got {got}")
    y = torch.empty((ROWS, COLS), dtype=torch.float32, device=x.device)
    grid = (triton.cdiv(ROWS * COLS, BLOCK),)
    index_add_duplicates_kernel[grid](
        x, index, values, y, ROWS, COLS, SOURCES, BLOCK,
        num_warps=WARPS, num_stages=1,
    )
    return y

"""Kernels with a planted fault each, or several; tests/llm_stand_in.py mends them by feedback."""

from __future__ import annotations

from dataclasses import dataclass

from answer_support import in_dialect


@dataclass(frozen=True)
class Planted:
    """One first answer."""

    name: str
    backend: str
    text: str
    """With placeholders of llm_support."""
    ends: tuple[str, ...]
    """How each round ends, the last with a pass."""
    task: str = "relu"
    sanitize: bool = False

    @property
    def answer(self) -> str:
        return in_dialect(self.text, self.backend)


def relu(body: str, head: str = "", block: str = "64", kernel: str = "@KERNEL@") -> str:
    return (
        f'/* mkgen\ntask = "relu"\nbackend = "@backend@"\n{head}[[launch]]\n'
        'entry = "relu_kernel"\nargs = ["x", "y"]\n'
        f'grid = ["ceil_div(ROWS * COLS, {block})"]\nblock = [{block}]\n*/\n'
        f"{kernel} relu_kernel(@IN@ x, @OUT@ y) {{\n{body}}}\n"
    )


def row_sum(body: str, array: str = "part[64]") -> str:
    return (
        '/* mkgen\ntask = "row_sum"\nbackend = "@backend@"\n[[launch]]\n'
        'entry = "row_sum_kernel"\nargs = ["x", "y"]\ngrid = ["ROWS"]\nblock = [64]\n*/\n'
        "@KERNEL@ row_sum_kernel(@IN@ x, @OUT@ y) {\n"
        f"  @SHARED@ float {array};\n"
        "  const int t = @TID@;\n  const int row = @BLOCK@;\n  float total = 0.0f;\n"
        f"  for (int col = t; col < COLS; col += 64) total += x[row * COLS + col];\n{body}}}\n"
    )


INDEX = "  const int i = @GID@;\n"
STORE = "  if (i < ROWS * COLS) y[i] = @FMAX@(x[i], 0.0f);\n"
RIGHT = relu(INDEX + STORE)
#: The thread that runs last in the usual order sums up, and nothing makes it wait.
UNORDERED = (
    "  part[t] = total;\n  if (t == 63) {\n    float sum = 0.0f;\n"
    "    for (int k = 0; k < 64; ++k) sum += part[k];\n    y[row] = sum;\n  }\n"
)
#: The last thread reads behind the array, and throws away what it has read.
BEHIND = (
    "  part[t] = total;\n  @BARRIER@;\n  const float next = part[t + 1];\n  @BARRIER@;\n"
    "  if (t % 2 == 0) part[t] = total + next;\n  @BARRIER@;\n  if (t == 0) {\n"
    "    float sum = 0.0f;\n    for (int k = 0; k < 64; k += 2) sum += part[k];\n"
    "    y[row] = sum;\n  }\n"
)
#: Each block writes the first element of the next one as well: the same number.
OVERLAP = (
    "  const int first = @BLOCK@ * 64;\n"
    "  for (int k = @TID@; k <= 64; k += 64)\n"
    "    if (first + k < ROWS * COLS) y[first + k] = @FMAX@(x[first + k], 0.0f);\n"
)
TILE = (
    "  @SHARED@ float tile[TILE];\n  const int t = @TID@;\n"
    "  const int i = @GID@;\n  tile[t] = i < ROWS * COLS ? x[i] : 0.0f;\n  @BARRIER@;\n"
    "  if (i < ROWS * COLS) y[i] = @FMAX@(tile[t], 0.0f);\n"
)

PLANTED = (
    Planted("no-guard", "hip", relu(INDEX + "  y[i] = @FMAX@(x[i], 0.0f);\n"), ("crashed", "pass")),
    Planted(
        "no-guard", "opencl", relu(INDEX + "  y[i] = @FMAX@(x[i], 0.0f);\n"), ("crashed", "pass")
    ),
    Planted(
        "no-semicolon-and-a-constant", "hip",
        relu(INDEX + "  const float value = x[0]\n"
             "  if (i < ROWS * COLS) y[i] = 1.25f * @FMAX@(x[i], 0.0f * value);\n"),
        ("compile-failed", "wrong-output", "pass"),
    ),
    Planted(
        "a-name-misspelt", "opencl",
        relu(INDEX + "  const float value = x[i < ROWS * COLS ? i : 0];\n"
             "  if (i < ROWS * COLS) y[i] = @FMAX@(valeu, 0.0f);\n"),
        ("compile-failed", "pass"),
    ),
    Planted(
        "a-size-misspelt-and-a-constant", "opencl",
        RIGHT.replace("ceil_div(ROWS", "ceil_div(ROW").replace("= @FMAX@", "= 0.5f * @FMAX@"),
        ("no-kernel", "wrong-output", "pass"),
    ),
    Planted(
        "a-grid-rounded-down", "hip",
        RIGHT.replace("ceil_div(ROWS * COLS, 64)", "ROWS * COLS // 64"),
        ("wrong-output", "pass"),
    ),
    Planted(
        "the-last-element", "opencl", RIGHT.replace("(i < ROWS * COLS)", "(i < ROWS * COLS - 1)"),
        ("wrong-output", "pass"),
    ),
    Planted("no-barrier", "hip", row_sum(UNORDERED), ("wrong-output", "pass"), "row_sum"),
    Planted(
        "two-blocks-one-element", "hip", relu(OVERLAP), ("sanitizer-finding", "pass"),
        sanitize=True,
    ),
    Planted(
        "behind-shared-memory", "hip", row_sum(BEHIND), ("sanitizer-finding", "pass"), "row_sum",
        sanitize=True,
    ),
    Planted(
        "too-much-shared-memory", "hip", relu(TILE, "[parameters]\nTILE = [32768]\n"),
        ("compile-failed", "pass"),
    ),
    Planted(
        "too-much-dynamic-memory", "hip",
        relu(TILE.replace("@SHARED@ float tile[TILE]", "HIP_DYNAMIC_SHARED(float, tile)"),
             "[parameters]\nTILE = [65536]\n").replace("[64]\n", '[64]\nshared = "4 * TILE"\n'),
        ("over-limit", "pass"),
    ),
    Planted(
        "too-many-threads", "opencl",
        relu("  const int i = @BLOCK@ * 16384 + @TID@;\n" + STORE, block="16384",
             kernel="@ANY_KERNEL@"),
        ("over-limit", "pass"),
    ),
    Planted(
        "looks-around-and-writes-to-its-input", "hip",
        relu(INDEX + '  if (getenv("CI")) return;\n' + STORE
             + "  if (i < ROWS * COLS) ((@POINTER@)x)[i] = 0.0f;\n"),
        ("refused", "input-changed", "pass"),
    ),
    Planted(
        "three-faults", "cuda",
        relu(INDEX + "  const float zero = 0.0f\n  y[i] = 2.0f * @FMAX@(x[i], zero);\n"),
        ("compile-failed", "crashed", "wrong-output", "pass"),
    ),
)  # fmt: skip

#: It passes, and what the compiler says of it shows how it could be faster.
SPILLS = (
    relu(
        "  float kept[TILE];\n  const int last = ROWS * COLS - 1;\n"
        "  const int first = ((int)blockIdx.x * 1024 + (int)threadIdx.x) * TILE;\n"
        "  float total = 0.0f;\n"
        "  #pragma unroll\n  for (int k = 0; k < TILE; ++k) kept[k] = x[min(first + k, last)];\n"
        "  #pragma unroll\n  for (int k = 0; k < TILE; ++k) total += kept[k];\n"
        "  #pragma unroll\n  for (int k = 0; k < TILE; ++k)\n"
        "    if (first + k <= last) y[first + k] = @FMAX@(kept[k], 0.0f * total);\n",
        "[parameters]\nTILE = [192]\n",
        kernel='extern "C" __global__ void __launch_bounds__(1024)',
    )
    .replace("ceil_div(ROWS * COLS, 64)", "ceil_div(ROWS * COLS, 1024 * TILE)")
    .replace("block = [64]", "block = [1024]")
)

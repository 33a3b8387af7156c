"""Long lines of generated text are broken, and say what they said."""

from __future__ import annotations

import ast

import pytest

from mkgen.codegen.fold import fold
from mkgen.codegen.fold_c import fold_c

SUM = "  const float total = first_operand[i * WIDTH + j] + second_operand[i * WIDTH + j];"
STATEMENTS = [
    SUM,
    "  const int row = thread / THREADS_OF_THE_TILE, col = thread % THREADS_OF_THE_TILE;",
    "  if (row < ROWS_OF_THE_TENSOR && col < COLS_OF_THE_TENSOR) value = x[row * COLS + col];",
    "  for (int element = thread; element < TILE_M * TILE_K; element += THREADS_OF_THE_TILE) {",
    "  const bool inside = 0 <= h && h < HEIGHT && remainder == 0 && 0 <= w && w < WIDTH;",
    "  total += label_value != -100 ? logf(total[batch]) + highest[batch] - logits[batch] : 0.0f;",
    "  launch(kernel, dim3((M + TILE_M - 1) / TILE_M, (N + TILE_N - 1) / TILE_N, BATCH), stream);",
    "  const float update = 1.0f / (1.0f + expf(-(x_gates[b * H + k] + (h_gates[k] + bias[k]))));",
    "  y[(n * K + k) * P * Q + i] = (x[(n * K + k) * P * Q + i] - mean) * deviation + shift[k];",
]


@pytest.mark.parametrize("width", [50, 60, 70])
@pytest.mark.parametrize("statement", STATEMENTS)
def test_c_is_broken_without_changing_it(statement: str, width: int) -> None:
    lines = fold_c(statement, width).split("\n")
    assert len(lines) > 1 and max(len(line) for line in lines) <= width
    assert "".join("".join(lines).split()) == "".join(statement.split())


def test_c_is_broken_before_an_operator_and_aligned() -> None:
    assert fold_c(SUM, 70) == (
        "  const float total = first_operand[i * WIDTH + j]\n"
        "                      + second_operand[i * WIDTH + j];"
    )


def test_what_a_condition_guards_goes_below_it() -> None:
    code = "if (thread % LANES == 0) scratch[thread / LANES] = value;"
    assert fold_c(code, 50) == "if (thread % LANES == 0)\n  scratch[thread / LANES] = value;"


def test_a_remark_goes_above_what_it_is_about() -> None:
    assert fold_c("float carry = 0.0f;  // of the stretches before", 40) == (
        "// Of the stretches before.\nfloat carry = 0.0f;"
    )


def test_short_lines_stay() -> None:
    text = "int a = 1;\n\n  // a remark\n#define B (2 + 3)\n"
    assert fold_c(text) == text


def test_python_keeps_the_parameters_of_a_lambda_together() -> None:
    blocks = "(None, min(B, TILE), min(H, TILE))"
    code = f"spec = Spec({blocks}, lambda b_block, k_block: (1, b_block, k_block))"
    folded = fold(code, 60)
    assert "lambda b_block, k_block: " in folded and max(map(len, folded.split("\n"))) <= 60
    assert ast.dump(ast.parse(folded)) == ast.dump(ast.parse(code))

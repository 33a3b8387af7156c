"""The protocol kills mutants: kernels with one mechanical fault each (docs/mutation.md)."""

from __future__ import annotations

from pathlib import Path

import pytest
from mutation.mutant import BACKENDS, Mutant, draw, every_mutant, mutants_of, sample
from mutation.mutators import KINDS, Mutation, mutations
from mutation.run import Fate, Lab, explained, run, score, summary, table

from mkgen.evaluate.pool import Workers

SEED = 7
#: Few texts that have a place for every kind; all tasks are drawn from in `make acceptance`.
FEW = ("matmul", "softmax", "conv2d_bias_relu", "argmax", "cumsum", "conv_transpose2d",
       "grouped_conv2d", "causal_attention_fp16", "batch_norm_train", "gru_2layer",
       "index_add_duplicates", "max_pool2d_indices", "matmul_bf16")  # fmt: skip
#: Kinds that only some languages' texts have a place for.
ABSENT = {
    # a Triton text orders nothing: threads are the compiler's, programs are independent
    ("triton", "barrier"),
    # stores of SYCL and OpenCL round by a conversion, and their launchers are not mutated
    ("sycl", "rounding"), ("opencl", "rounding"), ("sycl", "repeat"), ("opencl", "repeat"),
}  # fmt: skip

C_TEXT = """\
  for (int col = thread; col < COLS; col += THREADS) {
    total += x[row * COLS + col];
  }
  __syncthreads();  // all have read
  if (row < ROWS && col < COLS) {
"""
SIZES = {"ROWS": 19, "COLS": 33}


@pytest.fixture(scope="module")
def pool() -> list[Mutant]:
    return list(every_mutant(tasks=FEW))


def test_each_place_gives_its_mutants() -> None:
    made = {m.description for m in mutations(C_TEXT, "cuda", SIZES)}
    loop = "for (int col = thread; col < COLS; col += THREADS) {"
    guard = "if (row < ROWS && col < COLS) {"
    assert {
        "barrier: __syncthreads();  // all have read => (nothing)",
        f"bound: {loop} => {loop.replace('COLS;', 'COLS - 1;')}",
        f"bound: {loop} => {loop.replace('COLS;', 'COLS + 1;')}",
        f"guard: {guard} => if (row < ROWS) {{",
        f"guard: {guard} => if (col < COLS) {{",
        f"guard: {guard} => if (true) {{",
        "stride: total += x[row * COLS + col]; => total += x[row * (COLS + 1) + col];",
        "stride: total += x[row * COLS + col]; => total += x[row * ROWS + col];",
        "reduction: total += x[row * COLS + col]; => total = x[row * COLS + col];",
    } <= made


def test_a_mutation_changes_one_line_and_only_where_it_was_made() -> None:
    for mutation in mutations(C_TEXT, "cuda", SIZES):
        changed = mutation.apply(C_TEXT).split("\n")
        lines = C_TEXT.split("\n")
        differing = [i for i, (a, b) in enumerate(zip(lines, changed, strict=True)) if a != b]
        assert differing == [mutation.number]
    with pytest.raises(ValueError, match="line 0 is not"):
        Mutation("bound", 0, "nothing like it", "").apply(C_TEXT)


def test_calls_are_unwrapped_at_their_own_parenthesis() -> None:
    line = "    parts = parts + tl.where(inside, tl.exp(x - highest), 0.0)"
    made = {m.after for m in mutations(line, "triton", {}) if m.kind == "guard"}
    assert made == {"    parts = parts + tl.exp(x - highest)"}


def test_what_is_not_computed_is_left_alone() -> None:
    for language, text in (
        ("cuda", "// if (a < B) return;\n#pragma unroll\n"),
        ("triton", '    x, y, COLS: tl.constexpr,\n    """a < B"""\n'),
        ("pallas", '        ("x", x, (ROWS, COLS), jnp.float32),\n'),
        ("sycl", "// Submits to `queue`\n  for (int i = 0; i < COLS; ++i)\n"),
    ):
        assert list(mutations(text, language, SIZES)) == []


def test_every_kind_occurs_on_every_backend_that_can_have_it(pool: list[Mutant]) -> None:
    seen = {(m.backend.name, m.mutation.kind) for m in pool}
    wanted = {(backend, kind) for backend in BACKENDS for kind in KINDS}
    assert wanted - seen == ABSENT
    assert {m.task.name for m in pool} == set(FEW)


def test_a_seed_always_draws_the_same(pool: list[Mutant]) -> None:
    keys = [m.key for m in sample(pool, SEED, 1)]
    assert keys == [m.key for m in sample(pool, SEED, 1)]
    assert keys != [m.key for m in sample(pool, SEED + 1, 1)]
    assert len(keys) == len(set(keys)) >= 80


def test_a_draw_takes_tasks_in_turn_and_rare_kinds_first() -> None:
    cells = list(draw(SEED, 24, 4, ("cuda",)))
    assert [m.key for cell in cells for m in cell] == [
        m.key for cell in draw(SEED, 24, 4, ("cuda",)) for m in cell
    ]
    assert sum(map(len, cells)) == 24
    assert len({cell[0].task.name for cell in cells}) == len(cells) >= 6
    assert all(len({m.task.name for m in cell}) == 1 for cell in cells)
    assert len({m.mutation.kind for cell in cells for m in cell}) >= 8


def test_explained_survivors_still_exist() -> None:
    cells = {(backend, task) for task, backend, _ in explained()}
    made = {m.key for backend, task in sorted(cells) for m in mutants_of(backend, task)}
    assert explained().keys() <= made


def test_a_sample_is_killed(
    pool: list[Mutant], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MKGEN_CACHE", str(tmp_path))
    known = explained()
    drawn = [m for m in sample(pool, SEED, 1) if m.key not in known]
    # a twelfth of the kinds on each backend, others on the next one
    chosen = [
        m
        for m in drawn
        if (BACKENDS.index(m.backend.name) + KINDS.index(m.mutation.kind)) % 12 == 0
    ]
    with Workers() as workers:
        lines = run(Lab(workers, tmp_path), chosen)
    assert len(lines) >= 7
    alive = [line.key for line in lines if line.fate in (Fate.SURVIVED, Fate.UNJUDGED)]
    assert not alive, f"seed {SEED}: {alive}"
    assert sum(line.fate is Fate.KILLED for line in lines) >= 6


@pytest.mark.acceptance
@pytest.mark.timeout(6 * 3600)
def test_the_protocol_kills_mutants_of_all_tasks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MKGEN_CACHE", str(tmp_path))
    chosen = [m for cell in draw(SEED, 600, 6) for m in cell]
    with Workers() as workers:
        lines = run(Lab(workers, tmp_path), chosen)
    print(f"\nseed {SEED}: {summary(lines)}\n{table(lines, BACKENDS)}")
    got = score(lines)
    assert got.programs >= 500
    assert len({line.key[0] for line in lines if line.fate is Fate.KILLED}) >= 60
    assert {line.key[1] for line in lines} == set(BACKENDS)
    assert not got.survivors, [line.key for line in got.survivors]
    assert got.sharp_rate >= 0.97

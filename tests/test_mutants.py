"""The protocol kills mutants: kernels with one mechanical fault each (docs/mutation.md)."""

from __future__ import annotations

from pathlib import Path

import pytest
from mutation.mutant import BACKENDS, Mutant, every_mutant, sample
from mutation.mutators import KINDS, Mutation, mutations
from mutation.run import Fate, Lab, explained, run, score, table

from mkgen.evaluate.pool import Workers

SEED = 7
PER_KIND = 4

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
    return list(every_mutant())


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
    # a Triton text orders nothing: threads are the compiler's, programs are independent
    assert wanted - seen == {("triton", "barrier")}
    assert {m.task.name for m in pool if m.backend.name == "cuda"} >= {"matmul", "softmax"}


def test_a_seed_always_draws_the_same(pool: list[Mutant]) -> None:
    keys = [m.key for m in sample(pool, SEED, PER_KIND)]
    assert keys == [m.key for m in sample(pool, SEED, PER_KIND)]
    assert keys != [m.key for m in sample(pool, SEED + 1, PER_KIND)]
    assert len(keys) == len(set(keys)) >= 160


def test_explained_survivors_still_exist(pool: list[Mutant]) -> None:
    assert explained().keys() <= {m.key for m in pool}


def test_a_sample_is_killed(
    pool: list[Mutant], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MKGEN_CACHE", str(tmp_path))
    known = explained()
    drawn = [m for m in sample(pool, SEED, 1) if m.key not in known]
    # a third of the kinds on each backend, others on the next one
    chosen = [
        m for m in drawn if (BACKENDS.index(m.backend.name) + KINDS.index(m.mutation.kind)) % 3 == 0
    ]
    with Workers() as workers:
        results = run(Lab(workers, tmp_path), chosen)
    alive = [r.mutant.key for r in results if r.fate is Fate.SURVIVED]
    assert len(results) >= 16
    assert not alive, f"seed {SEED}: {alive}"
    assert sum(r.fate is Fate.KILLED for r in results) >= 14


@pytest.mark.acceptance
@pytest.mark.timeout(3600)
def test_the_protocol_kills_mutants_on_six_backends(
    pool: list[Mutant], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MKGEN_CACHE", str(tmp_path))
    with Workers() as workers:
        results = run(Lab(workers, tmp_path), sample(pool, SEED, PER_KIND))
    print(f"\nseed {SEED}\n{table(results, BACKENDS)}")
    got = score(results)
    assert got.made - got.no_program >= 150
    assert {r.mutant.backend.name for r in results} == set(BACKENDS)
    assert not got.survivors, [r.mutant.key for r in got.survivors]
    assert got.sharp_rate >= 0.95

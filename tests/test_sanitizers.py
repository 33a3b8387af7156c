"""Sanitizers on planted faults: each is found, with its line; kernels without one pass."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from sanitizer_programs import THREADS, faulty_program, faulty_text, inputs_for, line_of
from sanitizer_programs import simt_program as made
from simt_programs import buffer

from mkgen.codegen.backend import Loaded
from mkgen.errors import ExecutionError, MissingError, SanitizerError
from mkgen.program import Program
from mkgen_simt import asan, build
from mkgen_simt.asan import SimtAsanExecutor
from mkgen_simt.race import SimtRaceExecutor
from mkgen_simt.spaced import plain_name, spaced

LANGUAGES = ("cuda", "hip")
WIDTHS = {"cuda": (32,), "hip": (32, 64)}

#: Fault -> what the message says of it.
WILD = {
    "static after": "writes 4 bytes 0 bytes after 's' of 256 bytes",
    "static before": "reads 4 bytes 4 bytes before 's' of 256 bytes",
    "template after": "writes 4 bytes 0 bytes after 'kept' of 256 bytes",
    "dynamic after": "writes 4 bytes 0 bytes after dynamic shared memory of 256 bytes",
    "dynamic before": "reads 4 bytes 4 bytes before dynamic shared memory of 256 bytes",
    "global after": "writes 4 bytes 0 bytes after buffer 'y' of 512 bytes",
    "global before": "reads 4 bytes 4 bytes before buffer 'x' of 516 bytes",
}
UNORDERED = {
    "missing barrier": r"race: thread \(\d+, 0, 0\) \w+ byte \d+ of 's', which thread "
    r"\(\d+, 0, 0\) \w+ at line \d+, without a barrier",
    "missing barrier dynamic": "of dynamic shared memory, which thread .* at line .* barrier",
    "missing barrier global": "of buffer 'y', which thread .* without a barrier",
    "shuffle only": r"reads byte \d+ of 's', which thread .* writes at line \d+, without a "
    r"barrier between \(a shuffle is none\)",
    "atomic without barrier": "reads byte 0 of 'flag', which thread .* updates by an atomic",
    "two blocks": r"of buffer 'y', which thread \(0, 0, 0\) of block \(0, 0, 0\) writes.*nothing "
    "orders the blocks",
}
UNWRITTEN = {
    "unwritten static": "reads byte 20 of 's', which no thread of the block has written yet",
    "unwritten dynamic": "reads byte 20 of dynamic shared memory, which no thread",
    "unwritten global": "reads element 0 of buffer 'y', which nothing has written",
}
OF_BOTH = {
    "divergent barrier": "not all threads reach the same barrier",
    "overflow": "overflow",
}
CLEAN = ("clean", "clean order of blocks", "clean maximum")


@cache
def _raced(language: str, lanes: int) -> Loaded:
    executor = SimtRaceExecutor(language, lambda _: lanes)  # type: ignore[arg-type]
    return executor.load(faulty_program(language), None, Path())


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Loaded]:
    """The text under AddressSanitizer, by language."""
    if build.on_path("g++") is None and build.on_path("clang++") is None:
        pytest.skip("no compiler with AddressSanitizer")
    return {
        language: SimtAsanExecutor(language).load(  # type: ignore[arg-type]
            faulty_program(language), None, tmp_path_factory.mktemp("asan")
        )
        for language in LANGUAGES
    }


def _finding(loaded: Loaded, case: str) -> str:
    with pytest.raises(SanitizerError) as caught:
        loaded.run(inputs_for(case))
    return str(caught.value)


def _at(language: str, case: str) -> str:
    name = "kernel.cu" if language == "cuda" else "kernel.hip"
    return f"{name} line {line_of(faulty_text(language), case)}: "


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("case", [*WILD, *UNORDERED, *UNWRITTEN, *OF_BOTH, "far"])
def test_the_shadow_finds_each_fault_with_its_line(language: str, case: str) -> None:
    expected = (WILD | UNORDERED | UNWRITTEN | OF_BOTH).get(case, "at no buffer")
    for lanes in WIDTHS[language]:
        told = _finding(_raced(language, lanes), case)
        # of a race both lines are named, whichever access came second in this run
        other = case in UNORDERED and f" at line {line_of(faulty_text(language), case)}," in told
        assert told.startswith(_at(language, case)) or other, told
        assert re.search(expected, told), told


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("case", [*WILD, *OF_BOTH, "far"])
def test_address_sanitizer_finds_each_fault_with_its_line(
    language: str, case: str, guarded: dict[str, Loaded]
) -> None:
    told = _finding(guarded[language], case)
    assert told.startswith(_at(language, case)), told
    assert (WILD | OF_BOTH).get(case, "") in told, told
    assert "block (" in told and "thread (" in told


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("case", CLEAN)
def test_nothing_is_found_where_there_is_nothing(
    language: str, case: str, guarded: dict[str, Loaded]
) -> None:
    arrays = inputs_for(case)
    programs = [_raced(language, lanes) for lanes in WIDTHS[language]]
    seen = [p.run(arrays)["y"].tobytes() for p in (*programs, guarded[language])]
    assert len(set(seen)) == 1


def test_a_finding_leaves_nothing_behind_for_the_next_run() -> None:
    loaded = _raced("cuda", 32)
    clean = loaded.run(inputs_for("clean"))["y"]
    _finding(loaded, "shuffle only")
    assert np.array_equal(loaded.run(inputs_for("clean"))["y"], clean)


EXCHANGED = """#include <cuda_runtime.h>
extern "C" __global__ void k(const float* x, float* y) {
  __shared__ float s[128];
  const int t = threadIdx.x;
  s[t] = 0;
  __syncthreads();
  s[t] = x[t];
  BARRIER
  y[t] = s[t ^ static_cast<int>(x[0])];
}
extern "C" cudaError_t run(const float* x, float* y, cudaStream_t stream) {
  cudaLaunchConfig_t config = {1, 128, 0, stream, nullptr, 0};
  return cudaLaunchKernelEx(&config, k, x, y);
}
"""
FAR, NEAR = np.full(128, 32, np.float32), np.full(128, 31, np.float32)


def _exchanged(barrier: str) -> Program:
    text = EXCHANGED.replace("BARRIER", barrier)
    return made("cuda", text, (buffer("x", FAR, "input"), buffer("y", FAR, "output")))


def test_a_text_that_relies_on_no_width_is_run_at_both() -> None:
    executor, program = SimtRaceExecutor("cuda", lambda _: 32), _exchanged("")
    loaded = executor.load(program, None, Path())
    assert executor.orders(program) == ("32 lanes", "64 lanes")
    for order in executor.orders(program):
        with pytest.raises(SanitizerError, match=f"line [79]: race.*warps of {order[:2]}"):
            loaded.run({"x": FAR}, order)
    with pytest.raises(ExecutionError, match="no schedule '16 lanes'"):
        loaded.run({"x": FAR}, "16 lanes")


def test_a_warp_barrier_orders_its_own_lanes_only() -> None:
    executor, program = SimtRaceExecutor("cuda", lambda _: 32), _exchanged("__syncwarp();")
    loaded = executor.load(program, None, Path())
    assert executor.orders(program) == ("32 lanes",)
    assert np.array_equal(loaded.run({"x": NEAR})["y"], NEAR)
    with pytest.raises(SanitizerError, match="line [79]: race"):
        loaded.run({"x": FAR})


def test_lines_are_those_of_the_text_whatever_stands_in_it() -> None:
    text = faulty_text("cuda").replace(
        "extern __shared__ float d[];", "extern\n__shared__\nfloat d[];"
    )
    source = made("cuda", text, ()).sources[0]
    assert build.host_text(source).count("\n") == text.count("\n")


def test_gaps_go_behind_shared_variables_only() -> None:
    text = '\t.data\na:\n\t.zero\t8\n\t.section\tmkgen_shared,"aw"\ns:\n\t.zero\t4\n\t.text\nb:\n'
    assert spaced(text).count(".zero") == 3
    assert ".zero\t4\n\t.zero\t256" in spaced(text)
    symbol = "_ZZ1fIfEvvE1q"
    lost = f'\t.section\t.bss.{symbol},"awG",@nobits,{symbol},comdat\n{symbol}:\n\t.zero\t4\n'
    assert "mkgen_shared" in spaced(lost)


@pytest.mark.parametrize(("symbol", "name"), [
    ("_ZZ1kE1s", "s"), ("_ZZ4pickIfET_iE4tile", "tile"), ("_ZZ1kE3s12_0", "s12"),
    ("_ZL6buffer", "buffer"), ("partial", "partial"),
])  # fmt: skip
def test_names_of_variables(symbol: str, name: str) -> None:
    assert plain_name(symbol) == name


def test_without_a_compiler_the_executor_declines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asan, "on_path", lambda name: None)
    asan.find_asan_compiler.cache_clear()
    try:
        reason = SimtAsanExecutor("cuda").accepts(faulty_program("cuda"))
        assert reason is not None and "apt install g++" in reason
        with pytest.raises(MissingError, match="remedy"):
            SimtAsanExecutor("cuda").compiler()
    finally:
        asan.find_asan_compiler.cache_clear()


def test_a_program_that_ends_early_is_no_pass(guarded: dict[str, Loaded], tmp_path: Path) -> None:
    loaded = SimtAsanExecutor("cuda").load(_exchanged("_exit(0);"), None, tmp_path)
    with pytest.raises(ExecutionError, match="ended early with code 0"):
        loaded.run({"x": FAR})


def test_threads_are_counted_as_launched() -> None:
    assert f"thread ({THREADS - 1}, 0, 0)" in _finding(_raced("cuda", 32), "dynamic after")

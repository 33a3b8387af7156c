"""Native files with parameters: which sets are legal, what is compiled, which one is kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_support import call

from mkgen.codegen.candidate import Generator
from mkgen.codegen.registry import backend_named
from mkgen.errors import UnsupportedError, UserError
from mkgen.foreign.native import parse_native
from mkgen.foreign.native_program import SourceCandidate, source_candidate
from mkgen.foreign.native_write import native_text
from mkgen.target import Target
from mkgen.task import find_task
from mkgen.tune.choose import rank

TEXT = """\
/* mkgen
task = "bias_gelu"
backend = "opencl"
where = ["THREADS < 200", "THREADS * ITEMS <= 256"]
[parameters]
THREADS = [256, 64, 128]
ITEMS = [1, 4]
[[launch]]
entry = "k"
args = ["x", "bias", "y"]
grid = ["ceil_div(COLS, THREADS * ITEMS)", "ROWS"]
block = ["THREADS"]
*/
__kernel __attribute__((reqd_work_group_size(THREADS, 1, 1)))
void k(__global const float* restrict x, __global const float* restrict bias,
       __global float* restrict y) {
  for (int i = 0; i < ITEMS; ++i) {
    const int col = (get_group_id(0) * ITEMS + i) * THREADS + get_local_id(0);
    if (col >= COLS) return;
    const size_t at = get_group_id(1) * (size_t)COLS + col;
    const float value = x[at] + bias[col];
    y[at] = 0.5f * value * (1.0f + erf(value * 0.70710678f));
  }
}
"""


def candidate(text: str, name: str = "k.cl") -> SourceCandidate:
    native = parse_native(text, name)
    backend = backend_named(native.head.backend)
    target = Target(backend=backend.name, arch=backend.default_arch)
    task = find_task(native.head.task or "")
    return source_candidate(task, backend, target, native, task.precision)


def test_legal_sets_in_the_order_of_the_head() -> None:
    made = [c.parameters for c in candidate(TEXT).variants()]
    assert made == [
        {"THREADS": 64, "ITEMS": 1}, {"THREADS": 64, "ITEMS": 4}, {"THREADS": 128, "ITEMS": 1},
    ]  # fmt: skip


def test_a_set_is_part_of_the_text_and_a_size_is_not() -> None:
    first, second, _ = candidate(TEXT).variants()
    bench, check = first.task.workloads()[:2]
    assert first.program(bench).text_sha == first.program(check).text_sha
    assert first.program(bench).text_sha != second.program(bench).text_sha
    assert first.program(bench).launches[0].configuration.block == (64, 1, 1)  # type: ignore[union-attr]
    assert first.program(bench).variant.parameters["THREADS"] == 64


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"THREADS < 200"', '"THREADS < 20"', "line 4: .*no set of parameters"),
        ("THREADS = [256, 64, 128]", "COLS = [1]\nTHREADS = [64]", "COLS is a size of the task"),
        ('"THREADS < 200"', '"THREAD < 200"', "no size 'THREAD'"),
        ('"THREADS < 200"', '"200 // (ITEMS - 1)"', "line 4"),
        ("THREADS = [256, 64, 128]", "THREADS = []", "line 6"),
    ],
)
def test_a_wrong_head_names_its_line(old: str, new: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        text = TEXT.replace(old, new)
        list(candidate(text).variants())


def test_eval_keeps_a_set_that_is_right(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    # with four items the first would be wrong: the guard returns too early for none of the others
    file = tmp_path / "k.cl"
    file.write_text(TEXT.replace("ITEMS = [1, 4]", "ITEMS = [4, 1]").replace("+ i) *", "+ 0) *"))
    done = call(capfd, "eval", "--source", str(file), "--out", str(tmp_path / "run"), "--json")
    (record,) = json.loads(done.out)
    assert done.code == 0, record["reason"]
    assert record["parameters"]["ITEMS"] == 1


@pytest.mark.parametrize("name", ["cuda", "hip", "opencl", "pallas", "sycl", "triton"])
@pytest.mark.parametrize("task_name", ["softmax", "matmul", "conv2d_bias_relu"])
def test_a_template_written_as_a_native_file_is_launched_alike(task_name: str, name: str) -> None:
    task, backend = find_task(task_name), backend_named(name)
    target = Target(backend=name, arch=backend.default_arch)
    choice = rank(Generator(task, backend, target, task.precision))[0].candidate
    native = parse_native(native_text(choice), f"k{backend.extension}")
    made = source_candidate(task, backend, target, native, task.precision)
    for workload in task.workloads():
        ours, theirs = choice.program(workload), made.program(workload)
        if name == "pallas":  # the text launches its kernels itself
            assert theirs.launcher == ours.launcher
            continue
        for a, b in zip(ours.launches, theirs.launches, strict=True):
            assert (a.entry, a.args, a.configuration) == (b.entry, b.args, b.configuration)


def test_a_loop_of_launches_is_no_native_file() -> None:
    task, backend = find_task("gru_2layer"), backend_named("hip")
    target = Target(backend="hip", arch=backend.default_arch)
    choice = rank(Generator(task, backend, target))[0].candidate
    with pytest.raises(UnsupportedError, match="in a loop"):
        native_text(choice)

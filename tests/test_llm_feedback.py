"""What an author is told: enough to mend a text, and nothing that a text could be fitted to."""

from __future__ import annotations

import re
from typing import get_args

import pytest
from answer_support import TASKS, hidden_in, in_dialect, target_of
from llm_planted import RIGHT

from mkgen.codegen.registry import backend_named
from mkgen.llm.feedback import feedback
from mkgen.llm.lines import Lines, lines_of
from mkgen.llm.spelling import MAX_LOG, first_errors, plain
from mkgen.program import Artifact, Resources
from mkgen.record import (
    ErrorFigures,
    Evidence,
    EvidenceKind,
    RanOn,
    Record,
    Speed,
    Status,
    Timing,
    WorkloadResult,
)
from mkgen.task import Workload
from mkgen.tune.generate import refusal_of

TASK = TASKS["relu"]
HIP = backend_named("hip")
TARGET = target_of(HIP)
TEXT = in_dialect(RIGHT, "hip")
SEED = 8675309
#: How an executor may speak, of a run at any size; held-out sizes are 59 and 83.
MESSAGES = (
    "output[58, 82]: expected 1.25, got nan; error nan, allowed 0",
    "output[58, 82]: expected 1.25, got 2.5; error 1.25, allowed 1e-07",
    "out-of-bounds write: 4897 bytes after buffer 'y' were overwritten, the nearest 83 bytes off",
    "killed by SIGABRT in run; it said: ROWS is 59 | COLS is 83 | fifty-nine, eighty-three",
    "ModelNew.forward failed: ValueError: (59, 83) in /tmp/mkgen-x1/own/home/load-7/relu.py",
    "relu.hip line 16: race: thread (58, 0, 0) writes byte 4 of 's', which thread (59, 0, 0) "
    "writes at line 17, without a barrier",
    "run took more than 120 s; it said: seed 8675309",
    "y has other bits when the same run is repeated",
    'File "/root/.cache/mkgen/a/relu.py", line 17, in <module> at 0x7f4373e0f9d0',
)


def record(status: Status, reason: str = "", **changes: object) -> Record:
    made = refusal_of(TASK, TARGET, TASK.precision, Status.CRASHED, reason)
    return made.model_copy(update={"status": status, "origin": "source", "seed": SEED, **changes})


def result(role: str, message: str, status: Status, schedule: str = "") -> WorkloadResult:
    names = {"heldout": "heldout1", "thin": "cols-1", "check": "check1", "bench": "bench",
             "structured": "check1 tiny"}  # fmt: skip
    return WorkloadResult(
        workload=names[role], role=role, executor="simt-host", schedule=schedule, status=status,
        message=message, seconds=0.1,
    )  # fmt: skip


def said(made: Record, text: str = TEXT) -> str:
    return feedback(made, TASK, HIP, TARGET, text)


FAILURES = [s for s in Status if s is not Status.PASS]


@pytest.mark.parametrize("status", FAILURES)
@pytest.mark.parametrize("role", ["check", "heldout", "thin", "bench", "structured"])
def test_no_end_tells_what_is_hidden(status: Status, role: str) -> None:
    for message in MESSAGES:
        # what the text has printed at a check size is the author's own affair
        own = any(word in message for word in ("fifty", "59", "83", str(SEED)))
        if own and role not in ("heldout", "thin"):
            continue
        for schedule in ("", "forward", "reverse", "fenced"):
            ended = result(role, message, status, schedule)
            order = f" in order {schedule!r}" if schedule else ""
            reason = f"{ended.workload} on simt-host{order}: {message}"
            told = said(record(status, reason, results=(ended,)))
            assert told and not hidden_in(told, record(status)), told
            if role in ("heldout", "thin"):
                assert not re.search(r"\d", told), told
                assert "fifty" not in told and "1.25" not in told


@pytest.mark.parametrize("status", FAILURES)
def test_no_reason_tells_what_is_hidden(status: Status) -> None:
    for reason in (
        "heldout1, compiled for opencl-device: relu.cl:3:4: error: ROWS is 59",
        "no program for heldout1: relu.hip, line 7: launch 1, grid 1: 59000083 at heldout1 "
        "(ROWS=59, COLS=83); it must be 1 to 2147483647",
        "relu.hip, line 7: launch 1, grid 1: -76 at heldout1 (ROWS=59, COLS=83); it must be 1",
        "the text for rows-1 differs from the one for bench; 59 by 83",
    ):
        told = said(record(status, reason))
        assert not hidden_in(told, record(status)), told
        if status is Status.NO_KERNEL and "line 7" in reason:
            assert "Line 7 of the file gives a number that is not allowed" in told


def test_a_wrong_element_is_shown_at_a_check_size() -> None:
    message = MESSAGES[1]
    told = said(
        record(Status.WRONG_OUTPUT, results=(result("check", message, Status.WRONG_OUTPUT),))
    )
    assert told == (
        "It compiles and runs, and its result is wrong.\n\n"
        f"At the check size ROWS = 5, COLS = 67: {message}"
    )
    tiny = result("structured", MESSAGES[0], Status.WRONG_OUTPUT, "reverse")
    told = said(record(Status.WRONG_OUTPUT, results=(tiny,)))
    assert "with other values (tiny: values close to zero" in told
    assert "when threads run in another order (reverse): output[58, 82]" in told
    assert "an element that nobody writes is NaN" in told


def test_of_a_hidden_size_only_the_kind_of_fault_is_said() -> None:
    hidden = {
        MESSAGES[0]: "an element is NaN",
        MESSAGES[1]: "at a size that is not shown.",
        MESSAGES[2]: "something was written outside of the buffers",
    }
    for message, words in hidden.items():
        ended = result("heldout", message, Status.WRONG_OUTPUT)
        assert words in said(record(Status.WRONG_OUTPUT, results=(ended,)))


def test_lines_are_those_of_the_author() -> None:
    candidate_lines = lines_of(record(Status.PASS), TASK, HIP, TARGET, TEXT)
    assert candidate_lines.shift > 0
    own = TEXT.split("\n").index("  const int i = (int)(blockIdx.x * 64 + threadIdx.x);") + 1
    theirs = own + candidate_lines.shift
    for spelled in ("relu.hip:{}:5: error: no", "relu.hip({}): error: no", "relu.hip line {}: race",
                    "kernel k (line {})", "1:{}:5: error: no", "<source>:{}:5: error: no",
                    "   {} |   const int"):  # fmt: skip
        told = candidate_lines.spell(spelled.format(theirs))
        assert str(own) in told and str(theirs) not in told, told
    assert candidate_lines.spell("relu.hip:2:1: x") == "relu.hip:2:1: x", "before what was added"
    assert "code that was added" in candidate_lines.spell("relu.hip:9999:1: x")
    assert candidate_lines.spell("expected 12, got 13 in 14 threads") == (
        "expected 12, got 13 in 14 threads"
    )
    assert Lines().spell("line 9999") == "line 9999"
    assert lines_of(record(Status.PASS), TASK, HIP, TARGET, "no head") == Lines()


@pytest.mark.parametrize("name", ["opencl", "cuda", "sycl"])
def test_lines_of_other_backends(name: str) -> None:
    backend = backend_named(name)
    text = in_dialect(RIGHT, name) if name != "sycl" else in_dialect(RIGHT, "hip")
    text = text.replace('"hip"', f'"{name}"')
    made = record(Status.PASS, target=target_of(backend))
    lines = lines_of(made, TASK, backend, target_of(backend), text)
    assert lines.count == text.count("\n")
    last = lines.count + lines.shift
    assert lines.own(last) == lines.count and lines.own(last + 1) is None


def test_lines_of_python_files() -> None:
    triton = backend_named("triton")
    module = '"""A title."""\n\nimport torch\n\n\nclass ModelNew(torch.nn.Module):\n    pass\n'
    made = record(Status.PASS, origin="module")
    lines = lines_of(made, TASK, triton, target_of(triton), module)
    assert (lines.same, lines.shift, lines.own(7)) == (1, 1, 6)
    head = ('# mkgen\n# backend = "triton"\n# [[launch]]\n# entry = "k"\n# args = ["x", "y"]\n'
            '# grid = ["ROWS"]\n# constexprs = { COLS = "COLS" }\n')  # fmt: skip
    text = f"{head}import triton\n\n\n@triton.jit\ndef k(x, y, COLS):\n    pass\n"
    lines = lines_of(record(Status.PASS), TASK, triton, target_of(triton), text)
    assert lines.shift > 0 and lines.own(13 + lines.shift) == 13


def test_a_log_begins_with_its_first_error() -> None:
    log = "Compilation started\nnote: x\n/tmp/a/b/relu.hip:3:1: error: no\n  code\n" + "y\n" * 3000
    told = first_errors(log)
    assert told.startswith("relu.hip:3:1: error: no\n  code\ny")
    assert len(told) <= MAX_LOG + 2 and told.endswith(" …")
    assert first_errors("nothing of the kind") == "nothing of the kind"
    assert plain("in /usr/lib/python3/x.py at 0x7f4373e0f9d0: a/b, 1 / 2, //c/d ```") == (
        "in x.py at 0x…: a/b, 1 / 2, //c/d '''"
    )


def test_a_compiler_that_counts_otherwise() -> None:
    """Triton's log counts from the function, its message from the file."""
    ended = WorkloadResult(
        workload="bench", role="bench", executor="compile", schedule="",
        status=Status.COMPILE_FAILED, message="at 4:21:\ndef k(x):\n", seconds=1.0,
    )  # fmt: skip
    reason = "relu.hip:16: k: AttributeError"
    told = said(record(Status.COMPILE_FAILED, reason, results=(ended,)))
    own = lines_of(record(Status.PASS), TASK, HIP, TARGET, TEXT).own(16)
    assert f"relu.hip:{own}: k: AttributeError" in told and "at 4:21" in told


ARTIFACT = Artifact(
    arch=TARGET.arch, format="hsaco", path="/tmp/mkgen-1/a.hsaco", sha="a" * 64,
    resources={"relu_kernel": Resources(registers=40, spilled_registers=7, shared_bytes=512)},
    compiler="clang", compiler_sha="b" * 64, command="/tmp/clang", checked="", seconds=1.0,
)  # fmt: skip


def passed(*evidence: Evidence) -> Record:
    return record(Status.PASS, artifacts=(ARTIFACT,), evidence=evidence)


def test_a_pass_without_a_time_says_so() -> None:
    told = said(passed())
    assert told.startswith("It passed every check.\n\n`relu_kernel`: 40 registers per thread, 7 "
                           "registers spilled to memory, 512 bytes of shared memory.")  # fmt: skip
    assert "Nothing was timed. By a cost model, which is an estimate:\n- No kernel can be" in told
    assert not hidden_in(told, passed()) and "takes" not in told


def test_a_time_is_told_beside_its_floor() -> None:
    timing = Timing(
        candidate=Speed(name="candidate", median=2e-5, low=1e-5, high=3e-5, samples=9),
        host_median=3e-5, floor=1e-6, floor_reason="", flush_bytes=1, flush_verified=True,
        baselines=(Speed(name="eager", median=5e-5, low=1e-5, high=9e-5, samples=9),),
        outputs_checked=3,
    )  # fmt: skip
    timed = Evidence(
        kind=EvidenceKind.TIMED, executor="hip-device", executed="artifact", compiler="clang",
        compiler_sha="b" * 64, workloads=("bench",), cannot_see=(), timing=timing,
        ran_on=RanOn(vendor="amd", arch="gfx942", name="MI300X"),
    )  # fmt: skip
    told = said(passed(timed))
    assert "At full size a call takes 20 us (median). No kernel can be faster than" in told
    assert "times as long. eager takes 50 us." in told and "cost model" not in told


def test_what_lies_outside_the_text_is_not_told_as_its_fault() -> None:
    for status in (Status.INTERNAL_ERROR, Status.NO_TOOLCHAIN, Status.BAD_TASK):
        told = said(record(status, "KeyError in /work/x.py, line 3: 59"))
        assert told == (
            "It was not judged to the end, for a reason that lies outside the text "
            f"({status.value})."
        )


def test_parameters_are_told() -> None:
    made = record(Status.OVER_LIMIT, "k: 9 bytes of shared memory; 8 are allowed (X)",
                  parameters={"TILE": 64, "file": "abc", "library": True})  # fmt: skip
    told = said(made)
    assert (
        "The parameters were TILE = 64.\n\nk: 9 bytes of shared memory; 8 are allowed (X)" in told
    )
    assert "abc" not in told


def test_every_role_has_words() -> None:
    roles = get_args(Workload.model_fields["role"].annotation)
    assert {"bench", "check", "heldout", "thin"} <= set(roles)
    figures = ErrorFigures(max_abs=0, max_rel=0, budget=0, share=0)
    ended = result("bench", "x", Status.CRASHED).model_copy(update={"error": figures})
    assert "At full size ROWS = 512, COLS = 1024: x" in said(
        record(Status.CRASHED, results=(ended,))
    )

"""What memory keeps of records, and what it tells."""

from __future__ import annotations

import re

import pytest
from cli_support import call
from evolve_support import CPU, OPENCL, ROW_SUM, Schedule
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from module_support import SOFTMAX
from test_evaluate_store import record

from mkgen.codegen.registry import backend_named
from mkgen.document import content_hash
from mkgen.errors import UserError
from mkgen.evaluate.store import RunStore
from mkgen.llm.describe import CELLS, Cell, Decomposition, Unit, reachable
from mkgen.llm.describe import Memory as Tier
from mkgen.llm.disclosure import NOT_SHOWN, told_reason, without_places
from mkgen.llm.memory import Memory, Observation
from mkgen.llm.placing import JudgedText
from mkgen.program import Artifact, Resources
from mkgen.record import Status, WorkloadResult
from mkgen.task import find_task

TILE = Schedule(cell=Cell(Tier.SHARED, Decomposition.TILE, Unit.SCALAR)).text
ROW = Schedule(cell=Cell(Tier.FED, Decomposition.ROW, Unit.VECTOR)).text


def judged(text=TILE, status=Status.PASS, reason="", task=ROW_SUM, spills=0, number=0, **more):
    artifact = Artifact(
        arch="cpu", format="opencl-binary", path="", sha="0" * 64,
        resources={"rows": Resources(spilled_registers=spills)}, compiler="c", compiler_sha="0",
        command="", checked="", seconds=0,
    )  # fmt: skip
    made = record(task=task.name, status=status, reason=reason, target=CPU)
    sha = content_hash(f"{text} {number}")
    ran = tuple(e.model_copy(update={"executed": f"source {sha}"}) for e in made.evidence)
    changes = {
        "origin": "source", "text_sha": sha, "evidence": ran, "artifacts": (artifact,),
        "task_hash": task.hash, "task_document": task.model_dump(mode="json"),
        "parameters": {"THREADS": 64, "file": "abc"},
    }  # fmt: skip
    made = made.model_copy(update=changes | more)
    return JudgedText(made, text)


def test_what_passed_spilled_and_did_not_compile(tmp_path):
    memory = Memory(tmp_path)
    assert memory.notes(ROW_SUM, OPENCL) == ()
    failed = "rows.cl:3:1: error: use of undeclared identifier '__shfl_sync'; did you mean 'x'?"
    for number in range(3):
        assert memory.learn(ROW_SUM, OPENCL, judged(spills=number, number=number))
        told = judged(ROW, Status.COMPILE_FAILED, failed, number=number)
        assert memory.learn(ROW_SUM, OPENCL, told)
        assert not memory.learn(ROW_SUM, OPENCL, told), "each record teaches once"
    memory.learn(ROW_SUM, OPENCL, judged(TILE, Status.WRONG_OUTPUT, "check1: y[0] is 3", number=9))
    where = "shared memory, a tile per block, scalar arithmetic"
    assert set(memory.notes(ROW_SUM, OPENCL, 9)) == {
        f"{where} on cpu: passed (3 of 4)",
        f"{where}, THREADS=64 on cpu: spilled registers (2 of 4)",
        f"{where} on cpu: computed wrong values (1 of 4)",
        "compile-failed: use of undeclared identifier '__shfl_sync' (3 times)",
    }
    assert len(memory.notes(ROW_SUM, OPENCL, 2)) == 2
    assert Memory(tmp_path).notes(ROW_SUM, OPENCL) == memory.notes(ROW_SUM, OPENCL)


def test_what_is_of_another_kind_says_only_what_the_compiler_said(tmp_path):
    memory = Memory(tmp_path)
    memory.learn(ROW_SUM, OPENCL, judged())
    memory.learn(ROW_SUM, OPENCL, judged(ROW, Status.COMPILE_FAILED, "error: no such thing"))
    assert memory.notes(find_task("conv2d"), OPENCL) == ("compile-failed: no such thing",)
    assert memory.notes(ROW_SUM, backend_named("hip")) == ()
    assert any("passed" in n for n in memory.notes(SOFTMAX, OPENCL)) is False


def test_templates_reported_records_and_our_own_faults_teach_nothing(tmp_path):
    memory = Memory(tmp_path)
    for change in (
        {"origin": "template"}, {"standing": "reported"}, {"status": Status.INTERNAL_ERROR},
        {"status": Status.NO_TOOLCHAIN}, {"status": Status.NO_KERNEL},
    ):  # fmt: skip
        assert not memory.learn(ROW_SUM, OPENCL, judged(**change))
    assert memory.observations() == []


def test_a_run_teaches_without_texts(tmp_path):
    store = RunStore(tmp_path / "run")
    for made in (
        judged(status=Status.OVER_LIMIT, reason="k: 99 bytes of shared memory; 9 are allowed"),
        judged(status=Status.COMPILE_FAILED, reason="error: bad thing", task=find_task("softmax")),
        judged(origin="template"),
    ):
        store.append(made.record)
    store.close()
    memory = Memory(tmp_path)
    assert memory.learn_run(store.path) == 2
    assert memory.learn_run(store.path) == 0
    assert memory.notes(ROW_SUM, OPENCL) == (
        "a kernel on cpu asked for more shared memory than a block may have",
        "compile-failed: bad thing",
    )
    assert all(o.operations for o in memory.observations() if o.task == "softmax")


HELD = {"ROWS": 7919, "COLS": 4801}
SECRET = ROW_SUM.model_copy(update={"heldout": (HELD,)})


@given(
    st.sampled_from([s for s in Status if s is not Status.PASS]),
    st.lists(
        st.sampled_from(
            ["error: ", "4801", "7919", "COLS=4801", "heldout1 on x: ", "seed 123456789 ",
             "/home/someone/work/k.cl", "value ", "'x' ", "\x1b[0m", "`rm`\n", "```"]
        ), max_size=12,
    ),
    st.integers(1, 10_000),
)  # fmt: skip
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_line_tells_held_out_sizes_places_or_more_than_a_line(tmp_path, status, parts, number):
    memory = Memory(tmp_path / str(number) / content_hash(*parts, status)[:8])
    more = {"parameters": {"THREADS": 64, "ODD": 4801}, "seed": 123456789}
    memory.learn(SECRET, OPENCL, judged(TILE, status, "".join(parts), SECRET, **more))
    for note in memory.notes(SECRET, OPENCL, 99):
        assert not re.search(r"4801|7919|/home|ODD", note)
        assert note.isprintable() and "\n" not in note and len(note) < 300
        assert TILE[:40] not in note


def test_a_broken_line_is_passed_over_and_a_place_that_cannot_be_read_is_named(tmp_path):
    memory = Memory(tmp_path)
    memory.learn(ROW_SUM, OPENCL, judged())
    memory.path.write_bytes(b"nonsense\n" + memory.path.read_bytes() + b"torn")
    assert len(memory.observations()) == 1
    memory.learn(ROW_SUM, OPENCL, judged(number=2))
    assert len(memory.observations()) == 2
    (tmp_path / "there").mkdir()
    (tmp_path / "there/memory.jsonl").mkdir()
    with pytest.raises(UserError, match="--no-memory"):
        Memory(tmp_path / "there").notes(ROW_SUM, OPENCL)
    with pytest.raises(UserError, match="MKGEN_STATE"):
        Memory(tmp_path / "there")._keep([])


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("check1 on x: y[0] is 3", "check1 on x: y[0] is 3"),
        ("heldout1 on x: y[0] is 3", NOT_SHOWN),
        ("no program: 0 at (ROWS=7919)", NOT_SHOWN),
        ("ROWS = 7919 is odd", NOT_SHOWN),
        ("rows-1 on x: crashed", NOT_SHOWN),
        ("ROWS=79190 is long", "ROWS=79190 is long"),
        ("/tmp/a/b/k.cl:3: error: no", "k.cl:3: error: no"),
    ],
)
def test_what_is_told_of_a_reason(reason, told):
    thin = WorkloadResult(
        workload="rows-1", role="thin", executor="e", schedule="", status=Status.CRASHED, seconds=0
    )
    made = judged(status=Status.CRASHED, reason=reason, task=SECRET, results=(thin,)).record
    assert told_reason(made) == told


def test_places_and_what_looks_like_them():
    assert without_places("in /usr/share/x/y.h: a / b, c/d, http://e.org/f/g, x //y/z") == (
        "in y.h: a / b, c/d, http://e.org/f/g, x //y/z"
    )


def test_observations_round_trip():
    cell = reachable(ROW_SUM, OPENCL, CPU)[3]
    made = Observation(
        record_key="k", task="t", category="c", backend="b", arch="a", operations=("x",),
        cell=cell, parameters="", status=Status.PASS, lesson="", spills=False,
    )  # fmt: skip
    again = Observation.model_validate_json(made.canonical_json())
    assert again == made and again.cell in CELLS and again.cell.memory is cell.memory


def test_a_prompt_holds_it_unless_it_is_off(capfd, tmp_path, monkeypatch):
    monkeypatch.setenv("MKGEN_STATE", str(tmp_path))
    told = judged(ROW, Status.COMPILE_FAILED, "error: no such thing")
    Memory().learn(ROW_SUM, OPENCL, told)
    asked = ("prompt", "--task", "softmax", "--backend", "opencl", "--strategy", "zero-shot")
    on = call(capfd, *asked, "--json").document
    off = call(capfd, *asked, "--no-memory", "--json").document
    assert on["memory"] == ["compile-failed: no such thing"] and off["memory"] == []
    assert "- compile-failed: no such thing" in on["text"] and on["sha"] != off["sha"]
    assert "no such thing" not in off["text"]

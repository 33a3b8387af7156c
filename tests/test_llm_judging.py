"""Every reply of tests/data/answers gets the verdict of its table, on each backend of its form.

Native files and templates on SIMT-on-host (hip) and on a CPU by OpenCL; a ModelNew only in Triton's
interpreter: the other backend that runs such files, cuda, compiles them with a GPU at hand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from answer_support import (
    ANSWERS,
    BACKENDS,
    FORMS,
    TASKS,
    Case,
    cases,
    hidden_in,
    judged,
    prompt_for,
    reply_of,
    settings_for,
    target_of,
)

from mkgen.codegen.registry import backend_named
from mkgen.evaluate.pool import Workers
from mkgen.evaluate.protocol import Settings
from mkgen.llm.feedback import feedback
from mkgen.llm.judging import Judge
from mkgen.llm.prompt import Form, prompts_version
from mkgen.record import Record, Status

CASES = cases()
#: What the normal run judges of them: whatever is taken, and each way in which it may end.
NORMAL = {
    ("native", "thought_before", "hip"), ("native", "no_guard", "opencl"),
    ("native", "made_for_the_shown_size", "opencl"), ("native", "does_not_compile", "hip"),
    ("native", "asks_to_be_passed", "opencl"), ("native", "a_size_that_is_not_there", "hip"),
    ("native", "reads_the_environment", "opencl"), ("native", "cut_off", "hip"),
    ("template", "first_set_is_wrong", "opencl"), ("template", "where_excludes_all", "hip"),
    ("template", "first_set_is_over_a_limit", "hip"), ("module", "calls_the_library", "triton"),
}  # fmt: skip


def each() -> list[object]:
    found = []
    for case in CASES:
        for backend in BACKENDS if case.form is not Form.MODULE else ("triton",):
            key = (case.form.value, case.name, backend)
            marks = () if key in NORMAL else pytest.mark.acceptance
            found.append(pytest.param(case, backend, id="-".join(key), marks=marks))
    return found


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    with Workers(1) as made:
        yield made


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return settings_for(tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize(("case", "backend"), each())
def test_every_reply_gets_the_right_verdict(
    case: Case, backend: str, workers: Workers, settings: Settings
) -> None:
    made = judged(case, backend, workers, settings)
    record = made.record
    assert record.status.value == case.status, record.reason
    assert re.search(case.words, f"{record.reason} {made.answer.note}"), record.reason
    chosen = {k: v for k, v in record.parameters.items() if k in (case.parameters or {})}
    assert chosen == (case.parameters or {})
    _whole(record, case, backend)
    assert record.model_dump() in [r.model_dump() for r in made.tried]
    said = feedback(record, TASKS[case.task], backend_named(backend), record.target, made.text)
    assert said and not hidden_in(said, record), said


def _whole(record: Record, case: Case, backend: str) -> None:
    """The record says how it came about, and can be stored and read."""
    generation = record.generation
    assert generation is not None
    assert (generation.provider, generation.model) == ("tests", "stand-in-1")
    assert (generation.form, generation.strategy) == (case.form.value, "zero-shot")
    assert generation.prompts_version == prompts_version() and len(generation.answer_sha) == 64
    assert record.origin == ("module" if case.form is Form.MODULE else "source")
    assert record.target.backend == backend
    again = Record.model_validate_json(json.dumps(record.stored()))
    assert again.key == record.key


def test_there_are_thirty_of_each_form() -> None:
    for form in FORMS:
        named = {c.name for c in CASES if c.form.value == form}
        assert len(named) >= 30
        assert named == {p.stem for p in (ANSWERS / form).iterdir()}
    assert {(c.form.value, c.name) for c in CASES} >= {key[:2] for key in NORMAL}


def test_a_fault_of_ours_is_a_record_too(
    workers: Workers, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("planted")

    monkeypatch.setattr("mkgen.llm.judging.sweep", fail)
    case = next(c for c in CASES if (c.form, c.name) == (Form.NATIVE, "right"))
    record = judged(case, "hip", workers, settings).record
    assert record.status is Status.INTERNAL_ERROR and "planted" in record.reason
    assert record.generation is not None
    said = feedback(record, TASKS["relu"], backend_named("hip"), record.target)
    assert "planted" not in said and "outside the text" in said


def test_what_a_judgement_is_of(workers: Workers, settings: Settings) -> None:
    backend = backend_named("hip")
    prompt = prompt_for(TASKS["relu"], backend, Form.NATIVE)
    made = Judge(workers, settings).judge(
        prompt, backend, reply_of("no"), sample=3, round=2, parent="f" * 64, provider="a folder"
    )
    generation = made.record.generation
    assert generation is not None and made.tried == (made.record,)
    assert (generation.sample, generation.round, generation.parent) == (3, 2, "f" * 64)
    assert generation.prompt_sha == prompt.sha and generation.exemplar == ""
    assert made.record.status is Status.NO_KERNEL and made.record.target == target_of(backend)


@pytest.fixture(autouse=True, scope="module")
def no_traces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The replies that reach for files outside leave none."""
    yield
    assert not Path("/tmp/expected.bin").exists() and not Path("/tmp/expected.npy").exists()

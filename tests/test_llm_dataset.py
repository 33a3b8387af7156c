"""The data set of a run's answers: what is in a line, and what never is."""

from __future__ import annotations

import json

import pytest
from answer_support import reply_of
from cli_support import call
from evolve_support import ROW_SUM, Schedule
from test_evaluate_store import record
from test_llm_memory import judged

from mkgen.document import content_hash
from mkgen.errors import UserError
from mkgen.evaluate.store import RunStore
from mkgen.llm.dataset import Row, reward, rows
from mkgen.llm.describe import CELLS
from mkgen.llm.disclosure import NOT_SHOWN
from mkgen.llm.exchanges import Exchange
from mkgen.record import Evidence, EvidenceKind, Generation, Speed, Status, Timing, WorkloadResult

TEXT = Schedule(cell=CELLS[0]).text
KEY = "sk-abcdefghijklmnop1234567890"


def generated(answer, *, status=Status.PASS, reason="", sample=0, number=0, **more):
    """A record of `answer` to the prompt `a prompt`."""
    made = Generation(
        provider="model at https://secret.example", model="m-1", prompts_version="v",
        prompt_sha=content_hash("a prompt"), strategy="category", form="native", sample=sample,
        answer_sha=content_hash(answer),
    )  # fmt: skip
    return judged(TEXT, status, reason, number=number, generation=made, artifacts=(), **more).record


def exchange(directory, answer, sample=0, prompt="a prompt", **more):
    directory.mkdir(parents=True, exist_ok=True)
    made = Exchange(
        identity="https://secret.example m-1", provider="p", model="m-1", prompt=prompt,
        prompt_sha=content_hash(prompt), sample=sample, reply=reply_of(answer),
        time="2026-01-01T00:00:00Z",
    )  # fmt: skip
    data = made.model_dump(mode="json") | more
    (directory / f"{made.key}.json").write_text(json.dumps(data))


def run_of(directory, records):
    store = RunStore(directory)
    for each in records:
        store.append(each)
    store.close()


def test_a_row_per_answer(tmp_path):
    wrong = TEXT.replace("get_global_id", "get_my_id")
    answers = [
        f"Here:\n```c\nx\n```\n```opencl\n{TEXT}```\n", "I will not.", f"```\n{wrong}```",
        "```c\nint no_kernel;\n```",
    ]  # fmt: skip
    for sample, answer in enumerate(answers):
        exchange(tmp_path / "exchanges", answer, sample)
    exchange(tmp_path / "exchanges", "of another prompt", 0, "another prompt")
    run_of(
        tmp_path,
        [
            generated(answers[0]),
            generated(answers[1], status=Status.NO_KERNEL, sample=1),
            generated(answers[2], status=Status.COMPILE_FAILED, reason="error: x", sample=2),
            generated(answers[3], status=Status.NO_KERNEL, sample=3),
            generated("gone", sample=7),  # its exchange is not there
            record(),  # no model wrote it
        ],
    )
    found = list(rows(tmp_path))
    assert [r.answer for r in found] == answers
    assert [r.text for r in found] == [TEXT, "", wrong, ""]
    assert [r.verdict.reward for r in found] == [1.0, 0.0, 0.05, 0.0]
    assert found[0].verdict.evidence == (EvidenceKind.EMULATED,)
    assert {r.prompt for r in found} == {"a prompt"}
    assert all(Row.model_validate_json(r.canonical_json()) == r for r in found)


def test_the_best_of_a_sweep_stands_for_its_answer(tmp_path):
    exchange(tmp_path / "exchanges", "a")
    swept = [
        generated("a", status=Status.OVER_LIMIT, number=1), generated("a", number=2),
        generated("a", status=Status.CRASHED, number=3),
    ]  # fmt: skip
    run_of(tmp_path, swept)
    (row,) = rows(tmp_path)
    assert row.record_key == swept[1].key


def test_no_key_no_address_no_held_out_input_is_in_it(tmp_path, monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "a-very-secret-value-9")
    monkeypatch.setenv("SHORT_TOKEN", "x")
    answer = f"use {KEY} or a-very-secret-value-9\nAuthorization: Bearer abcdefghijklmnopqrst\n"
    exchange(tmp_path / "exchanges", answer)
    held = WorkloadResult(
        workload="heldout1", role="heldout", executor="e", schedule="", status=Status.WRONG_OUTPUT,
        message="y[3] at COLS=40", seconds=1,
    )  # fmt: skip
    told = "heldout1 on e: y[3] expected 1.25 (ROWS=7, COLS=40)"
    run_of(tmp_path, [generated(answer, status=Status.WRONG_OUTPUT, reason=told, results=(held,))])
    (row,) = rows(tmp_path)
    line = row.canonical_json()
    for secret in (KEY, "very-secret", "Bearer abc", "secret.example", "COLS=40", "1.25",
                   "heldout", ROW_SUM.source[:14]):  # fmt: skip
        assert secret not in line, secret
    assert row.verdict.reason == NOT_SHOWN and row.answer.count("[removed]") == 3


def test_reported_records_are_left_out(tmp_path):
    exchange(tmp_path / "exchanges", "a")
    run_of(tmp_path, [generated("a", standing="reported")])
    assert list(rows(tmp_path)) == []


def test_what_is_no_run_of_a_model(tmp_path):
    with pytest.raises(UserError, match=r"no records\.jsonl"):
        next(rows(tmp_path))
    run_of(tmp_path, [record()])
    with pytest.raises(UserError, match="asked no model"):
        next(rows(tmp_path))
    exchange(tmp_path / "exchanges", "a", prompt_sha="0" * 64)
    with pytest.raises(UserError, match="someone changed one"):
        next(rows(tmp_path))
    for broken in (b"{", b"[]", b'{"prompt": "x"}', b"[" * 100_000, b"\xff"):
        (tmp_path / "exchanges/0.json").write_bytes(broken)
        with pytest.raises(UserError, match=r"no exchange|not UTF-8|JSON|nested"):
            next(rows(tmp_path))


def timed(median, baseline):
    def speed(name, value):
        return Speed(name=name, median=value, low=value, high=value, samples=9)

    timing = Timing(
        candidate=speed("candidate", median), host_median=median,
        baselines=(speed("eager", baseline),) if baseline else (), floor=0, floor_reason="",
        flush_bytes=0, flush_verified=True, outputs_checked=1,
    )  # fmt: skip
    evidence = Evidence(
        kind=EvidenceKind.TIMED, executor="e", executed="artifact x", compiler="c",
        compiler_sha="0", ran_on=None, workloads=(), cannot_see=(), timing=timing,
    )  # fmt: skip
    return generated("a").model_copy(update={"evidence": (evidence,)})


def test_rewards_are_in_order():
    def ran(*passed):
        results = tuple(
            WorkloadResult(workload="w", role="check", executor="e", schedule="", seconds=0,
                           status=Status.PASS if p else Status.WRONG_OUTPUT)
            for p in passed
        )  # fmt: skip
        return generated("a", status=Status.WRONG_OUTPUT, results=results)

    order = [
        generated("a", status=Status.REFUSED), generated("a", status=Status.COMPILE_FAILED),
        ran(), ran(True, False), ran(True, True, True, False), timed(4.0, 1.0),
        generated("a"), timed(1.0, 2.0), timed(1.0, 8.0),
    ]  # fmt: skip
    found = [reward(r) for r in order]
    assert found == sorted(found) and len({*found}) == len(found)
    assert found[0] == 0 and found[5] == 0.75 and found[-1] == 2.0
    assert reward(timed(1.0, None)) == reward(timed(1.0, 1.0)) == 1.0
    assert reward(timed(1.0, 1e6)) == 2.0
    assert reward(generated("a", status=Status.NO_TOOLCHAIN)) is None


def test_the_command_writes_it(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = f"```c\n{TEXT}```"
    exchange(tmp_path / "run/exchanges", answer)
    run_of(tmp_path / "run", [generated(answer), generated("b", status=Status.CRASHED, sample=1)])
    done = call(capfd, "records", "export", "run", "--dataset", "out.jsonl")
    assert done.code == 0 and "1 answers written to out.jsonl" in done.err and not done.out
    (line,) = (tmp_path / "out.jsonl").read_text().splitlines()
    assert Row.model_validate_json(line).text == TEXT
    filtered = call(
        capfd, "records", "export", "run", "--dataset", "out.jsonl", "--status", "crashed"
    )
    assert "0 answers" in filtered.err
    assert call(capfd, "records", "export", "run", "--dataset", "run").code == 2

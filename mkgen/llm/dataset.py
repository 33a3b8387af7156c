"""A run's generated kernels as a data set: JSON lines of prompt, answer, verdict and reward.

From `RUN/records.jsonl` and `RUN/exchanges/*.json`. No provider's identity (it may hold an
address), no key, nothing of held-out inputs is in a line.

The reward of an answer:

| it | reward |
|---|---|
| holds no kernel, or is refused as none of its own | 0 |
| does not compile, or asks for more than the device has | 0.05 |
| compiles, and fails in its first run | 0.1 |
| is right in a share of the runs before it failed | 0.1 + 0.4 share |
| passes | 1 |
| passes, s times as fast as the fastest baseline beside it | 1 + log2(s) / 3, in 0.75 to 2 |

None where it ended for a reason that is not the answer's: no toolchain, evidence missing, ours.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

from mkgen.codegen.registry import backend_named
from mkgen.document import Document
from mkgen.errors import UserError
from mkgen.evaluate.store import Run
from mkgen.llm.answer import extract
from mkgen.llm.disclosure import told_reason
from mkgen.llm.exchanges import Exchange, answer_hash, read_exchange
from mkgen.llm.prompt import Form
from mkgen.record import EvidenceKind, Record, Status

EXCHANGES = "exchanges"
"""Beside a run's records."""
_NOT_ITS_FAULT = frozenset(
    (Status.NO_TOOLCHAIN, Status.EVIDENCE_MISSING, Status.INTERNAL_ERROR, Status.BAD_TASK,
     Status.ILL_CONDITIONED, Status.UNSUPPORTED)
)  # fmt: skip
_NOTHING = frozenset((Status.NO_KERNEL, Status.REFUSED))
_BEFORE_RUNNING = frozenset((Status.COMPILE_FAILED, Status.WRONG_ARCH, Status.OVER_LIMIT))
_REMOVED = "[removed]"
#: What keys look like: vendors' prefixes, and whatever follows a bearer's header.
_SECRETS = re.compile(
    r"\b(?:sk|pk|rk)-[A-Za-z0-9_-]{16,}|\b(?:ghp|gho|hf|xai|gsk)_[A-Za-z0-9]{16,}"
    r"|\bAIza[A-Za-z0-9_-]{30,}|\b(?i:bearer)\s+[A-Za-z0-9._~+/-]{16,}=*"
)
_SECRET_NAMES = re.compile(r"(?:KEY|TOKEN|SECRET|PASSWORD)$")
_SHORTEST_SECRET = 12


class Verdict(Document):
    """How the answer was judged."""

    status: Status
    reason: str
    evidence: tuple[EvidenceKind, ...]
    reward: float | None


class Row(Document):
    """One answer."""

    schema_version: int = 1
    task: str
    target: str
    precision: str
    strategy: str
    form: str
    exemplar: str
    model: str
    sample: int
    round: int
    prompt: str
    answer: str
    text: str
    """The kernel's file as the answer has it; empty where it holds none."""
    verdict: Verdict
    seconds: float | None
    """Median of a call, where it was timed."""
    speedup: float | None
    """The fastest baseline's median over it."""
    prompt_sha: str
    answer_sha: str
    text_sha: str
    """The record's: of the text as it was compiled, sizes aside."""
    prompts_version: str
    task_hash: str
    record_key: str
    parent: str


def rows(run: Path) -> Iterator[Row]:
    """A row per answer in `run`, a directory, oldest first.

    Of an answer whose parameters were swept it is the record of the best reward. Records that were
    not seen here, and those whose exchange is not there, are left out. UserError for a run without
    records or exchanges.
    """
    records = generated_records(run)
    found = _exchanges(run / EXCHANGES)
    best: dict[tuple[str, int, str], Row] = {}
    for record in records:
        generation = record.generation
        assert generation is not None
        place = (generation.prompt_sha, generation.sample, generation.answer_sha)
        exchange = found.get(place)
        if exchange is not None:
            row = _row(record, exchange)
            if place not in best or _value(row) > _value(best[place]):
                best[place] = row
    yield from best.values()


def reward(record: Record) -> float | None:
    """See the module."""
    if record.status in _NOT_ITS_FAULT:
        return None
    if record.status in _NOTHING:
        return 0.0
    if record.status is Status.PASS:
        faster = speedup(record)
        return 1.0 if faster is None else min(2.0, max(0.75, 1.0 + math.log2(faster) / 3))
    if record.status in _BEFORE_RUNNING:
        return 0.05
    passed = sum(r.status is Status.PASS for r in record.results)
    return 0.1 + 0.4 * passed / max(1, len(record.results))


def speedup(record: Record) -> float | None:
    """How many times as fast as the fastest baseline beside it; None where none was timed."""
    found = [e.timing for e in record.evidence if e.timing is not None and e.timing.baselines]
    if not found:
        return None
    return max(min(b.median for b in t.baselines) / t.candidate.median for t in found)


def _value(row: Row) -> float:
    return -1.0 if row.verdict.reward is None else row.verdict.reward


def _row(record: Record, exchange: Exchange) -> Row:
    generation = record.generation
    assert generation is not None
    seconds = [e.timing.candidate.median for e in record.evidence if e.timing is not None]
    answer = extract(
        exchange.reply, Form(generation.form), backend_named(record.target.backend), record.task
    )
    return Row(
        task=record.task,
        target=str(record.target),
        precision=record.precision.value,
        strategy=generation.strategy,
        form=generation.form,
        exemplar=generation.exemplar,
        model=generation.model,
        sample=generation.sample,
        round=generation.round,
        prompt=_clean(exchange.prompt),
        answer=_clean(exchange.reply.text),
        text="" if record.status is Status.NO_KERNEL else _clean(answer.text),
        verdict=Verdict(
            status=record.status,
            reason=_clean(told_reason(record)),
            evidence=tuple(dict.fromkeys(e.kind for e in record.evidence)),
            reward=reward(record),
        ),
        seconds=min(seconds, default=None),
        speedup=speedup(record),
        prompt_sha=generation.prompt_sha,
        answer_sha=generation.answer_sha,
        text_sha=record.text_sha,
        prompts_version=generation.prompts_version,
        task_hash=record.task_hash,
        record_key=record.key,
        parent=generation.parent,
    )


def generated_records(run: Path) -> list[Record]:
    """Every record in `run`, a directory, of a model's answer that was seen here, oldest first.

    Each line, not each key: answers with the same text, or with none, have records of one key.
    UserError for a run without records, and for a line that is none.
    """
    path = run / "records.jsonl"
    if not path.is_file():
        raise UserError(f"{run} holds no records.jsonl; name the directory of a run")
    source = Run(path)
    try:
        records = [source.record(row) for row in source.rows()]
    finally:
        source.close()
    return [r for r in records if r.generation is not None and r.standing == "seen"]


def _exchanges(directory: Path) -> dict[tuple[str, int, str], Exchange]:
    """By prompt, sample and answer: models that share a run share the first two."""
    if not directory.is_dir():
        raise UserError(f"{directory} is not there: this run asked no model")
    found = [read_exchange(path) for path in sorted(directory.glob("*.json"))]
    return {(e.prompt_sha, e.sample, answer_hash(e.reply.text)): e for e in found}


def _clean(text: str) -> str:
    """`text` without anything that looks like a key, or is one of this process."""
    for name, value in os.environ.items():
        if _SECRET_NAMES.search(name.upper()) and len(value) >= _SHORTEST_SECRET:
            text = text.replace(value, _REMOVED)
    return _SECRETS.sub(_REMOVED, text)

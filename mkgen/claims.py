"""What a record may claim: evidence that no run can have given is refused, wherever it comes from.

These rules need nothing but the record. Whether an executor is what it says, and whether a device
is of the target's arch, is known where its backend is: mkgen.evaluate.claims.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mkgen.document import canonical_json, content_hash

if TYPE_CHECKING:
    from mkgen.record import Evidence, Record

#: Kinds of which one at least stands behind a pass: the text ran, and was right.
_EXECUTED = ("emulated", "proxy", "device")


def impossible(record: Record) -> str:
    """Why `record` cannot be true of any run; empty when it can."""
    seen = set()
    for evidence in record.evidence:
        reason = _impossible(record, evidence)
        identity = (evidence.kind, evidence.executor, evidence.executed, evidence.ran_on)
        if not reason and identity in seen:
            reason = "it is there twice"
        if reason:
            return f"{evidence.kind.value} evidence by {evidence.executor}: {reason}"
        seen.add(identity)
    if record.status == "pass":
        if not record.evidence or record.error is None:
            return "a pass needs evidence and an error figure; absent evidence is a failure"
        if not any(e.kind in _EXECUTED for e in record.evidence):
            return f"a pass needs evidence that it ran ({', '.join(_EXECUTED)})"
    return _other_task(record)


def _impossible(record: Record, evidence: Evidence) -> str:
    if evidence.timing is not None and evidence.kind != "timed":
        return "only timed evidence holds times"
    if not evidence.compiler_sha:
        return "no hash of the compiler"
    if not evidence.workloads:
        return "nothing was run"
    if evidence.kind == "compiled":
        if not any(a.arch == record.target.arch for a in record.artifacts):
            return f"no artifact for {record.target.arch} in the record"
        return ""
    if evidence.ran_on is None:
        return "it does not say where it ran"
    source = evidence.executed == f"source {record.text_sha}"
    artifacts = [a for a in record.artifacts if evidence.executed == f"artifact {a.sha}"]
    if evidence.kind == "emulated":
        return "" if source else "it did not run this record's text"
    if evidence.kind in ("sanitized", "proxy"):
        return "" if source or artifacts else "what ran is nothing of this record"
    return _not_on_device(record, evidence, [a.arch for a in artifacts])


def _not_on_device(record: Record, evidence: Evidence, archs: list[str]) -> str:
    """Why this is no evidence of the target's device; `archs`: of the artifacts that ran."""
    target, ran_on = record.target.arch, evidence.ran_on
    assert ran_on is not None
    if not archs:
        return "no artifact of this record ran"
    if target not in archs:
        return f"the artifact that ran is for {', '.join(archs)}, not for {target}"
    if ran_on.arch != target:
        return f"it ran on {ran_on.name} ({ran_on.arch}), which is no {target}"
    if "bench" not in evidence.workloads:
        return "it did not run at full size"
    if evidence.kind == "device":
        return ""
    on_device = [
        e
        for e in record.evidence
        if e.kind == "device" and (e.executed, e.ran_on) == (evidence.executed, ran_on)
    ]
    if not on_device:
        return "no device evidence of the same artifact on the same device"
    return "" if evidence.timing is not None or evidence.detail else "it says no time"


def _other_task(record: Record) -> str:
    if record.task_document is None:
        return ""
    found = content_hash(canonical_json(record.task_document))
    if found == record.task_hash:
        return ""
    return (
        f"the task in the record of {record.task} has the hash {found[:12]}, but "
        f"{record.task_hash[:12]} was judged: the record was changed"
    )


def key_of(record: Record) -> str:
    """SHA-256 of all that decides what `record` means, and of what it says.

    Two records with one key say the same thing: they differ in times, error figures, places of
    files and words at most. A secret seed is drawn anew for each record and is no part of it.
    """
    evidence = sorted(
        canonical_json(
            [
                e.kind.value, e.executor, e.executed, e.compiler_sha,
                e.ran_on.model_dump(mode="json") if e.ran_on else None, sorted(e.workloads),
            ]
        )
        for e in record.evidence
    )  # fmt: skip
    artifacts = [[a.arch, a.sha, a.compiler_sha] for a in record.artifacts]
    return content_hash(
        "record key 1",
        # the task's hash holds its sizes, inputs and precision
        *(record.task_hash, str(record.target), record.precision.value, record.profile_sha),
        *(record.text_sha, canonical_json(record.sources), canonical_json(record.parameters)),
        record.variant.key if record.variant else "",
        f"{record.origin} {'seed ' + str(record.seed) if record.origin == 'template' else ''}",
        *(canonical_json(record.checks), record.confinement, record.basis),
        *(record.status.value, canonical_json(artifacts), *evidence),
    )

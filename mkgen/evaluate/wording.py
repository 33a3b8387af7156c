"""A record in words: what was seen, by whom, and what was not; never more than the record holds."""

from __future__ import annotations

import textwrap
from collections.abc import Callable

from mkgen.record import Evidence, EvidenceKind, ParameterSource, Record, Status

_WIDTH = 100
_INDENT = " " * 10

#: Strongest first: the word that stands behind PASS.
_STRENGTH = (
    EvidenceKind.TIMED,
    EvidenceKind.DEVICE,
    EvidenceKind.PROXY,
    EvidenceKind.SANITIZED,
    EvidenceKind.EMULATED,
    EvidenceKind.COMPILED,
)
_REAL = (EvidenceKind.DEVICE, EvidenceKind.TIMED)


def headline(record: Record, device: str = "") -> str:
    """`conv2d -> hip:gfx942    PASS (EMULATED): never run on a gfx942`."""
    start = f"{record.task} -> {record.target}    "
    if record.status is not Status.PASS:
        return f"{start}{_standing(record)}{record.status.value.upper()}: {record.reason}"
    best = next(kind for kind in _STRENGTH if record.has(kind))
    verdict = f"{start}{_standing(record)}PASS ({best.value.upper()})"
    if any(record.has(kind) for kind in _REAL):
        return verdict
    return f"{verdict}: never run on {_article(device or record.target.arch)}"


def _standing(record: Record) -> str:
    return "REPORTED " if record.standing == "reported" else ""


def describe(record: Record, device: str = "", directory: str = "DIR") -> str:
    """The record as a block of text; `device` is the title of the target's device, if known."""
    lines = [headline(record, device)]
    if record.standing == "reported":
        told = f"nothing below was seen here, or it was changed since. mkgen verify {directory}"
        lines.append(_entry("reported", told))
    writers: dict[EvidenceKind, Callable[[Record, Evidence], str]] = {
        EvidenceKind.COMPILED: _compiled,
        EvidenceKind.TIMED: lambda _, evidence: f"{evidence.detail}, {_where(evidence)}.",
    }
    for kind in reversed(_STRENGTH):
        for evidence in record.evidence:
            if evidence.kind is kind:
                write = writers.get(kind, _ran)
                lines.append(_entry(kind.value, write(record, evidence)))
    if not record.has(EvidenceKind.COMPILED):
        lines.append(_entry("compiled", "absent."))
    if record.status is Status.PASS or record.artifacts:
        lines += _absent(record, device, directory)
        lines.append(_fold("Not shown: " + ", ".join(not_shown(record)) + ".", ""))
    return "\n".join(lines) + "\n"


def parameters_text(source: ParameterSource) -> str:
    """`tuned on NVIDIA H200 (2.31 ms, 21 samples)`, or `chosen by the model`."""
    if source.kind == "model":
        return "chosen by the model"
    if source.kind == "reported":
        return f"taken from a file that names {source.device}, measured nowhere that is known here"
    if source.kind == "stale":
        why = source.reason.replace(", ", " and ")
        return f"tuned on {source.device} with {why} (stale), used as a start"
    time = f"{duration(source.seconds)}, " if source.seconds is not None else ""
    sizes = " ".join(f"{k}={v}" for k, v in source.sizes.items())
    at = f" at {sizes}" if sizes else ""
    return f"tuned on {source.device}{at} ({time}{source.samples} samples)"


def duration(seconds: float) -> str:
    """`2.31 ms`: three digits, in the unit that fits."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if seconds * factor >= 1.0:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def not_shown(record: Record) -> list[str]:
    """What no executor of the record could see."""
    ran = [e for e in record.evidence if e.kind is not EvidenceKind.COMPILED]
    if not ran:
        return [f"anything but that it compiles for {record.target.arch}"]
    hidden = [
        thing for thing in ran[0].cannot_see if all(thing in other.cannot_see for other in ran[1:])
    ]
    if not any("bench" in e.workloads for e in ran):
        hidden.append("full size")
    if not record.has(EvidenceKind.TIMED):
        hidden.append("speed")
    return list(dict.fromkeys(hidden)) or ["nothing that these executors are known to miss"]


def _compiled(record: Record, evidence: Evidence) -> str:
    artifact = record.artifacts[0] if record.artifacts else None
    what = f"{artifact.arch} {artifact.format} {artifact.sha[:12]}; " if artifact else ""
    executed = any(
        e.executed.startswith("artifact ") and artifact is not None and artifact.sha in e.executed
        for e in record.evidence
    )
    return f"{what}{evidence.compiler}.{'' if executed else ' Not executed.'}"


def _ran(record: Record, evidence: Evidence) -> str:
    what = "this artifact" if evidence.executed.startswith("artifact ") else "the same text"
    shapes = {r.workload: r.role for r in record.results if r.workload in evidence.workloads}
    roles = list(shapes.values())
    counts = [
        f"{roles.count(role)} {word}"
        for role, word in (("bench", "full-size"), ("check", "check"), ("heldout", "held-out"))
        if role in roles
    ]
    figures = [
        r.error for r in record.results if r.executor == evidence.executor and r.error is not None
    ]
    worst = max(figures, key=lambda f: f.share, default=None)
    error = ""
    if worst is not None:
        allowed = f" of {worst.budget:.2g} allowed" if worst.budget else ", and none is allowed"
        error = f"; worst error {worst.share * worst.budget or worst.max_abs:.2g}{allowed}"
    return f"{what}, {_where(evidence)}; {' + '.join(counts)} shapes{error}."


def _where(evidence: Evidence) -> str:
    ran_on = evidence.ran_on
    place = f" on {ran_on.name} ({ran_on.arch})" if ran_on else ""
    return f"by {evidence.executor}{place}, {evidence.compiler}"


def _absent(record: Record, device: str, directory: str) -> list[str]:
    lines = []
    if not record.has(EvidenceKind.DEVICE):
        on = _article(device or record.target.device or record.target.arch)
        text = f"absent. On {on}: mkgen verify {directory} --require device"
        lines.append(_entry("device", text))
    if not record.has(EvidenceKind.TIMED):
        source = record.parameter_source
        claim = "No speed is claimed."
        if source is not None:
            tuned = source.kind == "tuned"
            tail = "nothing was timed now." if tuned else "no speed is claimed."
            claim = f"Parameters were {parameters_text(source)}; {tail}"
        lines.append(_entry("timed", f"absent. {claim}"))
    return lines


def _article(noun: str) -> str:
    # by sound: "an AMD", "an H200", "an MI300X", "a gfx942"
    spelled = noun[:1] in "FHLMNRSX" and noun[1:2] and not noun[1:2].islower()
    vowel = noun[:1].lower() in "aeio"
    return f"{'an' if spelled or vowel else 'a'} {noun}"


def _entry(kind: str, text: str) -> str:
    return _fold(f"{kind:<10}{text}", _INDENT)


def _fold(text: str, indent: str) -> str:
    return textwrap.fill(
        text, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )

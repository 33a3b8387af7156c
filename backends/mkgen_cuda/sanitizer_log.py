"""What compute-sanitizer prints, as one line: the kernel's line, the fault, the threads."""

from __future__ import annotations

import re

_PREFIX = re.compile(r"^=========[ \t]?", re.MULTILINE)
_SUMMARY = re.compile(
    r"^(?:ERROR SUMMARY: ([\d,]+) error|RACECHECK SUMMARY: ([\d,]+) hazard)", re.MULTILINE
)
#: `at k(float *)+0x70 in kernel.cu:12`, `at 0x70 in /tmp/kernel.cu:12:k`; `…(kernel.cu:12)`.
_PLACE = re.compile(r"(?:in |\()(?:[^\s():]*/)?([^\s():/]+):(\d+)")
_THREAD = re.compile(r"by thread (\([\d, ]+\)) in block (\([\d, ]+\))")
_KERNEL = re.compile(r"at (?:0x[0-9a-f]+ in )?([A-Za-z_]\w*)[(+]|:\d+:([A-Za-z_]\w*)")
_NEAREST = re.compile(
    r"and is ([\d,]+) bytes (after|before|inside) the nearest allocation.*?of size ([\d,]+)"
)
_RACE = re.compile(
    r"(?:Error|Warning): (?:Race reported|Potential \w+ hazard)[^\n]*(?:\n\s+and [^\n]*)*",
    re.IGNORECASE,
)
#: The device, the driver or the way to the process that is watched; not the program.
_NOT_HERE = re.compile(
    r"Device not supported|not supported on this|Unable to (?:find|add|patch)"
    r"|Failed to (?:initialize|load|create \w+ socket)|insufficient permission"
    r"|compatible with the installed|No attachable process found|Could not connect to target"
    r"|terminated before first instrumented|Internal Sanitizer Error"
    r"|Target application doesn't exist",
    re.IGNORECASE,
)

_STARTS = (
    (re.compile(r"Invalid __(\w+)__ (read|write|atomic) of size (\d+)"), "out of bounds"),
    (re.compile(r"Uninitialized __(\w+)__ memory (read|access) of size (\d+)"), "unwritten"),
    (re.compile(r"Barrier error detected[^\n]*"), "divergent barrier"),
    (re.compile(r"(?:Misaligned|Address [^\n]*misaligned)[^\n]*"), "misaligned"),
    (re.compile(r"Host API uninitialized memory access[^\n]*"), "unwritten output"),
)


def why_not(log: str) -> str:
    """Why the tool itself could not work here; empty when it could."""
    said = (line for line in log.splitlines() if _PREFIX.match(line))
    return next((line.strip("= ").strip() for line in said if _NOT_HERE.search(line)), "")


def counted(log: str) -> int | None:
    """How many errors or hazards the tool counts at its end; None where it has not come so far.

    Without a count its silence says nothing: when it loses the process that it watches, it lets
    that go on and tells no more of it.
    """
    summary = _SUMMARY.search(_PREFIX.sub("", log))
    if summary is None:
        return None
    return int((summary[1] or summary[2]).replace(",", ""))


def finding(log: str, source: str) -> str:
    """The first fault that `log` tells of; empty when there is none. `source`: the text's name."""
    text = _PREFIX.sub("", log)
    race = _RACE.search(text)
    if race is not None:
        return _placed(race[0], source, "race", " ".join(race[0].split()))
    for pattern, kind in _STARTS:
        found = pattern.search(text)
        if found is None:
            continue
        # what belongs to it is indented
        rest = text[found.end() :]
        end = re.search(r"\n\s*\n|\n(?=\S)", rest)
        part = found[0] + (rest[: end.start()] if end else rest)
        return _placed(part, source, kind, _said(kind, found))
    errors = counted(log)
    if errors:
        told = [line.strip() for line in text.splitlines() if line.strip()]
        return f"{source}: compute-sanitizer counts {errors} errors: {' '.join(told)[:300]}"
    return ""


def _said(kind: str, found: re.Match[str]) -> str:
    if kind in ("divergent barrier", "misaligned", "unwritten output"):
        return " ".join(found[0].split())
    return f"{found[2]}s {found[3]} bytes of {found[1]} memory".replace("accesss", "accesses")


def _placed(part: str, source: str, kind: str, said: str) -> str:
    place = next((p for p in _PLACE.finditer(part) if p[1] == source), None)
    at = f"{source} line {place[2]}" if place else source
    nearest = _NEAREST.search(part)
    beside = f", {nearest[1]} bytes {nearest[2]} an allocation of {nearest[3]}" if nearest else ""
    kernel, thread = _KERNEL.search(part), _THREAD.search(part)
    where = f"; kernel {kernel[1] or kernel[2]}" if kernel else ""
    where += f", block {thread[2]}, thread {thread[1]}" if thread else ""
    return f"{at}: {kind}: {said}{beside}{where}"

"""The steps of the protocol that a candidate went through, in words that a record keeps."""

from __future__ import annotations

from collections.abc import Iterable

from mkgen.record import WorkloadResult

#: What a step is called, by the role of what was run.
_STEPS = {
    "bench": "bench-size",
    "check": "check-sizes",
    "heldout": "heldout-sizes",
    "user": "user-sizes",
}


def steps_done(results: Iterable[WorkloadResult]) -> tuple[str, ...]:
    """`check-sizes`, `structured offset`, `thin cols-1`, …: each once, in the order they came."""
    named = (_step(r) for r in results if r.executor != "compile")
    return tuple(dict.fromkeys(named))


def _step(result: WorkloadResult) -> str:
    if result.role == "structured":
        return f"structured {result.workload.rpartition(' ')[2]}"
    if result.role == "thin":
        return f"thin {result.workload}"
    return _STEPS.get(result.role, result.role)

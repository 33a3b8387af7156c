"""The journal of a search: a trial a line."""

from __future__ import annotations

from mkgen.document import canonical_json
from mkgen.errors import UserError
from mkgen.tune.journal import Journal

from ..surface import Surface, scratch

_TRIAL = {
    "schema_version": 1, "session": "0a", "task": "relu", "target": "cuda:sm_90a@h200",
    "device": "NVIDIA H200", "sizes": {"N": 16}, "templates": ["c/pointwise"],
    "parameters": {"THREADS": 128, "KEEP": True}, "variant": "c/pointwise THREADS=128",
    "text_sha": "0b", "samples": 5, "seconds": [1e-4, 2e-4], "status": "pass", "reason": "",
    "estimate_seconds": 1e-4, "checked": "check1",
}  # fmt: skip


def target(data: bytes) -> None:
    path = scratch() / "trials.jsonl"
    path.write_bytes(data)
    journal = Journal(path)
    try:
        for trial in journal.trials():
            canonical_json(trial.model_dump(mode="json"))
        journal.trials("0a")
    except UserError:
        pass
    finally:
        journal.close()


def seeds() -> list[bytes]:
    line = canonical_json(_TRIAL).encode() + b"\n"
    return [line, line * 3, line[:-9], b"", b"{}\n"]


SURFACE = Surface("trial", target, seeds, "jsonl", tuple(k.encode() for k in _TRIAL))

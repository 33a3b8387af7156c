"""A worker's reply, and what the parent makes of its result: times, descriptions, artifacts."""

from __future__ import annotations

from typing import Any

from mkgen.document import canonical_json
from mkgen.evaluate import jobs
from mkgen.evaluate.process import WorkerFailure, WorkerProcess
from mkgen.record import Record, Status

from ..surface import Surface, scratch

_NONCE = "0123456789abcdef"


class _Process(WorkerProcess):
    """One that was never started: only its judgement is asked for."""

    def __init__(self) -> None:
        pass

    def kill(self) -> None:
        """There is nothing to end."""


class _Lease:
    """Gives the one reply to whatever is asked."""

    def __init__(self, reply: bytes) -> None:
        self.reply = reply

    def call(self, job: str, timeout: float, **arguments: Any) -> Any:
        return _Process()._judge(self.reply, _NONCE, job)


def target(data: bytes) -> None:
    lease: Any = _Lease(data)
    uses = (
        lambda: lease.call("run", 1.0),
        lambda: jobs.describe(lease, "simt-host"),
        lambda: jobs.told_seconds(lease.call("time", 1.0)),
        lambda: jobs.told_artifact(lease.call("compile", 1.0), scratch(), scratch(), "hip"),
        lambda: jobs.accepts(lease, "simt-host", _Program()),  # type: ignore[arg-type]
    )
    for use in uses:
        try:
            use()
        except WorkerFailure as failure:
            _store(failure)


def _store(failure: WorkerFailure) -> None:
    """What the failure says goes into a record, which goes to a disk and to a screen."""
    made = Record(
        task="t", task_hash="", target="hip:gfx942", precision="strict", status=failure.status,
        # type: ignore[arg-type]
        reason=failure.message, evidence=(), results=(), error=None, parameters={}, variant=None,
        text_sha="", artifacts=(), seconds=0.0, mkgen_version="0",
    )  # fmt: skip
    text = canonical_json(made.model_dump(mode="json"))
    assert Record.model_validate_json(text) == made
    made.reason.encode()
    assert failure.status is not Status.PASS


class _Program:
    def model_dump(self, mode: str) -> dict[str, Any]:
        return {}


def seeds() -> list[bytes]:
    ran_on = {"vendor": "amd", "arch": "gfx942", "name": "MI300X"}
    artifact = {
        "arch": "gfx942", "format": "hsaco", "path": str(scratch() / "a.hsaco"), "sha": "0a",
        "resources": {"k": {"registers": 3}}, "compiler": "clang", "compiler_sha": "0b",
        "command": "c", "isa_path": None, "checked": "e_flags", "seconds": 0.5,
    }  # fmt: skip
    results: list[Any] = [
        None, "a reason", [1e-4, 2e-4], artifact,
        {"ran_on": ran_on, "compiler": "clang", "compiler_sha": "0b"},
    ]  # fmt: skip
    error = {"status": "crashed", "message": "no", "log": "line"}
    replies = [{"result": r, "nonce": _NONCE} for r in results]
    return [canonical_json(r).encode() for r in [*replies, {"error": error, "nonce": _NONCE}]]


SURFACE = Surface(
    "reply", target, seeds, "json",
    (b"nonce", b"result", b"error", b"status", b"message", b"log", _NONCE.encode(), b"pass",
    b"crashed",
     b"unsupported", b"path", b"ran_on", b"seconds", b"/dev/zero", b"/etc/shadow"),
)  # fmt: skip

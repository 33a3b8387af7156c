"""Winners: one JSON file per device, written by `mkgen tune`."""

from __future__ import annotations

from mkgen.document import canonical_json
from mkgen.errors import UserError
from mkgen.tune.winners import Winners, workload_class

from ..surface import Surface, scratch

_WINNER = {
    "task": "relu", "computation": "0a", "workload_class": "N=2^12", "target": "cuda:sm_90a@h200",
    "precision": "strict", "toolchain": "NVRTC", "template_sha": "0b", "text_sha": "0c",
    "templates": ["c/pointwise"], "parameters": {"THREADS": 128}, "sizes": {"N": 4096},
    "seconds": 1e-4, "samples": 21, "device": "NVIDIA H200", "measured": "2026-11-21", "trials": 9,
    "legal": 12,
}  # fmt: skip


def target(data: bytes) -> None:
    directory = scratch() / "winners"
    directory.mkdir(exist_ok=True)
    (directory / "fuzz.json").write_bytes(data)
    try:
        winners = Winners(directory)
        found = winners.get("0a cuda:sm_90a@h200 strict N=2^12", "fuzz")
    except UserError:
        return
    if found is not None:
        workload_class(found.sizes)
        found.canonical_json()


def seeds() -> list[bytes]:
    other = {**_WINNER, "computation": "0d", "sizes": {"N": 3, "M": 0}}
    return [
        canonical_json({"schema_version": 1, "winners": [_WINNER]}).encode(),
        canonical_json({"winners": [_WINNER, other]}).encode(),
        b"{}",
    ]


SURFACE = Surface("winners", target, seeds, "json", tuple(k.encode() for k in _WINNER))

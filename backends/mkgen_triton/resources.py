"""Static resources of a kernel, read from what ptxas prints and from AMD's assembly."""

from __future__ import annotations

import re

from mkgen.program import Resources


def _number(pattern: str, text: str) -> int | None:
    found = re.search(pattern, text)
    return int(found.group(1)) if found else None


def from_ptxas(log: str, shared_bytes: int, code: bytes) -> Resources:
    """Resources from the output of `ptxas -v`; registers it does not state stay None.

    ptxas counts spills in bytes; four of them are one register.
    """
    spill = _number(r"(\d+) bytes spill stores", log)
    return Resources(
        registers=_number(r"Used (\d+) registers", log),
        spilled_registers=None if spill is None else spill // 4,
        spill_bytes=spill,
        stack_bytes=_number(r"(\d+) bytes stack frame", log),
        shared_bytes=shared_bytes,
        code_bytes=len(code),
    )


def from_amdgcn(text: str, shared_bytes: int, code: bytes) -> Resources:
    """Resources from the `.amdgpu_metadata` block and the comments of LLVM's AMDGPU printer."""
    spilled = _number(r"\.vgpr_spill_count:\s*(\d+)", text)
    return Resources(
        registers=_number(r"\.vgpr_count:\s*(\d+)", text),
        accumulator_registers=_number(r"\.agpr_count:\s*(\d+)", text),
        scalar_registers=_number(r"\.sgpr_count:\s*(\d+)", text),
        spilled_registers=spilled,
        spill_bytes=None if spilled is None else 4 * spilled,
        stack_bytes=_number(r"\.private_segment_fixed_size:\s*(\d+)", text),
        shared_bytes=shared_bytes,
        occupancy_waves=_number(r";\s*Occupancy:\s*(\d+)", text),
        code_bytes=len(code),
    )


def worst(one: Resources, other: Resources) -> Resources:
    """Field by field the more costly of two; the lower occupancy.

    One entry launched with several sets of constants is several kernels under one name.
    """
    merged: dict[str, int | None] = {}
    for field in Resources.model_fields:
        values = [v for v in (getattr(one, field), getattr(other, field)) if v is not None]
        pick = min if field == "occupancy_waves" else max
        merged[field] = pick(values) if values else None
    return Resources(**merged)

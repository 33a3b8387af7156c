"""Hardware profiles, `hardware_profiles/NAME.toml`."""

from __future__ import annotations

from mkgen.errors import UserError
from mkgen.profile import load_profile

from ..surface import Surface, files, scratch


def target(data: bytes) -> None:
    path = scratch() / "profile.toml"
    path.write_bytes(data)
    try:
        profile = load_profile(path)
    except UserError:
        return
    for fact in profile.facts:
        profile.number(fact)
        profile.integer(fact)
    type(profile).model_validate_json(profile.canonical_json())


def seeds() -> list[bytes]:
    small = b"""name = "x"
title = "X"
vendor = "generic"
kind = "tpu"
[archs]
hip = "gfx1"
[facts]
cores = { value = 1, unit = "u", source = "s" }
vmem_bytes = { value = 2, unit = "u", source = "s" }
memory_bytes = { value = 2, unit = "u", source = "s" }
memory_bandwidth = { value = 1.5e9, unit = "u", source = "s" }
matrix_unit_side = { value = [8, 128], unit = "u", source = "s" }
peak_bfloat16 = { value = 1, unit = "u", source = "s", note = "n" }
[sources.s]
title = "T"
"""
    return [small, *files("hardware_profiles/*.toml")]


SURFACE = Surface(
    "profile", target, seeds, "toml",
    (b"name", b"facts", b"sources", b"archs", b"kind", b"value", b"unit", b"source", b"note",
    b"cores"),
)  # fmt: skip

"""Hardware profiles: the facts of one device, each with its source."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from mkgen.document import Document
from mkgen.errors import UserError, nearest
from mkgen.reading import read_text, toml
from mkgen.share import share_root

#: What a profile of each kind must state.
REQUIRED_FACTS = {
    "gpu": (
        "compute_units", "threads_per_block", "threads_per_unit", "sub_group_sizes",
        "registers_per_unit", "registers_per_thread", "shared_bytes_per_block",
        "shared_bytes_per_unit", "memory_bytes", "memory_bandwidth", "last_level_cache_bytes",
        "clock_hz", "peak_float32",
    ),
    "tpu": ("cores", "vmem_bytes", "memory_bytes", "memory_bandwidth", "matrix_unit_side",
            "peak_bfloat16"),
    "cpu": ("cores", "memory_bandwidth", "last_level_cache_bytes", "clock_hz", "peak_float32",
            "threads_per_block", "shared_bytes_per_block"),
}  # fmt: skip


#: No device has as much of anything.
_LARGEST = 1e24
#: What a target may name as its device and arch.
_NAME = r"^[a-z0-9_-]+$"


class FactSource(Document):
    """Where numbers come from: a vendor's document, or the arithmetic that gives them."""

    title: str
    url: str = ""


class Fact(Document):
    """One number (or a list of them), its unit, and the key of its source."""

    value: int | float | tuple[int, ...]
    unit: str
    source: str
    note: str = ""

    @field_validator("value")
    @classmethod
    def _usable(cls, value: int | float | tuple[int, ...]) -> int | float | tuple[int, ...]:
        numbers = value if isinstance(value, tuple) else (value,)
        if not numbers or not all(0 <= number <= _LARGEST for number in numbers):
            raise ValueError(f"a fact is a number from 0 to {_LARGEST:g}, or a list of such")
        return value


class HardwareProfile(Document):
    """One device: `mi300x`. File `hardware_profiles/mi300x.toml`."""

    name: str = Field(pattern=_NAME)
    title: str
    """`AMD Instinct MI300X`."""
    vendor: Literal["nvidia", "amd", "intel", "google", "generic"]
    kind: Literal["gpu", "tpu", "cpu"]
    archs: dict[str, str]
    """Backend -> the arch this device has there: `{hip = "gfx942", triton = "gfx942"}`."""
    facts: dict[str, Fact]
    sources: dict[str, FactSource]

    @model_validator(mode="after")
    def _complete(self) -> HardwareProfile:
        missing = [name for name in REQUIRED_FACTS[self.kind] if name not in self.facts]
        if missing:
            raise ValueError(f"a {self.kind} profile must state {', '.join(missing)}")
        for name, fact in self.facts.items():
            if fact.source not in self.sources:
                raise ValueError(
                    f"fact {name!r} names the source {fact.source!r}, which is not under [sources]"
                )
        return self

    def number(self, fact: str) -> float:
        """The value of `fact` as one number; the largest of a list. KeyError when not stated."""
        value = self.facts[fact].value
        return float(max(value)) if isinstance(value, tuple) else float(value)

    def integer(self, fact: str) -> int:
        """`number` as an integer."""
        return int(self.number(fact))


def load_profile(path: Path) -> HardwareProfile:
    """The profile in the TOML file `path`. UserError names the file and what is wrong in it."""
    what = f"hardware profile {path}"
    try:
        return _parse(read_text(path, what), what)
    except ValidationError as error:
        raise UserError(f"{what}: {error}") from error


@lru_cache(maxsize=256)  # a search asks for the same device once per candidate
def _parse(text: str, what: str) -> HardwareProfile:
    return HardwareProfile.model_validate(toml(text, what))


def profile_roots(extra: Path | None = None) -> tuple[Path, ...]:
    """Directories that hold profiles: ours, those in MKGEN_PROFILES (os.pathsep between), `extra`.

    Of two profiles of one name the later one counts. UserError when a directory is not there.
    """
    named = [Path(p) for p in os.environ.get("MKGEN_PROFILES", "").split(os.pathsep) if p]
    for root in named:
        if not root.is_dir():
            raise UserError(f"profile directory {root} does not exist (MKGEN_PROFILES)")
    return (share_root("hardware_profiles"), *reversed(named), *([extra] if extra else ()))


def profiles(extra: Path | None = None) -> dict[str, HardwareProfile]:
    """All profiles by name: ours, then those of MKGEN_PROFILES and of `extra`, which win."""
    directories = profile_roots(extra)
    found = (load_profile(p) for d in directories for p in sorted(d.glob("*.toml")))
    return {profile.name: profile for profile in found}


def find_profile(name: str, extra: Path | None = None) -> HardwareProfile:
    """The profile called `name`, or the one in the file `name` when that ends in .toml."""
    if name.endswith(".toml"):
        return load_profile(Path(name))
    known = profiles(extra)
    if name not in known:
        raise UserError(f"no hardware profile {name!r}.{nearest(name, known)}")
    return known[name]

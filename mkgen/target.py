"""Targets: `backend:arch` and, with a device, `backend:arch@device`."""

from __future__ import annotations

import re

from pydantic import model_serializer, model_validator

from mkgen.document import Document

_PATTERN = re.compile(
    r"(?P<backend>[a-z][a-z0-9_]*):(?P<arch>[a-z0-9_-]+)(@(?P<device>[a-z0-9_-]+))?"
)


class Target(Document):
    """`hip:gfx942`, `cuda:sm_90a@h200`. An arch is not a device: many devices share one."""

    backend: str
    arch: str
    device: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        match = _PATTERN.fullmatch(value)
        if match is None:
            raise ValueError(f"a target reads backend:arch or backend:arch@device, not {value!r}")
        return match.groupdict()

    @model_serializer
    def _to_text(self) -> str:
        return str(self)

    @classmethod
    def parse(cls, text: str) -> Target:
        """The target written as `text`; ValueError when it is not one."""
        return cls.model_validate(text)

    def __str__(self) -> str:
        device = f"@{self.device}" if self.device else ""
        return f"{self.backend}:{self.arch}{device}"

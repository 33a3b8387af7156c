"""From a model's reply to a kernel's text: extracted, or rejected with a reason."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """What a reply holds."""

    text: str
    """The kernel's file; empty where there is none."""
    name: str
    """A file name for it, `softmax.hip`."""
    reason: str = ""
    """Why there is no kernel, for the record and for feedback; empty where there is one."""

"""Where sanitizers look: they are tens of times slower than a plain run, so at few sizes."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from mkgen.program import Program
from mkgen.task import Workload

Sized = tuple[Workload, Program]


def sanitized_sizes(small: Sequence[Sized], *, trusted: bool) -> tuple[Sized, ...]:
    """The check sizes of `small` at which a sanitizer runs, the smallest first.

    Of a template, which says what its sizes must show: as few as show all that any of them does
    (loops of two rounds, tails). Of any other text: every one.
    """
    check = sorted((s for s in small if s[0].role == "check"), key=lambda s: _elements(s[1]))
    if not trusted:
        return tuple(check)
    chosen: list[Sized] = []
    shown: set[str] = set()
    for workload, program in check:
        new = {condition for condition, holds in program.requirements if holds} - shown
        if new or not chosen:
            chosen.append((workload, program))
            shown |= new
    return tuple(chosen)


def _elements(program: Program) -> int:
    return sum(prod(buffer.shape) for buffer in program.buffers)

"""Where a judged text belongs in an archive, and the texts that an archive begins with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from mkgen.codegen.backend import Backend
from mkgen.codegen.candidate import Generator
from mkgen.errors import MkgenError, UnsupportedError
from mkgen.evaluate.pool import Workers
from mkgen.evaluate.protocol import Settings
from mkgen.foreign.native import parse_native
from mkgen.foreign.native_program import SourceCandidate, source_candidate
from mkgen.foreign.native_write import native_text
from mkgen.llm.describe import Cell, describe
from mkgen.llm.fitness import Fitness, fitness_of
from mkgen.program import Program
from mkgen.record import Record
from mkgen.target import Target
from mkgen.task import Task
from mkgen.tune.choose import rank
from mkgen.tune.variants import sweep


class Judged(Protocol):
    """What an evaluator makes of an answer."""

    @property
    def record(self) -> Record:
        """Everything seen of it."""

    @property
    def text(self) -> str:
        """The native file that was judged; empty where there was none."""


@dataclass(frozen=True)
class JudgedText:
    """A text and its record."""

    record: Record
    text: str


TextJudge = Callable[[str], Judged]
"""Judges a native file that no model was asked for: a seed."""


def candidate_of(text: str, task: Task, backend: Backend, target: Target) -> SourceCandidate:
    """The native file `text` as a candidate. UserError."""
    native = parse_native(text, f"{task.name}{backend.extension}")
    return source_candidate(task, backend, target, native, task.precision)


def text_judge(
    task: Task, backend: Backend, target: Target, workers: Workers, settings: Settings
) -> TextJudge:
    """A judge by the protocol. What it judges may raise UserError: it is our own writing."""

    def judge(text: str) -> Judged:
        swept = sweep(candidate_of(text, task, backend, target), workers, settings)
        return JudgedText(swept.record, text)

    return judge


def placed(
    judged: Judged, task: Task, backend: Backend, target: Target
) -> tuple[Cell, Fitness] | None:
    """Cell and fitness of what passed; None for what did not."""
    program = _program_of(judged, task, backend, target)
    fitness = fitness_of(judged.record, program, backend) if program else None
    if program is None or fitness is None:
        return None
    return describe(judged.text, program, backend), fitness


def cell_of(judged: Judged, task: Task, backend: Backend, target: Target) -> Cell | None:
    """The cell of a text, whether or not it passed; None for one that cannot be read."""
    program = _program_of(judged, task, backend, target)
    return describe(judged.text, program, backend) if program else None


def _program_of(judged: Judged, task: Task, backend: Backend, target: Target) -> Program | None:
    """What was judged at full size, with the parameters that the record has."""
    if not judged.text:
        return None
    try:
        candidate = candidate_of(judged.text, task, backend, target)
        offered = candidate.native.head.parameters
        chosen = {k: v for k, v in judged.record.parameters.items() if k in offered}
        if chosen:
            candidate = replace(candidate, parameters=chosen)
        return candidate.program(task.workloads()[0])
    except MkgenError:
        return None  # a module, or a text that cannot even be read


def seed_texts(task: Task, backend: Backend, target: Target, count: int) -> tuple[str, ...]:
    """Up to `count` native files of templates' kernels, as different as there are.

    In the order of the cost model, but first one of each cell, then one of each choice of
    templates, then the rest. Empty where no template can render the task, or no native file can
    say what one makes.
    """
    try:
        choices = rank(Generator(task, backend, target, task.precision))
    except UnsupportedError:
        return ()
    firsts: dict[str, None] = {}
    others: dict[str, None] = {}
    rest: dict[str, None] = {}
    cells: set[Cell] = set()
    templates: set[tuple[str, ...]] = set()
    for choice in choices[:_LOOKED_AT]:
        try:
            text = native_text(choice.candidate)
            cell = describe(text, choice.candidate.program(task.workloads()[0]), backend)
        except UnsupportedError:
            continue
        names = tuple(t.name for t in choice.candidate.request.templates)
        kind = firsts if cell not in cells else others if names not in templates else rest
        kind[text] = None
        cells.add(cell)
        templates.add(names)
    return tuple({**firsts, **others, **rest})[:count]


#: Choices of which texts are made: rendering one takes milliseconds, and the last are the worst.
_LOOKED_AT = 64

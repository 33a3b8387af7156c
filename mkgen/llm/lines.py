"""Lines of the text that was compiled, as lines of the file that its author wrote.

mkgen puts sizes, parameters and includes into a text, so that what a compiler or a sanitizer calls
line 31 may be the author's line 24.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from mkgen.codegen.backend import Backend
from mkgen.errors import MkgenError
from mkgen.evaluate.module_source import module_candidate, parse_module
from mkgen.foreign.native import parse_native
from mkgen.foreign.native_program import SourceCandidate, source_candidate
from mkgen.record import Record
from mkgen.target import Target
from mkgen.task import Task


@dataclass(frozen=True)
class Lines:
    """Where the author's lines stand in a compiled text."""

    name: str = ""
    """Of the compiled file."""
    same: int = 0
    """Lines at the beginning that are the same."""
    shift: int = 0
    """Lines that were put in behind them."""
    count: int = 0
    """Of the author's file."""

    def own(self, line: int) -> int | None:
        """The author's line; None where the line is one that mkgen made."""
        if line <= self.same:
            return line
        found = line - self.shift
        return found if self.same < found <= self.count else None

    def spell(self, text: str) -> str:
        """`text` with the author's lines: of `k.hip:31:5`, `k.cu(31)`, `line 31`, ` 31 | …`."""
        if not self.count:
            return text
        file = rf"(?:{re.escape(self.name)}|(?<![\w.:])1|<\w+>)"  # OpenCL names a text by number
        text = re.sub(rf"({file}):(\d+)(?=:)", lambda m: f"{self.name}:{self._told(m[2])}", text)
        text = re.sub(rf"({file})\((\d+)\)", lambda m: f"{m[1]}({self._told(m[2])})", text)
        text = re.sub(r"\b(line) (\d+)\b", lambda m: f"{m[1]} {self._told(m[2])}", text)
        return re.sub(
            r"^([ \t]*)(\d+)( \|)", lambda m: f"{m[1]}{self._told(m[2])}{m[3]}", text, flags=re.M
        )

    def _told(self, number: str) -> str:
        if len(number) > 9:
            return number
        own = self.own(int(number))
        return str(own) if own is not None else "of the code that was added"


def lines_of(record: Record, task: Task, backend: Backend, target: Target, text: str) -> Lines:
    """For the text that `record` is of; nothing is known where there is no program of it."""
    name = f"{task.name}{'.py' if record.origin == 'module' else backend.extension}"
    try:
        if record.origin == "module":
            module = parse_module(text, name)
            made = module_candidate(task, backend, target, module, record.precision)
            source = made.program(task.workloads()[0]).sources[0]
            own = module.text
        else:
            native = parse_native(text, name)
            candidate = source_candidate(task, backend, target, native, record.precision)
            source = _with_parameters(candidate, record).program(task.workloads()[0]).sources[0]
            own = native.text
    except MkgenError:
        return Lines()
    theirs, mine = source.text.split("\n"), own.rstrip().split("\n")
    same = 0
    while same < min(len(theirs), len(mine)) and theirs[same] == mine[same]:
        same += 1
    rest = "\n".join(mine[same:])
    at = source.text.find(rest) if rest else -1
    shift = source.text.count("\n", 0, at) - same if at >= 0 else 0
    return Lines(source.name, same, shift, len(mine))


def _with_parameters(candidate: SourceCandidate, record: Record) -> SourceCandidate:
    offered = candidate.native.head.parameters
    chosen = {k: v for k, v in record.parameters.items() if k in offered}
    return replace(candidate, parameters=chosen) if len(chosen) == len(offered) > 0 else candidate

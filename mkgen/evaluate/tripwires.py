"""Tripwires: what a text says that no kernel of its own needs, before anything of it is run.

They end a candidate as `refused` and name the line. They are not the boundary, which is the child
process, its limits and the comparison in the parent: whoever wants to hide a call from them can.
What they catch is what models write: a call of the library instead of a kernel, a fallback, a
patched clock. Comments and strings trip nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, cast

from mkgen.codegen.backend import Backend
from mkgen.codegen.registry import libraries, marks
from mkgen.evaluate import wires_c, wires_python
from mkgen.program import Program

_PYTHON = ("python", "triton", "pallas")
_SHOWN = 5


@dataclass(frozen=True)
class Finding:
    """One thing that a text says."""

    file: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.what}"


def findings(
    text: str,
    language: str,
    file: str,
    headers: frozenset[str] = frozenset(),
    *,
    allow_library: bool = False,
) -> list[Finding]:
    """Everything in `text` that no kernel of its own needs, in the order of its lines.

    `headers` may be included beside those of the language itself. `allow_library` lets a text use
    a library's operations: then only what reaches out of the child counts.
    """
    allowed = wires_c.Allowed(headers, allow_library, libraries())
    if language in _PYTHON:
        found = list(wires_python.findings(text, allow_library=allow_library))
        for line, inner in wires_python.embedded(text, marks()):
            # what is compiled at run time may include PyTorch's own headers
            for below, what in wires_c.findings(inner, allowed):
                if "torch/" not in what and "ATen/" not in what and "c10/" not in what:
                    found.append((line + below - 1, what))
    else:
        found = list(wires_c.findings(text, allowed))
    return [Finding(file, line, what) for line, what in sorted(set(found))]


class Foreign(Protocol):
    """What is asked of a candidate."""

    @property
    def backend(self) -> Backend:
        """For what its text is."""


class _Own(Protocol):
    """A candidate that is one file of somebody's."""

    @property
    def text(self) -> str:
        """The file, as it was written."""

    @property
    def file(self) -> str:
        """Its name."""


def candidate_findings(
    candidate: Foreign, program: Program, *, allow_library: bool
) -> list[Finding]:
    """As `findings`, of the candidate's own file, else of every source of `program`.

    Lines are those of the file that its author knows; what mkgen adds to it is not looked at.
    """
    headers = candidate.backend.headers
    kernels = program.sources[0]
    if hasattr(candidate, "text") and hasattr(candidate, "file"):
        own = cast(_Own, candidate)
        return findings(own.text, kernels.language, own.file, headers, allow_library=allow_library)
    return [
        finding
        for source in program.sources
        for finding in findings(
            source.text, source.language, source.name, headers, allow_library=allow_library
        )
    ]


def told(found: list[Finding]) -> str:
    """The first findings in one sentence."""
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return "; ".join(str(finding) for finding in found[:_SHOWN]) + more

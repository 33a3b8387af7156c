"""A package's directory as a candidate: its program with the directory's own text.

The launches are those of the templates that the package was made from; the text is whatever lies
in the directory now, with the size block exchanged for other workloads.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mkgen.codegen.backend import Backend
from mkgen.codegen.candidate import TemplateCandidate
from mkgen.errors import UserError
from mkgen.foreign.native import MAX_FILE_BYTES
from mkgen.program import PrecisionClass, Program, Source
from mkgen.target import Target
from mkgen.task import Task, Workload


@dataclass(frozen=True)
class PackageCandidate:
    """A template's candidate whose sources are files that somebody may have edited."""

    rendered: TemplateCandidate
    sources: tuple[Source, ...]
    """As they lie in the directory, at the sizes of bench."""
    origin: str
    """`package` where a text differs from what mkgen makes, else `template`."""

    @property
    def task(self) -> Task:
        """What it computes."""
        return self.rendered.task

    @property
    def backend(self) -> Backend:
        """What compiles and runs it."""
        return self.rendered.backend

    @property
    def target(self) -> Target:
        """For what it is compiled."""
        return self.rendered.target

    @property
    def precision(self) -> PrecisionClass:
        """What rounding it may use."""
        return self.rendered.precision

    def program(self, workload: Workload) -> Program:
        """The directory's text at the sizes of `workload`. UnsupportedError as the template's."""
        made = self.rendered.program(workload)
        if self.origin == "template":
            return made
        sources = tuple(
            own.model_copy(update={"sizes": fresh.sizes})
            for own, fresh in zip(self.sources, made.sources, strict=True)
        )
        return made.model_copy(update={"sources": sources})


def package_candidate(directory: Path, rendered: TemplateCandidate) -> PackageCandidate:
    """The package in `directory`, which was made from `rendered`. UserError."""
    bench = rendered.program(rendered.task.workloads()[0])
    sources = tuple(_own(directory / source.name, source) for source in bench.sources)
    same = all(
        (own.preamble, own.body) == (fresh.preamble, fresh.body)
        for own, fresh in zip(sources, bench.sources, strict=True)
    )
    return PackageCandidate(rendered, sources, "template" if same else "package")


def _own(path: Path, fresh: Source) -> Source:
    """The file `path` in the parts that `fresh` has. UserError when the size block is gone."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise UserError(f"{path}: a kernel file has at most {MAX_FILE_BYTES} bytes")
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}; the package is not whole") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from error
    found = text.count(fresh.sizes) if fresh.sizes.strip() else 0
    if found != 1:
        block = " ".join(fresh.sizes.split())[:120]
        raise UserError(
            f"{path}: the block of sizes is there {found} times, not once; without it the text "
            f"cannot be run at other sizes. mkgen wrote: {block!r}"
        )
    before, body = text.split(fresh.sizes)
    head = before.removesuffix(fresh.preamble) if before.endswith(fresh.preamble) else ""
    return fresh.model_copy(
        update={"head": head, "preamble": before.removeprefix(head), "body": body}
    )

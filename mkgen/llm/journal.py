"""The journal of an evolution: one line per event, on the disk before the next step begins."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from mkgen.document import Document, canonical_json, content_hash
from mkgen.errors import UserError
from mkgen.evaluate.seen import Seen
from mkgen.files import LineFile
from mkgen.llm.archive import Entry
from mkgen.program import PrecisionClass
from mkgen.target import Target


class Begun(Document):
    """The first line: all that decides the sequence of prompts, beside the events that follow."""

    event: Literal["begun"] = "begun"
    schema_version: int = 1
    task_hash: str
    target: Target
    precision: PrecisionClass
    strategy: str
    form: str
    seed: int
    islands: int
    seeds: int
    """Kernels of templates that it starts from, at most."""
    proposals: int
    """Answers between two questions for a new variation; 0: none is asked for."""
    notes: tuple[str, ...]
    """What memory said when it began: later runs may say other things."""


class Proposal(Document):
    """A variation that the model was asked for."""

    event: Literal["proposal"] = "proposal"
    prompt_sha: str
    sample: int
    text: str
    """Empty where the answer held none."""


Event = Annotated[Entry | Proposal, Field(discriminator="event")]
_EVENT: TypeAdapter[Entry | Proposal] = TypeAdapter(Event)


class Journal:
    """A file that is only ever appended to; a torn last line is dropped when it is opened."""

    def __init__(self, path: Path, begun: Begun, seen: Seen | None = None) -> None:
        """Opens or begins it. UserError where it is of another evolution, or not of this user."""
        self.path = path
        self._seen = seen or Seen()
        self._file = LineFile(path)
        lines = self._file.lines()
        self.begun = self._check(lines[0], begun) if lines else begun
        if not lines:
            self._append(begun)
        self.events = [self._event(line, n) for n, line in enumerate(lines[1:], 2)]

    def append(self, event: Entry | Proposal) -> None:
        """Stores `event`; when this returns, it is on the disk. UserError for a full one."""
        self._append(event)
        self.events.append(event)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _append(self, event: Document) -> None:
        line = canonical_json(event.model_dump(mode="json"))
        self._seen.add(_seal(line))  # first: a line that is there is known
        if not self._file.append(line):
            raise UserError(f"{self.path}: the disk took half an event; free some space")

    def _check(self, line: bytes, begun: Begun) -> Begun:
        try:
            found = Begun.model_validate_json(line)
        except ValidationError as error:
            raise self._broken(1, error) from error
        self._known(line, 1)
        given, kept = begun.model_dump(), found.model_dump()
        differs = [name for name in given if name != "notes" and given[name] != kept[name]]
        if differs:
            raise UserError(
                f"{self.path} is of another evolution ({', '.join(differs)} differ): give what it "
                "was begun with, or another directory"
            )
        return found

    def _event(self, line: bytes, number: int) -> Entry | Proposal:
        try:
            event = _EVENT.validate_json(line)
        except ValidationError as error:
            raise self._broken(number, error) from error
        self._known(line, number)
        return event

    def _known(self, line: bytes, number: int) -> None:
        """A text and its fitness count only where this user's mkgen saw them."""
        if _seal(line.decode()) not in self._seen:
            raise UserError(
                f"{self.path}, line {number} was not written here, or was changed: what it says "
                "was seen nowhere that is known; evolve into another directory"
            )

    def _broken(self, number: int, error: ValidationError) -> UserError:
        first: Any = error.errors()[0]
        return UserError(
            f"{self.path}, line {number} is no event of this mkgen ({first['msg']}); "
            "evolve into another directory"
        )


def _seal(line: str) -> str:
    return content_hash("evolution", line)

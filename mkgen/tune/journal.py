"""Trials on disk: one line each, stored before the next begins; a killed search goes on."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from mkgen.document import Document, canonical_json, content_hash
from mkgen.errors import UserError
from mkgen.evaluate.seen import Seen
from mkgen.files import LineFile
from mkgen.record import Status
from mkgen.target import Target
from mkgen.task import Sizes


class Trial(Document):
    """One candidate measured once, or why it was not."""

    schema_version: int = 1
    session: str
    """Hash of all that decides what a measurement means: task, sizes, device, toolchain,
    templates. Trials of other sessions may stand in the same file."""
    task: str
    target: Target
    device: str
    """What the driver calls it."""
    sizes: Sizes
    templates: tuple[str, ...]
    parameters: dict[str, int | str | bool]
    variant: str
    text_sha: str
    samples: int
    """How many were asked for: the rung of the search."""
    seconds: tuple[float, ...]
    """Each sample, as the device measured it; empty when the candidate is not right."""
    status: Status
    """pass: right at the check workload on this device, and timed."""
    reason: str = ""
    estimate_seconds: float
    """By the static model; never a measurement."""
    checked: str = ""
    """The workload at which it was seen to be right."""


class Journal:
    """A file of trials, and what it holds of one session."""

    def __init__(self, path: Path, seen: Seen | None = None) -> None:
        self.path = path
        self.seen = seen or Seen()
        self._file = LineFile(path)

    def append(self, trial: Trial) -> None:
        """Stores `trial`; when this returns, it is on the disk."""
        line = canonical_json(trial.model_dump(mode="json"))
        self.seen.add(content_hash("trial", line))
        if not self._file.append(line):
            raise UserError(f"{self.path}: the disk took half a trial; free some space")

    def trials(self, session: str = "") -> list[Trial]:
        """Trials, oldest first; UserError for a bad line.

        Of one session only, if it is named; then only those measured here, too: a search goes on
        from what it saw, not from what a file says.
        """
        found = []
        for number, line in enumerate(self._file.lines(), 1):
            try:
                trial = Trial.model_validate_json(line)
            except ValidationError as error:
                raise UserError(
                    f"{self.path}, line {number} is not a trial of this mkgen "
                    f"({error.errors()[0]['msg']}); tune into another file"
                ) from error
            here = content_hash("trial", line) in self.seen if session else True
            if session in ("", trial.session) and here:
                found.append(trial)
        return found

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

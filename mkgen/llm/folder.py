"""Answers by hand: prompts as files to paste into any model, its answers as files beside them."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path

from mkgen.document import content_hash
from mkgen.errors import UserError
from mkgen.files import atomic_write
from mkgen.llm.provider import Provider, ProviderError, Reply
from mkgen.reading import read_text


class Folder(Provider):
    """`NAME.prompt.md` is written, `NAME.answer.md` read.

    NAME is the label of the prompt, 8 digits of its hash, and the sample:
    `softmax-hip-gfx942-1f0c93ab-0`. An answer that is edited is another answer: nothing else
    keeps it.
    """

    def __init__(
        self, directory: Path, again: str = "the same command", most_bytes: int = 4 << 20
    ) -> None:
        """`again` is the command to run when the answers are there."""
        self._directory = directory
        self._again = again
        self._most = most_bytes
        self._labels: dict[str, str] = {}
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """See Provider."""
        return "answers by hand"

    @property
    def identity(self) -> str:
        """See Provider: whom the user asked is not known."""
        return self.name

    def label(self, prompt: str, text: str) -> None:
        """Names the files of `prompt`; letters, digits, `.`, `_` and `-` of `text` are kept."""
        kept = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in text)
        with self._lock:
            self._labels[prompt] = kept.strip(".-")[:80]

    def prompt_path(self, prompt: str, sample: int) -> Path:
        """Where the prompt is written."""
        return self._directory / f"{self._stem(prompt, sample)}.prompt.md"

    def answer_path(self, prompt: str, sample: int) -> Path:
        """Where the answer is looked for."""
        return self._directory / f"{self._stem(prompt, sample)}.answer.md"

    def pending(self, asked: Iterable[tuple[str, int]]) -> list[Path]:
        """Writes the prompts of all (prompt, sample) of `asked`; the answers that are not there."""
        missing = []
        for prompt, sample in asked:
            self._write(self.prompt_path(prompt, sample), prompt)
            answer = self.answer_path(prompt, sample)
            if self._text(answer) is None:
                missing.append(answer)
        return missing

    def require(self, asked: Iterable[tuple[str, int]]) -> None:
        """ProviderError that names all missing answers of `asked` at once."""
        missing = self.pending(asked)
        if missing:
            files = "".join(f"\n  {path}" for path in missing)
            raise ProviderError(
                "paste each NAME.prompt.md into a model and save what it says, whole, as "
                f"NAME.answer.md; missing:{files}\nthen run again: {self._again}"
            )

    def ask(self, prompt: str, sample: int) -> Reply:
        """See Provider."""
        self.require([(prompt, sample)])
        text = self._text(self.answer_path(prompt, sample))
        if text is None:
            raise ProviderError(f"{self.answer_path(prompt, sample)} went away while it was read")
        return Reply(text=text, model=self.name, finish="stop", seconds=0.0)

    def _stem(self, prompt: str, sample: int) -> str:
        with self._lock:
            label = self._labels.get(prompt, "")
        return "-".join(filter(None, (label, content_hash(prompt)[:8], str(sample))))

    def _write(self, path: Path, prompt: str) -> None:
        try:
            if not path.is_file() or path.read_bytes() != prompt.encode():
                atomic_write(path, prompt)
        except OSError as error:
            raise UserError(f"--answers: cannot write {path} ({error.strerror})") from error

    def _text(self, path: Path) -> str | None:
        """What the file holds; None without one, or in an editor's still empty one."""
        if not path.exists():
            return None
        return read_text(path, str(path), self._most) if path.stat().st_size else None

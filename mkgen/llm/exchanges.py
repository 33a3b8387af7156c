"""Exchanges on disk: one that is finished is never paid for again, whatever ended the run."""

from __future__ import annotations

import datetime
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from mkgen.document import Document, content_hash
from mkgen.errors import UserError
from mkgen.files import atomic_write
from mkgen.llm.budget import Budget
from mkgen.llm.provider import Provider, ProviderError, Reply
from mkgen.reading import json_value, read_text

#: A text of 4 MiB in JSON's escapes, and its prompt.
_MOST_BYTES = 64 << 20


class Exchange(Document):
    """One prompt and its answer."""

    schema_version: Literal[1] = 1
    identity: str
    """The provider's: everything that decides the answer beside prompt and sample."""
    provider: str
    """The provider's name."""
    model: str
    """As it calls itself in its answer."""
    prompt: str
    prompt_sha: str
    sample: int
    reply: Reply
    time: str
    """When the answer was there, UTC, ISO 8601."""

    @property
    def key(self) -> str:
        """What it is found by; names its file."""
        return exchange_key(self.identity, self.prompt, self.sample)


def exchange_key(identity: str, prompt: str, sample: int) -> str:
    """The key of the exchange with these three."""
    return content_hash("exchange 1", identity, prompt, str(sample))


def answer_hash(text: str) -> str:
    """What a record calls the reply `text` by; half a surrogate pair counts as a question mark."""
    return content_hash(text.encode(errors="replace").decode())


def read_exchange(path: Path) -> Exchange:
    """The exchange in the file `path`. UserError for anything that is none, or not this one."""
    text = read_text(path, str(path), _MOST_BYTES)
    try:
        found = Exchange.model_validate(json_value(text))
        right = found.prompt_sha == content_hash(found.prompt) and found.key == path.stem
    except ValueError as error:  # pydantic's errors are such; a lone surrogate cannot be hashed
        what = str(error).splitlines()[0]
        raise UserError(f"{path}: no exchange ({what})") from error
    if not right:
        raise UserError(f"{path}: its name is not that of its content; someone changed one")
    return found


def exchanges(directory: Path, warn: Callable[[str], None] = warnings.warn) -> list[Exchange]:
    """All exchanges in `directory`, oldest first; `warn` hears of files that are ignored."""
    found = []
    for path in sorted(directory.glob("*.json")):
        try:
            found.append(read_exchange(path))
        except UserError as error:
            warn(f"ignored: {error}")
    return sorted(found, key=lambda e: (e.time, e.key))


class Recorded(Provider):
    """A provider whose finished exchanges are kept in a directory, and replayed from there.

    An exchange is on the disk before `ask` gives its reply. One `Recorded` per directory: two
    would pay for the same exchange when they are asked at the same time.
    """

    def __init__(
        self,
        provider: Provider,
        directory: Path,
        budget: Budget | None = None,
        *,
        replay_only: bool = False,
        warn: Callable[[str], None] = warnings.warn,
    ) -> None:
        """What `directory` holds already is charged to `budget`.

        With `replay_only` the provider is never asked. `warn` hears of files that are no
        exchanges: they are ignored, and asked for again.
        """
        self._provider = provider
        self._directory = directory
        self._budget = budget or Budget()
        self._replay_only = replay_only
        self._warn = warn
        self._locks: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()
        if not replay_only:
            for found in exchanges(directory, warn):
                self._budget.charge(found.prompt, found.reply)

    @property
    def name(self) -> str:
        """See Provider."""
        return self._provider.name

    @property
    def identity(self) -> str:
        """See Provider."""
        return self._provider.identity

    def path(self, prompt: str, sample: int) -> Path:
        """The file of an exchange, made or not."""
        return self._directory / f"{exchange_key(self.identity, prompt, sample)}.json"

    def ask(self, prompt: str, sample: int) -> Reply:
        """See Provider; the recorded reply where there is one."""
        path = self.path(prompt, sample)
        with self._one_at_a_time(path.stem):
            found = self._found(path)
            if found is not None:
                return found.reply
            if self._replay_only:
                raise ProviderError(
                    f"{self._directory} holds no answer of {self.name} to this prompt, sample "
                    f"{sample} ({path.name}); run the command once without --replay"
                )
            with self._budget.reserved(prompt) as count:
                reply = self._budget.priced(prompt, self._provider.ask(prompt, sample))
                count(reply)
            self._keep(path, prompt, sample, reply)
            return reply

    def _found(self, path: Path) -> Exchange | None:
        if not path.exists():
            return None
        try:
            return read_exchange(path)
        except UserError as error:
            self._warn(f"ignored: {error}")
            return None

    def _keep(self, path: Path, prompt: str, sample: int, reply: Reply) -> None:
        exchange = Exchange(
            identity=self.identity, provider=self.name, model=reply.model, prompt=prompt,
            prompt_sha=content_hash(prompt), sample=sample, reply=reply,
            time=datetime.datetime.now(datetime.UTC).isoformat(),
        )  # fmt: skip
        try:
            atomic_write(path, exchange.canonical_json() + "\n")
        except OSError as error:
            raise ProviderError(
                f"an answer cannot be kept in {self._directory} ({error.strerror}), and would be "
                "paid for again; make room, then run the same command again"
            ) from error

    @contextmanager
    def _one_at_a_time(self, key: str) -> Iterator[None]:
        with self._guard:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            yield


class Replay(Provider):
    """Whoever made the exchanges in a directory; answers nothing that is not in it."""

    def __init__(self, directory: Path, warn: Callable[[str], None] = warnings.warn) -> None:
        """UserError where `directory` holds no exchanges, or those of several providers."""
        makers = {e.identity: e.provider for e in exchanges(directory, warn)}
        if not makers:
            raise UserError(f"--replay {directory}: no exchanges in it (KEY.json files of a run)")
        if len(makers) > 1:
            raise UserError(
                f"--replay {directory}: exchanges of several providers or settings "
                f"({', '.join(sorted(makers.values()))}); copy those of one into another directory"
            )
        ((self._identity, self._name),) = makers.items()
        self._recorded = Recorded(self, directory, replay_only=True, warn=warn)

    @property
    def name(self) -> str:
        """See Provider."""
        return self._name

    @property
    def identity(self) -> str:
        """See Provider."""
        return self._identity

    def ask(self, prompt: str, sample: int) -> Reply:
        """See Provider."""
        return self._recorded.ask(prompt, sample)

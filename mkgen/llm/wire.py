"""The chat-completions protocol: what is sent, and what is made of the bytes that come back.

As in https://platform.openai.com/docs/api-reference/chat, which vLLM, llama.cpp, Ollama and hosted
services follow. Server-sent events are those of the HTML standard, section 9.2.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from mkgen.llm.provider import Usage
from mkgen.llm.retry import TransientError
from mkgen.reading import json_value

Finish = Literal["stop", "length", "refusal", "unknown"]
#: Events of a stream may take this many times the bytes of the text in them, a token in each.
_ENVELOPE = 16
_FINISH: dict[str, Finish] = {"stop": "stop", "length": "length", "content_filter": "refusal"}
#: Errors that a server reports with status 200 and that another attempt does not mend.
_LASTING = (400, 401, 402, 403, 404, 413, 422)


class WireError(Exception):
    """An answer that is none. `body` is what came; it may hold a key that was echoed."""

    def __init__(self, what: str, body: str = "") -> None:
        super().__init__(what)
        self.body = body


@dataclass(frozen=True)
class Answer:
    """What a server said, whole."""

    text: str
    model: str
    finish: Finish
    usage: Usage


def whole_answer(body: bytes) -> Answer:
    """The answer in a body of JSON. WireError, TransientError for an error that may pass."""
    found = _Collected()
    found.add(_document(body), "message")
    if not found.chosen:
        raise WireError("no choice in it", body.decode(errors="replace"))
    return found.answer()


class EventStream:
    """An answer that comes as server-sent events."""

    def __init__(self, most: int) -> None:
        """`most` limits the text, in characters."""
        self.done = False
        """[DONE] was seen."""
        self._most = most
        self._read = 0
        self._rest = b""
        self._data: list[bytes] = []
        self._found = _Collected()

    @property
    def whole(self) -> bool:
        """Whether the answer is complete: the server said why it ended, or that it did."""
        return self.done or self._found.reason is not None

    def feed(self, data: bytes) -> None:
        """Reads on. WireError, TransientError for an error that may pass."""
        self._read += len(data)
        if self._read > self._most * _ENVELOPE:
            raise WireError(f"more than {self._most * _ENVELOPE >> 20} MiB of events")
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > self._most:
            raise WireError(f"an event of more than {self._most} bytes")
        for line in lines:
            self._line(line.removesuffix(b"\r"))

    def answer(self) -> Answer:
        """What came. TransientError where its end did not."""
        if not self.whole:
            raise TransientError("the stream ended in the middle of the answer")
        return self._found.answer()

    def _line(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
        elif not line and self._data:
            event, self._data = b"\n".join(self._data), []
            self._event(event)

    def _event(self, event: bytes) -> None:
        if self.done:
            return
        if event.strip() == b"[DONE]":
            self.done = True
            return
        self._found.add(_document(event), "delta")
        if self._found.size > self._most:
            raise WireError(f"an answer of more than {self._most} characters")


@dataclass
class _Collected:
    """Parts of one answer, as they come."""

    parts: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    size: int = 0
    model: str = ""
    reason: str | None = None
    usage: Usage = Usage()
    chosen: bool = False

    def add(self, document: dict[str, Any], where: str) -> None:
        """Adds what `document` holds: a choice's part is called `where`."""
        _raise_error(document)
        if isinstance(document.get("model"), str):
            self.model = document["model"]
        if isinstance(document.get("usage"), dict):
            self.usage = _usage(document["usage"])
        choices = document.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, dict):
            return
        self.chosen = True
        if isinstance(choice.get("finish_reason"), str):
            self.reason = choice["finish_reason"]
        part = choice.get(where)
        if isinstance(part, dict):
            self._take(part.get("content"), self.parts)
            self._take(part.get("refusal"), self.refusals)

    def answer(self) -> Answer:
        """The parts as one."""
        refusal, text = "".join(self.refusals), "".join(self.parts)
        finish = "refusal" if refusal else _FINISH.get(self.reason or "", "unknown")
        return Answer(_mended(text or refusal), _mended(self.model), finish, self.usage)

    def _take(self, value: Any, into: list[str]) -> None:
        if value is None:
            return
        if not isinstance(value, str):
            raise WireError("its content is no text", str(value))
        into.append(value)
        self.size += len(value)


def _document(data: bytes) -> dict[str, Any]:
    try:
        document = json_value(data)
    except ValueError as error:
        raise WireError("not JSON", data.decode(errors="replace")) from error
    if not isinstance(document, dict):
        raise WireError("not a JSON object", data.decode(errors="replace"))
    return document


def _raise_error(document: dict[str, Any]) -> None:
    error = document.get("error")
    if not error:
        return
    told = error.get("message") if isinstance(error, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    text = str(told or error)
    if code in _LASTING or str(code) in map(str, _LASTING):
        raise WireError(f"an error ({code})", text)
    raise TransientError(f"the server reported an error: {text}")


def error_text(body: bytes) -> str:
    """What the body of a failed request says: the message in its JSON, else the body."""
    try:
        document = json_value(body)
    except ValueError:
        document = None
    error = document.get("error", document) if isinstance(document, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return message if isinstance(message, str) else body.decode(errors="replace")


def _usage(found: dict[str, Any]) -> Usage:
    def count(name: str) -> int | None:
        value = found.get(name)
        fits = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 40
        return value if fits else None

    return Usage(prompt_tokens=count("prompt_tokens"), completion_tokens=count("completion_tokens"))


def _mended(text: str) -> str:
    """`text` with the halves of characters that JSON escapes apart put together, lone ones gone."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

"""An exchange with a language model, as a run keeps it and may have been given by someone."""

from __future__ import annotations

from mkgen.document import content_hash
from mkgen.errors import UserError
from mkgen.llm.exchanges import Exchange, exchange_key, read_exchange
from mkgen.llm.provider import Reply, Usage

from ..surface import Surface, scratch

_KEY = exchange_key("i", "p", 0)
_MADE = Exchange(
    identity="i", provider="m at host", model="m", prompt="p", prompt_sha=content_hash("p"),
    sample=0, time="2026-01-01T00:00:00+00:00",
    reply=Reply(
        text="```cuda\n```", model="m", finish="stop", seconds=1.5,
        usage=Usage(prompt_tokens=7, completion_tokens=3, cost=1e-4),
    ),
)  # fmt: skip


def target(data: bytes) -> None:
    path = scratch() / f"{_KEY}.json"
    path.write_bytes(data)
    try:
        found = read_exchange(path)
    except UserError:
        return
    assert found.key == _KEY
    assert Exchange.model_validate_json(found.canonical_json()).key == _KEY


def seeds() -> list[bytes]:
    text = _MADE.canonical_json().encode()
    return [text, text[:-20], b"", b"{}"]


SURFACE = Surface(
    "exchange", target, seeds, "json", tuple(name.encode() for name in Exchange.model_fields)
)

"""What a server answers a prompt with: one JSON document, or server-sent events."""

from __future__ import annotations

from mkgen.document import canonical_json
from mkgen.llm import wire
from mkgen.llm.provider import Reply
from mkgen.llm.retry import TransientError, retry_after

from ..surface import Surface

_USAGE = {"prompt_tokens": 7, "completion_tokens": 3}
_MOST = 1 << 16


def target(data: bytes) -> None:
    for read in (wire.whole_answer, _events):
        try:
            answer = read(data)
        except (wire.WireError, TransientError) as error:
            str(error).encode(errors="backslashreplace")
            continue
        reply = Reply(
            text=answer.text, model=answer.model, finish=answer.finish, usage=answer.usage,
            seconds=0.0,
        )  # fmt: skip
        assert Reply.model_validate_json(canonical_json(reply.model_dump(mode="json"))) == reply
        reply.text.encode()
    wire.error_text(data)
    waited = retry_after(data.decode("latin-1"))
    assert waited is None or waited >= 0


def _events(data: bytes) -> wire.Answer:
    stream = wire.EventStream(_MOST)
    for at in range(0, len(data), 50):
        stream.feed(data[at : at + 50])
    return stream.answer()


def seeds() -> list[bytes]:
    message = {"message": {"content": "a\ud83d\ude00", "refusal": None}, "finish_reason": "stop"}
    parts = [
        {"model": "m", "choices": [{"delta": {"content": "a"}, "finish_reason": None}]},
        {"choices": [{"delta": {"refusal": "no"}, "finish_reason": "content_filter"}]},
        {"choices": [], "usage": _USAGE},
    ]
    events = b"".join(b"data: " + canonical_json(part).encode() + b"\n\n" for part in parts)
    error = canonical_json({"error": {"message": "no", "code": 400}}).encode()
    return [
        canonical_json({"model": "m", "choices": [message], "usage": _USAGE}).encode(),
        b": hello\r\n\r\n" + events + b"data: [DONE]\n\n",
        b"data: {\ndata: }\n\n",
        error,
        b"data: " + error + b"\n\n",
        b"120",
        b"Wed, 21 Oct 2026 07:28:00 GMT",
    ]


SURFACE = Surface(
    "chat-answer", target, seeds, "json",
    (b"data: ", b"[DONE]", b"choices", b"delta", b"message", b"content", b"refusal",
     b"finish_reason", b"usage", b"prompt_tokens", b"error", b"code", b"\n\n", b"\\ud83d"),
)  # fmt: skip

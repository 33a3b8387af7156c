"""Replies of language models: what is taken from them, and why something is not."""

from __future__ import annotations

from functools import cache

from mkgen.codegen.backend import Backend
from mkgen.codegen.registry import backend_named
from mkgen.llm.answer import extract
from mkgen.llm.prompt import Form
from mkgen.llm.provider import Reply
from mkgen.task import Task, find_task

from ..surface import Surface, files

_ASKED = ((Form.NATIVE, "hip"), (Form.TEMPLATE, "triton"), (Form.MODULE, "triton"))


@cache
def _task() -> Task:
    return find_task("relu")


@cache
def _backend(name: str) -> Backend:
    return backend_named(name)


def target(data: bytes) -> None:
    text = data.decode(errors="replace")  # what a provider gives has come through JSON
    for form, backend in _ASKED:
        for finish in ("stop", "length"):
            reply = Reply(text=text, model="m", finish=finish, seconds=0.0)  # type: ignore[arg-type]
            answer = extract(reply, form, _backend(backend), _task())
            assert bool(answer.text) != bool(answer.reason)
            assert "\n" not in answer.reason and len(answer.reason) < 1000
            answer.text.encode()


def seeds() -> list[bytes]:
    small = [b"", b"```\nx\n```", b"<think>\n</think>\n~~~~\n```a\n", b"/* mkgen\n*/\n}\n"]
    return [*small, *files("tests/data/answers/*/*.txt")]


SURFACE = Surface(
    "answer", target, seeds, "line",
    (b"```", b"```hip\n", b"~~~\n", b"````markdown\n", b"<think>", b"</think>\n", b"<reasoning>",
     b"/* mkgen\n", b"# mkgen\n", b"*/\n", b"class ModelNew", b'#include "a.h"\n',
     b"from a import b\n", b"**a.h**\n", b"{", b"}\n", b"/*", b"//", b'"', b"'", b'R"x(',
     b"#else\n", b"I'm sorry", b"\r\n", b"    ", b"1. ", b"- ", b'"""', b"@triton.jit\n"),
)  # fmt: skip

"""`--shape x=32,64`, one option a line."""

from __future__ import annotations

import contextlib
from functools import cache

from mkgen.cli.request import resized
from mkgen.errors import UserError
from mkgen.task import Task, find_task

from ..surface import Surface, text_of


@cache
def _tasks() -> tuple[Task, ...]:
    return find_task("matmul"), find_task("softmax")


def target(data: bytes) -> None:
    shapes = text_of(data).split("\n")
    for task in _tasks():
        with contextlib.suppress(UserError):
            resized(task, shapes)


def seeds() -> list[bytes]:
    return [b"x=32,64", b"a=8,16\nb=16,4", b"x=", b"x=0", b"x=1,2,3", b"y=4", b"x=-1,5", b"=", b"x",
            b"a=8,16\na=8,16", b"x=1000000000,1000000000", b" x = 3 , 4 ,"]  # fmt: skip


SURFACE = Surface("shape", target, seeds, "line", (b"x=", b"a=", b"b=", b",", b"\n"), 4096)

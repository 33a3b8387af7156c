"""What is read of a task file before it is run: whose form it has, what it defines and draws."""

from __future__ import annotations

from mkgen.errors import UserError
from mkgen.foreign import gives_inputs, holds_task
from mkgen.foreign.source import Source

from ..surface import Surface, files, scratch


def target(data: bytes) -> None:
    path = scratch() / "task.py"
    path.write_bytes(data)
    holds_task(path)
    try:
        gives_inputs(path)
        source = Source.of(path)
        source.definitions()
        source.defines("Model")
        sizes = source.integers | source.literals
        source.read_globals()
        source.with_numbers({name: value + 1 for name, value in sizes.items()})
    except UserError:
        pass


def seeds() -> list[bytes]:
    return [b"x = 1\n", *files("tests/data/kernelbench_style/*.py"), *files("tasks/*/*.py", 60_000)]


SURFACE = Surface(
    "task-file", target, seeds, "python",
    (b"def get_inputs():\n return [torch.rand(N)]\n", b"class Model(nn.Module):\n pass\n",
    b"nonlocal x\n",
     b"global x\n", b"import mkgen\n", b"Task(", b"a, b = 16, 32\n", b"shape = (64, 128)\n",
     b"return\n", b"yield", b"async def f(): pass\n", b"\n    ", b"lambda x: ",
     b"match x:\n case {**y}: pass\n", b"# -*- coding: utf-16 -*-\n", b"# coding: nosuch\n",
     b"def f(x, x): pass\n", b"from __future__ import y\n", b"*a, b = c\n", b"x: int = 0xffff\n",
     b"def f[T](): pass\n", b"type X = int\n"),
)  # fmt: skip

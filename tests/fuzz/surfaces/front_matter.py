"""The TOML front matter of templates, and every expression in it."""

from __future__ import annotations

import contextlib
import itertools

from mkgen.codegen.template import Template
from mkgen.errors import UserError
from mkgen.expression import evaluate, parse

from ..surface import Surface, files, scratch

_FACTS = {"rows": 4096, "cols": 33, "depth": 64, "batch": 2, "passes": 2, "input_bytes": 1 << 20,
          "output_bytes": 1 << 20, "threads_per_block": 1024, "shared_bytes": 65536,
          "sub_group": 64}  # fmt: skip
#: Parameter sets looked at; a search looks at all.
_SETS = 20


def target(data: bytes) -> None:
    root = scratch() / "templates"
    root.mkdir(exist_ok=True)
    path = root / "fuzz.j2"
    path.write_bytes(data)
    try:
        template = Template(path, root)
        chosen = list(itertools.islice(template.parameter_sets(_FACTS), _SETS))
    except UserError:
        return
    spec = template.spec
    texts = (*spec.launch.grid, *spec.launch.block, spec.launch.dynamic_shared, spec.launch.warps,
             spec.launch.stages, *spec.launch.constexprs.values(), spec.shared_bytes,
             spec.cost.bytes,
             spec.cost.operations, spec.cost.efficiency)  # fmt: skip
    for text, values in itertools.product(texts, chosen[:2]):
        with contextlib.suppress(UserError):
            evaluate(parse(text), {**_FACTS, **values})


def seeds() -> list[bytes]:
    # the body is no front matter: the first of its lines will do
    heads = (data.partition(b"+++\n")[2].partition(b"+++\n") for data in files("templates/*/*.j2"))
    small = b"""+++
kind = "pointwise"
summary = "s"
dialect = "c"
dtypes = ["float32"]
[parameters]
T = [1, 2]
[launch]
grid = ["rows"]
+++
"""
    return [small, *(b"+++\n" + head + b"+++\nx\n" for head, _, rest in heads if rest)]


SURFACE = Surface(
    "front-matter", target, seeds, "toml",
    (b"kind", b"dialect", b"tags", b"parameters", b"constraints", b"launch", b"grid", b"block",
    b"cost",
     b"warps", b"constexprs", b"+++\n", b"dtypes", b"targets", b"THREADS", b"requirements"),
)  # fmt: skip

"""What evolution makes of a model's words: a variation, a cell, a row of a data set, an event."""

from __future__ import annotations

import re
from contextlib import suppress

from pydantic import ValidationError

from mkgen.codegen.registry import backends
from mkgen.document import canonical_json
from mkgen.llm.archive import Entry
from mkgen.llm.describe import CELLS, code_of
from mkgen.llm.disclosure import without_places
from mkgen.llm.fitness import Fitness
from mkgen.llm.variations import one_sentence
from mkgen.record import Status

from ..surface import Surface, files, text_of

_WORDS = [
    (b.extension == ".py", [re.compile(p) for p in b.traits.values()]) for b in backends().values()
]


def target(data: bytes) -> None:
    text = text_of(data)
    sentence = one_sentence(text)
    assert len(sentence) <= 200 and sentence.isprintable() and "```" not in sentence
    without_places(text)
    for python, patterns in _WORDS:
        code = code_of(text, python=python)
        for pattern in patterns:
            pattern.search(code)
    with suppress(ValidationError):
        entry = Entry.model_validate_json(data)
        assert Entry.model_validate_json(canonical_json(entry.model_dump(mode="json"))) == entry


def seeds() -> list[bytes]:
    entry = Entry(
        number=3, island=1, generation=2, parent=0, variation="Use tiles.", status=Status.PASS,
        record_key="k", cell=CELLS[5], fitness=Fitness(kind="timed", value=1e-5), text="text",
    )  # fmt: skip
    return [
        *files("tests/data/native/*"),
        b"Sure:\n\n- **Use tiles** of 4 now. Then more.\n",
        entry.canonical_json().encode(),
    ]


SURFACE = Surface(
    "evolution", target, seeds, "python",
    (b"```\n", b"```", b". ", b"! ", b"- ", b"1. ", b"https://", b"for (", b"; s /= 2)", b"/*",
     b"*/", b"//", b"'''", b'"""', b"asm(", b'"', b"'", b"\\", b"/a/b", b"__shared__", b"[:, None]",
     b"tl.sum", b"vec <", b"null", b"NaN", b"Infinity"),
)  # fmt: skip

"""Generated sources are compared with those a reviewer has read; `make golden` rewrites them."""

from __future__ import annotations

import difflib
import re

import pytest

from tests.golden_sources import GOLDEN_TASKS, ROOT, pinned, sources
from tests.matrix_support import BACKENDS

GOLDEN = sorted(p for p in ROOT.glob("*/*") if p.suffix != ".pyc")
WIDTH = 100


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("task", GOLDEN_TASKS)
def test_source_is_the_golden_one(task: str, backend: str) -> None:
    for path, text in sources(task, backend, pinned()):
        golden = path.read_text()
        difference = "\n".join(
            difflib.unified_diff(golden.splitlines(), text.splitlines(), "golden", "now", "", "", 2)
        )
        assert text == golden, f"{path.name} differs; if it is meant, make golden:\n{difference}"


def test_every_golden_file_belongs_to_a_task() -> None:
    wanted = {p for b in BACKENDS for t in GOLDEN_TASKS for p, _ in sources(t, b, pinned())}
    assert set(GOLDEN) == wanted
    assert len(wanted) == len(GOLDEN_TASKS) * 7  # OpenCL has two


@pytest.mark.parametrize("path", GOLDEN, ids=lambda p: f"{p.parent.name}-{p.name}")
def test_golden_reads_as_a_person_writes(path: object) -> None:
    text = path.read_text()  # type: ignore[attr-defined]
    lines = text.splitlines()
    wide = [line for line in lines if len(line) > WIDTH]
    assert not wide
    assert not re.search(r"\b(tmp|temp|var|v|t|_)\d+\b", text)
    assert not any(line != line.rstrip() for line in lines), "trailing blanks"
    assert "\t" not in text and "\n\n\n\n" not in text and text.endswith("\n")
    assert not re.search(r"\(\(\w+\)\)", text), "needless parentheses"
    assert not re.search(r"[\[(=] ?\(\w+\)[\]);]", text.replace("(void)", "")), "needless ()"
    assert "{{" not in text and "}}" not in text.replace("}}}", "").replace("{0.0f}}", "")

"""What of a record may be told to whoever writes kernels: nothing of held-out sizes, no places."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mkgen.record import Record

NOT_SHOWN = "at a size that is not shown"
#: Roles of inputs that no author may know.
HIDDEN = ("heldout", "thin")
_PLACES = re.compile(r"(?<![\w/])(?:~|\.{1,2})?(?:/[\w.+@-]+){2,}/?")


def told_reason(record: Record) -> str:
    """The record's reason; without any of it where it speaks of what is hidden."""
    hidden = {r.workload for r in record.results if r.role in HIDDEN}
    words = [*hidden, *_sizes(record)]
    if re.search("held-?out", record.reason) or any(
        re.search(rf"(?<!\w){re.escape(word)}(?!\d)", record.reason) for word in words
    ):
        return NOT_SHOWN
    return without_places(record.reason)


def without_places(text: str) -> str:
    """`text` without paths of this machine; names of files stay."""
    return _PLACES.sub(lambda match: match[0].rstrip("/").rpartition("/")[2], text)


def hidden_numbers(record: Record) -> frozenset[str]:
    """Numbers that held-out sizes have and no shown size has."""
    document = record.task_document or {}
    shown = {str(v) for sizes in _rows(document, "check", "bench") for v in sizes.values()}
    held = {str(v) for sizes in _rows(document, "heldout") for v in sizes.values()}
    return frozenset(held - shown)


def _sizes(record: Record) -> list[str]:
    """`COLS=40`, as messages spell them."""
    rows = _rows(record.task_document or {}, "heldout")
    return [f"{k}{sign}{v}" for sizes in rows for k, v in sizes.items() for sign in ("=", " = ")]


def _rows(document: dict[str, object], *kinds: str) -> Iterator[dict[str, int]]:
    for kind in kinds:
        found = document.get(kind) or ()
        for row in found if isinstance(found, list | tuple) else (found,):
            if isinstance(row, dict):
                yield row

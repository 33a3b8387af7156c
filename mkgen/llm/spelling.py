"""What machines print, made fit for a reader elsewhere: no places of files, no addresses, short."""

from __future__ import annotations

import re

#: Of a compiler's log: its first errors are what matters.
MAX_LOG = 2000
MAX_MESSAGE = 1200
_PATH = re.compile(r"(?<![\w./)\]])(?:/[\w.+@~=,-]+)+/([\w.+@~=,-]+)/?")
_ADDRESS = re.compile(r"\b0x[0-9a-f]{6,16}\b", re.IGNORECASE)
#: What begins with these is a line for people who wait.
_CHATTER = re.compile(r"^\s*(?:Compilation started|Compilation failed|\d+ errors? generated)")


def plain(text: str, most: int = MAX_MESSAGE) -> str:
    """`text` without directories, addresses and fences, at most about `most` characters."""
    text = _ADDRESS.sub("0x…", _PATH.sub(r"\1", text[: 8 * most]))
    text = text.replace("```", "'''").strip()
    return text if len(text) <= most else f"{text[:most].rstrip()} …"


def first_errors(log: str) -> str:
    """The part of a compiler's log that begins with its first error."""
    lines = [line for line in log.split("\n") if not _CHATTER.match(line)]
    first = next((i for i, line in enumerate(lines) if re.search(r"\berror\b", line)), 0)
    return plain("\n".join(lines[first:]).strip("\n"), MAX_LOG)

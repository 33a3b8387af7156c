"""One surface in a process of its own.

Each input is in the file DIR/current before it is parsed, so that a parent can tell what hung or
killed this process; the tally is left in DIR/tally.json.
"""

from __future__ import annotations

import base64
import json
import mmap
import os
import resource
import struct
import tempfile
import warnings
from pathlib import Path

from .drive import Tally, by_mutation, limit_memory

#: Number of the input, its length, its bytes.
HEADER = struct.Struct("<QQ")
ROOM = 1 << 20


def forked(arguments: list[str]) -> None:
    """`NAME RUNS SECONDS SEED DRIVER DIR`: fuzzes, writes the tally and leaves."""
    name, runs, seconds, seed, driver = arguments[:5]
    directory = Path(arguments[5])
    log = os.open(directory / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    tempfile.tempdir = str(directory)
    os.environ["TMPDIR"] = str(directory)
    warnings.simplefilter("ignore")  # Python warns of odd escapes in what it parses
    from .surfaces import surfaces

    surface = surfaces()[name]
    each = _Current(directory / "current")
    surface.seeds()
    limit_memory()

    def finish(tally: Tally) -> None:
        _write(directory / "tally.json", tally)
        os._exit(0)  # libFuzzer's own end would print and count its own way

    if driver == "atheris":
        from .coverage import by_coverage

        corpus = directory / "corpus"
        corpus.mkdir()
        by_coverage(surface, int(runs), float(seconds), int(seed), each, corpus, finish)
    finish(by_mutation(surface, int(runs), float(seconds), int(seed), each))


class _Current:
    """The input that is being parsed, in memory that outlives this process."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(HEADER.size + ROOM))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self._count = 0

    def __call__(self, data: bytes) -> None:
        self._count += 1
        kept = data[:ROOM]
        self._map[HEADER.size : HEADER.size + len(kept)] = kept
        HEADER.pack_into(self._map, 0, self._count, len(kept))


def _write(path: Path, tally: Tally) -> None:
    def text(data: bytes) -> str:
        return base64.b64encode(data).decode()

    document = {
        "inputs": tally.inputs,
        "slowest": tally.slowest,
        "slowest_input": text(tally.slowest_input),
        "crashes": [
            {"kind": c.kind, "message": c.message.encode(errors="replace").decode(),
            "data": text(c.data)}
            for c in tally.crashes.values()
        ],
        "resident_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
    }  # fmt: skip
    path.write_text(json.dumps(document))

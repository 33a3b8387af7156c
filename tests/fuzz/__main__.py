"""`python -m tests.fuzz --surface all --runs 200000 --seconds 600`: the long run."""

from __future__ import annotations

import argparse
import base64
import hashlib
import importlib.metadata
import importlib.util
import json
import multiprocessing
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from . import child
from .child import HEADER
from .drive import SLOWEST
from .surface import ROOT

#: Wall-clock seconds without a new input after which a surface hangs; the machine may be busy.
_HANG = 30.0
#: Until the first input: a busy machine takes long to read the seeds.
_START = 900.0


def main(arguments: list[str] | None = None) -> int:
    """Runs each surface in a process of its own; 1 when one crashed, hung or was slow."""
    here = importlib.util.find_spec("atheris") is not None
    unguided = not here or "mutation" in (sys.argv if arguments is None else arguments)
    if not unguided:
        from .coverage import import_instrumented

        import_instrumented()  # before anything else imports what is instrumented
    from .surfaces import surfaces

    known = surfaces()
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--surface", default="all", help=f"all, or some of {', '.join(known)}")
    parser.add_argument("--runs", type=int, default=20_000, help="inputs per surface, at most")
    parser.add_argument("--seconds", type=float, default=60.0, help="per surface, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="surfaces at the same time")
    parser.add_argument(
        "--driver", choices=("atheris", "mutation"), help="atheris where it is here"
    )
    parser.add_argument(
        "--crashes", type=Path, default=ROOT / "runs/fuzz", help="where they are kept"
    )
    parser.add_argument("--out", type=Path, help="the result as Markdown")
    chosen = parser.parse_args(arguments)
    names = list(known) if chosen.surface == "all" else chosen.surface.split(",")
    unknown = [name for name in names if name not in known]
    if unknown:
        parser.error(f"no surface {unknown[0]!r}; there are {', '.join(known)}")
    driver = chosen.driver or ("atheris" if here else "mutation")
    if not here:
        print("atheris is not installed (pip install 'mkgen[fuzz]'); inputs are mutated unguided")
    print(_HEAD)
    rows = _run_all(names, driver, chosen)
    text = _report(rows, driver, chosen)
    print(text.rpartition("\n\n")[2].strip())
    if chosen.out:
        chosen.out.write_text(text)
    return 1 if any(row["crashes"] for row in rows) else 0


_HEAD = (
    "| surface | inputs | seconds | inputs/s | crashes | slowest, CPU s | of bytes | MiB |\n"
    "|---|---|---|---|---|---|---|---|"
)


class _Running:
    """One surface in a child of its own, forked when everything is imported already."""

    def __init__(self, name: str, driver: str, chosen: argparse.Namespace) -> None:
        self.name = name
        self._directory = tempfile.TemporaryDirectory(prefix="mkgen-fuzz-", dir=_memory())
        self.path = Path(self._directory.name)
        words = [name, str(chosen.runs), str(chosen.seconds), str(chosen.seed), driver]
        self.began = self._since = time.monotonic()
        self._last = -1
        context = multiprocessing.get_context("fork")
        self.child = context.Process(target=child.forked, args=([*words, str(self.path)],))
        self.child.start()

    def poll(self) -> dict[str, Any] | None:
        """What was seen, once the child has ended; a child that hangs is killed."""
        hung = False
        if self.child.is_alive():
            count = _count(self.path / "current")
            if count != self._last:
                self._last, self._since = count, time.monotonic()
            hung = time.monotonic() - self._since > (_HANG if count > 0 else _START)
            if not hung:
                return None
            self.child.kill()
        self.child.join()
        seconds = time.monotonic() - self.began
        row = _tally(self.path, hung) | {"surface": self.name, "seconds": seconds}
        self._directory.cleanup()
        return row


def _run_all(names: list[str], driver: str, chosen: argparse.Namespace) -> list[dict[str, Any]]:
    waiting, running = list(names), list[_Running]()
    rows: list[dict[str, Any]] = []
    while waiting or running:
        while waiting and len(running) < chosen.jobs:
            running.append(_Running(waiting.pop(0), driver, chosen))
        time.sleep(0.2)
        for one in list(running):
            row = one.poll()
            if row is not None:
                running.remove(one)
                rows.append(row)
                _show(row, chosen.crashes)
    return sorted(rows, key=lambda row: names.index(row["surface"]))


def _show(row: dict[str, Any], crashes: Path) -> None:
    print(_row(row), flush=True)
    for crash in row["crashes"]:
        data = base64.b64decode(crash["data"])
        crashes.mkdir(parents=True, exist_ok=True)
        path = crashes / f"{row['surface']}-{hashlib.sha256(data).hexdigest()[:12]}.bin"
        path.write_bytes(data)
        print(f"  {crash['kind']}: {crash['message']!r}\n    {path}", flush=True)


def _count(current: Path) -> int:
    try:
        with current.open("rb") as file:
            return int(HEADER.unpack(file.read(HEADER.size))[0])
    except (OSError, ValueError, ArithmeticError, LookupError):
        return 0


def _tally(directory: Path, hung: bool) -> dict[str, Any]:
    """What the child left; where it left nothing, the input at which it ended is the crash."""
    left = directory / "tally.json"
    if left.exists() and not hung:
        found: dict[str, Any] = json.loads(left.read_text())
        return found
    data = (directory / "current").read_bytes() if (directory / "current").exists() else b""
    count, size = HEADER.unpack(data[: HEADER.size]) if data else (0, 0)
    words = (directory / "log").read_bytes()[-600:].decode(errors="replace")
    kind = "hang" if hung else "the process died"
    kept = base64.b64encode(data[HEADER.size : HEADER.size + size]).decode()
    return {
        "inputs": count, "slowest": 0.0, "slowest_input": "", "resident_mib": 0,
        "crashes": [{"kind": kind, "message": words, "data": kept}],
    }  # fmt: skip


def _row(row: dict[str, Any]) -> str:
    size = len(base64.b64decode(row["slowest_input"]))
    return (
        f"| {row['surface']} | {row['inputs']} | {row['seconds']:.0f} | "
        f"{row['inputs'] / row['seconds']:.0f} | {len(row['crashes'])} | {row['slowest']:.3f} | "
        f"{size} | {row['resident_mib']} |"
    )


def _report(rows: list[dict[str, Any]], driver: str, chosen: argparse.Namespace) -> str:
    total = sum(row["inputs"] for row in rows)
    crashes = sum(len(row["crashes"]) for row in rows)
    packages = ("atheris", "pydantic", "pydantic_core", "numpy", "hypothesis")
    versions = [f"{name} {_version(name)}" for name in packages]
    command = (
        f"python -m tests.fuzz --surface {chosen.surface} --runs {chosen.runs} --seconds "
        f"{chosen.seconds:g} --seed {chosen.seed} --jobs {chosen.jobs} --driver {driver}"
    )
    return "\n".join(
        [
            "# Fuzzing of every parser",
            "",
            f"`{command}`",
            "",
            f"Python {platform.python_version()}, {', '.join(versions)}.",
            "One process per surface. Each input is read under an audit hook that refuses `exec`,",
            "`compile` (but for `ast.parse`), imports, processes, sockets and files outside a",
            "scratch directory, and in at most 2 GiB more memory than there was at the start. An",
            f"input that takes more than {SLOWEST:g} s of CPU counts as a crash, as a hang does.",
            "",
            _HEAD,
            *(_row(row) for row in rows),
            "",
            f"{total} inputs, {crashes} crashes; the slowest took "
            f"{max(row['slowest'] for row in rows):.3f} s of CPU.",
            "",
        ]
    )


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


def _memory() -> Path | None:
    shared = Path("/dev/shm")
    return shared if shared.is_dir() else None


if __name__ == "__main__":
    sys.exit(main())

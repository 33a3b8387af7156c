"""The child process in which a backend compiles and runs: `python -m mkgen.evaluate.worker`.

Jobs come as JSON lines, each with a nonce that its one reply echoes. The channel is private: what
compilers and kernels print to stdout goes to stderr, and what reads stdin reads nothing.
Anything may happen to this process; the parent sees it and starts another.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

Job = dict[str, Any]

_KEPT_PROGRAMS = 4
_PR_SET_PDEATHSIG = 1
_MEMORY_WORDS = re.compile(
    r"out.?of.?(host.?|device.?)?memory|bad_alloc|can(no|')t allocate memory|RESOURCE_EXHAUSTED",
    re.IGNORECASE,
)


def main() -> int:
    """Serves jobs until stdin ends."""
    jobs, replies = _private_channel()
    _die_with_parent()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    backend, role = sys.argv[1:3]
    session: _Session | None = None
    for line in jobs:
        job: Job = json.loads(line)
        try:
            if session is None:
                session = _Session(backend, role)
            reply: Job = {"result": session.handle(job)}
        except BaseException as error:  # a candidate's code may raise anything, SystemExit too
            reply = {"error": failure(error, job["job"])}
        reply["nonce"] = job["nonce"]
        replies.write(json.dumps(reply) + "\n")
        replies.flush()
    return 0


def _private_channel() -> tuple[IO[str], IO[str]]:
    # os.dup gives descriptors that child processes do not inherit
    jobs = os.fdopen(os.dup(0), "r", encoding="utf-8")
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return jobs, replies


def _die_with_parent() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")


def failure(error: BaseException, job: str) -> dict[str, str]:
    """What the parent is told of `error`: a status of a record, a message and a log."""
    from mkgen.errors import (
        CompileError,
        ExecutionError,
        InputChangedError,
        MissingError,
        MkgenError,
        RefusedError,
        SanitizerError,
        UserError,
        WrongArchError,
    )

    message = str(error) if isinstance(error, MkgenError) else f"{type(error).__name__}: {error}"
    log = error.log if isinstance(error, CompileError) else ""
    runs = job in ("run", "time")
    if isinstance(error, MemoryError) or (runs and _MEMORY_WORDS.search(message)):
        status = "out-of-memory"
    elif isinstance(error, WrongArchError):
        status = "wrong-arch"
    elif isinstance(error, CompileError):
        status = "compile-failed"
    elif isinstance(error, MissingError):
        status = "no-toolchain"
    elif isinstance(error, UserError):
        status = "unsupported"
    elif isinstance(error, InputChangedError):
        status = "input-changed"
    elif isinstance(error, SanitizerError):
        status = "sanitizer-finding"
    elif isinstance(error, RefusedError):
        status = "refused"
    elif isinstance(error, ExecutionError) or runs:
        status = "crashed"
    else:
        status = "internal-error"
        message = f"the backend raised {message}, which {job} does not allow"
    return {"status": status, "message": message, "log": log or _trace(error)}


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))[-20_000:]


class _Session:
    """One backend in one role, and the programs it keeps loaded."""

    def __init__(self, backend: str, role: str) -> None:
        from mkgen.codegen.registry import backend_named

        self.backend = backend_named(backend)
        self.executors = {e.name: e for e in self.backend.executors() if e.role == role}
        self.loaded: OrderedDict[tuple[str, str, str], tuple[Any, Path]] = OrderedDict()

    def handle(self, job: Job) -> Any:
        handlers: dict[str, Callable[[Job], Any]] = {
            "limit": self.limit,
            "identity": lambda _: self.backend.compiler_identity(),
            "compile": self.compile,
            "accepts": self.accepts,
            "describe": self.describe,
            "run": self.run,
            "time": self.time,
        }
        return handlers[job["job"]](job)

    def limit(self, job: Job) -> None:
        limit = job["address_space"]
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    def compile(self, job: Job) -> Job:
        from mkgen.program import Program

        program = Program.model_validate(job["program"])
        self.same_compiler(job["identity"])
        artifact = self.backend.compile(program, Path(job["directory"]))
        self.same_compiler(job["identity"])
        return artifact.model_dump(mode="json")

    def same_compiler(self, identity: str) -> None:
        """MissingError when the user's compiler is not the one this run has begun with.

        What it gives is stored under `identity`, where another compiler's work must not lie.
        """
        from mkgen.codegen.external import chosen_compiler
        from mkgen.errors import MissingError

        path = chosen_compiler(self.backend.name)
        if path is not None and self.backend.compiler_identity() != identity:
            raise MissingError(f"{path} was replaced while the run went on; start it again")

    def accepts(self, job: Job) -> str | None:
        from mkgen.program import Program

        return self.executors[job["executor"]].accepts(Program.model_validate(job["program"]))

    def describe(self, job: Job) -> Job:
        executor = self.executors[job["executor"]]
        compiler, sha = executor.compiler()
        ran_on = executor.ran_on().model_dump(mode="json")
        return {"ran_on": ran_on, "compiler": compiler, "compiler_sha": sha}

    def run(self, job: Job) -> None:
        from mkgen.evaluate.arrays import load_arrays, save_arrays

        loaded = self.load(job)
        outputs = loaded.run(load_arrays(Path(job["inputs"])), job["schedule"])
        save_arrays(Path(job["outputs"]), outputs)

    def time(self, job: Job) -> list[float]:
        from mkgen.evaluate.arrays import load_arrays

        inputs = load_arrays(Path(job["inputs"]))
        loaded = self.load(job)
        loaded.cache_bytes = job["cache_bytes"]
        return [float(s) for s in loaded.time(inputs, job["samples"])]

    def load(self, job: Job) -> Any:
        from mkgen.document import content_hash
        from mkgen.program import Artifact, Program

        program = Program.model_validate(job["program"])
        artifact = Artifact.model_validate(job["artifact"]) if job["artifact"] else None
        key = (
            job["executor"],
            content_hash(program.canonical_json()),
            artifact.sha if artifact else "",
        )
        if key in self.loaded:
            self.loaded.move_to_end(key)
            return self.loaded[key][0]
        while len(self.loaded) >= _KEPT_PROGRAMS:
            old, scratch = self.loaded.popitem(last=False)[1]
            old.close()
            shutil.rmtree(scratch, ignore_errors=True)
        directory = Path(tempfile.mkdtemp(prefix="load-"))
        loaded = self.executors[job["executor"]].load(program, artifact, directory)
        self.loaded[key] = (loaded, directory)
        return loaded


if __name__ == "__main__":
    sys.exit(main())

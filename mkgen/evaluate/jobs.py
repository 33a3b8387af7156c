"""What is asked of workers, with types: compile, accept, describe, load, run, time."""

from __future__ import annotations

import contextlib
import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from mkgen.codegen.backend import Backend
from mkgen.errors import ExecutionError
from mkgen.evaluate.arrays import DTYPES, load_arrays, save_arrays, take_file
from mkgen.evaluate.cache import CompileCache, Refusal, compile_key, file_sha
from mkgen.evaluate.limits import last_level_cache
from mkgen.evaluate.pool import Lease, Workers
from mkgen.evaluate.process import WorkerFailure, storable
from mkgen.program import Artifact, Buffer, Program
from mkgen.record import RanOn, Status

_QUESTION_SECONDS = 120.0
#: Outputs of another dtype or shape are read, to say so; what is many times as large is not.
_OUTPUT_FACTOR = 4
_OUTPUT_SPARE = 1 << 20


@dataclass(frozen=True)
class Description:
    """What an executor says of itself."""

    ran_on: RanOn
    compiler: str
    compiler_sha: str


def compile_program(
    workers: Workers,
    backend: Backend,
    program: Program,
    cache: CompileCache | None,
    timeout: float,
    *,
    trusted: bool = True,
) -> Artifact:
    """`program` compiled in a worker, or the same from the cache, refusals too. WorkerFailure.

    To compile Triton or Pallas is to import the text: one that is not `trusted` has a worker of
    its own.
    """
    # Asked before a worker is leased: two threads would wait for each other otherwise.
    identity = workers.remember(
        ("identity", backend.name), lambda: compiler_identity(workers, backend)
    )
    key = compile_key(program, backend, identity)
    kept = cache.get(key) if cache else None
    if kept is not None:
        return kept
    refused = cache.refusal(key) if cache else None
    if refused is not None:
        raise WorkerFailure(refused.status, refused.message, refused.log)
    directory = workers.new_directory("compile-")
    with workers.lease(backend, "compile", fresh=not trusted) as lease:
        place = lease.new_directory("compile-")
        try:
            result = lease.call(
                "compile",
                timeout,
                program=program.model_dump(mode="json"),
                directory=str(place),
                identity=identity,
            )
            if not trusted:
                lease.discard()  # nobody changes the files while they are read
            artifact = told_artifact(result, place, directory, backend.name)
        except WorkerFailure as failure:
            if cache:
                cache.put_refusal(key, Refusal(failure.status, failure.message, failure.log))
            raise
        finally:
            shutil.rmtree(place, ignore_errors=True)
    if cache is None:
        return artifact
    stored = cache.put(key, artifact)
    shutil.rmtree(directory, ignore_errors=True)
    return stored


def compiler_identity(workers: Workers, backend: Backend) -> str:
    """Version and binary hash of the compiler. WorkerFailure NO_TOOLCHAIN when there is none."""
    with workers.lease(backend, "compile") as lease:
        return _text(lease.call("identity", _QUESTION_SECONDS))


def accepts(lease: Lease, executor: str, program: Program) -> str | None:
    """Why `executor` cannot run `program`; None when it can."""
    reason = lease.call(
        "accepts", _QUESTION_SECONDS, executor=executor, program=program.model_dump(mode="json")
    )
    return None if reason is None else _text(reason)


def describe(lease: Lease, executor: str) -> Description:
    """Where `executor` runs and what turns the text into what runs."""
    told = lease.call("describe", _QUESTION_SECONDS, executor=executor)
    try:
        ran_on = RanOn.model_validate(told["ran_on"])
        return Description(ran_on, _text(told["compiler"]), _text(told["compiler_sha"]))
    except (ValidationError, KeyError, TypeError) as error:
        raise WorkerFailure(
            Status.CRASHED, f"{executor} does not say where it runs: {_brief(error)}"
        ) from error


def told_artifact(told: object, place: Path, directory: Path, backend: str) -> Artifact:
    """The artifact that a worker says it left in `place`, copied to `directory`. WorkerFailure."""
    try:
        artifact = Artifact.model_validate(told)
        path = take_file(Path(artifact.path), place, directory)
        isa = take_file(Path(artifact.isa_path), place, directory) if artifact.isa_path else None
        sha = file_sha(path)
    except (ValueError, OSError) as error:
        raise WorkerFailure(
            Status.INTERNAL_ERROR, f"no artifact from {backend}: {_brief(error)}"
        ) from error
    if sha != artifact.sha:
        raise WorkerFailure(
            Status.INTERNAL_ERROR,
            f"{backend} says that the artifact is {artifact.sha[:12]}, the file is {sha[:12]}",
        )
    return artifact.model_copy(update={"path": str(path), "isa_path": str(isa) if isa else None})


def told_seconds(told: object) -> list[float]:
    """The times that a worker gives. WorkerFailure when they are no finite numbers."""
    if isinstance(told, list) and all(type(s) in (int, float) for s in told):
        with contextlib.suppress(OverflowError):
            seconds = [float(s) for s in told]
            if all(map(math.isfinite, seconds)):
                return seconds
    raise WorkerFailure(Status.CRASHED, "the worker's times are no finite numbers")


def _text(value: object) -> str:
    return storable(str(value))


def _brief(error: Exception) -> str:
    return storable(f"{type(error).__name__}: {error}"[:1000])


class Runner:
    """Runs of one program by one executor in one worker.

    Arrays go through directories of the lease: inputs, which the worker can read, and outputs,
    which are read as what a stranger wrote.
    """

    def __init__(
        self,
        lease: Lease,
        directory: Path,
        executor: str,
        program: Program,
        artifact: Artifact | None,
        inputs: Mapping[str, np.ndarray] | Path | None = None,
    ) -> None:
        """`inputs` may lie in a directory already, as `save_arrays` left them; it stays there.

        `directory` is for what is made here; `close` removes it. Where
        `inputs` are None, they are given later, when the program was loaded.
        """
        self._lease = lease
        self._directory = directory
        self.ran_other = ""
        """See Loaded.ran_other; of the last run."""
        self._cache_bytes = last_level_cache(lease.backend, program.target)
        self._limit = _OUTPUT_FACTOR * sum(_bytes(b) for b in program.buffers) + _OUTPUT_SPARE
        self._given: list[Path] = []
        if artifact is not None:
            artifact, self._given = readable(lease, artifact)
        self._job = {
            "executor": executor,
            "program": program.model_dump(mode="json"),
            "artifact": artifact.model_dump(mode="json") if artifact else None,
            "inputs": "",
        }
        self._inputs: Path | None = None
        if inputs is not None:
            self.give(inputs)

    def load(self, timeout: float) -> None:
        """Makes the program ready in the worker, without inputs. WorkerFailure."""
        self._lease.call("load", timeout, **self._job)

    def give(self, inputs: Mapping[str, np.ndarray] | Path) -> None:
        """Puts the arrays of the next runs where the worker can only read them."""
        saved = inputs if isinstance(inputs, Path) else self._directory / "inputs"
        if not isinstance(inputs, Path):
            shutil.rmtree(saved, ignore_errors=True)  # what the worker has may be the same files
            save_arrays(saved, inputs)
        if self._inputs is not None:
            shutil.rmtree(self._inputs.parent, ignore_errors=True)
        self._inputs = self._lease.give(saved)
        self._job["inputs"] = str(self._inputs)

    def run(self, schedule: str, timeout: float) -> dict[str, np.ndarray]:
        """What the program wrote, by buffer name. WorkerFailure."""
        place = self._lease.new_directory("outputs-")
        try:
            told = self._lease.call(
                "run", timeout, **self._job, outputs=str(place / "arrays"), schedule=schedule
            )
            self.ran_other = str(told or "")
            return load_arrays(place / "arrays", self._limit)
        except ExecutionError as error:
            raise WorkerFailure(Status.CRASHED, str(error)) from error
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def time(self, samples: int, timeout: float) -> list[float]:
        """Seconds of `samples` runs as the device measured them. WorkerFailure."""
        told = self._lease.call(
            "time", timeout, **self._job, samples=samples, cache_bytes=self._cache_bytes
        )
        return told_seconds(told)

    def close(self) -> None:
        """Removes the arrays."""
        given = [*self._given, self._inputs] if self._inputs else self._given
        for path in (self._directory, *(place.parent for place in given)):
            shutil.rmtree(path, ignore_errors=True)


def readable(lease: Lease, artifact: Artifact) -> tuple[Artifact, list[Path]]:
    """`artifact` with files where the worker of `lease` can read them, and those files."""
    places: dict[str, str] = {}
    given = []
    for name in ("path", "isa_path"):
        if path := getattr(artifact, name):
            given.append(lease.give(Path(path)))
            places[name] = str(given[-1])
    return artifact.model_copy(update=places), given


def _bytes(buffer: Buffer) -> int:
    return math.prod(buffer.shape) * DTYPES[buffer.dtype].itemsize

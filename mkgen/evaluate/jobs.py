"""What is asked of workers, with types: compile, accept, describe, run, time."""

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
from mkgen.evaluate.arrays import load_arrays, save_arrays
from mkgen.evaluate.cache import CompileCache, Refusal, compile_key, file_sha
from mkgen.evaluate.limits import last_level_cache
from mkgen.evaluate.pool import Lease, Workers
from mkgen.evaluate.process import WorkerFailure, storable
from mkgen.program import Artifact, Program
from mkgen.record import RanOn, Status

_QUESTION_SECONDS = 120.0


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

    To compile Triton or Pallas is to import the text: a text that is not `trusted` leaves no
    worker behind.
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
    with workers.lease(backend, "compile") as lease:
        try:
            result = lease.call(
                "compile",
                timeout,
                program=program.model_dump(mode="json"),
                directory=str(directory),
                identity=identity,
            )
        except WorkerFailure as failure:
            if cache:
                cache.put_refusal(key, Refusal(failure.status, failure.message, failure.log))
            raise
        finally:
            if not trusted:
                lease.discard()
    artifact = told_artifact(result, directory, backend.name)
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


def told_artifact(told: object, directory: Path, backend: str) -> Artifact:
    """The artifact that a worker says it has written into `directory`. WorkerFailure."""
    try:
        artifact = Artifact.model_validate(told)
        for text in (artifact.path, artifact.isa_path):
            # neither a pipe, which would block, nor a file from somewhere else
            place = Path(text).resolve() if text else directory
            if text and not (place.is_relative_to(directory.resolve()) and place.is_file()):
                raise ValueError(f"{text[:200]!r} is no file in its directory")
        sha = file_sha(Path(artifact.path))
    except (ValueError, OSError, RuntimeError) as error:  # RuntimeError: links in a ring
        raise WorkerFailure(
            Status.INTERNAL_ERROR, f"no artifact from {backend}: {_brief(error)}"
        ) from error
    if sha != artifact.sha:
        raise WorkerFailure(
            Status.INTERNAL_ERROR,
            f"{backend} says that the artifact is {artifact.sha[:12]}, the file is {sha[:12]}",
        )
    return artifact


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
    """Runs of one program by one executor in one worker, with a directory for its arrays."""

    def __init__(
        self,
        lease: Lease,
        directory: Path,
        executor: str,
        program: Program,
        artifact: Artifact | None,
        inputs: Mapping[str, np.ndarray] | Path,
    ) -> None:
        """`inputs` may lie in a directory already, as `save_arrays` left them; it stays there."""
        self._lease = lease
        self._directory = directory
        self._cache_bytes = last_level_cache(lease.backend, program.target)
        saved = inputs if isinstance(inputs, Path) else directory / "inputs"
        self._job = {
            "executor": executor,
            "program": program.model_dump(mode="json"),
            "artifact": artifact.model_dump(mode="json") if artifact else None,
            "inputs": str(saved),
        }
        if not isinstance(inputs, Path):
            save_arrays(saved, inputs)

    def run(self, schedule: str, timeout: float) -> dict[str, np.ndarray]:
        """What the program wrote, by buffer name. WorkerFailure."""
        outputs = self._directory / "outputs"
        shutil.rmtree(outputs, ignore_errors=True)
        self._lease.call("run", timeout, **self._job, outputs=str(outputs), schedule=schedule)
        try:
            return load_arrays(outputs)
        except ExecutionError as error:
            raise WorkerFailure(Status.CRASHED, str(error)) from error

    def time(self, samples: int, timeout: float) -> list[float]:
        """Seconds of `samples` runs as the device measured them. WorkerFailure."""
        told = self._lease.call(
            "time", timeout, **self._job, samples=samples, cache_bytes=self._cache_bytes
        )
        return told_seconds(told)

    def close(self) -> None:
        """Removes the arrays."""
        shutil.rmtree(self._directory, ignore_errors=True)

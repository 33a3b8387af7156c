"""Each defence of the protocol, switched off: what a careless evaluator lacks.

A program that fools nobody here must fool an evaluator without the one defence that stops it;
otherwise something else stops it and the defence is not tested.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from mkgen.evaluate import compare, draws, execution, oracle, pool, process, protocol, worker
from mkgen.evaluate.compare import Comparison, Expected
from mkgen.evaluate.confine.layers import Confinement, confinement
from mkgen.evaluate.process import WorkerFailure
from mkgen.record import ErrorFigures, Status

_FIGURES = ErrorFigures(max_abs=0.0, max_rel=0.0, budget=1.0, share=0.0)


class LocalWorkers:
    """Workers that are no processes: candidate, harness and oracle share this one's memory."""

    confinement = confinement()

    def __enter__(self) -> LocalWorkers:
        self.directory = Path(tempfile.mkdtemp(prefix="mkgen-local-"))
        self._memo: dict = {}
        self._sessions: dict = {}
        return self

    def __exit__(self, *_: object) -> None:
        for session in self._sessions.values():
            for loaded, _ in session.loaded.values():
                loaded.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    @contextmanager
    def lease(self, backend: Any, role: str, *, fresh: bool = False) -> Iterator[Any]:
        key = (backend.name, role)
        if key not in self._sessions:
            self._sessions[key] = worker._Session(backend.name, role)
        yield _LocalLease(self, backend, role, self._sessions[key])
        if fresh:
            self._sessions.pop(key, None)

    def new_directory(self, prefix: str = "job-") -> Path:
        return Path(tempfile.mkdtemp(prefix=prefix, dir=self.directory))

    def remember(self, key: Any, make: Callable[[], Any]) -> Any:
        if key not in self._memo:
            self._memo[key] = make()
        return self._memo[key]


class _LocalLease:
    def __init__(self, workers: LocalWorkers, backend: Any, role: str, session: Any) -> None:
        self.workers, self.backend, self.role, self.session = workers, backend, role, session

    def call(self, job: str, timeout: float, **arguments: Any) -> Any:
        try:
            return self.session.handle({"job": job, **arguments})
        except Exception as error:
            told = worker.failure(error, job)
            raise WorkerFailure(Status(told["status"]), told["message"], told["log"]) from error

    def give(self, path: Path) -> Path:
        """A copy, in a directory of its own as its reader removes that."""
        place = self.workers.new_directory("given-") / path.name
        if path.is_dir():
            shutil.copytree(path, place)
        else:
            shutil.copyfile(path, place)
        return place

    def new_directory(self, prefix: str = "job-") -> Path:
        return self.workers.new_directory(prefix)

    def discard(self) -> None:
        self.workers._sessions.pop((self.backend.name, self.role), None)


@contextmanager
def all_of(*switches: Any) -> Iterator[None]:
    """Several defences off."""
    with contextlib.ExitStack() as stack:
        for switch in switches:
            stack.enter_context(switch)
        yield


def loose_tolerance(absolute: float) -> Any:
    """An absolute tolerance for every task, and no controls that would notice."""

    def close(expected: Expected, got: np.ndarray) -> Comparison:
        off = np.abs(got.astype(np.float64) - expected.oracle)
        return Comparison(bool((off <= absolute).all()), _FIGURES, f"off by {off.max(initial=0)}")

    return all_of(_judged_by(close), mock.patch.object(oracle.Judge, "controls", return_value=""))


def _judged_by(judge: Callable[[Expected, np.ndarray], Comparison]) -> Any:
    return mock.patch.object(compare, "compare", judge)


def blind_to_nan() -> Any:
    """Errors that are NaN are not larger than the tolerance."""

    def close(expected: Expected, got: np.ndarray) -> Comparison:
        wrong = np.abs(got.astype(np.float64) - expected.oracle) > 1e-3
        return Comparison(not wrong.any(), _FIGURES, "too far off")

    return _judged_by(close)


def blind_to_dtype() -> Any:
    """Outputs are cast to what was expected before they are compared."""
    strict = compare.compare

    def close(expected: Expected, got: np.ndarray) -> Comparison:
        return strict(expected, got.astype(expected.dtype))

    return _judged_by(close)


def blind_to_state() -> Any:
    """Only returned outputs are compared."""
    strict = compare.compare

    def close(expected: Expected, got: np.ndarray) -> Comparison:
        return Comparison(True, _FIGURES) if expected.state else strict(expected, got)

    return all_of(_judged_by(close), mock.patch.object(oracle.Judge, "controls", return_value=""))


def known_seed() -> Any:
    """The seed is 0, as everybody knows."""
    return mock.patch.object(draws, "secret_seed", return_value=0)


def no_heldout_sizes() -> Any:
    """Held-out workloads are the check workloads again."""
    whole = protocol._Evaluation._programs

    def shown(self: Any) -> Any:
        programs = whole(self)
        small = [(w, p) for w, p in programs.small if w.role == "check"]
        again = [(w.model_copy(update={"role": "heldout"}), p) for w, p in small]
        return replace(programs, small=(*small, *again), thin=())

    return mock.patch.object(protocol._Evaluation, "_programs", shown)


def no_structured_inputs() -> Any:
    """Only the random draw."""
    return mock.patch.object(oracle.Judge, "structured", return_value=[])


def no_thin_sizes() -> Any:
    """No axis of one element or none."""
    return mock.patch.object(protocol._Evaluation, "_thin", return_value=())


def no_tripwires() -> Any:
    """No text is read before it runs."""
    return mock.patch.object(protocol._Evaluation, "_tripwires", return_value=None)


def no_repeats() -> Any:
    """Nothing runs twice."""
    return mock.patch.object(execution.Execution, "_again", return_value=None)


def one_order(executor: Any) -> Any:
    """One order of the threads."""
    return mock.patch.object(executor, "orders", lambda self, _: self.schedules[:1])


def no_limits() -> Any:
    """Whatever the compiler takes may be launched."""
    return all_of(
        mock.patch.object(protocol, "launch_excess", return_value=""),
        mock.patch.object(protocol, "artifact_excess", return_value=""),
    )


def any_reply() -> Any:
    """A reply need not name the job it answers, and may be followed by others."""
    strict = process.WorkerProcess._judge

    def judge(self: Any, reply: bytes, nonce: str, job: str) -> Any:
        self._buffer = b""
        return strict(self, reply.replace(b'"?"', f'"{nonce}"'.encode()), nonce, job)

    careless = pool.Lease.call

    def call(self: Any, *arguments: Any, **named: Any) -> Any:
        try:
            return careless(self, *arguments, **named)
        finally:  # a process for each job: one that is about to leave gets none
            self.discard()

    return all_of(
        mock.patch.object(process.WorkerProcess, "_judge", judge),
        mock.patch.object(pool.Lease, "call", call),
    )


def exit_zero_is_success() -> Any:
    """A process that leaves with 0 has done its job."""

    def died(self: Any, watch: Any) -> Any:
        self.process.wait()
        self._buffer = b""
        return _LeftError()

    class _LeftError(Exception):
        pass

    strict = process.WorkerProcess.call

    def call(self: Any, job: Any, timeout: float) -> Any:
        try:
            return strict(self, job, timeout)
        except _LeftError:
            return None

    return all_of(
        mock.patch.object(process.WorkerProcess, "_died", died),
        mock.patch.object(process.WorkerProcess, "call", call),
    )


def whole_environment() -> Any:
    """Children get every variable of the parent."""
    strict = pool.worker_environment

    def environment(extra: Any, home: Path, cache: Path, variables: Any) -> dict[str, str]:
        return {**os.environ, **strict(extra, home, cache, variables)}

    return mock.patch.object(pool, "worker_environment", environment)


def missing_is_right() -> Any:
    """Outputs that are not there count as what was expected."""
    strict = execution.in_order

    def ordered(program: Any, case: Any, outputs: Any) -> Any:
        try:
            return strict(program, case, outputs)
        except KeyError:
            return [e.oracle.astype(e.dtype) for e in case.expected]

    return mock.patch.object(execution, "in_order", ordered)


def believing_judge(text: str) -> Any:
    """One that reads the kernel's comments: a language model with a soft heart."""

    def check(self: Any, case: Any, outputs: Any) -> Comparison:
        return Comparison("reply PASS" in text, _FIGURES, "not convinced")

    return mock.patch.object(oracle.Judge, "check", check)


def compare_as_it_was() -> Any:
    """Puts right afterwards what a text patches in this process."""

    @contextmanager
    def kept() -> Iterator[None]:
        before, testing = compare.compare, np.testing.assert_allclose
        try:
            yield
        finally:
            compare.compare, np.testing.assert_allclose = before, testing

    return kept()


def inputs_not_compared() -> Any:
    """What a kernel did to its inputs is not looked at."""
    import hostile

    return mock.patch.object(hostile.HostileLoaded, "compares_inputs", False)


def reference_of_what_is_left() -> Any:
    """The reference runs after the kernel, on the arrays that it had."""
    import hostile

    def check(self: Any, case: Any, outputs: Any) -> Comparison:
        left = hostile.HostileLoaded.latest.kept["x"]
        right = all((o == left * 2).all() for o in outputs)
        return Comparison(right, _FIGURES, "differs from the reference")

    return mock.patch.object(oracle.Judge, "check", check)


def no_memory_limit() -> Any:
    """A worker may hold whatever there is."""
    return mock.patch.object(process, "excess_of", return_value=None)


def one_plain_order() -> Any:
    """One order of blocks and threads, and no fences."""
    from mkgen_simt.host import SimtHostExecutor
    from mkgen_triton.interpreter import InterpreterExecutor

    return all_of(one_order(SimtHostExecutor), one_order(InterpreterExecutor))


def in_children(*names: str) -> Callable[[], Any]:
    """Switches of `careless` on in every worker that is started meanwhile: foreign texts' all are.

    What it gives is called for the context.
    """
    here = Path(__file__).parent

    def switched() -> Any:
        path = [str(here / "careless_site"), str(here), os.environ.get("PYTHONPATH", "")]
        told = {
            "MKGEN_CARELESS": " ".join(names),
            "PYTHONPATH": os.pathsep.join(p for p in path if p),
        }
        return mock.patch.dict(os.environ, told)

    return switched


def no_confinement() -> Any:
    """Workers are plain processes of the user's."""
    return mock.patch.object(Confinement, "command", lambda self, worker, *_: list(worker))


@contextmanager
def cache_of_its_own() -> Iterator[None]:
    """The cache that workers are shown is a directory of this test's."""
    with (
        tempfile.TemporaryDirectory(prefix="mkgen-test-") as made,
        mock.patch.dict(os.environ, {"MKGEN_CACHE": made}),
    ):
        yield


def reference_of_what_pallas_left() -> Any:
    """The reference runs after the kernel, on the arrays that Pallas' executor had."""
    from mkgen_pallas.interpreter import Interpreted

    left: dict = {}
    strict = Interpreted.run

    def run(self: Any, inputs: Any, schedule: str = "") -> Any:
        left.update(inputs)
        return strict(self, inputs, schedule)

    def check(self: Any, case: Any, outputs: Any) -> Comparison:
        right = all((o == left["x"] * 2).all() for o in outputs)
        return Comparison(right, _FIGURES, "differs from the reference")

    return all_of(
        mock.patch.object(Interpreted, "run", run),
        mock.patch.object(oracle.Judge, "check", check),
    )

"""The workers of one run: started when needed, leased to threads, restarted after a bad end."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Hashable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from mkgen.codegen.backend import Backend, Role
from mkgen.evaluate import guard
from mkgen.evaluate.process import WorkerFailure, WorkerProcess, worker_environment
from mkgen.record import Status

T = TypeVar("T")


class Lease:
    """One worker, held by one thread until its `with` ends."""

    def __init__(self, pool: Workers, backend: Backend, role: Role) -> None:
        self._pool = pool
        self.backend = backend
        self.role = role
        self._process: WorkerProcess | None = None
        self._scratch: Path | None = None
        self._ending = threading.Lock()

    def call(self, job: str, timeout: float, **arguments: Any) -> Any:
        """The result of `job`; the worker is started first if it is not there. WorkerFailure."""
        process = self._process
        if process is None or not process.alive():
            process = self._start()
        try:
            message = {"job": job, **arguments}
            return process.call(message, timeout, self._pool.resident_bytes)
        except WorkerFailure as failure:
            # a device's context may be spoilt by a fault, and a full process stays full
            spoilt = self.role == "device" or failure.status is Status.OUT_OF_MEMORY
            if spoilt or not process.alive():
                self.discard()
            raise
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Ends the worker; the next call starts a fresh one."""
        with self._ending:  # the end of the run may come while this lease's own thread is here
            process, self._process = self._process, None
            scratch, self._scratch = self._scratch, None
        if process is not None:
            process.kill()
            self._pool.forget(process.group)
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)

    def _start(self) -> WorkerProcess:
        self.discard()
        self._scratch = scratch = self._pool.new_directory(f"{self.backend.name}-{self.role}-")
        environment = worker_environment(self.backend.environment(self.role), scratch)
        process = self._pool.spawn(self.backend.name, self.role, environment, scratch)
        self._process = process
        limit = self._pool.address_space.get(self.role)
        # the first job imports the plug-in, so that a broken one fails here and with its reason
        job = {"job": "limit", "address_space": limit}
        try:
            process.call(job, self._pool.start_timeout, None)
        except WorkerFailure:
            self.discard()
            raise
        return process


class Workers:
    """Up to `jobs` workers per (backend, role); one for the device, which is not shared.

    `address_space` limits RLIMIT_AS by role: leave it out for libraries that reserve address
    space. `resident_bytes` is what a worker may really hold; by default 80 % of the memory.
    """

    def __init__(
        self,
        jobs: int = 1,
        *,
        address_space: Mapping[Role, int] | None = None,
        resident_bytes: int | None = None,
        start_timeout: float = 120.0,
    ) -> None:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        self.jobs = max(1, jobs)
        self.address_space = dict(address_space or {})
        self.resident_bytes = resident_bytes or memory * 8 // 10
        self.start_timeout = start_timeout
        self._condition = threading.Condition()
        self._idle: dict[tuple[str, Role], list[Lease]] = {}
        self._all: dict[tuple[str, Role], list[Lease]] = {}
        self._memo: dict[Hashable, Any] = {}
        self._memo_lock = threading.RLock()

    def __enter__(self) -> Workers:
        self.directory = Path(tempfile.mkdtemp(prefix="mkgen-"))
        self._guard_lock = threading.Lock()
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", guard.__file__, str(self.directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        # The kernel's "die with the parent" means the thread that started the process: a thread
        # of the caller may end before its worker should, so that one thread of ours starts all.
        self._spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mkgen-spawn")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for leases in self._all.values():
            for lease in leases:
                lease.discard()
        self._spawner.shutdown()
        if self._guard.stdin is not None:
            self._guard.stdin.close()
        self._guard.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    @contextmanager
    def lease(self, backend: Backend, role: Role) -> Iterator[Lease]:
        """A worker for this thread alone; waits while all are busy."""
        key = (backend.name, role)
        limit = 1 if role == "device" else self.jobs
        with self._condition:
            idle = self._idle.setdefault(key, [])
            made = self._all.setdefault(key, [])
            self._condition.wait_for(lambda: idle or len(made) < limit)
            if idle:
                lease = idle.pop()
            else:
                lease = Lease(self, backend, role)
                made.append(lease)
        try:
            yield lease
        finally:
            with self._condition:
                idle.append(lease)
                self._condition.notify_all()

    def new_directory(self, prefix: str = "job-") -> Path:
        """A fresh directory that lives as long as the workers do."""
        return Path(tempfile.mkdtemp(prefix=prefix, dir=self.directory))

    def remember(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives, asked once per run: toolchains do not change meanwhile."""
        with self._memo_lock:
            if key not in self._memo:
                self._memo[key] = make()
            value: T = self._memo[key]
            return value

    def spawn(
        self, backend: str, role: Role, environment: dict[str, str], scratch: Path
    ) -> WorkerProcess:
        """Starts a worker process and puts it under the guard."""
        process = self._spawner.submit(WorkerProcess, backend, role, environment, scratch).result()
        self._tell_guard("+", process.group)
        return process

    def forget(self, group: int) -> None:
        """Takes a process group that has ended from the guard: its number may be used again."""
        self._tell_guard("-", group)

    def _tell_guard(self, sign: str, group: int) -> None:
        with self._guard_lock:
            assert self._guard.stdin is not None
            self._guard.stdin.write(f"{sign}{group}\n".encode())
            self._guard.stdin.flush()

"""The workers of one run: started when needed, leased to threads, restarted after a bad end."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from mkgen.codegen.backend import Backend, Role
from mkgen.evaluate import guard
from mkgen.evaluate.cache import READ_CACHE, backend_files, default_cache_directory
from mkgen.evaluate.confine.layers import confinement
from mkgen.evaluate.confine.limits import WorkerLimits
from mkgen.evaluate.confine.view import view_of
from mkgen.evaluate.process import (
    WorkerFailure,
    WorkerProcess,
    worker_command,
    worker_environment,
)
from mkgen.record import Status

T = TypeVar("T")

#: Of workers that run our own templates: a mistake is stopped, but no compiler is.
_DISK = 64 << 30
_FILES = 500_000
_PROCESSES = 1000
#: Of a foreign text's worker, for each core: more than all its jobs may take together.
_CPU_SECONDS = 1800


class Lease:
    """One worker, held by one thread until its `with` ends.

    Its directory has `in`, which the worker can only read, and `own`, outside of which it can
    write nothing: `own/home`, its working directory, and `own/out` for what it hands over.
    """

    def __init__(self, pool: Workers, backend: Backend, role: Role, *, fresh: bool = False) -> None:
        self._pool = pool
        self.backend = backend
        self.role = role
        self.fresh = fresh
        """Whether no other candidate may meet this worker."""
        self._directory: Path | None = None
        self._process: WorkerProcess | None = None
        self._ending = threading.Lock()

    @property
    def directory(self) -> Path:
        """What this lease shares with its workers."""
        if self._directory is None:
            made = self._pool.new_directory(f"{self.backend.name}-{self.role}-")
            for name in ("in", "own/out", "own/home", "root"):
                (made / name).mkdir(parents=True)
            self._directory = made
        return self._directory

    def new_directory(self, prefix: str = "job-") -> Path:
        """A fresh directory in which the worker can write."""
        return Path(tempfile.mkdtemp(prefix=prefix, dir=self.directory / "own/out"))

    def give(self, path: Path) -> Path:
        """Where the worker can read `path`, a file or a directory of files."""
        place = Path(tempfile.mkdtemp(prefix="given-", dir=self.directory / "in")) / path.name
        if path.is_dir():
            # links, as arrays may be large; the worker cannot write to them
            shutil.copytree(path, place, copy_function=_link)
        else:
            shutil.copyfile(path, place)
        return place

    def call(self, job: str, timeout: float, **arguments: Any) -> Any:
        """The result of `job`; the worker is started first if it is not there. WorkerFailure."""
        process = self._process
        if process is None or not process.alive():
            process = self._start()
        try:
            return process.call({"job": job, **arguments}, timeout)
        except WorkerFailure as failure:
            # A device's context may be spoilt by a fault, and a full process stays full. What
            # wrote beside a buffer may have written anywhere: the next candidate would die of it.
            spoilt = (Status.CRASHED, Status.OUT_OF_MEMORY, Status.OVER_LIMIT)
            if self.role == "device" or failure.status in spoilt or not process.alive():
                self.discard()
            raise
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Ends the worker; the next call starts a fresh one."""
        with self._ending:  # the end of the run may come while this lease's own thread is here
            process, self._process = self._process, None
        if process is not None:
            process.kill()
            self._pool.forget(process.group)
            shutil.rmtree(self.directory / "own/home", ignore_errors=True)

    def close(self) -> None:
        """Ends the worker, and removes everything it left and was given."""
        self.discard()
        directory, self._directory = self._directory, None
        if directory is not None:
            shutil.rmtree(directory, ignore_errors=True)

    def _start(self) -> WorkerProcess:
        self.discard()
        process = self._process = self._pool.start(self)
        limit = self._pool.address_space.get(self.role)
        # the first job imports the plug-in, so that a broken one fails here and with its reason
        job = {"job": "limit", "address_space": limit}
        try:
            process.call(job, self._pool.start_timeout)
        except WorkerFailure:
            self.discard()
            raise
        return process


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copyfile(source, target)


class Workers:
    """Up to `jobs` workers per (backend, role); one for the device, which is not shared.

    `address_space` limits RLIMIT_AS by role: leave it out for libraries that reserve address
    space. `resident_bytes` is what a worker may really hold; by default 80 % of the memory.
    `limits` are of workers that run foreign text, `hidden` what no worker may see of a place that
    is visible: the run's own records.
    """

    def __init__(
        self,
        jobs: int = 1,
        *,
        address_space: Mapping[Role, int] | None = None,
        resident_bytes: int | None = None,
        start_timeout: float = 120.0,
        limits: WorkerLimits | None = None,
        hidden: Iterable[Path] = (),
    ) -> None:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 8 // 10
        self.jobs = max(1, jobs)
        self.address_space = dict(address_space or {})
        self.limits = WorkerLimits(
            resident_bytes or memory, processes=_PROCESSES, disk_bytes=_DISK, files=_FILES
        )
        self.foreign_limits = limits or WorkerLimits(
            resident_bytes or memory // self.jobs, cpu_seconds=_CPU_SECONDS * (os.cpu_count() or 1)
        )
        self.start_timeout = start_timeout
        self.hidden = tuple(path.absolute() for path in hidden)
        self.confinement = confinement()
        self._condition = threading.Condition()
        self._idle: dict[tuple[str, Role], list[Lease]] = {}
        self._all: dict[tuple[str, Role], list[Lease]] = {}
        self._fresh: set[Lease] = set()
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
        for leases in (*self._all.values(), list(self._fresh)):
            for lease in leases:
                lease.discard()
        self._spawner.shutdown()
        if self._guard.stdin is not None:
            self._guard.stdin.close()
        self._guard.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    @contextmanager
    def lease(self, backend: Backend, role: Role, *, fresh: bool = False) -> Iterator[Lease]:
        """A worker for this thread alone; waits while all are busy.

        A `fresh` one is started for this lease and ends with it: no other candidate was in it
        before, and none comes after.
        """
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
            if fresh:
                if role == "device":
                    lease.discard()  # two processes do not share a device
                with self._one_more(backend, role) as other:
                    yield other
            else:
                yield lease
        finally:
            with self._condition:
                idle.append(lease)
                self._condition.notify_all()

    @contextmanager
    def _one_more(self, backend: Backend, role: Role) -> Iterator[Lease]:
        lease = Lease(self, backend, role, fresh=True)
        self._fresh.add(lease)
        try:
            yield lease
        finally:
            lease.close()
            self._fresh.discard(lease)

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

    def start(self, lease: Lease) -> WorkerProcess:
        """Starts a confined worker process for `lease` and puts it under the guard."""
        own, role, backend = lease.directory / "own", lease.role, lease.backend
        home = own / "home"
        home.mkdir(exist_ok=True)
        # a foreign text could leave a build for others in a cache that it can write
        shared = default_cache_directory().absolute()
        cache = home / "cache" if lease.fresh else shared
        cache.mkdir(parents=True, exist_ok=True)
        extra = {**backend.environment(role), READ_CACHE: str(shared)}
        environment = worker_environment(extra, home, cache, backend.variables)
        limits = self.foreign_limits if lease.fresh else self.limits
        view = view_of(
            environment,
            write=[own] if lease.fresh else [own, cache],
            read=[lease.directory / "in", *backend_files(type(backend)), shared],
            devices=() if role == "emulate" else backend.devices,
            hidden=[*self.hidden, shared / "compile"] if lease.fresh else self.hidden,
        )
        command = self.confinement.command(
            worker_command(backend.name, role), view, home, lease.directory / "root", limits
        )
        process = self._spawner.submit(WorkerProcess, command, environment, own, limits).result()
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

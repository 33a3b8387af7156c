"""One worker process, seen from the parent: start, one job at a time, deadline, kill."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import select
import signal
import site
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mkgen.codegen.backend import Role
from mkgen.errors import EXIT_FAILED, MkgenError
from mkgen.evaluate.confine.limits import (
    Excess,
    WorkerLimits,
    excess_of,
    processes_below,
    written_excess,
)
from mkgen.reading import json_value
from mkgen.record import Status

_MAX_REPLY_BYTES = 64 << 20
_KEPT_STDERR_BYTES = 16 << 10
_POLL_SECONDS = 0.1
_DISK_SECONDS = 0.5
_ENDING_SECONDS = 20.0

#: Variables a worker gets from the parent, beside those that its backend names.
_ALLOWED = re.compile(
    r"PATH|USER|LOGNAME|LANG|LC_.*|TZ|LD_LIBRARY_PATH|VIRTUAL_ENV|PYTHONPATH"
    r"|MKGEN_.*|OMP_.*|MKL_.*|OPENBLAS_.*"
)
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL|AUTH", re.IGNORECASE)


class WorkerFailure(MkgenError):  # noqa: N818  it is a result of a candidate, not a fault of ours
    """A job that did not end well: what it means for the candidate, and what was seen."""

    exit_code = EXIT_FAILED

    def __init__(self, status: Status, message: str, log: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.log = log


def reaches_workers(name: str, variables: tuple[str, ...]) -> bool:
    """Whether workers whose drivers have `variables` get the user's variable `name`."""
    listed = _ALLOWED.fullmatch(name) is not None or name.startswith(variables)
    return listed and not _SECRET.search(name)


def worker_environment(
    extra: Mapping[str, str], home: Path, cache: Path, variables: tuple[str, ...] = ()
) -> dict[str, str]:
    """The variables of a worker: an allow-list of ours, no secrets, then the backend's `extra`.

    What the user's `variables` of its drivers begin with is on the list, too.

    Its own directory is its home and the place of its temporary files; `cache` is where it keeps
    what it builds.
    """
    kept = {name: value for name, value in os.environ.items() if reaches_workers(name, variables)}
    if "PYTHONPATH" in kept:  # the worker has another working directory
        kept["PYTHONPATH"] = os.pathsep.join(
            os.path.abspath(part) for part in kept["PYTHONPATH"].split(os.pathsep) if part
        )
    if site.ENABLE_USER_SITE:  # Python looks for the user's packages below HOME
        kept["PYTHONUSERBASE"] = site.getuserbase()
    own = {"HOME": str(home), "TMPDIR": str(home), "MKGEN_CACHE": str(cache)}
    return {**kept, **own, **extra}


def worker_command(backend: str, role: Role) -> list[str]:
    """What runs in a worker process."""
    # -P: a file in the working directory must not stand in for a module
    return [sys.executable, "-P", "-m", "mkgen.evaluate.worker", backend, role]


def storable(text: str) -> str:
    """`text` without what no file can hold: JSON can smuggle half a surrogate pair in."""
    return text.encode(errors="backslashreplace").decode()


class WorkerProcess:
    """A running worker, behind the keeper of its confinement. Not for several threads at once."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        scratch: Path,
        limits: WorkerLimits,
    ) -> None:
        """`command` starts the keeper; `scratch` holds everything the worker can write."""
        self.limits = limits
        self.scratch = scratch
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            cwd=scratch,
            start_new_session=True,
            bufsize=0,
        )
        assert self.process.stdin and self.process.stdout and self.process.stderr
        self._jobs = self.process.stdin.fileno()
        self._replies = self.process.stdout.fileno()
        for handle in (self._jobs, self._replies):
            os.set_blocking(handle, False)
        self._buffer = b""
        self._stderr = b""
        self._drain = threading.Thread(target=self._drain_stderr, daemon=True)
        self._drain.start()

    @property
    def group(self) -> int:
        """The keeper, and the process group that is its own."""
        return self.process.pid

    def alive(self) -> bool:
        """Whether the worker can take a job."""
        return self.process.poll() is None

    def call(self, job: dict[str, Any], timeout: float) -> Any:
        """The result of `job`. WorkerFailure when it fails; the worker is dead after a bad end."""
        nonce = secrets.token_hex(16)
        line = json.dumps({**job, "nonce": nonce}).encode() + b"\n"
        watch = _Watch(self, job["job"], timeout)
        try:
            self._send(line, watch)
            reply = self._receive(watch)
            watch.check_disk()
        except BaseException:
            self.kill()
            raise
        return self._judge(reply, nonce, job["job"])

    def processes(self) -> list[int]:
        """Everything below the keeper."""
        return processes_below(self.process.pid)

    def kill(self) -> None:
        """Ends the worker and everything it started; nothing of it is left on return."""
        if self.process.poll() is None:
            self.process.terminate()  # the keeper then ends all below it, and itself last
            try:
                self.process.wait(_ENDING_SECONDS)
            except subprocess.TimeoutExpired:
                left = processes_below(self.process.pid)
                for pid in (self.process.pid, *left):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                self.process.wait()
        # an escaped grandchild may hold the pipe open: do not wait for it for ever
        self._drain.join(timeout=1)
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()

    def last_words(self) -> str:
        """The last lines the worker printed."""
        lines = [s.strip() for s in self._stderr.decode(errors="replace").splitlines() if s.strip()]
        return " | ".join(lines[-5:])[-1000:]

    def _judge(self, reply: bytes, nonce: str, job: str) -> Any:
        try:
            message = json_value(reply)
            if message["nonce"] != nonce:
                raise ValueError("the reply answers another job")
            if "error" not in message:
                return message["result"]
            error = message["error"]
            told = WorkerFailure(
                Status(error["status"]),
                storable(str(error["message"])),
                storable(str(error["log"])),
            )
            if told.status is Status.PASS:
                raise ValueError("an error cannot be a pass")
        except (ValueError, KeyError, TypeError) as error:
            self.kill()
            raise WorkerFailure(
                Status.CRASHED, f"the worker broke its protocol in {job}: {error}"
            ) from error
        raise told

    def _send(self, line: bytes, watch: _Watch) -> None:
        view = memoryview(line)
        while view:
            if watch.wait(writing=True):
                try:
                    view = view[os.write(self._jobs, view) :]
                except BrokenPipeError:
                    raise self._died(watch) from None

    def _receive(self, watch: _Watch) -> bytes:
        while b"\n" not in self._buffer:
            if not watch.wait(writing=False):
                continue
            data = os.read(self._replies, 1 << 20)
            if not data:
                raise self._died(watch)
            self._buffer += data
            if len(self._buffer) > _MAX_REPLY_BYTES:
                raise WorkerFailure(Status.CRASHED, f"the worker's reply to {watch.job} never ends")
        line, _, self._buffer = self._buffer.partition(b"\n")
        if self._buffer:
            raise WorkerFailure(
                Status.CRASHED, f"the worker broke its protocol in {watch.job}: a second reply"
            )
        return line

    def _died(self, watch: _Watch) -> WorkerFailure:
        try:
            code = self.process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            return WorkerFailure(
                Status.CRASHED, f"the worker closed its channel in {watch.job}", self.last_words()
            )
        self._drain.join(timeout=1)
        words = self.last_words()
        said = f"; it said: {words}" if words else ""
        if code >= 0:
            text = f"the worker left with exit status {code} before it replied to {watch.job}{said}"
            return WorkerFailure(Status.CRASHED, text, words)
        name = signal.Signals(-code).name
        if name == "SIGXCPU":
            text = f"{watch.job} used more than {self.limits.cpu_seconds} s of CPU"
            return WorkerFailure(Status.TIMED_OUT, text, words)
        if name == "SIGXFSZ":
            text = f"{watch.job} wrote more than {self.limits.disk_bytes >> 20} MiB to a file"
            return WorkerFailure(Status.OVER_LIMIT, text, words)
        if "bad_alloc" in words or (name == "SIGKILL" and _oom_kills() > watch.oom_kills):
            text = f"out of memory in {watch.job} ({name}){said}"
            return WorkerFailure(Status.OUT_OF_MEMORY, text, words)
        return WorkerFailure(Status.CRASHED, f"killed by {name} in {watch.job}{said}", words)

    def _drain_stderr(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            while data := os.read(stream.fileno(), 1 << 16):
                self._stderr = (self._stderr + data)[-_KEPT_STDERR_BYTES:]


class _Watch:
    """The deadline and the limits of one job."""

    def __init__(self, worker: WorkerProcess, job: str, timeout: float) -> None:
        self.worker = worker
        self.job = job
        self.timeout = timeout
        self.deadline = time.monotonic() + timeout
        self.oom_kills = _oom_kills()
        self._disk = time.monotonic() + _DISK_SECONDS

    def wait(self, *, writing: bool) -> bool:
        """Waits a little for the channel. WorkerFailure when time or a limit is used up."""
        now = time.monotonic()
        left = self.deadline - now
        if left <= 0:
            words = self.worker.last_words()
            said = f"; it said: {words}" if words else ""
            raise WorkerFailure(
                Status.TIMED_OUT, f"{self.job} took more than {self.timeout:g} s{said}", words
            )
        self._judge(excess_of(self.worker.processes(), self.worker.limits))
        if now > self._disk:
            self.check_disk()
            ended = time.monotonic()  # to look at many files takes a while
            self._disk = ended + max(_DISK_SECONDS, 20 * (ended - now))
        waiting = [self.worker._jobs] if writing else [self.worker._replies]
        pause = min(left, _POLL_SECONDS)
        ready = (
            select.select([], waiting, [], pause)
            if writing
            else select.select(waiting, [], [], pause)
        )
        return any(ready)

    def check_disk(self) -> None:
        """WorkerFailure when the worker's directories hold too much."""
        self._judge(written_excess(self.worker.scratch, self.worker.limits))

    def _judge(self, excess: Excess | None) -> None:
        if excess is not None:
            status = Status.OUT_OF_MEMORY if excess.memory else Status.OVER_LIMIT
            raise WorkerFailure(status, f"{self.job} {excess.told}", self.worker.last_words())


def _oom_kills() -> int:
    """How often the kernel has killed for want of memory; 0 where it does not say."""
    try:
        text = Path("/proc/vmstat").read_text()
    except OSError:
        return 0
    match = re.search(r"^oom_kill (\d+)$", text, re.MULTILINE)
    return int(match[1]) if match else 0

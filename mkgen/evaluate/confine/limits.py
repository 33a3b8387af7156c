"""How much a worker may use, and how much it does."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")
_KIB = 1024


@dataclass(frozen=True)
class WorkerLimits:
    """What one worker, with everything it starts, may use. Time is limited job by job."""

    resident_bytes: int
    """Memory held by all its processes together."""
    processes: int = 100
    """At one time; threads do not count."""
    tasks: int = 8192
    """Processes and threads: a wall behind `processes` where the kernel has one."""
    disk_bytes: int = 4 << 30
    """In its own directories, all files together."""
    files: int = 20_000
    """In its own directories."""
    open_files: int = 4096
    cpu_seconds: int | None = None
    """Of one process."""
    data_bytes: int | None = None
    """RLIMIT_DATA: sanitizers and drivers reserve terabytes, compilers do not."""

    def of_process(self, layer: str) -> dict[str, int]:
        """What the kernel limits for each process, by the names of `resource`."""
        found = {
            "RLIMIT_CORE": 0,
            "RLIMIT_FSIZE": self.disk_bytes,
            "RLIMIT_NOFILE": self.open_files,
        }
        if self.cpu_seconds is not None:
            found["RLIMIT_CPU"] = self.cpu_seconds
        if self.data_bytes is not None:
            found["RLIMIT_DATA"] = self.data_bytes
        if layer == "namespaces":  # elsewhere other processes of the user count, too
            found["RLIMIT_NPROC"] = self.tasks
        return found


@dataclass(frozen=True)
class Excess:
    """What was used beyond a limit."""

    memory: bool
    """Whether it was memory."""
    told: str


def processes_below(pid: int) -> list[int]:
    """The processes that `pid` started, with theirs."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        children = list(_children(waiting.pop()))
        found += children
        waiting += children
    return found


def _children(pid: int) -> Iterator[int]:
    # any thread may have started one
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError):
                text = Path(f"/proc/{pid}/task/{task}/children").read_bytes()
                yield from (int(n) for n in text.split())


def excess_of(processes: list[int], limits: WorkerLimits) -> Excess | None:
    """What the worker's `processes` use too much of now."""
    if len(processes) > limits.processes:
        told = f"too many processes: {len(processes)}; {limits.processes} are allowed"
        return Excess(False, told)
    allowed = limits.resident_bytes
    # pages that several share count for each here, and once there, which takes the kernel longer
    if sum(map(_resident, processes)) > allowed and (held := sum(map(_share, processes))) > allowed:
        return Excess(True, f"held {held >> 20} MiB; {allowed >> 20} MiB are allowed")
    return None


def written_excess(directory: Path, limits: WorkerLimits) -> Excess | None:
    """What `directory` holds too much of."""
    used, files = 0, 0
    waiting = [str(directory)]
    while waiting:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                files += 1
                with contextlib.suppress(OSError):
                    used += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                if used > limits.disk_bytes:
                    return Excess(False, f"wrote more than {limits.disk_bytes >> 20} MiB")
                if files > limits.files:
                    return Excess(False, f"made more than {limits.files} files")
    return None


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0  # it has just ended


def _share(pid: int) -> int:
    """Memory of `pid`, where a page that n processes have counts 1/n."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * _KIB
    except OSError:
        pass  # it has just ended, or the kernel does not tell
    return _resident(pid)

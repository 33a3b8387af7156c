"""Nothing survives the death of the parent."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from evaluate_support import PROFILE, FakeBackend, install

from mkgen.evaluate.confine.limits import processes_below
from mkgen.evaluate.pool import Lease, Workers

PARENT = """
import sys, threading
from evaluate_support import FakeBackend, FakeCandidate
from mkgen.codegen.backend import Arch
from mkgen.evaluate.pool import Workers

FakeBackend.archs = {"one": Arch("one", "Fake One", 32, sys.argv[1])}
with Workers() as workers:
    def use():
        with workers.lease(FakeBackend(), "emulate") as lease:
            lease.call("limit", 20, address_space=None)
    thread = threading.Thread(target=use)  # a worker must outlive the thread that asked for it
    thread.start()
    thread.join()
    with workers.lease(FakeBackend(), "emulate") as lease:
        print(lease._process.group, workers._guard.pid, workers.directory, flush=True)
        program = FakeCandidate("hang-with-child").program
        from evaluate_support import TASK
        from mkgen.evaluate.jobs import Runner
        from mkgen.evaluate.inputs import draw
        workload = TASK.workloads()[1]
        runner = Runner(
            lease, workers.new_directory(), "fake-numpy", program(workload), None,
            draw(TASK, workload, 0),
        )
        runner.run("forward", 1000)
"""


def test_kill_9_of_the_parent_leaves_no_worker(tmp_path):
    install(tmp_path)
    profile = tmp_path / "fake1.toml"
    profile.write_text(PROFILE)
    here = Path(__file__).parent
    path = [str(here.parent), str(here), str(tmp_path), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in path if p)}
    command = [sys.executable, "-c", textwrap.dedent(PARENT), str(profile)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as parent:
        worker, guard, directory = parent.stdout.readline().split()
        deadline = time.monotonic() + 20
        while not any(map(_sleeps, processes_below(int(worker)))) and time.monotonic() < deadline:
            time.sleep(0.05)
        started = processes_below(int(worker))
        assert any(map(_sleeps, started)), "what the worker started"
        os.kill(parent.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        left = [pid for pid in started if Path(f"/proc/{pid}").exists()]
        left += _group(int(worker)) + _group(int(guard))
        if not left and not Path(os.fsdecode(directory)).exists():
            return
        time.sleep(0.05)
    raise AssertionError(f"left: {left}, {directory!r}")


def test_a_lease_ends_its_worker_once(tmp_path, monkeypatch):
    """The end of a run and the thread that holds the lease may both end its worker."""
    forgotten = []
    arrived, go_on = threading.Event(), threading.Event()

    class Slow:
        group = 7

        def kill(self):
            arrived.set()
            assert go_on.wait(10)

    with Workers() as workers:
        monkeypatch.setattr(workers, "forget", forgotten.append)
        lease = Lease(workers, FakeBackend(), "emulate")
        lease._process = Slow()
        with ThreadPoolExecutor() as threads:
            first = threads.submit(lease.discard)
            assert arrived.wait(10)
            lease.discard()
            go_on.set()
            first.result(10)
    assert forgotten == [7]


def _sleeps(pid: int) -> bool:
    """Whether `pid` is what the hanging candidate starts."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"sleep\0")
    return False


def _group(group: int) -> list[str]:
    """The living processes of a process group."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            state, _, of = stat.read_text().rpartition(")")[2].split()[:3]
            if int(of) == group and state != "Z":
                found.append(stat.parent.name)
    return found

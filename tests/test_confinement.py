"""What a hostile text tries from inside its worker fails, and would succeed without the defence."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluate_support import PROFILE, TASK, FakeBackend, FakeCandidate, install

from mkgen.codegen.backend import Arch
from mkgen.errors import ExecutionError, MissingError
from mkgen.evaluate import process
from mkgen.evaluate.arrays import load_arrays, save_arrays, take_file
from mkgen.evaluate.confine import layers
from mkgen.evaluate.confine.layers import Confinement
from mkgen.evaluate.confine.limits import WorkerLimits, processes_below
from mkgen.evaluate.inputs import draw
from mkgen.evaluate.jobs import Runner
from mkgen.evaluate.pool import Workers
from mkgen.evaluate.process import WorkerFailure
from mkgen.record import Status

SECRET = "sk-this-is-a-secret"
CONFINED = ("bubblewrap", "namespaces", "landlock")
#: Attempts that one defence beside the layer stops, which holds in every layer.
EVERYWHERE = ("key", "expected", "core")
WORKLOAD = TASK.workloads()[1]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Iterator[Path]:
    """The fake plug-in, importable here and in workers."""
    made = tmp_path_factory.mktemp("plugin")
    install(made)
    (made / "fake1.toml").write_text(PROFILE)
    here = Path(__file__).parent
    patch = pytest.MonkeyPatch()
    path = [str(here.parent), str(here), str(made), os.environ.get("PYTHONPATH", "")]
    patch.setenv("PYTHONPATH", os.pathsep.join(p for p in path if p))
    patch.setenv("OPENAI_API_KEY", SECRET)
    patch.setenv("MKGEN_CACHE", str(tmp_path_factory.mktemp("cache")))
    patch.syspath_prepend(str(made))
    patch.setattr(FakeBackend, "archs", {"one": Arch("one", "One", 32, str(made / "fake1.toml"))})
    yield made
    patch.undo()


class Off(Confinement):
    """No defence at all, not even the keeper."""

    def command(self, worker: Sequence[str], *_: object) -> list[str]:
        return list(worker)


def layer_of(name: str) -> Confinement:
    """Layer `name`, or a skip that says how to get it."""
    if name == "off":
        return Off("limits", False, ())
    try:
        return layers.only(name)  # type: ignore[arg-type]
    except MissingError as error:
        pytest.skip(str(error))


def workers_in(name: str, place: Path, **options: Any) -> Workers:
    workers = Workers(**({"resident_bytes": 600 << 20} | options))
    workers.confinement = layer_of(name)
    return workers


def run(workers: Workers, behaviour: str, *, fresh: bool = True, timeout: float = 30.0) -> Any:
    """What one run of `behaviour` gave, in a worker of its own."""
    with workers.lease(FakeBackend(), "emulate", fresh=fresh) as lease:
        runner = Runner(
            lease,
            workers.new_directory(),
            "fake-numpy",
            FakeCandidate(behaviour).program(WORKLOAD),
            None,
            draw(TASK, WORKLOAD, 0),
        )
        try:
            return runner.run("forward", timeout)
        finally:
            runner.close()


def told(outputs: dict[str, np.ndarray]) -> dict[str, str]:
    return json.loads(outputs["told"].tobytes())


@dataclass
class Seen:
    """What came of all attempts in one layer."""

    layer: str
    attempts: dict[str, str]
    targets: dict[str, Any]
    reached: dict[str, bool]
    """What the outside saw."""


@pytest.fixture(scope="module", params=[*CONFINED, "off"])
def seen(request, place, tmp_path_factory) -> Seen:
    """All attempts, made by one child; the parent listens and looks."""
    workers = workers_in(request.param, place, hidden=[place / "runs"])
    outside = tmp_path_factory.mktemp("outside")
    (place / "runs").mkdir(exist_ok=True)
    record = place / "runs/records.jsonl"
    record.write_text("a record\n")
    path = tempfile.mkdtemp(prefix="s")
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, path)
        canary = stack.enter_context(
            tempfile.NamedTemporaryFile("w", dir=Path.home(), prefix=".mkgen-test-")
        )
        canary.write("of the user")
        canary.flush()
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(("127.0.0.1", 0))
        udp.settimeout(0.2)
        names = f"mkgen-test-{os.getpid()}-{request.param}", f"{path}/socket"
        listening = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in names]
        for made, address in zip(listening, ("\0" + names[0], names[1]), strict=True):
            made.bind(address)
            made.listen()
        victim = stack.enter_context(victim_process())
        x = draw(TASK, WORKLOAD, 0)["x"]
        targets = {
            "secret": SECRET, "victim": victim.pid, "expected": (x.astype(float) * 2).tolist(),
            "canary": canary.name, "elsewhere": str(outside / "planted"),
            "cache": f"{os.environ['MKGEN_CACHE']}/planted", "site": str(place / "planted.pth"),
            "record": str(record), "port": tcp.getsockname()[1], "udp": udp.getsockname()[1],
            "abstract": names[0], "socket": names[1], "daemon": f"4242.{os.getpid()}",
        }  # fmt: skip
        # the run doubles after the attempts, so that the answer is not yet in its own memory
        with workers:
            outputs = run(workers, "escape " + json.dumps(targets))
        reached = {
            "elsewhere": Path(targets["elsewhere"]).exists(),
            "compile-cache": Path(targets["cache"]).exists(),
            "site-packages": Path(targets["site"]).exists(),
            "record": record.read_text() != "a record\n",
            "signal": not lives_on(victim),
            "udp": receives(udp),
            "daemon": bool(sleepers(targets["daemon"])),
        }
        for pid in sleepers(targets["daemon"]):
            os.kill(pid, signal.SIGKILL)
        for name in ("elsewhere", "cache", "site"):
            Path(targets[name]).unlink(missing_ok=True)
    return Seen(request.param, told(outputs), targets, reached)


@contextlib.contextmanager
def victim_process() -> Iterator[subprocess.Popen[bytes]]:
    """Another process of this user, that has the key, as the parent has."""
    environment = {**os.environ, "OPENAI_API_KEY": SECRET}
    with subprocess.Popen(["sleep", "600"], env=environment) as made:
        yield made
        made.kill()


def lives_on(victim: subprocess.Popen[bytes]) -> bool:
    with contextlib.suppress(subprocess.TimeoutExpired):
        victim.wait(0.2)
    return victim.returncode is None


def receives(udp: socket.socket) -> bool:
    with contextlib.suppress(TimeoutError):
        return udp.recv(10) == b"hello"
    return False


def sleepers(seconds: str) -> list[int]:
    """Processes of the whole machine that are `sleep SECONDS`."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if file.read_bytes() == f"sleep\0{seconds}\0".encode():
                found.append(int(file.parent.name))
    return found


OUTCOMES = (
    "key", "parents-environment", "parents-memory", "expected", "home", "elsewhere",
    "compile-cache", "site-packages", "record", "tcp", "udp", "abstract-socket", "file-socket",
    "ptrace", "signal", "namespace", "core", "device",
)  # fmt: skip


@pytest.mark.parametrize("attempt", OUTCOMES)
def test_an_attempt_fails_and_succeeds_without_its_defence(seen, attempt):
    got = seen.attempts[attempt]
    if seen.layer == "off" and attempt not in EVERYWHERE:
        assert not got.startswith("no: "), got
        assert seen.reached.get(attempt, True)
    else:
        # at its path there may be a directory of the child's own: the outside decides
        assert got.startswith("no: ") or attempt in seen.reached, got
        assert not seen.reached.get(attempt, False)


def test_a_daemon_does_not_outlive_its_worker(seen):
    assert seen.attempts["daemon"] == "started"
    assert seen.reached["daemon"] is (seen.layer == "off")


@pytest.mark.parametrize("fresh", [True, False])
def test_what_is_planted_meets_nobody(place, fresh):
    """A fresh child sees nothing of the one before; the next job of a warm one does."""
    with workers_in("namespaces", place) as workers:
        run(workers, "escape " + json.dumps({"daemon": "0", "canary": "/x"}), fresh=fresh)
        second = told(run(workers, "see-planted", fresh=fresh))
    assert ("torch.py" in second["files"]) is not fresh
    assert (second["python"] == "True") is not fresh


def test_the_key_would_be_there_without_the_allow_list(place, monkeypatch, tmp_path):
    assert SECRET not in process.worker_environment({}, tmp_path, tmp_path).values()
    monkeypatch.setattr(process, "_ALLOWED", re.compile(".*"))
    assert SECRET not in process.worker_environment({}, tmp_path, tmp_path).values()
    monkeypatch.setattr(process, "_SECRET", re.compile("(?!)"))
    assert SECRET in process.worker_environment({}, tmp_path, tmp_path).values()


@pytest.mark.parametrize("known", [False, True])
def test_a_forged_reply_is_a_crash(place, monkeypatch, known):
    """With a nonce that can be guessed it would count as the reply; outputs are read even then."""
    if known:
        monkeypatch.setattr(process.secrets, "token_hex", lambda n: "0" * 2 * n)
    with workers_in("namespaces", place) as workers, pytest.raises(WorkerFailure) as failure:
        run(workers, "forge")
    assert failure.value.status is Status.CRASHED
    assert ("another job" in failure.value.message) is not known
    assert ("cannot be read" in failure.value.message) is known


def test_a_reply_with_the_nonce_of_the_job_gains_nothing(place):
    with workers_in("namespaces", place) as workers, pytest.raises(WorkerFailure) as failure:
        run(workers, "forge-with-nonce")
    assert failure.value.status is Status.CRASHED


LIMITED = {
    "forks": (Status.OVER_LIMIT, "too many processes"),
    "writes": (Status.OVER_LIMIT, "wrote more than 64 MiB"),
    "one-file": (Status.OVER_LIMIT, "wrote more than 64 MiB"),
    "many-files": (Status.OVER_LIMIT, "made more than 1000 files"),
    "memory-of-children": (Status.OUT_OF_MEMORY, "400 MiB are allowed"),
}


@pytest.mark.parametrize(
    ("layer", "behaviour"),
    [*(("namespaces", b) for b in LIMITED), ("landlock", "forks"), ("bubblewrap", "forks")],
)
def test_going_over_a_limit_is_a_named_end_and_leaves_nothing(place, layer, behaviour):
    status, reason = LIMITED[behaviour]
    limits = WorkerLimits(400 << 20, processes=50, disk_bytes=64 << 20, files=1000)
    with workers_in(layer, place, limits=limits) as workers:
        with pytest.raises(WorkerFailure) as failure:
            run(workers, behaviour)
        assert failure.value.status is status, failure.value.message
        assert reason in failure.value.message
        assert not [p for p in processes_below(os.getpid()) if "worker" in command_of(p)]
        assert not list(workers.directory.rglob("*.bin"))
    assert not workers.directory.exists()


def command_of(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


def test_a_bubblewrap_that_is_not_there_is_told_with_its_remedy(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    layers._probe.cache_clear()
    layers.only.cache_clear()
    try:
        with pytest.raises(MissingError, match="bwrap is not on PATH.*apt install bubblewrap"):
            layers.only("bubblewrap")
    finally:
        layers._probe.cache_clear()
        layers.only.cache_clear()


def test_outputs_are_not_followed_out_of_their_directory(tmp_path):
    """Without the flag that refuses links, each of these reads what lies elsewhere."""
    array = {"y": np.arange(4, dtype=np.float32)}
    save_arrays(tmp_path / "secret", array)
    (tmp_path / "arrays").symlink_to("secret")
    assert np.fromfile(tmp_path / "arrays/0.bin", np.float32).size == 4
    with pytest.raises(ExecutionError):
        load_arrays(tmp_path / "arrays")
    save_arrays(tmp_path / "out", array)
    (tmp_path / "out/0.bin").unlink()
    (tmp_path / "out/0.bin").symlink_to("../secret/0.bin")
    assert np.fromfile(tmp_path / "out/0.bin", np.float32).size == 4
    with pytest.raises(ExecutionError):
        load_arrays(tmp_path / "out")


def test_more_than_was_asked_for_is_not_read(tmp_path):
    save_arrays(tmp_path, {"y": np.zeros(1 << 20)})
    assert load_arrays(tmp_path, 8 << 20)["y"].size == 1 << 20
    with pytest.raises(ExecutionError, match="more than"):
        load_arrays(tmp_path, (8 << 20) - 1)


def test_an_artifact_is_taken_from_its_directory_only(tmp_path):
    place, target = tmp_path / "place", tmp_path / "target"
    (place / "inner").mkdir(parents=True)
    target.mkdir()
    (place / "inner/out.bin").write_text("made")
    assert take_file(place / "inner/out.bin", place, target).read_text() == "made"
    (tmp_path / "key").write_text("secret")
    (place / "link").symlink_to("../key")
    (place / "way").symlink_to("..")
    for path in (tmp_path / "key", place / "../key", place / "link", place / "way/key"):
        assert path.read_text() == "secret"
        with pytest.raises((OSError, ValueError)):
            take_file(path, place, target)

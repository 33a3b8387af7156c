"""A backend that lives on numpy and misbehaves on demand, and what tests need around it."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import escape_support
import numpy as np

from mkgen.codegen.backend import Ability, Arch, Arrays, Backend, Executor, Loaded, Probe
from mkgen.codegen.plan import DialectPrinter
from mkgen.codegen.timer import Bracket, Timer, rolled
from mkgen.errors import (
    CompileError,
    ExecutionError,
    MissingError,
    SanitizerError,
    UnsupportedError,
    WrongArchError,
)
from mkgen.evaluate.oracle import Judge
from mkgen.evaluate.protocol import Settings
from mkgen.program import (
    Artifact,
    Buffer,
    BufferRole,
    Launch,
    PrecisionClass,
    Program,
    Resources,
    Simt,
    Source,
    Variant,
)
from mkgen.record import EvidenceKind, RanOn
from mkgen.target import Target
from mkgen.task import Task, Tensor, Workload

PROFILE = """
name = "fake1"
title = "Fake One"
vendor = "generic"
kind = "gpu"
archs = {fake = "one"}
[facts]
compute_units = {value = 4, unit = "units", source = "s"}
threads_per_block = {value = 1024, unit = "threads", source = "s"}
threads_per_unit = {value = 2048, unit = "threads", source = "s"}
sub_group_sizes = {value = [32], unit = "lanes", source = "s"}
registers_per_unit = {value = 65536, unit = "registers (32-bit)", source = "s"}
registers_per_thread = {value = 255, unit = "registers (32-bit)", source = "s"}
shared_bytes_per_block = {value = 49152, unit = "bytes", source = "s"}
shared_bytes_per_unit = {value = 65536, unit = "bytes", source = "s"}
memory_bytes = {value = 1000000, unit = "bytes", source = "s"}
memory_bandwidth = {value = 1.0, unit = "B/s", source = "s"}
last_level_cache_bytes = {value = 1, unit = "bytes", source = "s"}
clock_hz = {value = 1, unit = "Hz", source = "s"}
peak_float32 = {value = 1, unit = "FLOP/s", source = "s"}
[sources.s]
title = "made up for tests"
"""


def as_bytes(told: dict[str, str]) -> np.ndarray:
    """`told` as an output array."""
    return np.frombuffer(json.dumps(told).encode(), np.uint8)


class FakeLoaded(Loaded):
    """Doubles its input, or does what the behaviour says."""

    def __init__(self, behaviour: str, directory: Path) -> None:
        self.behaviour = behaviour
        self.runs = 0
        self.directory = directory
        assert directory.is_dir()

    def run(self, inputs: Arrays, schedule: str = "") -> dict[str, np.ndarray]:
        x = inputs["x"]
        self.runs += 1
        y = x * 2
        match self.behaviour:
            case "abort":
                print("the fake kernel aborts", file=sys.stderr, flush=True)
                os.abort()
            case "hang-with-child":
                subprocess.Popen(["sleep", "1000"])
                time.sleep(1000)
            case "hang":
                time.sleep(1000)
            case "exit":
                os._exit(0)
            case "sys-exit":
                sys.exit(3)
            case "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            case "wrong":
                y.flat[3] += 1
            case "nan":
                y.flat[-1] = np.nan
            case "dtype":
                y = y.astype(np.float64)
            case "shape":
                y = y[:-1]
            case "missing":
                return {}
            case "raise":
                raise ExecutionError("the fake runtime reports a fault")
            case "value-error":
                raise ValueError("not what was asked")
            case "memory":
                hoard = []
                while True:
                    hoard.append(np.ones(8 << 20))
                    time.sleep(0.01)
            case "print":
                print('{"nonce": "forged", "result": null}', flush=True)
                os.write(1, b"rubbish\n" * 1000)
                os.write(2, b"rubbish\n" * 1000)
            case "reads-stdin":
                assert sys.stdin.read() == ""
            case "random":
                if self.runs % 2:
                    y = np.nextafter(y, np.float32(np.inf))
            case "second-order" if schedule == "reversed":
                y = y * 0
            case "heldout" if x.size in (35, 36):
                y = y * 0
        if self.behaviour.startswith("escape "):
            told = escape_support.attempt_all(json.loads(self.behaviour.removeprefix("escape ")))
            return {"y": y, "told": as_bytes(told)}
        if self.behaviour == "see-planted":
            return {"y": y, "told": as_bytes(escape_support.see_planted())}
        self.use_up(y)
        return {"y": y}

    def use_up(self, y: np.ndarray) -> None:
        """Behaviours that reach for more than they should."""
        match self.behaviour:
            case "forks":
                for _ in range(400):
                    if os.fork() == 0:
                        os.execvp("sleep", ["sleep", "1000"])
                time.sleep(1000)
            case "writes":
                for number in range(100):
                    (self.directory / f"{number}.bin").write_bytes(bytes(8 << 20))
                    time.sleep(0.01)
            case "one-file":
                with (self.directory / "large.bin").open("wb") as file:
                    while True:
                        file.write(bytes(8 << 20))
            case "many-files":
                for number in range(2000):
                    (self.directory / str(number)).touch()
                time.sleep(1000)
            case "memory-of-children":
                for _ in range(4):
                    if os.fork() == 0:
                        hoard = np.ones(16 << 20)
                        time.sleep(1000 + hoard[0])
                time.sleep(1000)
            case "forge":
                escape_support.forge("0" * 32)
            case "forge-with-nonce":
                escape_support.forge(escape_support.nonce_of_this_job())

    def timer(self, inputs: Arrays, flush_bytes: int = 0, *, rolls: bool = False) -> Timer:
        return FakeTimer(self, inputs, rolls)


#: What the fake device takes for a call, by its events.
DEVICE_SECONDS = 1e-3


class FakeTimer(Timer):
    """A device with exact clocks, or with those that the behaviour has made of them."""

    def __init__(self, loaded: FakeLoaded, inputs: Arrays, rolls: bool) -> None:
        self.loaded = loaded
        self.inputs = dict(inputs)
        self.rolls = ("x",) if rolls else ()
        self.calls = 0
        self.memory: dict[str, np.ndarray] = {}

    def call(self, shift: int) -> None:
        self.calls += 1
        given = rolled(self.inputs, self.rolls, shift)
        made = self.loaded.run(given)
        match self.loaded.behaviour:
            case "cached":  # by address, which never changes
                made = self.memory or made
                self.memory = made
            case "lazy-after-three" if self.calls > 3:
                made = {"y": np.full_like(made["y"], np.nan)}
            case "lazy-by-events" if self.by_events:
                made = {"y": np.full_like(made["y"], np.nan)}
            case "late-thread":
                threading.Timer(0.05, self.finish, (made["y"].copy(),)).start()
                made = {"y": np.full_like(made["y"], np.nan)}
            case "own-clock" | "side-stream" | "late-stream" | "inside-the-call":
                time.sleep(0.08)
        self.last = made
        time.sleep(2 * DEVICE_SECONDS)

    def finish(self, y: np.ndarray) -> None:
        """The right answer, when the call is over: what was copied aside stays as it was."""
        self.late = y

    def queued(self, shift: int = 0) -> float:
        self.by_events = True
        self.call(shift)
        return 100.0 if self.loaded.behaviour == "slow-clock" else DEVICE_SECONDS

    def bracketed(self, shift: int = 0) -> Bracket:
        self.by_events = False
        self.call(shift)
        match self.loaded.behaviour:
            case "side-stream":  # the call returns at once; the device is at work for long
                return Bracket(0.02, 1e-5, 1e-5)
            case "inside-the-call":  # it waits itself for what its own stream does
                return Bracket(0.01, 0.0099, 1e-5)
            case "late-stream":  # not even a wait for the device sees it; copying the outputs does
                return Bracket(1.1 * DEVICE_SECONDS, 1e-5, 0.02)
        return Bracket(1.1 * DEVICE_SECONDS, 1e-5, 1e-5)

    def outputs(self) -> dict[str, np.ndarray]:
        return self.last

    def kernels(self) -> tuple[str, ...]:
        if self.loaded.behaviour == "library":
            return ("void at::native::vectorized_elementwise_kernel<4>", "Memcpy DtoD")
        return ("kernel",)

    def close(self) -> None:
        self.inputs = {}


class FakeExecutor(Executor):
    """Runs the behaviour that the program's parameters name."""

    name = "fake-numpy"
    kind = EvidenceKind.EMULATED
    role = "emulate"
    needs_artifact = False
    cannot_see = ("memory ordering",)
    schedules = ("forward", "reversed")

    def reads(self, program: Program) -> bool:
        return True

    def accepts(self, program: Program) -> str | None:
        refuses = program.variant.parameters["behaviour"] == "unaccepted"
        return "the fake does not like it" if refuses else None

    def ran_on(self) -> RanOn:
        return RanOn(vendor="generic", arch="x86-64", name="a fake CPU")

    def compiler(self) -> tuple[str, str]:
        return "fakec 1.0", "0" * 64

    def load(self, program: Program, artifact: Artifact | None, directory: Path) -> Loaded:
        assert (artifact is not None) == self.needs_artifact
        return FakeLoaded(str(program.variant.parameters["behaviour"]), directory)


class FakeSanitizer(FakeExecutor):
    """Finds a race where the behaviour is one; the numbers are right."""

    name = "fake-sanitizer"
    kind = EvidenceKind.SANITIZED
    cannot_see = ("what it does not look for",)
    schedules = ("",)

    def load(self, program: Program, artifact: Artifact | None, directory: Path) -> Loaded:
        loaded = super().load(program, artifact, directory)
        if program.variant.parameters["behaviour"] == "race":
            loaded.run = self.find  # type: ignore[method-assign]
        return loaded

    def find(self, inputs: Arrays, schedule: str = "") -> dict[str, np.ndarray]:
        raise SanitizerError("k.py line 1: race: two threads")


class FakeDevice(FakeExecutor):
    """The same as a device."""

    name = "fake-device"
    kind = EvidenceKind.DEVICE
    role = "device"
    needs_artifact = True
    cannot_see = ()
    schedules = ("",)

    def ran_on(self) -> RanOn:
        return RanOn(vendor="generic", arch="one", name="a Fake One")

    def last_level_cache(self) -> int:
        return 1 << 20

    def probe_copies(self, size: int, flush_bytes: int, repeats: int) -> list[float]:
        """The cache is as large as the driver says, or as large as the variable does."""
        real = int(os.environ.get("MKGEN_FAKE_CACHE", str(1 << 20)))
        return [1e-3 if flush_bytes >= 2 * real else 5e-4] * repeats


class FakeBackend(Backend):
    """What a vendor would provide."""

    name = "fake"
    title = "Fake"
    dialect = "fake"
    language = "python"
    extension = ".py"
    extra = "fake"
    archs = {"one": Arch("one", "Fake One", 32, str(Path(__file__).with_name("fake1.toml")))}
    default_arch = "one"
    grid_limit = (1000, 1000, 1000)
    dtypes = frozenset({"float32"})
    variables = ("CUDA_",)

    def printer(self, arch: str) -> DialectPrinter:
        raise UnsupportedError("the fake backend's programs are written by hand")

    def probe(self) -> Probe:
        fine = Ability(ok=True)
        return Probe(fine, fine, fine, fine)

    def compiler_identity(self) -> str:
        if os.environ.get("MKGEN_FAKE_MISSING"):
            raise MissingError("no fakec; install it")
        return "fakec 1.0"

    def compile(self, program: Program, directory: Path) -> Artifact:
        behaviour = program.variant.parameters["behaviour"]
        print("a chatty compiler", flush=True)
        match behaviour:
            case "compile-error":
                raise CompileError("line 3: no such thing", log="a\nlong\nlog")
            case "wrong-arch":
                raise WrongArchError("holds code for two")
            case "compile-abort":
                os.abort()
            case "compile-hang":
                time.sleep(1000)
            case "compile-bug":
                raise RuntimeError("surprise")
        path = directory / "out.bin"
        path.write_text(program.sources[0].text)
        (directory.parent / "compiled").open("a").write("x")
        sha = hashlib.sha256(path.read_bytes()).hexdigest()
        return Artifact(
            arch="one",
            format="shared-object",
            path=str(path),
            sha="f" * 64 if behaviour == "liar" else sha,
            resources={
                "kernel": Resources(
                    registers=128 if behaviour == "registers" else 16,
                    shared_bytes=50000 if behaviour == "shared" else 0,
                    spilled_registers=3,
                )
            },
            compiler="fakec 1.0",
            compiler_sha="0" * 64,
            command="fakec",
            checked="it says one",
            seconds=0.0,
        )

    def executors(self) -> tuple[Executor, ...]:
        return (FakeExecutor(), FakeSanitizer(), FakeDevice())


class BrokenBackend:
    """Not a backend."""


def double(x):  # type: ignore[no-untyped-def]
    return x * 2


TASK = Task(
    name="double",
    category="math",
    reference=double,
    inputs={"x": Tensor("N")},
    bench={"N": 4096},
    check=({"N": 33}, {"N": 34}),
    heldout=({"N": 35}, {"N": 36}),
    source="double",
)


def pointwise_scales(task: Task, workload: Workload, inputs: dict) -> list:
    return [(np.abs(inputs["x"].astype(np.float64)) * 2, 64.0)]


@dataclass
class FakeCandidate:
    """A candidate with the behaviour of its name."""

    behaviour: str = "right"
    task: Task = TASK
    origin: str = "template"
    target: Target = Target(backend="fake", arch="one")
    precision: PrecisionClass = PrecisionClass.STRICT
    backend: Backend = FakeBackend()

    def program(self, workload: Workload) -> Program:
        if self.behaviour == "unsupported":
            raise UnsupportedError("op fake.thing has no lowering (task.py, line 3)")
        if self.behaviour == "unsupported-small" and workload.role != "bench":
            raise UnsupportedError("too small")
        n = workload.sizes["N"]
        said = workload.role if self.behaviour == "two-texts" else self.behaviour
        text = f"BODY = {said!r}\n"
        threads = 2048 if self.behaviour == "threads" else 1024
        return Program(
            task=self.task.name,
            task_hash=self.task.hash,
            workload=workload.name,
            target=self.target,
            sources=(
                Source(name="k.py", language="python", head="#\n", sizes=f"N={n}\n", body=text),
            ),
            buffers=(
                Buffer(name="x", dtype="float32", shape=(n,), role=BufferRole.INPUT),
                Buffer(name="y", dtype="float32", shape=(n,), role=BufferRole.OUTPUT),
            ),
            steps=(
                Launch(
                    source="k.py",
                    entry="kernel",
                    args=("x", "y"),
                    reads=("x",),
                    writes=("y",),
                    configuration=Simt(
                        grid=(2000 if self.behaviour == "grid" else 4, 1, 1), block=(threads, 1, 1)
                    ),
                ),
            ),
            variant=Variant(
                templates=("fake",), parameters={"behaviour": self.behaviour}, index_bits=32
            ),
            launcher="double",
            constants={"N": n},
            requirements=(
                ("two rounds", True),
                ("a tail", self.behaviour != "no-tail" and n % 2 == 1 and n < 4096),
            ),
        )


def install(directory: Path) -> None:
    """Makes `directory` a place from which Python finds the fake plug-in, and a broken one."""
    (directory / "fake_plugin.py").write_text("from evaluate_support import *\n")
    (directory / "broken_plugin.py").write_text("raise RuntimeError('driver too old')\n")
    info = directory / "fake_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[mkgen.backends]\nfake = evaluate_support:FakeBackend\nbroken = broken_plugin:Backend\n"
        "strange = evaluate_support:BrokenBackend\n"
    )


def make_judge(**settings: int) -> Judge:
    return Judge(pointwise_scales, **settings)


def make_settings(**changes: object) -> Settings:
    chosen: dict = {"judge": make_judge(), "run_timeout": 20.0, "compile_timeout": 20.0}
    return Settings(**(chosen | changes))

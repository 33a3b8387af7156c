"""The backend protocol: what a vendor's plug-in gives the engine.

Found by the entry point `mkgen.backends`.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from mkgen.codegen.package import PackageParts, PackagePlan
from mkgen.codegen.plan import DialectPrinter
from mkgen.codegen.timer import Timer
from mkgen.errors import ExecutionError, UnsupportedError
from mkgen.program import Artifact, PrecisionClass, Program
from mkgen.record import EvidenceKind, RanOn

Role = Literal["compile", "emulate", "device", "baseline"]
Trait = Literal["shared", "fed", "vector", "matrix", "row", "tile", "split", "call"]
"""What words of a text show: memory that a block shares; memory that is filled asynchronously or
by blocks; vector and matrix arithmetic; threads of a block that combine values; blocks of two
dimensions; results that blocks combine; a kernel that the text itself starts."""
Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Arch:
    """One arch of a backend."""

    name: str
    """`gfx942`."""
    title: str
    """`CDNA 3 (MI300X)`."""
    sub_group: int
    """Lanes of a warp, wave or sub-group."""
    profile: str
    """The hardware profile used when the target names no device."""
    device: str = ""
    """What a device of this arch calls itself, where that is another name: `sm_90` of `sm_90a`."""
    proxy: bool = False
    """Whether it stands in for another vendor's: what runs there is never evidence of a device."""


@dataclass(frozen=True)
class Ability:
    """Whether one of generate, compile, execute, measure works here."""

    ok: bool
    found: str = ""
    """What does it, with version: `clang 22.1.8 in ziglang 0.17.0`."""
    tried: tuple[str, ...] = ()
    """Every place looked at, in order."""
    reason: str = ""
    """Why not."""
    remedy: str = ""
    """The one command that would enable it."""


def ability(check: Callable[[], Ability], remedy: str) -> Ability:
    """What `check` finds. A broken installation is a finding, not a crash, and has the `remedy`."""
    try:
        return check()
    except Exception as error:
        return Ability(False, reason=f"{type(error).__name__}: {error}", remedy=remedy)


@dataclass(frozen=True)
class Probe:
    """What `mkgen doctor` shows of a backend."""

    generate: Ability
    compile: Ability
    execute: Ability
    """On a CPU, without the device."""
    measure: Ability
    """On a device."""


#: Bytes written between timed runs, as a multiple of the last-level cache.
FLUSH_FACTOR = 3


class Loaded(ABC):
    """A program ready to run in this process."""

    cache_bytes = 0
    """The last-level cache by the profile of the program's device; 0 where none says."""

    @abstractmethod
    def run(self, inputs: Arrays, schedule: str = "") -> dict[str, np.ndarray]:
        """Runs every step once on fresh copies of `inputs` (by buffer name; C-contiguous).

        Outputs are poisoned before the run (NaN, or the dtype's lowest integer) and returned by
        buffer name; mutated STATE buffers too. `schedule` is one of the executor's schedules.
        Until `rest`, buffers keep their addresses from run to run of one schedule, so that what a
        kernel remembers by address is stale. Raises InputChangedError
        when an input is not as it was, ExecutionError when the runtime reports a fault.
        """

    def timer(self, inputs: Arrays, flush_bytes: int = 0, *, rolls: bool = False) -> Timer:
        """The program with `inputs` on the device, ready to be timed call by call.

        `flush_bytes` are written before each call; 0: as many as `flush_bytes()` says. `rolls`:
        calls will shift their inputs, which takes memory for a second copy.
        """
        raise ExecutionError("this executor does not measure")

    def time(self, inputs: Arrays, samples: int) -> list[float]:
        """Seconds of `samples` calls on the device, by device events; cache flushed between."""
        timer = self.timer(inputs)
        try:
            timer.warm()
            return [timer.queued() for _ in range(samples)]
        finally:
            timer.close()

    def ran_other(self) -> str:
        """Why what `run` ran last is not the artifact's code; empty where it is, or there is none.

        Of an executor whose toolchain compiles the text again: then nothing is seen of the device.
        """
        return ""

    def flush_bytes(self, reported: int = 0) -> int:
        """Bytes to write before a timed run; `reported`: the cache's size by the driver.

        The larger figure counts: drivers report the L2, and some devices have a cache behind it.
        """
        return max(FLUSH_FACTOR * max(self.cache_bytes, reported), 1 << 20)

    def rest(self) -> None:  # noqa: B027  (most keep nothing)
        """Frees the buffers that `run` keeps: another program is going to run."""

    def close(self) -> None:  # noqa: B027  (most have nothing to free)
        """Frees what `load` took."""


class Executor(ABC):
    """Runs programs in the worker process it lives in, and says what it cannot see."""

    name: ClassVar[str]
    kind: ClassVar[EvidenceKind]
    """EMULATED, SANITIZED, PROXY or DEVICE. A SANITIZED one finds what it looks for by raising
    SanitizerError from `Loaded.run`."""
    role: ClassVar[Role]
    """The worker it runs in: `emulate` or `device`."""
    needs_artifact: ClassVar[bool]
    """Whether it executes the compiled artifact (else the source text)."""
    cannot_see: ClassVar[tuple[str, ...]]
    schedules: ClassVar[tuple[str, ...]] = ("",)
    """Thread orders that must all give the right result."""

    def reads(self, program: Program) -> bool:
        """Whether it is made for such programs at all: most are not for files with a ModelNew."""
        return (program.sources[-1].language, program.launcher) != ("python", "ModelNew")

    def orders(self, program: Program) -> tuple[str, ...]:
        """Those of `schedules` that may differ for `program`; the first is always among them."""
        return self.schedules

    @abstractmethod
    def accepts(self, program: Program) -> str | None:
        """None when it can run `program` here and now, else why not, with the remedy."""

    @abstractmethod
    def ran_on(self) -> RanOn:
        """The machine this executor runs on."""

    @abstractmethod
    def compiler(self) -> tuple[str, str]:
        """Name with version, and binary hash, of what turns the text into what runs."""

    @abstractmethod
    def load(self, program: Program, artifact: Artifact | None, directory: Path) -> Loaded:
        """Makes `program` ready; scratch files go to `directory`. CompileError, ExecutionError."""

    def last_level_cache(self) -> int:
        """Bytes of the device's last-level cache as its driver tells; 0 where it does not."""
        return 0

    def probe_copies(self, size: int, flush_bytes: int, repeats: int) -> list[float]:
        """Device seconds of `repeats` copies of `size` bytes, each right after one of the same.

        `flush_bytes` are written between the two as before a timed call; 0: nothing. No program
        is loaded. Empty where the executor has no way to see it.
        """
        return []

    def clock_command(self) -> tuple[str, ...]:
        """A command that prints the device's clock in MHz, line by line, until it is ended.

        Run by the parent during timing; empty where the driver brings none.
        """
        return ()


@dataclass(frozen=True)
class Limitation:
    """A dtype that a backend, or some of its archs, does not have or holds in another one."""

    dtypes: tuple[str, ...]
    reason: str
    """Why, as the end of a sentence: `JAX rounds float64 to float32`."""
    refused: bool = True
    """Whether a task with it is refused; else `reason` says what it is held in."""
    archs: tuple[str, ...] = ()
    """Only these; empty means every arch."""


@dataclass(frozen=True)
class Limits:
    """What a target allows, from its profile; compilers accept more than devices do."""

    threads_per_block: int
    shared_bytes: int
    static_shared_bytes: int
    """Of these, what may be static: more only at launch, where the device makes a difference."""
    registers_per_thread: int | None = None
    grid: tuple[int, int, int] = (2**31 - 1, 65535, 65535)


@dataclass(frozen=True)
class Library:
    """A library that computes what a kernel should, as texts and profilers name what is its."""

    name: str
    """`cuDNN`, for people."""
    words: tuple[str, ...] = ()
    """What identifiers of it begin with in a text, in small letters."""
    namespaces: tuple[str, ...] = ()
    """Its namespaces in C++."""
    kernels: tuple[str, ...] = ()
    """What names of its kernels begin with, after `void ` and template qualifiers."""


class Backend(ABC):
    """One vendor's way to compile and run programs. Capabilities are data on the class."""

    name: ClassVar[str]
    title: ClassVar[str]
    """`ROCm/HIP`."""
    dialect: ClassVar[str]
    """Template directory and printer: `c`, `triton`, `pallas`."""
    language: ClassVar[str]
    """The `Source.language` its kernels are written in."""
    extension: ClassVar[str]
    """Of the kernel source file: `.hip`."""
    extra: ClassVar[str]
    """The pip extra that installs what it needs."""
    archs: ClassVar[Mapping[str, Arch]]
    default_arch: ClassVar[str]
    grid_limit: ClassVar[tuple[int, int, int]]
    dtypes: ClassVar[frozenset[str]]
    """What its programs may hold; a task with another is refused."""
    limitations: ClassVar[tuple[Limitation, ...]] = ()
    """Why a dtype is not among `dtypes`, or what becomes of one that is."""
    flags: ClassVar[Mapping[PrecisionClass, tuple[str, ...]]] = {}
    """Compiler options by precision class; never one that loosens arithmetic in `strict`."""
    runs_modules: ClassVar[bool] = False
    """Whether it runs files that define ModelNew (mkgen.codegen.torch_module)."""
    headers: ClassVar[frozenset[str]] = frozenset()
    """Headers that a foreign text may include beside those of C and C++."""
    libraries: ClassVar[tuple[Library, ...]] = ()
    """Of its devices' vendors: a foreign text may not call them instead of a kernel of its own."""
    marks: ClassVar[tuple[str, ...]] = ()
    """Words that tell its language from any other text: of a string that is compiled."""
    variables: ClassVar[tuple[str, ...]] = ()
    """What names of the user's variables begin with that its toolchains and drivers read."""
    traits: ClassVar[Mapping[Trait, str]] = {}
    """By what words a text shows how it works: regular expressions over its code, comments left
    out. What is not named cannot be said in this language, or nothing shows it."""
    compilers: ClassVar[tuple[str, ...]] = ()
    """Kinds of binary that `--toolchain` may name: `("hipcc", "clang")`; none: it has no choice.

    `mkgen.codegen.external.chosen_compiler(name)` says which; `compile` uses it and no other, and
    `compiler_identity` holds its bytes.
    """

    devices: ClassVar[tuple[str, ...]] = ()
    """Patterns of the device files, and of drivers' sockets, that workers need to reach a device:
    `("/dev/dri/*",)`. They have a /dev of their own."""

    @abstractmethod
    def printer(self, arch: str) -> DialectPrinter:
        """A new printer of this backend's dialect for `arch`; needs nothing installed."""

    @abstractmethod
    def probe(self) -> Probe:
        """What works on this machine. Never raises; imports nothing heavy, starts no driver."""

    def environment(self, role: Role) -> dict[str, str]:
        """Variables set in a worker of `role` before it imports anything."""
        return {}

    def guide(self) -> str:
        """How its native form is written: the `guide.md` beside the plug-in, for prompts.

        What a person who knows another dialect gets wrong; empty where there is none.
        """
        file = Path(inspect.getfile(type(self))).with_name("guide.md")
        return file.read_text("utf-8") if file.is_file() else ""

    @abstractmethod
    def compiler_identity(self) -> str:
        """Version and binary hash of what `compile` uses, for cache keys. MissingError if none."""

    @abstractmethod
    def compile(self, program: Program, directory: Path) -> Artifact:
        """Compiles `program` for its target's arch into `directory`, in a `compile` worker.

        Raises MissingError (no toolchain), CompileError (refused), WrongArchError.
        """

    @abstractmethod
    def executors(self) -> tuple[Executor, ...]:
        """Every executor, in any role; made without importing drivers."""

    def package(self, plan: PackagePlan) -> PackageParts:
        """The vendor's part of a package: model.py, build.sh, a header where there is one.

        Needs nothing installed. What it returns must depend on `plan` alone, name no path of this
        machine, and need the vendor's own libraries and PyTorch only. model.py defines `ModelNew`,
        `DEVICE` and `missing()` (mkgen.package.model_file makes it from a vendor's call).
        UnsupportedError when the program cannot be called from PyTorch.
        """
        raise UnsupportedError(f"the {self.name} backend writes no packages (no `package` method)")


@dataclass
class Found:
    """Result of a search for a tool: where it is, or every place that was tried."""

    path: Path | None
    tried: list[str] = field(default_factory=list)

"""SIMT-on-host: an executor that runs the shipped CUDA or HIP text, launcher included, on a CPU."""

from __future__ import annotations

import _ctypes
import ctypes
import platform
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np

from mkgen.codegen.backend import Arrays, Executor, Loaded, Role
from mkgen.errors import ExecutionError, MissingError, nearest
from mkgen.fence import FENCED
from mkgen.program import Artifact, Program, Simt
from mkgen.record import EvidenceKind, RanOn
from mkgen_simt.build import Compiler, Language, binary_hash, build, defines, find_compiler
from mkgen_simt.memory import Memory

ORDERS = {"forward": 0, "reverse": 1, "random": 2, "warps": 3, FENCED: 0}

#: Dynamic shared memory a block can have: the opt-in maximum of sm_90 (CUDA programming guide,
#: table of compute capabilities), the LDS of a CDNA 3 or RDNA workgroup.
SHARED_LIMIT = {"cuda": 232448, "hip": 65536}


def default_lanes(program: Program) -> int:
    """Lanes of a warp or wave: what the launches rely on, else what the arch has."""
    stated = {
        launch.configuration.sub_group
        for launch in program.launches
        if isinstance(launch.configuration, Simt) and launch.configuration.sub_group is not None
    }
    if len(stated) > 1:
        raise ExecutionError(
            f"the launches of {program.task!r} rely on sub-groups of {sorted(stated)}; one text is "
            "built for one width"
        )
    if stated:
        return stated.pop()
    # GCN and CDNA (gfx9…) run waves of 64; RDNA and NVIDIA 32.
    return 64 if program.target.arch.startswith("gfx9") else 32


class _LaunchInfo(ctypes.Structure):
    _fields_ = (
        ("kernel", ctypes.c_char * 96),
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared", ctypes.c_uint64),
    )


class SimtExecutor(Executor):
    """What runs CUDA or HIP programs on one CPU thread, a fiber for each GPU thread."""

    role: ClassVar[Role] = "emulate"
    needs_artifact: ClassVar[bool] = False

    def __init__(
        self,
        language: Language,
        lanes: Callable[[Program], int] = default_lanes,
        shared_limit: Callable[[Program], int] | None = None,
        seed: int = 0,
    ) -> None:
        """`lanes` and `shared_limit` (bytes of dynamic shared memory per block) tell what the
        program's target has; `seed` fixes the order `random`.
        """
        self.language: Language = language
        self.lanes = lanes
        self.shared_limit = shared_limit or (lambda program: SHARED_LIMIT[language])
        self.seed = seed

    def host_compiler(self) -> Compiler:
        """What builds the text. MissingError without one."""
        return find_compiler()

    def accepts(self, program: Program) -> str | None:
        """None, or why the program cannot run here."""
        if program.sources[-1].language != self.language:
            return (
                f"SIMT-on-host for {self.language} cannot run {program.sources[-1].language} text"
            )
        if len(program.sources) != 1:
            return f"a {self.language} program has one source, this one has {len(program.sources)}"
        try:
            lanes = self.lanes(program)
            self.host_compiler()
        except (ExecutionError, MissingError) as error:
            return str(error)
        if lanes not in (32, 64):
            return f"SIMT-on-host has warps of 32 or 64 lanes, the program relies on {lanes}"
        return None

    def ran_on(self) -> RanOn:
        """This CPU."""
        cpuinfo = Path("/proc/cpuinfo")
        lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
        facts = {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
        return RanOn(
            vendor=facts.get("vendor_id", "cpu"),
            arch=platform.machine(),
            name=facts.get("model name") or platform.processor() or platform.machine(),
        )

    def compiler(self) -> tuple[str, str]:
        """The host compiler and its hash. MissingError without one."""
        found = self.host_compiler()
        return found.title, binary_hash(found.binary)


class SimtHostExecutor(SimtExecutor):
    """Runs the text in several thread orders."""

    name: ClassVar[str] = "simt-host"
    kind: ClassVar[EvidenceKind] = EvidenceKind.EMULATED
    cannot_see: ClassVar[tuple[str, ...]] = (
        "target code generation", "cross-block races", "memory ordering", "full size", "speed",
    )  # fmt: skip
    schedules: ClassVar[tuple[str, ...]] = tuple(ORDERS)

    def load(self, program: Program, artifact: Artifact | None, directory: Path) -> SimtProgram:
        """Builds the text for this CPU (about a second; cached) and loads it."""
        if reason := self.accepts(program):
            raise ExecutionError(reason)
        options = defines(self.language, self.lanes(program), self.shared_limit(program))
        return SimtProgram(
            program, build(program.sources[-1], program.launcher, options), self.seed
        )


class SimtProgram(Loaded):
    """A text built for this CPU, in this process: a fault in it can end the process."""

    def __init__(self, program: Program, library: Path, seed: int) -> None:
        """Loads `library`, the built text of `program`. ExecutionError when it cannot be."""
        self._program = program
        self._seed = seed
        self._memories: dict[bool, Memory] = {}
        """By whether it is fenced; kept, so that a run finds other values at known addresses."""
        # The kernel's object names no libraries; libm is not in every Python's global scope.
        ctypes.CDLL(
            "libm.so.6" if platform.libc_ver()[0] == "glibc" else None, mode=ctypes.RTLD_GLOBAL
        )
        try:
            self._library: ctypes.CDLL | None = ctypes.CDLL(str(library))
        except OSError as error:
            raise ExecutionError(
                f"{program.sources[-1].name} calls something SIMT-on-host does not have: {error}"
            ) from error
        self._library.mkgen_simt_error.restype = ctypes.c_char_p
        self._library.mkgen_simt_configure.argtypes = (ctypes.c_int, ctypes.c_uint64)

    def run(self, inputs: Arrays, schedule: str = "") -> dict[str, np.ndarray]:
        """Runs the launcher once; ExecutionError names what the runtime or the guards saw."""
        if self._library is None:
            raise ExecutionError("the program is closed; load it again")
        order = ORDERS.get(schedule or "forward")
        if order is None:
            raise ExecutionError(f"no thread order {schedule!r}.{nearest(schedule, ORDERS)}")
        memory = self._memory(inputs, fenced=schedule == FENCED)
        addresses = [*memory.addresses(), 0]
        arguments = (ctypes.c_void_p * len(addresses))(*addresses)
        self._library.mkgen_simt_configure(order, self._seed)
        self._prepare(memory)
        status = self._library.mkgen_simt_run(arguments, len(addresses))
        fault = self._library.mkgen_simt_error().decode(errors="replace")
        if fault:
            raise self._fault(fault)
        if status != 0:
            raise ExecutionError(f"the launcher {self._program.launcher} returned error {status}")
        memory.check()
        return memory.results()

    def _prepare(self, memory: Memory) -> None:
        """Before the launcher is called."""

    def _fault(self, text: str) -> ExecutionError:
        return ExecutionError(text)

    def _memory(self, inputs: Arrays, fenced: bool) -> Memory:
        memory = self._memories.get(fenced)
        if memory is None:
            memory = self._memories[fenced] = Memory(self._program, inputs, fenced)
        else:
            memory.refill(inputs)
        return memory

    def rest(self) -> None:
        """Frees the buffers."""
        self._memories.clear()

    def launches(self) -> list[tuple[str, tuple[int, ...], tuple[int, ...], int]]:
        """(kernel, grid, block, bytes of dynamic shared memory) of the last run, the first 256."""
        if self._library is None:
            raise ExecutionError("the program is closed; load it again")
        log = ctypes.POINTER(_LaunchInfo)()
        count = self._library.mkgen_simt_launches(ctypes.byref(log))
        return [
            (i.kernel.decode(), tuple(i.grid), tuple(i.block), int(i.shared))
            for i in (log[k] for k in range(min(count, 256)))
        ]

    def close(self) -> None:
        """Unloads the text and frees its stacks."""
        self.rest()
        if self._library is not None:
            self._library.mkgen_simt_release()
            _ctypes.dlclose(self._library._handle)
            self._library = None

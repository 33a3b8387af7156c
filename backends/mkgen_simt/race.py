"""SIMT-on-host with a shadow of all memory: races, unwritten values and wild accesses."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np

from mkgen.codegen.backend import Arrays, Loaded
from mkgen.document import content_hash
from mkgen.errors import ExecutionError, nearest
from mkgen.program import Artifact, BufferRole, Program, Simt, Source
from mkgen.record import EvidenceKind
from mkgen_simt.build import (
    INCLUDE,
    LIBRARY,
    Compiler,
    binary_hash,
    defines,
    find_compiler,
    headers_hash,
    kept,
    machine_flags,
    run_compiler,
)
from mkgen_simt.findings import fault_of
from mkgen_simt.host import SimtExecutor, SimtProgram
from mkgen_simt.memory import Memory
from mkgen_simt.spaced import FLAGS, build_spaced, read_built

#: The callbacks of both sanitizers are ours (include/mkgen_simt_shadow.cpp): their libraries are
#: not linked, so that every compiler that knows the flags will do. A conversion of a float that
#: no integer holds is undefined in C++, but saturates on GPUs.
SANITIZERS = (
    "-fsanitize=thread,undefined", "-fno-sanitize=object-size,vptr,float-cast-overflow",
)  # fmt: skip
#: What else clang needs: it leaves out reads that a write of the same place follows, and code that
#: it merges has no line.
CLANG = (
    "-mllvm", "-tsan-instrument-read-before-write=1", "-mllvm", "-enable-tail-merge=0",
    "-mllvm", "-sink-common-insts=0", "-mllvm", "-hoist-common-insts=0",
)  # fmt: skip
SHADOW = INCLUDE / "mkgen_simt_shadow.cpp"
SHADOW_FLAGS = (
    "-std=c++17", "-O2", "-g0", "-w", "-fPIC", "-fvisibility=hidden", "-fno-omit-frame-pointer",
    "-fno-exceptions", "-fno-rtti", "-fno-sanitize=all",
)  # fmt: skip
_GLOBAL, _STATIC = 0, 1

#: Schedules: how many lanes a warp has.
LANES = {"32 lanes": 32, "64 lanes": 64}
#: What a text cannot use without relying on the width of a warp.
_WIDTH = re.compile(
    r"__shfl|__ballot|__any|__all|__activemask|__syncwarp|warpSize|__lane_id|amdgcn"
)


class SimtRaceExecutor(SimtExecutor):
    """Finds what threads do to each other, however the run at hand interleaved them."""

    name: ClassVar[str] = "simt-race"
    kind: ClassVar[EvidenceKind] = EvidenceKind.SANITIZED
    schedules: ClassVar[tuple[str, ...]] = tuple(LANES)
    cannot_see: ClassVar[tuple[str, ...]] = (
        "target code generation",
        "whether an order that blocks make by fences and atomics is right: it is taken on trust",
        "accesses that leave one buffer and land inside another",
        "control flow that check sizes and these inputs do not reach",
    )

    def host_compiler(self) -> Compiler:
        """See SimtExecutor."""
        return find_compiler()

    def orders(self, program: Program) -> tuple[str, ...]:
        """Both widths where the text relies on none."""
        own = self.lanes(program)
        stated = any(
            isinstance(launch.configuration, Simt) and launch.configuration.sub_group is not None
            for launch in program.launches
        )
        if stated or _WIDTH.search(program.sources[-1].body):
            return tuple(name for name, lanes in LANES.items() if lanes == own)
        return self.schedules

    def load(self, program: Program, artifact: Artifact | None, directory: Path) -> Loaded:
        """Prepares; the text is built at the first run of a width (two seconds; cached)."""
        if reason := self.accepts(program):
            raise ExecutionError(reason)

        def load(lanes: int) -> ShadowedProgram:
            options = defines(self.language, lanes, self.shared_limit(program))
            return ShadowedProgram(program, _build(program.sources[-1], program.launcher, options))

        own = self.orders(program)[0]
        load_first = load(LANES[own])
        return RacedProgram(load, own, load_first)


def _build(source: Source, launcher: str, options: tuple[str, ...]) -> Path:
    compiler = find_compiler()
    own = CLANG if "clang" in compiler.title else ()
    machine = (*machine_flags(compiler), *options)
    flags = (*FLAGS, *SANITIZERS, *own, "-DMKGEN_SIMT_SHADOW=1", *machine)
    return build_spaced(compiler, source, launcher, flags, (*compiler.link, str(_shadow(compiler))))


def _shadow(compiler: Compiler) -> Path:
    """The object of the shadow, which every text is linked to."""
    key = content_hash(headers_hash(), binary_hash(compiler.binary), compiler.title, *SHADOW_FLAGS)

    def make(scratch: Path) -> None:
        arguments = [*SHADOW_FLAGS, "-c", str(SHADOW), "-o", LIBRARY]
        run_compiler(compiler, arguments, SHADOW.name, scratch)

    return kept(key, make)


class ShadowedProgram(SimtProgram):
    """A text that tells the shadow of every access, built for one width of a warp."""

    def __init__(self, program: Program, library: Path) -> None:
        """Loads `library`, the built text of `program`. ExecutionError when it cannot be."""
        super().__init__(program, library, 0)
        assert self._library is not None
        built = read_built(library, program.sources[-1].name)
        rows = built.lines.rows
        self._addresses = (ctypes.c_uint64 * len(rows))(*(row[0] for row in rows))
        self._numbers = (ctypes.c_uint32 * len(rows))(*(row[1] for row in rows))
        place = self._library.mkgen_simt_shared
        place.restype, place.argtypes = ctypes.c_void_p, (ctypes.c_size_t, ctypes.c_size_t)
        self._shared = [(name, place(offset, size), size) for name, offset, size in built.shared]
        self._library.mkgen_shadow_region.argtypes = (
            ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t,
            ctypes.c_int,
        )  # fmt: skip

    def _prepare(self, memory: Memory) -> None:
        """Tells the shadow what memory there is and what of it holds values."""
        assert self._library is not None
        name = self._program.sources[-1].name
        self._library.mkgen_shadow_begin(
            name.encode(), self._addresses, self._numbers, len(self._addresses)
        )
        for variable, address, size in self._shared:
            self._region(f"{variable!r}", _STATIC, address, size, 0, filled=False)
        for block in dict.fromkeys(memory.blocks()):
            buffer = block.buffer
            free = buffer.role in (BufferRole.OUTPUT, BufferRole.TEMPORARY, BufferRole.PACKED)
            self._region(
                f"buffer {buffer.name!r}", _GLOBAL, block.address, block.bytes.size,
                block.dtype.itemsize, filled=not free or buffer.initial is not None,
            )  # fmt: skip

    def _region(
        self, name: str, kind: int, address: int, size: int, item: int, *, filled: bool
    ) -> None:
        assert self._library is not None
        region = self._library.mkgen_shadow_region
        if not region(name.encode(), kind, address, size, item, filled):
            raise ExecutionError(f"no room to watch {name} of {size} bytes")

    def _fault(self, text: str) -> ExecutionError:
        return fault_of(text, self._program.sources[-1].name)


class RacedProgram(Loaded):
    """A text at one or both widths."""

    def __init__(
        self, load: Callable[[int], ShadowedProgram], own: str, first: ShadowedProgram
    ) -> None:
        """`load` builds for a number of lanes; `first` is the text at the schedule `own`."""
        self._load = load
        self._own = own
        self._at = {own: first}

    def run(self, inputs: Arrays, schedule: str = "") -> dict[str, np.ndarray]:
        """See Loaded.run; SanitizerError for what is found."""
        wanted = schedule or self._own
        if wanted not in LANES:
            raise ExecutionError(f"no schedule {schedule!r}.{nearest(schedule, LANES)}")
        if wanted not in self._at:
            self._at[wanted] = self._load(LANES[wanted])
        return self._at[wanted].run(inputs)

    def close(self) -> None:
        """See Loaded.close."""
        for program in self._at.values():
            program.close()

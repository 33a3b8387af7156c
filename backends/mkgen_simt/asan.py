"""SIMT-on-host under AddressSanitizer and UBSan: the shipped text as a program of its own."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np

from mkgen.codegen.backend import Arrays, Loaded
from mkgen.errors import ExecutionError, MissingError
from mkgen.program import Artifact, Program, Source
from mkgen.record import EvidenceKind
from mkgen_simt.build import Compiler, defines, machine_flags, on_path
from mkgen_simt.findings import Region, address_sanitizer_finding
from mkgen_simt.host import SimtExecutor
from mkgen_simt.memory import Memory
from mkgen_simt.spaced import FLAGS, Built, build_spaced, read_built

REMEDY = "apt install g++ (or clang with compiler-rt)"
#: object-size would be found first and names no variable.
SANITIZERS = (
    "-fsanitize=address,undefined", "-fno-sanitize=object-size,vptr", "-fno-sanitize-recover=all",
)  # fmt: skip
#: Fibers have stacks that AddressSanitizer knows nothing of; addresses become lines here.
_OPTIONS = "detect_leaks=0:detect_stack_use_after_return=0:symbolize=0:allocator_may_return_null=1"
_CANNOT_START = ("failed to allocate", "ReserveShadowMemoryRange failed", "Shadow memory range")


@lru_cache(maxsize=1)
def find_asan_compiler() -> Compiler:
    """g++, then clang++, with AddressSanitizer's runtime library. MissingError without one."""
    tried = ["the clang in ziglang has no runtime of AddressSanitizer"]
    for name in ("g++", "clang++"):
        try:
            found = on_path(name)
            if found is None:
                tried.append(f"{name}: not found")
            elif _has_runtime(found):
                return found
            else:
                tried.append(f"{name}: without AddressSanitizer's runtime library")
        except (OSError, subprocess.SubprocessError) as error:
            tried.append(f"{name}: {error}")
    raise MissingError(f"no compiler with AddressSanitizer ({'; '.join(tried)}); remedy: {REMEDY}")


def _has_runtime(compiler: Compiler) -> bool:
    def asked(option: str) -> Path:
        command = [*compiler.command, option]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        return Path(done.stdout.strip())

    if "clang" in compiler.title.lower():
        return any(asked("-print-runtime-dir").glob("libclang_rt.asan*"))
    return asked("-print-file-name=libasan.so").is_absolute()


class SimtAsanExecutor(SimtExecutor):
    """Finds accesses outside buffers and shared memory, and what C++ leaves undefined."""

    name: ClassVar[str] = "simt-asan"
    kind: ClassVar[EvidenceKind] = EvidenceKind.SANITIZED
    schedules: ClassVar[tuple[str, ...]] = ("",)
    cannot_see: ClassVar[tuple[str, ...]] = (
        "target code generation",
        "accesses that leave one buffer and land inside another",
        "races and unwritten values (simt-race sees these)",
        "control flow that check sizes and these inputs do not reach",
    )

    def host_compiler(self) -> Compiler:
        """See SimtExecutor."""
        return find_asan_compiler()

    def accepts(self, program: Program) -> str | None:
        """See Executor.accepts."""
        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            return (
                f"AddressSanitizer reserves terabytes of address space, this process may have "
                f"{limit} bytes; run without a limit of address space (ulimit -v unlimited)"
            )
        return super().accepts(program)

    def load(self, program: Program, artifact: Artifact | None, directory: Path) -> Loaded:
        """Builds the text (two seconds; cached)."""
        if reason := self.accepts(program):
            raise ExecutionError(reason)
        options = defines(self.language, self.lanes(program), self.shared_limit(program))
        binary = _build(program.sources[-1], program.launcher, options)
        return AsanProgram(program, binary, directory)


def _build(source: Source, launcher: str, options: Sequence[str]) -> Path:
    compiler = find_asan_compiler()
    flags = (*FLAGS, *SANITIZERS, *machine_flags(compiler), "-DMKGEN_SIMT_ASAN=1", *options)
    link = (*compiler.command, *SANITIZERS, "-pie")
    return build_spaced(compiler, source, launcher, flags, link, main=True)


class AsanProgram(Loaded):
    """A text built as a program, started once a run."""

    def __init__(self, program: Program, binary: Path, directory: Path) -> None:
        """Runs `binary`, the built text of `program`, with files in `directory`."""
        self._program = program
        self._binary = binary
        self._directory = directory
        self._built: Built = read_built(binary, program.sources[-1].name)

    def run(self, inputs: Arrays, schedule: str = "") -> dict[str, np.ndarray]:
        """See Loaded.run; SanitizerError for what is found."""
        if schedule not in SimtAsanExecutor.schedules:
            raise ExecutionError(f"no schedule {schedule!r}; simt-asan has one order")
        memory = Memory(self._program, inputs)
        self._write(memory)
        environment = {**os.environ, "ASAN_OPTIONS": _OPTIONS, "UBSAN_OPTIONS": "abort_on_error=1"}
        done = subprocess.run(
            [self._binary, self._directory], cwd=self._directory, env=environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        log = done.stderr.decode(errors="replace")
        self._judge(log, done.returncode)
        self._read(memory)
        memory.check()
        return memory.results()

    def _write(self, memory: Memory) -> None:
        """The plan and the bytes that mkgen_simt_main.hpp reads."""
        blocks = memory.blocks()
        shared = self._built.shared
        plan = [str(len(shared)), *(f"{offset} {size}" for _, offset, size in shared)]
        plan.append(str(len(blocks)))
        with (self._directory / "input").open("wb") as file:
            for i, block in enumerate(blocks):
                owner = blocks.index(block)
                if owner != i:
                    plan.append(f"= {owner}")
                    continue
                align = max(block.buffer.alignment, block.dtype.itemsize)
                plan.append(f"{block.bytes.size} {align}")
                file.write(block.bytes.tobytes())
        (self._directory / "plan").write_text("\n".join(plan) + "\n")
        for name in ("output", "status", "places"):
            (self._directory / name).unlink(missing_ok=True)

    def _judge(self, log: str, code: int) -> None:
        """Raises what the run has shown; nothing when it ended well."""
        if any(words in log for words in _CANNOT_START):
            raise MissingError(
                f"AddressSanitizer cannot start here ({log.strip().splitlines()[0]}); it needs "
                "an unlimited address space (ulimit -v unlimited)"
            )
        source = self._program.sources[-1].name
        found = address_sanitizer_finding(log, source, self._built.lines, self._regions())
        if found is not None:
            raise found
        told = self._directory / "status"
        if code != 0 or not told.is_file():
            first = log.strip()[-500:] or "it printed nothing"
            raise ExecutionError(f"the program ended early with code {code}: {first}")
        status = int(told.read_text())
        if status != 0:
            raise ExecutionError(f"the launcher {self._program.launcher} returned error {status}")

    def _regions(self) -> list[Region]:
        places = self._directory / "places"
        addresses = places.read_text().split() if places.is_file() else []
        named = [(f"{name!r}", size) for name, _, size in self._built.shared]
        named += [(f"buffer {n!r}", size) for n, size in Memory.sizes(self._program)]
        return [
            Region(name, int(address), size)
            for (name, size), address in zip(named, addresses, strict=False)
        ]

    def _read(self, memory: Memory) -> None:
        data = (self._directory / "output").read_bytes()
        at = 0
        for block in dict.fromkeys(memory.blocks()):
            size = block.bytes.size
            block.bytes[:] = np.frombuffer(data[at : at + size], np.uint8)
            at += size

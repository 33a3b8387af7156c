"""Runs the shipped launcher on an NVIDIA or AMD GPU, and says whether the artifact is what ran."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from mkgen.codegen.backend import Arrays, Executor, Loaded, Role
from mkgen.codegen.source_module import (
    import_source,
    launcher_of,
    mutated_states,
    write_source,
)
from mkgen.codegen.timer import Timer, rolling
from mkgen.codegen.torch_held import held
from mkgen.codegen.torch_module import poisoned_allocations
from mkgen.codegen.torch_timer import TorchTimer, last_level_cache, probe_copies
from mkgen.errors import ExecutionError
from mkgen.fence import FENCED, REACH
from mkgen.program import Artifact, Program
from mkgen.record import EvidenceKind, RanOn
from mkgen_simt.nvidia import clock_command, reset_persisting_cache
from mkgen_triton.archs import ARCHS, TritonArch, find_arch
from mkgen_triton.arrays import check_unchanged, collect, make_arguments, named_outputs
from mkgen_triton.compiling import compiler_name, read_binaries
from mkgen_triton.guards import GuardedArguments, Guards, guarded_allocations
from mkgen_triton.probe import REMEDY, installed, library_sha

#: ROCm then gives the GPU this arch's name, whatever it is (ROCR environment variables).
_PRETENDED = "HSA_OVERRIDE_GFX_VERSION"
_GPU = "cuda:0"


def device_arch() -> str | None:
    """Arch name of GPU 0 as `ARCHS` spells it (`sm_90`, `gfx942`), or None with no usable GPU."""
    import torch

    if not torch.cuda.is_available():
        return None
    if torch.version.hip:
        return str(torch.cuda.get_device_properties(0).gcnArchName).split(":")[0]
    major, minor = torch.cuda.get_device_capability(0)
    return f"sm_{major}{minor}"


def settle() -> None:
    """Takes back what a program may have set to keep data in the cache; AMD has no such thing."""
    import torch

    if not torch.version.hip:
        reset_persisting_cache()


class DeviceExecutor(Executor):
    """The launcher on torch tensors of GPU 0; Triton's JIT compiles what runs."""

    name: ClassVar[str] = "triton-device"
    kind: ClassVar[EvidenceKind] = EvidenceKind.DEVICE
    role: ClassVar[Role] = "device"
    needs_artifact: ClassVar[bool] = True
    cannot_see: ClassVar[tuple[str, ...]] = (
        "other devices of the same arch, other driver versions",
        "reads before a tensor, or less than 16 bytes past it, whose value changes nothing",
        "accesses more than 1 MiB out of bounds",
    )
    schedules: ClassVar[tuple[str, ...]] = ("", FENCED)

    def accepts(self, program: Program) -> str | None:
        """None when GPU 0 has the program's arch."""
        for package in ("triton", "torch"):
            if installed(package) is None:
                return f"{package} is not installed; {REMEDY}"
        if os.environ.get(_PRETENDED):
            return f"{_PRETENDED} is set: ROCm would call the GPU another arch than it is; unset it"
        here = device_arch()
        if here is None:
            return "PyTorch sees no GPU here; use a GPU machine and its CUDA or ROCm build of torch"
        if here != program.target.arch:
            return f"GPU 0 is {here}, the program is for {program.target.arch}"
        return None

    def orders(self, program: Program) -> tuple[str, ...]:
        """At a fence where NVIDIA's driver can make one."""
        return self.schedules if program.target.arch.startswith("sm_") else self.schedules[:1]

    def ran_on(self) -> RanOn:
        """GPU 0."""
        import torch

        arch = device_arch()
        if arch is None:
            raise ExecutionError("PyTorch sees no GPU here")
        vendor = "amd" if torch.version.hip else "nvidia"
        return RanOn(vendor=vendor, arch=arch, name=torch.cuda.get_device_name(0))

    def compiler(self) -> tuple[str, str]:
        """Triton as installed here: the JIT compiles what runs."""
        return compiler_name(ARCHS.get(device_arch() or "")), library_sha()

    def load(self, program: Program, artifact: Artifact | None, directory: Path) -> Loaded:
        """Imports the module text; `artifact` is what the JIT's binaries are compared with."""
        reason = self.accepts(program)
        if reason:
            raise ExecutionError(f"{self.name}: {reason}")
        held()  # what times it must be PyTorch's own
        module = import_source(write_source(program, directory))
        return OnDevice(program, module, artifact, find_arch(program.target.arch))

    def last_level_cache(self) -> int:
        """See Executor.last_level_cache."""
        import torch

        return last_level_cache(torch.device("cuda", 0))

    def probe_copies(self, size: int, flush_bytes: int, repeats: int) -> list[float]:
        """See Executor.probe_copies."""
        import torch

        return probe_copies(torch.device("cuda", 0), size, flush_bytes, repeats)

    def clock_command(self) -> tuple[str, ...]:
        """See Executor.clock_command."""
        return clock_command()


class OnDevice(Loaded):
    """A launcher whose kernels run on GPU 0.

    After a run `matches_artifact` says whether every binary the JIT launched is one of the
    artifact's (same SHA-256), and `detail` says the same for people. When they differ (another
    Triton than the one that compiled the artifact) what ran is the source, not the artifact.
    """

    def __init__(
        self, program: Program, module: ModuleType, artifact: Artifact | None, arch: TritonArch
    ) -> None:
        self._program = program
        self._module = module
        self._compiler = artifact.compiler if artifact else ""
        # now: the file is the caller's, who may take it away while the program stays loaded
        self._shipped = _hashes(artifact) if artifact else None
        self._arch = arch
        self._launcher: Callable[..., Any] = launcher_of(module, program)
        self._kept = GuardedArguments(_GPU, REACH)
        self.matches_artifact: bool | None = None
        self.detail = ""

    def run(self, inputs: Arrays, schedule: str = "") -> dict[str, np.ndarray]:
        """Runs the launcher once on guarded device copies of `inputs`, with poisoned free memory.

        What the launcher allocates is poisoned and guarded too. ExecutionError when a kernel
        fails or writes beside a tensor.
        """
        import torch

        if schedule not in DeviceExecutor.schedules:
            raise ExecutionError(f"triton-device has no schedule {schedule!r}")
        fenced = schedule == FENCED
        made = make_arguments(self._program, inputs)
        given_guards, arguments = self._kept.hold(made, fenced)
        guards = Guards(fenced, _GPU, REACH)
        with poisoned_allocations(), guarded_allocations(guards):
            try:
                returned = self._launcher(*arguments.values())
                torch.cuda.synchronize()
            except Exception as error:
                raise ExecutionError(
                    f"{self._program.launcher} failed on {self._arch.arch.name}: {error}"
                ) from error
        guards.check()
        given_guards.check()
        check_unchanged(self._program, inputs, arguments)
        self._compare_with_artifact()
        return collect(self._program, returned, arguments)

    def ran_other(self) -> str:
        """See Loaded.ran_other."""
        return self.detail if self.matches_artifact is False else ""

    def rest(self) -> None:
        """Gives up the arguments' memory."""
        self._kept.rest()

    def _arguments(self, inputs: Arrays) -> dict[str, Any]:
        made = make_arguments(self._program, inputs)
        return {name: tensor.cuda() for name, tensor in made.items()}

    def binaries_run(self) -> dict[str, str]:
        """SHA-256 of each binary in the JIT caches of the program's kernels, by entry and index."""
        import torch

        suffix = "cubin" if self._arch.system == "cuda" else "hsaco"
        found: dict[str, str] = {}
        for entry in dict.fromkeys(launch.entry for launch in self._program.launches):
            caches = getattr(self._module, entry).device_caches
            kernels = caches[torch.cuda.current_device()][0]
            for i, kernel in enumerate(kernels.values()):
                label = entry if i == 0 else f"{entry}_{i + 1}"
                found[label] = hashlib.sha256(kernel.asm[suffix]).hexdigest()
        return found

    def _compare_with_artifact(self) -> None:
        ran = self.binaries_run()
        if not ran:
            raise ExecutionError(
                f"{self._program.launcher} launched none of the program's kernels: what it "
                "returned was computed some other way"
            )
        if self._shipped is None:
            self.detail = "the JIT's binaries ran; there was no artifact to compare them with"
            return
        others = sorted(label for label, sha in ran.items() if sha not in self._shipped)
        self.matches_artifact = not others
        self.detail = (
            f"the JIT launched {', '.join(others)} in another binary than the artifact's "
            f"({self._compiler}): the source ran, not the artifact"
            if others
            else f"the JIT launched the artifact's own {len(ran)} binaries (SHA-256 equal)"
        )

    def timer(self, inputs: Arrays, flush_bytes: int = 0, *, rolls: bool = False) -> Timer:
        """See Loaded.timer."""
        import torch

        arguments = self._arguments(inputs)
        device = torch.device("cuda", 0)
        return TorchTimer(
            self._launcher,
            arguments,
            lambda returned: named_outputs(self._program, returned, arguments),
            device,
            flush_bytes or self.flush_bytes(last_level_cache(device)),
            inputs=rolling(self._program) if rolls else (),
            restored={b.name: arguments[b.name] for b in mutated_states(self._program)},
            settle=settle,
        )

    def close(self) -> None:
        """Gives PyTorch's cached device memory back."""
        import torch

        self.rest()
        torch.cuda.empty_cache()


def _hashes(artifact: Artifact) -> frozenset[str]:
    """SHA-256 of each of the artifact's binaries."""
    return frozenset(hashlib.sha256(b).hexdigest() for b in read_binaries(artifact).values())

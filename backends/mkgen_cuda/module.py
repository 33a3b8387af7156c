"""ModelNew files whose kernels are inline CUDA: PyTorch compiles them by nvcc, on a GPU only."""

from __future__ import annotations

import re
import shutil
from contextlib import AbstractContextManager
from typing import ClassVar

from mkgen.codegen.backend import Role
from mkgen.codegen.torch_module import Launches, TorchModuleExecutor, profiled
from mkgen.errors import ExecutionError
from mkgen.program import Program
from mkgen.record import EvidenceKind, RanOn
from mkgen_simt.nvidia import clock_command, reset_persisting_cache

_KERNEL = re.compile(r"__global__[^;{}()]*?(?:__launch_bounds__\s*\([^)]*\)\s*)?(\w+)\s*\(")


class ModuleDevice(TorchModuleExecutor):
    """PyTorch on GPU 0."""

    name: ClassVar[str] = "cuda-module-device"
    kind: ClassVar[EvidenceKind] = EvidenceKind.DEVICE
    role: ClassVar[Role] = "device"
    needs_artifact: ClassVar[bool] = True
    device: ClassVar[str] = "cuda"
    cannot_see: ClassVar[tuple[str, ...]] = (
        "other devices of the same arch, other driver versions",
        "accesses out of bounds that hit other live memory",
        "races that did not happen in this run",
    )

    def refusal(self, program: Program) -> str | None:
        """None when GPU 0 has the program's arch and nvcc is on PATH for inline CUDA."""
        arch = self._arch()
        if arch is None:
            return "PyTorch sees no NVIDIA GPU here; inline CUDA runs on one only"
        if arch != program.target.arch.removesuffix("a"):
            return f"GPU 0 is {arch}, the program is for {program.target.arch}"
        if "load_inline" in program.sources[-1].body and shutil.which("nvcc") is None:
            return "nvcc is not on PATH; load_inline of PyTorch needs the CUDA toolkit"
        return None

    @staticmethod
    def _arch() -> str | None:
        """`sm_90`; None without a GPU."""
        import torch

        if not torch.cuda.is_available() or torch.version.hip:
            return None
        major, minor = torch.cuda.get_device_capability(0)
        return f"sm_{major}{minor}"

    def counting(self, program: Program) -> AbstractContextManager[Launches]:
        """By the names of the kernels that a profiler sees."""
        return profiled(self.device, frozenset(_KERNEL.findall(program.sources[-1].body)))

    def ran_on(self) -> RanOn:
        """GPU 0."""
        import torch

        arch = self._arch()
        if arch is None:
            raise ExecutionError("PyTorch sees no NVIDIA GPU here")
        return RanOn(vendor="nvidia", arch=arch, name=torch.cuda.get_device_name(0))

    def settle(self) -> None:
        """See TorchModuleExecutor.settle."""
        reset_persisting_cache()

    def clock_command(self) -> tuple[str, ...]:
        """See Executor.clock_command."""
        return clock_command()

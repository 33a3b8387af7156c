"""The CUDA backend."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, get_args

from mkgen.codegen.backend import Ability, Arch, Backend, Executor, Library, Probe, Trait
from mkgen.codegen.external import chosen_compiler, external_ability
from mkgen.codegen.package import PackageParts, PackagePlan
from mkgen.codegen.plan import DialectPrinter
from mkgen.codegen.torch_module import check_module, is_module
from mkgen.program import Artifact, Dtype, PrecisionClass, Program
from mkgen_cuda.nvcc import Nvcc, compile_by_nvcc, find_nvcc
from mkgen_cuda.printer import CudaPrinter
from mkgen_simt.cuda_headers import CUDA_HEADERS
from mkgen_simt.cupy_device import cupy_ability
from mkgen_simt.host_probe import host_ability
from mkgen_simt.nvrtc import compile_cubin, identity, nvrtc_ability
from mkgen_simt.traits import ATOMICS, SHARED, SHUFFLES, TREE, VECTORS
from mkgen_simt.vendors import NVIDIA_LIBRARIES, NVIDIA_VARIABLES

REMEDY = "pip install mkgen[cuda]"


def _archs(*rows: tuple[str, str, str]) -> dict[str, Arch]:
    return {
        name: Arch(name, title, 32, profile, device=name.rstrip("a"))
        for name, title, profile in rows
    }


class CudaBackend(Backend):
    """NVIDIA GPUs by CUDA C++."""

    name: ClassVar[str] = "cuda"
    title: ClassVar[str] = "CUDA C++"
    dialect: ClassVar[str] = "c"
    language: ClassVar[str] = "cuda"
    extension: ClassVar[str] = ".cu"
    extra: ClassVar[str] = "cuda"
    devices: ClassVar[tuple[str, ...]] = ("/dev/nvidia*", "/dev/dxg")
    archs: ClassVar[Mapping[str, Arch]] = _archs(
        ("sm_80", "Ampere (A100)", "a100"),
        ("sm_89", "Ada (RTX 4090)", "rtx4090"),
        ("sm_90", "Hopper (H100), portable", "h100"),
        ("sm_90a", "Hopper (H100), wgmma and TMA", "h100"),
        ("sm_100", "Blackwell (B200), portable", "b200"),
        ("sm_100a", "Blackwell (B200), tcgen05", "b200"),
        ("sm_120", "Blackwell (RTX 50)", "rtx4090"),
    )
    default_arch: ClassVar[str] = "sm_90a"
    grid_limit: ClassVar[tuple[int, int, int]] = (2**31 - 1, 65535, 65535)
    dtypes: ClassVar[frozenset[str]] = frozenset(get_args(Dtype))
    flags: ClassVar[Mapping[PrecisionClass, tuple[str, ...]]] = dict.fromkeys(PrecisionClass, ())
    runs_modules: ClassVar[bool] = True
    headers: ClassVar[frozenset[str]] = frozenset(
        ("cuda.h", "cuda_runtime.h", "cuda_fp16.h", "cuda_bf16.h", "cuda_fp8.h", "mma.h",
         "cooperative_groups.h", "cooperative_groups/reduce.h", "cooperative_groups/scan.h",
         "cooperative_groups/memcpy_async.h", "cuda_pipeline.h", "cuda/barrier", "cuda/pipeline",
         "cuda/std/cstdint", "cuda/std/limits", "cuda/std/type_traits", "vector_types.h",
         "device_launch_parameters.h", "math_constants.h", "cudaTypedefs.h")
    )  # fmt: skip
    libraries: ClassVar[tuple[Library, ...]] = NVIDIA_LIBRARIES
    marks: ClassVar[tuple[str, ...]] = ("__global__",)
    variables: ClassVar[tuple[str, ...]] = NVIDIA_VARIABLES
    traits: ClassVar[Mapping[Trait, str]] = {
        "shared": SHARED,
        "fed": r"\bcp\.async\b|\b__pipeline_memcpy_async\b|\bmemcpy_async\b|\bcp_async_\w+",
        "vector": rf"{VECTORS}|\b__half2\b|\b__nv_bfloat162\b",
        "matrix": r"\bwmma\b|\bw?gmma\b|\bmma\.sync\b|\bmma_sync\b|\btcgen05\b",
        "row": f"{SHUFFLES}|{TREE}",
        "split": ATOMICS,
    }
    compilers: ClassVar[tuple[str, ...]] = ("nvcc",)

    def printer(self, arch: str) -> DialectPrinter:
        """See Backend.printer."""
        return CudaPrinter(self.archs[arch].sub_group)

    def probe(self) -> Probe:
        """See Backend.probe."""
        return Probe(
            generate=Ability(True, "the C printer"),
            compile=external_ability("cuda", lambda path: _named(find_nvcc(path)))
            or nvrtc_ability(REMEDY),
            execute=host_ability(),
            measure=cupy_ability(),
        )

    def compiler_identity(self) -> str:
        """See Backend.compiler_identity."""
        chosen = chosen_compiler(self.name)
        if chosen is not None:
            return _named(find_nvcc(chosen))
        return " ".join(identity(REMEDY))

    def compile(self, program: Program, directory: Path) -> Artifact:
        """See Backend.compile."""
        if is_module(program):
            return check_module(program, directory)
        flags = self.flags[program.precision]
        chosen = chosen_compiler(self.name)
        if chosen is not None:
            return compile_by_nvcc(find_nvcc(chosen), program, directory, flags)
        return compile_cubin(program, directory, CUDA_HEADERS, REMEDY, flags)

    def executors(self) -> tuple[Executor, ...]:
        """See Backend.executors."""
        from mkgen_cuda.compute_sanitizer import ComputeSanitizerExecutor
        from mkgen_cuda.device import CudaDeviceExecutor
        from mkgen_cuda.module import ModuleDevice
        from mkgen_simt.on_host import host_executors

        def lanes(program: Program) -> int:
            return self.archs[program.target.arch].sub_group

        return (
            *host_executors("cuda", lanes),
            CudaDeviceExecutor(),
            ModuleDevice(),
            ComputeSanitizerExecutor(),
        )

    def package(self, plan: PackagePlan) -> PackageParts:
        """See Backend.package."""
        from mkgen_cuda.package import parts

        return parts(plan)


def _named(nvcc: Nvcc) -> str:
    return f"{nvcc.version} {nvcc.sha}"

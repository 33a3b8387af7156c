"""The HIP backend."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, get_args

from mkgen.codegen.backend import Ability, Arch, Backend, Executor, Library, Probe, Trait
from mkgen.codegen.external import chosen_compiler, external_ability
from mkgen.codegen.package import PackageParts, PackagePlan
from mkgen.codegen.plan import DialectPrinter
from mkgen.document import content_hash
from mkgen.errors import MissingError, UnsupportedError
from mkgen.program import Artifact, Dtype, PrecisionClass, Program
from mkgen_hip.archs import AMD_ARCHS
from mkgen_hip.clang import INCLUDE, compile_code_object
from mkgen_hip.external import find_compiler
from mkgen_hip.printer import HipPrinter
from mkgen_hip.runtime import rocm_ability
from mkgen_hip.toolchain import clang_ability, device_library, file_sha, require_toolchain
from mkgen_simt import nvrtc
from mkgen_simt.cuda_headers import HIP_ON_CUDA_HEADERS
from mkgen_simt.host_probe import host_ability
from mkgen_simt.traits import ATOMICS, SHARED, SHUFFLES, TREE, VECTORS
from mkgen_simt.vendors import AMD_LIBRARIES, AMD_VARIABLES, NVIDIA_VARIABLES

_NVRTC_REMEDY = "pip install mkgen[cuda]"
# HIP text on an NVIDIA GPU, through NVRTC; what runs there is a proxy.
_PROXIES = {
    "sm_80": Arch("sm_80", "HIP text on NVIDIA Ampere (A100), a proxy", 32, "a100", proxy=True),
    "sm_90": Arch("sm_90", "HIP text on NVIDIA Hopper (H100), a proxy", 32, "h100", proxy=True),
}


class HipBackend(Backend):
    """AMD GPUs by HIP."""

    name: ClassVar[str] = "hip"
    title: ClassVar[str] = "ROCm/HIP"
    dialect: ClassVar[str] = "c"
    language: ClassVar[str] = "hip"
    extension: ClassVar[str] = ".hip"
    extra: ClassVar[str] = "hip"
    devices: ClassVar[tuple[str, ...]] = ("/dev/kfd", "/dev/dri", "/dev/nvidia*", "/dev/dxg")
    archs: ClassVar[Mapping[str, Arch]] = {
        name: Arch(name, arch.title, arch.wave, arch.profile) for name, arch in AMD_ARCHS.items()
    } | _PROXIES
    default_arch: ClassVar[str] = "gfx942"
    #: HIP wants grid * block < 2**32 along each axis; these hold for every block of 1,024 threads.
    grid_limit: ClassVar[tuple[int, int, int]] = (2**22 - 1, 65535, 65535)
    dtypes: ClassVar[frozenset[str]] = frozenset(get_args(Dtype))
    flags: ClassVar[Mapping[PrecisionClass, tuple[str, ...]]] = dict.fromkeys(PrecisionClass, ())
    headers: ClassVar[frozenset[str]] = frozenset(
        ("hip/hip_runtime.h", "hip/hip_fp16.h", "hip/hip_bf16.h", "hip/hip_bfloat16.h",
         "hip/hip_cooperative_groups.h", "hip/hip_fp8.h", "rocwmma/rocwmma.hpp")
    )  # fmt: skip
    libraries: ClassVar[tuple[Library, ...]] = AMD_LIBRARIES
    marks: ClassVar[tuple[str, ...]] = ("__global__",)
    variables: ClassVar[tuple[str, ...]] = (*AMD_VARIABLES, *NVIDIA_VARIABLES)
    traits: ClassVar[Mapping[Trait, str]] = {
        "shared": SHARED,
        "fed": r"\b__builtin_amdgcn_(?:global|raw_buffer|raw_ptr_buffer)_load_(?:async_to_)?lds\w*",
        "vector": rf"{VECTORS}|\bext_vector_type\b|\b__half2\b|\b__hip_bfloat162\b",
        "matrix": r"\b__builtin_amdgcn_(?:mfma|smfmac|wmma|swmmac)_\w+|\brocwmma\b",
        "row": f"{SHUFFLES}|{TREE}",
        "split": ATOMICS,
    }
    compilers: ClassVar[tuple[str, ...]] = ("hipcc", "clang")

    def printer(self, arch: str) -> DialectPrinter:
        """See Backend.printer."""
        return HipPrinter(self.archs[arch].sub_group)

    def probe(self) -> Probe:
        """See Backend.probe."""
        return Probe(
            generate=Ability(True, "the C printer"),
            compile=external_ability("hip", lambda path: str(find_compiler(path)))
            or clang_ability(),
            execute=host_ability(),
            measure=rocm_ability(),
        )

    def compiler_identity(self) -> str:
        """See Backend.compiler_identity."""
        # Our header and the device library are part of what comes out, as the compiler is.
        chosen = chosen_compiler(self.name)
        if chosen is not None:
            compiler = find_compiler(chosen)
            library = device_library().path if compiler.toolchain else None
            parts = [str(compiler), _headers_hash()]
            return " ".join([*parts, *([file_sha(library / "ocml.bc")] if library else [])])
        parts = []
        reasons: list[str] = []
        try:
            toolchain = require_toolchain()
            parts += [toolchain.version, file_sha(toolchain.binary), _headers_hash()]
            library = device_library().path
            if toolchain.rocm is None and library is not None:
                parts.append(file_sha(library / "ocml.bc"))
        except MissingError as error:
            reasons.append(str(error))
        try:
            parts += nvrtc.identity(_NVRTC_REMEDY)
        except MissingError as error:
            reasons.append(str(error))
        if not parts:
            raise MissingError("; ".join(reasons))
        return " ".join(parts)

    def compile(self, program: Program, directory: Path) -> Artifact:
        """See Backend.compile."""
        flags = self.flags[program.precision]
        chosen = chosen_compiler(self.name)
        if program.target.arch in _PROXIES:
            if chosen is not None:
                raise UnsupportedError(
                    f"{program.target} is compiled by NVRTC alone; leave --toolchain hip out"
                )
            headers = HIP_ON_CUDA_HEADERS
            return nvrtc.compile_cubin(program, directory, headers, _NVRTC_REMEDY, flags)
        compiler = find_compiler(chosen) if chosen else None
        return compile_code_object(program, directory, flags, compiler)

    def executors(self) -> tuple[Executor, ...]:
        """See Backend.executors."""
        from mkgen_hip.proxy import HipProxyExecutor
        from mkgen_hip.runtime import HipDeviceExecutor
        from mkgen_simt.on_host import host_executors

        def lanes(program: Program) -> int:
            return self.archs[program.target.arch].sub_group

        return (*host_executors("hip", lanes), HipDeviceExecutor(), HipProxyExecutor())

    def package(self, plan: PackagePlan) -> PackageParts:
        """See Backend.package."""
        from mkgen_hip.package import parts

        return parts(plan)


def _headers_hash() -> str:
    return content_hash(*(path.read_bytes() for path in sorted(INCLUDE.rglob("*.h"))))

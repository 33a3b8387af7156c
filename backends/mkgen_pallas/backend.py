"""The Pallas backend: capabilities as data, work done in the modules beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from mkgen.codegen.backend import Arch, Backend, Executor, Limitation, Probe, Role, Trait
from mkgen.codegen.package import PackageParts, PackagePlan
from mkgen.codegen.plan import DialectPrinter
from mkgen.program import Artifact, PrecisionClass, Program
from mkgen_pallas.archs import ARCHS
from mkgen_pallas.compiling import compile_program
from mkgen_pallas.device import GpuExecutor, TpuExecutor
from mkgen_pallas.interpreter import GpuInterpreterExecutor, InterpreterExecutor
from mkgen_pallas.printer import PallasPrinter
from mkgen_pallas.probe import device_platform, installed, library_sha, probe, require
from mkgen_pallas.sanitizer import SanitizerExecutor
from mkgen_simt.vendors import NVIDIA_VARIABLES

#: Source lines in the executable by file name alone, one frame each: the same text gives the same
#: bytes in every directory, and errors still name the line.
LOCATIONS = {
    "JAX_TRACEBACK_IN_LOCATIONS_LIMIT": "1",
    "JAX_HLO_SOURCE_FILE_CANONICALIZATION_REGEX": ".*/",
}
#: libtpu asks no metadata server, and several processes may load it at once.
OFFLINE_TPU = {"TPU_SKIP_MDS_QUERY": "1", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}
#: JAX would take three quarters of a GPU's memory at its start.
NO_PREALLOCATION = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}


class PallasBackend(Backend):
    """Pallas for TPUs; and, as a target of its own, for an NVIDIA GPU."""

    name: ClassVar[str] = "pallas"
    title: ClassVar[str] = "JAX Pallas"
    dialect: ClassVar[str] = "pallas"
    language: ClassVar[str] = "pallas"
    extension: ClassVar[str] = ".py"
    extra: ClassVar[str] = "pallas"
    devices: ClassVar[tuple[str, ...]] = ("/dev/nvidia*", "/dev/accel*", "/dev/vfio")
    archs: ClassVar[Mapping[str, Arch]] = {name: a.arch for name, a in ARCHS.items()}
    default_arch: ClassVar[str] = "v5e"
    grid_limit: ClassVar[tuple[int, int, int]] = (2**31 - 1, 65535, 65535)
    dtypes: ClassVar[frozenset[str]] = frozenset(
        ("float32", "bfloat16", "float16", "int64", "int32", "int16", "int8", "uint8", "bool")
    )
    variables: ClassVar[tuple[str, ...]] = (
        "JAX_", "XLA_", "TPU_", "LIBTPU_", *NVIDIA_VARIABLES,
    )  # fmt: skip
    limitations: ClassVar[tuple[Limitation, ...]] = (
        Limitation(("float64",), "TPUs have none and JAX rounds it to float32"),
        Limitation(
            ("int64",),
            "JAX holds it in int32; a value beyond 2**31 is refused at run time",
            refused=False,
        ),
    )
    flags: ClassVar[Mapping[PrecisionClass, tuple[str, ...]]] = {}
    """None: precision is chosen in the text (`precision=jax.lax.Precision.HIGHEST`)."""
    traits: ClassVar[Mapping[Trait, str]] = {
        "shared": r"\bscratch_shapes\b|\brun_scoped\b|\bVMEM\b|\bSMEM\b",
        "fed": r"\bmake_async_\w*copy\b|\bemit_pipeline\w*|\bcopy_gmem_to_smem\b|"
        r"\bPrefetchScalarGridSpec\b",
        "matrix": r"\bdot_general\b|\b(?:jnp|pl|lax)\.(?:dot|matmul|einsum)\b|\bwgmma\b",
        "row": r"\bjnp\.(?:sum|max|min|mean|prod|argmax|argmin|any|all|cumsum|cumprod)\b|"
        r"\blax\.reduce\w*|\blogsumexp\b",
        "call": r"\bpallas_call\b|\bkernel_call\b",
    }
    """Arithmetic on blocks is the vector unit's in every text, so that no word shows it."""

    def printer(self, arch: str) -> DialectPrinter:
        """See Backend.printer."""
        return PallasPrinter(gpu=arch.startswith("sm_"))

    def probe(self) -> Probe:
        """What works here, by package metadata and device files."""
        return probe()

    def environment(self, role: Role) -> dict[str, str]:
        """JAX on the CPU but for the device; the compiler may see a GPU, to compile for sm_90."""
        if role == "emulate":
            return {"JAX_PLATFORMS": "cpu"}
        device = device_platform()
        if role == "device":
            platforms = f"{device},cpu" if device else "cpu"
            return {"JAX_PLATFORMS": platforms} | LOCATIONS | NO_PREALLOCATION
        platforms = "cuda,cpu" if device == "cuda" else "cpu"
        return {"JAX_PLATFORMS": platforms} | LOCATIONS | OFFLINE_TPU | NO_PREALLOCATION

    def compiler_identity(self) -> str:
        """Versions and library hashes of jax and libtpu; MissingError without jax."""
        require("jax")
        parts = [f"jax {installed('jax')} {library_sha('jaxlib')}"]
        if installed("libtpu"):
            parts.append(f"libtpu {installed('libtpu')} {library_sha('libtpu')}")
        return " ".join(parts)

    def compile(self, program: Program, directory: Path) -> Artifact:
        """A TPU executable or cubins; MissingError, CompileError, WrongArchError."""
        return compile_program(program, directory)

    def executors(self) -> tuple[Executor, ...]:
        """Interpreters, the sanitizer, and devices, for TPUs and for the GPU proxy."""
        interpreters = (InterpreterExecutor(), GpuInterpreterExecutor(), SanitizerExecutor())
        return (*interpreters, TpuExecutor(), GpuExecutor())

    def package(self, plan: PackagePlan) -> PackageParts:
        """See Backend.package."""
        from mkgen_pallas.package import parts

        return parts(plan)

"""The Triton backend: capabilities as data, work done in the modules beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from mkgen.codegen.backend import Arch, Backend, Executor, Library, Probe, Role, Trait
from mkgen.codegen.package import PackageParts, PackagePlan
from mkgen.codegen.plan import DialectPrinter
from mkgen.codegen.torch_module import check_module, is_module
from mkgen.program import Artifact, PrecisionClass, Program
from mkgen_simt.vendors import (
    AMD_LIBRARIES,
    AMD_VARIABLES,
    NVIDIA_LIBRARIES,
    NVIDIA_VARIABLES,
)
from mkgen_triton.archs import ARCHS, find_arch
from mkgen_triton.compiling import compile_program, compiler_name
from mkgen_triton.device import DeviceExecutor
from mkgen_triton.interpreter import InterpreterExecutor
from mkgen_triton.module import ModuleDevice, ModuleInterpreter
from mkgen_triton.printer import TritonPrinter
from mkgen_triton.probe import library_sha, probe, require_triton

#: In every role, so that the JIT's binary is the artifact's: no source paths in the binary, and
#: FMA contraction on, whatever this Triton's default is (it changes in 3.10).
SAME_BINARY = {"TRITON_DISABLE_LINE_INFO": "1", "TRITON_DEFAULT_FP_FUSION": "1"}


class TritonBackend(Backend):
    """One Triton module for NVIDIA and AMD GPUs."""

    name: ClassVar[str] = "triton"
    title: ClassVar[str] = "Triton"
    dialect: ClassVar[str] = "triton"
    language: ClassVar[str] = "triton"
    extension: ClassVar[str] = ".py"
    extra: ClassVar[str] = "triton"
    devices: ClassVar[tuple[str, ...]] = ("/dev/nvidia*", "/dev/kfd", "/dev/dri", "/dev/dxg")
    archs: ClassVar[Mapping[str, Arch]] = {name: a.arch for name, a in ARCHS.items()}
    default_arch: ClassVar[str] = "sm_90"
    grid_limit: ClassVar[tuple[int, int, int]] = (2**31 - 1, 65535, 65535)
    dtypes: ClassVar[frozenset[str]] = frozenset(
        ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8",
         "bool")
    )  # fmt: skip
    libraries: ClassVar[tuple[Library, ...]] = (*NVIDIA_LIBRARIES, *AMD_LIBRARIES)
    variables: ClassVar[tuple[str, ...]] = ("TRITON_", *NVIDIA_VARIABLES, *AMD_VARIABLES)
    runs_modules: ClassVar[bool] = True
    flags: ClassVar[Mapping[PrecisionClass, tuple[str, ...]]] = {}
    """None: precision is chosen in the text (`tl.dot(..., input_precision="ieee")`)."""
    traits: ClassVar[Mapping[Trait, str]] = {
        "fed": r"\bmake_block_ptr\b|\bmake_tensor_descriptor\b|\bnum_stages\b",
        "vector": r"\btl\.multiple_of\b|\btl\.max_contiguous\b|\binline_asm_elementwise\b",
        "matrix": r"\btl\.dot(?:_scaled)?\b",
        "row": r"\btl\.(?:sum|max|min|argmax|argmin|xor_sum|reduce|cumsum|cumprod|softmax|"
        r"associative_scan)\b",
        "tile": r"\[\s*:\s*,\s*None\s*\]|\[\s*None\s*,\s*:\s*\]|\btl\.(?:dot|expand_dims|trans)\b",
        "split": r"\btl\.atomic_\w+",
    }
    """Where operands of a block lie in shared memory is the compiler's choice, not the text's."""

    def printer(self, arch: str) -> DialectPrinter:
        """See Backend.printer."""
        return TritonPrinter(splits=find_arch(arch).system == "cuda")

    def probe(self) -> Probe:
        """What works here, by package metadata and device files."""
        return probe()

    def environment(self, role: Role) -> dict[str, str]:
        """Interpreter or compiler: one process cannot be both."""
        if role == "emulate":
            return {"TRITON_INTERPRET": "1"}
        if role == "compile":
            # A cache hit has no ptxas log, and register counts and spills come from there.
            return SAME_BINARY | {"TRITON_INTERPRET": "0", "TRITON_ALWAYS_COMPILE": "1"}
        return SAME_BINARY | {"TRITON_INTERPRET": "0"}

    def compiler_identity(self) -> str:
        """Triton's version and the hash of libtriton. MissingError when it is not installed."""
        require_triton()
        return f"{compiler_name(None)} {library_sha()}"

    def compile(self, program: Program, directory: Path) -> Artifact:
        """Cubins or code objects of every kernel; MissingError, CompileError, WrongArchError."""
        if is_module(program):
            return check_module(program, directory)
        return compile_program(program, directory)

    def executors(self) -> tuple[Executor, ...]:
        """The interpreter and the device, for Triton texts and for ModelNew files."""
        return InterpreterExecutor(), DeviceExecutor(), ModuleInterpreter(), ModuleDevice()

    def package(self, plan: PackagePlan) -> PackageParts:
        """See Backend.package."""
        from mkgen_triton.package import parts

        return parts(plan)

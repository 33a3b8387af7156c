"""The OpenCL backend: what it is, as data, and how a driver or ocloc makes an artifact."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, get_args

from mkgen.codegen.backend import Arch, Backend, Executor, Library, Limitation, Probe, Role, Trait
from mkgen.codegen.external import chosen_compiler
from mkgen.codegen.package import PackageParts, PackagePlan
from mkgen.codegen.plan import DialectPrinter
from mkgen.errors import CompileError, MissingError, UnsupportedError
from mkgen.program import Artifact, Dtype, PrecisionClass, Program
from mkgen_opencl import devices, toolchain
from mkgen_opencl.executors import BUILD_OPTIONS, OpenclDevice, OpenclEmulator, OpenclProxy
from mkgen_opencl.printer import OpenclPrinter
from mkgen_simt import ocloc
from mkgen_simt.traits import TREE, VECTORS
from mkgen_simt.vendors import (
    AMD_VARIABLES,
    INTEL_VARIABLES,
    NVIDIA_VARIABLES,
    OPENCL_VARIABLES,
)


class OpenclBackend(Backend):
    """OpenCL C: any driver's device, and Intel's GPUs ahead of time by ocloc."""

    name: ClassVar[str] = "opencl"
    title: ClassVar[str] = "OpenCL"
    dialect: ClassVar[str] = "c"
    language: ClassVar[str] = "opencl"
    extension: ClassVar[str] = ".cl"
    extra: ClassVar[str] = "opencl"
    devices: ClassVar[tuple[str, ...]] = ("/dev/dri", "/dev/kfd", "/dev/nvidia*", "/dev/dxg")
    archs: ClassVar[Mapping[str, Arch]] = {
        "cpu": Arch("cpu", "CPU (Intel's OpenCL runtime, or PoCL)", 16, "cpu"),
        "pvc": Arch("pvc", "Xe-HPC (Data Center GPU Max); sub-groups of 16 or 32", 32, "max1550"),
        "acm-g10": Arch("acm-g10", "Xe-HPG (Arc A770); sub-groups of 8, 16 or 32", 16, "arc-a770"),
        "bmg-g21": Arch("bmg-g21", "Xe2-HPG (Arc B580); sub-groups of 16 or 32", 16, "arc-b580"),
        "sm_90": Arch("sm_90", "Hopper (H100, H200) by NVIDIA's OpenCL driver", 32, "h200"),
    }
    default_arch: ClassVar[str] = "cpu"
    # OpenCL has no limit per axis; NVIDIA's driver, the narrowest, has CUDA's.
    grid_limit: ClassVar[tuple[int, int, int]] = (2**31 - 1, 65535, 65535)
    dtypes: ClassVar[frozenset[str]] = frozenset(get_args(Dtype)) - {"float64"}
    limitations: ClassVar[tuple[Limitation, ...]] = (
        Limitation(("float64",), "fp64 is an optional feature that Arc GPUs have not"),
        Limitation(
            ("bfloat16",),
            "OpenCL C has no such type: in memory it is a ushort, computed in float",
            refused=False,
        ),
    )
    flags: ClassVar[Mapping[PrecisionClass, tuple[str, ...]]] = dict.fromkeys(
        PrecisionClass, BUILD_OPTIONS
    )

    headers: ClassVar[frozenset[str]] = frozenset(("CL/cl.h",))
    libraries: ClassVar[tuple[Library, ...]] = (Library("CLBlast", words=("clblast",)),)
    marks: ClassVar[tuple[str, ...]] = ("__kernel",)
    # any vendor's driver may be behind it
    variables: ClassVar[tuple[str, ...]] = (
        *OPENCL_VARIABLES, *INTEL_VARIABLES, *AMD_VARIABLES, *NVIDIA_VARIABLES,
    )  # fmt: skip
    traits: ClassVar[Mapping[Trait, str]] = {
        "shared": r"\b(?:__local|local)\b",
        "fed": r"\basync_work_group_(?:strided_)?copy\b|\bintel_sub_group_(?:2d_)?block_read\w*",
        "vector": rf"{VECTORS}|\bv(?:load|store)a?(?:_half)?_?(?:2|4|8|16)\b",
        "matrix": r"\bintel_sub_group_\w+_matrix_mad_\w+",
        "row": rf"\b(?:intel_)?sub_group_(?:reduce|shuffle|scan)\w*|{TREE}",
        "split": r"\batom(?:ic)?_(?:add|sub|min|max|inc|dec|xchg|cmpxchg|and|or|xor|fetch_\w+)\b",
    }
    compilers: ClassVar[tuple[str, ...]] = ("ocloc",)

    def printer(self, arch: str) -> DialectPrinter:
        """See Backend.printer."""
        return OpenclPrinter(self.archs[arch].sub_group)

    def probe(self) -> Probe:
        """What works on this machine; see Backend.probe."""
        return toolchain.probe()

    def environment(self, role: Role) -> dict[str, str]:
        """The drivers the loader shall see: the CPU's alone for `emulate`, else every one."""
        # What runs must come from this text and this driver, not from a file of an earlier day.
        fresh = {"PYOPENCL_NO_CACHE": "1"}
        cpu = toolchain.cpu_driver().path
        if role == "emulate":
            return {**fresh, **({} if cpu is None else {"OCL_ICD_VENDORS": str(cpu)})}
        return {**fresh, "OCL_ICD_VENDORS": str(toolchain.vendors_directory())}

    def compiler_identity(self) -> str:
        """The drivers and compilers here; see toolchain.compiler_identity."""
        return toolchain.compiler_identity()

    def compile(self, program: Program, directory: Path) -> Artifact:
        """A binary by ocloc for an Intel GPU, else by the driver of a device of the arch."""
        arch = program.target.arch
        if chosen_compiler(self.name) is not None and arch not in devices.INTEL_NAMES:
            raise UnsupportedError(
                f"{program.target} is compiled by its driver: ocloc knows Intel's GPUs "
                f"({', '.join(devices.INTEL_NAMES)}); leave --toolchain opencl out"
            )
        if arch in devices.INTEL_NAMES and ocloc.ocloc_path() is not None:
            return self._ahead_of_time(program, directory)
        return self._by_driver(program, directory)

    def _ahead_of_time(self, program: Program, directory: Path) -> Artifact:
        started = time.monotonic()
        arch, source = program.target.arch, program.sources[0]
        tool = ocloc.find_ocloc(directory)
        if tool is None:
            raise MissingError(f"no ocloc; {ocloc.REMEDY}")
        path = directory / source.name
        path.write_text(source.text)
        built = ocloc.build(tool, path, arch, self.flags[program.precision], spirv=False)
        absent = {launch.entry for launch in program.launches} - set(built.resources)
        if absent:
            raise CompileError(f"{source.name} has no kernel {', '.join(sorted(absent))}")
        return Artifact(
            arch=arch,
            format="intel",
            path=str(built.path),
            sha=hashlib.sha256(built.path.read_bytes()).hexdigest(),
            resources=built.resources,
            compiler=str(tool),
            compiler_sha=tool.sha,
            command=built.command,
            checked=built.checked,
            seconds=time.monotonic() - started,
        )

    def _by_driver(self, program: Program, directory: Path) -> Artifact:
        started = time.monotonic()
        arch, source = program.target.arch, program.sources[0]
        device = devices.find_device(arch)
        options = self.flags[program.precision]
        # Only NVIDIA's driver knows this one; its log then states registers and spills.
        verbose = ("-cl-nv-verbose",) if arch.startswith("sm_") else ()
        built = devices.build_text(device, source.text, (*options, *verbose))
        path = directory / f"{Path(source.name).stem}.{arch}.clbin"
        path.write_bytes(built.binary)
        compiler, sha = devices.describe(device)
        checked = devices.check_binary(built.binary, arch)
        entries = sorted({launch.entry for launch in program.launches})
        return Artifact(
            arch=arch,
            format="opencl-binary",
            path=str(path),
            sha=hashlib.sha256(built.binary).hexdigest(),
            resources=devices.resources(built, device, entries),
            compiler=compiler,
            compiler_sha=sha,
            command=" ".join(("clBuildProgram", source.name, *options, *verbose)),
            # PTX is readable as it is.
            isa_path=str(path) if arch.startswith("sm_") else None,
            checked=checked,
            seconds=time.monotonic() - started,
        )

    def executors(self) -> tuple[Executor, ...]:
        """A CPU device as emulator, a device of the arch, and an NVIDIA GPU as proxy."""
        return OpenclEmulator(), OpenclDevice(), OpenclProxy()

    def package(self, plan: PackagePlan) -> PackageParts:
        """See Backend.package."""
        from mkgen_opencl.package import parts

        return parts(plan)

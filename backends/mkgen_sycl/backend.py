"""The SYCL backend: what it is, as data, and how the toolchain's parts make an artifact."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from mkgen.codegen.backend import Arch, Backend, Executor, Library, Probe, Role, Trait
from mkgen.codegen.external import chosen_compiler, digest, parts_of
from mkgen.codegen.package import PackageParts, PackagePlan
from mkgen.codegen.plan import DialectPrinter
from mkgen.document import content_hash
from mkgen.errors import MissingError, WrongArchError
from mkgen.program import Artifact, PrecisionClass, Program, Resources
from mkgen_simt import ocloc
from mkgen_simt.traits import TREE
from mkgen_simt.vendors import INTEL_LIBRARIES, INTEL_VARIABLES, OPENCL_VARIABLES
from mkgen_sycl import spirv, toolchain
from mkgen_sycl.executors import (
    DRIVER_FLAGS,
    DpctlCpu,
    DpctlEmulator,
    DpctlGpu,
    kernel_symbol,
)
from mkgen_sycl.icpx import compile_by_icpx, find_icpx
from mkgen_sycl.printer import SyclPrinter


class SyclBackend(Backend):
    """SYCL for Intel's GPUs and CPUs, compiled by DPC++'s device compiler."""

    name: ClassVar[str] = "sycl"
    title: ClassVar[str] = "SYCL (DPC++)"
    dialect: ClassVar[str] = "c"
    language: ClassVar[str] = "sycl"
    extension: ClassVar[str] = ".cpp"
    extra: ClassVar[str] = "sycl"
    devices: ClassVar[tuple[str, ...]] = ("/dev/dri", "/dev/dxg")
    archs: ClassVar[Mapping[str, Arch]] = {
        "pvc": Arch("pvc", "Xe-HPC (Data Center GPU Max); sub-groups of 16 or 32", 32, "max1550"),
        "acm-g10": Arch("acm-g10", "Xe-HPG (Arc A770); sub-groups of 8, 16 or 32", 16, "arc-a770"),
        "bmg-g21": Arch("bmg-g21", "Xe2-HPG (Arc B580); sub-groups of 16 or 32", 16, "arc-b580"),
        "cpu": Arch("cpu", "x86-64 CPU (Intel's OpenCL CPU device)", 16, "cpu"),
    }
    default_arch: ClassVar[str] = "pvc"
    # SYCL has no limit per axis; drivers index the whole range with 32 bits by default.
    grid_limit: ClassVar[tuple[int, int, int]] = (2**31 - 1, 2**31 - 1, 2**31 - 1)
    dtypes: ClassVar[frozenset[str]] = frozenset(
        {"float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8",
         "bool"}
    )  # fmt: skip
    # icpx defaults to fast math; the same words are in build.sh, so they are said here too.
    # One image: else kernels with and without float16 of one text come apart.
    flags: ClassVar[Mapping[PrecisionClass, tuple[str, ...]]] = dict.fromkeys(
        PrecisionClass, ("-ffp-model=precise", "-fsycl-device-code-split=off")
    )

    headers: ClassVar[frozenset[str]] = frozenset(
        ("sycl/sycl.hpp", "sycl/ext/oneapi/matrix/matrix.hpp", "sycl/ext/oneapi/bfloat16.hpp")
    )
    libraries: ClassVar[tuple[Library, ...]] = INTEL_LIBRARIES
    variables: ClassVar[tuple[str, ...]] = (*INTEL_VARIABLES, *OPENCL_VARIABLES)
    traits: ClassVar[Mapping[Trait, str]] = {
        "shared": r"\blocal_accessor\b|\bwork_group_static\b|\bgroup_local_memory\w*",
        "fed": r"\basync_(?:work_)?group_copy\b|\bgroup_load\b|\bjoint_matrix_load\w*",
        "vector": r"\bvec\s*<|\bmarray\s*<|\b(?:char|short|int|uint|long|half|float|double)[248]\b",
        "matrix": r"\bjoint_matrix\w*",
        "row": r"\breduce_over_group\b|\bjoint_reduce\b|\b(?:in|ex)clusive_scan_over_group\b|"
        rf"\b(?:shift|permute)_group\w*|\bselect_from_group\b|{TREE}",
        "split": r"\batomic_ref\b",
    }
    compilers: ClassVar[tuple[str, ...]] = ("icpx",)

    def printer(self, arch: str) -> DialectPrinter:
        """See Backend.printer."""
        return SyclPrinter(self.archs[arch].sub_group)

    def probe(self) -> Probe:
        """What works on this machine; see Backend.probe."""
        return toolchain.probe()

    def environment(self, role: Role) -> dict[str, str]:
        """Where the CPU device is, in every role; executors choose among the devices they see."""
        return toolchain.cpu_environment()

    def compiler_identity(self) -> str:
        """Version and hash of libsycl-jit and of ocloc, where there is one."""
        chosen = chosen_compiler(self.name)
        parts = [str(find_icpx(chosen))] if chosen is not None else _own_compiler()
        path = ocloc.ocloc_path()
        return content_hash(*parts, digest(parts_of(path)) if path else "no ocloc")

    def compile(self, program: Program, directory: Path) -> Artifact:
        """SPIR-V of the whole text; with ocloc also machine code, whose resources are reported.

        The artifact stays the SPIR-V: it is what every executor runs, so its hash is the one that
        evidence names. The machine code lies next to it.
        """
        started = time.monotonic()
        source = program.sources[0]
        flags = self.flags[program.precision]
        chosen = chosen_compiler(self.name)
        if chosen is not None:
            icpx = find_icpx(chosen)
            compiler, sha = icpx.version, icpx.sha
            data, log, command = compile_by_icpx(icpx, source.name, source.text, flags, directory)
        else:
            compiler, sha = _own_compiler()
            data, log = toolchain.compile_sycl(source.name, source.text, flags, directory)
            command = " ".join(("compileSYCL", source.name, *flags))
        module = spirv.parse(data)
        entries = sorted({launch.entry for launch in program.launches})
        absent = [e for e in entries if kernel_symbol(e) not in module.local_bytes]
        if absent:
            known = ", ".join(module.local_bytes) or "none"
            raise WrongArchError(
                f"no kernel {kernel_symbol(absent[0])} in the SPIR-V (it has: {known}); the kernel "
                'must be extern "C" with the property nd_range_kernel', log
            )  # fmt: skip
        path = directory / f"{Path(source.name).stem}.spv"
        path.write_bytes(data)
        resources = {
            e: Resources(shared_bytes=module.local_bytes[kernel_symbol(e)]) for e in entries
        }
        names = ", ".join(kernel_symbol(e) for e in entries)
        checked = f"SPIR-V {module.version}, OpEntryPoint Kernel {names}"
        note, built = self._machine_code(path, program.target.arch)
        if built is not None:
            resources = {e: built.resources[kernel_symbol(e)] for e in entries}
            command = f"{command} && {built.command}"
        return Artifact(
            arch=program.target.arch,
            format="spirv",
            path=str(path),
            sha=hashlib.sha256(data).hexdigest(),
            resources=resources,
            compiler=compiler,
            compiler_sha=sha,
            command=command,
            checked=checked + note,
            seconds=time.monotonic() - started,
        )

    def _machine_code(self, path: Path, arch: str) -> tuple[str, ocloc.Binary | None]:
        """Builds for the GPU itself where ocloc can; what to say of it, and the result."""
        if arch == "cpu":
            return "", None
        tool = ocloc.find_ocloc(path.parent)
        if tool is None:
            return f"; no machine code for {arch}: ocloc is not on PATH", None
        try:
            built = ocloc.build(tool, path, arch, DRIVER_FLAGS, spirv=True)
        except MissingError as error:
            return f"; no machine code for {arch}: {error}", None
        return f"; {built.checked}", built

    def executors(self) -> tuple[Executor, ...]:
        """The CPU device as emulator, the CPU as a target of its own, and an Intel GPU."""
        return DpctlEmulator(), DpctlCpu(), DpctlGpu()

    def package(self, plan: PackagePlan) -> PackageParts:
        """See Backend.package."""
        from mkgen_sycl.package import parts

        return parts(plan)


def _own_compiler() -> list[str]:
    return [toolchain.compiler_name(), toolchain.file_sha(toolchain.jit_library())]

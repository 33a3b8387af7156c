"""HIP text to a checked code object: compile to assembly, assemble, link."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from mkgen.codegen.external import compile_step, run_tool
from mkgen.errors import CompileError, MissingError
from mkgen.program import Artifact, Program, Resources
from mkgen_hip.archs import AMD_ARCHS, check_code_object, isa_version
from mkgen_hip.external import HipCompiler
from mkgen_hip.toolchain import (
    OCML_REMEDY,
    REMEDY,
    Toolchain,
    device_library,
    file_sha,
    require_toolchain,
)
from mkgen_simt.cubin import with_launches
from mkgen_simt.elf import read_elf

INCLUDE = Path(__file__).resolve().parent / "include"

#: HIP's own defaults, said aloud: divisions and square roots are correctly rounded, denormals are
#: kept, a*b+c may become one fma. `-fuse-cuid=none`: the default puts a hash of paths in the file.
OPTIONS = (
    "-O3",
    "-std=c++17",
    "-fno-fast-math",
    "-ffp-contract=fast",
    "-fhip-fp32-correctly-rounded-divide-sqrt",
    "-fno-gpu-flush-denormals-to-zero",
    "-fuse-cuid=none",
    "-Rpass-analysis=kernel-resource-usage",
)
# ocml.bc as shipped carries code object v5 (`__oclc_ABI_version` 500); clang 22 would write v6.
_ABI = "-mcode-object-version=5"

_FIELDS = {
    "vgpr_count": "registers",
    "agpr_count": "accumulator_registers",
    "sgpr_count": "scalar_registers",
    "vgpr_spill_count": "spilled_registers",
    "private_segment_fixed_size": "stack_bytes",
    "group_segment_fixed_size": "shared_bytes",
}
_REMARK = re.compile(r"remark:\s+(Function Name|Occupancy \[waves/SIMD\]): (\S+)")
_UNKNOWN_ARCH = re.compile("unsupported HIP gpu architecture|invalid target ID|unknown target CPU")
_UNDECLARED = re.compile(r"(undeclared identifier|no matching function for call to) '(\w+)'")


def compile_code_object(
    program: Program,
    directory: Path,
    extra: Sequence[str] = (),
    compiler: HipCompiler | None = None,
) -> Artifact:
    """Compiles the first source of `program` for its gfx arch into `directory`: .s and .hsaco.

    By the user's `compiler` where there is one. MissingError without clang or an arch it knows,
    CompileError with the log, WrongArchError.
    """
    if compiler is not None and compiler.toolchain is None:
        return _by_driver(compiler, program, directory, extra)
    start = time.perf_counter()
    toolchain = compiler.toolchain if compiler and compiler.toolchain else require_toolchain()
    source, arch = program.sources[0], program.target.arch
    directory.mkdir(parents=True, exist_ok=True)
    (directory / source.name).write_text(source.text)
    stem = f"{Path(source.name).stem}.{arch}"
    own = [] if toolchain.rocm else _own_headers(toolchain, arch, directory)
    rocm = [f"--rocm-path={toolchain.rocm}"] if toolchain.rocm else []
    abi = [] if toolchain.rocm else [_ABI]
    flags = ["-x", "hip", "--cuda-device-only", f"--offload-arch={arch}", *OPTIONS, *abi, *extra]
    command = [*toolchain.clang, *flags, *own, *rocm, "-S", source.name, "-o", f"{stem}.s"]
    log = _run(command, directory, source.name, arch)
    target = ["--target=amdgcn-amd-amdhsa", "-nogpulib", f"-mcpu={arch}", *abi]
    assemble = [*toolchain.clang, *target, "-c", f"{stem}.s", "-o", f"{stem}.o"]
    link = [*toolchain.lld, "--no-undefined", "-shared", f"{stem}.o", "-o", f"{stem}.hsaco"]
    for step in (assemble, link):
        _run(step, directory, source.name, arch)
    (directory / f"{stem}.o").unlink()
    path = directory / f"{stem}.hsaco"
    data = path.read_bytes()
    checked = check_code_object(data, arch)
    return Artifact(
        arch=arch,
        format="hsaco",
        path=str(path),
        sha=hashlib.sha256(data).hexdigest(),
        resources=_resources(program, (directory / f"{stem}.s").read_text(), log, data),
        compiler=compiler.version if compiler else toolchain.version,
        compiler_sha=compiler.sha if compiler else file_sha(toolchain.binary),
        command=" && ".join(_shown(toolchain, step) for step in (command, assemble, link)),
        isa_path=str(directory / f"{stem}.s"),
        checked=checked,
        seconds=time.perf_counter() - start,
    )


def _by_driver(
    compiler: HipCompiler, program: Program, directory: Path, extra: Sequence[str]
) -> Artifact:
    """As compile_code_object, by one call of a compiler that has HIP's headers: hipcc, ROCm's."""
    start = time.perf_counter()
    source, arch = program.sources[0], program.target.arch
    directory.mkdir(parents=True, exist_ok=True)
    (directory / source.name).write_text(source.text)
    stem = f"{Path(source.name).stem}.{arch}"
    path, assembly = directory / f"{stem}.hsaco", directory / f"{stem}.s"
    flags = ["-x", "hip", "--cuda-device-only", f"--offload-arch={arch}", *OPTIONS, *extra]
    flags += ["-c", "--no-gpu-bundle-output", "--save-temps=obj"]
    # the intermediate files, of which the assembly is one, are written beside the output
    kept = Path(tempfile.mkdtemp(prefix="keep-", dir=directory))
    made = kept / path.name
    command: list[str | Path] = [
        compiler.path,
        *flags,
        source.name,
        "-o",
        f"{kept.name}/{path.name}",
    ]
    try:
        log = compile_step(
            command, directory, f"{compiler.version} on {source.name} ({arch})", made
        )
        text = "".join(f.read_text(errors="replace") for f in sorted(kept.glob("*amdgcn*.s")))
        shutil.copyfile(made, path)
        assembly.write_text(text)
    except CompileError as error:
        if _UNKNOWN_ARCH.search(error.log):
            raise MissingError(
                f"{compiler.version} at {compiler.path} does not know {arch}; give a newer one"
            ) from error
        raise
    finally:
        shutil.rmtree(kept, ignore_errors=True)
    data = path.read_bytes()
    checked = check_code_object(data, arch)
    return Artifact(
        arch=arch,
        format="hsaco",
        path=str(path),
        sha=hashlib.sha256(data).hexdigest(),
        resources=_resources(program, text, log, data),
        compiler=compiler.version,
        compiler_sha=compiler.sha,
        command=" ".join((compiler.path.name, *flags, source.name, "-o", path.name)),
        isa_path=str(assembly),
        checked=checked,
        seconds=time.perf_counter() - start,
    )


def _own_headers(toolchain: Toolchain, arch: str, directory: Path) -> list[str]:
    """Options for our device header and whichever device library is here."""
    options = ["-nogpuinc", "-nogpulib", "-fdeclspec", "-isystem", str(INCLUDE)]
    library = device_library().path
    if library is None:
        return options
    controls = _controls(toolchain, arch, directory)
    for bitcode in (str(library / "ocml.bc"), str(library / "ockl.bc"), controls.name):
        options += ["-Xclang", "-mlink-builtin-bitcode", "-Xclang", bitcode]
    return [*options, "-DMKGEN_HIP_OCML"]


def _controls(toolchain: Toolchain, arch: str, directory: Path) -> Path:
    """The constants that specialise ocml, which ROCm ships as bitcode files and Triton does not.

    They must be plain constants: HIP's `__constant__` may be written by the host, so loads of it
    would stay in the kernel. Strict: nothing finite-only or unsafe, denormals kept.
    """
    values = {
        "finite_only_opt": "i8 0",
        "unsafe_math_opt": "i8 0",
        "daz_opt": "i8 0",
        "correctly_rounded_sqrt32": "i8 1",
        "wavefrontsize64": f"i8 {int(AMD_ARCHS[arch].wave == 64)}",
        "ISA_version": f"i32 {isa_version(arch)}",
        "ABI_version": "i32 500",
    }
    kind = "linkonce_odr hidden local_unnamed_addr addrspace(4) constant"
    lines = [f"@__oclc_{name} = {kind} {value}" for name, value in values.items()]
    text = directory / f"oclc.{arch}.ll"
    text.write_text("\n".join(['target triple = "amdgcn-amd-amdhsa"', *lines, ""]))
    path = text.with_suffix(".bc")
    target = ["--target=amdgcn-amd-amdhsa", f"-mcpu={arch}", "-nogpulib"]
    output = ["-x", "ir", "-emit-llvm", "-c", text.name, "-o", path.name]
    _run([*toolchain.clang, *target, *output], directory, text.name, arch)
    return path


def _run(command: Sequence[str], directory: Path, name: str, arch: str) -> str:
    """What `command` printed. It runs in `directory`, so that nothing it writes names a machine."""
    output = directory / command[command.index("-o") + 1]
    output.unlink(missing_ok=True)
    done = run_tool(command, directory)
    log = done.log
    if done.code == 0:
        if not output.is_file() or not output.stat().st_size:
            what = "is empty" if output.is_file() else "is not there"
            raise CompileError(f"clang said that all went well, but {output.name} {what}", log)
        return log
    if _UNKNOWN_ARCH.search(log):
        raise MissingError(
            f"{Path(command[0]).name} does not know {arch}; {REMEDY} for a newer one"
        )
    first = next((line for line in log.splitlines() if "error:" in line), log.strip()[-200:])
    ending = f"{done.ending} ({first})" if done.crashed and first else first or done.ending
    message = f"clang refused {name} ({arch}): {ending}"
    if _UNDECLARED.search(log) and "-nogpulib" in command and "-DMKGEN_HIP_OCML" not in command:
        message += f". No ocml was found, so only part of HIP's math is here: {OCML_REMEDY}"
    raise CompileError(message, log)


def _shown(toolchain: Toolchain, command: Sequence[str]) -> str:
    """`command` without the machine's directories, which would make two builds' records differ."""
    tools = {toolchain.clang, toolchain.lld}
    head = next(tool for tool in tools if tuple(command[: len(tool)]) == tool)
    words = [Path(head[0]).name, *head[1:], *command[len(head) :]]
    return " ".join(Path(w).name if w.startswith("/") else w for w in words if "rocm-path" not in w)


def _resources(program: Program, text: str, log: str, data: bytes) -> dict[str, Resources]:
    found = with_launches(program, parse_metadata(text, log), read_elf(data).functions)
    for launch in program.launches:
        if launch.entry not in found:
            raise CompileError(
                f"{program.sources[0].name} has no kernel {launch.entry!r}; it has "
                f'{", ".join(sorted(found)) or "none"}. Declare it extern "C" __global__',
                log,
            )
    return found


def parse_metadata(text: str, log: str = "") -> dict[str, Resources]:
    """Resources by kernel: `.amdgpu_metadata` of assembly, with occupancy from clang's remarks."""
    block = text.partition(".amdgpu_metadata")[2].partition(".end_amdgpu_metadata")[0]
    occupancy = _occupancy(log)
    found: dict[str, Resources] = {}
    for kernel in re.split(r"^  - (?=\.)", block, flags=re.MULTILINE)[1:]:
        fields = dict(re.findall(r"^(?:    )?\.(\w+):\s+(\S+)$", kernel, flags=re.MULTILINE))
        name = fields["name"].strip("'\"")
        known = {to: int(fields[of]) for of, to in _FIELDS.items() if of in fields}
        spilled = known.get("spilled_registers")
        found[name] = Resources(
            **known,
            spill_bytes=None if spilled is None else 4 * spilled,
            occupancy_waves=occupancy.get(name),
        )
    return found


def _occupancy(log: str) -> dict[str, int]:
    found: dict[str, int] = {}
    name = ""
    for key, value in _REMARK.findall(log):
        if key == "Function Name":
            name = value
        else:
            found[name] = int(value)
    return found

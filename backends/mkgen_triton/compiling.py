"""Cross-compilation of every kernel of a program by Triton, with no device and no driver."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import inspect
import io
import os
import re
import subprocess
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from mkgen.codegen.source_module import import_source, write_source
from mkgen.errors import CompileError, MkgenError
from mkgen.program import Artifact, Buffer, Launch, Program, Resources, TritonLaunch
from mkgen_triton.archs import TritonArch, check_binary, find_arch
from mkgen_triton.probe import installed, library_sha, require_triton
from mkgen_triton.resources import from_amdgcn, from_ptxas, worst

#: Triton's names of element types.
TYPES = {
    "float64": "fp64", "float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "int64": "i64",
    "int32": "i32", "int16": "i16", "int8": "i8", "uint8": "u8", "bool": "u1",
}  # fmt: skip
#: Beyond this AMD's 32-bit buffer offsets do not reach, and the JIT withholds the attribute.
POINTER_RANGE = 2**31 - 1


@dataclass(frozen=True)
class Kernel:
    """One compiled kernel: an entry with its constants, warps and stages."""

    name: str
    binary: bytes
    assembly: str
    resources: Resources
    checked: str


def compile_program(program: Program, directory: Path) -> Artifact:
    """Compiles every launch of `program` into `directory`.

    The artifact is the cubin or hsaco itself when there is one kernel, else a zip file of them in
    launch order (stored, dates fixed: the same kernels give the same bytes).

    Raises MissingError, CompileError (with the line in the file), WrongArchError.
    """
    require_triton()
    arch = find_arch(program.target.arch)
    start = time.perf_counter()
    if os.environ.get("TRITON_INTERPRET") == "1":
        raise MkgenError("Triton was imported as an interpreter; compile in a `compile` worker")
    path = write_source(program, directory)
    module = import_source(path)
    kernels = _compile_launches(program, module, path, arch)
    artifact = _write(program, kernels, directory, arch)
    resources: dict[str, Resources] = {}
    for launch_entry, kernel in kernels:
        known = resources.get(launch_entry)
        resources[launch_entry] = worst(known, kernel.resources) if known else kernel.resources
    assembly = artifact.with_suffix(".ptx" if arch.system == "cuda" else ".s")
    assembly.write_text("\n".join(k.assembly for _, k in kernels))
    return Artifact(
        arch=arch.arch.name,
        format="cubin" if arch.system == "cuda" else "hsaco",
        path=str(artifact),
        sha=hashlib.sha256(artifact.read_bytes()).hexdigest(),
        resources=resources,
        compiler=compiler_name(arch),
        compiler_sha=library_sha(),
        command=_command(program, arch),
        isa_path=str(assembly),
        checked=kernels[0][1].checked,
        seconds=time.perf_counter() - start,
    )


def _compile_launches(
    program: Program, module: ModuleType, path: Path, arch: TritonArch
) -> list[tuple[str, Kernel]]:
    done: dict[tuple[object, ...], str] = {}
    kernels: list[tuple[str, Kernel]] = []
    for launch in program.launches:
        configuration = launch.configuration
        if not isinstance(configuration, TritonLaunch):
            raise CompileError(f"launch of {launch.entry}: not a Triton launch configuration")
        buffers = tuple(program.buffer(name) for name in launch.args)
        key = (
            launch.entry,
            tuple((b.dtype, b.alignment % 16 == 0, _small(b)) for b in buffers),
            tuple(configuration.constexprs.items()),
            configuration.warps,
            configuration.stages,
        )
        if key in done:
            continue
        count = sum(entry == launch.entry for entry, _ in kernels)
        done[key] = name = launch.entry if count == 0 else f"{launch.entry}_{count + 1}"
        kernel = _compile_one(launch, configuration, buffers, module, path, arch, name)
        kernels.append((launch.entry, kernel))
    if not kernels:
        raise CompileError(f"{path.name}: the program has no launch: nothing to compile")
    return kernels


def _compile_one(
    launch: Launch,
    configuration: TritonLaunch,
    buffers: tuple[Buffer, ...],
    module: ModuleType,
    path: Path,
    arch: TritonArch,
    name: str,
) -> Kernel:
    triton: Any = importlib.import_module("triton")
    compiler: Any = importlib.import_module("triton.compiler")
    targets: Any = importlib.import_module("triton.backends.compiler")
    function = _jit_function(module, launch, path)
    constants = _constants(function, launch, configuration, path)
    pointers = function.arg_names[: len(buffers)]
    signature = {p: f"*{TYPES[b.dtype]}" for p, b in zip(pointers, buffers, strict=True)}
    signature |= dict.fromkeys(function.arg_names[len(buffers) :], "constexpr")
    attributes = {(i,): found for i, b in enumerate(buffers) if (found := _attributes(b, arch))}
    target = targets.GPUTarget(arch.system, arch.gpu, arch.arch.sub_group)
    printed = io.StringIO()
    triton.knobs.nvidia.dump_ptxas_log = True
    try:
        with contextlib.redirect_stdout(printed):
            compiled = triton.compile(
                compiler.ASTSource(function, signature, constants, attributes),
                target=target,
                options={"num_warps": configuration.warps, "num_stages": configuration.stages},
            )
    except Exception as error:
        raise _refused(error, function, path, launch.entry, printed.getvalue()) from error
    return _kernel(compiled, arch, name, printed.getvalue())


def _kernel(compiled: Any, arch: TritonArch, name: str, log: str) -> Kernel:
    shared = int(compiled.metadata.shared)
    if arch.system == "cuda":
        binary, assembly = compiled.asm["cubin"], compiled.asm["ptx"]
        resources = from_ptxas(log, shared, binary)
        if resources.registers is None:
            raise CompileError(
                f"{name}: ptxas printed no register count, so resources are unknown; "
                "set TRITON_ALWAYS_COMPILE=1 so that Triton's cache does not answer for it",
                log,
            )
    else:
        binary, assembly = compiled.asm["hsaco"], compiled.asm["amdgcn"]
        resources = from_amdgcn(assembly, shared, binary)
    return Kernel(name, binary, assembly, resources, check_binary(binary, arch))


def _jit_function(module: ModuleType, launch: Launch, path: Path) -> Any:
    jit: Any = importlib.import_module("triton.runtime.jit")
    function = getattr(module, launch.entry, None)
    if not isinstance(function, jit.JITFunction):
        raise CompileError(f"{path.name}: no @triton.jit function {launch.entry!r}")
    if len(function.arg_names) < len(launch.args):
        raise CompileError(
            f"{path.name}: {launch.entry} takes {len(function.arg_names)} arguments, the launch "
            f"gives {len(launch.args)} buffers"
        )
    return function


def _constants(
    function: Any, launch: Launch, configuration: TritonLaunch, path: Path
) -> dict[str, object]:
    """Values of the parameters after the pointers; defaults count. CompileError if one has none."""
    defaults = {
        n: p.default
        for n, p in inspect.signature(function.fn).parameters.items()
        if p.default is not inspect.Parameter.empty
    }
    names = function.arg_names[len(launch.args) :]
    given: dict[str, object] = dict(configuration.constexprs)
    unknown = sorted(set(given) - set(names))
    absent = [n for n in names if n not in given and n not in defaults]
    if unknown or absent:
        problem = f"unknown constants {unknown}" if unknown else f"no value for {absent}"
        raise CompileError(f"{path.name}: launch of {launch.entry}: {problem}")
    return {n: given.get(n, defaults.get(n)) for n in names}


def _small(buffer: Buffer) -> bool:
    elements = 1
    for extent in buffer.shape:
        elements *= extent
    bits = re.search(r"\d+", TYPES[buffer.dtype])
    width = max(8, int(bits.group())) // 8 if bits else 1
    return elements * width <= POINTER_RANGE


def _attributes(buffer: Buffer, arch: TritonArch) -> list[list[object]]:
    """What the JIT would find out about the pointer: the artifact must equal the JIT's."""
    found: list[list[object]] = []
    if buffer.alignment % 16 == 0:
        found.append(["tt.divisibility", 16])
    if arch.system == "hip" and _small(buffer):
        found.append(["tt.pointer_range", 32])
    return found


def _refused(error: Exception, function: Any, path: Path, entry: str, printed: str) -> CompileError:
    """CompileError with the line of the file: Triton counts from the `def`."""
    node = getattr(error, "node", None)
    decorators = re.split(r"^def\s", "".join(function.raw_src), maxsplit=1, flags=re.MULTILINE)[0]
    line = function.starting_line_number + decorators.count("\n")
    if node is not None and hasattr(node, "lineno"):
        line += node.lineno - 1
    text = str(error).strip() or type(error).__name__
    if printed and "ptxas" in text:
        text = "ptxas refused the kernel: " + _first_error(printed)
    last = text.splitlines()[-1].strip()
    cause = error.__cause__
    if cause is not None and node is not None:
        last = f"{last} ({str(cause).strip().splitlines()[-1]})" if str(cause).strip() else last
    return CompileError(f"{path.name}:{line}: {entry}: {last}", f"{error}\n{printed}")


def _first_error(printed: str) -> str:
    for text in printed.splitlines():
        if "error" in text or "fatal" in text:
            return text.strip()
    return "no message"


def _write(
    program: Program, kernels: list[tuple[str, Kernel]], directory: Path, arch: TritonArch
) -> Path:
    suffix = "cubin" if arch.system == "cuda" else "hsaco"
    stem = f"{program.launcher}.{arch.arch.name}"
    if len(kernels) == 1:
        path = directory / f"{stem}.{suffix}"
        path.write_bytes(kernels[0][1].binary)
        return path
    path = directory / f"{stem}.{suffix}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for _, kernel in kernels:
            archive.writestr(zipfile.ZipInfo(f"{kernel.name}.{suffix}"), kernel.binary)
    return path


def read_binaries(artifact: Artifact) -> dict[str, bytes]:
    """Every kernel binary of `artifact` by name (`entry`, `entry_2`, …)."""
    path = Path(artifact.path)
    if not zipfile.is_zipfile(path):
        return {next(iter(artifact.resources)): path.read_bytes()}
    with zipfile.ZipFile(path) as archive:
        return {Path(n).stem: archive.read(n) for n in archive.namelist()}


def compiler_name(arch: TritonArch | None) -> str:
    """`triton 3.9.0 (ptxas-blackwell 13.1.80)`, `triton 3.9.0 (LLVM's AMDGPU backend)`."""
    base = f"triton {installed('triton') or 'of unknown version'}"
    if arch is None:
        return base
    if arch.system == "hip":
        return f"{base} (LLVM's AMDGPU backend)"
    nvidia: Any = importlib.import_module("triton.backends.nvidia.compiler")
    tool = nvidia.get_ptxas(arch.gpu)
    return f"{base} ({Path(tool.path).name} {_ptxas_release(tool.path)})"


def _ptxas_release(path: str) -> str:
    text = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"V(\d+\.\d+\.\d+)", text)
    return found.group(1) if found else "of unknown version"


def _command(program: Program, arch: TritonArch) -> str:
    parts = []
    for launch in program.launches:
        c = launch.configuration
        if isinstance(c, TritonLaunch):
            constants = ", ".join(f"{k}={v}" for k, v in c.constexprs.items())
            parts.append(f"{launch.entry}({constants}) num_warps={c.warps} num_stages={c.stages}")
    target = f"GPUTarget({arch.system!r}, {arch.gpu!r}, {arch.arch.sub_group})"
    return f"triton.compile, {target}: {'; '.join(dict.fromkeys(parts))}"

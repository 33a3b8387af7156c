"""Ahead-of-time compilation: by libtpu for a TPU that is not there, by XLA on an NVIDIA GPU."""

from __future__ import annotations

import hashlib
import importlib
import re
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from mkgen.codegen.source_module import (
    argument_buffers,
    import_source,
    launcher_of,
    line_in,
    write_source,
)
from mkgen.errors import CompileError, MissingError, MkgenError, RefusedError, WrongArchError
from mkgen.program import Artifact, Program, Resources
from mkgen_pallas.archs import (
    PallasArch,
    check_program,
    cubin_sm,
    find_arch,
    gpu_binaries,
    machine_code,
)
from mkgen_pallas.arrays import jax_dtype
from mkgen_pallas.probe import GPU_REMEDY, installed, library_sha, require

#: Memory space of `used_scoped_memory_configs` that is VMEM.
VMEM = "1"
#: How an ELF file for an NVIDIA GPU starts: class 64, little-endian, OS ABI 0x41.
CUDA_ELF = b"\x7fELF\x02\x01\x01\x41"


def compile_program(program: Program, directory: Path) -> Artifact:
    """Compiles the launcher of `program` into `directory`.

    For a TPU the artifact is the program of libtpu's executable, for sm_90 the cubin (a zip file
    of them when XLA made several). Raises MissingError, CompileError, WrongArchError.
    """
    arch = find_arch(program.target.arch)
    require("jax", "libtpu") if arch.is_tpu else require("jax")
    start = time.perf_counter()
    path = write_source(program, directory)
    launcher = launcher_of(import_source(path), program)
    kind: Literal["tpu", "cubin", "xla"]
    build = _compile_tpu if arch.is_tpu else _compile_gpu
    compiled = build(program, launcher, path, arch)
    text = compiled.as_text()
    isa = directory / f"{program.launcher}.{arch.arch.name}.hlo.txt"
    isa.write_text(text)
    executable = compiled.runtime_executable().serialize()
    code_bytes = int(compiled.memory_analysis().generated_code_size_in_bytes)
    if arch.is_tpu:
        artifact = directory / f"{program.launcher}.{arch.arch.name}.tpu"
        code = program_of(executable, arch)
        artifact.write_bytes(code)
        checked = check_program(code, arch)
        kind = "tpu"
        command = f"jax.jit(...).lower(...).compile(), libtpu topology {arch.topology}"
    else:
        artifact, kind, checked = _write_gpu_code(program, executable, directory, arch)
        command = "jax.jit(...).lower(...).compile() on GPU 0"
    return Artifact(
        arch=arch.arch.name,
        format=kind,
        path=str(artifact),
        sha=hashlib.sha256(artifact.read_bytes()).hexdigest(),
        resources=_resources(program, text, code_bytes, arch),
        compiler=compiler_name(arch),
        compiler_sha=library_sha("libtpu" if arch.is_tpu else "cuda"),
        command=command,
        isa_path=str(isa),
        checked=checked,
        seconds=time.perf_counter() - start,
    )


def program_of(executable: bytes, arch: PallasArch) -> bytes:
    """The machine code in libtpu's `executable`; WrongArchError when its format is not known."""
    try:
        return machine_code(executable)
    except ValueError as error:
        raise WrongArchError(
            f"libtpu {installed('libtpu')}'s executable for {arch.arch.name} has {error}; "
            "install libtpu 0.0.42, whose format is known"
        ) from error


def _shapes(program: Program) -> list[Any]:
    jax: Any = importlib.import_module("jax")
    return [jax.ShapeDtypeStruct(b.shape, jax_dtype(b.dtype)) for b in argument_buffers(program)]


def _compile_tpu(
    program: Program, launcher: Callable[..., Any], path: Path, arch: PallasArch
) -> Any:
    jax: Any = importlib.import_module("jax")
    topologies: Any = importlib.import_module("jax.experimental.topologies")
    sharding: Any = importlib.import_module("jax.sharding")
    try:
        topology = topologies.get_topology_desc(platform="tpu", topology_name=arch.topology)
        device = topology.devices[0]
    except Exception as error:
        raise MissingError(
            f"libtpu {installed('libtpu')} gives no topology {arch.topology}: {_first(error)}; "
            "install the libtpu that belongs to this jax: pip install 'jax[tpu]'"
        ) from error
    if device.device_kind != arch.device_kind:
        raise WrongArchError(
            f"libtpu's topology {arch.topology} is a {device.device_kind!r}, "
            f"{arch.arch.name} is a {arch.device_kind!r}"
        )
    # Some lowerings ask the mesh which chip they are for; on a CPU machine nothing else says it.
    chip = sharding.AbstractDevice(
        device_kind=device.device_kind, num_cores=device.num_cores, platform="tpu"
    )
    mesh = sharding.AbstractMesh((), (), abstract_device=chip)
    place = sharding.SingleDeviceSharding(device)
    try:
        with sharding.use_abstract_mesh(mesh):
            jitted = jax.jit(launcher, in_shardings=place, out_shardings=place)
            lowered = jitted.lower(*_shapes(program))
        return lowered.compile()
    except MkgenError:
        raise
    except Exception as error:
        raise _refused(error, path, arch) from error


def _compile_gpu(
    program: Program, launcher: Callable[..., Any], path: Path, arch: PallasArch
) -> Any:
    jax: Any = importlib.import_module("jax")
    shapes = _shapes(program)
    try:
        # Needs no GPU, so that what the Triton lowering refuses is a compile error anywhere.
        jax.jit(launcher).trace(*shapes).lower(lowering_platforms=("cuda",))
    except MkgenError:
        raise
    except Exception as error:
        raise _refused(error, path, arch) from error
    device = jax.devices()[0]
    here = str(getattr(device, "compute_capability", ""))
    if device.platform != "gpu" or f"sm_{here.replace('.', '')}" != arch.arch.name:
        raise MissingError(
            f"Pallas' Triton lowering accepts {path.name}, but XLA makes {arch.arch.name} code "
            f"only on such a GPU, and JAX sees {device.device_kind!r}; {GPU_REMEDY}"
        )
    try:
        return jax.jit(launcher).lower(*shapes).compile()
    except Exception as error:
        raise _refused(error, path, arch) from error


def _first(error: object) -> str:
    lines = [text.strip() for text in str(error).splitlines() if text.strip()]
    return lines[0] if lines else "no message"


def _refused(error: Exception, path: Path, arch: PallasArch) -> CompileError:
    """CompileError with the compiler's own message and, where one is known, the file's line."""
    text = str(error).replace(f"{path.parent}/", "")
    named = re.search(rf"{re.escape(path.name)}\"?:(\d+)", text)
    # JAX hangs the operation's own place in the file on the error as its cause.
    places = [line_in(path, e) for e in (error.__cause__, error) if e is not None]
    line = int(named.group(1)) if named else max(places)
    message = _first(text)
    # XLA's first line is a status with the whole HLO after it; Mosaic's reason follows its prefix.
    reason = re.search(r"(Mosaic failed to compile TPU kernel: .*|Ran out of memory.*)", text)
    if reason:
        message = reason.group(1)
    where = f"{path.name}:{line}" if line else path.name
    return CompileError(f"{where}: refused for {arch.arch.name}: {message[:500]}", text)


def _resources(
    program: Program, hlo: str, code_bytes: int, arch: PallasArch
) -> dict[str, Resources]:
    """VMEM of each kernel, from the `used_scoped_memory_configs` of its custom call.

    CompileError when a launch has no kernel in the compiled module: something else computed it.
    """
    used: dict[str, int] = {}
    target = "tpu_custom_call" if arch.is_tpu else "__gpu$xla.gpu.triton"
    for text in hlo.splitlines():
        if f'custom_call_target="{target}"' not in text:
            continue
        name = re.match(r"\s*(?:ROOT )?%?([\w.$-]+?)(?:\.\d+)? = ", text)
        config = re.search(r'"used_scoped_memory_configs":\[(.*?)\]', text)
        sizes = re.findall(
            rf'"memory_space":"{VMEM}","offset":"\d+","size":"(\d+)"', config.group(1)
        ) if config else []  # fmt: skip
        if name:
            key = name.group(1)
            used[key] = max(used.get(key, 0), sum(int(size) for size in sizes))
    found = {}
    if launches_itself(program):
        if not used:
            raise RefusedError(
                f"{program.launcher}: no kernel of its own is in the compiled module"
            )
        return {
            entry: Resources(shared_bytes=vmem or None, code_bytes=code_bytes)
            for entry, vmem in used.items()
        }
    for entry in dict.fromkeys(launch.entry for launch in program.launches):
        if arch.is_tpu and entry not in used:
            raise CompileError(
                f"{program.launcher}: no Pallas kernel {entry!r} in the compiled module (it has "
                f"{', '.join(used) or 'none'}); give pallas_call name={entry!r}"
            )
        found[entry] = Resources(shared_bytes=used.get(entry) or None, code_bytes=code_bytes)
    return found


def launches_itself(program: Program) -> bool:
    """Whether the one step is a call of the launcher: a user's own text, whose kernels no step
    names."""
    return [launch.entry for launch in program.launches] == [program.launcher]


def _write_gpu_code(
    program: Program, executable: bytes, directory: Path, arch: PallasArch
) -> tuple[Path, Literal["cubin", "xla"], str]:
    cubins = gpu_binaries(executable)
    wanted = int(arch.arch.name.removeprefix("sm_"))
    if CUDA_ELF in executable and not any(50 <= cubin_sm(c) < 200 for c in cubins):
        # JAX 0.11 compresses the executable: the header of a cubin shows, its flags do not.
        path = directory / f"{program.launcher}.{arch.arch.name}.xla"
        path.write_bytes(executable)
        return path, "xla", (
            f"XLA made it for the GPU at hand, compute capability {wanted / 10}; it holds a CUDA "
            "ELF header, compressed, so that its e_flags are not read"
        )  # fmt: skip
    if not cubins or any(cubin_sm(c) != wanted for c in cubins):
        seen = ", ".join(str(cubin_sm(c)) for c in cubins) or "none"
        raise WrongArchError(f"XLA's executable for {arch.arch.name} has cubins of SM {seen}")
    stem = f"{program.launcher}.{arch.arch.name}.cubin"
    checked = f"{len(cubins)} cubins in XLA's executable, ELF e_flags SM {wanted} in each"
    if len(cubins) == 1:
        path = directory / stem
        path.write_bytes(cubins[0])
        return path, "cubin", checked
    path = directory / f"{stem}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for i, cubin in enumerate(cubins):
            archive.writestr(zipfile.ZipInfo(f"{i}.cubin"), cubin)
    return path, "cubin", checked


def read_cubins(artifact: Artifact) -> list[bytes]:
    """Every cubin of an `artifact` for a GPU, in order."""
    path = Path(artifact.path)
    if not zipfile.is_zipfile(path):
        return [path.read_bytes()]
    with zipfile.ZipFile(path) as archive:
        return [archive.read(name) for name in archive.namelist()]


def compiler_name(arch: PallasArch) -> str:
    """`libtpu 0.0.42.1 (Mosaic), jax 0.10.2`, or XLA's name for a GPU."""
    jax = f"jax {installed('jax')}"
    if arch.is_tpu:
        return f"libtpu {installed('libtpu')} (Mosaic), {jax}"
    return f"XLA in jaxlib {installed('jaxlib')} (Pallas through Triton), {jax}"

"""Intel's ahead-of-time compiler `ocloc`: SPIR-V or OpenCL C to the machine code of an Intel GPU.

It needs no GPU. Debian and Ubuntu have it in `intel-opencl-icd` or `intel-ocloc`.
"""

from __future__ import annotations

import re
import shlex
import shutil
import struct
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mkgen.codegen.external import (
    chosen_compiler,
    compile_step,
    digest,
    parts_of,
    run_tool,
)
from mkgen.errors import CompileError, MissingError, WrongArchError
from mkgen.program import Resources

REMEDY = "apt install intel-opencl-icd (Debian) or intel-ocloc (Intel's repository)"
_EM_INTELGT = 205
_QUESTION_SECONDS = 20.0


@dataclass(frozen=True)
class Ocloc:
    """An `ocloc` on this machine."""

    path: Path
    version: str
    sha: str

    def __str__(self) -> str:
        """Name and version."""
        return f"ocloc {self.version}"


@dataclass(frozen=True)
class Binary:
    """What ocloc built: a zebin (ELF) for one GPU."""

    path: Path
    resources: dict[str, Resources]
    checked: str
    command: str


def ocloc_path() -> Path | None:
    """Where `ocloc` is: the one the user chose for OpenCL, else the one on PATH."""
    chosen = chosen_compiler("opencl")
    if chosen is not None:
        return chosen
    found = shutil.which("ocloc")
    return Path(found) if found else None


@cache
def find_ocloc(directory: Path) -> Ocloc | None:
    """The `ocloc` on PATH, or None. It writes its version to a file, in `directory`."""
    path = ocloc_path()
    if path is None:
        return None
    query = run_tool([path, "query", "OCL_DRIVER_VERSION"], directory, _QUESTION_SECONDS)
    answer = directory / "OCL_DRIVER_VERSION"
    version = answer.read_text().strip("\0 \n") if answer.exists() else ""
    if not version and "ocloc" not in query.log.lower():
        first = (query.log.strip().splitlines() or ["nothing"])[0]
        raise MissingError(f"{path} is no ocloc (it says {first!r}); {REMEDY}")
    return Ocloc(path, version or f"(version unknown: {query.ending})", digest(parts_of(path)))


def build(
    ocloc: Ocloc, source: Path, arch: str, options: tuple[str, ...], *, spirv: bool
) -> Binary:
    """Compiles `source` for `arch` next to it.

    Raises MissingError when this ocloc is too old to know `arch`, CompileError with its log when it
    refuses the text, WrongArchError when the result is no Intel GPU code.
    """
    name = f"{source.stem}.{arch}.bin"
    command = [
        str(ocloc.path), "compile", "-file", source.name, "-device", arch,
        *(("-spirv_input",) if spirv else ()),
        *(("-options", " ".join(options)) if options else ()),
        # Before 23.x the default output for some GPUs is not the ELF that states its resources.
        "-internal_options", "-ze-allow-zebin",
        "-output_no_suffix", "-output", name, "-out_dir", ".",
    ]  # fmt: skip
    binary = source.parent / name
    shown = shlex.join(["ocloc", *command[1:]])
    try:
        compile_step(command, source.parent, f"{ocloc} on {source.name} ({arch})", binary)
    except CompileError as error:
        if re.search(r"Cannot get HW Info|Invalid device|Could not determine", error.log):
            raise MissingError(
                f"{ocloc} does not know {arch}; install a newer one: {REMEDY}"
            ) from error
        told = f" ({_first_error(error.log)})" if "error" in error.log.lower() else ""
        raise CompileError(
            f"{ocloc} refused the program for {arch}: {error}{told}", error.log
        ) from error
    data = binary.read_bytes()
    info = _section(data, ".ze_info")
    return Binary(
        binary,
        read_ze_info(info),
        f"{ocloc} built it for {arch}: ELF machine {_EM_INTELGT} (EM_INTELGT)",
        shown,
    )


def _first_error(log: str) -> str:
    lines = [line for line in log.splitlines() if "error" in line.lower()]
    return (lines or log.splitlines() or ["no message"])[0].strip()


def _section(data: bytes, wanted: str) -> str:
    """The text of an ELF64 section of a zebin; WrongArchError when it is none."""
    if data[:4] != b"\x7fELF" or struct.unpack_from("<H", data, 18)[0] != _EM_INTELGT:
        raise WrongArchError("ocloc gave no ELF with Intel GPU code; a newer ocloc does")
    table = struct.unpack_from("<Q", data, 40)[0]
    size, count, names_at = struct.unpack_from("<HHH", data, 58)
    headers = [struct.unpack_from("<IIQQQQ", data, table + i * size) for i in range(count)]
    names = headers[names_at]
    for header in headers:
        start = names[4] + header[0]
        if data[start : data.index(b"\0", start)].decode() == wanted:
            return data[header[4] : header[4] + header[5]].decode()
    raise WrongArchError(f"the code ocloc gave has no {wanted} section")


def read_ze_info(text: str) -> dict[str, Resources]:
    """Resources by kernel from a `.ze_info` document.

    Read line by line: the section is machine-written YAML with one key a line, and a YAML library
    would be a dependency for six numbers.
    """
    kernels = text.split("kernels_misc_info:")[0]
    parts = re.split(r"^  - name: +(\S+)$", kernels, flags=re.MULTILINE)[1:]
    resources = {}
    for name, body in zip(parts[::2], parts[1::2], strict=True):
        # Old compilers state spills as the size of a scratch buffer, newer ones by a key.
        buffers = re.findall(r"- type: +scratch\n +usage: +spill_fill_space\n +size: +(\d+)", body)
        spilled = _number(body, "spill_size") or sum(int(b) for b in buffers)
        resources[name.strip("'\"")] = Resources(
            registers=_number(body, "grf_count"),
            spill_bytes=spilled,
            stack_bytes=_number(body, "private_size") or 0,
            shared_bytes=_number(body, "slm_size") or 0,
            simd_width=_number(body, "simd_size"),
        )
    return resources


def _number(text: str, key: str) -> int | None:
    match = re.search(rf"^ +{key}: +(\d+)$", text, flags=re.MULTILINE)
    return int(match[1]) if match else None

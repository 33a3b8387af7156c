"""nvcc, where the user names one by --toolchain: CUDA text to a checked cubin."""

from __future__ import annotations

import functools
import hashlib
import re
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mkgen.codegen.external import ask, compile_step, digest, parts_of
from mkgen.errors import CompileError, MissingError
from mkgen.program import Artifact, Program
from mkgen_simt.cubin import check_cubin, ptxas_resources, with_launches
from mkgen_simt.elf import read_elf

#: nvcc's own defaults, said aloud: the same arithmetic as NVRTC is asked for.
OPTIONS = ("-O3", "-std=c++17", "--prec-div=true", "--prec-sqrt=true", "--ftz=false")

_RELEASE = re.compile(r"release [\d.]+, (V[\d.]+)")
_UNKNOWN_ARCH = re.compile(r"Unsupported gpu architecture|is not defined for option 'gpu-arch")


@dataclass(frozen=True)
class Nvcc:
    """An nvcc that answers."""

    path: Path
    version: str
    """`nvcc V13.5.37`."""
    parts: tuple[Path, ...]
    """Every file that takes part: nvcc, cicc, ptxas; what a wrapper script runs."""

    @property
    def sha(self) -> str:
        """Hash of all parts, read again when one was replaced."""
        return digest(self.parts)


@functools.cache
def find_nvcc(path: Path) -> Nvcc:
    """The nvcc at `path`. MissingError when it does not run, or is another kind of program."""
    with tempfile.TemporaryDirectory(prefix="mkgen-nvcc-") as scratch:
        directory = Path(scratch)
        told = ask(path, directory, "--version")
        release = _RELEASE.search(told)
        if release is None or "Cuda compiler driver" not in told:
            first = (told.strip().splitlines() or ["nothing"])[0]
            raise MissingError(
                f"{path} is no nvcc (--version says {first!r}); give --toolchain cuda=/path/to/nvcc"
            )
        (directory / "empty.cu").touch()
        plan = ask(path, directory, "--dryrun", "-cubin", "empty.cu")
    return Nvcc(path, f"nvcc {release[1]}", tuple(sorted({*parts_of(path), *_tools(plan)})))


def compile_by_nvcc(
    nvcc: Nvcc, program: Program, directory: Path, options: Sequence[str] = ()
) -> Artifact:
    """Compiles the first source of `program` for its arch into `directory`: .cubin and .ptx.

    CompileError with nvcc's log, MissingError when it is too old for the arch, WrongArchError.
    """
    start = time.perf_counter()
    source, arch = program.sources[0], program.target.arch
    directory.mkdir(parents=True, exist_ok=True)
    (directory / source.name).write_text(source.text)
    stem = Path(source.name).stem
    path = directory / f"{stem}.{arch}.cubin"
    flags = ["-cubin", f"-arch={arch}", *OPTIONS, *options, "-Xptxas", "-v"]
    # the intermediate files hold the PTX; their place must not be the source's own
    kept = Path(tempfile.mkdtemp(prefix="keep-", dir=directory))
    own = (*flags, "--keep", "--keep-dir", kept.name, source.name, "-o", path.name)
    command: list[str | Path] = [nvcc.path, *own]
    try:
        log = compile_step(command, directory, f"{nvcc.version} on {source.name} ({arch})", path)
        ptx = kept / f"{stem}.ptx"
        readable = directory / f"{stem}.{arch}.ptx"
        if ptx.is_file():
            shutil.copyfile(ptx, readable)
    except CompileError as error:
        if _UNKNOWN_ARCH.search(error.log):
            raise MissingError(
                f"{nvcc.version} at {nvcc.path} does not know {arch}; give a newer one"
            ) from error
        raise
    finally:
        shutil.rmtree(kept, ignore_errors=True)
    data = path.read_bytes()
    checked = check_cubin(data, arch)
    resources = with_launches(program, ptxas_resources(log), read_elf(data).functions)
    for launch in program.launches:
        if launch.entry not in resources:
            raise CompileError(
                f"{nvcc.version} gave a cubin for {source.name} whose log names no kernel "
                f"{launch.entry!r}; it names {', '.join(sorted(resources)) or 'none'}",
                log,
            )
    return Artifact(
        arch=arch,
        format="cubin",
        path=str(path),
        sha=hashlib.sha256(data).hexdigest(),
        resources=resources,
        compiler=nvcc.version,
        compiler_sha=nvcc.sha,
        command=" ".join((nvcc.path.name, *flags, source.name, "-o", path.name)),
        isa_path=str(readable) if readable.is_file() else None,
        checked=checked,
        seconds=time.perf_counter() - start,
    )


def _tools(plan: str) -> set[Path]:
    """The programs that `nvcc --dryrun` says it would run, but for the host's own compiler."""
    variables = dict(re.findall(r"^#\$ (\w+)=(.*)$", plan, flags=re.MULTILINE))
    places = variables.get("PATH", "")
    found: set[Path] = set()
    for word in re.findall(r'^#\$ "?([^"\s=]+)"? ', plan, flags=re.MULTILINE):
        name = re.sub(r"\$(\w+)", lambda m: variables.get(m[1], ""), word)
        tool = shutil.which(name, path=places)
        if tool and Path(name).name in ("cicc", "ptxas", "cudafe++", "fatbinary"):
            found |= set(parts_of(Path(tool)))
    return found

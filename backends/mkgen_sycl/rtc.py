"""The device compiler by its public interface, for releases whose internal one is not known.

A small C++ program (rtc.cpp) is built by g++ against the wheel's headers, once a process (2 s),
and run for each text. It gives the same SPIR-V, byte for byte, but needs a host compiler and a SYCL
device.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from mkgen.errors import CompileError, MissingError

_SOURCE = Path(__file__).with_name("rtc.cpp")
_REFUSED = 1
_TIMEOUT = 300
#: What the extension calls every text in its messages.
_NAME = "rtc_0.cpp"


def host_compiler() -> str | None:
    """The C++ compiler on PATH."""
    return shutil.which("g++") or shutil.which("c++")


@cache
def _program(library: Path) -> Path:
    """rtc.cpp, built against the release whose libsycl lies beside `library`."""
    compiler = host_compiler()
    if compiler is None:
        raise MissingError("no g++ on PATH to build the SYCL compiler's driver; apt install g++")
    directory = Path(tempfile.mkdtemp(prefix="mkgen-sycl-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    binary = directory / "rtc"
    libraries = library.parent
    command = [
        compiler, "-std=c++20", "-O0", "-w", "-DSYCL_DISABLE_FSYCL_SYCLHPP_WARNING",
        f"-I{libraries.parent / 'include'}", str(_SOURCE), "-o", str(binary),
        f"-L{libraries}", "-lsycl", f"-Wl,-rpath,{libraries}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    if done.returncode:
        raise MissingError(
            f"{compiler} cannot build the SYCL compiler's driver against {libraries.parent}: "
            f"{done.stderr.strip()[:500]}; install another release of intel-sycl-rt"
        )
    return binary


def compile_sycl(
    library: Path, name: str, text: str, options: tuple[str, ...], directory: Path
) -> tuple[bytes, str]:
    """As jit.compile_sycl, with scratch files in `directory`."""
    program = _program(library)
    source, output = directory / name, directory / f"{name}.rtc.spv"
    source.write_text(text)
    # With a filter for one backend, release 2026.2 does not load its OpenCL adapter at all.
    environment = {k: v for k, v in os.environ.items() if k != "ONEAPI_DEVICE_SELECTOR"}
    done = subprocess.run(
        [str(program), str(source), str(output), *options],
        env=environment, capture_output=True, text=True, timeout=_TIMEOUT, check=False,
    )  # fmt: skip
    log = done.stderr.replace(_NAME, name).strip()
    if done.returncode == _REFUSED:
        raise CompileError(f"the SYCL compiler refused {name}: {first_error(log)}", log)
    if done.returncode:
        raise MissingError(
            f"the SYCL runtime could not compile (exit {done.returncode}: {log[:300]}); it needs a "
            "SYCL device: pip install 'mkgen[sycl]' brings the CPU's"
        )
    return output.read_bytes(), log


def first_error(log: str) -> str:
    """The first line of a compiler's log that states an error."""
    lines = [line for line in log.splitlines() if "error:" in line]
    return (lines or log.splitlines() or ["no message"])[0].strip()

"""What of Triton works here, from package metadata alone: nothing heavy is imported."""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from mkgen.codegen.backend import Ability, Probe
from mkgen.errors import MissingError

REMEDY = "pip install 'mkgen[triton]'"
#: The interpreter of Triton before 3.7 calls a numpy function that numpy 2.4 removed.
INTERPRETER_NUMPY = (2, 4)


def installed(package: str) -> str | None:
    """Version of the installed distribution `package`, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def triton_directory() -> Path | None:
    """Where the triton package lies, without importing it."""
    try:
        spec = find_spec("triton")
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent


def require_triton() -> Path:
    """Triton's directory; MissingError with the remedy when Triton or PyTorch is not installed."""
    directory = triton_directory()
    if directory is None:
        raise MissingError(f"Triton is not installed here; {REMEDY}")
    if find_spec("torch") is None:
        raise MissingError(f"PyTorch, which the launcher imports, is not installed; {REMEDY}")
    return directory


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(p) for p in text.split(".")[:2] if p.isdigit())


def interpreter_problem() -> str | None:
    """Why the interpreter cannot work with the installed packages, or None."""
    triton, numpy = installed("triton"), installed("numpy")
    if triton is None or numpy is None:
        return None
    if _numbers(triton) < (3, 7) and _numbers(numpy) >= INTERPRETER_NUMPY:
        return f"the interpreter of triton {triton} does not work with numpy {numpy} (below 2.4)"
    return None


def probe() -> Probe:
    """Abilities from metadata and the presence of NVIDIA's and AMD's device files."""
    generate = Ability(True, "rendering needs nothing installed")
    tried = ("distribution triton", "distribution torch")
    found = {name: installed(name) for name in ("triton", "torch")}
    missing = [name for name, there in found.items() if there is None]
    if triton_directory() is None and "triton" not in missing:
        missing.insert(0, "triton")
    if missing:
        absent = Ability(
            False, tried=tried, reason=f"not installed: {', '.join(missing)}", remedy=REMEDY
        )
        return Probe(generate, absent, absent, absent)
    what = f"triton {found['triton']}, torch {found['torch']}"
    compiling = Ability(True, f"{what} (NVIDIA and AMD, no device needed)", tried)
    problem = interpreter_problem()
    execute = (
        Ability(False, what, tried, problem, "pip install --upgrade triton, or 'numpy<2.4'")
        if problem
        else Ability(True, f"{what} (interpreter)", tried)
    )
    return Probe(generate, compiling, execute, _measure(what))


def _measure(what: str) -> Ability:
    places = ("/dev/nvidia0", "/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
    for place in places:
        if os.path.exists(place):
            return Ability(True, f"{what}; {place}", places)
    return Ability(
        False,
        what,
        places,
        "no NVIDIA or AMD GPU is visible",
        "run on a machine with a GPU and its PyTorch build: mkgen verify DIR --require device",
    )


@lru_cache(maxsize=1)
def library_sha() -> str:
    """SHA-256 of libtriton.so: version strings are shared by builds that differ."""
    library = require_triton() / "_C" / "libtriton.so"
    if not library.is_file():
        raise MissingError(f"{library} is not there: this triton is incomplete; {REMEDY}")
    with library.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

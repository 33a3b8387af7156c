"""What of JAX, libtpu and devices is here, from package metadata: nothing heavy is imported."""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from mkgen.codegen.backend import Ability, Probe
from mkgen.errors import MissingError

REMEDY = "pip install 'mkgen[pallas]'"
GPU_REMEDY = (
    "on a machine with an NVIDIA GPU of arch sm_90 run pip install 'jax[cuda13]' and compile there"
)
#: Device files of TPU VMs: v4 and before, and later ones through VFIO.
TPU_FILES = ("/dev/accel0", "/dev/vfio/0")
GPU_FILES = ("/dev/nvidia0", "/dev/nvidiactl")


def installed(package: str) -> str | None:
    """Version of the installed distribution `package`, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def package_file(package: str, name: str) -> Path | None:
    """The file `name` of an importable package, without importing it; None when absent."""
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.submodule_search_locations:
        return None
    for place in spec.submodule_search_locations:
        path = Path(place) / name
        if path.is_file():
            return path
    return None


def require(*packages: str) -> None:
    """MissingError with the remedy when one of `packages` is not installed."""
    missing = [p for p in packages if installed(p) is None]
    if missing:
        raise MissingError(f"not installed: {', '.join(missing)}; {REMEDY}")


def libtpu_file() -> Path | None:
    """libtpu's shared library, or None."""
    return package_file("libtpu", "libtpu.so")


@lru_cache(maxsize=4)
def file_sha(path: Path) -> str:
    """SHA-256 of a library: nightlies share version strings."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def library_sha(package: str) -> str:
    """SHA-256 of what compiles: the library of `libtpu`, of `jaxlib`, or of the `cuda` plug-in."""
    if package == "libtpu":
        path = libtpu_file()
    elif package == "jaxlib":
        path = package_file("jaxlib", "libjax_common.so")
    else:
        places = (f"jax_plugins.xla_cuda{major}" for major in (13, 12))
        files = (package_file(place, "xla_cuda_plugin.so") for place in places)
        path = next((file for file in files if file), None)
    if path is None:
        raise MissingError(f"{package}'s shared library is not there; {REMEDY}")
    return file_sha(path)


def device_platform() -> str | None:
    """`tpu` or `cuda` when its device file and its JAX plug-in are here, else None."""
    if libtpu_file() and any(os.path.exists(place) for place in TPU_FILES):
        return "tpu"
    plugins = (f"jax-cuda{major}-plugin" for major in (13, 12))
    if any(installed(p) for p in plugins) and any(os.path.exists(p) for p in GPU_FILES):
        return "cuda"
    return None


def probe() -> Probe:
    """Abilities from metadata and device files."""
    jax, libtpu = installed("jax"), installed("libtpu")
    tried = ("distribution jax", "distribution libtpu")
    generate = Ability(True, "rendering needs nothing installed")
    if jax is None:
        absent = Ability(False, tried=tried, reason="not installed: jax", remedy=REMEDY)
        return Probe(generate, absent, absent, absent)
    execute = Ability(True, f"jax {jax} (interpret mode)", tried)
    compiling = (
        Ability(True, f"libtpu {libtpu} through jax {jax} (no TPU needed)", tried)
        if libtpu and libtpu_file()
        else Ability(False, f"jax {jax}", tried, "not installed: libtpu", REMEDY)
    )
    platform = device_platform()
    if platform:
        measure = Ability(True, f"jax {jax} on {platform}", (*TPU_FILES, *GPU_FILES))
        return Probe(generate, compiling, execute, measure)
    nowhere = Ability(
        False,
        f"jax {jax}",
        (*TPU_FILES, *GPU_FILES),
        "no TPU and no NVIDIA GPU with its JAX plug-in is here",
        "run on a TPU VM: mkgen verify DIR --require device",
    )
    return Probe(generate, compiling, execute, nowhere)

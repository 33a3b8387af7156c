"""`make paste-tools`: public compilers into .paste-tools, unseen by the rest of the machine.

nvcc comes as wheels, hipcc with AMD's headers and clang as Debian's packages, unpacked, not
installed: a hipcc on PATH would change what mkgen compiles with.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable

from compiler_wrappers import TOOLS, script

_WHEELS = (
    "nvidia-cuda-nvcc", "nvidia-cuda-crt", "nvidia-nvvm", "nvidia-cuda-runtime", "nvidia-cuda-cccl",
)  # fmt: skip
_PACKAGES = (
    "hipcc", "libamdhip64-dev", "libamdhip64-5", "libhiprtc-builtins5", "libamd-comgr-dev",
    "libamd-comgr2", "libhsa-runtime-dev", "libhsa-runtime64-1", "libhsakmt1", "rocm-device-libs",
    "rocminfo", "clang-15", "clang-tools-15", "lld-15", "llvm-15", "libclang-common-15-dev",
    "libclang-cpp15", "libllvm15", "libfile-which-perl", "liburi-encode-perl",
)  # fmt: skip

#: Debian's hipcc looks for its parts in /usr; these variables tell it where they are instead.
_HIPCC = """root={root}/usr
libraries=$root/lib/x86_64-linux-gnu
export HIP_PLATFORM=amd HIP_PATH=$root ROCM_PATH=$root HIP_ROCCLR_HOME=$root HSA_PATH=$root
export HIP_CLANG_PATH=$root/bin DEVICE_LIB_PATH=$libraries/amdgcn/bitcode
export PERL5LIB=$root/share/perl5 LD_LIBRARY_PATH=$libraries:$root/lib/llvm-15/lib
export LIBRARY_PATH=$libraries:$root/lib/llvm-15/lib/clang/15.0.6/lib/linux
exec perl {root}/usr/bin/hipcc "$@" # runs {root}/usr/lib/llvm-15/bin/clang"""


def install_nvcc() -> None:
    """nvcc of the newest release."""
    place = TOOLS / "cuda"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade"]
    subprocess.run([*pip, "--target", str(place), *_WHEELS], check=True)
    found = next(place.glob("nvidia/cu*/bin/nvcc"))
    script(TOOLS / "bin/nvcc", f'exec {found} "$@"')


def install_hipcc() -> None:
    """Debian's hipcc with the HIP headers and device library of ROCm."""
    if shutil.which("apt-get") is None:
        raise SystemExit("no apt-get here: install ROCm and set MKGEN_HIPCC to its hipcc")
    packages, place = TOOLS / "packages", TOOLS / "hip"
    packages.mkdir(parents=True, exist_ok=True)
    subprocess.run(["apt-get", "download", *_PACKAGES], cwd=packages, check=True)
    for package in sorted(packages.glob("*.deb")):
        subprocess.run(["dpkg", "-x", package, place], check=True)
    shutil.rmtree(packages)
    script(TOOLS / "bin/hipcc", _HIPCC.format(root=place))


def main() -> int:
    """Installs what is not there; 1 when one of them cannot be had here."""
    failed = []
    tools: tuple[tuple[str, Callable[[], None]], ...] = (
        ("nvcc", install_nvcc), ("hipcc", install_hipcc),
    )  # fmt: skip
    for name, install in tools:
        path = TOOLS / "bin" / name
        try:
            if not path.is_file():
                install()
            done = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)
            print(f"{path}: {done.stdout.strip().splitlines()[-1]}")
        except (subprocess.CalledProcessError, OSError, StopIteration) as error:
            failed.append(name)
            print(f"{name} cannot be installed here: {error}", file=sys.stderr)
    if shutil.which("ocloc") is None:
        print("ocloc is not on PATH; apt install intel-opencl-icd", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

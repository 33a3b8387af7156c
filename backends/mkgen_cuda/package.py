"""The CUDA part of a package."""

from __future__ import annotations

import re

from mkgen.codegen.package import PackageParts, PackagePlan
from mkgen.package.model_file import model_text
from mkgen_simt.package import build_script, c_header, library_name, stream_model

#: nvcc's own defaults, said aloud; the same words NVRTC was given when the text was judged.
_OPTIONS = ("-O3", "-std=c++17", "--prec-div=true", "--prec-sqrt=true", "--ftz=false")
#: Where the 16-bit types of a launcher are declared.
_NARROW = {"__half": "cuda_fp16.h", "__nv_bfloat16": "cuda_bf16.h"}


def parts(plan: PackagePlan) -> PackageParts:
    """Header, build.sh by nvcc, and model.py over ctypes."""
    arch, source = plan.program.target.arch, plan.program.sources[-1]
    library = library_name(plan)
    told = (
        "// Launches on `stream`; every pointer is a contiguous, 16-byte aligned device buffer.\n"
    )
    code = arch.removeprefix("sm_")
    script = build_script(
        f"Builds {library} for {arch} with NVIDIA's nvcc.",
        ("NVCC", "nvcc"),
        (f"-gencode arch=compute_{code},code={arch}", " ".join((*_OPTIONS, *plan.flags)),
         "-shared -Xcompiler -fPIC", f"{source.name} -o {library}"),
    )  # fmt: skip
    return PackageParts(
        files={
            f"{plan.launcher}.h": c_header(plan, "cuda_runtime_api.h", told, _NARROW),
            "build.sh": script,
            "model.py": model_text(plan, stream_model(plan, "cudaError_t", absent(arch))),
        },
        needs=f"a CUDA toolkit whose nvcc knows {arch}, a GPU of that arch, and PyTorch for CUDA.",
        build="build.sh makes the library that model.py loads, and that C and C++ link:",
        products=(library,),
    )


def absent(arch: str) -> str:
    """Lines of `missing()` that look for an NVIDIA GPU of `arch`."""
    match = re.fullmatch(r"sm_(\d+)(\d)([a-z]?)", arch)
    if match is None:
        raise ValueError(f"{arch!r} is no NVIDIA arch")
    major, minor, exact = match.groups()
    # A cubin runs on later minors of its major; with an `a` on its own arch alone.
    unfit = f"capability != ({major}, {minor})"
    if not exact:
        unfit = f"not ({major}, {minor}) <= capability < ({int(major) + 1}, 0)"
    return (
        "    if torch.version.cuda is None or not torch.cuda.is_available():\n"
        '        return "PyTorch sees no NVIDIA GPU"\n'
        "    capability = torch.cuda.get_device_capability()\n"
        f"    if {unfit}:\n"
        f'        return f"the library is for {arch}, this GPU is of {{capability}}"\n'
    )

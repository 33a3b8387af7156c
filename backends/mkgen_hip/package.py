"""The HIP part of a package."""

from __future__ import annotations

from mkgen.codegen.package import PackageParts, PackagePlan
from mkgen.package.model_file import model_text
from mkgen_simt.package import build_script, c_header, library_name, stream_model

#: The options the text was judged with, for hipcc: rounding as IEEE wants it, denormals kept.
_OPTIONS = (
    "-O3 -std=c++17 -fno-fast-math -ffp-contract=fast",
    "-fhip-fp32-correctly-rounded-divide-sqrt -fno-gpu-flush-denormals-to-zero",
)
#: Where the 16-bit types of a launcher are declared.
_NARROW = {"__half": "hip/hip_fp16.h"}


def parts(plan: PackagePlan) -> PackageParts:
    """Header, build.sh by hipcc, and model.py over ctypes."""
    arch, source, library = plan.program.target.arch, plan.program.sources[-1], library_name(plan)
    told = (
        "// Launches on `stream`; every pointer is a contiguous, 16-byte aligned device buffer.\n"
    )
    options: tuple[str, ...]
    if arch.startswith("sm_"):
        note = f"Builds {library} for {arch} with hipcc over nvcc: set HIP_PLATFORM=nvidia."
        options = (f"--gpu-architecture={arch} -O3 -std=c++17", "-shared -Xcompiler -fPIC")
        needs = f"HIP for NVIDIA (hipcc and nvcc), a GPU of {arch}, and PyTorch for CUDA."
    else:
        note = f"Builds {library} for {arch} with ROCm's hipcc."
        options = (f"--offload-arch={arch}", *_OPTIONS, *plan.flags, "-shared -fPIC")
        needs = f"ROCm with hipcc, a GPU of {arch}, and PyTorch for ROCm."
    script = build_script(note, ("HIPCC", "hipcc"), (*options, f"{source.name} -o {library}"))
    return PackageParts(
        files={
            f"{plan.launcher}.h": c_header(plan, "hip/hip_runtime_api.h", told, _NARROW),
            "build.sh": script,
            "model.py": model_text(plan, stream_model(plan, "hipError_t", _absent(arch))),
        },
        needs=needs,
        build="build.sh makes the library that model.py loads, and that C and C++ link:",
        products=(library,),
        limits=(
            "The library and PyTorch must use one HIP runtime: build with the ROCm that PyTorch "
            "was built for.",
        ),
    )


def _absent(arch: str) -> str:
    if arch.startswith("sm_"):
        return (
            "    if torch.version.cuda is None or not torch.cuda.is_available():\n"
            '        return "PyTorch sees no NVIDIA GPU"\n'
        )
    return (
        "    if torch.version.hip is None or not torch.cuda.is_available():\n"
        '        return "PyTorch sees no AMD GPU"\n'
        '    arch = torch.cuda.get_device_properties().gcnArchName.partition(":")[0]\n'
        f'    if arch != "{arch}":\n'
        f'        return f"the library is for {arch}, this GPU is {{arch}}"\n'
    )

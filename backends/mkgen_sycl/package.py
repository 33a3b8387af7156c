"""The SYCL part of a package."""

from __future__ import annotations

import math

from mkgen.codegen.package import PackageParts, PackagePlan
from mkgen.package.model_file import ModelCall, allocations, model_text, returned, wrapped
from mkgen.program import GIVEN
from mkgen_simt.package import (
    build_script,
    library_name,
    library_setup,
    prototype,
    shape_comment,
)

#: What icpx calls the archs, and words in the names that PyTorch gives their devices.
_ICPX = {
    "pvc": ("intel_gpu_pvc", ("Data Center GPU Max",)),
    "acm-g10": ("intel_gpu_acm_g10", ("A770", "A750", "A580")),
    "bmg-g21": ("intel_gpu_bmg_g21", ("B580", "B570")),
    "cpu": ("spir64", ()),
}


def parts(plan: PackagePlan) -> PackageParts:
    """Header, a C function for ctypes, build.sh by icpx, and model.py on torch.xpu's queue."""
    arch, source, library = plan.program.target.arch, plan.program.sources[-1], library_name(plan)
    own = f"{plan.task}_ctypes.cpp"
    target = _ICPX[arch][0]
    script = build_script(
        f"Builds {library} for {arch} with Intel's icpx.",
        ("ICPX", "icpx"),
        (f"-fsycl -fsycl-targets={target}", " ".join(("-O3 -std=c++17", *plan.flags)),
         "-shared -fPIC", f"{source.name} {own} -o {library}"),
    )  # fmt: skip
    where = "PyTorch" if arch == "cpu" else f"a GPU of {arch}, and PyTorch for XPU"
    return PackageParts(
        files={
            f"{plan.launcher}.hpp": _header(plan),
            own: _on_cpu(plan) if arch == "cpu" else _on_queue(plan),
            "build.sh": script,
            "model.py": model_text(plan, _call(plan)),
        },
        needs=f"oneAPI's DPC++ compiler (icpx), {where}.",
        build="build.sh makes the library that model.py loads, and that C++ links:",
        products=(library,),
        limits=(
            "model.py copies CPU tensors into USM memory and back."
            if arch == "cpu"
            else "The library and PyTorch must use one SYCL runtime: build with the oneAPI that "
            "PyTorch was built for.",
        ),
    )


def _header(plan: PackagePlan) -> str:
    guard = f"{plan.launcher.upper()}_HPP"
    function = prototype(plan).text
    # the source's own short name for it
    short = "namespace oneapi = sycl::ext::oneapi;\n\n" if "oneapi::" in function else ""
    return (
        f"// SPDX-License-Identifier: Apache-2.0\n// {plan.title}.\n"
        f"#ifndef {guard}\n#define {guard}\n\n#include <sycl/sycl.hpp>\n\n{short}"
        f"{shape_comment(plan)}"
        "// Submits to `queue`; every pointer is a contiguous, 16-byte aligned USM array.\n"
        f"{function}\n\n#endif\n"
    )


def _entry(plan: PackagePlan) -> str:
    return f"{plan.launcher}_ctypes"


def _on_queue(plan: PackagePlan) -> str:
    function = prototype(plan)
    pointers = [p for p in function.parameters if "queue" not in p]
    names = ", ".join(b.name for b in plan.program.buffers)
    return (
        "// SPDX-License-Identifier: Apache-2.0\n"
        "// The launcher for ctypes: `queue` is a sycl::queue*, and an error is a number.\n"
        f'#include <cstdio>\n\n#include "{plan.launcher}.hpp"\n\n'
        f'extern "C" int {_entry(plan)}({", ".join(pointers)}, void* queue) {{\n'
        f"  try {{\n    {plan.launcher}(*static_cast<sycl::queue*>(queue), {names});\n"
        "    return 0;\n" + _CATCH.format(name=plan.launcher)
    )


def _on_cpu(plan: PackagePlan) -> str:
    """The CPU device takes USM memory only, and PyTorch's CPU tensors are none."""
    function = prototype(plan)
    pointers = [p for p in function.parameters if "queue" not in p]
    buffers = plan.program.buffers
    types = {
        b.name: p.removeprefix("const ").split("*")[0]
        for b, p in zip(buffers, pointers, strict=True)
    }
    changed = {b.name for b in (*plan.outputs, *plan.states)}
    takes, gives, frees = "", "", ""
    for b in buffers:
        count, bytes_ = math.prod(b.shape), f"{math.prod(b.shape)} * sizeof({types[b.name]})"
        takes += (
            f"    {types[b.name]}* const {b.name}_usm = "
            f"sycl::malloc_shared<{types[b.name]}>({count}, queue);\n"
        )
        if b.role in GIVEN or b.initial is not None:
            takes += f"    queue.memcpy({b.name}_usm, {b.name}, {bytes_}).wait();\n"
        if b.name in changed:
            gives += f"    queue.memcpy({b.name}, {b.name}_usm, {bytes_}).wait();\n"
        frees += f"    sycl::free({b.name}_usm, queue);\n"
    names = ", ".join(f"{b.name}_usm" for b in buffers)
    return (
        "// SPDX-License-Identifier: Apache-2.0\n"
        "// The launcher for ctypes: copies to memory the CPU device may read; an error is a "
        f'number.\n#include <cstdio>\n\n#include "{plan.launcher}.hpp"\n\n'
        f'extern "C" int {_entry(plan)}({", ".join(pointers)}) {{\n  try {{\n'
        "    static sycl::queue queue{sycl::cpu_selector_v, sycl::property::queue::in_order()};\n"
        f"{takes}    {plan.launcher}(queue, {names}).wait();\n{gives}{frees}    return 0;\n"
        + _CATCH.format(name=plan.launcher)
    )


_CATCH = """  }} catch (const sycl::exception& error) {{
    std::fprintf(stderr, "{name}: %s\\n", error.what());
    return 1;
  }}
}}
"""


def _call(plan: PackagePlan) -> ModelCall:
    arch = plan.program.target.arch
    pointers = [f"{b.name}.data_ptr()" for b in plan.program.buffers]
    first, count = plan.inputs[0].name, len(plan.program.buffers)
    made = allocations((*plan.outputs, *plan.temporaries), f"{first}.device")
    failed = (
        f'if status:\n    raise RuntimeError("{plan.launcher} failed; its error is on stderr")\n'
        + returned(plan)
    )
    if arch == "cpu":
        device, absent = "cpu", ""
        start = f"status = _library().{_entry(plan)}("
        body = made + wrapped(start, pointers, ")", outer=4) + failed
    else:
        device, count = "xpu", count + 1
        words = ", ".join(f'"{word}"' for word in _ICPX[arch][1])
        absent = (
            "    if not torch.xpu.is_available():\n"
            '        return "PyTorch sees no Intel GPU"\n'
            "    name = torch.xpu.get_device_name()\n"
            f"    if not any(word in name for word in ({words},)):\n"
            f'        return f"the library is for {arch}, this GPU is {{name}}"\n'
        )
        body = (
            made + f"with torch.xpu.device({first}.device):\n"
            "    queue = torch.xpu.current_stream().sycl_queue\n"
            + wrapped(
                f"status = _library().{_entry(plan)}(", [*pointers, "queue"], ")", indent=4, outer=4
            )
            + failed
        )
    return ModelCall(
        summary="The kernel is called from the library that ./build.sh makes"
        + (", on PyTorch's current queue." if device == "xpu" else "."),
        imports=("import ctypes", "import functools", "from pathlib import Path"),
        local_imports=(),
        setup=f'DEVICE = "{device}"\n' + library_setup(plan, count, absent, _entry(plan)),
        body=body,
    )

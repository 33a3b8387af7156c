"""The Triton part of a package."""

from __future__ import annotations

from mkgen.codegen.package import PackageParts, PackagePlan
from mkgen.package.model_file import ModelCall, model_text, wrapped

_BUILD = """#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Nothing to build: Triton compiles {name} when it is first called.
set -euo pipefail
"""


def parts(plan: PackagePlan) -> PackageParts:
    """build.sh that builds nothing, and model.py over the module's function."""
    name = plan.program.sources[0].name
    vendor = "AMD" if plan.program.target.arch.startswith("gfx") else "NVIDIA"
    system = "ROCm" if vendor == "AMD" else "CUDA"
    return PackageParts(
        files={"build.sh": _BUILD.format(name=name), "model.py": model_text(plan, _call(plan))},
        needs=f"Triton, an {vendor} GPU, and PyTorch for {system}; nothing is built.",
        without_device=f"TRITON_INTERPRET=1 python test_{plan.task}.py",
        limits=(
            f"Triton compiles it for whatever {vendor} GPU is there; the parameters are for "
            f"{plan.device_title}, and build/ is for {plan.program.target.arch}.",
        ),
    )


def _call(plan: PackagePlan) -> ModelCall:
    amd = plan.program.target.arch.startswith("gfx")
    vendor, version = ("AMD", "hip") if amd else ("NVIDIA", "cuda")
    result = "torch.Tensor"
    if len(plan.outputs) > 1:
        result = f"tuple[{', '.join(['torch.Tensor'] * len(plan.outputs))}]"
    setup = f'''INTERPRET = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRET else "cuda"


def missing() -> str:
    """Why the kernel cannot run here; empty when it can."""
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed; pip install triton"
    if INTERPRET:
        return ""
    if torch.version.{version} is None or not torch.cuda.is_available():
        return "PyTorch sees no {vendor} GPU; with TRITON_INTERPRET=1 it runs on a CPU"
    return ""


def _run(*tensors: torch.Tensor) -> {result}:
    reason = missing()
    if reason:
        raise RuntimeError(reason)
    # Late, so that missing() can say that Triton is not here.
    from {plan.task} import {plan.launcher} as kernel

    with contextlib.nullcontext() if INTERPRET else torch.cuda.device(tensors[0].device):
        return kernel(*tensors)
'''
    return ModelCall(
        summary=f"The kernel is {plan.program.sources[0].name}, compiled by Triton at the first "
        "call. TRITON_INTERPRET=1 runs it on CPU tensors, slowly.",
        imports=("import contextlib", "import importlib.util", "import os"),
        local_imports=(),
        setup=setup,
        body=wrapped("return _run(", [b.name for b in plan.inputs], ")", outer=4),
        alignment=False,
    )
